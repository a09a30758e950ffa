"""Asking the provider: about a row, for a list page, and who we are. Whatever goes wrong at it is a `FetchFailure`."""

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final, TypeVar

from rindle_sync.domain import (
    ATTEMPTS,
    FailureKind,
    FetchFailure,
    Observation,
    ObservationSource,
    ProviderAsset,
    Trigger,
    is_settled,
    retry_gap,
    scrub,
)
from rindle_sync.errors import (
    AuthenticationFailed,
    EnvironmentMismatch,
    MissingCredentials,
    NotFound,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
    RindleSyncError,
)
from rindle_sync.providers import Page
from rindle_sync.reconcile.circuit_breaker import OpenCircuit, Reason
from rindle_sync.reconcile.context import Context
from rindle_sync.reconcile.identity import check_identity, note_identity
from rindle_sync.reconcile.provider_call import Operation, call

_log: Final = logging.getLogger("rindle_sync")

RATE_LIMITED_ATTEMPTS: Final = 10
"""How often one look waits for a provider that throttles, before it is left to a later pass."""

Result = TypeVar("Result")


async def fetch(
    context: Context, row: ProviderAsset, trigger: Trigger
) -> Observation | FetchFailure:
    """Ask about `row`, inside the budget."""
    if context.circuit_breaker.room(1):
        await context.rate_limiter.take(trigger=trigger)
    return await fetch_granted(context, row)


async def fetch_granted(context: Context, row: ProviderAsset) -> Observation | FetchFailure:
    """Ask about `row` with a call that the budget has granted. A 404 is believed only in the rows' own environment."""

    async def asked(at: datetime) -> Observation:
        try:
            observation = await _get(context, row, at)
        except NotFound:
            await check_identity(context)
            if is_settled(row) and context.identity.expected is None:
                raise ProviderUnavailable(
                    "not found; but no row was ever found with this token: is it of their environment?"
                ) from None
            return Observation(source=ObservationSource.GET, at=at, gone=True)
        await note_identity(context)
        return observation

    secrets = row.provider_asset_id, row.provider_upload_id, row.passthrough
    return await _attempt(context, asked, f"row {row.id} ({row.shown_reference})", *secrets)


async def fetch_page(
    context: Context, cursor: str | None, take: Callable[[], Awaitable[int]]
) -> Page | FetchFailure | None:
    """Ask for the list page at `cursor`, again where there was no answer; the last silence where there was none at all.

    `take` waits until a call is allowed, and says whether it is; None where no call was. Raises `AuthenticationFailed`.
    """
    page: Page | FetchFailure | None = None
    failures = throttles = 0
    while failures < ATTEMPTS and throttles < RATE_LIMITED_ATTEMPTS and await take():
        if failures:
            await context.sleep(retry_gap(failures, context.schedule).total_seconds())
        page = await _attempt(context, lambda at: _list(context, at, cursor), "a list page", cursor)
        if not isinstance(page, FetchFailure):
            return page
        raise_if_authentication_failed(page)
        throttles += page.kind is FailureKind.THROTTLED
        failures += page.kind is not FailureKind.THROTTLED
    return page


async def verify_identity(context: Context) -> FetchFailure | None:
    """Ask which environment our credentials belong to; None if it is that of the rows."""
    return await _attempt(context, lambda _: check_identity(context), "our environment")


async def _attempt(
    context: Context,
    asked: Callable[[datetime], Awaitable[Result]],
    about: str,
    *secrets: str | None,
) -> Result | FetchFailure:
    at = context.now()
    if opened := context.circuit_breaker.enter():
        return _circuit_open(opened, at)
    try:
        if (
            context.circuit_breaker.opened
            and context.circuit_breaker.opened.reason is Reason.OTHER_ENVIRONMENT
        ):
            await check_identity(
                context
            )  # a list page is answered in any environment: it must not close the breaker
        answer = await asked(at)
    except (ProviderError, NotFound) as error:  # that a list is gone says nothing of any row
        return await _failure(context, error, at, scrub(str(error), *secrets))
    except RindleSyncError:
        raise
    except Exception as error:  # noqa: BLE001  a fault of ours about one answer must not keep other rows waiting
        _log.error("an answer about %s was not understood: %s", about, type(error).__name__)
        text = f"the answer was not understood ({type(error).__name__})"
        return FetchFailure(kind=FailureKind.UNREACHABLE, at=at, text=text)
    await context.circuit_breaker.succeeded()
    return answer


def _circuit_open(opened: OpenCircuit, at: datetime) -> FetchFailure:
    kind = FailureKind.UNREACHABLE if opened.reason is Reason.UNREACHABLE else FailureKind.REFUSED
    return FetchFailure(kind=kind, at=at, text=opened.text, called=False)


async def _list(context: Context, at: datetime, cursor: str | None) -> Page:
    return await call(context, Operation.LIST, context.provider.list_assets(at, cursor))


async def _get(context: Context, row: ProviderAsset, at: datetime) -> Observation:
    if row.provider_asset_id:
        return await call(
            context, Operation.ASSET, context.provider.get_asset(row.provider_asset_id, at)
        )
    if row.provider_upload_id:
        return await call(
            context, Operation.UPLOAD, context.provider.get_upload(row.provider_upload_id, at)
        )
    return Observation(source=ObservationSource.GET, at=at, status="no id to ask by")


async def _failure(
    context: Context, error: ProviderError | NotFound, at: datetime, text: str
) -> FetchFailure:
    match error:
        case RateLimited():
            await context.circuit_breaker.succeeded()
            wait = await context.rate_limiter.rate_limited(error.retry_after)
            _log.warning(
                "%s throttles us: no call for %.0f s", context.provider.name, wait.total_seconds()
            )
            return FetchFailure(kind=FailureKind.THROTTLED, at=at, text=text, wait=wait)
        case MissingCredentials():
            return FetchFailure(kind=FailureKind.REFUSED, at=at, text=text, called=False)
        case AuthenticationFailed():
            other = isinstance(error, EnvironmentMismatch)
            await context.circuit_breaker.authentication_failed(
                text, Reason.OTHER_ENVIRONMENT if other else Reason.REFUSED
            )
            return FetchFailure(kind=FailureKind.REFUSED, at=at, text=text)
        case _:
            await context.circuit_breaker.failed(text)
            return FetchFailure(kind=FailureKind.UNREACHABLE, at=at, text=text)


def raise_if_authentication_failed(observation: Observation | FetchFailure | None) -> None:
    """Raise `AuthenticationFailed` if that is what the provider said: it holds for every row."""
    if isinstance(observation, FetchFailure) and observation.kind is FailureKind.REFUSED:
        raise AuthenticationFailed(observation.text)


def is_about_row(observation: Observation | FetchFailure | None) -> bool:
    """Whether it tells of the row that was asked about, if only that there was no answer; a refusal tells of all."""
    return not isinstance(observation, FetchFailure) or (
        observation.called and observation.kind is not FailureKind.REFUSED
    )
