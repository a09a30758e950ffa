"""A fake Mux that does what a test says, in words."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Final, Protocol, Self
from urllib.parse import urljoin, urlsplit

import httpx

from rindle_sync.emulator import Life, MuxEmulator
from rindle_sync.emulator.faults import Rule
from rindle_sync.emulator.webhook_sender import deliver_blocking
from rindle_sync.emulator.webhooks import Webhook
from rindle_sync.testing.clock import Clock
from rindle_sync.testing.endpoints import Client, Receive, to_client, to_function, to_wsgi

APP: Final = "http://testserver"
"""The host of an app in this process, by the name that clients for tests give it."""

DEFAULT_PATH: Final = "/webhooks/mux"


class HasAssetId(Protocol):
    """A row, for one."""

    @property
    def provider_asset_id(self) -> str | None:
        """Mux's id of its asset."""


class HasUrl(Protocol):
    """A direct upload, for one."""

    @property
    def url(self) -> str:
        """Where its file is sent."""


class WebhookRefused(AssertionError):
    """A webhook was delivered, and the app did not take it."""


class Disturbance:
    """Something that is wrong with Mux until `end`, or to the end of a `with` block."""

    def __init__(self, mux: "FakeMux", rule: Rule) -> None:
        self._mux = mux
        self._rule = rule

    @property
    def calls(self) -> int:
        """How many calls it has hit."""
        return self._rule.fired

    def end(self) -> None:
        """Have Mux work again as before; once more does nothing."""
        self._mux.remove_fault(self._rule)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


class FakeMux(MuxEmulator):
    """The emulator, by a clock that a test moves; assets prepare until the test ends them.

    `options` are those of `MuxEmulator`. An `asset` is an id of Mux, or a row with one.
    """

    webhook_secret: Final = "emulator-webhook-secret"  # noqa: S105  valid for this Mux only

    def __init__(self, clock: Clock | None = None, **options: Any) -> None:
        self.clock = clock or Clock()
        self._stand_in: Webhook | None = None
        super().__init__(now=self.clock.seconds, **options)
        if "prepare_seconds" not in options:
            self.default_lives = replace(self.default_lives, asset=Life("never"))
            self.lives = self.default_lives

    @property
    def transport(self) -> httpx.AsyncBaseTransport:
        """The way to it without a socket: the `transport` that `connect` takes."""
        return httpx.ASGITransport(app=self.app)

    def finish(self, asset: str | HasAssetId) -> None:
        """Mux says: ready now. Raises `ValueError` for an asset that has ended, `KeyError`."""
        self.finish_asset(_id_of(asset))

    def fail(self, asset: str | HasAssetId, message: str | None = None) -> None:
        """Mux says: errored now, for this reason. Raises as `finish` does."""
        self.fail_asset(_id_of(asset), error_message=message)

    def delete(self, asset: str | HasAssetId) -> None:
        """Somebody deletes the asset at Mux. Raises `KeyError`."""
        self.delete_asset(_id_of(asset))

    def receive_file(self, upload: str | HasUrl) -> str:
        """The file of a direct upload arrives; the id of its asset.

        `upload` is the upload, its URL, or its id. Raises `ValueError` where it does not wait for
        a file any more, `KeyError`.
        """
        url = upload if isinstance(upload, str) else upload.url
        return self.finish_upload(urlsplit(url).path.rpartition("/")[2])

    def go_down(self, operation: str | None = None, *, times: int | None = None) -> Disturbance:
        """Answer every call with 500, or only those of one `operation`, or the next `times`."""
        return self._disturbed("server_error", operation=operation, times=times)

    def throttle(
        self, operation: str | None = None, *, times: int | None = None, seconds: int | None = None
    ) -> Disturbance:
        """Answer calls with 429; `seconds` is what `Retry-After` names, if anything."""
        return self._disturbed(
            "rate_limited", operation=operation, times=times, retry_after=seconds
        )

    def slow_down(self, seconds: float, operation: str | None = None) -> Disturbance:
        """Answer calls so many `seconds` later, of real time."""
        return self._disturbed("latency", operation=operation, seconds=seconds)

    def recover(self) -> None:
        """End every disturbance."""
        self.clear_faults()

    def _disturbed(self, kind: str, **settings: Any) -> Disturbance:
        return Disturbance(self, self.add_fault(kind, **settings))

    def deliver_to(
        self,
        url: str = DEFAULT_PATH,
        *,
        asgi: Callable[..., Any] | None = None,
        wsgi: Callable[..., Any] | None = None,
        client: Client | None = None,
        function: Receive | None = None,
        **faults: Any,
    ) -> Webhook:
        """Send webhooks to an endpoint of the app from now on, and no more to `rindle` itself.

        `url` is an address, or the path in an app of this process: an ASGI app, a WSGI app, or the
        one behind a `client` of httpx such as `TestClient`. A `function` gets headers and body, as
        `rindle.receive` does. `faults` are those of `add_webhook`. Raises `ValueError`.
        """
        if self._stand_in:
            self.webhooks.remove(self._stand_in)
            self._stand_in = None
        given = [way for way in (asgi, wsgi, client, function) if way is not None]
        if len(given) > 1:
            raise ValueError("give one of asgi, wsgi, client and function")
        transport: httpx.AsyncBaseTransport | None = None
        if asgi is not None:
            transport = httpx.ASGITransport(app=asgi)
        elif wsgi is not None:
            transport = to_wsgi(wsgi)
        elif client is not None:
            transport = to_client(client)
        elif function is not None:
            transport = to_function(function)
        elif "://" not in url:
            raise ValueError("give the app with asgi, wsgi, client or function, or a whole address")
        address = urljoin(APP, url)
        return self.add_webhook(address, self.webhook_secret, transport=transport, **faults)

    @contextmanager
    def delivering_to(self, receive: Receive) -> Iterator[None]:
        """Send webhooks to this function in the block, unless they go elsewhere already.

        They no longer do once `deliver_to` names the endpoint of the app.
        """
        if list(self.webhooks):
            yield
            return
        webhook = self._stand_in = self.deliver_to(function=receive)
        try:
            yield
        finally:
            self.webhooks.remove(webhook)
            self._stand_in = None

    async def deliver_due(self, *, at_once: int = 1, must_succeed: bool = True) -> int:
        """Send the webhooks of all that has happened; how many requests that took.

        They are sent one after another, unless `at_once` is more. Raises `WebhookRefused` where the
        app did not take one, unless `must_succeed` is False: then Mux tries again later.
        """
        with self._watching(must_succeed=must_succeed):
            return await super().deliver_due(at_once=at_once)

    def deliver_webhooks(self, *, must_succeed: bool = True) -> int:
        """`deliver_due` for sync tests; the app is called on this thread.

        Raises `ValueError` for an endpoint that is async.
        """
        sent = 0
        with self._watching(must_succeed=must_succeed):
            for webhook in self.webhooks:
                transport = webhook.transport
                if transport is not None and not isinstance(transport, httpx.BaseTransport):
                    text = "is async: call `await deliver_due()`, or give its TestClient as client"
                    raise ValueError(f"the endpoint {webhook.endpoint.url} {text}")
                sent += deliver_blocking(self, webhook, transport)
        return sent

    @contextmanager
    def _watching(self, *, must_succeed: bool) -> Iterator[None]:
        before = {webhook: _refusals(webhook) for webhook in self.webhooks}
        yield
        for webhook in self.webhooks:
            known = before.get(webhook, {})
            now = _refusals(webhook)
            new = [answer for answer, count in now.items() if count > known.get(answer, 0)]
            if new and must_succeed:
                error = webhook.last_error if NO_ANSWER in new else None
                told = f" ({type(error).__name__})" if error else ""
                text = f"{webhook.endpoint.url} gave webhooks {' and '.join(new)}{told}"
                refusal = webhook.last_refusal if set(new) != {NO_ANSWER} else None
                raise WebhookRefused(text + _reason(refusal)) from error


NO_ANSWER: Final = "no answer"


_REASONS: Final = {
    "server_misconfigured": (
        "the app has no webhook secret: set `mux_webhook_secrets` to `rindle_mux.webhook_secret`"
    ),
    "provider_webhook_invalid": (
        "the app has another webhook secret, environment or clock than the fake Mux: "
        "give it `rindle_settings`, and `rindle_clock.now` as its clock"
    ),
}
"""Why rindle-sync refuses a webhook, by the `error` of its answer."""


def _reason(refusal: httpx.Response | None) -> str:
    """Why a webhook was refused and what to do, as far as the answer tells; else nothing."""
    if refusal is None:
        return ""
    if refusal.status_code == HTTPStatus.NOT_FOUND:
        return ": the app has nothing at this address; name the one of its endpoint in `deliver_to`"
    try:
        return f": {_REASONS[refusal.json()['error']]}"
    except (ValueError, LookupError, TypeError):  # the answer of an app's own
        return ""


def _refusals(webhook: Webhook) -> dict[str, int]:
    """What an endpoint answered to true webhooks that it did not take, and how often."""
    deliveries = webhook.deliveries
    found = {NO_ANSWER: deliveries.unanswered}
    for status, count in deliveries.answers.items():
        if not 200 <= status < 300:
            found[f"the answer {status}"] = count
    return found


def _id_of(asset: str | HasAssetId) -> str:
    asset_id = asset if isinstance(asset, str) else asset.provider_asset_id
    if asset_id is None:
        raise ValueError("the row has no asset yet: call `receive_file` with its upload first")
    return asset_id
