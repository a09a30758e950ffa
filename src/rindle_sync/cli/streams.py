"""The standard streams of a command: any text can be written, and a failure has a name."""

import io
import os
import sys
from typing import Any, TextIO, cast


class OutputFailed(Exception):
    """Standard output cannot be written: its reader has gone, or its disk is full."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error.strerror)
        self.has_reader = not isinstance(error, BrokenPipeError)


class _Stream:
    """A standard stream whose failures are told apart from those of files and sockets."""

    def __init__(self, stream: io.TextIOWrapper, *, is_needed: bool) -> None:
        # what an encoding lacks is written as a backslash and its number
        stream.reconfigure(errors="backslashreplace")
        self._stream = stream
        self._is_needed = is_needed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write `text`; raises `OutputFailed`."""
        try:
            return self._stream.write(text)
        except OSError as error:
            self._fail(error)
            return len(text)

    def flush(self) -> None:
        """Write what is still buffered; raises `OutputFailed`."""
        try:
            self._stream.flush()
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        # what is still buffered would fail again as the interpreter ends
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)
        if self._is_needed:
            raise OutputFailed(error) from None


def prepare() -> None:
    """Make the standard streams of this process such; a failure of the error stream is ignored."""
    sys.stdout = _prepared(sys.stdout, is_needed=True)
    sys.stderr = _prepared(sys.stderr, is_needed=False)


def _prepared(stream: TextIO | None, *, is_needed: bool) -> TextIO:
    if stream is None:  # closed by who started the process
        return io.StringIO()
    if isinstance(stream, io.TextIOWrapper):
        return cast(TextIO, _Stream(stream, is_needed=is_needed))
    return stream
