# The controller of a page of the docs, in Rails: `ruby rails_app.rb FOLDER < requests`.
#
# FOLDER has the controller, and `lib` as an app has it. Each request is [headers, body]; what is
# printed is what was published, and the status of each answer.

require "json"
require "logger"
require "action_controller/railtie"

FOLDER = ARGV.fetch(0)

class App < Rails::Application
  config.root = FOLDER
  config.eager_load = false
  config.logger = Logger.new(nil)
  config.secret_key_base = "a" * 64
  config.hosts.clear
end

class ActionController::API
  def publish(data) = puts("published #{data['reference']}")
end

App.initialize!
load File.join(FOLDER, "rindle_controller.rb")
App.routes.draw { post "/rindle", to: "rindle#create" }

JSON.parse($stdin.read).each do |headers, body|
  environment = headers.transform_keys { |name| "HTTP_#{name.upcase.tr('-', '_')}" }
  environment["CONTENT_TYPE"] = "application/json"
  puts Rack::MockRequest.new(App).post("/rindle", environment.merge(input: body)).status
end
