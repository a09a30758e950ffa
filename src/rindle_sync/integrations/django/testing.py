"""Tests of a Django project: the emulator in the place of the provider, and no network.

    class FilmTests(RindleTestCase):
        def test_a_film_is_published_once_it_is_ready(self):
            ...
            self.mux.finish(film.video)

With pytest-django, `emulated_mux()` is a fixture's body; mark such tests with
`django_db(transaction=True)`. What comes of it is written on connections of rindle-sync, so a
`TestCase`, which never commits, sees `track`, `prepare_upload`, models and tags only.
"""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from threading import Event
from typing import Any, ClassVar, Final

import httpx
from django.db import connections
from django.test import Client, TransactionTestCase, override_settings
from django.urls import NoReverseMatch, reverse
from pydantic_core import PydanticUndefined

from rindle_sync.config import fields_of
from rindle_sync.domain import ProviderAsset as Row
from rindle_sync.emulator import Life, MuxEmulator
from rindle_sync.emulator.webhook_sender import deliver_blocking
from rindle_sync.errors import ConfigurationError
from rindle_sync.integrations.django import conf
from rindle_sync.integrations.django.models import ProviderAsset
from rindle_sync.integrations.django.process import rindle

SECRET: Final = "the-webhook-secret-of-tests"  # noqa: S105  of the emulator alone
MUX: Final = "mux"
NEVER: Final = Life(ends="never")
MOST_TRIES: Final = 100
TRIED_AGAIN_AFTER: Final = 0.1
"""Seconds."""

_OF_DATABASES: Final = frozenset({"database_url", "database_schema"})
_TRANSACTION: Final = (
    "wants what is committed: the service has connections of its own, which do not see the "
    "transaction of a TestCase; use RindleTestCase, TransactionTestCase or "
    "django_db(transaction=True)"
)


class EmulatedMux(MuxEmulator):
    """The emulator, in which a video is processed until the test says how it ends.

    What the test says is told to the app as the provider does: by a webhook to the app's own
    address, through Django's test client. Then the webhook is applied, and signals are sent.
    """

    def __init__(self, webhook_url: str) -> None:
        super().__init__()
        self.life = NEVER
        self.webhook_url = webhook_url
        self.add_webhook(f"http://testserver{webhook_url}", SECRET)

    def send_file(self, url: str, content: bytes = b"a video") -> None:
        """Send a file to the URL of an upload, as a browser does; the video is then processed."""

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport) as browser:
                return await browser.put(url, content=content)

        asyncio.run(send()).raise_for_status()
        self.deliver()

    def finish(self, video: Any) -> None:
        """Have the provider end a video as ready: a row, the value of a `VideoField`, or an id."""
        self.finish_asset(self._asset_id(video))
        self.deliver()

    def fail(self, video: Any, message: str = "The input file could not be read.") -> None:
        """Have the provider end a video as errored."""
        self.fail_asset(self._asset_id(video), error_message=message)
        self.deliver()

    def delete(self, video: Any) -> None:
        """Have a video deleted at the provider, by somebody else than the app."""
        self.delete_asset(self._asset_id(video))
        self.deliver()

    def deliver(self) -> int:
        """Send the webhooks that are due to the app, apply them, and send the signals; how many.

        A test calls it after what it did to the emulator itself. Raises `AssertionError` where the
        app does not accept a webhook, `ConfigurationError` in a `TestCase`.
        """
        _check_committing()
        sent = 0
        with httpx.Client(transport=_ToApp()) as client:
            for webhook in self.webhooks:
                sent += deliver_blocking(self, webhook, client)
                self._check_accepted(webhook)
        process_waiting()
        return sent

    def _check_accepted(self, webhook: Any) -> None:
        if webhook.last_error is not None:
            raise webhook.last_error
        refused = [status for status in webhook.deliveries.answers if status >= 300]
        if refused:
            text = f"the app answered a webhook to {self.webhook_url} with {refused[-1]}"
            raise AssertionError(text)

    def _asset_id(self, video: Any) -> str:
        if isinstance(video, str):
            return video
        _check_committing()
        row = ProviderAsset.everywhere.get(pk=video.id)
        asset_id = row.provider_asset_id
        if asset_id is None and row.provider_upload_id:
            # no file was sent: as if it had come now
            asset_id = self.finish_upload(row.provider_upload_id)
            self.deliver()
        assert asset_id, f"{row} has nothing at the provider yet: start its upload first"
        return str(asset_id)


def process_waiting() -> None:
    """Apply the webhook events that wait, and send the signals of what changed."""
    _check_committing()
    for own in conf.environments():
        service = rindle.of(own.environment)
        service.process_webhook_events()
        service.dispatch()


def check(video: Row | ProviderAsset) -> None:
    """Have the provider asked about a video, as a sweep does when a webhook is missed."""
    _check_committing()
    row = video.row if isinstance(video, ProviderAsset) else video
    rindle.of(row.environment).sync(row, ask_first=True)
    process_waiting()


@contextmanager
def emulated_mux(
    *, webhook_url: str | None = None, rindle_settings: Mapping[str, Any] | None = None
) -> Iterator[EmulatedMux]:
    """For the time of a block, a project whose provider is the emulator.

    The settings are those of the project's `RINDLE`, and for the rest the defaults: no variable and
    no file of the developer's machine counts. `rindle_settings` win over them. Webhooks go to the
    address of `rindle_sync.integrations.django.urls`, or to `webhook_url`.
    """
    mux = EmulatedMux(webhook_url or _webhook_url())
    values = _plain_settings() | _credentials(mux)
    values |= {name.lower(): value for name, value in (rindle_settings or {}).items()}
    with ExitStack() as stack:
        stack.enter_context(override_settings(RINDLE=values))
        transport = httpx.ASGITransport(mux.app)
        stack.enter_context(rindle.replaced(transport=transport))
        yield mux


def _webhook_url() -> str:
    try:
        return reverse("rindle_sync:webhook", args=[MUX])
    except NoReverseMatch:
        text = "are not in the addresses of the project: include them, or say webhook_url="
        raise ConfigurationError("rindle_sync.integrations.django.urls", text) from None


def _credentials(mux: MuxEmulator) -> dict[str, str]:
    account = settings_of(MUX)
    found = dict(zip(account.credential_names, (mux.token_id, mux.token_secret), strict=True))
    return found | {account.webhook_secrets_name: SECRET}


def _plain_settings() -> dict[str, Any]:
    """Every setting: that of `RINDLE`, or its default, so that no variable is looked at."""
    values = {}
    for name, field in fields_of(MUX).items():
        default = field.get_default(call_default_factory=True)
        if name not in _OF_DATABASES and default is not PydanticUndefined:
            values[name] = default
    return values | conf.given()


class RindleTestMixin:
    """`self.mux` for a test class of Django's: the provider of the project, in this process."""

    mux: EmulatedMux
    webhook_url: ClassVar[str | None] = None
    """Where webhooks go, if not to an address of `rindle_sync.integrations.django.urls`."""
    rindle_settings: ClassVar[Mapping[str, Any]] = {}
    """Settings of rindle-sync for these tests, by name."""

    def setUp(self) -> None:
        """Put the emulator into the place of the provider, until the test ends."""
        super().setUp()  # type: ignore[misc]
        emulated = emulated_mux(webhook_url=self.webhook_url, rindle_settings=self.rindle_settings)
        self.mux = self.enterContext(emulated)  # type: ignore[attr-defined]


class RindleTestCase(RindleTestMixin, TransactionTestCase):
    """A test case with `self.mux`, in which everything works: it commits, as the app does."""


class _ToApp(httpx.BaseTransport):
    """Requests to the app itself, by Django's test client."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self._post(request)
        for _ in range(MOST_TRIES):
            if answer.status_code != HTTPStatus.SERVICE_UNAVAILABLE:
                break
            # the database was locked for a moment; the provider tries again as well
            Event().wait(TRIED_AGAIN_AFTER)
            answer = self._post(request)
        return httpx.Response(answer.status_code, content=answer.content)

    def _post(self, request: httpx.Request) -> Any:
        path = request.url.raw_path.decode()
        names = {name: value for name, value in request.headers.items() if name != "host"}
        content_type = names.pop("content-type", "application/octet-stream")
        names.pop("content-length", None)
        return Client().generic(
            request.method, path, request.read(), content_type=content_type, headers=names
        )


def _check_committing() -> None:
    if connections[conf.database_alias()].in_atomic_block:
        raise ConfigurationError("the test", _TRANSACTION)
