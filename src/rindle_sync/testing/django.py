"""Tests of a Django project: the emulator in the place of the provider, and no network.

    class FilmTests(RindleTestCase):
        def test_a_film_is_published_once_it_is_ready(self):
            ...
            self.mux.finish(film.video)
            self.mux.deliver()

With pytest-django, `app_mux()` is a fixture's body; its tests ask for `transactional_db`. What
comes of a webhook is written on connections of rindle-sync, so a `TestCase`, which never commits,
has models, pages, tags, and what joins its transaction: `track`, `prepare_upload`.
"""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from threading import Event
from typing import Any, ClassVar, Final

from django.db import connections
from django.test import Client, TransactionTestCase, override_settings
from django.urls import NoReverseMatch, reverse

from rindle_sync.app import RindleSync
from rindle_sync.domain import ProviderAsset as Row
from rindle_sync.errors import ConfigurationError
from rindle_sync.integrations.django import conf
from rindle_sync.integrations.django.models import ProviderAsset
from rindle_sync.integrations.django.process import rindle
from rindle_sync.testing import FakeMux, only_these_settings, settings_for
from rindle_sync.testing.jobs import make_endpoint
from rindle_sync.testing.settings import NOWHERE

MOST_TRIES: Final = 100
TRIED_AGAIN_AFTER: Final = 0.1
"""Seconds."""

_TRANSACTION: Final = (
    "wants what is committed: the service has connections of its own, which do not see the "
    "transaction of a TestCase; use RindleTestCase, TransactionTestCase or transactional_db"
)


class AppMux(FakeMux):
    """The fake Mux of a project: it knows the way to the app's own webhook endpoint."""

    def deliver(self) -> int:
        """Send the webhooks of all that has happened, apply them, send the signals; how many.

        They go to the app's own address, by Django's test client. Raises `WebhookRefused` where the
        app does not take one, `ConfigurationError` in the transaction of a `TestCase`.
        """
        _check_committing()
        for own in conf.environments():
            rindle.of(own.environment)._call(_note_test)  # noqa: SLF001  nothing for apps
        sent = self.deliver_webhooks()
        process_waiting()
        return sent


async def _note_test(service: RindleSync) -> None:
    # as an engine does, so that no warning says that nothing will apply webhook events
    if not service.job_runner.wakeups:
        service.job_runner.wakeups.append(asyncio.Event())


def process_waiting() -> None:
    """Apply the webhook events that wait, send the signals of what changed, and tell endpoints."""
    _check_committing()
    for own in conf.environments():
        service = rindle.of(own.environment)
        service._call(make_endpoint)  # noqa: SLF001  nothing for apps
        service.process_webhook_events()
        service.dispatch()
        service.deliver()


def check(video: Row | ProviderAsset) -> None:
    """Have the provider asked about a video, as a sweep does when a webhook is missed."""
    _check_committing()
    row = video.row if isinstance(video, ProviderAsset) else video
    rindle.of(row.environment).sync(row, ask_first=True)
    process_waiting()


@contextmanager
def app_mux(*, webhook_url: str | None = None, **settings: Any) -> Iterator[AppMux]:
    """For the time of a block, a project whose provider is the fake Mux.

    The settings are those of the project's `RINDLE`, and for the rest the defaults: no variable and
    no file of the developer's machine counts. `settings`, by their names in small letters, win over
    them. Webhooks go to the address of `rindle_sync.integrations.django.urls`, or to `webhook_url`.
    """
    mux = AppMux()
    mux.deliver_to(webhook_url or _webhook_url(), function=_post(webhook_url or _webhook_url()))
    alone = settings_for(mux, database_url=conf.database_url())
    values = _in_tests(conf.given(), mux, settings)
    with (
        only_these_settings(alone),
        override_settings(RINDLE=values),
        rindle.replaced(transport=mux.transport, clock=mux.clock.now),
    ):
        yield mux


def _in_tests(project: Mapping[str, Any], mux: FakeMux, own: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a project, but for its account, whose place the fake Mux takes."""
    ours = {
        "mux_base_url": NOWHERE,
        "mux_environment_id": None,
        "mux_token_id": mux.token_id,
        "mux_token_secret": mux.token_secret,
        "mux_webhook_secrets": mux.webhook_secret,
    }
    files = {f"{name}_file" for name in ours}
    tables = own.get("environments") or project.get("environments")
    if not tables:
        return {**_but(project, files), **ours, **own}
    # what is secret stands in the table of each environment alone
    named = {name: {**_but(table, files), **ours} for name, table in tables.items()}
    return {**_but({**project, **own}, {*files, *ours}), "environments": named}


def _but(values: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}


def _webhook_url() -> str:
    try:
        return reverse("rindle_sync:webhook", args=["mux"])
    except NoReverseMatch:
        text = "are not in the addresses of the project: include them, or say webhook_url="
        raise ConfigurationError("rindle_sync.integrations.django.urls", text) from None


def _post(url: str) -> Any:
    def post(headers: Mapping[str, str], body: bytes) -> Any:
        """The answer of the app; where a database was locked, as the provider tries again."""
        kind, tries = headers.get("Content-Type", "application/json"), 1
        while True:
            answer = Client().post(url, body, content_type=kind, headers=dict(headers))
            if answer.status_code != HTTPStatus.SERVICE_UNAVAILABLE or tries == MOST_TRIES:
                return answer
            tries += 1
            Event().wait(TRIED_AGAIN_AFTER)

    return post


def _check_committing() -> None:
    if connections[conf.database_alias()].in_atomic_block:
        raise ConfigurationError("the test", _TRANSACTION)


def _add_database(test_case: type[TransactionTestCase]) -> None:
    """Have Django make a test database for our alias as well."""
    try:
        alias = conf.database_alias()
    except ConfigurationError:  # a test that uses it is told
        return
    if test_case.databases != "__all__":
        test_case.databases = {*test_case.databases, alias}


class RindleTestMixin:
    """`self.mux` for a test class of Django's: the provider of the project, in this process."""

    mux: AppMux
    webhook_url: ClassVar[str | None] = None
    """Where webhooks go, if not to an address of `rindle_sync.integrations.django.urls`."""
    rindle_settings: ClassVar[Mapping[str, Any]] = {}
    """Settings of rindle-sync for these tests, by their names in small letters."""

    def __init_subclass__(cls, **arguments: Any) -> None:
        """Add the alias of our database to `databases`, unless the class itself says which."""
        super().__init_subclass__(**arguments)
        if "databases" not in cls.__dict__ and issubclass(cls, TransactionTestCase):
            _add_database(cls)

    def setUp(self) -> None:
        """Put the fake Mux into the place of the provider, until the test ends."""
        super().setUp()  # type: ignore[misc]
        used = app_mux(webhook_url=self.webhook_url, **self.rindle_settings)
        self.mux = self.enterContext(used)  # type: ignore[attr-defined]


class RindleTestCase(RindleTestMixin, TransactionTestCase):
    """A test case with `self.mux`, in which everything works: it commits, as the app does."""
