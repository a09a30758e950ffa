"""The laws of apps that hear of changes: all of them, in the order of each row, none invented."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from rindle_sync.domain import ChangeKind, State, change_type, wants_type
from simulation.apps import Followed, Heard
from simulation.history import Noted
from simulation.world import World

Change = tuple[str, int]
"""A row, and its version after a change."""


def apps(world: World) -> Iterator[str]:
    """What is wrong with what the apps have heard."""
    if not world.apps:
        return
    noted = {(e.what.row_id, e.what.version): e.what for e in world.history.of(Noted)}
    for app in world.apps.values():
        heard = [e.what for e in world.history.of(Heard) if e.what.app == app.plan.name]
        yield from _genuine(world, app.plan.types, heard, noted)
        yield from _in_order(world, app.plan.name, app.plan.types, heard)
        yield from _complete(world, app.plan.name, app.plan.types, heard)
    yield from _followed(world, noted)
    (left,) = world.place.read(
        "SELECT row_id AS id, version, status, reason FROM provider_outgoing_webhooks "
        "WHERE status != 'delivered'"
    )
    gone = _without_history(world)
    for line in left:
        if str(line["id"]) not in gone:
            about = f"{line['id']} v{line['version']} is {line['status']} ({line['reason']})"
            yield f"apps: the webhook of {about}"


def _without_history(world: World) -> set[str]:
    """The rows of which no change is left: the app has untracked them with their history."""
    (left,) = world.place.read("SELECT DISTINCT row_id AS id FROM provider_asset_changes")
    changed = {entry.what.row_id for entry in world.history.of(Noted)}
    return world.without_history | (changed - {str(line["id"]) for line in left})


def _type(change: Noted) -> str:
    return change_type(ChangeKind(change.kind), State(change.to_state))


def _genuine(
    world: World, types: Any, heard: list[Heard], noted: dict[Change, Noted]
) -> Iterator[str]:
    """What an app hears is a change that was made, as it was, and signed; with no id of Mux's."""
    secrets = set(world.emulator.environment.assets)
    for one in heard:
        change = noted.get((one.row_id, one.version))
        if change is None:
            yield f"apps: {one} has never been"
        elif (one.kind, one.to_state) != (change.kind, change.to_state):
            yield f"apps: {one} was another change: {change}"
        elif not wants_type(types, _type(change)):
            yield f"apps: {one} is of a type that it does not want"
        if one.flaw:
            yield f"apps: {one}"
        # a playback id that the world has made has its asset's in it
        if any(secret in one.body and f"of{secret}" not in one.body for secret in secrets):
            yield f"secrets: {one} holds the id of an asset"


def _wanted(world: World, name: str, types: Any) -> Iterator[tuple[Change, bool]]:
    """The changes that an app wants, and whether its endpoint was surely there by then."""
    since = world.listening.get(name)
    for number, entry in enumerate(world.history.entries):
        if isinstance(entry.what, Noted) and wants_type(types, _type(entry.what)):
            change = entry.what.row_id, entry.what.version
            yield change, since is not None and number >= since


def _in_order(world: World, name: str, types: Any, heard: list[Heard]) -> Iterator[str]:
    """No change of a row is sent before the app has the one before it."""
    versions = defaultdict[str, list[int]](list)
    for (row_id, version), is_sure in _wanted(world, name, types):
        if is_sure:
            versions[row_id].append(version)
    accepted = set[Change]()
    for one in heard:
        for version in versions[one.row_id]:
            if version < one.version and (one.row_id, version) not in accepted:
                yield f"apps: {one} before v{version}"
        if one.is_accepted:
            accepted.add((one.row_id, one.version))


def _complete(world: World, name: str, types: Any, heard: list[Heard]) -> Iterator[str]:
    """In the end an app has every change that it wants."""
    accepted = {(one.row_id, one.version) for one in heard if one.is_accepted}
    gone = _without_history(world)
    for (row_id, version), is_sure in _wanted(world, name, types):
        is_left = row_id not in gone
        if is_sure and is_left and (row_id, version) not in accepted:
            yield f"apps: {name} has never heard of {row_id} v{version}"


def _followed(world: World, noted: dict[Change, Noted]) -> Iterator[str]:
    """Who follows the feed reads every change that was made since, in the order of its row."""
    read = [(e.what.row_id, e.what.version) for e in world.history.of(Followed)]
    last = dict[str, int]()
    for row_id, version in dict.fromkeys(read):
        if (row_id, version) not in noted:
            yield f"apps: the feed has {row_id} v{version}, which has never been"
        if version <= last.get(row_id, 0):
            yield f"apps: the feed has {row_id} v{version} after v{last[row_id]}"
        last[row_id] = version
    if not world.listening:
        return
    since, gone = min(world.listening.values()), _without_history(world)
    for entry in world.history.entries[since:]:
        if isinstance(entry.what, Noted) and entry.what.row_id not in gone:
            change = entry.what.row_id, entry.what.version
            if change not in read:
                yield f"apps: the feed never had {change[0]} v{change[1]}"


def is_all_heard(world: World) -> bool:
    """Whether nothing is left to send, or to publish."""
    if not world.apps:
        return True
    (left,) = world.place.read(
        "SELECT row_id AS id FROM provider_outgoing_webhooks WHERE next_attempt_at IS NOT NULL "
        "UNION ALL SELECT row_id AS id FROM provider_asset_changes WHERE position IS NULL"
    )
    (newest,) = world.place.read(
        "SELECT row_id AS id, version FROM provider_asset_changes ORDER BY position DESC LIMIT 1"
    )
    read = {(e.what.row_id, e.what.version) for e in world.history.of(Followed)}
    return not left and all((str(line["id"]), line["version"]) in read for line in newest)
