"""Whether an installation is sound.

Its settings, its database, its engine, and, if wanted, the provider.
"""

from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import combinations
from typing import Final

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
from rindle_sync.diagnostics.status import elsewhere, overview
from rindle_sync.domain import FailureKind
from rindle_sync.errors import (
    AuthenticationFailed,
    ConfigurationError,
    DatabaseUnavailable,
    ProviderUnavailable,
)
from rindle_sync.providers import knock
from rindle_sync.reconcile import Context
from rindle_sync.runtime import Runtime, last_heartbeat
from rindle_sync.store import Database

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
    settings: Settings,
    contexts: Sequence[Context],
    database: Database,
    *,
    ping: bool = False,
    endpoint: str | None = None,
) -> Diagnosis:
    """Check an installation.

    Calls the provider only with `ping`, and a webhook endpoint only where it is named.

    Writes nothing but the webhook event that an endpoint stores. Raises `ConfigurationError` for an
    `endpoint` that is no address.
    """
    checked: list[Check] = [*OF_SETTINGS, Check.DATABASE]
    of_each = settings.each()
    told: list[Finding | Note] = []
    for context in contexts:
        told += _of_settings(of_each[context.store.environment], context)
    told += _shared_secrets(of_each)
    trouble = [found async for found in _of_database(settings, contexts[0], database)]
    told += trouble
    if not any(found.check is Check.DATABASE for found in trouble):
        checked.append(Check.TABLES)
    if not trouble:
        checked += OF_TABLES
        told += [found async for found in _of_tables(settings, contexts)]
    if ping and not trouble:
        asked = [found for context in contexts async for found in _of_provider(context)]
        left_out = Counter(note.check for note in asked if isinstance(note, Note))
        checked += [check for check in OF_PING if left_out[check] < len(contexts)]
        told += asked
    if endpoint is not None:
        checked.append(Check.ENDPOINT)
        own = of_each[contexts[0].store.environment]
        told += [found async for found in _of_endpoint(own, contexts[0], endpoint)]
    return Diagnosis(
        [context.store.environment for context in contexts],
        database.place,
        checked,
        [found for found in told if isinstance(found, Finding)],
        [found for found in told if isinstance(found, Note)],
    )


def _of_settings(settings: Settings, context: Context) -> Iterator[Finding]:
    here, account = settings.environment, settings.account
    for name in account.credential_names:
        if getattr(account, name) is None:
            remedy = f"{account.credentials_remedy}, and set {account.name_of(name)}"
            yield error(
                Check.CREDENTIALS, here, f"{name} is not set: nothing can be looked at", remedy
            )
    secrets = account.webhook_secrets
    if not secrets:
        name = account.name_of(account.webhook_secrets_name)
        remedy = f"add an endpoint at the provider, and set {name}"
        yield warning(
            Check.WEBHOOK_SECRETS, here, "no webhooks are taken: no secret is set", remedy
        )
    if any(len(secret) < SHORTEST_SECRET for secret in secrets):
        remedy = "take the signing secret of the endpoint, as the provider shows it"
        yield error(Check.WEBHOOK_SECRETS, here, "a webhook secret is too short to be one", remedy)
    playback = context.gateway.provider.playback
    if playback is None or not playback.has_key:
        return  # none is needed for public videos
    try:
        playback.check()
    except ConfigurationError as wrong:
        yield error(Check.SIGNING_KEY, here, str(wrong), "take id and key of one signing key")


def _shared_secrets(all_settings: Mapping[str, Settings]) -> Iterator[Finding]:
    for (name, these), (other, those) in combinations(all_settings.items(), 2):
        if set(these.account.webhook_secrets) & set(those.account.webhook_secrets):
            text = f"it shares a webhook secret with {other}: events of one count as the other's"
            yield error(
                Check.WEBHOOK_SECRETS,
                name,
                text,
                "each endpoint at the provider has a secret of its own",
            )
        credentials = these.account.credentials
        if credentials and credentials == those.account.credentials:
            remedy = "give each environment its own token, or make one of the two"
            yield error(Check.CREDENTIALS, name, f"it has the token of {other}", remedy)


_MIGRATE: Final = "run `rindle-sync migrate`"
_TROUBLE: Final = "docs/production.md says what each trouble means"


async def _of_database(
    settings: Settings, context: Context, database: Database
) -> AsyncIterator[Finding]:
    from rindle_sync.store.migrations import revisions

    try:
        at, newest = await revisions(database.engine)
    except DatabaseUnavailable as trouble:
        yield error(Check.DATABASE, None, str(trouble), _TROUBLE)
        return
    if at is not None and at != newest:
        yield error(
            Check.TABLES, None, f"the tables are at {at}, and {newest} is the newest", _MIGRATE
        )
        return
    try:
        await Runtime((), settings, database, context.now).check_ready()
    except DatabaseUnavailable as trouble:
        check, remedy = (
            (Check.TABLES, _MIGRATE) if "migrate" in str(trouble) else (Check.DATABASE, _TROUBLE)
        )
        yield error(check, None, str(trouble), remedy)


async def _of_tables(settings: Settings, contexts: Sequence[Context]) -> AsyncIterator[Finding]:
    first = contexts[0]
    for found in of_engine(await last_heartbeat(first.store), first.now()):
        yield found
    overviews = await overview(contexts)
    others = await elsewhere(contexts, overviews, settings.environments)
    for figures in overviews:
        for found in (*of_names(figures, others), *of_environment(figures)):
            yield found


_ADVICE: Final = {
    FailureKind.REFUSED: "mend the token: is it of this environment, and not revoked?",
    FailureKind.THROTTLED: "somebody else uses up its rate limit; try again in a minute",
    FailureKind.UNREACHABLE: "is its address right, and may this machine reach it?",
}


async def _of_identity(context: Context) -> Finding | None:
    """What is wrong with the credentials, or why that is not known."""
    advice = {**_ADVICE, **context.gateway.provider.advice}
    try:
        failure = await context.gateway.verify_identity()
        kind, text = (failure.kind, failure.text) if failure else (None, "")
    except AuthenticationFailed as refused:
        kind, text = FailureKind.REFUSED, str(refused)
    if kind is None:
        return None
    remedy = advice.get(kind, "look at the log")
    return error(Check.PROVIDER, context.store.environment, text, remedy)


async def _of_provider(context: Context) -> AsyncIterator[Finding | Note]:
    """Ask who we are, as a dry run: nothing that is learned is kept."""
    here, context = context.store.environment, context.for_dry_run()
    if not context.gateway.has_token:
        for check in OF_PING:
            yield Note(check, here, "not checked: no token is set")
        return
    if found := await _of_identity(context):
        yield found
    clock = context.gateway.provider.clock
    if clock is None:
        yield Note(Check.CLOCK, here, "not checked: the provider told no time that we can read")
    elif abs(skew := context.now() - clock) > MOST_SKEW:
        way = "ahead of" if skew > timedelta(0) else "behind"
        text = f"our clock is {abs(skew).total_seconds():.0f} s {way} the provider's"
        remedy = "keep it in sync (NTP): webhooks may be refused as too old"
        yield warning(Check.CLOCK, here, text, remedy)


_TAKEN: Final = {"kept", "kept_before", "not_acted_on"}
_REFUSED: Final = {
    400: "it refused the webhook: its secret, its environment or its clock is another",
    500: "it has no webhook secret",
    503: "it could not keep the delivery: its database is in trouble",
}
_UNPROVEN: Final = (
    "signed with our own secret: only a webhook of the provider shows that it has the same one"
)


async def _of_endpoint(
    settings: Settings, context: Context, url: str
) -> AsyncIterator[Finding | Note]:
    here, account, provider = settings.environment, settings.account, context.gateway.provider
    if not account.webhook_secrets:
        remedy = f"set {account.webhook_secrets_name}"
        yield error(Check.ENDPOINT, here, "no webhook secret to sign with", remedy)
        return
    try:
        secret, now = account.webhook_secrets[0], context.now()
        answer = await knock(url, provider.test_delivery(secret, account.environment_id, now))
    except ProviderUnavailable as trouble:
        text = f"the endpoint cannot be reached ({trouble})"
        yield error(Check.ENDPOINT, here, text, "does it run, and does the proxy forward to it?")
        return
    path = f"/webhooks/{provider.name}"
    not_ours = (
        "is our endpoint at this path, and does the proxy forward it? "
        f"It is {path}, with several environments {path}/<name>"
    )
    if answer.status in {200, 202} and answer.said in _TAKEN:
        yield Note(Check.ENDPOINT, here, _UNPROVEN)
    elif answer.said is None:
        text = f"what answered {answer.status} there is not our endpoint"
        yield error(Check.ENDPOINT, here, text, not_ours)
    else:
        text = f"the endpoint answered {answer.status}"
        yield error(Check.ENDPOINT, here, text, _REFUSED.get(answer.status, not_ours))
