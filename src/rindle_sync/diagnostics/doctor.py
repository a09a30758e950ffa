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
    DoctorFinding,
    Level,
    of_engine,
    of_environment,
    of_names,
)
from rindle_sync.diagnostics.provider_endpoints import Note, of_endpoints
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
from rindle_sync.store import ENCODING_REMEDY, Database
from rindle_sync.store.revisions import RUN_NEWER, is_newer, revisions

SHORTEST_SECRET: Final = 16
MOST_SKEW: Final = timedelta(seconds=5)


OF_SETTINGS: Final = (Check.CREDENTIALS, Check.WEBHOOK_SECRETS, Check.SIGNING_KEY)
OF_TABLES: Final = tuple(Check)[
    tuple(Check).index(Check.ENVIRONMENT) : tuple(Check).index(Check.PROVIDER)
]
OF_PING: Final = (Check.PROVIDER, Check.CLOCK, Check.PROVIDER_ENDPOINT)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was checked where, what was found, and what that does not say."""

    environments: list[str]
    database: str
    checked: list[Check]
    findings: list[DoctorFinding]
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
    environments, of_each = [context.store.environment for context in contexts], settings.each()
    told: list[DoctorFinding | Note] = [*_of_all_settings(of_each, contexts)]
    trouble = await _of_database(settings, contexts[0], database)
    if trouble is None or trouble.check is Check.TABLES:
        checked.append(Check.TABLES)
    if trouble:
        told.append(trouble)
    else:
        checked += OF_TABLES
        if await database.is_pooled():
            told.append(Note(Check.DATABASE, None, _POOLED))
        told += [found async for found in _of_tables(settings, contexts)]
    if ping and trouble is None:
        asked: list[DoctorFinding | Note] = []
        for context in contexts:
            own = of_each[context.store.environment]
            asked += [found async for found in _of_provider(own, context, endpoint)]
        # a check counts as made if it was made in one environment
        left_out = Counter(note.check for note in asked if isinstance(note, Note))
        checked += [check for check in OF_PING if left_out[check] < len(contexts)]
        told += asked
    if endpoint is not None:
        checked.append(Check.ENDPOINT)
        answers = _of_endpoint(of_each[environments[0]], contexts[0], endpoint)
        told += [found async for found in answers]
    return Diagnosis(
        environments,
        database.place,
        checked,
        [found for found in told if isinstance(found, DoctorFinding)],
        [found for found in told if isinstance(found, Note)],
    )


def _of_settings(settings: Settings, context: Context) -> Iterator[DoctorFinding]:
    here, account = settings.environment, settings.account
    for name in account.credential_names:
        if getattr(account, name) is None:
            remedy = f"{account.credentials_remedy}, and set {account.name_of(name)}"
            text = f"{name} is not set: no row can be checked"
            yield DoctorFinding(Check.CREDENTIALS, Level.ERROR, here, text, remedy)
    secrets = account.webhook_secrets
    name = account.name_of(account.webhook_secrets_name)
    if not secrets:
        remedy = f"add an endpoint at the provider, and set {name}"
        text = "no webhooks are accepted: no secret is set"
        yield DoctorFinding(Check.WEBHOOK_SECRETS, Level.WARNING, here, text, remedy)
    if any(len(secret) < SHORTEST_SECRET for secret in secrets):
        text = f"{name} has a secret of less than {SHORTEST_SECRET} characters"
        remedy = "take the signing secret of the endpoint, as the provider shows it"
        yield DoctorFinding(Check.WEBHOOK_SECRETS, Level.ERROR, here, text, remedy)
    playback = context.gateway.provider.playback
    if playback is None or not playback.has_key:
        return  # none is needed for public videos
    try:
        playback.check()
    except ConfigurationError as wrong:
        remedy = "take id and key of one signing key"
        yield DoctorFinding(Check.SIGNING_KEY, Level.ERROR, here, str(wrong), remedy)


def _of_all_settings(
    all_settings: Mapping[str, Settings], contexts: Sequence[Context]
) -> Iterator[DoctorFinding]:
    for context in contexts:
        yield from _of_settings(all_settings[context.store.environment], context)
    for (name, these), (other, those) in combinations(all_settings.items(), 2):
        if set(these.account.webhook_secrets) & set(those.account.webhook_secrets):
            text = f"it shares a webhook secret with {other}: events of one count as the other's"
            remedy = "each endpoint at the provider has a secret of its own"
            yield DoctorFinding(Check.WEBHOOK_SECRETS, Level.ERROR, name, text, remedy)
        credentials = these.account.credentials
        if credentials and credentials == those.account.credentials:
            text = f"it has the token of {other}"
            remedy = "give each environment its own token, or make one of the two"
            yield DoctorFinding(Check.CREDENTIALS, Level.ERROR, name, text, remedy)


_POOLED: Final = "a pooler is between: jobs of Procrastinate start up to a second later"
_MIGRATE: Final = "run `rindle-sync migrate`"
_TROUBLE: Final = "docs/production.md says what each trouble means"


async def _of_database(
    settings: Settings, context: Context, database: Database
) -> DoctorFinding | None:
    try:
        if trouble := await database.encoding_trouble():
            return DoctorFinding(Check.DATABASE, Level.ERROR, None, trouble, ENCODING_REMEDY)
        at, newest = await revisions(database.engine)
        if is_newer(at):
            text = f"the tables are at {at}, of a newer version of rindle-sync"
            return DoctorFinding(Check.TABLES, Level.ERROR, None, text, RUN_NEWER)
        if at not in {None, newest}:
            text = f"the tables are at {at}, and {newest} is the newest"
            return DoctorFinding(Check.TABLES, Level.ERROR, None, text, _MIGRATE)
        await Runtime((), settings, database, context.now).check_ready()
    except DatabaseUnavailable as unavailable:
        text, _, command = str(unavailable).partition("; run ")
        if "migrate" in command:
            return DoctorFinding(Check.TABLES, Level.ERROR, None, text, f"run {command}")
        return DoctorFinding(Check.DATABASE, Level.ERROR, None, str(unavailable), _TROUBLE)
    return None


async def _of_tables(
    settings: Settings, contexts: Sequence[Context]
) -> AsyncIterator[DoctorFinding]:
    first = contexts[0]
    for found in of_engine(await last_heartbeat(first.store), first.now()):
        yield found
    overviews = await overview(contexts)
    others = await elsewhere(contexts, overviews, settings.environments)
    for figures in overviews:
        for found in (*of_names(figures, others), *of_environment(figures)):
            yield found


_ADVICE: Final = {
    FailureKind.REFUSED: "fix the token: is it of this environment, and not revoked?",
    FailureKind.THROTTLED: "another program uses up the rate limit of this token; try again then",
    FailureKind.UNREACHABLE: "is its address right, and may this machine reach it?",
}


async def _of_provider(
    settings: Settings, context: Context, endpoint: str | None
) -> AsyncIterator[DoctorFinding | Note]:
    """Check the credentials as a dry run: nothing that it finds out is stored."""
    here, context = context.store.environment, context.for_dry_run()
    if not context.gateway.has_token:
        for check in OF_PING:
            yield Note(check, here, "not checked: no token is set")
        return
    kind: FailureKind | None = None
    text = ""
    try:
        failure = await context.gateway.verify_identity()
        if failure:
            kind, text = failure.kind, failure.text
    except AuthenticationFailed as refused:
        kind, text = FailureKind.REFUSED, str(refused)
    if kind:
        advice = {**_ADVICE, **context.gateway.provider.advice}
        yield DoctorFinding(
            Check.PROVIDER, Level.ERROR, here, text, advice.get(kind, "look at the log")
        )
    for found in _of_clock(context):
        yield found
    if kind:
        yield Note(Check.PROVIDER_ENDPOINT, here, "not checked: the provider gave no answer")
        return
    async for compared in of_endpoints(settings, context, endpoint):
        yield compared


def _of_clock(context: Context) -> Iterator[DoctorFinding | Note]:
    here = context.store.environment
    # the answer to the call for the token's environment also told the provider's time
    clock = context.gateway.provider.clock
    if clock is None:
        yield Note(Check.CLOCK, here, "not checked: there was no answer with a readable time")
        return
    skew = context.now() - clock
    if abs(skew) > MOST_SKEW:
        way = "ahead of" if skew > timedelta(0) else "behind"
        text = f"the local clock is {abs(skew).total_seconds():.0f} s {way} the provider's"
        remedy = "keep it in sync (NTP): webhooks may be refused as too old"
        yield DoctorFinding(Check.CLOCK, Level.WARNING, here, text, remedy)


_TAKEN: Final = {"stored", "duplicate", "ignored"}
_REFUSED: Final = {
    400: "it refused the webhook: its secret, its environment or its clock is another",
    500: "it has no webhook secret",
    503: "it could not store the delivery: its database is in trouble",
}
_UNPROVEN: Final = (
    "signed with the secret of these settings: "
    "only a webhook of the provider shows that it has the same one"
)


async def _of_endpoint(
    settings: Settings, context: Context, url: str
) -> AsyncIterator[DoctorFinding | Note]:
    here, account, provider = settings.environment, settings.account, context.gateway.provider
    if not account.webhook_secrets:
        remedy = f"set {account.webhook_secrets_name}"
        yield DoctorFinding(
            Check.ENDPOINT, Level.ERROR, here, "no webhook secret to sign with", remedy
        )
        return
    try:
        secret, now = account.webhook_secrets[0], context.now()
        answer = await knock(url, provider.test_delivery(secret, account.environment_id, now))
    except ProviderUnavailable as trouble:
        text = f"the endpoint cannot be reached ({trouble})"
        remedy = "does it run, and does the proxy forward to it?"
        yield DoctorFinding(Check.ENDPOINT, Level.ERROR, here, text, remedy)
        return
    path = f"/webhooks/{provider.name}"
    not_ours = (
        "is the endpoint of rindle-sync at this path, and does the proxy forward it? "
        f"It is {path}, with several environments {path}/<name>"
    )
    if answer.status in {200, 202} and answer.said in _TAKEN:
        yield Note(Check.ENDPOINT, here, _UNPROVEN)
    elif answer.said is None:
        text = f"what answered {answer.status} there is not an endpoint of rindle-sync"
        yield DoctorFinding(Check.ENDPOINT, Level.ERROR, here, text, not_ours)
    else:
        text = f"the endpoint answered {answer.status}"
        remedy = _REFUSED.get(answer.status, not_ours)
        yield DoctorFinding(Check.ENDPOINT, Level.ERROR, here, text, remedy)
