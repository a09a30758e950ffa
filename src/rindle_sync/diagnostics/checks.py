"""What needs attention in an environment, by its figures, and what to do about it. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from rindle_sync.diagnostics.status import Overview
from rindle_sync.domain import REMOVED_FROM_SETTINGS, many, seconds_of, span_of
from rindle_sync.gateway import Reason
from rindle_sync.runtime import EngineState, engine_state
from rindle_sync.store import WrongTimes

LONGEST_DUE: Final = timedelta(minutes=10)
LONGEST_PENDING: Final = timedelta(minutes=5)
MOST_LOST: Final = 0.1
FEWEST_EXPECTED: Final = 20
"""With fewer expected webhooks, the share of missed ones says nothing."""


class Level(StrEnum):
    """Whether something may be wrong, or is."""

    WARNING = "warning"
    ERROR = "error"


class Check(StrEnum):
    """What is checked, in the order of the report; below each, when it is a finding."""

    CREDENTIALS = "credentials"
    """Half of the token or all of it is not set, or two environments have the same."""
    WEBHOOK_SECRETS = "webhook_secrets"
    """None is set, one is shorter than 16 characters, or two environments have the same."""
    SIGNING_KEY = "signing_key"
    """Only one of its two settings is set, or the key is invalid."""
    DATABASE = "database"
    """It does not answer or exist, is not in UTF-8, or is behind a pooler that cannot serve."""
    TABLES = "tables"
    """They do not exist, are not at the newest revision, or are of another program."""
    ENVIRONMENT = "environment"
    """No row is of it, but some are of names that the settings do not have."""
    ENGINE = "engine"
    """No engine has had a heartbeat within 60 s, or one has had one in the future."""
    STORED_TIMES = "stored_times"
    """A clock is or was wrong: stored times lie too far ahead."""
    CIRCUIT = "circuit"
    """The circuit breaker is open."""
    OVERDUE = "overdue"
    """A row has been due for over ten minutes."""
    STUCK = "stuck"
    """Rows are `errored: stuck`."""
    PENDING = "pending"
    """A webhook event has been due for over five minutes."""
    DEAD = "dead"
    """Webhook events of the last 24 hours are dead."""
    LOST = "lost"
    """Over 10 % of 20 or more webhooks of the last 24 hours were missed."""
    AUDIT = "audit"
    """The last audit raised the alarm."""
    PROVIDER = "provider"
    """With `--ping`: the token is refused or of another environment; a 429; or no answer."""
    CLOCK = "clock"
    """With `--ping`: this machine's clock and the provider's are over 5 s apart."""
    PROVIDER_ENDPOINT = "provider_endpoint"
    """With `--ping`: the provider has no endpoint at `webhook_public_url`, has it disabled or
    twice, or has none enabled while a webhook secret is set."""
    ENDPOINT = "endpoint"
    """With `--endpoint`: it does not accept the delivery within 10 s, or is another server."""
    OUTGOING = "outgoing"
    """An endpoint of outgoing webhooks is disabled, or has failed or waited for over five minutes,
    or webhooks are dead."""


@dataclass(frozen=True, slots=True)
class DoctorFinding:
    """Something that is wrong or may be: what it means, and what to do."""

    check: Check
    level: Level
    environment: str | None
    text: str
    remedy: str


_CIRCUIT: Final = {
    Reason.REFUSED: "the provider refuses the token: set a valid one, and restart",
    Reason.OTHER_ENVIRONMENT: (
        "the token is of another environment than the rows: set the right one, and restart"
    ),
    Reason.UNREACHABLE: (
        "the provider does not answer: look at its status page, and at the network from here"
    ),
}


_UNAPPLIED: Final = "nothing applies webhook events"
_APPLIES: Final = (
    "start `rindle-sync run` or a worker, or call `rindle.run(stop)` or "
    "`rindle.process_webhook_events()` in your app"
)


def waiting_text(waiting: int, oldest_seconds: int, *, has_begun: bool) -> str | None:
    """What is wrong if webhook events wait and nothing applies them; None if nothing is.

    `has_begun` says whether an engine has ever run, or any event was ever applied.
    """
    if not waiting or (has_begun and oldest_seconds <= LONGEST_PENDING.total_seconds()):
        return None
    lately = "lately" if has_begun else "yet"
    waits = many(waiting, "webhook event waits", "webhook events wait")
    return f"{waits}, and nothing has applied any {lately}: {_APPLIES}"


def of_engine(last: datetime | None, now: datetime) -> Iterator[DoctorFinding]:
    """Whether an engine is alive; `last` is its last heartbeat."""
    state = engine_state(last, now)
    if state is EngineState.NEVER_RAN:
        text = "no engine has ever run on this database"
        remedy = "start `rindle-sync run`, or a worker, or call `rindle.run(stop)` in your app"
        yield DoctorFinding(Check.ENGINE, Level.ERROR, None, text, remedy)
    elif state is EngineState.AHEAD and last:
        text = f"the last engine heartbeat is {span_of(last - now)} ahead: was a clock set back?"
        remedy = "keep the clocks of all machines in sync (NTP), and check that an engine runs"
        yield DoctorFinding(Check.ENGINE, Level.ERROR, None, text, remedy)
    elif state is EngineState.SILENT and last:
        text = f"no engine heartbeat for {int((now - last).total_seconds())} s"
        remedy = "does `rindle-sync run`, or a worker, still run? What does its log say?"
        yield DoctorFinding(Check.ENGINE, Level.ERROR, None, text, remedy)


def of_names(overview: Overview, elsewhere: Mapping[str, int]) -> Iterator[DoctorFinding]:
    """Whether the environment's name is the rows'; `elsewhere` counts those of unknown names."""
    if overview.rows or not elsewhere:
        return
    here = overview.environment
    others = [f"{many(number, 'is', 'are')} of {name}" for name, number in elsewhere.items()]
    text = f"no row is of {here}, but {', '.join(others)}"
    remedy = "is the setting `environment` right?"
    yield DoctorFinding(Check.ENVIRONMENT, Level.WARNING, here, text, remedy)


def of_times(overview: Overview) -> Iterator[DoctorFinding]:
    """Whether there are stored times that no right clock can have written."""
    if overview.wrong_times:
        text = text_of_times(overview.wrong_times)
        yield DoctorFinding(
            Check.STORED_TIMES, Level.WARNING, overview.environment, text, TIMES_REMEDY
        )


TIMES_REMEDY: Final = (
    "a clock is or was wrong: keep the clocks of all machines in sync (NTP), and check the one "
    "here; these times are not believed, and are replaced as the work goes on"
)


def text_of_times(wrong_times: Sequence[WrongTimes]) -> str:
    """Which times are wrong, how many, and how far ahead they lie."""
    columns = [
        f"{times.number} of {times.column} (up to {seconds_of(times.seconds_ahead)} ahead)"
        for times in wrong_times
    ]
    return f"stored times lie in the future: {', '.join(columns)}"


def of_environment(overview: Overview) -> Iterator[DoctorFinding]:
    """What needs attention in one environment."""
    yield from of_times(overview)
    yield from _of_rows(overview)
    yield from _of_webhooks(overview)
    yield from _of_outgoing(overview)
    if overview.last_audit and overview.last_audit.get("outcome") == "alarm":
        text = "the last audit missed so many rows at the provider that it deleted none"
        remedy = (
            "were they deleted? Then run `rindle-sync audit --accept-mass-change`; "
            "else check the token"
        )
        yield DoctorFinding(Check.AUDIT, Level.ERROR, overview.environment, text, remedy)


def _of_rows(overview: Overview) -> Iterator[DoctorFinding]:
    here = overview.environment
    if overview.circuit != "closed":
        since = seconds_of(overview.circuit_open_seconds)
        text = f"the circuit is open for {since}: {overview.circuit}"
        yield DoctorFinding(
            Check.CIRCUIT, Level.ERROR, here, text, _CIRCUIT[Reason(overview.circuit)]
        )
    if overview.oldest_due_seconds > LONGEST_DUE.total_seconds():
        since = seconds_of(overview.oldest_due_seconds)
        text = f"{many(overview.due, 'row is', 'rows are')} due, the oldest for {since}"
        remedy = "no engine runs, the circuit is open, or the rate limit is too low for the rows"
        yield DoctorFinding(Check.OVERDUE, Level.ERROR, here, text, remedy)
    if overview.stuck:
        text = f"{many(overview.stuck, 'row was', 'rows were')} in flight for too long"
        remedy = (
            "look at one of `rindle-sync list --error-kind stuck` by `rindle-sync explain`: "
            "is the provider slow, or does it really hang?"
        )
        yield DoctorFinding(Check.STUCK, Level.WARNING, here, text, remedy)


def _of_webhooks(overview: Overview) -> Iterator[DoctorFinding]:
    here = overview.environment
    if overview.oldest_pending_seconds > LONGEST_PENDING.total_seconds():
        text = f"a webhook event has been due for {seconds_of(overview.oldest_pending_seconds)}"
        yield DoctorFinding(Check.PENDING, Level.ERROR, here, text, f"{_UNAPPLIED}: {_APPLIES}")
    if overview.oldest_for_app_seconds > LONGEST_PENDING.total_seconds():
        since = seconds_of(overview.oldest_for_app_seconds)
        text = f"a webhook event for your app has been due for {since}"
        remedy = "does a process run that has an `on_webhook` callback for it, and does that fail?"
        yield DoctorFinding(Check.PENDING, Level.WARNING, here, text, remedy)
    if overview.failed:
        text = f"{many(overview.failed, 'webhook event')} of 24 hours could not be applied"
        remedy = (
            "`rindle-sync events list --status dead` says why; once that is fixed, "
            "`rindle-sync events replay --dead`"
        )
        yield DoctorFinding(Check.DEAD, Level.WARNING, here, text, remedy)
    webhooks = overview.webhooks
    loss = webhooks.loss or 0.0
    if webhooks.expected >= FEWEST_EXPECTED and loss > MOST_LOST:
        share = f"{100 * loss:.0f} %"
        text = f"{share} of the webhooks of 24 hours never came; checks found the changes"
        remedy = (
            "is the endpoint set at the provider, with the same secret, "
            "and is its address reachable from outside?"
        )
        yield DoctorFinding(Check.LOST, Level.WARNING, here, text, remedy)


def _of_outgoing(overview: Overview) -> Iterator[DoctorFinding]:
    here = overview.environment
    for endpoint in overview.outgoing:
        about = f"the endpoint {endpoint.name} of outgoing webhooks"
        if endpoint.disabled == REMOVED_FROM_SETTINGS and not endpoint.pending:
            continue
        if endpoint.disabled:
            text = f"{about} is disabled: {endpoint.disabled}"
            remedy = f"to tell it of changes again, `rindle-sync outgoing enable {endpoint.name}`"
            yield DoctorFinding(Check.OUTGOING, Level.WARNING, here, text, remedy)
        elif endpoint.failing_seconds > LONGEST_PENDING.total_seconds():
            text = f"{about} has failed for {seconds_of(endpoint.failing_seconds)}"
            remedy = f"`rindle-sync outgoing show {endpoint.name}` says why; is your app up?"
            yield DoctorFinding(Check.OUTGOING, Level.ERROR, here, text, remedy)
        elif endpoint.oldest_pending_seconds > LONGEST_PENDING.total_seconds():
            since = seconds_of(endpoint.oldest_pending_seconds)
            text = f"an outgoing webhook waits for {since} for the endpoint {endpoint.name}"
            remedy = "does `rindle-sync run`, or a worker, run? Is your app slow to answer?"
            yield DoctorFinding(Check.OUTGOING, Level.WARNING, here, text, remedy)
        if endpoint.dead:
            number = many(endpoint.dead, "outgoing webhook is dead", "outgoing webhooks are dead")
            text = f"{number} at the endpoint {endpoint.name}"
            remedy = (
                f"`rindle-sync outgoing show {endpoint.name} --status dead` says why; once that is "
                f"fixed, `rindle-sync outgoing replay {endpoint.name} --dead`"
            )
            yield DoctorFinding(Check.OUTGOING, Level.WARNING, here, text, remedy)
