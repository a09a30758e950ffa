"""Many assets may carry one passthrough: a weaker name never beats a contradicting stronger one."""

from typing import Any

import pytest

from rindle_sync.domain import EventStatus, ProviderAsset, State
from rindle_sync.errors import AlreadyTracked
from rindle_sync.reconcile import audit, backfill
from rindle_sync.reconcile.audit import Drift
from rindle_sync.tracking import track
from rindle_sync.webhooks import process_webhook_events
from tests.support.webhooks import an_event, an_upload_event, deliver, with_secrets
from tests.support.world import NEVER, READY, World

SHARED = "user-42"
OURS = {"new_asset_settings": {"passthrough": SHARED}}


@pytest.fixture(autouse=True)
def _takes_deliveries(world: World) -> None:
    with_secrets(world)


async def applied(world: World, *events: dict[str, Any]) -> None:
    for event in events:
        await deliver(world, event)
    await process_webhook_events(world.context)


async def waits_for(world: World, upload_id: str, **values: Any) -> ProviderAsset:
    return await world.track(
        State.UPLOADING,
        provider_asset_id=None,
        provider_upload_id=upload_id,
        passthrough=SHARED,
        **values,
    )


async def test_the_asset_of_another_upload_is_not_taken_for_the_rows(world: World) -> None:
    row = await waits_for(world, "upload-1")

    await applied(
        world,
        an_event("asset-2", "video.asset.created", passthrough=SHARED, upload_id="upload-2"),
        an_event("asset-2", "video.asset.ready", passthrough=SHARED, upload_id="upload-2"),
        an_upload_event("upload-2", "video.upload.asset_created", asset_id="asset-2", **OURS),
    )

    assert await world.now_is(row) == row


@pytest.mark.parametrize("type_", ["video.asset.ready", "video.asset.errored"])
async def test_an_asset_that_was_made_without_an_upload_is_not_the_one_of_the_rows_upload(
    world: World, type_: str
) -> None:
    row = await waits_for(world, "upload-1")

    await applied(world, an_event("asset-2", type_, passthrough=SHARED))

    assert await world.now_is(row) == row


async def test_the_upload_of_another_asset_does_not_end_a_row_that_has_its_asset(
    world: World,
) -> None:
    row = await world.track(passthrough=SHARED, life=NEVER)

    await applied(
        world,
        an_upload_event("upload-2", "video.upload.errored", **OURS),
        an_upload_event("upload-3", "video.upload.cancelled", **OURS),
    )

    assert await world.now_is(row) == row


async def test_two_rows_of_one_passthrough_get_their_own_assets_whatever_the_order(
    world: World,
) -> None:
    rows = [await waits_for(world, f"upload-{number}") for number in (1, 2)]

    for number in (2, 1):
        own = {"passthrough": SHARED, "upload_id": f"upload-{number}"}
        playback = [{"id": f"playback-{number}", "policy": "public"}]
        await applied(world, an_event(f"asset-{number}", playback_ids=playback, **own))

    after = [await world.now_is(row) for row in rows]
    assert [(row.state, row.provider_asset_id, row.playback_ids[0].id) for row in after] == [
        (State.READY, "asset-1", "playback-1"),
        (State.READY, "asset-2", "playback-2"),
    ]


async def test_an_upload_whose_id_is_not_known_yet_is_found_by_its_passthrough(
    world: World,
) -> None:
    row = await world.track(State.PENDING, provider_asset_id=None, passthrough=SHARED)
    await world.track(passthrough=SHARED, life=NEVER)
    await waits_for(world, "upload-2")

    await applied(world, an_upload_event("upload-1", "video.upload.created", **OURS))

    assert (await world.now_is(row)).provider_upload_id == "upload-1"


async def test_a_passthrough_that_could_be_of_two_rows_names_none(world: World) -> None:
    rows = [
        await world.track(State.PENDING, provider_asset_id=None, passthrough=SHARED)
        for _ in range(2)
    ]

    await applied(world, an_upload_event("upload-1", "video.upload.created", **OURS))

    assert [await world.now_is(row) for row in rows] == rows
    [webhook_event] = await world.context.store.inbox.list()
    assert webhook_event.status is EventStatus.PENDING


async def test_a_backfill_makes_a_row_of_each_asset_that_shares_a_passthrough_with_a_row(
    world: World,
) -> None:
    await waits_for(world, "upload-1", reference="mine")
    assets = world.emulator.create_assets(3, life=READY, passthrough=SHARED, every=60)

    filled = await backfill(world.context)

    rows = [row async for row in world.context.store.assets.rows() if row.provider_asset_id]
    assert (filled.adopted, filled.known) == (3, 0)
    assert {row.provider_asset_id for row in rows} == set(assets)
    assert {row.passthrough for row in rows} == {SHARED}
    assert len({row.reference for row in rows}) == 3


async def test_an_audit_names_each_asset_that_shares_a_passthrough_with_a_row(world: World) -> None:
    await waits_for(world, "upload-1")
    world.emulator.create_assets(3, life=READY, passthrough=SHARED)

    report = await audit(world.context, adopt=True)

    assert (report.drift[Drift.ORPHAN], report.adopted) == (3, 3)


async def test_a_list_page_brings_each_row_of_one_passthrough_its_own_asset(world: World) -> None:
    uploads = [world.emulator.create_upload(life=READY, passthrough=SHARED) for _ in range(3)]
    rows = [await waits_for(world, upload) for upload in uploads]
    assets = [world.emulator.finish_upload(upload) for upload in uploads]

    world.clock.move(600)
    await world.sweep()
    world.clock.move(600)
    await world.sweep()

    after = [await world.now_is(row) for row in rows]
    assert [(row.state, row.provider_asset_id) for row in after] == [
        (State.READY, asset) for asset in assets
    ]


async def test_many_assets_of_one_passthrough_can_be_tracked(world: World) -> None:
    for number in range(3):
        await track(
            world.context,
            state=None,
            profile="default",
            reference=f"video-{number}",
            provider_upload_id=f"upload-{number}",
            passthrough=SHARED,
        )

    assert [row.passthrough async for row in world.context.store.assets.rows()] == [SHARED] * 3


async def test_an_adopted_row_of_another_asset_is_not_given_to_the_app_by_its_upload(
    world: World,
) -> None:
    adopted = await world.track(
        State.READY, provider_upload_id="upload-1", ingest_mode="adopted", check_at=None
    )

    with pytest.raises(AlreadyTracked):
        await track(
            world.context,
            state=None,
            profile="default",
            reference="mine",
            provider_asset_id="asset-2",
            provider_upload_id="upload-1",
        )

    assert await world.now_is(adopted) == adopted


async def test_an_adopted_row_keeps_the_upload_that_the_provider_named(world: World) -> None:
    adopted = await world.track(
        State.READY, provider_upload_id="upload-1", ingest_mode="adopted", check_at=None
    )

    row = await track(
        world.context,
        state=None,
        profile="default",
        reference="mine",
        provider_asset_id=adopted.provider_asset_id,
        provider_upload_id="upload-2",
    )

    assert (row.id, row.reference, row.provider_upload_id) == (adopted.id, "mine", "upload-1")


async def test_the_history_of_a_row_has_no_event_of_another_asset(world: World) -> None:
    row = await world.track(provider_upload_id="upload-1")
    await applied(
        world,
        an_event("asset-2", upload_id="upload-1"),
        an_upload_event("upload-1", "video.upload.created"),
        an_event(row),
    )

    about = await world.context.store.history.webhook_events_about(row, limit=10)

    assert sorted(event.type for event in about) == ["video.asset.ready", "video.upload.created"]
