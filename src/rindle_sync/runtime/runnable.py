"""What runs on a database, as one environment or an installation of many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rindle_sync.config import EngineName, Settings
from rindle_sync.errors import ConfigurationError
from rindle_sync.store import ENCODING_REMEDY

if TYPE_CHECKING:
    from rindle_sync.runtime.engines.base import Distributed
    from rindle_sync.runtime.run import Runtime


class Runnable:
    """What one environment and an installation of many have in common: tables and an engine."""

    settings: Settings

    @property
    def runtime(self) -> Runtime:
        """The jobs, and how they are run."""
        raise NotImplementedError

    async def migrate(self) -> tuple[str | None, str]:
        """Create or migrate the tables, and those of the engine; the revision before and after.

        Raises `ConfigurationError` for a database whose encoding is not UTF-8,
        `DatabaseUnavailable`.
        """
        from rindle_sync.runtime.run import extra
        from rindle_sync.store.migrations import upgrade

        database = self.runtime.database
        database.check_usable()
        if trouble := await database.encoding_trouble():
            raise ConfigurationError("database_url", f"{trouble}; {ENCODING_REMEDY}")
        engine = database.engine
        if self.settings.engine is EngineName.PROCRASTINATE:
            with extra():
                from rindle_sync.store.migrations.procrastinate import install_procrastinate
            await install_procrastinate(engine)
        return await upgrade(engine)

    async def check_ready(self) -> None:
        """Check that the database answers and has all tables.

        Raises `DatabaseUnavailable`, `ConfigurationError`.
        """
        await self.runtime.check_ready()

    def procrastinate(self, app: Any) -> Distributed:
        """Our jobs on an app of Procrastinate's; you open it and you close it.

        Raises `ConfigurationError` without the extra.
        """
        return self.runtime.procrastinate(app)
