"""What is made of an asset beside its video, and when: drawn apart from the rest of a history.

Tracks, static renditions, masters and live recordings; a function of the seed alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from rindle_sync.emulator.account import MuxAccount
from rindle_sync.emulator.lifecycle import Life, RenditionLife

KINDS: Final = ("text", "text", "audio", "static_rendition", "static_rendition", "master")
_RESOLUTIONS: Final = ("highest", "audio-only", "2160p", "720p", "270p")
_ENDS: Final = ("ready",) * 5 + ("errored", "never")


@dataclass(frozen=True, slots=True)
class Output:
    """A track, a static rendition or a master of one video; times in seconds."""

    video: int
    """The number of its video."""
    kind: str
    name: str
    """A language, or a resolution."""
    asked_after: float | None
    """How long after the video is ready the app asks for it; None: with the video."""
    is_told: bool
    """Whether the app has the row synced once it has asked."""
    ends: str
    after: float
    deleted_after: float | None

    @property
    def life(self) -> Life:
        """How it lives."""
        kind = RenditionLife if self.kind == "static_rendition" else Life
        return kind(self.ends, self.after, self.deleted_after)  # type: ignore[arg-type]


def draw_outputs(chance: Random, videos: int, longest: float) -> Sequence[Output]:
    """The outputs of so many videos, each of which takes at most `longest` to end."""
    return [
        output
        for video in range(videos)
        for output in _of_video(chance, video, longest)
        if chance.random() < 0.8
    ]


def _of_video(chance: Random, video: int, longest: float) -> Sequence[Output]:
    outputs: dict[tuple[str, str], Output] = {}
    for _ in range(chance.choice((1, 1, 2, 4))):
        kind = chance.choice(KINDS)
        name = chance.choice(_RESOLUTIONS) if kind == "static_rendition" else "en"
        is_skipped = kind == "static_rendition" and chance.random() < 0.2
        is_later, goes = chance.random() < 0.4, chance.random() < 0.15
        # a master goes by itself, and no history lasts until it does
        goes = goes or kind == "master"
        after = chance.uniform(0.5, longest)
        outputs[kind, name] = Output(
            video=video,
            kind=kind,
            name=name,
            asked_after=chance.uniform(0.0, longest) if is_later else None,
            is_told=chance.random() < 0.5,
            ends="skipped" if is_skipped else chance.choice(_ENDS),
            after=after,
            deleted_after=after + chance.uniform(0.5, longest) if goes else None,
        )
    return [*outputs.values()]


def draw_recordings(chance: Random, videos: int, longest: float) -> Mapping[int, float]:
    """For how many seconds the live streams go on that some of so many videos record."""
    live = [video for video in range(videos) if chance.random() < 0.15]
    return {video: chance.uniform(1.0, longest) for video in live}


def make(emulator: MuxAccount, asset_id: str, output: Output) -> None:
    """Ask the provider for an output now."""
    if output.kind == "static_rendition":
        emulator.create_static_rendition(asset_id, output.name, life=output.life)
    elif output.kind == "master":
        emulator.set_master_access(asset_id, "temporary", life=output.life)
    else:
        emulator.create_track(
            asset_id, type=output.kind, language_code=output.name, life=output.life
        )
