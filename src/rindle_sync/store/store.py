"""All repositories of one provider environment."""

from rindle_sync.store.asset_queries import AssetQueries
from rindle_sync.store.assets import AssetStore
from rindle_sync.store.database import Database
from rindle_sync.store.environments import Environments
from rindle_sync.store.history import History
from rindle_sync.store.inbox import Inbox
from rindle_sync.store.job_runs import JobRuns
from rindle_sync.store.outbox import Outbox
from rindle_sync.store.rate_limits import RateLimits
from rindle_sync.store.removal import Removal
from rindle_sync.store.statistics import Statistics
from rindle_sync.store.superseded import Superseded
from rindle_sync.store.wrong_times import WrongTimesQuery


class Store:
    """The repositories of one environment; environments may share the `database`."""

    def __init__(self, database: Database, provider: str, environment: str) -> None:
        self.database = database
        self.provider = provider
        self.environment = environment
        of = (database, provider, environment)
        self.assets = AssetStore(*of)
        self.queries = AssetQueries(*of)
        self.inbox = Inbox(*of)
        self.outbox = Outbox(*of)
        self.environments = Environments(*of)
        self.job_runs = JobRuns(*of)
        self.history = History(*of)
        self.rate_limits = RateLimits(*of)
        self.statistics = Statistics(*of)
        self.superseded = Superseded(*of)
        self.removal = Removal(*of)
        self.wrong_times = WrongTimesQuery(*of)
