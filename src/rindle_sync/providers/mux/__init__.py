"""Mux: its URLs, words, error bodies and encodings. Nothing else of ours knows any of them."""

from rindle_sync.providers.mux.rest import Credentials, Mux, Transport
from rindle_sync.providers.mux.shapes import parse_time, without_urls

__all__ = ["Credentials", "Mux", "Transport", "parse_time", "without_urls"]
