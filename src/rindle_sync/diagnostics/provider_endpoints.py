"""Whether the provider sends its webhooks here: its endpoints against the settings."""

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from rindle_sync.config import Settings
from rindle_sync.diagnostics.checks import Check, DoctorFinding, Level
from rindle_sync.domain import many
from rindle_sync.errors import AuthenticationFailed, ProviderError
from rindle_sync.providers import WebhookEndpoint
from rindle_sync.reconcile import Context
from rindle_sync.webhooks import list_endpoints


@dataclass(frozen=True, slots=True)
class Note:
    """Why a check was not made, or what it does not prove; no finding."""

    check: Check
    environment: str | None
    text: str


NO_PERMISSION: Final = (
    "not checked: the token may not read the endpoints; it needs the permission to read system data"
)
NO_CALLS: Final = "not checked: the provider has no call that lists its endpoints"


async def of_endpoints(
    settings: Settings, context: Context, tried: str | None
) -> AsyncIterator[DoctorFinding | Note]:
    """Compare the provider's endpoints with the address in the settings.

    `tried` is an address that the user has named: it may be another way to the same endpoint, so
    that its absence proves nothing.
    """
    here = settings.environment
    if context.gateway.provider.webhook_endpoints is None:
        yield Note(Check.PROVIDER_ENDPOINT, here, NO_CALLS)
        return
    try:
        endpoints = await list_endpoints(context)
    except AuthenticationFailed:
        # a token that keeps rows in sync needs no more than it has for that
        yield Note(Check.PROVIDER_ENDPOINT, here, NO_PERMISSION)
        return
    except ProviderError as error:
        yield Note(Check.PROVIDER_ENDPOINT, here, f"not checked: {error}")
        return
    for found in _compared(endpoints, settings, tried):
        if isinstance(found, str):
            yield Note(Check.PROVIDER_ENDPOINT, here, found)
        else:
            level, text, remedy = found
            yield DoctorFinding(Check.PROVIDER_ENDPOINT, level, here, text, remedy)


_Finding = tuple[Level, str, str]


def _compared(
    endpoints: Sequence[WebhookEndpoint], settings: Settings, tried: str | None
) -> Iterator[_Finding | str]:
    """What is wrong, with its remedy, or what cannot be known."""
    wanted = settings.webhook_public_url
    if not endpoints:
        if settings.account.webhook_secrets:
            yield Level.WARNING, "the provider has no webhook endpoint: no webhook comes", _CREATE
    elif wanted:
        yield from _at(endpoints, wanted)
    elif tried and any(_same(endpoint.address, tried) for endpoint in endpoints):
        yield from _at(endpoints, tried)
    elif all(endpoint.enabled is False for endpoint in endpoints):
        yield Level.WARNING, "every endpoint at the provider is disabled: no webhook comes", _ENABLE
    else:
        yield from _by_path(endpoints, settings)


_CREATE: Final = "run `rindle-sync endpoint create` with the public address of your endpoint"
_ENABLE: Final = "enable it in the provider's dashboard"


def _at(endpoints: Sequence[WebhookEndpoint], address: str) -> Iterator[_Finding | str]:
    """What is wrong with the endpoints at the address that is known to be ours."""
    here = [endpoint for endpoint in endpoints if _same(endpoint.address, address)]
    # None is not known: it is no reason for a finding
    active = [endpoint for endpoint in here if endpoint.enabled is not False]
    shown = _shown(address)
    if not here:
        text = f"no endpoint of the provider has the address {shown}: no webhook comes"
        remedy = f"run `rindle-sync endpoint create {shown}`, or correct webhook_public_url"
        yield Level.ERROR, text, remedy
    elif not active:
        yield Level.ERROR, f"the endpoint {shown} is disabled: no webhook comes", _ENABLE
    elif len(active) > 1:
        text = f"{len(active)} endpoints lead to {shown}: each event comes as often"
        yield Level.WARNING, text, "delete all but one, unless you are changing the secret"


def _by_path(endpoints: Sequence[WebhookEndpoint], settings: Settings) -> Iterator[str]:
    """What can be said of endpoints where no setting says which one is ours."""
    path = f"/webhooks/{settings.provider}"
    if settings.environment_has_table:
        path += f"/{settings.environment}"
    ours = [endpoint for endpoint in endpoints if _normal(endpoint.address)[3].endswith(path)]
    active = [endpoint for endpoint in ours if endpoint.enabled is not False]
    if len(active) == 1:
        return
    name = "webhook_public_url"
    if active:
        yield f"{len(active)} endpoints end in {path}: set {name}, and yours is checked"
    elif ours:
        yield f"what ends in {path} is disabled: if it is yours, enable it; {name} names yours"
    else:
        listed = many(len(endpoints), "endpoint")
        yield f"not checked: the provider has {listed}, and none ends in {path}; set {name}"


def _same(address: str, other: str) -> bool:
    return _normal(address) == _normal(other)


def _normal(address: str) -> tuple[str, str, int | None, str, str]:
    """An address as it is compared: without what makes no difference."""
    try:
        parts = urlsplit(address.strip())
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return "", address, None, "", ""
    return parts.scheme, parts.hostname or "", port, parts.path.rstrip("/"), parts.query


def _shown(address: str) -> str:
    """An address without what may be a password in it."""
    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))
