"""Makes, lists and deletes the provider's webhook endpoints, on behalf of a person."""

from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from typing import Final
from urllib.parse import urlsplit

from rindle_sync.errors import ConfigurationError, NotFound, ProviderError, ProviderUnavailable
from rindle_sync.gateway import Operation
from rindle_sync.providers import CreatedWebhookEndpoint, WebhookEndpoint, WebhookEndpoints
from rindle_sync.reconcile import Context

MOST_PAGES: Final = 50
"""The pages of endpoints that are read: a list without an end must not be followed for ever."""

LONGEST_ADDRESS: Final = 2048

LOST_ANSWER: Final = (
    "; the endpoint may have been made all the same, and its secret comes only once: "
    "look at `rindle-sync endpoint list`, delete it, and make it again"
)

_ADDRESS: Final = (
    "must be a public address without a user in it, as in https://app.example.com/webhooks"
)


async def list_endpoints(context: Context) -> list[WebhookEndpoint]:
    """The webhook endpoints of the environment, as the provider lists them.

    Raises `ConfigurationError` where the provider has no such call, `ProviderError` and its kinds:
    `AuthenticationFailed` names the permission that the token lacks.
    """
    return [endpoint async for endpoint in _listed(context, _endpoints_of(context))]


async def create_endpoint(context: Context, address: str) -> CreatedWebhookEndpoint:
    """Have the provider make an endpoint, and return it with its secret, which comes only once.

    It is tried again after a 429 alone. Raises `ConfigurationError` for an address that is none,
    that is taken, or that the provider refuses; `EnvironmentMismatch`, `ProviderError` and its
    kinds. After `ProviderUnavailable` the endpoint may be there, unless its `was_sent` is False.
    """
    check_address("ADDRESS", address)
    gateway, endpoints = context.gateway, _endpoints_of(context)
    await gateway.identity.check()
    try:
        return await gateway.call_within(
            gateway.reads, Operation.CREATE_ENDPOINT, lambda: endpoints.create(address)
        )
    except ConfigurationError:
        # in whatever words the provider refuses it, this is the reason that can be known
        with suppress(ProviderError):
            if await _find(context, endpoints, address):
                text = "is taken: an endpoint has it already; delete that one, or give another"
                raise ConfigurationError("ADDRESS", text) from None
        raise
    except ProviderUnavailable as error:
        told = LOST_ANSWER if error.was_sent else ""
        raise ProviderUnavailable(f"{error}{told}", was_sent=error.was_sent) from None


async def find_endpoint(context: Context, id_or_address: str) -> WebhookEndpoint | None:
    """The endpoint with this id, or at this address; raises what `list_endpoints` raises."""
    return await _find(context, _endpoints_of(context), id_or_address)


async def delete_endpoint(context: Context, endpoint: WebhookEndpoint) -> bool:
    """Have the provider delete an endpoint; False where it was gone already.

    Raises `EnvironmentMismatch`, `ProviderError` and its kinds.
    """
    gateway, endpoints = context.gateway, _endpoints_of(context)
    await gateway.identity.check()
    try:
        await gateway.call_within(
            gateway.reads, Operation.DELETE_ENDPOINT, lambda: endpoints.delete(endpoint.id)
        )
    except NotFound:
        return False
    return True


def check_address(name: str, address: str) -> None:
    """Raise `ConfigurationError` about `name` where webhooks cannot be sent to `address`."""
    try:
        parts = urlsplit(address)
        # asking for a port raises for a wrong one
        is_plain = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        is_plain = is_plain and not (parts.username or parts.password or parts.fragment)
    except ValueError:
        is_plain = False
    has_blank = any(character.isspace() or not character.isprintable() for character in address)
    if not is_plain or has_blank or len(address) > LONGEST_ADDRESS:
        raise ConfigurationError(name, _ADDRESS)


def _endpoints_of(context: Context) -> WebhookEndpoints:
    provider = context.gateway.provider
    if provider.webhook_endpoints is None:
        text = f"has no calls for webhook endpoints ({provider.name}): make them by hand there"
        raise ConfigurationError("provider", text)
    return provider.webhook_endpoints


async def _find(
    context: Context, endpoints: WebhookEndpoints, id_or_address: str
) -> WebhookEndpoint | None:
    async for endpoint in _listed(context, endpoints):
        if id_or_address in {endpoint.id, endpoint.address}:
            return endpoint
    return None


async def _listed(context: Context, endpoints: WebhookEndpoints) -> AsyncIterator[WebhookEndpoint]:
    gateway = context.gateway
    cursor: str | None = None
    for _ in range(MOST_PAGES):
        fetch = partial(endpoints.page, cursor)
        page = await gateway.call_within(gateway.reads, Operation.LIST_ENDPOINTS, fetch)
        for endpoint in page.endpoints:
            yield endpoint
        cursor = page.cursor
        if cursor is None:
            return
    text = f"{gateway.provider.name} lists webhook endpoints without an end"
    raise ProviderUnavailable(text)
