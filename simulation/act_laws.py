"""What must be so of what the app has made, replaced, forgotten and begun anew."""

from collections import Counter
from collections.abc import Iterator

from simulation.history import Written
from simulation.world import World


def attempts(world: World) -> Iterator[str]:
    """The provider makes nothing twice for one attempt, and no row misses what was made for it."""
    environment = world.emulator.environment
    own = {None, world.plan.passthrough}
    uploads = environment.uploads(limit=len(environment.assets) + 1_000)
    made = Counter(("uploads", upload.settings.passthrough) for upload in uploads)
    # the asset of an upload has its passthrough
    direct = [asset for asset in environment.assets.values() if asset.upload_id is None]
    made += Counter(("assets", asset.settings.passthrough) for asset in direct)
    for (what, passthrough), number in made.items():
        if number > 1 and passthrough not in own:
            yield f"attempts: {number} {what} were made for one attempt"
    (rows,) = world.place.read("SELECT * FROM media_provider_assets")
    waiting = {row["passthrough"]: row for row in rows if row["passthrough"] not in own}
    for asset in direct:
        row = waiting.get(asset.settings.passthrough)
        # what was deleted before anybody saw it is as if it had not been made
        is_there = world.gone_at(asset.id) is None
        if row and is_there and row["provider_asset_id"] != asset.id:
            yield f"attempts: {row['id']} is {row['state']}, and does not know what was made for it"


def transactions(world: World) -> Iterator[str]:
    """A row that is tracked in a transaction of the app's own is there with the app's, or not."""
    if not world.place.has_app:
        return
    rows, videos = world.place.read(
        "SELECT reference FROM media_provider_assets", "SELECT reference FROM app_videos"
    )
    tracked, own = ({line["reference"] for line in lines} for lines in (rows, videos))
    for number in world.plan.in_app:
        reference = f"video{number}"
        if reference in own and reference in world.own and reference not in tracked:
            yield f"transactions: {reference} has a row of the app's own, and none of ours"
        if reference in tracked and reference not in own:
            yield f"transactions: {reference} has a row of ours, and none of the app's own"


def forgotten(world: World) -> Iterator[str]:
    """What was untracked stays so, and no event about what a row had before moves the row."""
    rows, events = world.place.read(
        "SELECT id, provider_asset_id FROM media_provider_assets",
        "SELECT event_id AS id, provider_asset_id, provider_upload_id FROM provider_webhook_events",
    )
    for row in rows:
        if row["provider_asset_id"] in world.superseded:
            yield f"superseded: {row['id']} has an asset that was untracked or replaced"
    about = {line["id"]: line for line in events}
    for entry in world.history.of(Written):
        written: Written = entry.what
        event = about.get(written.event_id) if written.event_id else None
        if event is None:
            continue
        pairs = (
            (event["provider_asset_id"], written.provider_asset_id),
            (event["provider_upload_id"], written.provider_upload_id),
        )
        if any(told and known and told != known for told, known in pairs):
            written_row = f"{written.row_id} v{written.to_version}"
            yield f"superseded: {written_row} was written by an event about what it has no more"
