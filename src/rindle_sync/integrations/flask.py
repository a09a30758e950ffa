"""The service in an app of Flask's: its methods, the webhook endpoint, and `flask rindle`.

rindle = FlaskRindle()

def create_app() -> Flask:
    app = Flask(__name__)
    app.config.from_object("settings")
    rindle.init_app(app)
    return app
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, Final, TypeVar
from weakref import WeakSet

import click
from flask import Blueprint, Flask, Response, current_app, request

from rindle_sync.app import now
from rindle_sync.config import Settings, settings_of_app, values_of_test
from rindle_sync.errors import ConfigurationError
from rindle_sync.installation import Installation, connect_all
from rindle_sync.integrations.blocking.background import Background, Setup, Work
from rindle_sync.integrations.blocking.rindle import BlockingRindle
from rindle_sync.integrations.blocking.wsgi import body_of, headers_of
from rindle_sync.providers import Transport
from rindle_sync.telemetry import Listener

T = TypeVar("T")

NAME: Final = "rindle_sync"
"""Of the extension in `app.extensions`, and of its blueprint."""

PREFIX: Final = "RINDLE_"
COMMAND: Final = "flask rindle"

_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class WrongConfig(ConfigurationError, click.ClickException):
    """A setting of the app is missing or wrong; a command of Flask's prints this as one line."""

    exit_code = 2

    def __init__(self, error: ConfigurationError) -> None:
        click.ClickException.__init__(self, str(error))
        self.setting = error.setting


class AppRindle(BlockingRindle):
    """The service of one app, in `app.extensions["rindle_sync"]`."""

    def __init__(self, background: Background) -> None:
        super().__init__(background)
        self.background = background
        """Its event loop, and the callbacks that are added there."""


class FlaskRindle(BlockingRindle):
    """The services of apps: each method is the one of the current app's service.

    Make it once, beside the other extensions; `init_app` gives an app a service of its own, as does
    `FlaskRindle(app)`. Callbacks that are added here are called for every app, within its context.
    """

    def __init__(self, app: Flask | None = None) -> None:
        self._apps = _Apps()
        super().__init__(self._apps)
        if app is not None:
            self.init_app(app)

    def init_app(
        self,
        app: Flask,
        *,
        url_prefix: str | None = "/webhooks",
        listeners: Sequence[Listener] = (),
        transport: Transport | None = None,
        clock: Callable[[], datetime] = now,
    ) -> None:
        """Give `app` a service, the endpoint `<url_prefix>/<provider>`, and `flask rindle`.

        Settings are those of the process, and over them the keys `RINDLE_...` of `app.config`; they
        are read now, and nothing is opened before the first call. Those of a test that are in force
        win over both. `url_prefix` None leaves the endpoint out. `transport` replaces the network
        in tests, and `clock` the time, in UTC. Raises `WrongConfig`, a `ConfigurationError`.
        """
        if NAME in app.extensions:
            raise ConfigurationError(
                "init_app", "call it once for each app; this one has a service"
            )
        try:
            settings = _settings_of(app)
        except ConfigurationError as error:
            raise WrongConfig(error) from None

        def connecting() -> AbstractAsyncContextManager[Installation]:
            return connect_all(
                settings, listeners=listeners, transports=lambda _: transport, clock=clock
            )

        rindle = AppRindle(Background(connecting, app.app_context))
        app.extensions[NAME] = rindle
        self._apps.add(rindle.background)
        if url_prefix is not None:
            app.register_blueprint(_blueprint(settings.provider), url_prefix=url_prefix)
        serves_webhooks = url_prefix is not None
        command = _command(app, rindle.background, serves_webhooks=serves_webhooks)
        app.cli.add_command(command)


class _Apps:
    """The loops of all apps with this extension: callbacks are for each, calls for the current."""

    def __init__(self) -> None:
        self._setups: list[Setup] = []
        self._backgrounds = WeakSet[Background]()

    def add(self, background: Background) -> None:
        self._backgrounds.add(background)
        for setup in self._setups:
            background.set_up(setup)

    def set_up(self, setup: Setup) -> None:
        self._setups.append(setup)
        for background in self._backgrounds:
            background.set_up(setup)

    def call(self, work: Work[T]) -> T:
        return _of_current_app().background.call(work)

    def start_jobs(self) -> None:
        _of_current_app().background.start_jobs()

    def close(self) -> None:
        _of_current_app().background.close()


def _of_current_app() -> AppRindle:
    """The service of the current app; raises Flask's `RuntimeError` where there is no app."""
    found: AppRindle | None = current_app.extensions.get(NAME)
    if found is None:
        raise ConfigurationError("FlaskRindle", "this app has no service: call init_app(app) first")
    return found


def _settings_of(app: Flask, overrides: Mapping[str, Any] | None = None) -> Settings:
    given = app.config.get_namespace(PREFIX, lowercase=False)
    # what an app writes into its config must not lead a test to the developer's database or account
    of_test = values_of_test()
    files = {f"{name}_file".upper() for name in of_test}
    # as in Flask's own configuration, None is not set
    given = {
        name: value for name, value in given.items() if value is not None and name not in files
    }
    return settings_of_app(given, PREFIX + "{}", {**of_test, **(overrides or {})})


def _blueprint(provider: str) -> Blueprint:
    """The webhook endpoint. It answers every method itself, with a text for the sender."""
    blueprint = Blueprint(NAME, __name__)

    @blueprint.url_value_preprocessor
    def exempt(_endpoint: str | None, _values: dict[str, Any] | None) -> None:
        # before every function of the app for requests, so before that of Flask-WTF, whichever of
        # the two extensions was set up first
        protection: Any = current_app.extensions.get("csrf")
        if hasattr(protection, "exempt"):
            protection.exempt(blueprint)

    blueprint.add_url_rule(
        f"/{provider}", "webhooks", _receive, methods=_METHODS, provide_automatic_options=False
    )
    return blueprint


def _receive() -> Response:
    # the endpoint has a limit of its own: MAX_CONTENT_LENGTH is about the app's forms
    body = body_of(request.environ)
    if not body:
        # a function of the app has read it before, as one that logs requests does: Flask kept it
        body = request.get_data()
    answer = _of_current_app().receive(headers_of(request.environ), body, method=request.method)
    return Response(answer.body, answer.status, dict(answer.headers))


def _command(app: Flask, background: Background, *, serves_webhooks: bool) -> click.Command:
    @click.command(
        "rindle",
        add_help_option=False,
        context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
        short_help="Status, doctor, run and all other commands of rindle-sync.",
    )
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    def rindle(arguments: tuple[str, ...]) -> None:
        try:
            from rindle_sync.cli import main
            from rindle_sync.cli.output import Host
        except ModuleNotFoundError as error:
            text = f"this command needs {error.name}; pip install 'rindle-sync[cli]'"
            raise click.ClickException(text) from None
        host = Host(
            name=COMMAND,
            settings_from=f"{PREFIX}… in app.config, {PREFIX}… variables or rindle-sync.toml",
            load=lambda **overrides: _settings_of(app, overrides),
            prepare=background.prepare,
            serves_webhooks=serves_webhooks,
            database_setting=f"{PREFIX}DATABASE_URL in app.config",
        )
        main(arguments, name=COMMAND, framework=host)

    return rindle
