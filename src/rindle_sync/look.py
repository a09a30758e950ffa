"""Asking the provider: about a row, for a list page, and who we are. Whatever goes wrong at it is a `Silence`."""

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final, TypeVar

from rindle_sync.asset import By, Lack, ProviderAsset, Seen, Silence, Via, redact_id, scrub
from rindle_sync.breaker import Opened, Reason
from rindle_sync.call import Way, call
from rindle_sync.decide import at_rest
from rindle_sync.errors import (
    Gone,
    NoAnswer,
    NoCredentials,
    OtherEnvironment,
    Refused,
    RindleSyncError,
    Throttled,
    Unreachable,
)
from rindle_sync.plan import ATTEMPTS, retry_gap
from rindle_sync.providers.base import Page
from rindle_sync.tools import Tools

_log: Final = logging.getLogger("rindle_sync")

THROTTLES: Final = 10
"""How often one look waits for a provider that throttles, before it is left to a later pass."""

Answer = TypeVar("Answer")


async def look(tools: Tools, row: ProviderAsset, by: By) -> Seen | Silence:
    """Ask about `row`, inside the budget."""
    if tools.breaker.room(1):
        await tools.budget.take(by=by)
    return await ask(tools, row)


async def ask(tools: Tools, row: ProviderAsset) -> Seen | Silence:
    """Ask about `row` with a call that the budget has granted. A 404 is believed only in the rows' own environment."""

    async def asked(at: datetime) -> Seen:
        try:
            seen = await _ask(tools, row, at)
        except Gone:
            await check_identity(tools)
            if at_rest(row) and tools.identity.expected is None:
                raise Unreachable(
                    "not found; but no row was ever found with this token: is it of their environment?"
                ) from None
            return Seen(via=Via.GET, at=at, gone=True)
        await note_identity(tools)
        return seen

    secrets = row.provider_asset_id, row.provider_upload_id, row.passthrough
    return await _answered(tools, asked, f"row {row.id}", *secrets)


async def look_at_page(tools: Tools, cursor: str | None, take: Callable[[], Awaitable[int]]) -> Page | Silence | None:
    """Ask for the list page at `cursor`, again where there was no answer; the last silence where there was none at all.

    `take` waits until a call is allowed, and says whether it is; None where no call was. Raises `Refused`.
    """
    page: Page | Silence | None = None
    failures = throttles = 0
    while failures < ATTEMPTS and throttles < THROTTLES and await take():
        if failures:
            await tools.sleep(retry_gap(failures, tools.schedule).total_seconds())
        page = await _answered(tools, lambda at: _list(tools, at, cursor), "a list page", cursor)
        if not isinstance(page, Silence):
            return page
        stop_if_refused(page)
        throttles += page.lack is Lack.THROTTLED
        failures += page.lack is not Lack.THROTTLED
    return page


async def ask_identity(tools: Tools) -> Silence | None:
    """Ask which environment our credentials belong to; None if it is that of the rows."""
    return await _answered(tools, lambda _: check_identity(tools), "our environment")


async def check_identity(tools: Tools) -> None:
    """Raise `OtherEnvironment` unless our credentials belong to the environment that the rows were made in.

    Raises `NoAnswer` and its other kinds where the provider does not tell.
    """
    async with tools.identity.turn:
        found, expected = await _found(tools), await _expected(tools)
    if expected and found != expected:
        tags = redact_id(found), redact_id(expected)
        raise OtherEnvironment(
            f"the token belongs to {tools.provider.name} environment {tags[0]}, the rows to {tags[1]}; use a token of "
            "that one or, if the rows have moved, name the new environment in the settings (docs/settings.md)"
        )


async def note_identity(tools: Tools) -> None:
    """The provider has told of one of our rows: the environment of our credentials is that of the rows, from now on.

    Does nothing where that was settled before, in this process or another, or by a setting.
    """
    identity = tools.identity
    if identity.expected or identity.tries >= ATTEMPTS:
        return
    async with identity.turn:
        if identity.tries >= ATTEMPTS or await _expected(tools):
            return
        identity.tries += 1
        try:
            found = await _found(tools)
        except NoAnswer:
            return
        await tools.environments.identify(tools.provider.name, tools.environment, found)
        identity.expected = found


async def _found(tools: Tools) -> str:
    if tools.identity.found is None:
        await tools.budget.take()
        tools.identity.found = await call(tools, Way.WHOAMI, tools.provider.whoami())
    return tools.identity.found


async def _expected(tools: Tools) -> str | None:
    identity = tools.identity
    if identity.expected is None:
        known = await tools.environments.get(tools.provider.name, tools.environment)
        identity.expected = known.provider_environment_id
    return identity.expected


async def _answered(
    tools: Tools, asked: Callable[[datetime], Awaitable[Answer]], about: str, *secrets: str | None
) -> Answer | Silence:
    at = tools.now()
    if opened := tools.breaker.enter():
        return _barred(opened, at)
    try:
        if tools.breaker.opened and tools.breaker.opened.reason is Reason.OTHER_ENVIRONMENT:
            await check_identity(tools)  # a list page is answered in any environment: it must not close the breaker
        answer = await asked(at)
    except (NoAnswer, Gone) as error:  # that a list is gone says nothing of any row
        return await _silence(tools, error, at, scrub(str(error), *secrets))
    except RindleSyncError:
        raise
    except Exception as error:  # noqa: BLE001  a fault of ours about one answer must not keep other rows waiting
        _log.error("an answer about %s was not understood: %s", about, type(error).__name__)
        text = f"the answer was not understood ({type(error).__name__})"
        return Silence(lack=Lack.UNREACHABLE, at=at, text=text)
    await tools.breaker.answered()
    return answer


def _barred(opened: Opened, at: datetime) -> Silence:
    lack = Lack.UNREACHABLE if opened.reason is Reason.UNREACHABLE else Lack.REFUSED
    return Silence(lack=lack, at=at, text=opened.text, asked=False)


async def _list(tools: Tools, at: datetime, cursor: str | None) -> Page:
    return await call(tools, Way.LIST, tools.provider.list_assets(at, cursor))


async def _ask(tools: Tools, row: ProviderAsset, at: datetime) -> Seen:
    if row.provider_asset_id:
        return await call(tools, Way.ASSET, tools.provider.get_asset(row.provider_asset_id, at))
    if row.provider_upload_id:
        return await call(tools, Way.UPLOAD, tools.provider.get_upload(row.provider_upload_id, at))
    return Seen(via=Via.GET, at=at, status="no id to ask by")


async def _silence(tools: Tools, error: NoAnswer | Gone, at: datetime, text: str) -> Silence:
    match error:
        case Throttled():
            await tools.breaker.answered()
            wait = await tools.budget.throttled(error.retry_after)
            _log.warning("%s throttles us: no call for %.0f s", tools.provider.name, wait.total_seconds())
            return Silence(lack=Lack.THROTTLED, at=at, text=text, wait=wait)
        case NoCredentials():
            return Silence(lack=Lack.REFUSED, at=at, text=text, asked=False)
        case Refused():
            other = isinstance(error, OtherEnvironment)
            await tools.breaker.refused(text, Reason.OTHER_ENVIRONMENT if other else Reason.REFUSED)
            return Silence(lack=Lack.REFUSED, at=at, text=text)
        case _:
            await tools.breaker.failed(text)
            return Silence(lack=Lack.UNREACHABLE, at=at, text=text)


def stop_if_refused(seen: Seen | Silence | None) -> None:
    """Raise `Refused` if that is what the provider said: it holds for every row."""
    if isinstance(seen, Silence) and seen.lack is Lack.REFUSED:
        raise Refused(seen.text)


def is_about_row(seen: Seen | Silence | None) -> bool:
    """Whether it tells of the row that was asked about, if only that there was no answer; a refusal tells of all."""
    return not isinstance(seen, Silence) or (seen.asked and seen.lack is not Lack.REFUSED)
