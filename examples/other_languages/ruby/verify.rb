# Verifies a webhook by the Standard Webhooks specification. Ruby 3.0 or newer, no gems.

require "json"
require "openssl"

class NotGenuine < StandardError; end

TOLERANCE_SECONDS = 300

# The event, if `body` (the raw one) has a signature of `secret` and was sent just now. `headers` is
# what answers `headers["webhook-id"]`, as the headers of a request of Rails do.
def verified(headers, body, secret, now: Time.now)
  id, sent_at, signatures = %w[webhook-id webhook-timestamp webhook-signature].map { |name| headers[name] }
  raise NotGenuine, "a header of the signature is missing" unless id && sent_at && signatures
  unless (now.to_i - sent_at.to_i).abs <= TOLERANCE_SECONDS
    raise NotGenuine, "it was sent too long ago, or a clock is wrong"
  end

  key = secret.delete_prefix("whsec_").unpack1("m")
  expected = [OpenSSL::HMAC.digest("SHA256", key, "#{id}.#{sent_at}.#{body}")].pack("m0")
  # several while a secret is replaced
  genuine = signatures.split.any? { |given| OpenSSL.secure_compare(given, "v1,#{expected}") }
  raise NotGenuine, "no signature fits the secret" unless genuine

  JSON.parse(body)
end
