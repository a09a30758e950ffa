"""Rows whose ids are not at the provider, before any row was found: they hold back no others."""

from rindle_sync.domain import State, Trigger, Verdict
from rindle_sync.reconcile import sync_row
from rindle_sync.tracking import track
from tests.support.world import READY, World


async def test_made_up_ids_leave_the_circuit_closed(world: World) -> None:
    context = world.context
    for number in range(30):
        row = await track(
            context,
            reference=f"film-{number}",
            profile="default",
            provider_asset_id=f"made-up-{number}",
            state=State.READY,
        )
        applied = await sync_row(context, row, trigger=Trigger.SYNC, ask_first=True)
        assert applied
        assert applied.decision.verdict is Verdict.UNANSWERED
        assert "no row was ever found" in (applied.row.last_sync_error or "")

    asset_id = world.emulator.create_asset(life=READY)
    row = await track(context, reference="film", profile="default", provider_asset_id=asset_id)
    applied = await sync_row(context, row, trigger=Trigger.SYNC, ask_first=True)

    assert context.gateway.circuit.opened is None
    assert applied
    assert applied.row.state is State.READY
