"""What the repository of outgoing webhooks gives and takes."""

from datetime import datetime

from msgspec import Struct

from rindle_sync.domain import Attempt, EndpointHealth, OutgoingWebhook, ProviderAsset
from rindle_sync.store.lines import Change


class ClaimedWebhook(Struct, frozen=True):
    """A webhook to send; `change` is None where that was deleted, and `row` where that was."""

    webhook: OutgoingWebhook
    token: str
    position: int
    """That of the change in the feed."""
    change: Change | None
    row: ProviderAsset | None


class SentWebhook(Struct, frozen=True):
    """A webhook that was tried: as it is to be stored, and what came of the attempt."""

    webhook: OutgoingWebhook
    token: str
    attempt: Attempt | None
    """None where it was not tried, since its change is gone."""


class EndpointFigures(Struct, frozen=True):
    """How an endpoint of outgoing webhooks stands."""

    name: str
    health: EndpointHealth
    pending: int
    oldest_pending: datetime | None
    """When the change of the oldest was."""
    dead: int


class HealthWritten(Struct, frozen=True):
    """How an endpoint stood, and stands now."""

    before: EndpointHealth
    health: EndpointHealth

    @property
    def is_disabled_now(self) -> bool:
        """Whether these attempts have disabled it."""
        return self.before.disabled_at is None and self.health.disabled_at is not None
