# A client of rindle-sync's HTTP API. Ruby 3.0 or newer, no gems.

require "json"
require "net/http"
require "uri"

# What rindle-sync refuses, and that it does not answer (`status` is nil then).
class RindleError < StandardError
  attr_reader :status, :problem

  def initialize(problem, status)
    super(problem["detail"] || problem["title"] || "rindle-sync answered #{status}")
    @status = status
    @problem = problem
  end
end

class Rindle
  # no call of rindle-sync takes longer: a sync waits for the provider
  LIMITS = { open_timeout: 5, read_timeout: 30 }.freeze
  NO_ANSWER = [SystemCallError, SocketError, Timeout::Error, EOFError].freeze

  def initialize(address, token)
    @address = "#{address.chomp('/')}/api/v1"
    @token = token
  end

  # The film's id is the idempotency key: a click that is sent twice makes one upload.
  def begin_upload(reference, cors_origin)
    body = { reference: reference, cors_origin: cors_origin }
    call(Net::HTTP::Post, "/uploads", body: body, key: "upload-#{reference}")
  end

  def find(reference)
    call(Net::HTTP::Get, "/assets", query: { reference: reference })["data"]
  end

  def sync(row_id)
    call(Net::HTTP::Post, "/assets/#{row_id}/sync")
  end

  # The names of the attributes of <mux-player>, with tokens where the video is signed.
  def playback_bundle(row_id)
    call(Net::HTTP::Get, "/assets/#{row_id}/playback-bundle", query: { expires_in: 3600 })
  end

  private

  def call(method, path, query: {}, body: nil, key: nil)
    url = URI(@address + path)
    url.query = URI.encode_www_form(query) unless query.empty?
    request = method.new(url, "Authorization" => "Bearer #{@token}")
    request["Content-Type"] = "application/json" if body
    request["Idempotency-Key"] = key if key
    request.body = JSON.generate(body) if body
    answered(send_to(url, request))
  end

  def send_to(url, request)
    Net::HTTP.start(url.host, url.port, use_ssl: url.scheme == "https", **LIMITS) do |http|
      http.request(request)
    end
  rescue *NO_ANSWER => error
    raise RindleError.new({ "title" => "rindle-sync does not answer: #{error.class}" }, nil)
  end

  def answered(response)
    is_json = response["Content-Type"].to_s.include?("json")
    answer = is_json ? JSON.parse(response.body) : {}
    raise RindleError.new(answer, response.code.to_i) unless response.is_a?(Net::HTTPSuccess)

    answer
  end
end
