"""The console with tokens of the HTTP API: who may sign in, what they may do, when it ends."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from rindle_sync.domain import State
from rindle_sync.store.api_tokens import ApiTokens
from rindle_sync.telemetry import OperatorActed
from tests.support.world import READY, World
from tests.web.test_console import TOKEN, a_browser, key_in, text_of

DAY = timedelta(days=1)


@pytest.fixture
def tokens(world: World) -> ApiTokens:
    return ApiTokens(world.context.store.database)


@pytest.fixture
async def browser(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with a_browser(world) as browser:
        yield browser


async def a_token(world: World, tokens: ApiTokens, name: str = "anna", **values: Any) -> str:
    options: dict[str, Any] = {
        "may_write": True,
        "sees_provider_ids": False,
        "now": world.clock.now(),
    }
    _, text = await tokens.create(name, **options | values)
    return text


async def sign_in(browser: httpx.AsyncClient, token: str) -> httpx.Response:
    return await browser.post("/sign-in", data={"token": token})


async def sync(browser: httpx.AsyncClient, row_id: str, key: str) -> httpx.Response:
    return await browser.post(f"/rows/{row_id}/sync", data={"key": key})


def acts(world: World) -> list[tuple[str, str, str]]:
    return [
        (acted.action, acted.outcome, acted.actor)
        for acted in world.told
        if isinstance(acted, OperatorActed)
    ]


async def test_whoever_signs_in_with_a_token_acts_in_its_name(
    world: World, tokens: ApiTokens, browser: httpx.AsyncClient
) -> None:
    row = await world.track(life=READY)
    assert (await sign_in(browser, await a_token(world, tokens))).status_code == 303

    page = await browser.get(f"/rows/{row.id}")
    assert (await sync(browser, row.id, key_in(page.text))).status_code == 303
    await browser.post("/webhook-events/replay-dead", data={"key": key_in(page.text)})

    assert acts(world) == [
        ("sign_in", "done", "token:anna"),
        ("sync", "changed", "token:anna"),
        ("replay_dead", "nothing", "token:anna"),
    ]
    [action] = await world.context.store.row_actions.newest(10)
    assert (action.row_id, action.action, action.actor.text) == (row.id, "sync", "token:anna")
    told = text_of(await browser.get(f"/rows/{row.id}"))
    assert "token:anna sync: changed" in told


async def test_with_the_token_of_the_console_the_actor_is_the_console(
    world: World, browser: httpx.AsyncClient
) -> None:
    row = await world.track(life=READY)
    await sign_in(browser, TOKEN)

    await sync(browser, row.id, key_in((await browser.get("/")).text))

    assert acts(world) == [("sign_in", "done", "console"), ("sync", "changed", "console")]
    [action] = await world.context.store.row_actions.newest(10)
    assert action.actor.text == "console"


async def test_a_token_that_may_read_signs_in_and_out_and_does_nothing_else(
    world: World, tokens: ApiTokens, browser: httpx.AsyncClient
) -> None:
    row = await world.track(State.PROCESSING)
    await sign_in(browser, await a_token(world, tokens, may_write=False))

    page = await browser.get(f"/rows/{row.id}")
    refused = await sync(browser, row.id, key_in(page.text))

    assert page.status_code == 200
    assert "Sync now" not in page.text
    assert refused.status_code == 403
    assert "the token of this session may read, and change nothing" in refused.text
    assert await world.context.store.row_actions.newest(10) == []
    left = await browser.post("/sign-out", data={"key": key_in(page.text)})
    assert left.status_code == 303
    assert (await browser.get("/")).status_code == 401


@pytest.mark.parametrize("how", ["revoked", "expired", "replaced"])
async def test_a_session_ends_with_its_token(
    world: World, tokens: ApiTokens, browser: httpx.AsyncClient, how: str
) -> None:
    expires_at = world.clock.now() + timedelta(hours=1)
    row = await world.track()
    await sign_in(browser, await a_token(world, tokens, expires_at=expires_at))
    page = await browser.get("/")
    assert page.status_code == 200

    if how == "expired":
        world.clock.move(timedelta(hours=1))
    else:
        await tokens.revoke("anna")
    if how == "replaced":
        world.clock.move(1)
        await a_token(world, tokens)

    assert (await browser.get("/")).status_code == 401
    assert (await sync(browser, row.id, key_in(page.text))).status_code == 401


@pytest.mark.parametrize("how", ["revoked", "expired", "unknown"])
async def test_a_token_that_is_not_valid_opens_nothing(
    world: World, tokens: ApiTokens, browser: httpx.AsyncClient, how: str
) -> None:
    text = await a_token(world, tokens, expires_at=world.clock.now() + DAY)
    if how == "revoked":
        await tokens.revoke("anna")
    elif how == "expired":
        world.clock.move(DAY)
    else:
        text = text[:-2] + "AA"

    assert (await sign_in(browser, text)).status_code == 403
    assert acts(world) == [("sign_in", "refused", "console")]


async def test_a_token_of_one_environment_does_not_see_others(
    world: World, tokens: ApiTokens, browser: httpx.AsyncClient
) -> None:
    text = await a_token(world, tokens, environment="default")
    async with a_browser(world, "default", "staging") as wider:
        refused = await sign_in(wider, text)
        assert refused.status_code == 403
        assert "this token is for one environment alone" in refused.text
        # nor by a cookie of a console that shows no more than its own
        await sign_in(browser, text)
        wider.cookies.update(browser.cookies)
        assert (await wider.get("/")).status_code == 401

    assert (await browser.get("/")).status_code == 200


async def test_without_the_token_of_the_console_nobody_signs_in(
    world: World, tokens: ApiTokens
) -> None:
    async with a_browser(world, token=None) as browser:
        assert (await sign_in(browser, await a_token(world, tokens))).status_code == 403


async def test_a_page_that_does_not_exist_knows_who_is_signed_in(
    world: World, tokens: ApiTokens, browser: httpx.AsyncClient
) -> None:
    await sign_in(browser, await a_token(world, tokens))

    missing = await browser.get("/nowhere")

    assert missing.status_code == 404
    assert "Sign out" in missing.text


async def test_no_page_cookie_or_event_shows_a_token(
    world: World, tokens: ApiTokens, browser: httpx.AsyncClient
) -> None:
    text = await a_token(world, tokens)
    answer = await sign_in(browser, text)
    pages = [await browser.get(path) for path in ("/", "/rows", "/webhook-events", "/nowhere")]

    shown = [answer.text, str(answer.headers), *(page.text for page in pages), str(world.told)]
    secret = text.removeprefix("rsk_")
    pieces = {secret[place : place + 9] for place in range(len(secret) - 8)}
    assert not [piece for piece in pieces if any(piece in place for place in shown)]


@pytest.mark.parametrize("sees_provider_ids", [True, False])
async def test_the_ids_of_the_provider_are_for_tokens_that_may_see_them(
    world: World, tokens: ApiTokens, browser: httpx.AsyncClient, *, sees_provider_ids: bool
) -> None:
    row = await world.track(life=READY)
    await world.sync(row)
    await sign_in(browser, await a_token(world, tokens, sees_provider_ids=sees_provider_ids))

    of_row = await browser.get(f"/rows/{row.id}")
    of_video = await browser.get(f"/rows/{row.id}/video")

    assert (f"/rows/{row.id}/video" in of_row.text) is sees_provider_ids
    assert of_video.status_code == (200 if sees_provider_ids else 403)
    assert (str(row.provider_asset_id) in of_video.text) is sees_provider_ids


async def test_what_is_done_to_several_videos_is_recorded_of_each(
    world: World, tokens: ApiTokens, browser: httpx.AsyncClient
) -> None:
    rows = [await world.track(life=READY) for _ in range(2)]
    await sign_in(browser, await a_token(world, tokens))
    key = key_in((await browser.get("/rows")).text)
    chosen = {"key": key, "row": [row.id for row in rows]}

    assert (await browser.post("/rows/sync-selected", data=chosen)).status_code == 200
    assert (await browser.post("/rows/untrack-selected", data=chosen)).status_code == 200

    recorded = await world.context.store.row_actions.newest(10)
    assert {action.actor.text for action in recorded} == {"token:anna"}
    assert sorted(action.action.value for action in recorded) == ["sync"] * 2 + ["untrack"] * 2
