"""One HTTP connection, and what all clients of one listener may take up."""

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Any, Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_PIPELINED: Final = 10
"""How many requests may wait on a connection until those before them are answered."""

LARGEST_HEAD: Final = 64 * 1024
"""The most bytes that may come before the head of a request is complete."""

_log: Final = logging.getLogger("rindle_sync.requests")
_log.setLevel(logging.ERROR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What all clients of one listener may take up; no listener takes from another.

    Both listeners together stay below the 1024 open files that a process usually may have.
    """

    requests: int = 500
    """How many are served at once; 503 for more."""
    connections: int = 600
    """How many are open at once; for a further one, the one that has idled longest is closed."""
    head_within: int = 10
    """Seconds in which a connection must send the whole head of its first or next request."""
    taken_within: int = 30
    """Seconds in which a client must take an answer."""


@dataclass(slots=True)
class Clients:
    """The connections of one listener that wait for a request, the longest first."""

    limits: Limits
    idle: "dict[Connection, None]" = field(default_factory=dict)


class _TooManyWait(Exception):
    pass


class _HeadWithBody:
    """The transport of one answer, whose head leaves with the first part of its body.

    uvicorn writes them one by one: two system calls, and two packets for the client to wake up for.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head: bytes | None = None
        self._has_begun = False

    def write(self, data: bytes) -> None:
        """Write `data`, or keep the head until the app goes on or comes to wait."""
        if self._has_begun:
            head, self._head = self._head, None
            self._transport.writelines([head, data] if head else [data])
            return
        self._has_begun, self._head = True, data
        self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        head, self._head = self._head, None
        if head is not None:
            self._transport.write(head)

    def is_closing(self) -> bool:
        """Whether nothing more can be written."""
        return self._transport.is_closing()

    def close(self) -> None:
        """Close the connection once all is written."""
        self._flush()
        self._transport.close()


class Connection(HttpToolsProtocol):
    """Closes a connection that sends a head, or takes an answer, too slowly, or sends too much.

    uvicorn itself closes only silent connections, waits without end for what is sent to be taken,
    and reads heads of any size, and requests of any number before the first is answered.
    """

    def __init__(self, clients: Clients, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # uvicorn warns of each request that is malformed: anybody could fill the log
        self.logger = _log
        self._clients = clients
        self._limits = clients.limits
        self._head_timer: asyncio.TimerHandle | None = None
        self._answer_timer: asyncio.TimerHandle | None = None
        self._head_size = 0
        self._is_in_head = False
        self._has_too_many = False
        self._reads_no_more = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request, and make room among the connections."""
        super().connection_made(transport)
        self._wait_for_head()
        if len(self.connections) > self._limits.connections:
            longest_idle = next(iter(self._clients.idle))
            longest_idle.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all waiting."""
        self._stop_waiting_for_head()
        self._stop_waiting_for_client()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, unless the connection is to end."""
        if self._reads_no_more:
            return
        self._head_size += len(data)
        super().data_received(data)
        if self._is_in_head and self._head_size > LARGEST_HEAD:
            self.send_400_response("Too large a request head.")

    def on_message_begin(self) -> None:
        """A head begins."""
        self._is_in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """A head is complete: answer it, or have it wait for its turn."""
        if len(self.pipeline) >= MOST_PIPELINED:
            self._has_too_many = True
            raise _TooManyWait
        self._is_in_head, self._head_size = False, 0
        super().on_headers_complete()
        if self.scope["method"] != "HEAD":
            self.cycle.transport = cast(asyncio.Transport, _HeadWithBody(self.transport, self.loop))
        self._stop_waiting_for_head()
        if self._all_is_taken():
            self._stop_waiting_for_client()

    def on_response_complete(self) -> None:
        """Wait until the answer is taken, and for the next head."""
        super().on_response_complete()
        if not self._all_is_taken():
            self._wait_for_client()
        # else the next request was here before this answer
        if self.cycle.response_complete:
            self._wait_for_head()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, unless an answer has begun; either way the connection ends."""
        self._reads_no_more = True
        cycle: Any = self.cycle  # none before the first request
        if cycle is not None and not cycle.response_complete:
            if self._has_too_many:
                cycle.keep_alive = False  # the last one that is answered
                return
            # an app that answers before it has read the rest would fail with a traceback
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started or self.pipeline:
                self.transport.close()
                return
        super().send_400_response(msg)

    def pause_writing(self) -> None:
        """Wait until the client takes more of an answer."""
        super().pause_writing()
        self._wait_for_client()

    def abort(self) -> None:
        """Close the connection, whatever has not been sent yet."""
        self._stop_waiting_for_head()
        self.transport.abort()

    def _all_is_taken(self) -> bool:
        return self.transport.get_write_buffer_size() == 0

    def _wait_for_head(self) -> None:
        self._stop_waiting_for_head()
        self._clients.idle[self] = None
        self._head_timer = self.loop.call_later(self._limits.head_within, self._no_head)

    def _stop_waiting_for_head(self) -> None:
        self._clients.idle.pop(self, None)
        if self._head_timer:
            self._head_timer.cancel()
            self._head_timer = None

    def _no_head(self) -> None:
        # an answer that is still being taken has a time limit of its own
        if self._all_is_taken():
            self.abort()
        else:
            self._wait_for_head()

    def _wait_for_client(self) -> None:
        if self._answer_timer is None:
            self._answer_timer = self.loop.call_later(self._limits.taken_within, self._not_taken)

    def _stop_waiting_for_client(self) -> None:
        if self._answer_timer:
            self._answer_timer.cancel()
            self._answer_timer = None

    def _not_taken(self) -> None:
        self._answer_timer = None
        if not self._all_is_taken():
            self.abort()
