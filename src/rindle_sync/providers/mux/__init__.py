"""Mux: its URLs, words, error bodies and encodings. Nothing else of ours knows any of them."""

from rindle_sync.providers.mux.client import Credentials, Mux
from rindle_sync.providers.mux.fields import parse_time
from rindle_sync.providers.mux.media import asset_media
from rindle_sync.providers.mux.playback import MuxPlayback
from rindle_sync.providers.mux.responses import without_file_urls
from rindle_sync.providers.mux.signing import Audience, Signer
from rindle_sync.providers.mux.webhooks import sign

__all__ = [
    "Audience",
    "Credentials",
    "Mux",
    "MuxPlayback",
    "Signer",
    "asset_media",
    "parse_time",
    "sign",
    "without_file_urls",
]
