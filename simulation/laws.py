"""What must be so: at every moment of a history, and once all has come to rest."""

import json
import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Final

from rindle_sync.domain import TOLERANCE, ChangeKind
from rindle_sync.emulator.lifecycle import AssetState, UploadState
from rindle_sync.telemetry import (
    Called,
    Event,
    MediaChange,
    RedactionFailed,
    Resolved,
    StateChange,
    milliseconds,
    nanoseconds,
)
from simulation.act_laws import attempts, forgotten, transactions
from simulation.acts import FILE
from simulation.app_laws import apps, is_all_heard
from simulation.history import Entry, Noted, Written
from simulation.host import Announced, Call
from simulation.media_laws import media_at_rest, media_changes
from simulation.sweep_laws import checks
from simulation.world import SECRET, World

_MOVES: Final[Mapping[str, frozenset[str]]] = {
    "pending": frozenset({"pending", "uploading", "processing", "ready", "errored", "deleted"}),
    "uploading": frozenset({"uploading", "processing", "ready", "errored", "deleted"}),
    "processing": frozenset({"processing", "ready", "errored", "deleted"}),
    "ready": frozenset({"ready", "deleted"}),
    "errored": frozenset({"errored", "pending", "uploading", "processing", "ready", "deleted"}),
    "deleted": frozenset({"deleted"}),
}
"""Which state may follow which in one write, where the provider itself never goes back."""

_BEGINNINGS: Final = frozenset({"pending", "uploading", "processing"})
"""The states of a row that begins anew, or has another asset."""

_LAGS: Final = {("ready", "processing")}
"""The moves beside these where a list shows what was so a while ago."""

_NARROW: Final = 2.0
"""Seconds before its death in which a host may have written what it could not tell any more."""

Standing = tuple[str, str | None]
"""A state, and the kind of its error."""

_READY: Final[Standing] = ("ready", None)
_PREPARING: Final[Standing] = ("processing", None)
_WAITING: Final[Standing] = ("uploading", None)
_ERRORED: Final[Standing] = ("errored", "provider")
_NOT_FOUND: Final[Standing] = ("errored", "not_found")
_NO_UPLOAD: Final[Standing] = ("errored", "upload")
_DELETED: Final[Standing] = ("deleted", None)

_OF_ASSETS: Final[Mapping[AssetState, Sequence[Standing]]] = {
    AssetState.PREPARING: [_PREPARING],
    AssetState.READY: [_READY],
    AssetState.ERRORED: [_ERRORED],
    AssetState.DELETED: [_DELETED, _NOT_FOUND],
}
_OF_UPLOADS: Final[Mapping[UploadState, Sequence[Standing]]] = {
    UploadState.WAITING: [_WAITING],
    UploadState.CANCELLED: [_NO_UPLOAD],
    UploadState.TIMED_OUT: [_NO_UPLOAD],
    UploadState.ASSET_CREATED: [],
    UploadState.ERRORED: [],
}
"""The states of a row without an asset, by the state of its upload; with one, it should have it."""

_UNAUDITED: Final = [_DELETED, _NOT_FOUND, _READY, _ERRORED]
"""The same of an asset that is deleted, where no audit finds it out.

Where there are no audits, or no row was ever seen with our token, a 404 proves nothing.
"""

_IN_FLIGHT: Final = {"pending", "uploading", "processing"}

_LATE: Final = 15.0
"""Seconds after which an answer of the provider has its effect at the latest."""

_ROUNDING: Final = 0.002
"""Seconds by which a duration in whole milliseconds may be off."""

_SKEWS: Final = 4.0
"""How far two clocks are apart at most, in seconds."""


def broken(world: World) -> Iterator[str]:
    """Every law that the history broke, each in a line that names the row."""
    yield from _writes(world)
    yield from _changes(world)
    yield from media_changes(world)
    yield from _events(world)
    yield from _ages(world)
    yield from checks(world)
    yield from attempts(world)
    yield from forgotten(world)
    yield from transactions(world)
    yield from _announcements(world)
    yield from _calls(world)
    yield from _told_calls(world)
    yield from _leaks(world)
    yield from _deliveries(world)
    yield from _texts(world)
    yield from _names(world)
    yield from _event_times(world)
    yield from _letters(world)
    yield from apps(world)
    yield from _rest(world)


def _writes(world: World) -> Iterator[str]:
    for entry in world.history.of(Written):
        written: Written = entry.what
        moves = _BEGINNINGS if written.is_anew else _MOVES[written.from_state]
        is_lag = world.plan.lag and (written.from_state, written.to_state) in _LAGS
        if written.to_state not in moves and not is_lag:
            yield f"states: {written.row_id} moved from {written.from_state} to {written.to_state}"
        if written.to_version != written.from_version + 1:
            versions = f"over v{written.from_version} as v{written.to_version}"
            yield f"versions: {written.row_id} was written {versions}"
        if _lost_wrongly(world, written):
            yield f"playback ids: {written.row_id} lost its own, and the asset did not"
        yield from _ended_rightly(world, entry.at, written)


def _lost_wrongly(world: World, written: Written) -> bool:
    """Whether a row has lost playback ids that its asset has still."""
    if not written.lost_playback_ids or written.to_state not in {"processing", "ready"}:
        return False
    shown = world.playback_ids(written.provider_asset_id) if written.provider_asset_id else ()
    return not written.lost_playback_ids.isdisjoint(name for name, _ in shown)


def _changes(world: World) -> Iterator[str]:
    """Every real change is noted in the transaction that wrote it, and nothing else is."""
    rows = {(e.what.row_id, e.what.to_version): e.what for e in world.history.of(Written)}
    noted = {(e.what.row_id, e.what.version): e.what for e in world.history.of(Noted)}
    for key, change in noted.items():
        row = rows.get(key)
        if row is None or (row.from_state, row.to_state) != (change.from_state, change.to_state):
            yield f"changes: {change.row_id} v{change.version} is noted, but was not written so"
    for key, row in rows.items():
        if (row.from_state, row.from_kind) != (row.to_state, row.to_kind) and key not in noted:
            yield f"changes: {row.row_id} v{row.to_version} was written, but not noted"
        if row.moved_event and key not in noted:
            yield f"times: {row.row_id} v{row.to_version} was moved by an event of no change"


def _ended_rightly(world: World, at: float, written: Written) -> Iterator[str]:
    """A row ends as not found or deleted only if its asset is gone, or the provider errs."""
    ends = written.to_kind == "not_found" or written.to_state == "deleted"
    if (
        not ends
        or written.from_kind == "not_found"
        or written.from_state == "deleted"
        or written.provider_asset_id is None
    ):
        return
    is_doubtful = any(
        window.kind in {"not_found_once", "other_token"}
        and window.begins <= at <= window.ends + _LATE
        for window in world.plan.windows
    )
    gone_at = world.gone_at(written.provider_asset_id)
    if not is_doubtful and (gone_at is None or gone_at > at):
        end = f"{written.to_state}/{written.to_kind}"
        yield f"ends: {written.row_id} ended at {at:.0f} as {end}, and its asset was there"


def _events(world: World) -> Iterator[str]:
    """Every event comes after its write, and every write has its event, unless its host died."""
    told: dict[tuple[str, str, str, str, str], list[Entry]] = defaultdict(list)
    for entry in world.history.of(StateChange):
        event: StateChange = entry.what
        key = ChangeKind.STATE, event.from_state, event.to_state
        told[entry.host, str(event.row_id), *key].append(entry)
    for entry in world.history.of(MediaChange):
        media: MediaChange = entry.what
        key = ChangeKind.MEDIA, media.state, media.state
        told[entry.host, str(media.row_id), *key].append(entry)
    deaths = {host.name: host.died_at for host in world.hosts if host.died_at is not None}
    for entry in world.history.of(Noted):
        noted: Noted = entry.what
        key = ChangeKind(noted.kind), noted.from_state, noted.to_state
        tellings = told[entry.host, noted.row_id, *key]
        later = [telling for telling in tellings if telling.number > entry.number]
        if later:
            tellings.remove(later[0])
        elif deaths.get(entry.host, 1e12) - entry.at > _NARROW:
            row = f"{noted.row_id} v{noted.version}"
            yield f"events: {row} was written by {entry.host}, but not told"
    for (host, row_id, kind, before, after), left in told.items():
        if left:
            told_of = f"a {kind} change of {row_id} from {before} to {after}"
            yield f"events: {host} told of {told_of}, which was not written before"


def _ages(world: World) -> Iterator[str]:
    """An event has the age of the row before the write, and a sweep leaves recent changes alone."""
    last: dict[tuple[str, str], Written] = {}
    floor = 1000 * (world.plan.settings["provider_polling_floor_seconds"] - _SKEWS)
    overlap = (
        1000 * _LATE
    )  # who changes a row while it is looked at does so after the floor was heeded
    for entry in world.history.entries:
        event, key = entry.what, (entry.host, str(getattr(entry.what, "row_id", "")))
        if isinstance(event, Written):
            last[key] = event
        elif isinstance(event, Resolved):
            if key not in last:
                yield f"events: {entry.host} resolved {event.row_id}, which it has not written"
            elif event.age_ms != (age := _age(event, last[key])) and not (
                # how long ago a time in the future was is not known
                age < 0 <= event.age_ms
            ):
                yield f"ages: {event.row_id} was told to be {event.age_ms} ms old, and was {age}"
        elif (
            isinstance(event, StateChange)
            and event.by == "sweep"
            and overlap < _age(event, last.get(key)) < floor
        ):
            age_ms = _age(event, last.get(key))
            yield f"floor: {event.row_id} was swept {age_ms} ms after its last change"


def _age(event: Event, written: Written | None) -> float:
    return (
        math.inf
        if written is None
        else (event.system_time - nanoseconds(written.was_updated_at)) // 1_000_000
    )


def _announcements(world: World) -> Iterator[str]:
    calls: dict[str, list[Announced]] = defaultdict(list)
    for entry in world.history.of(Announced):
        calls[entry.what.row_id].append(entry.what)
    for row_id, announced in calls.items():
        for before, after in pairwise(announced):
            if after.version < before.version or (after.version > before.version and before.failed):
                yield f"announcements: {row_id} v{after.version} came after v{before.version}"
    heard = [call for announced in calls.values() for call in announced if not call.failed]
    done = {(call.row_id, call.version) for call in heard}
    for entry in world.history.of(Noted):
        if entry.what.row_id in world.without_history:
            continue
        if (entry.what.row_id, entry.what.version) not in done:
            yield f"announcements: {entry.what.row_id} v{entry.what.version} was never announced"


def _calls(world: World) -> Iterator[str]:
    """No stretch of time saw more calls than the bucket holds and gains in it."""
    settings = world.settings
    for name, is_post, bucket in (
        ("reads", False, settings.buckets.reads),
        ("creates", True, settings.buckets.creates),
    ):
        burst, per_second = bucket.capacity, bucket.per_second
        share = settings.provider_rate_limit_share
        times = sorted(
            e.what.left_at for e in world.history.of(Call) if (e.what.method == "POST") is is_post
        )
        level, last, most = 0.0, 0.0, max(1.0, burst * share) + per_second * share * _SKEWS + 1
        if world.plan.wrong_clock:
            # to one whose clock jumps, long enough has passed for a full bucket: there and back
            most += 2 * max(1.0, burst * share)
        for at in times:
            level = max(0.0, level - (at - last) * per_second * share) + 1
            last = at
            if level > most:
                yield f"budget: {name}: {level:.1f} calls at once where {most:.1f} are allowed"
                break


def _told_calls(world: World) -> Iterator[str]:
    """Every call that reached the provider has an event of its own, unless its host died.

    The event spans the call: from before it left until after its answer.
    """
    told: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for entry in world.history.of(Called):
        called: Called = entry.what
        began = entry.at - called.duration_ms / 1000 - _ROUNDING
        # by a clock that jumps meanwhile, a call takes any time
        span = -math.inf if world.plan.wrong_clock else began, entry.at
        told[entry.host, called.way].append(span)
    deaths = {host.name: host.died_at for host in world.hosts if host.died_at is not None}
    for entry in world.history.of(Call):
        if deaths.get(entry.host, math.inf) - entry.at <= _LATE:
            continue
        spans = told[entry.host, entry.what.way]
        about = next((span for span in spans if span[0] <= entry.at <= span[1]), None)
        if about:
            spans.remove(about)
        else:
            yield f"calls: {entry.host} {entry.what} at {entry.at:.3f}, and never told of it"


def _leaks(world: World) -> Iterator[str]:
    """No id of the provider's, no token, no URL in what is told, logged or kept as a text."""
    kept, changed = world.place.read(
        "SELECT id, last_sync_error AS text FROM media_provider_assets "
        "WHERE last_sync_error IS NOT NULL",
        "SELECT row_id AS id, reason AS text FROM provider_asset_changes",
    )
    told = [str(e.what.metadata()) for e in world.history.entries if hasattr(e.what, "metadata")]
    everything = "\n".join(
        [*world.logged, *told, *(str(line["text"]) for line in (*kept, *changed))]
    )
    for name, secret in _secrets(world):
        if secret in everything:
            line = next(line for line in everything.split("\n") if secret in line)
            yield f"secrets: {name} stands in {line[:200]!r}"
    for entry in world.history.of(RedactionFailed):
        yield f"secrets: {entry.host} was about to tell an id in {entry.what.event}"


def _texts(world: World) -> Iterator[str]:
    """What the app has given to the provider stands in our tables exactly."""
    (rows,) = world.place.read("SELECT * FROM media_provider_assets")
    for row in rows:
        told = _json(row["raw_provider_metadata"]) or {}
        if row["provider_asset_id"] is None or told.get("id") != row["provider_asset_id"]:
            continue
        given = world.emulator.truth(row["provider_asset_id"]).passthrough
        if told.get("passthrough") != given:
            yield f"texts: {row['id']} has another passthrough in its metadata than its asset"
        if row["ingest_mode"] == "adopted" and row["passthrough"] not in {None, given}:
            yield f"texts: {row['id']} was adopted with another passthrough than its asset's"


def _secrets(world: World) -> Iterator[tuple[str, str]]:
    yield "the webhook secret", SECRET
    yield "the address of a file", FILE.partition("?")[2]
    for far in (world.emulator, world.other):
        yield "the token", far.token_secret
        for truth in far.truths().values():
            yield "an asset id", truth.asset_id
            yield from (("an upload id", truth.upload_id) for _ in (1,) if truth.upload_id)
            yield from (("a playback id", playback_id.id) for playback_id in truth.playback_ids)
            yield from (("an output's id", output.id) for output in truth.outputs)


def _deliveries(world: World) -> Iterator[str]:
    """What was acknowledged is kept, and was by then; what was forged is not.

    One that cannot be stored costs no other its answer.
    """
    yield from (f"deliveries: {what}" for what in world.ill_answered)
    (webhook_events,) = world.place.read("SELECT event_id AS id FROM provider_webhook_events")
    kept = {line["id"] for line in webhook_events}
    for body in world.acknowledged:
        found = re.search(r'"id": ?"([^"]+)"', body)
        if found and found[1] not in kept and not any(event_id in body for event_id in kept):
            yield f"deliveries: {found[1]} was acknowledged, and is not kept"
    accepted = sum(
        n for status, n in world.emulator.deliveries.forged_answers.items() if status < 300
    )
    if accepted:
        yield f"deliveries: {accepted} forged ones were accepted"


def _names(world: World) -> Iterator[str]:
    """A row has the asset and the upload of its own, and a backfill leaves no asset out."""
    (rows,) = world.place.read("SELECT * FROM media_provider_assets")
    for row in rows:
        asset_id, upload_id = row["provider_asset_id"], row["provider_upload_id"]
        tracked = world.own.get(row["reference"])
        if tracked and tracked not in {asset_id, upload_id}:
            yield f"names: {row['id']} has another asset or upload than the app tracks"
        truth = world.emulator.truth(asset_id) if asset_id else None
        if truth and upload_id and truth.upload_id != upload_id:
            yield f"names: {row['id']} has the asset of another upload"
    left = world.filled - world.superseded - {row["provider_asset_id"] for row in rows}
    if left:
        yield f"names: a backfill left out {len(left)} of {len(world.filled)} assets of one name"


def _event_times(world: World) -> Iterator[str]:
    """A deletion counts whatever its time says, and no event is taken to be from the future."""
    rows, deleted = world.place.read(
        "SELECT id, state, error_kind, provider_asset_id, last_event_at, inserted_at "
        "FROM media_provider_assets",
        "SELECT provider_asset_id, received_at FROM provider_webhook_events "
        "WHERE type = 'video.asset.deleted' AND status = 'applied'",
    )
    gone = {line["provider_asset_id"]: _moment(line["received_at"]) for line in deleted}
    for row in rows:
        is_ended = row["state"] == "deleted" or row["error_kind"] == "not_found"
        gone_at, inserted_at = gone.get(row["provider_asset_id"]), _moment(row["inserted_at"])
        # what was applied to a row that the app has untracked since says nothing to the next one
        if gone_at and inserted_at and gone_at >= inserted_at and not is_ended:
            yield f"times: {row['id']} is {row['state']}, and its deletion was applied"
        last = _moment(row["last_event_at"])
        if last and last > world.moment() + TOLERANCE + timedelta(seconds=_SKEWS):
            yield f"times: {row['id']} has an event of {last:%Y}"


def _letters(world: World) -> Iterator[str]:
    """A dead letter is about a row that is known; one that is sent again is tried again."""
    rows, left = world.place.read(
        "SELECT provider_asset_id, provider_upload_id FROM media_provider_assets",
        "SELECT id, type, status, provider_asset_id, provider_upload_id "
        "FROM provider_webhook_events WHERE status = 'dead' OR reason = 'untracked'",
    )
    known = {provider_id for row in rows for provider_id in row.values()} - {None}
    for line in left:
        event = f"{line['id']} of {line['type']}"
        is_known = bool({line["provider_asset_id"], line["provider_upload_id"]} & known)
        if line["status"] == "dead" and not is_known:
            yield f"letters: {event} is dead, and no row has its ids"
        elif line["status"] == "ignored" and is_known and world.all_sent_again:
            yield f"letters: {event} was sent again when its row was there, and not applied"


def _rest(world: World) -> Iterator[str]:
    rows, known, webhook_events, changes = world.place.read(
        "SELECT * FROM media_provider_assets",
        "SELECT provider_environment_id FROM provider_environments "
        "WHERE provider_environment_id IS NOT NULL",
        "SELECT id, type, reason, received_at FROM provider_webhook_events "
        "WHERE status = 'pending'",
        "SELECT row_id AS id, version FROM provider_asset_changes WHERE dispatch_at IS NOT NULL "
        "UNION ALL SELECT row_id AS id, version FROM provider_change_deliveries",
    )
    for line in webhook_events:
        if world.moment() - (_moment(line["received_at"]) or world.moment()) < timedelta(
            seconds=8 * world.plan.polling
        ):
            # what failed before is sent again hours later, and an event without a row waits a while
            continue
        yield f"rest: event {line['id']} of {line['type']} is pending still ({line['reason']})"
    for line in changes:
        yield f"rest: {line['id']} v{line['version']} is not announced"
    for row in rows:
        yield from _row_at_rest(world, row, is_audited=world.plan.audits and bool(known))


def is_quiet(world: World, since: datetime) -> bool:
    """Whether nothing is under way, and each row that is looked at still was so after `since`."""
    rows, waiting = world.place.read(
        "SELECT state, checked_at FROM media_provider_assets WHERE check_at IS NOT NULL",
        "SELECT row_id AS id FROM provider_asset_changes WHERE dispatch_at IS NOT NULL "
        "UNION ALL SELECT row_id AS id FROM provider_change_deliveries "
        "UNION ALL SELECT id FROM provider_webhook_events WHERE status = 'pending'",
    )
    looked_at = all((checked := _moment(row["checked_at"])) and checked > since for row in rows)
    is_told = not waiting and is_all_heard(world)
    return looked_at and is_told and not any(row["state"] in _IN_FLIGHT for row in rows)


def is_at_rest(world: World, since: datetime) -> bool:
    """Whether all is as it should be, and stays so."""
    return is_quiet(world, since) and next(_rest(world), None) is None


def _row_at_rest(world: World, row: Mapping[str, Any], *, is_audited: bool) -> Iterator[str]:
    now, state, settings = world.moment(), (row["state"], row["error_kind"]), world.plan.settings
    check_at = _moment(row["check_at"])
    bound = 2 * (settings["sweep_interval_seconds"] + world.plan.polling) + 90
    if check_at and now - check_at > timedelta(seconds=bound):
        yield f"rest: {row['id']} is due since {milliseconds(now - check_at) / 1000:.0f} s"
    if check_at and check_at - now > _longest_gap(settings):
        ahead = milliseconds(check_at - now) / 1000
        yield f"rest: {row['id']} is to be checked in {ahead:.0f} s, later than any row"
    wanted = _wanted(world, row, is_audited=is_audited)
    age = now - (_moment(row["inserted_at"]) or now)
    # where a clock was wrong, nobody knows how old a row is
    threshold = timedelta(seconds=settings["provider_stuck_threshold_seconds"])
    may_be_stuck = age > threshold or world.plan.wrong_clock
    if may_be_stuck and {_PREPARING, _WAITING} & {*wanted}:
        wanted = [*wanted, ("errored", "stuck")]
    if state not in wanted:
        right = " or ".join(f"{name}/{kind}" for name, kind in wanted)
        yield f"rest: {row['id']} is {state[0]}/{state[1]}, and should be {right}"
    elif state == _READY and world.gone_at(row["provider_asset_id"]) is None:
        ids = {(shown["id"], shown["policy"]) for shown in _json(row["playback_ids"])}
        # an answer may tell of none, and what it made ready is at rest: only an audit asks again
        if (ids or world.plan.audits) and ids != world.playback_ids(row["provider_asset_id"]):
            yield f"rest: {row['id']} has other playback ids than its asset"
        stored = _json(row["raw_provider_metadata"]) or {}
        if world.plan.audits and stored.get("meta") != world.title(row["provider_asset_id"]):
            yield f"rest: {row['id']} does not know what its asset was called after it was ready"
        yield from media_at_rest(world, row, is_audited=is_audited)


def _longest_gap(settings: Mapping[str, Any]) -> timedelta:
    """The longest time to the next check that these settings allow."""
    caps = settings["provider_check_cap_seconds"], settings["provider_watch_cap_seconds"]
    gap = max(*caps, settings["provider_confirm_seconds"], 600.0)
    return timedelta(seconds=gap * (1 + settings["provider_check_jitter"]) + _SKEWS)


def _moment(found: Any) -> datetime | None:
    """A time as SQLite or PostgreSQL gives it."""
    moment = datetime.fromisoformat(found) if isinstance(found, str) else found
    return moment.replace(tzinfo=UTC) if moment and moment.tzinfo is None else moment


def _json(found: Any) -> Any:
    return json.loads(found) if isinstance(found, str) else found


def _wanted(world: World, row: Mapping[str, Any], *, is_audited: bool) -> Sequence[Standing]:
    """As what a row may stand when all is at rest."""
    if row["provider_asset_id"]:
        state = world.emulator.truth(row["provider_asset_id"]).state
        return _OF_ASSETS[state] if is_audited or state is not AssetState.DELETED else _UNAUDITED
    if row["provider_upload_id"]:
        upload = world.emulator.environment.upload(row["provider_upload_id"])
        return _OF_UPLOADS[upload.state(world.moment().timestamp())] if upload else [_NOT_FOUND]
    return [_NO_UPLOAD]
