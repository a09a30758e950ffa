# Follows the changes of all videos, without an address that anybody can call. Ruby 3.0 or newer, no gems.
#
# The id of the last change that was handled is kept in a file: whenever it is started again, it goes on there.

require "json"
require "net/http"
require "uri"

WAITS = 25 # seconds for which rindle-sync may hold a request while nothing changes
CURSOR = ENV.fetch("CURSOR", "changes.cursor")

def needed(name)
  ENV[name] || abort("set #{name}: README.md says where it comes from")
end

ADDRESS = URI("#{ENV.fetch('SYNC_URL', 'http://127.0.0.1:8000').chomp('/')}/api/v1/changes")
TOKEN = needed("SYNC_TOKEN")

def ask(after)
  query = { limit: 100, wait: WAITS }
  query[:after] = after if after
  address = ADDRESS.dup
  address.query = URI.encode_www_form(query)
  request = Net::HTTP::Get.new(address, "Authorization" => "Bearer #{TOKEN}")
  limits = { use_ssl: address.scheme == "https", open_timeout: 5, read_timeout: WAITS + 10 }
  Net::HTTP.start(address.host, address.port, **limits) { |http| http.request(request) }
end

# What your app does with a change. It is called again with the same one if it dies here.
def handle(change)
  puts "#{change['type']} #{change.dig('data', 'reference')} version #{change.dig('data', 'version')}"
  $stdout.flush
end

def keep(cursor)
  File.write("#{CURSOR}.new", cursor.to_s)
  File.rename("#{CURSOR}.new", CURSOR)
end

after = File.exist?(CURSOR) ? File.read(CURSOR).strip : nil
failures = 0
trap("TERM") { exit }
loop do
  begin
    response = ask(after)
  rescue SystemCallError, SocketError, Timeout::Error, EOFError => error
    warn "rindle-sync does not answer: #{error.class}"
    sleep [2**(failures += 1), 30].min
    next
  end
  if response.is_a?(Net::HTTPGone)
    abort "the change #{after} is not in the feed any more: list the videos, delete #{CURSOR}, and start again"
  elsif response.is_a?(Net::HTTPUnauthorized) || response.is_a?(Net::HTTPForbidden)
    abort "rindle-sync refuses the token: #{JSON.parse(response.body)['detail']}"
  elsif !response.is_a?(Net::HTTPSuccess)
    sleep (response["retry-after"] || [2**(failures += 1), 30].min).to_i.clamp(1, 60)
    next
  end
  failures = 0
  page = JSON.parse(response.body)
  page["data"].each do |change|
    handle(change)
    keep(change.dig("data", "id"))
  end
  after = page["next"] || after
end
