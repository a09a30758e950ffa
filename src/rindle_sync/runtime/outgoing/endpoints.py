"""The endpoints of outgoing webhooks: for the app and its operators, and that of the settings."""

import re
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final
from uuid import uuid4

from rindle_sync.domain import (
    BY_OPERATOR,
    MOST_SECRETS,
    OF_SETTINGS,
    REMOVED_FROM_SETTINGS,
    TEST_TYPE,
    OutgoingEndpoint,
    OutgoingSecret,
    OutgoingSettings,
    OutgoingStatus,
    OutgoingWebhook,
    check_is_text,
    endpoint_url_fault,
    newest_first,
    secret_fault,
    type_pattern_fault,
)
from rindle_sync.errors import ConfigurationError
from rindle_sync.runtime.outgoing.client import Answer, OutgoingClient
from rindle_sync.runtime.outgoing.payload import iso_time
from rindle_sync.runtime.outgoing.signature import new_secret, signed_headers
from rindle_sync.store import Store
from rindle_sync.store.schema import to_json

KEEPS_OLD_SECRET: Final = timedelta(hours=24)

_NAME: Final = re.compile(r"[a-z0-9]+([-_][a-z0-9]+)*")
LONGEST_NAME: Final = 63


class OutgoingWebhooksOfApp:
    """The endpoints of one environment, and their webhooks.

    Every method raises `ConfigurationError` for a value that is wrong, and `DatabaseUnavailable`.
    """

    def __init__(self, store: Store, client: OutgoingClient, now: Callable[[], datetime]) -> None:
        self._store = store
        self._client = client
        self._now = now

    async def create(
        self,
        name: str,
        url: str,
        *,
        secret: str | None = None,
        types: Collection[str] = (),
        allow_private: bool = False,
    ) -> OutgoingEndpoint:
        """Add an endpoint, which is told of the changes from now on.

        `secret` is `whsec_` and the base64 of 24 to 64 bytes; one is made if none is given. `types`
        are patterns as in `asset.*`; none for all. `allow_private` allows addresses of private
        networks, and URLs without TLS.
        """
        check_name(name)
        endpoint = OutgoingEndpoint(
            id=str(uuid4()),
            name=name,
            url=url,
            secrets=newest_first([new_secret() if secret is None else secret]),
            types=tuple(types),
            allow_private=allow_private,
            created_at=self._now(),
        )
        _check(endpoint)
        await self._store.outgoing_endpoints.add(endpoint, self._store.change_feed.publish_all)
        return endpoint

    async def list(self) -> list[OutgoingEndpoint]:
        """The endpoints, by name."""
        return await self._store.outgoing_endpoints.list()

    async def get(self, name: str) -> OutgoingEndpoint | None:
        """The endpoint of this name."""
        check_is_text("name", name)
        return await self._store.outgoing_endpoints.get(name)

    async def change(
        self,
        name: str,
        *,
        url: str | None = None,
        types: Collection[str] | None = None,
        allow_private: bool | None = None,
    ) -> OutgoingEndpoint | None:
        """Change an endpoint; what is None stays as it is. None where there is none of this name.

        Webhooks that wait are sent to the new URL, whatever types it wants now.
        """
        _check_is_free("name", name)

        def edit(endpoint: OutgoingEndpoint) -> OutgoingEndpoint:
            changed = replace(
                endpoint,
                url=endpoint.url if url is None else url,
                types=endpoint.types if types is None else tuple(types),
                allow_private=endpoint.allow_private if allow_private is None else allow_private,
            )
            _check_address(changed)
            return changed

        return await self._store.outgoing_endpoints.change(name, edit)

    async def rotate_secret(
        self, name: str, *, secret: str | None = None, keep_old: timedelta = KEEPS_OLD_SECRET
    ) -> OutgoingEndpoint | None:
        """Sign by a new secret, and for `keep_old` by the old ones as well, each in its signature.

        None where there is no endpoint of this name.
        """
        _check_is_free("name", name)
        if keep_old < timedelta(0):
            raise ConfigurationError("keep_old", "must not be negative")
        now, new = self._now(), OutgoingSecret(new_secret() if secret is None else secret)

        def edit(endpoint: OutgoingEndpoint) -> OutgoingEndpoint:
            kept = [new]
            for old in endpoint.secrets:
                until = min(old.until or now + keep_old, now + keep_old)
                # one that somebody broke signs nothing
                if until > now and not secret_fault(old.secret):
                    kept.append(OutgoingSecret(old.secret, until))
            changed = replace(endpoint, secrets=tuple(kept))
            _check_secrets(changed)
            return changed

        return await self._store.outgoing_endpoints.change(name, edit)

    async def enable(self, name: str) -> bool:
        """Send to an endpoint again, at once; False where there is none of this name.

        What waits for a later attempt is sent, too. Changes that were while it was disabled are
        not: list the rows, or follow the feed of changes.
        """
        check_is_text("name", name)
        return await self._store.outgoing_endpoints.enable(name, self._now())

    async def disable(self, name: str) -> bool:
        """Send nothing to an endpoint, and make no webhooks for it; whether it was enabled.

        Those that wait are kept, and are sent once it is enabled.
        """
        check_is_text("name", name)
        return await self._store.outgoing_endpoints.disable(name, self._now(), BY_OPERATOR)

    async def delete(self, name: str) -> bool:
        """Delete an endpoint, and its webhooks; False where there is none of this name."""
        _check_is_free("name", name)
        return await self._store.outgoing_endpoints.delete(name)

    async def webhooks(
        self, name: str, *, status: OutgoingStatus | None = None, limit: int = 50
    ) -> Sequence[OutgoingWebhook] | None:
        """The newest webhooks of an endpoint; None where there is none of this name."""
        endpoint = await self.get(name)
        if endpoint is None:
            return None
        return await self._store.outgoing_webhooks.list(endpoint.id, status=status, limit=limit)

    async def counts(self) -> dict[str, dict[OutgoingStatus, int]]:
        """How many webhooks each endpoint has of each status, by its name."""
        by_id = await self._store.outgoing_webhooks.counts()
        none = dict.fromkeys(OutgoingStatus, 0)
        return {endpoint.name: by_id.get(endpoint.id, none) for endpoint in await self.list()}

    async def replay(
        self, name: str, *, webhook_id: int | None = None, since: datetime | None = None
    ) -> int | None:
        """Send one webhook that has ended again, or all dead ones, or those dead `since` then.

        How many; None where there is no endpoint of this name.
        """
        endpoint = await self.get(name)
        if endpoint is None:
            return None
        webhooks, now = self._store.outgoing_webhooks, self._now()
        return await webhooks.replay(endpoint.id, now, webhook_id=webhook_id, since=since)

    async def test(self, name: str) -> Answer | None:
        """Send a webhook of type `test.ping` now; None where there is no endpoint of this name.

        It is tried once, whatever types the endpoint wants, and also where it is disabled.
        """
        endpoint, now = await self.get(name), self._now()
        if endpoint is None:
            return None
        data = {"environment": self._store.environment, "endpoint": endpoint.name}
        payload = {"type": TEST_TYPE, "timestamp": iso_time(now), "data": data}
        body, secrets = to_json(payload).encode(), endpoint.signing_secrets(now)
        headers = signed_headers(f"msg_{uuid4().hex}", body, secrets, now)
        return await self._client.send(endpoint, body, headers, now)


async def apply_settings(store: Store, settings: OutgoingSettings | None, now: datetime) -> None:
    """Make the endpoint that the settings name, or bring it up to date; raises as the above.

    One that they do not name any more is disabled. One that is disabled for another reason stays
    so, unless its URL is new.
    """
    endpoints = store.outgoing_endpoints
    known = await endpoints.get(OF_SETTINGS)
    if settings is None:
        if known and known.is_enabled:
            await endpoints.disable(OF_SETTINGS, now, REMOVED_FROM_SETTINGS)
        return
    wanted = OutgoingEndpoint(
        id=known.id if known else str(uuid4()),
        name=OF_SETTINGS,
        url=settings.url,
        secrets=newest_first(settings.secrets),
        types=settings.types,
        allow_private=settings.allow_private,
        created_at=known.created_at if known else now,
    )
    if known is None:
        # another process that starts at the same moment may add it first
        with suppress(ConfigurationError):
            await endpoints.add(wanted, store.change_feed.publish_all)
        return
    if replace(wanted, health=known.health) != known:
        await endpoints.change(OF_SETTINGS, lambda _: wanted)
    is_back = known.health.disabled_reason == REMOVED_FROM_SETTINGS or known.url != wanted.url
    if is_back and not known.is_enabled:
        await endpoints.enable(OF_SETTINGS, now)


def check_name(name: str) -> None:
    """Raise `ConfigurationError` for what no endpoint that is created may be called."""
    _check_is_free("name", name)
    if not _NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        text = f"must be at most {LONGEST_NAME} small letters, digits, single - and _"
        raise ConfigurationError("name", text)


def _check_is_free(argument: str, name: str) -> None:
    check_is_text(argument, name)
    if name == OF_SETTINGS:
        text = f"{OF_SETTINGS!r} is the endpoint of the setting outgoing_webhook_url: change that"
        raise ConfigurationError(argument, text)


def _check(endpoint: OutgoingEndpoint) -> None:
    _check_address(endpoint)
    _check_secrets(endpoint)


def _check_address(endpoint: OutgoingEndpoint) -> None:
    if fault := endpoint_url_fault(endpoint.url, allow_private=endpoint.allow_private):
        raise ConfigurationError("url", fault)
    for pattern in endpoint.types:
        if fault := type_pattern_fault(pattern):
            raise ConfigurationError("types", f"{pattern!a} {fault}")


def _check_secrets(endpoint: OutgoingEndpoint) -> None:
    if len(endpoint.secrets) > MOST_SECRETS:
        text = f"must be at most {MOST_SECRETS} at once: wait until old ones have ended"
        raise ConfigurationError("secret", text)
    for kept in endpoint.secrets:
        if fault := secret_fault(kept.secret):
            raise ConfigurationError("secret", fault)
