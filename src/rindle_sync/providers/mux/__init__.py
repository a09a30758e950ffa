"""Mux: its URLs, words, error bodies and encodings. Nothing else of ours knows any of them."""

from rindle_sync.providers.mux.playback import Modifiers, PlaybackKind, SignedUrl, Signer, signed_url
from rindle_sync.providers.mux.probe import knock
from rindle_sync.providers.mux.rest import Credentials, Mux, Transport
from rindle_sync.providers.mux.shapes import parse_time, without_urls
from rindle_sync.providers.mux.webhooks import sign

__all__ = [
    "Credentials",
    "Modifiers",
    "Mux",
    "PlaybackKind",
    "SignedUrl",
    "Signer",
    "Transport",
    "knock",
    "parse_time",
    "sign",
    "signed_url",
    "without_urls",
]
