"""The tokens of the HTTP API: found by their text, of which only a hash is stored."""

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from hashlib import sha256

import pytest
import sqlalchemy as sa

from rindle_sync.errors import ConfigurationError, TokenNameTaken
from rindle_sync.store.api_tokens import ApiToken, ApiTokens
from rindle_sync.store.schema.api_tables import api_tokens
from tests.support.rows import NOW
from tests.support.world import World

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


@pytest.fixture
async def tokens(world: World) -> AsyncIterator[ApiTokens]:
    tokens = ApiTokens(world.context.store.database)
    yield tokens
    await tokens.finish()


async def a_token(
    tokens: ApiTokens, name: str = "backend", *, lasts: timedelta | None = None
) -> tuple[ApiToken, str]:
    return await tokens.create(
        name,
        may_write=True,
        sees_provider_ids=False,
        environment="default",
        expires_at=NOW + lasts if lasts else None,
        now=NOW,
    )


async def test_a_token_is_found_by_its_text(tokens: ApiTokens) -> None:
    token, text = await a_token(tokens)

    assert len(text) == len("rsk_") + 43
    assert await tokens.find(text, NOW) == token
    assert token == ApiToken(
        name="backend",
        may_write=True,
        sees_provider_ids=False,
        environment="default",
        created_at=NOW,
    )
    for wrong in ("", text[:-1], f"{text}A", text.swapcase(), "rsk_" + 43 * "A", 10_000 * "é"):
        assert await tokens.find(wrong, NOW) is None


async def test_a_token_ends_when_it_is_said_to(tokens: ApiTokens) -> None:
    token, text = await a_token(tokens, lasts=MINUTE)

    assert await tokens.find(text, NOW + MINUTE - SECOND) == token
    assert await tokens.find(text, NOW + MINUTE) is None
    assert [kept.name for kept in await tokens.list()] == ["backend"]


async def test_a_token_that_is_revoked_is_gone(tokens: ApiTokens) -> None:
    _, text = await a_token(tokens)

    assert await tokens.revoke("backend")
    assert not await tokens.revoke("backend")

    assert await tokens.find(text, NOW) is None
    assert await tokens.get("backend") is None
    _, other = await a_token(tokens)
    assert other != text


async def test_names_are_unique_also_where_several_are_made_at_once(tokens: ApiTokens) -> None:
    made = await asyncio.gather(*(a_token(tokens) for _ in range(5)), return_exceptions=True)

    assert [type(result) for result in made].count(TokenNameTaken) == 4
    with pytest.raises(TokenNameTaken, match="there is a token backend already: choose another"):
        await a_token(tokens)


@pytest.mark.parametrize("name", ["", "a" * 101, " backend", "back\nend", "\x00", "settings"])
async def test_a_name_that_no_token_can_have_is_refused(tokens: ApiTokens, name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^name: must"):
        await a_token(tokens, name)


@pytest.mark.parametrize("name", ["a", "a" * 100, "Büro 2 / Übergabe", "日本"])
async def test_other_names_are_not(tokens: ApiTokens, name: str) -> None:
    token, _ = await a_token(tokens, name)

    assert await tokens.get(name) == token


async def test_a_token_that_has_expired_already_is_not_made(tokens: ApiTokens) -> None:
    with pytest.raises(ConfigurationError, match="expires_at: must be later than now"):
        await a_token(tokens, lasts=-MINUTE)


async def test_its_use_is_noted_once_a_minute(world: World, tokens: ApiTokens) -> None:
    _, text = await a_token(tokens)
    elsewhere = ApiTokens(world.context.store.database)

    async def last_used(which: ApiTokens, after: timedelta) -> object:
        await which.find(text, NOW + after)
        await which.finish()
        token = await which.get("backend")
        return token and token.last_used_at

    assert await last_used(tokens, SECOND) == NOW + SECOND
    assert await last_used(tokens, MINUTE) == NOW + SECOND
    assert await last_used(elsewhere, MINUTE) == NOW + SECOND
    assert await last_used(elsewhere, SECOND + MINUTE) == NOW + SECOND + MINUTE


async def test_a_database_that_nobody_can_write_holds_no_answer_up(
    world: World, tokens: ApiTokens
) -> None:
    token, text = await a_token(tokens)
    database = world.context.store.database

    async with database.writing() as connection:
        await connection.execute(sa.update(api_tokens).values(sees_provider_ids=True))
        for _ in range(3):
            assert await asyncio.wait_for(tokens.find(text, NOW), 10) == token
    await tokens.finish()

    used = await tokens.get("backend")
    assert used
    assert used.last_used_at == NOW


async def test_no_text_of_a_token_is_stored_logged_or_shown(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("", "sqlalchemy", "sqlalchemy.engine", "aiosqlite", "psycopg", "rindle_sync"):
        caplog.set_level(logging.DEBUG, name)
    tokens = ApiTokens(world.context.store.database)
    token, text = await a_token(tokens)
    await tokens.find(text, NOW)
    await tokens.finish()
    with pytest.raises(TokenNameTaken) as caught:
        await a_token(tokens)

    stored = str((await world.tables())["provider_api_tokens"])
    shown = [repr(token), repr(tokens), repr(caught.value), caplog.text]
    token_hash = sha256(text.encode()).hexdigest()
    assert token_hash in stored
    assert not any(piece in place for place in [stored, *shown] for piece in pieces_of(text))
    assert not any(token_hash in place for place in shown)


def pieces_of(text: str) -> list[str]:
    secret = text.removeprefix("rsk_")
    return [secret[place : place + 9] for place in range(len(secret) - 8)]
