"""What every provider owes to the socket.

Runs for Mux, with its emulator, and for the toy provider.

A new provider is one more `Case`.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from rindle_sync.domain import ErrorKind, ObservationSource, PlaybackId, State, replace
from rindle_sync.emulator import Life, MuxEmulator
from rindle_sync.errors import (
    AuthenticationFailed,
    ConfigurationError,
    InvalidWebhook,
    MissingCredentials,
    NotFound,
    ProviderUnavailable,
    RateLimited,
    RindleSyncError,
)
from rindle_sync.providers import (
    AssetRequest,
    Delivery,
    PlaybackKind,
    PlaybackRequest,
    Priority,
    Provider,
    ProviderEntry,
    UploadRequest,
    provider_entry,
)
from rindle_sync.providers.mux import sign
from tests.support.rows import NOW, a_row
from tests.support.toy_provider import KEY, NOT_FOUND, TOY, ToyServer, delivery
from tests.support.webhooks import an_event

ID = "aPlantedIdOfAVideo0123456789abcdef"
SECRET, OTHER_SECRET = "a-secret-of-the-tests-1", "a-secret-of-the-tests-2"
HOUR = timedelta(hours=1)
REQUEST = UploadRequest(cors_origin="https://app.example")
ASSET_REQUEST = AssetRequest(inputs=[{"url": "https://files.example/film.mp4?key=s3cr3t-0123"}])


class Wire(httpx.AsyncBaseTransport):
    """The network: to the server, unless a test has put an answer in its place."""

    def __init__(self, app: Any) -> None:
        self.server = httpx.ASGITransport(app=app)
        self.answer: Callable[[], Awaitable[httpx.Response]] | None = None
        self.calls = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.calls += 1
        if self.answer:
            return await self.answer()
        return await self.server.handle_async_request(request)

    def answers(self, status: int, body: object, **headers: str) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}

        async def answer() -> httpx.Response:
            return httpx.Response(status, content=content, headers=named)

        self.answer = answer

    def is_silent(self) -> None:
        async def answer() -> httpx.Response:
            raise httpx.ReadTimeout("silent")

        self.answer = answer

    def is_down(self) -> None:
        async def answer() -> httpx.Response:
            raise httpx.ConnectError(f"no way to {ID}")

        self.answer = answer


@dataclass(frozen=True, kw_only=True)
class Case:
    """A provider, a server of it, and how its JSON looks."""

    name: str
    entry: ProviderEntry
    wire: Wire
    values: Mapping[str, str]
    """Settings with credentials."""
    words: Mapping[str, State]
    not_found: object
    not_found_text: str
    answer: Callable[[Mapping[str, Any]], object]
    """The answer of a GET from what `video` makes."""
    page: Callable[[list[Any]], object]
    video: Callable[..., dict[str, Any]]
    """A video by `id`.

    `word` and the policies of its playback ids, None for an answer without them.
    """
    create: Callable[[], str]
    """A ready video on the server."""
    take_file: Callable[[str], str]
    """The file of an upload comes to the server; the id of the video."""
    deliver: Callable[[str, str, datetime], Delivery]
    """A webhook about a ready video, signed with a secret."""

    def connect(self, **values: str) -> Provider:
        return self.entry.connect(
            self.entry.settings(**values),
            timeout=5,
            connections=5,
            transport=self.wire,
            on_calls_left=lambda _kind, _left: None,
        )


def mux() -> Case:
    emulator = MuxEmulator(now=NOW.timestamp)

    def video(id: str, word: str, policies: list[str] | None) -> dict[str, Any]:  # noqa: A002
        playback = [{"id": f"playback{policy}", "policy": policy} for policy in policies or ()]
        known = {"id": id, "status": word, "created_at": "1609868768"}
        return known if policies is None else known | {"playback_ids": playback}

    def deliver(asset_id: str, secret: str, now: datetime) -> Delivery:
        body = json.dumps(an_event(asset_id)).encode()
        return Delivery({"mux-signature": sign(body, secret, now)}, body)

    return Case(
        name="mux",
        entry=provider_entry("mux"),
        wire=Wire(emulator.app),
        values={"mux_token_id": emulator.token_id, "mux_token_secret": emulator.token_secret},
        words={"preparing": State.PROCESSING, "ready": State.READY, "errored": State.ERRORED},
        not_found={"error": {"type": "not_found", "messages": ["The requested resource ..."]}},
        not_found_text="mux asset not found",
        answer=lambda video: {"data": video},
        page=lambda entries: {"data": entries, "next_cursor": None},
        video=video,
        create=lambda: emulator.create_asset(life=Life(after=0)),
        take_file=emulator.finish_upload,
        deliver=deliver,
    )


def toy() -> Case:
    server = ToyServer()

    def video(id: str, word: str, policies: list[str] | None) -> dict[str, Any]:  # noqa: A002
        known = {"uid": id, "state": word, "created": 1_609_868_768}
        return known if policies is None else known | {"playable": policies}

    def take_file(uid: str) -> str:
        server.become(uid, "done")
        return uid

    return Case(
        name="toy",
        entry=TOY,
        wire=Wire(server),
        values={"toy_key": KEY},
        words={"encoding": State.PROCESSING, "done": State.READY, "broken": State.ERRORED},
        not_found=NOT_FOUND,
        not_found_text="toy has no such video",
        answer=lambda video: video,
        page=lambda entries: {"videos": entries, "next": None},
        video=video,
        create=server.create,
        take_file=take_file,
        deliver=lambda uid, secret, now: delivery(video(uid, "done", ["public"]), secret, now),
    )


@pytest.fixture(params=[mux, toy], ids=["mux", "toy"])
def case(request: pytest.FixtureRequest) -> Case:
    made: Case = request.param()
    return made


@pytest.fixture
async def provider(case: Case) -> AsyncIterator[Provider]:
    connected = case.connect(**case.values)
    yield connected
    await connected.close()


def lowered(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


# what it says about itself


def test_the_settings_have_its_name_and_hide_what_is_never_shared(case: Case) -> None:
    fields = case.entry.settings.model_fields
    own = {*case.entry.settings.credential_names, case.entry.settings.webhook_secrets_name}

    assert own <= set(fields)
    assert [name for name in fields if not name.startswith(f"{case.name}_")] == []
    assert [name for name in own if fields[name].repr or fields[name].default is not None] == []


def test_missing_credentials_are_named_with_the_variable(case: Case) -> None:
    settings = case.entry.settings()

    assert settings.credentials is None
    with pytest.raises(ConfigurationError, match=f"RINDLE_{case.name.upper()}_"):
        settings.check_credentials()
    assert case.entry.settings(**case.values).credentials == tuple(case.values.values())


@pytest.mark.parametrize("priority", Priority)
def test_each_priority_has_its_buckets(case: Case, priority: Priority) -> None:
    buckets = case.entry.buckets[priority]

    for bucket in (buckets.reads, buckets.creates):
        assert bucket.capacity >= 1
        assert bucket.per_second > 0
    assert (buckets.reads == buckets.creates) == (buckets.reads.name == buckets.creates.name)


async def test_what_it_declares_holds_together(case: Case, provider: Provider) -> None:
    assert provider.name == case.name
    assert provider.page_size >= 1
    assert timedelta(0) < provider.upload_bounds.shortest < provider.upload_bounds.longest
    assert [name for name in provider.webhook_headers if name != name.lower()] == []
    assert all(provider.advice.values())


# what it says of a video


async def test_a_video_is_observed_as_it_is(case: Case, provider: Provider) -> None:
    asset_id = case.create()

    observation = await provider.get_asset(asset_id, NOW)

    assert (observation.at, observation.state) == (NOW, State.READY)
    assert observation.provider_asset_id == asset_id
    assert [playback.policy for playback in observation.playback_ids or ()] == ["public"]
    assert observation.created_at is not None
    assert observation.created_at.tzinfo is UTC


async def test_each_word_of_its_own_is_a_state_and_any_other_is_none(
    case: Case, provider: Provider
) -> None:
    for word, state in [*case.words.items(), ("a word of tomorrow", None)]:
        case.wire.answers(200, case.answer(case.video(ID, word, [])))

        observation = await provider.get_asset(ID, NOW)

        assert (observation.state, observation.status) == (state, word)
        is_errored = state is State.ERRORED
        assert observation.error_kind is (ErrorKind.PROVIDER if is_errored else None)


@pytest.mark.parametrize(("policies", "known"), [(None, None), ([], 0), (["public"], 1)])
async def test_playback_ids_that_are_not_told_are_not_taken_for_none(
    case: Case, provider: Provider, policies: list[str] | None, known: int | None
) -> None:
    (word,) = [word for word, state in case.words.items() if state is State.READY]
    case.wire.answers(200, case.answer(case.video(ID, word, policies)))

    playback_ids = (await provider.get_asset(ID, NOW)).playback_ids

    assert (None if playback_ids is None else len(playback_ids)) == known


async def test_a_list_has_every_video_once_newest_first(case: Case, provider: Provider) -> None:
    made = [case.create() for _ in range(provider.page_size + 2)]

    first = await provider.list_assets(NOW)
    second = await provider.list_assets(NOW, first.cursor)

    assert (len(first.entries), len(second.entries)) == (provider.page_size, 2)
    assert second.cursor is None
    listed = [entry.provider_asset_id for entry in [*first.entries, *second.entries]]
    assert sorted(filter(None, listed)) == sorted(made)
    times = [entry.created_at for entry in [*first.entries, *second.entries] if entry.created_at]
    assert times == sorted(times, reverse=True)
    (alone,) = [entry for entry in first.entries if entry.provider_asset_id == made[-1]]
    assert alone.created_at == (await provider.get_asset(made[-1], NOW)).created_at


async def test_a_list_entry_that_cannot_be_read_is_left_out(case: Case, provider: Provider) -> None:
    entries = [case.video(ID, "ready", []), {"nothing": "known"}, None, case.video(ID, "x", None)]
    case.wire.answers(200, case.page(entries))

    page = await provider.list_assets(NOW)

    assert [entry.provider_asset_id for entry in page.entries] == [ID, ID]


# what it raises


async def test_a_video_that_is_not_there_is_not_found_in_its_words(
    case: Case, provider: Provider
) -> None:
    with pytest.raises(NotFound) as real:
        await provider.get_asset(ID, NOW)
    case.wire.answers(404, case.not_found)
    with pytest.raises(NotFound) as told:
        await provider.get_asset(ID, NOW)

    assert (str(real.value), str(told.value)) == (case.not_found_text, case.not_found_text)


@pytest.mark.parametrize("body", [b"", b"<html>Not Found</html>", {}, {"success": True}, ["x"]])
async def test_a_404_without_its_own_body_is_not_believed(
    case: Case, provider: Provider, body: object
) -> None:
    case.wire.answers(404, body)
    with pytest.raises(ProviderUnavailable):
        await provider.get_asset(ID, NOW)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, AuthenticationFailed),
        (403, AuthenticationFailed),
        (429, RateLimited),
        (500, ProviderUnavailable),
        (502, ProviderUnavailable),
        (418, ProviderUnavailable),
    ],
)
async def test_a_refusal_is_told_apart_by_what_can_be_done(
    case: Case, provider: Provider, status: int, error: type[RindleSyncError]
) -> None:
    case.wire.answers(status, {})
    with pytest.raises(error):
        await provider.get_asset(ID, NOW)
    assert case.wire.calls == 1


@pytest.mark.parametrize(("header", "wait"), [({"retry_after": "7"}, 7.0), ({}, None)])
async def test_the_wait_of_a_rate_limit_is_passed_on(
    case: Case, provider: Provider, header: dict[str, str], wait: float | None
) -> None:
    case.wire.answers(429, {}, **header)
    with pytest.raises(RateLimited) as limited:
        await provider.list_assets(NOW)
    assert limited.value.retry_after == wait


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"null", b"[]", b"7"])
async def test_a_body_that_is_no_answer_is_none(
    case: Case, provider: Provider, body: bytes
) -> None:
    case.wire.answers(200, body)
    with pytest.raises(ProviderUnavailable):
        await provider.get_asset(ID, NOW)


async def test_an_answer_about_another_video_is_none(case: Case, provider: Provider) -> None:
    case.wire.answers(200, case.answer(case.video("another", "ready", [])))
    with pytest.raises(ProviderUnavailable):
        await provider.get_asset(ID, NOW)


@pytest.mark.parametrize("trouble", [Wire.is_silent, Wire.is_down])
async def test_a_server_that_does_not_answer_is_unavailable(
    case: Case, provider: Provider, trouble: Callable[[Wire], None]
) -> None:
    trouble(case.wire)
    with pytest.raises(ProviderUnavailable):
        await provider.get_asset(ID, NOW)


async def test_without_credentials_nothing_is_called(case: Case) -> None:
    provider = case.connect()
    for call in (
        provider.get_asset(ID, NOW),
        provider.list_assets(NOW),
        provider.create_upload("passthrough", REQUEST),
        provider.create_asset("passthrough", ASSET_REQUEST, NOW),
        provider.delete_asset(ID),
        provider.reopen_upload(ID, NOW),
    ):
        with pytest.raises(MissingCredentials):
            await call
    assert case.wire.calls == 0


async def test_no_error_or_log_line_has_an_id_or_a_credential(
    case: Case, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secrets = {ID, *case.values.values()}
    body = {"error": {"messages": [*secrets]}, "message": " ".join(secrets)}
    texts = []
    for status in (400, 401, 404, 429, 500):
        case.wire.answers(status, body)
        with pytest.raises(RindleSyncError) as error:
            await provider.get_asset(ID, NOW)
        texts.append(str(error.value))
    case.wire.is_down()
    with pytest.raises(RindleSyncError) as error:
        await provider.get_asset(ID, NOW)
    texts += [str(error.value), repr(provider), *(r.getMessage() for r in caplog.records)]

    shown = [text for text in texts if any(secret in text for secret in case.values.values())]
    assert shown == []
    assert [text for text in texts if ID in text and "HTTP Request" not in text] == []


# uploads


async def test_an_upload_waits_becomes_a_video_and_carries_its_passthrough(
    case: Case, provider: Provider
) -> None:
    upload = await provider.create_upload("the-passthrough", REQUEST)
    waiting = await provider.get_upload(upload.provider_upload_id, NOW)
    asset_id = case.take_file(upload.provider_upload_id)
    linked = await provider.get_upload(upload.provider_upload_id, NOW)
    asset = await provider.get_asset(asset_id, NOW)

    assert upload.url.startswith("http")
    assert upload.url not in repr(upload)
    assert (waiting.state, waiting.provider_asset_id) == (State.UPLOADING, None)
    assert linked.provider_asset_id == asset_id
    assert {waiting.provider_upload_id, linked.provider_upload_id} == {upload.provider_upload_id}
    assert asset.passthrough == "the-passthrough"


async def test_an_upload_that_is_cancelled_has_failed_as_an_upload(
    case: Case, provider: Provider
) -> None:
    upload = await provider.create_upload("the-passthrough", REQUEST)

    cancelled = await provider.cancel_upload(upload.provider_upload_id, NOW)

    assert (cancelled.at, cancelled.state) == (NOW, State.ERRORED)
    assert cancelled.error_kind is ErrorKind.UPLOAD
    assert cancelled.error_text


# webhooks


async def test_a_webhook_is_verified_by_any_secret_and_its_time(
    case: Case, provider: Provider
) -> None:
    sent = case.deliver(ID, SECRET, NOW)
    headers = lowered(sent.headers)

    assert provider.verify(headers, sent.body, [SECRET], NOW, 300) == 0
    assert provider.verify(headers, sent.body, [OTHER_SECRET, SECRET], NOW, 300) == 1
    for moment in (NOW - HOUR, NOW + HOUR):
        with pytest.raises(InvalidWebhook, match="timestamp_out_of_window"):
            provider.verify(headers, sent.body, [SECRET], moment, 300)
    for wrong_headers, body, secrets in (
        (headers, sent.body, [OTHER_SECRET]),
        (headers, sent.body + b" ", [SECRET]),
        ({}, sent.body, [SECRET]),
    ):
        with pytest.raises(InvalidWebhook):
            provider.verify(wrong_headers, body, secrets, NOW, 300)
    with pytest.raises(ConfigurationError) as without:
        provider.verify(headers, sent.body, [], NOW, 300)
    assert without.value.setting == case.entry.settings.webhook_secrets_name


async def test_a_webhook_says_what_a_check_would(case: Case, provider: Provider) -> None:
    sent = case.deliver(ID, SECRET, NOW)
    headers = lowered(sent.headers)
    stored = {name: headers[name] for name in provider.webhook_headers}

    event = provider.read_event(headers, sent.body)
    observation = provider.read_observation(stored, sent.body, NOW + HOUR)

    assert event.acted_on
    assert event.provider_asset_id == ID
    assert (observation.provider_asset_id, observation.state) == (ID, State.READY)
    assert observation.at == NOW + HOUR
    assert (observation.event_id, observation.occurred_at) == (event.event_id, event.occurred_at)


async def test_an_event_has_an_id_by_which_a_repeated_one_is_known(
    case: Case, provider: Provider
) -> None:
    sent, other = case.deliver(ID, SECRET, NOW), case.deliver("another", SECRET, NOW)

    def event_id(delivery: Delivery) -> str:
        return provider.read_event(lowered(delivery.headers), delivery.body).event_id

    assert event_id(sent) == event_id(sent)
    assert event_id(sent) != event_id(other)
    assert 0 < len(event_id(sent)) <= 255


@pytest.mark.parametrize("body", [b"", b"{", b"null", b"[]", b"{}", b"\xff", b'{"type": "x"}'])
async def test_a_webhook_that_cannot_be_read_is_refused(
    case: Case, provider: Provider, body: bytes
) -> None:
    headers = lowered(case.deliver(ID, SECRET, NOW).headers)
    with pytest.raises(InvalidWebhook):
        provider.read_event(headers, body)
    with pytest.raises(InvalidWebhook):
        provider.read_observation(headers, body, NOW)


async def test_a_test_delivery_is_accepted_and_not_acted_on(case: Case, provider: Provider) -> None:
    sent = provider.test_delivery(SECRET, "env", NOW)
    headers = lowered(sent.headers)

    assert provider.verify(headers, sent.body, [SECRET], NOW, 300) == 0
    assert not provider.read_event(headers, sent.body).acted_on
    assert sent.body.decode() not in repr(sent)


# who and when


async def test_it_tells_whose_the_credentials_are_or_that_it_cannot(
    case: Case, provider: Provider
) -> None:
    environment = await provider.whoami()

    assert environment is None or 0 < len(environment) <= 255
    assert await provider.whoami() == environment


async def test_its_clock_is_that_of_its_last_answer(case: Case, provider: Provider) -> None:
    assert provider.clock is None
    date = "Mon, 23 Nov 2026 12:00:00 GMT"
    case.wire.answers(200, case.answer(case.video(ID, "ready", [])), date=date)

    await provider.get_asset(ID, NOW)

    assert provider.clock == datetime(2026, 11, 23, 12, tzinfo=UTC)


async def test_calls_go_side_by_side(case: Case, provider: Provider) -> None:
    made = [case.create() for _ in range(5)]

    found = await asyncio.gather(*(provider.get_asset(asset_id, NOW) for asset_id in made))

    assert [observation.provider_asset_id for observation in found] == made
    assert case.wire.calls == len(made)


async def test_playback_without_a_key_is_refused_by_the_setting(
    case: Case, provider: Provider
) -> None:
    playback = provider.playback
    if playback is None:
        return
    ids = (PlaybackId("playback-1", "signed"),)
    row = replace(a_row(State.READY), provider_name=case.name, playback_ids=ids)
    request = PlaybackRequest(expires_at=NOW + HOUR)

    assert not playback.has_key
    for sign_url in (
        playback.check,
        lambda: playback.url(row, PlaybackKind.VIDEO, request, now=NOW),
    ):
        with pytest.raises(ConfigurationError) as refused:
            sign_url()
        assert refused.value.setting.startswith(f"{case.name}_")
    assert case.wire.calls == 0


async def test_an_upload_can_be_had_again_while_it_waits_for_its_file(
    case: Case, provider: Provider
) -> None:
    upload = await provider.create_upload("the-passthrough", REQUEST)
    waiting = await provider.reopen_upload(upload.provider_upload_id, NOW)
    asset_id = case.take_file(upload.provider_upload_id)
    linked = await provider.reopen_upload(upload.provider_upload_id, NOW)

    assert (waiting.url, waiting.observation.state) == (upload.url, State.UPLOADING)
    assert waiting.timeout >= timedelta(minutes=1)
    assert upload.url not in repr(waiting)
    assert upload.url not in str(waiting.observation.metadata)
    assert (linked.url, linked.observation.provider_asset_id) == (None, asset_id)


# assets


async def test_an_asset_is_made_of_a_url_and_deleted(case: Case, provider: Provider) -> None:
    made = await provider.create_asset("the-passthrough", ASSET_REQUEST, NOW)
    asset_id = made.provider_asset_id or ""
    found = await provider.get_asset(asset_id, NOW)
    await provider.delete_asset(asset_id)

    assert (made.source, made.at, made.passthrough) == (
        ObservationSource.APP,
        NOW,
        "the-passthrough",
    )
    assert (found.provider_asset_id, found.passthrough) == (asset_id, "the-passthrough")
    for call in (provider.get_asset(asset_id, NOW), provider.delete_asset(asset_id)):
        with pytest.raises(NotFound):
            await call


@pytest.mark.parametrize("status", [400, 401, 404, 422, 429, 500])
async def test_no_error_about_a_new_asset_shows_its_file(
    case: Case, provider: Provider, status: int
) -> None:
    url = ASSET_REQUEST.inputs[0]["url"]
    told = {"type": "invalid_parameters", "messages": [f"cannot get {url}"], "message": url}
    case.wire.answers(status, {"error": told, "message": url, "errors": [url]})

    with pytest.raises(RindleSyncError) as raised:
        await provider.create_asset("passthrough", ASSET_REQUEST, NOW)

    shown = repr(raised.value) + repr(ASSET_REQUEST)
    assert "s3cr3t" not in shown
    assert "files.example" not in shown


async def test_each_method_makes_one_call(case: Case, provider: Provider) -> None:
    upload_id = (await provider.create_upload("passthrough", REQUEST)).provider_upload_id
    asset_id = case.create()
    calls = (
        provider.get_asset(asset_id, NOW),
        provider.get_upload(upload_id, NOW),
        provider.reopen_upload(upload_id, NOW),
        provider.list_assets(NOW),
        provider.create_upload("passthrough", REQUEST),
        provider.create_asset("passthrough", ASSET_REQUEST, NOW),
        provider.delete_asset(asset_id),
        provider.cancel_upload(upload_id, NOW),
    )
    for number, call in enumerate(calls, start=2):
        await call
        assert case.wire.calls == number

    # also where it fails: a create that is repeated may make two
    case.wire.answers(500, {})
    before = case.wire.calls
    with pytest.raises(ProviderUnavailable):
        await provider.create_asset("passthrough", ASSET_REQUEST, NOW)
    assert case.wire.calls == before + 1
