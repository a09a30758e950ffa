"""Whether an installation is sound: its settings, its database, its engine, and, if wanted, the provider."""

from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from itertools import combinations
from typing import Final

from rindle_sync.app import RindleSync
from rindle_sync.config import Settings
from rindle_sync.diagnostics.checks import (
    Check,
    Finding,
    error,
    of_engine,
    of_environment,
    of_names,
    warning,
)
from rindle_sync.domain import FailureKind, FetchFailure
from rindle_sync.errors import ConfigurationError, DatabaseUnavailable, ProviderUnavailable
from rindle_sync.installation import Installation
from rindle_sync.providers.mux import Signer, knock
from rindle_sync.reconcile import verify_identity
from rindle_sync.runtime import last_tick

SHORTEST_SECRET: Final = 16
MOST_SKEW: Final = timedelta(seconds=5)


OF_SETTINGS: Final = (Check.CREDENTIALS, Check.WEBHOOK_SECRETS, Check.SIGNING_KEY)
OF_TABLES: Final = tuple(Check)[
    tuple(Check).index(Check.ENVIRONMENT) : tuple(Check).index(Check.PROVIDER)
]
OF_PING: Final = (Check.PROVIDER, Check.CLOCK)


@dataclass(frozen=True, slots=True)
class Note:
    """Why a check was not made, or what it does not prove; no finding."""

    check: Check
    environment: str
    text: str


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was checked where, what was found, and what that does not say."""

    environments: list[str]
    database: str
    checked: list[Check]
    findings: list[Finding]
    notes: list[Note]


async def examine(
    all_: Installation, *, ping: bool = False, endpoint: str | None = None
) -> Diagnosis:
    """Check an installation; asks the provider only with `ping`, and an endpoint of ours only where it is named.

    Writes nothing but the delivery that an endpoint keeps. Raises `ConfigurationError` for an `endpoint` that is no address.
    """
    checked: list[Check] = [*OF_SETTINGS, Check.DATABASE]
    told: list[Finding | Note] = [
        found for service in all_.values() for found in _of_settings(service.settings)
    ]
    told += _shared_secrets({name: service.settings for name, service in all_.items()})
    trouble = [found async for found in _of_database(all_)]
    told += trouble
    if not any(found.check is Check.DATABASE for found in trouble):
        checked.append(Check.TABLES)
    if not trouble:
        checked += OF_TABLES
        told += [found async for found in _of_tables(all_)]
    if ping and not trouble:
        asked = [one for service in all_.values() async for one in _of_provider(service)]
        left_out = Counter(one.check for one in asked if isinstance(one, Note))
        checked += [check for check in OF_PING if left_out[check] < len(all_)]
        told += asked
    if endpoint is not None:
        checked.append(Check.ENDPOINT)
        told += [one async for one in _of_endpoint(next(iter(all_.values())), endpoint)]
    findings = [one for one in told if isinstance(one, Finding)]
    return Diagnosis(
        list(all_),
        all_.store.place,
        checked,
        findings,
        [one for one in told if isinstance(one, Note)],
    )


def _of_settings(settings: Settings) -> Iterator[Finding]:
    here = settings.environment
    for name in ("mux_token_id", "mux_token_secret"):
        if getattr(settings, name) is None:
            remedy = f"make an access token for Mux Video, and set {settings.name_of(name)}"
            yield error(
                Check.CREDENTIALS, here, f"{name} is not set: nothing can be looked at", remedy
            )
    secrets = settings.webhooks.secrets
    if not secrets:
        remedy = (
            f"add an endpoint at the provider, and set {settings.name_of('mux_webhook_secrets')}"
        )
        yield warning(
            Check.WEBHOOK_SECRETS, here, "no webhooks are taken: no secret is set", remedy
        )
    if any(len(secret) < SHORTEST_SECRET for secret in secrets):
        remedy = "take the signing secret of the endpoint, as the provider shows it"
        yield error(Check.WEBHOOK_SECRETS, here, "a webhook secret is too short to be one", remedy)
    yield from _of_signing_key(settings)


def _of_signing_key(settings: Settings) -> Iterator[Finding]:
    if settings.mux_signing_key_id is None and settings.mux_signing_private_key is None:
        return  # none is needed for public videos
    try:
        Signer(*settings.signing_key())
    except ConfigurationError as wrong:
        yield error(
            Check.SIGNING_KEY,
            settings.environment,
            str(wrong),
            "take id and key of one signing key",
        )
    except ModuleNotFoundError:
        remedy = "pip install 'rindle-sync[playback]'"
        yield warning(
            Check.SIGNING_KEY,
            settings.environment,
            "the key cannot be tried without an extra",
            remedy,
        )


def _shared_secrets(all_settings: Mapping[str, Settings]) -> Iterator[Finding]:
    for (one, these), (other, those) in combinations(all_settings.items(), 2):
        if set(these.webhooks.secrets) & set(those.webhooks.secrets):
            text = f"it has a webhook secret of {other}'s: a delivery for one would be taken for the other's"
            yield error(
                Check.WEBHOOK_SECRETS,
                one,
                text,
                "each endpoint at the provider has a secret of its own",
            )
        if these.has_token and those.has_token and these.token() == those.token():
            remedy = "give each environment its own token, or make one of the two"
            yield error(Check.CREDENTIALS, one, f"it has the token of {other}", remedy)


_MIGRATE: Final = "run `rindle-sync migrate`"
_TROUBLE: Final = "docs/production.md says what each trouble means"


async def _of_database(all_: Installation) -> AsyncIterator[Finding]:
    from rindle_sync.store.migrations import revisions

    try:
        at, newest = await revisions(all_.store.engine)
    except DatabaseUnavailable as trouble:
        yield error(Check.DATABASE, None, str(trouble), _TROUBLE)
        return
    if at is not None and at != newest:
        yield error(
            Check.TABLES, None, f"the tables are at {at}, and {newest} is the newest", _MIGRATE
        )
        return
    try:
        await all_.ready()
    except DatabaseUnavailable as trouble:
        check, remedy = (
            (Check.TABLES, _MIGRATE) if "migrate" in str(trouble) else (Check.DATABASE, _TROUBLE)
        )
        yield error(check, None, str(trouble), remedy)


async def _of_tables(all_: Installation) -> AsyncIterator[Finding]:
    context = next(iter(all_.values())).context
    for found in of_engine(await last_tick(context), context.now()):
        yield found
    overviews = await all_.overview()
    elsewhere = await all_.elsewhere(overviews)
    for one in overviews:
        for found in (*of_names(one, elsewhere), *of_environment(one)):
            yield found


_ANSWERS: Final = {
    FailureKind.REFUSED: "mend the token: is it of this environment, and not revoked?",
    FailureKind.THROTTLED: "somebody else uses up its rate limit; try again in a minute",
    FailureKind.UNREACHABLE: "is mux_base_url right, and may this machine reach it?",
}


async def _of_provider(service: RindleSync) -> AsyncIterator[Finding | Note]:
    """Ask who we are, as a rehearsal: nothing that is learned is kept."""
    here, context = service.settings.environment, service.context.for_dry_run()
    if not service.settings.has_token:
        for check in OF_PING:
            yield Note(check, here, "not checked: no token is set")
        return
    answer = await verify_identity(context)
    if isinstance(answer, FetchFailure):
        yield error(Check.PROVIDER, here, answer.text, _ANSWERS.get(answer.kind, "look at the log"))
    if context.provider.clock is None:
        yield Note(Check.CLOCK, here, "not checked: the provider told no time that we can read")
    elif abs(skew := context.now() - context.provider.clock) > MOST_SKEW:
        way = "ahead of" if skew > timedelta(0) else "behind"
        text = f"our clock is {abs(skew).total_seconds():.0f} s {way} the provider's"
        yield warning(
            Check.CLOCK, here, text, "keep it in step (NTP): webhooks may be refused as too old"
        )


_TAKEN: Final = {"kept", "kept_before", "not_acted_on"}
_REFUSED: Final = {
    400: "it refused the delivery: it has another secret, another environment, or a clock that is wrong",
    500: "it has no webhook secret",
    503: "it could not keep the delivery: its database is in trouble",
}
_NOT_OURS: Final = (
    "is our endpoint at this path, and does the proxy forward it? "
    "It is /webhooks/mux, with several environments /webhooks/mux/<name>"
)
_UNPROVEN: Final = "signed with our own secret: that the provider signs with the same one, only a delivery of its own shows"


async def _of_endpoint(service: RindleSync, url: str) -> AsyncIterator[Finding | Note]:
    settings, here = service.settings, service.settings.environment
    if not settings.webhooks.secrets:
        yield error(
            Check.ENDPOINT, here, "no webhook secret to sign with", "set mux_webhook_secrets"
        )
        return
    try:
        now = service.context.now()
        answer = await knock(url, settings.webhooks.secrets[0], settings.webhooks.environment, now)
    except ProviderUnavailable as trouble:
        text = f"the endpoint cannot be reached ({trouble})"
        yield error(Check.ENDPOINT, here, text, "does it run, and does the proxy forward to it?")
        return
    if answer.status in {200, 202} and answer.said in _TAKEN:
        yield Note(Check.ENDPOINT, here, _UNPROVEN)
    elif answer.said is None:
        text = f"what answered {answer.status} there is not our endpoint"
        yield error(Check.ENDPOINT, here, text, _NOT_OURS)
    else:
        text = f"the endpoint answered {answer.status}"
        yield error(Check.ENDPOINT, here, text, _REFUSED.get(answer.status, _NOT_OURS))
