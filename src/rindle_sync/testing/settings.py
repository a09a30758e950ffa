"""Settings for tests: no variable and no file of this process counts."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Final, Unpack

from rindle_sync.config import Settings, SettingsArguments, plain_settings
from rindle_sync.config.in_tests import in_tests
from rindle_sync.config.replacing import replaced_variables, variables_of
from rindle_sync.errors import ConfigurationError

if TYPE_CHECKING:
    from rindle_sync.testing.mux import FakeMux

NOWHERE: Final = "http://mux.invalid"
"""A host that no network has (RFC 6761): a call that misses the fake Mux reaches nobody."""

MANY: Final = 100_000


def settings_for(mux: "FakeMux", **settings: Unpack[SettingsArguments]) -> Settings:
    """The settings of a service whose provider is `mux`; `database_url` must be among them.

    Calls within a test are not limited, and its jobs are looked for often; all else is as in
    production. Raises `ConfigurationError`.
    """
    if "database_url" not in settings:
        raise ConfigurationError("database_url", "is missing; name the database of the test")
    values: SettingsArguments = {
        "mux_base_url": NOWHERE,
        "mux_token_id": mux.token_id,
        "mux_token_secret": mux.token_secret,
        "mux_webhook_secrets": mux.webhook_secret,
        "provider_token_priority": "high",
        "provider_read_burst": MANY,
        "provider_reads_per_second": MANY,
        "sweep_interval_seconds": 0.1,
    }
    return plain_settings(**{**values, **settings})


@contextmanager
def only_these_settings(
    settings: Settings, *, clock: Callable[[], datetime] | None = None
) -> Iterator[None]:
    """What reads the settings of this process gets `settings`, until the end of the block.

    So do programs that are started meanwhile. Variables of rindle-sync that stand in this process,
    and the file in its folder, do not count. A service of this process that is given no clock of
    its own goes by `clock`.
    """
    with in_tests(clock), replaced_variables(variables_of(settings)):
        yield
