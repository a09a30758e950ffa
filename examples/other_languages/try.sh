#!/usr/bin/env bash
# The HTTP API with curl: tracks an asset of Mux's, checks it, and shows how it stands.
#
#   SYNC_TOKEN=... ./try.sh my-film-1 <the Mux asset id>
set -euo pipefail

: "${SYNC_TOKEN:?set it to the value of api_token, or to a token of rindle-sync token create}"
api="${SYNC_URL:-http://127.0.0.1:8000}/api/v1"
reference="${1:?the first argument is your own id of the video}"
asset_id="${2:?the second argument is the id of the asset at Mux}"

call() {
  curl --silent --show-error --fail-with-body --max-time 30 \
    --header "Authorization: Bearer $SYNC_TOKEN" --header "Content-Type: application/json" "$@"
}

# the same key twice is one request, so that it can be sent again after a failure
row=$(call "$api/assets" --header "Idempotency-Key: track-$reference" \
  --data "{\"reference\": \"$reference\", \"provider_asset_id\": \"$asset_id\"}") || {
  code=$?
  echo "$row" >&2 # the problem, in words
  exit "$code"
}
echo "tracked: $row"
row_id=$(printf '%s' "$row" | sed -n 's/.*"id": *"\([0-9a-f-]\{36\}\)".*/\1/p' | head -n 1)

call --request POST "$api/assets/$row_id/sync"
echo
call --get "$api/assets" --data-urlencode "reference=$reference"
echo
call "$api/changes?limit=5"
echo
