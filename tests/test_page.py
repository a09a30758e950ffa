"""The operator's page: what it shows to whom, and who may do what; through HTTP as a browser speaks it."""

import re
from collections.abc import AsyncIterator
from html import unescape

import httpx
import pytest

from rindle_sync.asset import By, ErrorKind, State
from rindle_sync.frameworks.page.app import page
from rindle_sync.frameworks.page.session import COOKIE, LASTS
from rindle_sync.ingest import ingest
from rindle_sync.notice import Status
from rindle_sync.telemetry import OperatorActed
from tests.webhooks import an_event, deliver, with_secrets
from tests.world import READY, World, a_work

TOKEN = "the-operators-token-of-this-test"
HERE = "http://localhost:8001"


def a_browser(
    world: World, *environments: str, token: str | None = TOKEN, address: str = HERE, client: str = "127.0.0.1"
) -> httpx.AsyncClient:
    works = [a_work(world, name) for name in environments or ("default",)]
    transport = httpx.ASGITransport(page(works, token), client=(client, 50_000))
    return httpx.AsyncClient(transport=transport, base_url=address)


@pytest.fixture
async def browser(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with a_browser(world) as browser:
        yield browser


async def signed_in(browser: httpx.AsyncClient) -> httpx.AsyncClient:
    answer = await browser.post("/sign-in", data={"token": TOKEN})
    assert answer.status_code == 303
    return browser


def key_in(html: str) -> str:
    found = re.search(r'name="key" value="(\w+)"', html)
    assert found
    return found[1]


def text_of(answer: httpx.Response) -> str:
    """What a person reads."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", answer.text.partition("<main")[2])).split())


def acts(world: World) -> list[tuple[str, str, str | None]]:
    return [(event.action, event.outcome, event.row_id) for event in world.told if isinstance(event, OperatorActed)]


# reading


async def test_the_overview_tells_what_somebody_should_look_at(world: World, browser: httpx.AsyncClient) -> None:
    await world.tools.breaker.refused("no")
    await world.track(State.ERRORED, error_kind=ErrorKind.STUCK)

    told = text_of(await browser.get("/"))

    assert told.startswith('id="main" tabindex="-1"> 3 to look at')
    assert "no engine has ever run on this database" in told
    assert "the provider is left alone for 0 s: refused" in told
    assert "1 row was in flight for too long" in told


async def test_rows_are_filtered_and_found_by_the_apps_own_id(world: World, browser: httpx.AsyncClient) -> None:
    await world.track(State.READY, asset_id="a-ready-one")
    await world.track(State.ERRORED, asset_id="a-stuck-one", error_kind=ErrorKind.STUCK)

    async def shown(query: str) -> list[str]:
        answer = await browser.get(f"/rows?{query}")
        return [name for name in ("a-ready-one", "a-stuck-one") if f">{name}</a>" in answer.text]

    assert await shown("") == ["a-ready-one", "a-stuck-one"]
    assert await shown("state=ready") == ["a-ready-one"]
    assert await shown("kind=stuck") == ["a-stuck-one"]
    assert await shown("name=a-stuck-one") == ["a-stuck-one"]
    assert await shown("name=nobody") == []
    assert await shown("state=nonsense&kind=nonsense&before=nonsense&environment=nonsense") == [
        "a-ready-one",
        "a-stuck-one",
    ]


@pytest.mark.parametrize(
    "query",
    [
        "before=0001-01-01T00%3A00%3A00%2B23%3A00_00000000-0000-4000-8000-000000000001",
        "before=9999-12-31T23%3A59%3A59-23%3A00_00000000-0000-4000-8000-000000000001",
        "before=2026-01-01T00%3A00%3A00_urn:uuid:00000000-0000-4000-8000-000000000001",
        "before=2026-01-01T00%3A00%3A00_00000000000040008000000000000001",
        "before=0001-01-01_00000000-0000-4000-8000-000000000001",
        "name=%00",
        "name=urn:uuid:00000000-0000-4000-8000-000000000001",
    ],
)
async def test_an_address_that_was_made_up_breaks_nothing(browser: httpx.AsyncClient, query: str) -> None:
    assert (await browser.get(f"/rows?{query}")).status_code == 200


async def test_older_rows_are_on_the_next_page_each_once(world: World, browser: httpx.AsyncClient) -> None:
    rows = [await world.track(State.READY, asset_id=f"video-{number}-") for number in range(120)]
    address, seen = "/rows", list[str]()
    while address:
        html = (await browser.get(address)).text
        seen += re.findall(r">(video-\d+-)</a>", html)
        older = re.search(r'href="([^"]+)">Older', html)
        address = unescape(older[1]) if older else ""

    assert sorted(seen) == sorted(row.asset_id for row in rows)


async def test_a_row_is_explained_without_an_id_of_the_providers(world: World, browser: httpx.AsyncClient) -> None:
    row = await world.track(asset_id="<script>alert(1)</script>")
    await world.sync(row)

    answer = await browser.get(f"/rows/{row.id}")

    assert "processing -> ready: the provider says ready" in text_of(answer)
    assert "<script>alert" not in answer.text
    known = await world.now_is(row)
    assert [i for i in (known.provider_asset_id, *(p.id for p in known.playback_ids)) if i and i in answer.text] == []


async def test_the_inbox_shows_deliveries_by_status(world: World, browser: httpx.AsyncClient) -> None:
    with_secrets(world)
    await deliver(world, an_event(await world.track()))
    await ingest(world.tools)

    applied, dead = [await browser.get(f"/inbox?status={status}") for status in (Status.APPLIED, Status.DEAD)]

    assert "video.asset.ready" in applied.text
    assert "No delivery is like that" in dead.text


@pytest.mark.parametrize(
    "path", ["/rows/00000000-0000-4000-8000-000000000001", "/nowhere", "/static/../app.py", "/static/app.py"]
)
async def test_what_is_not_there_is_a_404(browser: httpx.AsyncClient, path: str) -> None:
    assert (await browser.get(path)).status_code == 404


async def test_every_answer_forbids_scripts_and_frames_of_others(browser: httpx.AsyncClient) -> None:
    for path in ("/", "/rows", "/inbox", "/sign-in", "/static/page.js"):
        policy = (await browser.get(path)).headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy


async def test_another_machine_and_a_name_that_leads_here_by_a_trick_may_not_read(world: World) -> None:
    await world.track(asset_id="a-name-of-ours")
    strangers = (
        a_browser(world, client="203.0.113.7"),
        a_browser(world, address="http://evil.example:8001"),
        a_browser(world, token=None, client="203.0.113.7"),
    )
    for browser in strangers:
        async with browser:
            answers = [await browser.get(path) for path in ("/", "/rows", "/inbox")]
        assert [answer.status_code for answer in answers] == [401] * 3
        assert not any("a-name-of-ours" in answer.text for answer in answers)


async def test_another_machine_may_read_once_signed_in(world: World) -> None:
    async with a_browser(world, client="203.0.113.7", address="http://ops.example") as browser:
        await signed_in(browser)

        assert (await browser.get("/")).status_code == 200


async def test_a_database_that_is_gone_is_said_in_a_page(world: World, browser: httpx.AsyncClient) -> None:
    async with world.tools.store.engine.begin() as connection:
        await connection.exec_driver_sql("DROP TABLE media_provider_assets")

    answer = await browser.get("/")

    assert answer.status_code == 503
    assert "run rindle-sync migrate" in text_of(answer).replace("`", "")


# acting


async def test_a_row_is_synced_now_and_that_is_told_and_kept(world: World, browser: httpx.AsyncClient) -> None:
    row = await world.track(life=READY)
    await signed_in(browser)
    key = key_in((await browser.get(f"/rows/{row.id}")).text)

    answer = await browser.post(f"/rows/{row.id}/sync", data={"key": key})

    assert answer.headers["location"] == f"/rows/{row.id}?done=changed"
    assert (await world.now_is(row)).state is State.READY
    assert [change.by for change in await world.tools.store.changes_of(row.id)] == [By.PAGE]
    assert acts(world) == [("sign_in", "done", None), ("sync", "changed", row.id)]


@pytest.mark.parametrize("which", ["one", "all"])
async def test_a_dead_delivery_is_applied_again(world: World, browser: httpx.AsyncClient, which: str) -> None:
    with_secrets(world)
    await deliver(world, an_event("nobody"))
    for _ in range(6):
        await ingest(world.tools)
        world.clock.move(120)
    [notice] = await world.tools.inbox.list("mux", "default", status=Status.DEAD)
    await signed_in(browser)
    key = key_in((await browser.get("/inbox")).text)

    path = f"/inbox/{notice.id}/replay" if which == "one" else "/inbox/replay-dead"
    answer = await browser.post(f"{path}?environment=default", data={"key": key})

    assert answer.headers["location"].endswith("done=1+pending+again")
    assert [n.status for n in await world.tools.inbox.list("mux", "default")] == [Status.PENDING]


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


async def test_a_wrong_token_opens_nothing_and_is_told(world: World, browser: httpx.AsyncClient) -> None:
    answers = [await browser.post("/sign-in", data={"token": wrong}) for wrong in ("", "wrong", TOKEN + "x", "é")]

    assert [answer.status_code for answer in answers] == [403] * 4
    assert COOKIE not in browser.cookies
    assert acts(world) == [("sign_in", "refused", None)] * 4
    assert not any(TOKEN in answer.text for answer in answers)


async def test_a_session_ends_by_time_and_cannot_be_made_up(world: World, browser: httpx.AsyncClient) -> None:
    await signed_in(browser)
    cookie = browser.cookies[COOKIE]
    until, _, signature = cookie.partition(".")

    async def may_act(cookie: str) -> bool:
        browser.cookies.set(COOKIE, cookie, domain="localhost.local")
        return "Sign out" in (await browser.get("/")).text

    browser.cookies.clear()
    forged = [await may_act(one) for one in (f"{int(until) + 9}.{signature}", signature, f"{until}.", "9" * 400, "")]
    assert not any(forged)
    assert await may_act(cookie)
    world.clock.move(LASTS)
    assert not await may_act(cookie)


async def test_without_a_token_in_the_settings_the_page_is_read_only(world: World) -> None:
    async with a_browser(world, token=None) as browser:
        row = await world.track()
        told = await browser.get(f"/rows/{row.id}")
        answers = [await browser.post("/sign-in", data={"token": ""}), await browser.post(f"/rows/{row.id}/sync")]

    assert "read-only" in told.text
    assert "Sync now" not in told.text
    assert [answer.status_code for answer in answers] == [403, 401]


async def test_a_form_that_is_too_large_is_not_read(browser: httpx.AsyncClient) -> None:
    assert (await browser.post("/sign-in", data={"token": "x" * 100_000})).status_code == 413


async def test_environments_are_chosen_by_name(world: World) -> None:
    await world.track(State.READY, asset_id="one-of-default")
    await world.track(State.READY, asset_id="one-of-beta", environment="beta")
    async with a_browser(world, "default", "beta") as browser:
        overview, beta = await browser.get("/"), await browser.get("/rows?environment=beta")

    assert re.findall(r'<h2 id="env-\d">(\w+)', overview.text) == ["default", "beta"]
    assert ("one-of-beta" in beta.text, "one-of-default" in beta.text) == (True, False)
