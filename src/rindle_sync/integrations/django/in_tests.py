"""What a test may use: a database that Django has made for it, and what a test commits.

Django makes a test database for the aliases that test cases name in `databases`, and empties those
after a test. All other aliases lead to the database of development, or to what stays.
"""

from collections.abc import Mapping
from typing import Any, Final

from django.conf import settings as django_settings
from django.core import mail
from django.db import connections

from rindle_sync.errors import ConfigurationError

_NOT_NAMED: Final = (
    "is not a database of this test, and rindle-sync would write where nothing is undone: add the "
    "alias to `databases` of the test case, as in databases = {names}"
)
_TRANSACTION: Final = (
    "calls what rindle-sync writes and reads on connections of its own, and these do not see the "
    "transaction of a TestCase: use TransactionTestCase, RindleTestCase or transactional_db"
)

_names_before: Final[dict[str, Any]] = {}
"""The name of the database of each alias, as the settings of the project have it."""


def note_names() -> None:
    """Note the names as the project has them; a test runner changes them for its own databases."""
    for alias, database in django_settings.DATABASES.items():
        _names_before[alias] = database.get("NAME")


def is_testing() -> bool:
    """Whether Django's test environment is set up, as each test runner does."""
    return hasattr(mail, "outbox")


def check_test_database(alias: str) -> None:
    """Raise `ConfigurationError` in a test for which `alias` has no test database."""
    if not is_testing():
        return
    connection: Any = connections[alias]
    # Django puts it into the place of the methods, where the test case does not name the alias
    is_forbidden = type(connection.connect).__name__ == "_DatabaseFailure"
    if is_forbidden or _is_of_development(alias, connection.settings_dict):
        names = ", ".join(f'"{name}"' for name in dict.fromkeys(["default", alias]))
        text = _NOT_NAMED.format(names=f"{{{names}}}")
        raise ConfigurationError(f"DATABASES[{alias!r}]", text)


def _is_of_development(alias: str, values: Mapping[str, Any]) -> bool:
    """Whether no test runner has put the name of its own database into the settings."""
    name = values.get("NAME")
    if alias not in _names_before or name != _names_before[alias]:
        return False
    # who names the same database for tests wants it; one in memory is of this process alone
    wanted = (values.get("TEST") or {}).get("NAME")
    return (
        str(name) != str(wanted) and ":memory:" not in str(name) and "mode=memory" not in str(name)
    )


def refuse_test_transaction(alias: str) -> None:
    """Raise `ConfigurationError` in the transaction of a `TestCase`, which commits nothing."""
    if not is_testing():
        return
    blocks = connections[alias].atomic_blocks
    if any(getattr(block, "_from_testcase", False) for block in blocks):
        raise ConfigurationError("the test", _TRANSACTION)
