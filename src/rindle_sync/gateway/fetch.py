"""Fetches from the provider, within rate limit, circuit breaker and identity check."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, TypeVar

from msgspec import Struct

from rindle_sync.domain import (
    ATTEMPTS,
    FailureKind,
    FetchFailure,
    Observation,
    ObservationSource,
    ProviderAsset,
    Schedule,
    credible,
    is_settled,
    retry_gap,
    scrub,
    with_credible_time,
)
from rindle_sync.errors import (
    AuthenticationFailed,
    EnvironmentMismatch,
    MissingCredentials,
    NotFound,
    ProviderError,
    RateLimited,
    RindleSyncError,
)
from rindle_sync.gateway.circuit_breaker import CircuitBreaker, Reason
from rindle_sync.gateway.find_made import find_made
from rindle_sync.gateway.identity import IdentityCheck
from rindle_sync.gateway.provider_call import CallOutcome, Operation
from rindle_sync.gateway.rate_limiter import RateLimiter
from rindle_sync.providers import Page, Provider
from rindle_sync.store import Environments, UnsavedEnvironments
from rindle_sync.telemetry import Called, Telemetry, milliseconds, scrub_traceback

_log: Final = logging.getLogger("rindle_sync")

RATE_LIMITED_ATTEMPTS: Final = 10
"""The rate-limited attempts of one fetch, before it is left to a later run."""

RATE_LIMITED_CREATES: Final = 5
"""The rate-limited attempts to create or cancel an upload."""

_NEVER_FOUND: Final = (
    "not found; but no row was ever found with this token: is it of their environment?"
)

Result = TypeVar("Result")


class Fetched(Struct, frozen=True):
    """The results of several fetches."""

    observed: Sequence[tuple[ProviderAsset, Observation | FetchFailure]]
    skipped: Sequence[str]
    """Rows for which no call was made."""
    calls: int
    error: BaseException | None = None
    """What the caller must raise, once it has applied `observed`."""


class Attempts(Struct):
    """Failed attempts; rate-limited calls are counted apart."""

    failures: int = 0
    rate_limited: int = 0

    def count(self, failure: FetchFailure) -> bool:
        """Count a failed attempt; whether to stop trying for now."""
        if failure.kind is FailureKind.THROTTLED:
            self.rate_limited += 1
        else:
            self.failures += 1
        return self.failures >= ATTEMPTS or self.rate_limited >= RATE_LIMITED_ATTEMPTS


class ProviderGateway:
    """One provider environment; what fails for one row alone is returned as a `FetchFailure`.

    Authentication failures are raised, since they hold for every row. `expected_environment` is the
    provider's id of the environment of the rows, where a setting names it. `at_once` is how many
    rows are fetched side by side.
    """

    def __init__(  # noqa: PLR0913  the parts of a gateway
        self,
        provider: Provider,
        environments: Environments,
        *,
        reads: RateLimiter,
        creates: RateLimiter,
        telemetry: Telemetry,
        schedule: Schedule,
        now: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]],
        at_once: int = 20,
        expected_environment: str | None = None,
        found_environment: str | None = None,
        has_token: bool = True,
    ) -> None:
        self.provider = provider
        self.reads = reads
        self.creates = creates
        self.circuit = CircuitBreaker(environments, telemetry, now)
        self.identity = IdentityCheck(
            environments, self._whoami, expected_environment, found_environment
        )
        self.has_token = has_token
        self.sleep = sleep
        self.at_once = at_once
        self._slots = asyncio.Semaphore(at_once)
        self._environments = environments
        self._telemetry = telemetry
        self._schedule = schedule
        self._now = now

    def for_dry_run(self) -> "ProviderGateway":
        """A gateway that neither stores nor emits what it learns of identity and circuit."""
        return ProviderGateway(
            self.provider,
            UnsavedEnvironments.of(self._environments),
            reads=self.reads,
            creates=self.creates,
            telemetry=Telemetry(now=self._now),
            schedule=self._schedule,
            now=self._now,
            sleep=self.sleep,
            at_once=self.at_once,
            expected_environment=self.identity.expected,
            found_environment=self.identity.found,
            has_token=self.has_token,
        )

    async def fetch(self, row: ProviderAsset) -> Observation | FetchFailure:
        """Fetch `row` with a granted call. Raises `AuthenticationFailed`.

        An unclear row may take a few more calls.
        """
        if row.is_unclear:
            return (await self._find_made([row]))[row.id]

        async def observe(at: datetime) -> Observation | FetchFailure:
            try:
                observation = await self._get(row, at)
            except NotFound as missing:
                # in another environment, every row would be answered with a 404
                await self.identity.check()
                if is_settled(row) and self.identity.expected is None:
                    # returned, not raised: the provider has answered, so the circuit stays closed
                    return FetchFailure(kind=FailureKind.UNREACHABLE, at=at, text=_NEVER_FOUND)
                text = scrub(str(missing), *_secrets_of(row))
                return Observation(source=ObservationSource.GET, at=at, gone=True, error_text=text)
            await self.identity.learn()
            return observation

        return await self._attempt(observe, row)

    async def fetch_all(
        self, rows: Sequence[ProviderAsset], keep_going: Callable[[], bool] = lambda: True
    ) -> Fetched:
        """Fetch `rows`, `at_once` of them side by side, with calls that were granted.

        Skipped are those whose turn comes when the work is to end, or after a rate-limited call.
        """
        unclear = [row for row in rows if row.is_unclear]
        made = asyncio.ensure_future(self._find_made(unclear))

        async def fetch(row: ProviderAsset) -> Observation | FetchFailure | None:
            if row.is_unclear:
                return (await made)[row.id]
            async with self._slots:
                may_call = keep_going() and not self.reads.is_paused
                return await self.fetch(row) if may_call else None

        # a refusal of one must not hide what the others were answered
        results = await asyncio.gather(*(fetch(row) for row in rows), return_exceptions=True)
        observed: list[tuple[ProviderAsset, Observation | FetchFailure]] = []
        skipped, calls, error = [], 0, None
        for row, result in zip(rows, results, strict=True):
            if isinstance(result, BaseException):
                error = error or result
                calls += getattr(result, "was_called", True)
            elif result is None or (isinstance(result, FetchFailure) and not result.called):
                skipped.append(row.id)
            else:
                observed.append((row, result))
                calls += 1
        return Fetched(observed, skipped, calls, error)

    async def _find_made(
        self, rows: Sequence[ProviderAsset]
    ) -> Mapping[str, Observation | FetchFailure]:
        """Look for the assets of unclear `rows`, with as many granted calls, and with more."""
        granted = len(rows)

        async def look(at: datetime) -> Mapping[str, Observation | FetchFailure]:
            async def fetch_page(cursor: str | None) -> Page:
                nonlocal granted
                granted = granted or await self.reads.take()
                granted -= 1
                return await self.call(Operation.LIST, self.provider.list_assets(at, cursor))

            made = await find_made(rows, at, fetch_page)
            if any(isinstance(found, Observation) and found.gone for found in made.values()):
                # in another environment, none of the assets would be listed
                await self.identity.check()
            return made

        if not rows:
            return {}
        made = await self._attempt(look, f"{len(rows)} assets that were asked for")
        await self.reads.give_back(granted)
        if isinstance(made, FetchFailure):
            return dict.fromkeys([row.id for row in rows], made)
        return made

    async def fetch_page(
        self, cursor: str | None, take: Callable[[], Awaitable[int]]
    ) -> Page | FetchFailure | None:
        """The list page at `cursor`, or the last failure; None where no call was allowed.

        `take` waits until a call is allowed; its result is 0 where none is.
        """
        page: Page | FetchFailure | None = None
        attempts = Attempts()
        while await take():
            if attempts.failures:
                gap = retry_gap(attempts.failures, self._schedule)
                await self.sleep(gap.total_seconds())
            page = await self._attempt(
                lambda at: self.call(Operation.LIST, self.provider.list_assets(at, cursor)),
                "a list page",
                cursor,
            )
            if isinstance(page, Page):
                # a wrong time of one asset must not say where the page begins or ends
                return _with_credible_times(page, self._now())
            if attempts.count(page):
                return page
        return page

    async def verify_identity(self) -> FetchFailure | None:
        """None if the credentials belong to the environment of the rows; else why it is unknown.

        Raises `EnvironmentMismatch` and `AuthenticationFailed`.
        """
        return await self._attempt(lambda _: self.identity.check(), "the token's environment")

    async def call(self, operation: Operation, request: Awaitable[Result]) -> Result:
        """The result of a granted call; raises what it raises.

        It is emitted with its outcome and duration, unless it was never sent.
        """
        began = self._now()
        outcome: CallOutcome | None = CallOutcome.UNREACHABLE
        try:
            result = await request
            outcome = CallOutcome.ANSWERED
        except NotFound:
            outcome = CallOutcome.NOT_FOUND
            raise
        except RateLimited:
            outcome = CallOutcome.THROTTLED
            raise
        except (MissingCredentials, asyncio.CancelledError):
            outcome = None
            raise
        except AuthenticationFailed:
            outcome = CallOutcome.REFUSED
            raise
        finally:
            if outcome:
                duration_ms = milliseconds(self._now() - began)
                self._telemetry.emit(
                    Called(way=operation.value, answer=outcome.value, duration_ms=duration_ms)
                )
        return result

    async def call_within(
        self,
        rate_limiter: RateLimiter,
        operation: Operation,
        request: Callable[[], Awaitable[Result]],
    ) -> Result:
        """The result of a call within the rate limit, tried again after a 429 only.

        What was answered with a 429 was not processed, so nothing is created twice. Raises
        `RateLimited` rather than wait for long.
        """
        wait, began = timedelta(0), self._now()
        for _ in range(RATE_LIMITED_CREATES):
            await rate_limiter.take(since=began)
            try:
                return await self.call(operation, request())
            except RateLimited as error:
                wait = await rate_limiter.rate_limited(error.retry_after)
        seconds = wait.total_seconds()
        raise RateLimited(
            f"{self.provider.name} limited the rate of every attempt; try again in {seconds:.0f} s",
            seconds,
        )

    async def _whoami(self) -> str | None:
        await self.reads.take()
        return await self.call(Operation.WHOAMI, self.provider.whoami())

    async def _get(self, row: ProviderAsset, at: datetime) -> Observation:
        if row.provider_asset_id:
            request = self.provider.get_asset(row.provider_asset_id, at)
            return await self.call(Operation.ASSET, request)
        if row.provider_upload_id:
            request = self.provider.get_upload(row.provider_upload_id, at)
            return await self.call(Operation.UPLOAD, request)
        return Observation(source=ObservationSource.GET, at=at, status="no id to fetch by")

    async def _attempt(
        self,
        request: Callable[[datetime], Awaitable[Result]],
        about: ProviderAsset | str,
        *secrets: str | None,
    ) -> Result | FetchFailure:
        at = self._now()
        opened = self.circuit.enter()
        if opened:
            if opened.reason is Reason.UNREACHABLE:
                kind = FailureKind.UNREACHABLE
                return FetchFailure(kind=kind, at=at, text=opened.shown, called=False)
            mismatch = opened.reason is Reason.OTHER_ENVIRONMENT
            refusal = EnvironmentMismatch if mismatch else AuthenticationFailed
            raise refusal(opened.shown, was_called=False)
        try:
            # a list page is answered in any environment: it must not close this circuit
            opened = self.circuit.opened
            if opened and opened.reason is Reason.OTHER_ENVIRONMENT:
                await self.identity.check()
            result = await request(at)
        except (ProviderError, NotFound) as error:  # a 404 for a list says nothing about a row
            text = scrub(str(error), *secrets, *_secrets_of(about))
            return await self._failure(error, at, text)
        except RindleSyncError:
            raise
        except Exception as error:  # noqa: BLE001  a bug with one answer must not stop others
            _log.error(
                "an answer about %s was not understood:\n%s",
                _shown(about),
                scrub_traceback(error, has_messages=False),
            )
            text = f"the answer was not understood ({type(error).__name__})"
            return FetchFailure(kind=FailureKind.UNREACHABLE, at=at, text=text)
        await self.circuit.succeeded()
        return result

    async def _failure(
        self, error: ProviderError | NotFound, at: datetime, text: str
    ) -> FetchFailure:
        match error:
            case RateLimited(was_called=False, retry_after=seconds):
                wait = timedelta(seconds=seconds or 0)
                return FetchFailure(
                    kind=FailureKind.THROTTLED, at=at, text=text, wait=wait, called=False
                )
            case RateLimited():
                await self.circuit.succeeded()
                wait = await self.reads.rate_limited(error.retry_after)
                name, seconds = self.provider.name, wait.total_seconds()
                _log.warning("%s limits the rate: no call for %.0f s", name, seconds)
                text = f"{text.rstrip('.')}; no call before {self._now() + wait:%H:%M:%S} UTC"
                return FetchFailure(kind=FailureKind.THROTTLED, at=at, text=text, wait=wait)
            case MissingCredentials():
                raise error
            case AuthenticationFailed():
                mismatch = isinstance(error, EnvironmentMismatch)
                reason = Reason.OTHER_ENVIRONMENT if mismatch else Reason.REFUSED
                await self.circuit.open(reason, text)
                raise type(error)(text) from None
            case _:
                await self.circuit.failed(text)
                return FetchFailure(kind=FailureKind.UNREACHABLE, at=at, text=text)


def _with_credible_times(page: Page, now: datetime) -> Page:
    created = [moment for moment in page.created if credible(moment, now)]
    return Page.unread(
        lambda: [with_credible_time(entry, now) for entry in page.entries], page.cursor, created
    )


def _secrets_of(about: ProviderAsset | str) -> tuple[str | None, ...]:
    return () if isinstance(about, str) else (*about.secrets, about.passthrough)


def _shown(about: ProviderAsset | str) -> str:
    return about if isinstance(about, str) else f"row {about.id} ({about.shown_reference})"
