"""Which captions, or which file to download, of a row is meant."""

from collections.abc import Sequence
from typing import TypeVar

from rindle_sync.domain import OutputStatus, ProviderAsset, Rendition, Track, TrackKind
from rindle_sync.errors import ConfigurationError, NotPlayable

Output = TypeVar("Output", Track, Rendition)


def captions_of(row: ProviderAsset, of: str | Track | Rendition | None) -> Track:
    """The ready captions in the language `of`, or the track itself.

    `en` also means `en-US`, where nothing is in `en`. Raises `NotPlayable` where there are none,
    `ConfigurationError` where `of` names several.
    """
    captions = [track for track in row.tracks if track.kind is TrackKind.CAPTIONS]
    ready = [track for track in captions if track.status is OutputStatus.READY]
    if isinstance(of, Track):
        chosen = [track for track in ready if track.id == of.id]
    elif isinstance(of, str):
        asked = of.casefold()
        languages = [(track, (track.language or "").casefold()) for track in ready]
        chosen = [track for track, language in languages if language == asked]
        chosen = chosen or [t for t, language in languages if language.partition("-")[0] == asked]
    elif of is None:
        chosen = ready
    else:
        raise ConfigurationError("of", "must be a language or a track, for captions")
    if not chosen:
        raise NotPlayable(row.id, "no_captions", "has no such captions that are ready")
    return _only(chosen, "several captions are meant: pass one of the row's tracks")


def rendition_of(row: ProviderAsset, of: str | Track | Rendition | None) -> Rendition:
    """The ready rendition with the name or the resolution `of`, or the rendition itself.

    Raises `NotPlayable` where there is none, `ConfigurationError` where `of` names several.
    """
    ready = [file for file in row.renditions if file.status is OutputStatus.READY]
    if isinstance(of, Track):
        raise ConfigurationError("of", "must be a name, a resolution or a rendition")
    name = of.name if isinstance(of, Rendition) else of
    chosen = [file for file in ready if name in {file.name, None}]
    chosen = chosen or [file for file in ready if file.resolution == name]
    if not chosen:
        raise NotPlayable(row.id, "no_rendition", "has no such rendition that is ready")
    return _only(chosen, "several renditions are meant: name one, as in 1080p.mp4")


def _only(chosen: Sequence[Output], text: str) -> Output:
    if len(chosen) > 1:
        raise ConfigurationError("of", text)
    return chosen[0]
