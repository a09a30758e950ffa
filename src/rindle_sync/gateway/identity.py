"""Whether the credentials belong to the environment of the rows."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from rindle_sync.domain import ATTEMPTS, redact_id
from rindle_sync.errors import EnvironmentMismatch, ProviderError
from rindle_sync.store import Environments

NO_IDENTITY: Final = "none"
"""Stands for the id of an environment at a provider that has none.

A token is good there once it has found a row.
"""


class IdentityCheck:
    """Compares the provider's id of the token's environment with that of the rows.

    `whoami` fetches the first; `expected` is the second, where a setting names it.
    """

    def __init__(
        self,
        environments: Environments,
        whoami: Callable[[], Awaitable[str | None]],
        expected: str | None = None,
        found: str | None = None,
    ) -> None:
        self.expected = expected
        self.found = found
        self._environments = environments
        self._whoami = whoami
        self._attempts = 0
        self._lock = asyncio.Lock()
        """One task fetches, the others wait for its result."""

    async def check(self) -> None:
        """Raise `EnvironmentMismatch` where the credentials belong to another environment.

        Raises another `ProviderError` where the provider gives no answer.
        """
        async with self._lock:
            found, expected = await self._find(), await self._expect()
        if expected and found != expected:
            raise EnvironmentMismatch(
                f"the token belongs to {self._environments.provider} environment "
                f"{redact_id(found)}, the rows to {redact_id(expected)}; use a token of that one "
                "or, if the rows have moved, name the new environment in the settings "
                "(docs/settings.md)"
            )

    async def learn(self) -> None:
        """The token has found a row: store its environment as that of the rows.

        Does nothing where that is known from a setting, this process or another.
        """
        if self.expected or self._attempts >= ATTEMPTS:
            return
        async with self._lock:
            # asked again: the task that held the lock may have learned it
            if self._attempts >= ATTEMPTS or await self._expect():
                return
            try:
                found = await self._find()
            except ProviderError as error:
                self._attempts += getattr(error, "was_called", True)
                return
            await self._environments.identify(found)
            self.expected = found

    async def _find(self) -> str:
        if self.found is None:
            self.found = await self._whoami() or NO_IDENTITY
        return self.found

    async def _expect(self) -> str | None:
        if self.expected is None:
            self.expected = (await self._environments.get()).provider_environment_id
        return self.expected
