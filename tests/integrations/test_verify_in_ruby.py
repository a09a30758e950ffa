"""Ruby verifies an outgoing webhook: `verify.rb` by itself, and in the controller of the docs."""

import json
import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from rindle_sync.runtime.outgoing.signature import new_secret, signed_headers
from tests.support.readers import ROOT, blocks_of

VERIFY: Final = ROOT / "examples" / "other_languages" / "ruby" / "verify.rb"
RAILS_APP: Final = Path(__file__).with_name("rails_app.rb")
SECRET: Final = new_secret()
EVENT: Final = {"type": "asset.ready", "data": {"reference": "Füsse-1"}}
BODY: Final = json.dumps(EVENT, ensure_ascii=False)

Request = tuple[dict[str, str], str]


def signed(*secrets: str, body: str = BODY, at: datetime | None = None) -> Request:
    """A webhook, signed by each of `secrets`."""
    return signed_headers("msg_1", body.encode(), secrets, at or datetime.now(UTC)), body


def without(request: Request, header: str) -> Request:
    headers, body = request
    return {name: value for name, value in headers.items() if name != header}, body


def with_time(request: Request, sent_at: str) -> Request:
    headers, body = request
    return headers | {"webhook-timestamp": sent_at}, body


FORGED: Final = [
    signed(new_secret()),
    (signed(SECRET)[0], BODY + " "),
    signed(SECRET, at=datetime.now(UTC) - timedelta(hours=1)),
    without(signed(SECRET), "webhook-signature"),
    with_time(signed(SECRET), "yesterday"),
]


def ruby(*arguments: str, given: object) -> str:
    """What a Ruby program prints."""
    program = shutil.which("ruby")
    if not program:
        pytest.skip("ruby is not installed")
    ended = subprocess.run(
        [program, *arguments],
        input=json.dumps(given),
        env=os.environ | {"WEBHOOK_SECRET": SECRET, "LANG": "C.UTF-8"},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    if "cannot load such file -- action_controller" in ended.stderr:
        pytest.skip("Rails is not installed")
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_ruby_takes_what_is_signed_and_refuses_the_rest() -> None:
    program = f"""
        require {str(VERIFY)!r}
        JSON.parse($stdin.read).each do |headers, body|
          puts verified(headers, body, ENV["WEBHOOK_SECRET"])["type"]
        rescue NotGenuine
          puts "refused"
        end
    """
    genuine = [signed(SECRET), signed(new_secret(), SECRET)]  # the second while a secret changes

    told = ruby("-e", program, given=[*genuine, *FORGED])

    assert told.split() == ["asset.ready", "asset.ready", *["refused"] * len(FORGED)]


def test_the_controller_of_the_docs_publishes_what_is_signed(tmp_path: Path) -> None:
    [controller] = [
        block for language, block in blocks_of("outgoing-webhooks.md") if language == "ruby"
    ]
    (tmp_path / "rindle_controller.rb").write_text(controller)
    (tmp_path / "lib").mkdir()
    shutil.copy(VERIFY, tmp_path / "lib")
    ping = json.dumps({"type": "test.ping", "data": {}})

    told = ruby(
        str(RAILS_APP), str(tmp_path), given=[signed(SECRET), signed(SECRET, body=ping), *FORGED]
    )

    assert told.splitlines() == ["published Füsse-1", "204", "204", *["400"] * len(FORGED)]
