"""What somebody should look at, by the figures of an environment, and what to do about it. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from rindle_sync.diagnostics.humanize import many, seconds_of, span_of
from rindle_sync.diagnostics.readiness import LATEST
from rindle_sync.diagnostics.status import Overview
from rindle_sync.reconcile import Reason

LONGEST_DUE: Final = timedelta(minutes=10)
LONGEST_PENDING: Final = timedelta(minutes=5)
MOST_LOST: Final = 0.1
FEWEST_EXPECTED: Final = 20
"""From so many changes on, the share of lost webhooks says something."""


class Level(StrEnum):
    """How bad it is."""

    WARNING = "warning"
    ERROR = "error"


class Check(StrEnum):
    """What is checked."""

    CREDENTIALS = "credentials"
    WEBHOOK_SECRETS = "webhook_secrets"
    SIGNING_KEY = "signing_key"
    DATABASE = "database"
    TABLES = "tables"
    ENVIRONMENT = "environment"
    ENGINE = "engine"
    CIRCUIT = "circuit"
    OVERDUE = "overdue"
    STUCK = "stuck"
    PENDING = "pending"
    DEAD = "dead"
    LOST = "lost"
    AUDIT = "audit"
    PROVIDER = "provider"
    CLOCK = "clock"
    ENDPOINT = "endpoint"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is not as it should be: what it means, and what to do."""

    check: Check
    level: Level
    environment: str | None
    text: str
    remedy: str


_CIRCUIT: Final = {
    Reason.REFUSED: "the provider refuses our token: put a valid one into the settings, and restart",
    Reason.OTHER_ENVIRONMENT: "the token is of another environment than the rows: set the right one, and restart",
    Reason.UNREACHABLE: "the provider does not answer: look at its status page, and at the network from here",
}


def of_engine(ticked: datetime | None, now: datetime) -> Iterator[Finding]:
    """Whether an engine is alive; `ticked` is when one last asked what is due."""
    if ticked is None:
        yield error(
            Check.ENGINE,
            None,
            "no engine has ever run on this database",
            "start `rindle-sync run`, or a worker",
        )
    elif ticked - now > LATEST:
        yield error(
            Check.ENGINE,
            None,
            f"an engine has last asked what is due {span_of(ticked - now)} from now: was a clock set back?",
            "keep the clocks of all machines in step (NTP), and see that an engine runs",
        )
    elif now - ticked > LATEST:
        since = int((now - ticked).total_seconds())
        yield error(
            Check.ENGINE,
            None,
            f"no engine has asked what is due for {since} s",
            "does `rindle-sync run`, or a worker, still run? What does its log say?",
        )


def of_names(one: Overview, elsewhere: Mapping[str, int]) -> Iterator[Finding]:
    """Whether the name of an environment is that of the rows; `elsewhere` are those of names that no settings have."""
    if elsewhere and not one.rows:
        others = ", ".join(
            f"{many(number, 'is', 'are')} of {name}" for name, number in elsewhere.items()
        )
        yield warning(
            Check.ENVIRONMENT,
            one.environment,
            f"no row is of {one.environment}, but {others}",
            "is the setting `environment` right?",
        )


def of_environment(one: Overview) -> Iterator[Finding]:
    """What stands badly in one environment."""
    yield from _of_rows(one)
    yield from _of_webhooks(one)
    if one.last_audit and one.last_audit.get("outcome") == "alarm":
        yield error(
            Check.AUDIT,
            one.environment,
            "the last audit missed so many rows at the provider that it ended none",
            "were they deleted? Then `rindle-sync audit --once --accept-mass-change`; else look at the token",
        )


def _of_rows(one: Overview) -> Iterator[Finding]:
    if one.circuit != "closed":
        yield error(
            Check.CIRCUIT,
            one.environment,
            f"the provider is left alone for {seconds_of(one.circuit_open_seconds)}: {one.circuit}",
            _CIRCUIT[Reason(one.circuit)],
        )
    if one.oldest_due_seconds > LONGEST_DUE.total_seconds():
        yield error(
            Check.OVERDUE,
            one.environment,
            f"{many(one.due, 'row is', 'rows are')} due, the oldest for {seconds_of(one.oldest_due_seconds)}",
            "no engine runs, the provider is left alone, or the budget is too small for so many rows",
        )
    if one.stuck:
        yield warning(
            Check.STUCK,
            one.environment,
            f"{many(one.stuck, 'row was', 'rows were')} in flight for too long",
            "`rindle-sync explain` one of them: either the provider is slow, or the asset really hangs",
        )


def _of_webhooks(one: Overview) -> Iterator[Finding]:
    if one.oldest_pending_seconds > LONGEST_PENDING.total_seconds():
        yield error(
            Check.PENDING,
            one.environment,
            f"a delivery has been due for {seconds_of(one.oldest_pending_seconds)}",
            "no engine applies deliveries: does one run?",
        )
    if one.failed:
        yield warning(
            Check.DEAD,
            one.environment,
            f"{many(one.failed, 'delivery', 'deliveries')} of 24 hours could not be applied",
            "`rindle-sync events list --status dead` says why; once that is mended, `rindle-sync events replay --dead`",
        )
    if one.webhooks.expected >= FEWEST_EXPECTED and one.webhooks.loss > MOST_LOST:
        yield warning(
            Check.LOST,
            one.environment,
            f"{100 * one.webhooks.loss:.0f} % of the webhooks of 24 hours never came; the rows were found by looking",
            "is the endpoint set at the provider, its secret ours, and is our address reachable from outside?",
        )


def error(check: Check, environment: str | None, text: str, remedy: str) -> Finding:
    """Something that is wrong."""
    return Finding(
        check=check, level=Level.ERROR, environment=environment, text=text, remedy=remedy
    )


def warning(check: Check, environment: str | None, text: str, remedy: str) -> Finding:
    """Something that may be wrong."""
    return Finding(
        check=check, level=Level.WARNING, environment=environment, text=text, remedy=remedy
    )
