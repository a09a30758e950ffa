"""The console: what it shows to whom, and who may do what; through HTTP as a browser speaks it."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, MutableMapping
from datetime import timedelta
from html import unescape
from importlib.metadata import version
from itertools import pairwise
from typing import Any, NoReturn

import httpx
import pytest
from itsdangerous import URLSafeSerializer
from itsdangerous.encoding import base64_decode, base64_encode
from sqlalchemy import event
from starlette.requests import Request

from rindle_sync.domain import ErrorKind, EventStatus, State, Trigger
from rindle_sync.gateway import Reason
from rindle_sync.store.row_listing import RowListing
from rindle_sync.telemetry import OperatorActed
from rindle_sync.web.console.app import GUESSES, Console
from rindle_sync.web.console.forms import Declined, read_form
from rindle_sync.web.console.pages import HOLDS, READ_WITHIN, READS
from rindle_sync.web.console.session import COOKIE, LASTS
from rindle_sync.webhooks import process_webhook_events
from tests.support.processes import eventually
from tests.support.webhooks import an_event, deliver, with_secrets
from tests.support.world import READY, World, a_job_runner, a_world

TOKEN = "the-console-token-of-this-test"
HERE = "http://localhost:8001"


class OfConsole(httpx.ASGITransport):
    """Closes the console with the browser: it may be counting for its charts."""

    async def aclose(self) -> None:
        assert isinstance(self.app, Console)
        await self.app.close()


def a_browser(
    world: World,
    *environments: str,
    token: str | None = TOKEN,
    address: str = HERE,
    client: str = "127.0.0.1",
) -> httpx.AsyncClient:
    job_runners = [a_job_runner(world, name) for name in environments or ("default",)]
    transport = OfConsole(Console(job_runners, token), client=(client, 50_000))
    return httpx.AsyncClient(transport=transport, base_url=address)


@pytest.fixture
async def browser(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with a_browser(world) as browser:
        yield browser


@pytest.fixture
async def reader(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """On this machine, where nobody can sign in."""
    async with a_browser(world, token=None) as reader:
        yield reader


async def signed_in(browser: httpx.AsyncClient) -> httpx.AsyncClient:
    answer = await browser.post("/sign-in", data={"token": TOKEN})
    assert answer.status_code == 303
    return browser


def key_in(html: str) -> str:
    found = re.search(r'name="key" value="([\w-]+)"', html)
    assert found
    return found[1]


def text_of(answer: httpx.Response) -> str:
    """What a person reads."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", answer.text.partition("<main")[2])).split())


async def counted(reader: httpx.AsyncClient) -> httpx.Response:
    """The overview, once the changes of the day are counted."""
    answers = list[httpx.Response]()

    async def is_counted() -> None:
        answers.append(await reader.get("/"))
        assert "being counted" not in answers[-1].text

    await eventually(is_counted)
    return answers[-1]


def acts(world: World) -> list[tuple[str, str, str | None]]:
    return [
        (action.action, action.outcome, action.row_id)
        for action in world.told
        if isinstance(action, OperatorActed)
    ]


# reading


async def test_the_overview_names_the_problems(world: World, reader: httpx.AsyncClient) -> None:
    await world.context.gateway.circuit.open(Reason.REFUSED, "no")
    await world.track(State.ERRORED, error_kind=ErrorKind.STUCK)

    told = text_of(await counted(reader))

    assert told.startswith('id="main" tabindex="-1"> 3 problems error')
    assert "no engine has ever run on this database" in told
    assert "the circuit is open for 0 s: refused" in told
    assert "1 row was in flight for too long" in told


async def test_rows_are_filtered_and_found_by_the_apps_own_id(
    world: World, reader: httpx.AsyncClient
) -> None:
    await world.track(State.READY, reference="a-ready-one")
    await world.track(State.ERRORED, reference="a-stuck-one", error_kind=ErrorKind.STUCK)

    async def shown(query: str) -> list[str]:
        answer = await reader.get(f"/rows?{query}")
        return [name for name in ("a-ready-one", "a-stuck-one") if f">{name}</a>" in answer.text]

    assert await shown("") == ["a-ready-one", "a-stuck-one"]
    assert await shown("state=ready") == ["a-ready-one"]
    assert await shown("kind=stuck") == ["a-stuck-one"]
    assert await shown("name=a-stuck-one") == ["a-stuck-one"]
    assert await shown("name=nobody") == []
    assert await shown("state=nonsense&kind=nonsense&after=nonsense&environment=nonsense") == [
        "a-ready-one",
        "a-stuck-one",
    ]


@pytest.mark.parametrize(
    "query",
    [
        "after=0001-01-01T00%3A00%3A00%2B23%3A00_00000000-0000-4000-8000-000000000001",
        "after=9999-12-31T23%3A59%3A59-23%3A00_00000000-0000-4000-8000-000000000001",
        "after=2026-01-01T00%3A00%3A00_urn:uuid:00000000-0000-4000-8000-000000000001",
        "after=2026-01-01T00%3A00%3A00_00000000000040008000000000000001",
        "after=0001-01-01_00000000-0000-4000-8000-000000000001",
        "name=%00",
        "name=urn:uuid:00000000-0000-4000-8000-000000000001",
    ],
)
async def test_an_address_that_was_made_up_breaks_nothing(
    reader: httpx.AsyncClient, query: str
) -> None:
    assert (await reader.get(f"/rows?{query}")).status_code == 200


async def test_more_videos_are_on_the_next_page_each_once(
    world: World, reader: httpx.AsyncClient
) -> None:
    rows = [await world.track(State.READY, reference=f"video-{number}-") for number in range(120)]
    address, seen = "/rows", list[str]()
    while address:
        html = (await reader.get(address)).text
        seen += re.findall(r">(video-\d+-)</a>", html)
        following = re.search(r'href="([^"]+)" rel="next"', html)
        address = unescape(following[1]) if following else ""

    assert sorted(seen) == sorted(row.reference for row in rows)


async def test_a_row_is_explained_without_an_id_of_the_providers(
    world: World, reader: httpx.AsyncClient
) -> None:
    row = await world.track(reference="<script>alert(1)</script>")
    await world.sync(row)

    answer = await reader.get(f"/rows/{row.id}")

    assert "processing -> ready: the provider says ready" in text_of(answer)
    assert "<script>alert" not in answer.text
    known = await world.now_is(row)
    assert [
        i
        for i in (known.provider_asset_id, *(p.id for p in known.playback_ids))
        if i and i in answer.text
    ] == []


async def test_webhook_events_are_shown_by_status(world: World, reader: httpx.AsyncClient) -> None:
    with_secrets(world)
    row = await world.track()
    await deliver(world, an_event(row))
    await process_webhook_events(world.context)

    applied, dead = [
        await reader.get(f"/webhook-events?status={status}")
        for status in (EventStatus.APPLIED, EventStatus.DEAD)
    ]

    assert "video.asset.ready" in applied.text
    assert f'<a href="/rows/{row.id}">{row.reference}</a>' in applied.text
    assert "There is no such webhook event" in dead.text


@pytest.mark.parametrize(
    "path",
    [
        "/rows/00000000-0000-4000-8000-000000000001",
        "/nowhere",
        "/static/../app.py",
        "/static/app.py",
    ],
)
async def test_what_is_not_there_is_a_404(reader: httpx.AsyncClient, path: str) -> None:
    assert (await reader.get(path)).status_code == 404


async def test_every_answer_forbids_scripts_and_frames_of_others(reader: httpx.AsyncClient) -> None:
    paths = (
        "/",
        "/rows",
        "/webhook-events",
        "/sign-in",
        "/static/console.js",
        "/nowhere",
        "/static/nothing",
    )
    answers = [await reader.get(path) for path in paths] + [
        await reader.put("/rows"),
        await reader.post("/sign-out"),
    ]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert [answer.status_code for answer in answers[5:]] == [404, 404, 405, 401]
    assert answers[7].headers["allow"]
    assert all("That did not work" in answer.text for answer in answers[5:])


async def test_nobody_reads_who_is_not_signed_in_or_not_on_this_machine_where_nobody_can_be(
    world: World,
) -> None:
    told = (
        "a-name-of-ours",
        "acme-production",
        "acme-staging",
        f"rindle-sync {version('rindle-sync')}",
    )
    await world.track(reference="a-name-of-ours", environment="acme-production")
    environments = ("acme-production", "acme-staging")
    untracked = (
        a_browser(world, *environments),
        a_browser(world, *environments, client="203.0.113.7"),
        a_browser(world, *environments, token=None, address="http://evil.example:8001"),
        a_browser(world, *environments, token=None, client="203.0.113.7"),
    )
    for browser in untracked:
        async with browser:
            answers = [
                await browser.get(path)
                for path in ("/", "/rows", "/webhook-events", "/sign-in", "/nowhere")
            ]
        assert [answer.status_code for answer in answers] == [401] * 3 + [200, 404]
        assert not any(word in answer.text for word in told for answer in answers)


async def test_another_machine_may_read_once_signed_in(world: World) -> None:
    async with a_browser(world, client="203.0.113.7", address="http://ops.example") as browser:
        await signed_in(browser)

        assert (await browser.get("/")).status_code == 200


async def test_a_database_without_tables_is_named_on_a_page(
    world: World, reader: httpx.AsyncClient
) -> None:
    async with world.context.store.database.engine.begin() as connection:
        await connection.exec_driver_sql("DROP TABLE media_provider_assets")

    answer = await reader.get("/")

    assert answer.status_code == 503
    assert "run rindle-sync migrate" in text_of(answer).replace("`", "")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (
            {
                "sec-fetch-site": "cross-site",
                "sec-fetch-mode": "no-cors",
                "sec-fetch-dest": "image",
            },
            403,
        ),
        (
            {
                "sec-fetch-site": "cross-site",
                "sec-fetch-mode": "navigate",
                "sec-fetch-dest": "iframe",
            },
            403,
        ),
        (
            {
                "sec-fetch-site": "cross-site",
                "sec-fetch-mode": "navigate",
                "sec-fetch-dest": "document",
            },
            200,
        ),
        (
            {"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors", "sec-fetch-dest": "empty"},
            200,
        ),
        (
            {"sec-fetch-site": "none", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"},
            200,
        ),
    ],
)
async def test_another_site_leads_here_by_a_link_alone(
    reader: httpx.AsyncClient, sent: dict[str, str], status: int
) -> None:
    assert (await reader.get("/rows", headers=sent)).status_code == status


async def test_many_readers_at_once_cost_the_database_one_read(
    world: World, reader: httpx.AsyncClient
) -> None:
    statements: list[str] = []
    event.listen(
        world.context.store.database.engine.sync_engine,
        "before_cursor_execute",
        lambda *told: statements.append(told[2]),
    )

    await counted(reader)
    world.clock.move(HOLDS)
    statements.clear()

    answers = await asyncio.gather(*(reader.get("/") for _ in range(30)))

    assert [answer.status_code for answer in answers] == [200] * 30
    assert sum("provider_row_counts" in statement for statement in statements) == 1
    assert sum("provider_asset_changes.outputs" in statement for statement in statements) <= 1


async def test_a_locked_table_leaves_webhooks_their_connections(postgres_tables_url: str) -> None:
    async with a_world(postgres_tables_url, migrated=True) as world:
        reader = a_browser(world, token=None)
        async with world.context.store.database.engine.connect() as other, reader:
            await other.exec_driver_sql("LOCK TABLE media_provider_assets IN ACCESS EXCLUSIVE MODE")
            looking = [asyncio.create_task(reader.get(path)) for path in ["/", "/rows"] * 15]
            crowd, _ = await asyncio.wait(looking, timeout=2 * READ_WITHIN)
            with_secrets(world)
            kept = await deliver(world, an_event("nobody"))
            await other.rollback()
            answers = await asyncio.gather(*looking)

    assert kept.status == 202
    assert {task.result().status_code for task in crowd} == {503}
    assert len(crowd) >= 30 - READS
    assert all("busy" in text_of(task.result()) for task in crowd)
    assert {answer.status_code for answer in answers} == {200, 503}


async def test_a_fault_of_ours_is_a_page_and_logged_with_its_place_and_without_its_text(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    job_runner = a_job_runner(world)
    store = job_runner.context.store
    store.row_listing = Broken(store.database, store.provider, store.environment)
    transport = httpx.ASGITransport(Console([job_runner], None))
    async with httpx.AsyncClient(transport=transport, base_url=HERE) as reader:
        answer = await reader.get("/rows")

    assert answer.status_code == 500
    assert "a bug in rindle-sync" in text_of(answer)
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    (told,) = caplog.messages
    assert told.startswith("console: an unexpected error\nTraceback")
    assert re.search(r"test_console\.py\S+ line \d+, in page", told)
    assert told.endswith("\nKeyError")
    assert HIDDEN not in told


HIDDEN = "the-id-of-an-asset"


class Broken(RowListing):
    """Fails, and names what nobody may see."""

    async def page(self, *_: object, **__: object) -> NoReturn:
        raise KeyError(HIDDEN)


# acting


async def test_a_row_is_synced_now_and_the_action_is_emitted(
    world: World, browser: httpx.AsyncClient
) -> None:
    row = await world.track(life=READY)
    await signed_in(browser)
    key = key_in((await browser.get(f"/rows/{row.id}")).text)

    answer = await browser.post(f"/rows/{row.id}/sync", data={"key": key})

    assert answer.headers["location"] == f"/rows/{row.id}?done=changed"
    assert (await world.now_is(row)).state is State.READY
    assert [change.trigger for change in await world.context.store.assets.changes_of(row.id)] == [
        Trigger.CONSOLE
    ]
    assert acts(world) == [("sign_in", "done", None), ("sync", "changed", row.id)]


async def test_a_row_past_the_stuck_threshold_is_asked_about_when_a_person_syncs_it(
    world: World, browser: httpx.AsyncClient
) -> None:
    row = await world.track(life=READY, updated_at=world.clock.now() - timedelta(hours=3))
    await signed_in(browser)
    key = key_in((await browser.get(f"/rows/{row.id}")).text)

    answer = await browser.post(f"/rows/{row.id}/sync", data={"key": key})

    assert answer.headers["location"] == f"/rows/{row.id}?done=changed"
    assert ((await world.now_is(row)).state, world.calls) == (State.READY, 1)


@pytest.mark.parametrize("which", ["one", "all"])
async def test_a_dead_webhook_event_is_replayed(
    world: World, browser: httpx.AsyncClient, which: str
) -> None:
    with_secrets(world)
    await deliver(world, an_event("nobody") | {"data": {}, "object": None})
    await process_webhook_events(world.context)
    [webhook_event] = await world.context.store.inbox.list(status=EventStatus.DEAD)
    await signed_in(browser)
    key = key_in((await browser.get("/webhook-events")).text)

    path = (
        f"/webhook-events/{webhook_event.id}/replay"
        if which == "one"
        else "/webhook-events/replay-dead"
    )
    answer = await browser.post(f"{path}?environment=default", data={"key": key})

    assert answer.headers["location"].endswith("done=replayed&number=1")
    assert "1 webhook event to be replayed." in text_of(
        await browser.get(answer.headers["location"])
    )
    assert [n.status for n in await world.context.store.inbox.list()] == [EventStatus.PENDING]


async def test_nobody_acts_without_signing_in_or_from_another_sites_form(
    world: World, browser: httpx.AsyncClient
) -> None:
    row = await world.track()
    path = f"/rows/{row.id}/sync"

    stranger = await browser.post(path, data={"key": "x"})
    await signed_in(browser)
    forged = [await browser.post(path, data=data) for data in ({}, {"key": "x"}, {"key": "é"})]

    assert stranger.status_code == 401
    assert [answer.status_code for answer in forged] == [403] * 3
    assert await world.now_is(row) == row
    assert world.calls == 0


async def test_a_wrong_token_opens_nothing_and_is_emitted(
    world: World, browser: httpx.AsyncClient
) -> None:
    answers = [
        await browser.post("/sign-in", data={"token": wrong})
        for wrong in ("", "wrong", TOKEN + "x", "é")
    ]

    assert [answer.status_code for answer in answers] == [403] * 4
    assert COOKIE not in browser.cookies
    assert acts(world) == [("sign_in", "refused", None)] * 4
    assert not any(TOKEN in answer.text for answer in answers)


async def test_a_session_ends_by_time_and_cannot_be_made_up(
    world: World, browser: httpx.AsyncClient
) -> None:
    await signed_in(browser)
    cookie = browser.cookies[COOKIE]
    payload, _, signature = cookie.rpartition(".")
    session = json.loads(base64_decode(payload))
    later = base64_encode(json.dumps(session | {"until": session["until"] + 9}))

    async def may_act(cookie: str) -> bool:
        browser.cookies.set(COOKIE, cookie, domain="localhost.local")
        return "Sign out" in (await browser.get("/")).text

    browser.cookies.clear()
    forged = [
        await may_act(made_up)
        for made_up in (
            f"{later.decode()}.{signature}",
            str(URLSafeSerializer("", salt="session").dumps(session)),
            f"{payload}.",
            signature,
            payload,
            "9" * 400,
            "",
            "..",
            "a.b.c",
        )
    ]
    assert not any(forged)
    assert await may_act(cookie)
    world.clock.move(LASTS)
    assert not await may_act(cookie)


async def test_a_session_that_was_signed_out_is_over_and_no_other(
    world: World, browser: httpx.AsyncClient
) -> None:
    row = await world.track()
    await signed_in(browser)
    cookie, key = browser.cookies[COOKIE], key_in((await browser.get("/rows")).text)
    await browser.post("/sign-out", data={"key": key})

    browser.cookies.set(COOKIE, cookie, domain="localhost.local")
    answers = [
        await browser.get("/rows"),
        await browser.post(f"/rows/{row.id}/sync", data={"key": key}),
    ]
    browser.cookies.clear()
    await signed_in(browser)

    assert [answer.status_code for answer in answers] == [401, 401]
    assert world.calls == 0
    assert (await browser.get("/rows")).status_code == 200


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [("unauthorized", "refused"), ("server_error", "unanswered"), ("rate_limited", "unanswered")],
)
async def test_a_sync_that_fails_is_emitted_and_its_page_links_back(
    world: World, browser: httpx.AsyncClient, fault: str, outcome: str
) -> None:
    row = await world.track()
    world.emulator.add_fault(fault)
    await signed_in(browser)
    key = key_in((await browser.get(f"/rows/{row.id}")).text)

    answer = await browser.post(f"/rows/{row.id}/sync", data={"key": key})

    assert acts(world)[-1] == ("sync", outcome, row.id)
    if outcome == "refused":
        assert answer.status_code == 503
        assert f'<a href="/rows/{row.id}">Back</a>' in answer.text
    else:
        assert answer.headers["location"] == f"/rows/{row.id}?done=unanswered"


async def test_only_what_an_action_came_to_is_shown_as_done(reader: httpx.AsyncClient) -> None:
    shown = [
        text_of(await reader.get(f"/webhook-events?{query}"))
        for query in (
            "done=call+this+number",
            "done=replayed&number=call",
            "done=replayed&number=2",
            "done=unanswered",
        )
    ]

    assert not any("call" in text for text in shown[:2])
    assert "2 webhook events to be replayed." in shown[2]
    assert "The provider did not answer" in shown[3]


async def test_wrong_tokens_are_answered_one_after_another_and_too_many_not_at_all(
    world: World, browser: httpx.AsyncClient
) -> None:
    began = world.clock.now()
    wrong = [browser.post("/sign-in", data={"token": "wrong"}) for _ in range(GUESSES + 20)]
    *guesses, right = await asyncio.gather(*wrong, browser.post("/sign-in", data={"token": TOKEN}))

    assert [guess.status_code for guess in guesses] == [403] * GUESSES + [429] * 20
    assert right.status_code == 429
    assert world.clock.now() - began == timedelta(seconds=GUESSES)
    told = [acted.system_time for acted in world.told if isinstance(acted, OperatorActed)]
    assert [later - earlier for earlier, later in pairwise(told)] == [1_000_000_000] * (GUESSES - 1)
    await signed_in(browser)


async def test_a_browser_that_goes_away_while_it_sends_a_form_is_no_fault(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    app, answers = Console([a_job_runner(world)], TOKEN), list[MutableMapping[str, Any]]()
    parts: list[MutableMapping[str, Any]] = [
        {"type": "http.request", "body": b"tok", "more_body": True}
    ]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/sign-in",
        "headers": [],
        "query_string": b"",
        "root_path": "",
    }

    async def receive() -> MutableMapping[str, Any]:
        return parts.pop() if parts else {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        answers.append(message)

    await app(scope, receive, send)

    assert caplog.messages == []
    assert answers[0]["status"] == 400


async def test_a_form_that_comes_in_too_slowly_is_not_waited_for() -> None:
    async def receive() -> MutableMapping[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(Declined, match=r"did not arrive within 0\.01 s"):
        await read_form(Request({"type": "http", "headers": []}, receive), within=0.01)


async def test_without_a_token_in_the_settings_the_console_is_read_only(world: World) -> None:
    async with a_browser(world, token=None) as browser:
        row = await world.track()
        told = await browser.get(f"/rows/{row.id}")
        answers = [
            await browser.post("/sign-in", data={"token": ""}),
            await browser.post(f"/rows/{row.id}/sync"),
        ]

    assert "read-only" in told.text
    assert "Sync now" not in told.text
    assert [answer.status_code for answer in answers] == [403, 401]


async def test_a_form_that_is_too_large_is_not_read(browser: httpx.AsyncClient) -> None:
    assert (await browser.post("/sign-in", data={"token": "x" * 100_000})).status_code == 413


async def test_environments_are_chosen_by_name(world: World) -> None:
    await world.track(State.READY, reference="one-of-default")
    await world.track(State.READY, reference="one-of-beta", environment="beta")
    async with a_browser(world, "default", "beta", token=None) as browser:
        overview, beta = await browser.get("/"), await browser.get("/rows?environment=beta")

    assert re.findall(r'<h2 id="env-\d">(\w+)', overview.text) == ["default", "beta"]
    assert ("one-of-beta" in beta.text, "one-of-default" in beta.text) == (True, False)
