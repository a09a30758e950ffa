"""Other settings for this process, for as long as a test lasts."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import SecretStr

from rindle_sync.config.reading import CONFIG_VARIABLE
from rindle_sync.config.settings import Settings
from rindle_sync.providers import PREFIX, variable_of


def variables_of(settings: Settings) -> dict[str, str]:
    """The variables with which a process has these settings, secrets too.

    Those of several environments stand in tables of a file, and are left out.
    """
    found = {}
    for part in (settings, settings.account):
        for name in sorted(part.model_fields_set & type(part).model_fields.keys()):
            value = getattr(part, name)
            # what a file of secrets holds is among them by now
            if value is not None and name != "environments" and not name.endswith("_file"):
                found[variable_of(name)] = _written(value)
    return found


def _written(value: Any) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return ",".join(value) if isinstance(value, list | tuple) else str(value)


@contextmanager
def replaced_variables(variables: Mapping[str, str]) -> Iterator[None]:
    """The settings of this process stand in `variables` alone until the end of the block.

    Its other variables of rindle-sync and the file in its folder do not count meanwhile.
    """
    with TemporaryDirectory(prefix="rindle-") as folder:
        empty = Path(folder, "empty.toml")
        empty.touch()
        before = {}
        for name in list(os.environ):
            if name.upper().startswith(PREFIX):
                before[name] = os.environ.pop(name)
        # a file that is named keeps the one in the folder from being read
        own = {CONFIG_VARIABLE: str(empty), **variables}
        os.environ.update(own)
        try:
            yield
        finally:
            for name in own:
                os.environ.pop(name, None)
            os.environ.update(before)
