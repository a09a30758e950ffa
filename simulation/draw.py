"""What a seed stands for: all that is drawn before a history begins.

A function of the seed alone.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Final
from zlib import crc32

from simulation.acts import Act, draw_acts
from simulation.outputs import Output, draw_outputs, draw_recordings

ASSET_FAULTS: Final = (
    ("silence", 3),
    ("late_answer", 4),
    ("not_found_once", 4),
    ("unauthorized", 2),
    ("forbidden", 1),
    ("rate_limited", 3),
    ("server_error", 4),
    ("bad_gateway", 2),
    ("broken_json", 2),
    ("truncated", 1),
    ("unknown_status", 1),
    ("missing_playback_ids", 5),
    ("repeated_entries", 2),
    ("dropped_entries", 5),
    ("out_of_order", 2),
)
"""Faults of the provider, and how often each is drawn."""

OWN_FAULTS: Final = (("network", 3), ("database", 3), ("no_host", 2), ("other_token", 3))
"""Faults on our side of the wire."""


@dataclass(frozen=True, slots=True)
class Window:
    """A fault, from when until when (seconds), and its chance at each call."""

    kind: str
    begins: float
    ends: float
    chance: float


@dataclass(frozen=True, slots=True)
class Video:
    """One asset: who makes it, how it lives, and what the app does about it; times in seconds."""

    at: float
    kind: str
    """`tracked`, `foreign`, `upload`, `own`: an upload that the app makes without us."""
    ends: str
    after: float
    deleted_after: float | None
    asked_after: float | None
    """When the app has it looked at, of its own accord: just as it is ready, if at all."""
    told_after: float
    """When the app tracks it, or the user sends the file."""
    fate: str
    """Of an upload: `sent`, `cancelled`, `forgotten`."""
    again: bool
    """Whether an upload that failed is begun again."""


@dataclass(frozen=True, slots=True)
class Hearer:
    """An app behind outgoing webhooks: when its endpoint is added, and how it answers."""

    name: str
    at: float
    types: tuple[str, ...]
    failing: float
    """The chance that it answers an error."""
    hanging: float
    throttling: float
    down: Sequence[tuple[float, float]]
    """From when until when nobody answers."""


@dataclass(frozen=True, slots=True)
class Command:
    """What an operator runs, and when."""

    at: float
    name: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole history, as far as it does not follow from what the service does."""

    seed: int
    trouble: float
    """For how many seconds things go wrong."""
    calm: float
    """For how many seconds after that all goes well, at the most."""
    whole_calm: bool
    """Whether it lasts as long even where all has come to rest before."""
    hosts: Sequence[float]
    """How far the clock of each host is off, in seconds."""
    settings: dict[str, Any]
    polling: float
    """Seconds between two looks into the inbox and the outbox."""
    limits: str
    retry_after: bool
    webhooks: dict[str, Any]
    videos: Sequence[Video]
    windows: Sequence[Window]
    commands: Sequence[Command]
    audits: bool
    """Whether there are audits at all."""
    crashes: float
    """The chance that a host is killed at one of its next few hundred steps."""
    failing_callbacks: float
    old: int = field(default=0)
    """How many foreign assets there are from before."""
    edits: Sequence[tuple[float, str]] = ()
    """When and how the app changes a ready asset at the provider: `title`, `removal` or
    `replacement` of its playback ids."""
    odd_text: bool = False
    """Whether every answer about assets holds a text that no strict reader takes, to the end."""
    passthrough: str | None = None
    """What the assets carry that the app did not make by `begin_upload`; all the same text."""
    misdated: float = 0.0
    """The chance that the time of an event is wrong."""
    backfills: bool = False
    """Whether a backfill comes to its end when all is at rest."""
    wrong_clock: float = 0.0
    """By how many seconds the clocks of all hosts are off while there is a `wrong_clock`."""
    outputs: Sequence[Output] = ()
    live: Mapping[int, float] = field(default_factory=dict)
    """By the number of a video that records a live stream, for how many seconds that goes on."""
    acts: Sequence[Act] = ()
    """What the app does with rows that it has."""
    from_urls: Sequence[int] = ()
    """The numbers of the uploads that are no uploads: their files are fetched."""
    in_steps: Sequence[int] = ()
    """The numbers of the uploads that are prepared, and then started by two hosts."""
    reloaded: Sequence[int] = ()
    """The numbers of the uploads whose page is loaded once more."""
    in_app: Sequence[int] = ()
    """The numbers of the videos that are tracked in a transaction of the app's own."""
    lag: float = 0.0
    """By how many seconds a `lagging_list` is behind."""
    page_size: int = 100
    """How many assets a list page holds."""
    batch: int = 100
    """How many webhook events are applied at once."""
    hearers: Sequence[Hearer] = ()
    """Where there are any, another app follows the feed."""
    cancelled_late: Mapping[int, float] = field(default_factory=dict)
    """By the number of an upload whose file is sent, after how many seconds it is cancelled."""

    def refuses(self, event_id: str) -> bool:
        """Whether the database refuses a webhook event: some, in one history of eight."""
        return self.seed % 8 == 6 and crc32(event_id.encode()) % 4 == 0


@dataclass(frozen=True, slots=True)
class _Size:
    """How much there may be of what makes a history long."""

    trouble: Sequence[float]
    videos: Sequence[int]
    commands: Sequence[int]
    others: Sequence[int]
    """How many hosts there may be beside the first."""
    audits: float
    """The chance of audits."""
    late: Sequence[float]
    """By how many seconds webhooks may be late."""
    old: Sequence[int]
    """How many foreign assets there may be from before."""


_SHORT: Final = _Size(
    trouble=(30, 60, 90),
    videos=(1, 1, 1, 2),
    commands=(0, 0, 0, 1, 2),
    others=(0, 0, 0, 1),
    audits=0.2,
    late=(0, 5, 45),
    old=(0, 0, 0, 0, 0, 0, 0, 30),
)
_MIDDLE: Final = _Size(
    trouble=(60, 120, 240),
    videos=(1, 2, 3),
    commands=(0, 1, 2, 4),
    others=(0, 0, 1),
    audits=0.5,
    late=(0, 5, 120),
    old=(0, 0, 0, 0, 30, 130),
)
_LONG: Final = _Size(
    trouble=(200, 400, 800, 1600),
    videos=(1, 2, 3, 4, 6, 8, 12),
    commands=(0, 2, 4, 8),
    others=(0, 0, 1, 1, 2),
    audits=0.6,
    late=(0, 5, 600, 7200),
    old=(0, 0, 0, 0, 30, 130),
)
_AT_ONCE: Final = (0.1, 0.11)
"""The part of the trouble in which all assets are made, where they are made at once."""

_APART: Final = 20.0
"""Seconds by which a lie about playback ids is shorter than what would make it believed."""

_EVERY: Final = 16
"""So many short histories there are for each middle one, and so many of those for each long one."""


def plan(seed: int) -> Plan:
    """What is drawn for `seed`.

    Most histories are short: what goes wrong mostly does so about one row, and soon.
    """
    drawn = _plain(seed)
    special = _SPECIAL.get(seed % 40)
    drawn = _with_acts(_with_outputs(special(drawn) if special else drawn))
    return _with_late_cancels(_with_hearers(drawn))


def _with_hearers(drawn: Plan) -> Plan:
    """Apps that hear of changes by outgoing webhooks, in one history of four.

    None where a clock is wrong: attempts wait by it, for as long as it is wrong.
    """
    chance = Random(f"{drawn.seed}:hearers")
    if drawn.wrong_clock or chance.random() > 1 / 4:
        return drawn
    numbers = range(chance.choice((1, 1, 2, 3)))
    return replace(drawn, hearers=[_hearer(chance, number, drawn.trouble) for number in numbers])


def _with_late_cancels(drawn: Plan) -> Plan:
    """Uploads that are cancelled just after their file was sent, in one history of six.

    The provider refuses that, and the row mostly does not know the asset yet.
    """
    chance = Random(f"{drawn.seed}:late-cancels")
    if chance.random() > 1 / 6:
        return drawn
    after = {
        number: chance.uniform(0, 2)
        for number, video in enumerate(drawn.videos)
        if video.kind == "upload" and video.fate == "sent" and number not in drawn.from_urls
    }
    return replace(drawn, cancelled_late=after)


def _hearer(chance: Random, number: int, trouble: float) -> Hearer:
    down = []
    for _ in range(chance.choice((0, 1, 2))):
        begins = chance.uniform(0, trouble)
        down.append((begins, begins + _drawn_out(chance, 5, trouble)))
    return Hearer(
        name=f"app{number}",
        at=chance.choice((0.0, chance.uniform(0, trouble / 2))),
        types=chance.choice(((), (), ("asset.ready", "asset.deleted"))),
        failing=chance.choice((0.0, 0.1, 0.5)),
        hanging=chance.choice((0.0, 0.0, 0.2)),
        throttling=chance.choice((0.0, 0.0, 0.3)),
        down=down,
    )


def _with_outputs(drawn: Plan) -> Plan:
    """Tracks, renditions, masters and live recordings, in one history of three."""
    chance, longest = Random(f"{drawn.seed}:outputs"), drawn.trouble / 2
    if chance.random() > 1 / 3:
        return drawn
    number = len(drawn.videos)
    outputs = draw_outputs(chance, number, longest)
    return replace(drawn, outputs=outputs, live=draw_recordings(chance, number, longest))


def _with_acts(drawn: Plan) -> Plan:
    """Rows that get another asset, are untracked or begin anew, in one history of five."""
    chance = Random(f"{drawn.seed}:acts")
    if chance.random() > 1 / 5:
        return drawn
    numbers = range(len(drawn.videos))
    from_urls, in_steps, reloaded, in_app = (
        [number for number in numbers if chance.random() < 0.5] for _ in range(4)
    )
    return replace(
        drawn,
        acts=draw_acts(chance, len(numbers), drawn.trouble / 2),
        from_urls=drawn.from_urls or from_urls,
        in_steps=in_steps,
        reloaded=reloaded,
        in_app=in_app,
    )


def _with_few_calls(drawn: Plan) -> Plan:
    """A budget that is soon spent."""
    few = {"provider_read_burst": 3, "provider_reads_per_second": 0.25}
    return replace(drawn, settings=drawn.settings | few)


def _with_many_pages(drawn: Plan) -> Plan:
    """Many videos at once, on small pages that are read one after the other."""
    return replace(_with_many_videos(drawn), page_size=3)


def _with_small_batches(drawn: Plan) -> Plan:
    """Many videos at once, and few of their webhook events applied together."""
    return replace(_with_many_videos(drawn), batch=3)


def _with_many_videos(drawn: Plan) -> Plan:
    chance = Random(f"{drawn.seed}:pages")
    videos = [
        replace(
            _video(chance, drawn.trouble, *_AT_ONCE),
            kind="tracked",
            at=chance.uniform(0, 5),
            ends="ready",
            after=chance.uniform(0, drawn.trouble / 2),
            told_after=chance.uniform(0, 5),
        )
        for _ in range(16)
    ]
    return replace(drawn, videos=sorted([*drawn.videos, *videos], key=lambda video: video.at))


def _with_another_token(drawn: Plan) -> Plan:
    """A token of another environment for long, so that every row looks deleted, and an audit."""
    confirm = {"provider_confirm_seconds": 60.0}
    begins, ends = drawn.trouble, drawn.trouble + 280
    return replace(
        drawn,
        trouble=ends,
        settings=drawn.settings | confirm,
        windows=[*drawn.windows, Window("other_token", begins, ends, 1.0)],
        commands=[*drawn.commands, Command(begins + 80, "audit")],
        audits=True,
    )


def _with_odd_text(drawn: Plan) -> Plan:
    """Answers that are odd to the end, seldom a webhook to make up for them, and a backfill."""
    webhooks = drawn.webhooks | {"drop": 1.0 if drawn.seed % 3 else 0.3}
    commands = [*drawn.commands, Command(0.8 * drawn.trouble, "backfill")]
    return replace(drawn, odd_text=True, webhooks=webhooks, commands=commands)


def _with_a_wrong_clock(drawn: Plan) -> Plan:
    """Clocks that are wrong for a while, by hours or a year, and then are right again."""
    chance = Random(f"{drawn.seed}:clock")
    off = chance.choice((1, 1, -1)) * chance.choice((3 * 3600.0, 365 * 86_400.0))
    begins = drawn.trouble * chance.uniform(0.1, 0.8)
    ends = begins + (drawn.trouble - begins) * chance.choice((0.2, 0.5, 1.0))
    return replace(
        drawn,
        wrong_clock=off,
        windows=[*drawn.windows, Window("wrong_clock", begins, ends, 1.0)],
        # what lies ahead by less than clocks may differ is believed
        calm=drawn.calm + 300,
    )


def _with_edits_at_the_provider(drawn: Plan) -> Plan:
    """Assets that change once they are ready, and an audit that finds what no webhook says.

    For a while before, answers lack playback ids that are there, to an operator who asks.
    """
    chance, begins = Random(f"{drawn.seed}:edits"), drawn.trouble
    videos = [
        replace(
            _video(chance, begins, *_AT_ONCE),
            kind="tracked",
            ends="ready",
            after=chance.uniform(1, 20),
            deleted_after=None,
            told_after=chance.uniform(0, 20),
        )
        for _ in range(3)
    ]
    return replace(
        drawn,
        trouble=begins + 120,
        settings=drawn.settings | {"audit_days": 1.0},
        windows=[
            *(window for window in drawn.windows if window.kind != "missing_playback_ids"),
            Window("missing_playback_ids", begins, begins + 30, 1.0),
        ],
        commands=[Command(begins + chance.uniform(0, 30), "sync") for _ in range(3)],
        videos=sorted(videos, key=lambda video: video.at),
        edits=[
            (begins + chance.uniform(0, 110), edit) for edit in ("title", "removal", "replacement")
        ],
        audits=True,
    )


def _with_lost_answers(drawn: Plan) -> Plan:
    """Assets that the provider makes of files while answers get lost, and no webhook comes."""
    chance, trouble = Random(f"{drawn.seed}:lost"), 90.0
    videos = [
        replace(_video(chance, trouble, 0.0, 0.5), kind="upload", deleted_after=None)
        for _ in range(4)
    ]
    return replace(
        drawn,
        trouble=trouble,
        videos=sorted(videos, key=lambda video: video.at),
        from_urls=range(len(videos)),
        windows=[*drawn.windows, Window("network", 0.0, trouble, 0.4)],
        webhooks=drawn.webhooks | {"drop": 1.0},
        settings=drawn.settings | {"audit_days": 0.0},
        commands=[command for command in drawn.commands if command.name not in _SCANS],
        audits=False,
    )


_SCANS: Final = {"audit", "backfill"}
"""The commands that look through the whole list."""


def _with_slow_answers(drawn: Plan) -> Plan:
    """Videos that the app has looked at just as they become ready, and answers that are slow.

    The webhooks come at once, and overtake them.
    """
    chance, trouble = Random(f"{drawn.seed}:slow"), 60.0
    videos = []
    for _ in range(8):
        after = chance.uniform(5.0, 30.0)
        asked_after = after - chance.uniform(0.0, 1.5)
        video = replace(_video(chance, trouble, 0.0, 0.4), kind="tracked", ends="ready")
        told = replace(video, after=after, told_after=0.1, asked_after=asked_after)
        videos.append(replace(told, deleted_after=None))
    return replace(
        drawn,
        trouble=trouble,
        videos=sorted(videos, key=lambda video: video.at),
        windows=[Window("late_answer", 0.0, trouble, 1.0)],
        webhooks=drawn.webhooks | {"drop": 0.0, "shuffle": 0.0, "delay": (0.0, 0.0)},
    )


def _with_lagging_lists(drawn: Plan) -> Plan:
    """Lists that show what was so a while ago, of many videos whose outputs are under way."""
    chance, trouble = Random(f"{drawn.seed}:lag"), 300.0
    videos = sorted(
        (
            replace(_video(chance, trouble, *_AT_ONCE), kind="tracked", ends="ready")
            for _ in range(6)
        ),
        key=lambda video: video.at,
    )
    return replace(
        drawn,
        trouble=trouble,
        videos=videos,
        windows=[*drawn.windows, Window("lagging_list", 0.0, trouble, 0.7)],
        lag=chance.uniform(1.0, 60.0),
    )


def _with_a_list_that_lacks_entries(drawn: Plan) -> Plan:
    """Many rows that are due at once, which makes a page of the list worth a call."""
    chance, trouble = Random(f"{drawn.seed}:videos"), 300.0
    videos = sorted(
        (_video(chance, trouble, *_AT_ONCE) for _ in range(8)), key=lambda video: video.at
    )
    lacks = Window("dropped_entries", 0.0, trouble, 0.5)
    return replace(drawn, trouble=trouble, videos=videos, windows=[*drawn.windows, lacks])


def _with_nothing_but_checks(drawn: Plan) -> Plan:
    """Nothing goes wrong and no webhook comes: many videos of one moment, each ready in its time.

    How soon that is known is then a matter of the sweep alone.
    """
    chance, trouble = Random(f"{drawn.seed}:checks"), 900.0
    videos = []
    for _ in range(8):
        video = replace(_video(chance, trouble, *_AT_ONCE), kind="tracked", ends="ready")
        after = chance.uniform(20.0, 700.0)
        videos.append(replace(video, after=after, told_after=1.0, deleted_after=None))
    settings = {
        "provider_stuck_threshold_seconds": 1200.0,
        "sweep_interval_seconds": 30.0,
        "provider_rate_limit_share": 1.0,
    }
    return replace(
        drawn,
        trouble=trouble,
        calm=drawn.calm + 1200.0,
        settings=drawn.settings | settings,
        polling=30.0,
        webhooks=drawn.webhooks | {"drop": 1.0, "forge": 0.0},
        videos=sorted(videos, key=lambda video: video.at),
        windows=(),
        commands=(),
        crashes=0.0,
        old=chance.choice((0, 250, 350)),
    )


def _with_assets_not_found_once(drawn: Plan) -> Plan:
    """Assets that are ready and once answered with a 404, to an operator who asks repeatedly."""
    chance, begins = Random(f"{drawn.seed}:commands"), drawn.trouble
    windows = [
        window for window in drawn.windows if window.kind != "not_found_once"
    ]  # twice would be the truth
    return replace(
        drawn,
        trouble=begins + 120,
        windows=[*windows, Window("not_found_once", begins, begins + 120, 1.0)],
        commands=[
            *drawn.commands,
            *(Command(begins + chance.uniform(0, 120), "sync") for _ in range(4)),
        ],
    )


def _with_shared_names(drawn: Plan) -> Plan:
    """Assets and uploads of one passthrough, and webhooks that mostly come."""
    chance = Random(f"{drawn.seed}:names")
    videos = []
    for kind in ("own", "own", "own", "foreign", "tracked"):
        video = _video(chance, drawn.trouble, 0.0, 0.5)
        videos.append(replace(video, kind=kind))
    return replace(
        drawn,
        videos=sorted([*drawn.videos, *videos], key=lambda video: video.at),
        webhooks=drawn.webhooks | {"drop": chance.choice((0.0, 0.1))},
        passthrough="user-42",
        backfills=True,
    )


def _with_misdated_events(drawn: Plan) -> Plan:
    """Events whose times contradict their order, of assets that are soon deleted.

    Without audits: nothing else tells that they are.
    """
    chance = Random(f"{drawn.seed}:times")
    videos = []
    for _ in range(4):
        video = _video(chance, drawn.trouble, 0.0, 0.4)
        after = chance.uniform(1.0, drawn.trouble / 3)
        soon = replace(video, kind="tracked", ends="ready", after=after, told_after=0.1)
        videos.append(replace(soon, deleted_after=after + chance.uniform(2.0, 25.0)))
    return replace(
        drawn,
        videos=sorted([*drawn.videos, *videos], key=lambda video: video.at),
        webhooks=drawn.webhooks | {"drop": 0.0},
        settings=drawn.settings | {"audit_days": 0.0},
        commands=[command for command in drawn.commands if command.name != "audit"],
        audits=False,
        misdated=chance.choice((0.7, 1.0)),
    )


def _plain(seed: int) -> Plan:
    chance, size = Random(f"{seed}:plan"), _size(seed)
    trouble = chance.choice(size.trouble)
    settings = _settings(chance)
    audits = chance.random() < size.audits
    settings |= {} if audits else {"audit_days": 0.0}
    starts = (0.0, 0.9) if chance.random() < 0.7 else _AT_ONCE
    videos = [_video(chance, trouble, *starts) for _ in range(chance.choice(size.videos))]
    polling = chance.choice((30.0, 60.0, 120.0))
    calm = (
        settings["provider_stuck_threshold_seconds"]
        + settings["provider_watch_cap_seconds"] * (1 + settings["provider_check_jitter"])
        + settings["provider_confirm_seconds"]
        + settings["provider_check_cap_seconds"]
        + 240
        + 6 * polling
    )
    return Plan(
        seed=seed,
        trouble=trouble,
        calm=calm,
        whole_calm=size is _LONG,
        hosts=[0.0] + [chance.uniform(-2, 2) for _ in range(chance.choice(size.others))],
        settings=settings,
        polling=polling,
        limits=settings["provider_token_priority"],
        retry_after=chance.random() < 0.5,
        webhooks=_webhooks(chance, size.late),
        videos=sorted(videos, key=lambda video: video.at),
        windows=_windows(chance, trouble, settings["provider_confirm_seconds"]),
        commands=_commands(chance, trouble, chance.choice(size.commands), audits=audits),
        audits=audits,
        crashes=chance.choice((0.0, 0.3, 0.9)),
        failing_callbacks=chance.choice((0.0, 0.0, 0.3)),
        old=chance.choice(size.old),
    )


def _size(seed: int) -> _Size:
    if seed % (_EVERY * _EVERY) == 0:
        return _LONG
    return _MIDDLE if seed % _EVERY == 0 else _SHORT


def _settings(chance: Random) -> dict[str, Any]:
    floor = chance.choice((5.0, 30.0))
    watch = chance.choice((60.0, 120.0))
    return {
        "stuck_policy": chance.choice(("declare", "ask-first")),
        "provider_stuck_threshold_seconds": chance.choice((240.0, 240.0, 600.0)),
        "provider_polling_floor_seconds": floor,
        "provider_check_cap_seconds": floor * chance.choice((1, 4, 12)),
        "provider_check_growth": chance.choice((0.1, 0.25, 1.0)),
        "provider_check_jitter": chance.choice((0.0, 0.1)),
        "provider_confirm_seconds": chance.choice((60.0, 300.0)),
        "provider_watch_floor_seconds": watch,
        "provider_watch_cap_seconds": watch * chance.choice((1, 3)),
        "provider_timeout_seconds": chance.choice((2.0, 10.0)),
        "provider_token_priority": chance.choice(("low", "high")),
        "provider_rate_limit_share": chance.choice((1.0, 1.0, 0.5)),
        "audit_days": chance.choice((0.0, 0.02, 1.0)),
        "sweep_interval_seconds": chance.choice((30.0, 60.0, 120.0)),
        "sweep_batch": chance.choice((1, 5, 50)),
    }


def _commands(chance: Random, trouble: float, number: int, *, audits: bool) -> Sequence[Command]:
    names = ["sync", "sync", "sync", "replay", "sweep", "backfill", "audit"][
        : None if audits else -1
    ]
    return [Command(chance.uniform(0, trouble), chance.choice(names)) for _ in range(number)]


def _webhooks(chance: Random, late: Sequence[float]) -> dict[str, Any]:
    return {
        "drop": chance.choice((0.0, 0.3, 1.0)),
        "double": chance.choice((0.0, 0.3)),
        "shuffle": chance.choice((0.0, 0.5)),
        "forge": chance.choice((0.0, 0.0, 0.3)),
        "delay": (0.0, chance.choice(late)),
    }


def _video(chance: Random, trouble: float, first: float, last: float) -> Video:
    at = trouble * chance.uniform(first, last)
    longest = max(2.0, (trouble - at) * 0.9)
    goes, is_asked = chance.random() < 0.3, chance.random() < 0.4
    after = _drawn_out(chance, 1.0, longest)
    return Video(
        at=at,
        kind=chance.choice(("tracked", "tracked", "tracked", "upload", "upload", "foreign")),
        ends=chance.choice(("ready",) * 6 + ("errored", "never")),
        after=after,
        asked_after=after + chance.uniform(-1, 2) if is_asked else None,
        deleted_after=_drawn_out(chance, 1.0, longest) if goes else None,
        told_after=_drawn_out(chance, 0.1, min(longest, 200.0)),
        fate=chance.choice(("sent", "sent", "sent", "cancelled", "forgotten")),
        again=chance.random() < 0.5,
    )


def _windows(chance: Random, trouble: float, confirm: float) -> Sequence[Window]:
    windows = [_window(chance, trouble) for _ in range(chance.choice((0, 1, 2, 3, 5)))]
    lies = [
        window for window in windows if window.kind == "not_found_once"
    ]  # twice would be the truth, as far as we know
    absent = [window for window in windows if window.kind == "missing_playback_ids"]
    return [
        # two answers without playback ids, so far apart, would be the truth as well
        replace(window, ends=min(window.ends, window.begins + confirm - _APART))
        if window in absent
        else window
        for window in windows
        if window not in lies[1:] and window not in absent[1:]
    ]


def _window(chance: Random, trouble: float) -> Window:
    kinds = ASSET_FAULTS + OWN_FAULTS
    (kind,) = chance.choices([name for name, _ in kinds], [weight for _, weight in kinds])
    begins = chance.uniform(0, trouble * 0.9)
    return Window(
        kind,
        begins,
        min(trouble, begins + _drawn_out(chance, 10, trouble)),
        chance.choice((0.1, 0.5, 1.0)),
    )


def _drawn_out(chance: Random, low: float, high: float) -> float:
    """From `low` to `high`, every order of magnitude as likely as another."""
    return math.exp(chance.uniform(math.log(low), math.log(max(low, high))))


_SPECIAL: Final[Mapping[int, Callable[[Plan], Plan]]] = {
    2: _with_shared_names,
    4: _with_few_calls,
    5: _with_many_pages,
    7: _with_another_token,
    12: _with_misdated_events,
    13: _with_odd_text,
    18: _with_a_wrong_clock,
    19: _with_lagging_lists,
    22: _with_shared_names,
    21: _with_lost_answers,
    23: _with_a_list_that_lacks_entries,
    24: _with_few_calls,
    25: _with_nothing_but_checks,
    26: _with_a_wrong_clock,
    27: _with_slow_answers,
    29: _with_small_batches,
    31: _with_assets_not_found_once,
    33: _with_edits_at_the_provider,
    35: _with_edits_at_the_provider,
    32: _with_misdated_events,
    38: _with_a_wrong_clock,
}
"""Which of forty histories are about something that would be rare else."""
