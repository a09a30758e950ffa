"""`rindle-sync outgoing`: endpoints are made, changed, tried and deleted, and show no secret."""

import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from rindle_sync.domain import secret_fault
from rindle_sync.runtime.outgoing.signature import new_secret
from tests.support.app_endpoint import an_endpoint
from tests.support.processes import Shell


@pytest.fixture
def shell(sqlite_tables_url: str, tmp_path: Path) -> Shell:
    return Shell(tmp_path, {"database_url": sqlite_tables_url})


async def test_an_endpoint_is_made_tried_and_deleted(shell: Shell) -> None:
    async with an_endpoint(204, 500) as app:
        made = await shell.run(
            *("outgoing", "create", "app", app.url, "--allow-private", "--events", "asset.*"),
            "--json",
        )
        secret = json.loads(made.out)["secret"]
        tried = await shell.run("outgoing", "test", "app")
        failed = await shell.run("outgoing", "test", "app", "--json")
        listed = await shell.run("outgoing", "list")
        shown = await shell.run("outgoing", "show", "app", "--json")
        gone = await shell.run("outgoing", "delete", "app")

    assert (made.code, tried.code, failed.code, gone.code) == (0, 0, 1, 0)
    assert "delivered: answered 204" in tried.out
    assert json.loads(failed.out)["status"] == 500
    [first, _] = app.received
    assert Webhook(secret).verify(first.body, first.headers)["type"] == "test.ping"
    assert "asset.*" in listed.out
    for report in (tried, failed, listed, shown, gone):
        assert secret not in report.out + report.err
        assert "secretpath0001" not in report.out + report.err
    assert json.loads(shown.out)["webhooks"] == {"pending": 0, "delivered": 0, "dead": 0}


async def test_a_rotated_secret_signs_beside_the_old_one(shell: Shell) -> None:
    async with an_endpoint() as app:
        made = await shell.run("outgoing", "create", "app", app.url, "--allow-private", "--json")
        rotated = await shell.run("outgoing", "rotate-secret", "app", "--json")
        await shell.run("outgoing", "test", "app")

    for report in (made, rotated):
        secret = json.loads(report.out)["secret"]
        assert Webhook(secret).verify(app.received[0].body, app.received[0].headers)


async def test_what_is_wrong_with_an_endpoint_is_told_by_the_options(shell: Shell) -> None:
    url = "https://app.example.com/hooks"
    await shell.run("outgoing", "create", "app", url)
    plain = await shell.run("outgoing", "create", "crm", "http://app.example.com/hooks")
    changed = await shell.run("outgoing", "update", "app", "--url", "http://app.example.com/hooks")
    misspelt = await shell.run("outgoing", "create", "crm", url, "--events", "asset.redy")

    needs_option = "error url: must begin with https://; http:// needs --allow-private"
    assert (plain.code, changed.code, misspelt.code) == (2, 2, 2)
    assert needs_option in plain.err
    assert needs_option in changed.err
    assert "error --events: 'asset.redy' must be one of asset.pending" in misspelt.err


async def test_an_endpoint_is_changed_disabled_and_enabled(shell: Shell) -> None:
    url = "https://app.example.com/secretpath0001"
    await shell.run("outgoing", "create", "app", url)
    changed = await shell.run("outgoing", "update", "app", "--events", "asset.ready", "--json")
    disabled = await shell.run("outgoing", "disable", "app")
    listed = await shell.run("outgoing", "list", "--json")
    status = await shell.run("status")
    doctor = await shell.run("doctor")
    enabled = await shell.run("outgoing", "enable", "app", "--json")
    replayed = await shell.run("outgoing", "replay", "app", "--dead", "--json")

    assert json.loads(changed.out)["events"] == ["asset.ready"]
    assert disabled.out == "app is disabled\n"
    assert "changes from now on are not sent to it" in disabled.err
    assert "are not sent to it: to catch up, the app lists its rows" in enabled.err
    [found] = json.loads(listed.out)
    assert found["disabled_reason"] == "by an operator"
    assert datetime.fromisoformat(found["disabled_at"]).tzinfo == UTC
    assert "outgoing webhooks to app: 0 pending, 0 dead; disabled: by an operator" in status.out
    assert "outgoing: the endpoint app of outgoing webhooks is disabled" in doctor.out
    assert json.loads(enabled.out) == {"name": "app", "enabled": True}
    assert json.loads(replayed.out) == {"replayed": 0}


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("create", "app", "http://app.example.com/"), 2, "url: must begin with https://"),
        (("create", "settings", "https://app.example.com/"), 2, "outgoing_webhook_url"),
        (("create", "app", "https://app.example.com/", "--events", "x"), 2, "asset.ready"),
        (("create", "app", "https://a.example/", "--secret", "secret0001"), 2, "must be whsec_"),
        (("show", "nobody"), 1, "no endpoint has this name"),
        (("test", "nobody"), 1, "no endpoint has this name"),
        (("enable", "nobody"), 1, "no endpoint has this name"),
        (("disable", "nobody"), 1, "no endpoint has this name"),
        (("delete", "nobody"), 1, "no endpoint has this name"),
        (("update", "nobody", "--all-events"), 1, "no endpoint has this name"),
        (("update", "nobody", "--all-events", "--events", "asset.*"), 2, "not both"),
        (("rotate-secret", "nobody"), 1, "no endpoint has this name"),
        (("replay", "nobody", "--dead"), 1, "no endpoint has this name"),
        (("replay", "nobody"), 2, "needs the id of one webhook"),
        (("replay", "nobody", "--since", "yesterday"), 2, "must be a date"),
    ],
)
async def test_what_is_wrong_is_said(
    shell: Shell, arguments: tuple[str, ...], code: int, told: str
) -> None:
    ended = await shell.run("outgoing", *arguments)

    assert ended.code == code
    assert told in ended.err
    assert "secret0001" not in ended.err


async def test_a_secret_of_ones_own_is_read_from_standard_input(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = new_secret(), new_secret()
    async with an_endpoint() as app:
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{first}\n"))
        made = await shell.run(
            *("outgoing", "create", "app", app.url, "--allow-private", "--secret", "-")
        )
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{second}\n"))
        rotated = await shell.run("outgoing", "rotate-secret", "app", "--secret", "-")
        monkeypatch.setattr("sys.stdin", None)
        closed = await shell.run("outgoing", "rotate-secret", "app", "--secret", "-")
        await shell.run("outgoing", "test", "app")

    assert (made.code, rotated.code, closed.code) == (0, 0, 2)
    assert "--secret: is -, and there is no standard input" in closed.err
    for secret in (first, second):
        assert Webhook(secret).verify(app.received[0].body, app.received[0].headers)


async def test_a_new_secret_needs_no_database(tmp_path: Path) -> None:
    made = await Shell(tmp_path).run("outgoing", "new-secret")

    assert secret_fault(made.out.strip()) is None
