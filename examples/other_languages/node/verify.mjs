// Verifies a webhook by the Standard Webhooks specification, as the package `standardwebhooks` does.

import { createHmac, timingSafeEqual } from "node:crypto";

const TOLERANCE_SECONDS = 300;

export class NotGenuine extends Error {}

export function verified(headers, body, secret, now = Date.now()) {
  const id = headers["webhook-id"];
  const sentAt = headers["webhook-timestamp"];
  const signatures = headers["webhook-signature"];
  if (!id || !sentAt || !signatures) throw new NotGenuine("a header of the signature is missing");
  if (!(Math.abs(now / 1000 - Number(sentAt)) <= TOLERANCE_SECONDS)) {
    throw new NotGenuine("it was sent too long ago, or a clock is wrong");
  }
  const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
  const expected = createHmac("sha256", key).update(`${id}.${sentAt}.`).update(body).digest();
  // several while a secret is replaced
  for (const signature of signatures.split(" ")) {
    const [version, text] = signature.split(",");
    const given = Buffer.from(text ?? "", "base64");
    if (version === "v1" && given.length === expected.length && timingSafeEqual(given, expected)) {
      return JSON.parse(body);
    }
  }
  throw new NotGenuine("no signature fits the secret");
}
