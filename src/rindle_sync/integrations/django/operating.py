"""What an operator has done in the admin, and what came of it, in plain words."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from rindle_sync.diagnostics import SYNC_OUTCOMES, Explanation, Outcome
from rindle_sync.domain import CONSOLE, Trigger
from rindle_sync.domain import ProviderAsset as Row
from rindle_sync.errors import RindleSyncError
from rindle_sync.integrations.django.models import ProviderAsset, WebhookEvent
from rindle_sync.integrations.django.process import rindle

GONE: Final = SYNC_OUTCOMES["gone"]
UNTRACKED: Final = "Not tracked any more. The asset is still at the provider."
REPLAYED: Final = "Will be applied again."
NOT_REPLAYED: Final = "Stays as it is: its type is not acted on, or its body was pruned."


@dataclass(frozen=True, slots=True)
class Told:
    """What came of an action on the row or webhook event that is called `name`."""

    name: str
    outcome: Outcome


def synced(rows: Iterable[ProviderAsset]) -> Iterator[Told]:
    """Have the provider asked about each row."""

    def sync(row: Row) -> Outcome:
        service = rindle.of(row.environment).as_actor(CONSOLE)
        applied = service.sync(row, ask_first=True, trigger=Trigger.CONSOLE)
        return SYNC_OUTCOMES[applied.decision.verdict] if applied else GONE

    yield from _each(rows, sync)


def untracked(rows: Iterable[ProviderAsset]) -> Iterator[Told]:
    """Have each row forgotten; its asset stays at the provider."""

    def untrack(row: Row) -> Outcome:
        was_there = rindle.of(row.environment).as_actor(CONSOLE).untrack(row.id)
        return Outcome(is_good=True, text=UNTRACKED) if was_there else GONE

    yield from _each(rows, untrack)


def _each(rows: Iterable[ProviderAsset], act: Callable[[Row], Outcome]) -> Iterator[Told]:
    for asset in rows:
        row = asset.row
        try:
            outcome = act(row)
        except RindleSyncError as error:
            outcome = Outcome(is_good=False, text=f"Not done: {error}")
        yield Told(row.shown_reference, outcome)


def replayed(events: Iterable[WebhookEvent]) -> Iterator[Told]:
    """Have each webhook event applied again."""
    for event in events:
        try:
            service = rindle.of(event.environment).as_actor(CONSOLE)
            number = service.webhook_events.replay(event.pk)
            text = REPLAYED if number else NOT_REPLAYED
            outcome = Outcome(is_good=bool(number), text=text)
        except RindleSyncError as error:
            outcome = Outcome(is_good=False, text=f"Not done: {error}")
        yield Told(event.type, outcome)


def explanation(asset: ProviderAsset) -> Explanation:
    """Why the row stands as it does, and what comes next. Raises `RindleSyncError`."""
    row = asset.row
    return rindle.of(row.environment).explain(row)


def provider_ids(asset: ProviderAsset) -> list[tuple[str, str]]:
    """What the provider calls the row, for an operator who asks for it."""
    named = [
        ("asset", asset.provider_asset_id),
        ("upload", asset.provider_upload_id),
        ("passthrough", asset.passthrough),
    ]
    named += [
        (f"playback id ({playback_id.policy})", playback_id.id)
        for playback_id in asset.row.playback_ids
    ]
    return [(name, value) for name, value in named if value]
