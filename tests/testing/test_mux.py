"""The fake Mux of tests: what it says, how it fails, and to whom it sends its webhooks."""

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from rindle_sync import connect
from rindle_sync.emulator import Life
from rindle_sync.testing import (
    Clock,
    FakeMux,
    WebhookRefused,
    serving,
    settings_for,
    sqlite_database,
)

SIGNATURE = "mux-signature"


@dataclass
class Answer:
    """What a function for webhooks may return."""

    status: int


class App:
    """The app of somebody else, as ASGI, as WSGI, and as a function; it keeps what comes."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.signed: list[bool] = []
        self.status = 202
        self.asgi = Starlette(routes=[Route("/{path:path}", self._receive, methods=["POST"])])

    async def _receive(self, request: Request) -> Response:
        await request.body()
        self._note(request.url.path, request.headers)
        return Response(status_code=self.status)

    def wsgi(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        environ["wsgi.input"].read()
        self._note(environ["PATH_INFO"], {SIGNATURE: environ["HTTP_MUX_SIGNATURE"]})
        start(f"{self.status} Whatever", [("Content-Type", "text/plain")])
        return [b"thanks"]

    def function(self, headers: Mapping[str, str], body: bytes) -> Answer:
        assert body.startswith(b"{")
        self._note("", {name.lower(): value for name, value in headers.items()})
        return Answer(self.status)

    async def async_function(self, headers: Mapping[str, str], body: bytes) -> Answer:
        return self.function(headers, body)

    def _note(self, path: str, headers: Mapping[str, str]) -> None:
        self.paths.append(path)
        self.signed.append(headers[SIGNATURE].startswith("t="))


@pytest.fixture
def mux() -> FakeMux:
    return FakeMux()


@pytest.fixture
def app() -> App:
    return App()


def state(mux: FakeMux, asset_id: str) -> str:
    return mux.truth(asset_id).state.value


def test_an_asset_prepares_until_the_test_says_otherwise(mux: FakeMux) -> None:
    ready, failed, deleted, waiting = mux.create_assets(4)
    mux.clock.move(days=30)
    mux.finish(ready)
    mux.fail(failed, "It is a song.")
    mux.delete(deleted)

    assert [state(mux, each) for each in (ready, failed, deleted, waiting)] == [
        "ready",
        "errored",
        "deleted",
        "preparing",
    ]


def test_lifecycles_can_be_planned_as_in_the_emulator() -> None:
    mux = FakeMux(prepare_seconds=60)
    planned, own = mux.create_asset(), mux.create_asset(life=Life("errored", after=5))
    mux.clock.move(minutes=1)

    assert (state(mux, planned), state(mux, own)) == ("ready", "errored")


def test_a_reset_keeps_that_assets_prepare_until_they_are_ended(mux: FakeMux) -> None:
    mux.reset()
    asset_id = mux.create_asset()
    mux.clock.move(days=1)

    assert state(mux, asset_id) == "preparing"


def test_a_clock_does_not_move_back() -> None:
    clock = Clock()
    before = clock.now()
    after = clock.move(hours=2)

    assert 7200 <= (after - before).total_seconds() < 7260
    with pytest.raises(ValueError, match="does not move back"):
        clock.move(hours=3, minutes=-200)


async def test_the_file_of_an_upload_arrives_by_its_url(mux: FakeMux) -> None:
    upload_id = mux.create_upload(passthrough="row-1")
    async with httpx.AsyncClient(
        transport=mux.transport,
        base_url="http://mux.invalid",
        auth=(mux.token_id, mux.token_secret),
    ) as client:
        shown = (await client.get(f"/video/v1/uploads/{upload_id}")).json()["data"]
    asset_id = mux.receive_file(shown["url"])

    assert mux.truth(asset_id).upload_id == upload_id
    with pytest.raises(ValueError, match="no longer waits"):
        mux.receive_file(upload_id)


def test_a_row_without_an_asset_is_told(mux: FakeMux) -> None:
    @dataclass
    class Row:
        provider_asset_id: str | None

    asset_id = mux.create_asset()
    mux.finish(Row(asset_id))

    assert state(mux, asset_id) == "ready"
    with pytest.raises(ValueError, match="has no asset yet"):
        mux.finish(Row(None))


async def test_each_disturbance_ends_where_it_is_said_to(mux: FakeMux) -> None:
    async with httpx.AsyncClient(
        transport=mux.transport,
        base_url="http://mux.invalid",
        auth=(mux.token_id, mux.token_secret),
    ) as client:

        async def status() -> int:
            return (await client.get("/video/v1/assets")).status_code

        with mux.go_down() as down:
            assert await status() == 500
        assert (down.calls, await status()) == (1, 200)

        mux.throttle(seconds=7)
        throttled = await client.get("/video/v1/assets")
        assert (throttled.status_code, throttled.headers["Retry-After"]) == (429, "7")

        mux.recover()
        mux.go_down("list_assets", times=1)
        assert [await status(), await status()] == [500, 200]

        slow = mux.slow_down(30)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(status(), 0.05)
        slow.end()
        slow.end()
        assert await status() == 200


async def test_webhooks_reach_an_asgi_app(mux: FakeMux, app: App) -> None:
    mux.deliver_to("/hooks/video", asgi=app.asgi)
    mux.create_asset()

    assert await mux.deliver_due() == 1
    assert (app.paths, app.signed) == (["/hooks/video"], [True])


async def test_webhooks_reach_a_wsgi_app_with_an_event_loop_and_without(
    mux: FakeMux, app: App
) -> None:
    mux.deliver_to(wsgi=app.wsgi)
    mux.create_asset()
    sent = await mux.deliver_due()
    mux.create_asset()
    sent_blocking = await asyncio.to_thread(mux.deliver_webhooks)

    assert (sent, sent_blocking) == (1, 1)
    assert (app.paths, app.signed) == (["/webhooks/mux"] * 2, [True] * 2)


async def test_webhooks_reach_functions(mux: FakeMux, app: App) -> None:
    mux.deliver_to(function=app.function)
    mux.deliver_to(function=app.async_function)
    mux.create_asset()

    assert await mux.deliver_due() == 2
    assert app.signed == [True, True]


def test_webhooks_reach_the_app_behind_a_test_client(mux: FakeMux, app: App) -> None:
    with TestClient(app.asgi) as client:
        mux.deliver_to(client=client)
        mux.create_asset()
        sent = mux.deliver_webhooks()

    assert (sent, app.paths, app.signed) == (1, ["/webhooks/mux"], [True])


def test_webhooks_reach_an_address() -> None:
    mux, other = FakeMux(), FakeMux()
    with serving(other) as url:
        mux.deliver_to(f"{url}/webhooks/mux")
        mux.create_asset()
        with pytest.raises(WebhookRefused, match="gave webhooks the answer 40"):
            mux.deliver_webhooks()


async def test_an_endpoint_that_refuses_a_webhook_fails_the_test(mux: FakeMux, app: App) -> None:
    mux.deliver_to(asgi=app.asgi)
    app.status = 404
    mux.create_asset()
    with pytest.raises(
        WebhookRefused, match="gave webhooks the answer 404: the app has nothing at this"
    ):
        await mux.deliver_due()

    mux.create_asset()
    await mux.deliver_due(must_succeed=False)
    mux.clock.move(minutes=1)
    app.status = 202
    retried = await mux.deliver_due()

    assert retried == 2


def test_what_the_app_raised_is_the_cause(mux: FakeMux) -> None:
    def broken(_headers: Mapping[str, str], _body: bytes) -> Answer:
        raise LookupError("a fault of the app")

    mux.deliver_to(function=broken)
    mux.create_asset()

    with pytest.raises(WebhookRefused, match="no answer \\(LookupError\\)") as raised:
        mux.deliver_webhooks()
    assert isinstance(raised.value.__cause__, LookupError)


def test_a_function_that_answers_nothing_is_told(mux: FakeMux) -> None:
    mux.deliver_to(function=lambda _headers, _body: None)
    mux.create_asset()

    with pytest.raises(WebhookRefused) as raised:
        mux.deliver_webhooks()
    assert "must return an answer with a status_code" in str(raised.value.__cause__)


def test_an_async_endpoint_is_not_called_without_an_event_loop(mux: FakeMux, app: App) -> None:
    mux.deliver_to(asgi=app.asgi)
    mux.create_asset()

    with pytest.raises(ValueError, match="await deliver_due"):
        mux.deliver_webhooks()


def test_an_endpoint_is_named_in_one_way(mux: FakeMux, app: App) -> None:
    with pytest.raises(ValueError, match="give one of"):
        mux.deliver_to(asgi=app.asgi, wsgi=app.wsgi)
    with pytest.raises(ValueError, match="or a whole address"):
        mux.deliver_to("/webhooks/mux")


def test_what_mux_does_not_have_is_told_with_what_is_taken(mux: FakeMux) -> None:
    for act in (mux.finish, mux.fail, mux.delete):
        with pytest.raises(KeyError) as raised:
            act("nonsense")
        assert str(raised.value) == (
            "Mux has no asset 'nonsense': give its row, or the id that Mux gave it, "
            "such as `create_asset` returns"
        )
    with pytest.raises(KeyError) as raised:
        mux.receive_file("http://nonsense/")
    assert str(raised.value) == (
        "Mux has no upload '': give the upload, its URL, or the id that Mux gave it"
    )


async def test_why_rindle_sync_refused_a_webhook_is_told(mux: FakeMux) -> None:
    reasons = {
        None: "the answer 500: the app has no webhook secret: set `mux_webhook_secrets`",
        "another-secret": "the answer 400: the app has another webhook secret",
    }
    for secret, reason in reasons.items():
        with sqlite_database() as url:
            settings = settings_for(mux, database_url=url, mux_webhook_secrets=secret)
            async with connect(settings, transport=mux.transport, clock=mux.clock.now) as rindle:
                ways: list[dict[str, Any]] = [
                    {"function": rindle.receive},
                    {"asgi": rindle.webhooks},
                ]
                for way in ways:
                    mux.clear_webhooks()
                    mux.deliver_to("/", **way)
                    mux.create_asset()
                    with pytest.raises(WebhookRefused, match=re.escape(reason)):
                        await mux.deliver_due()
