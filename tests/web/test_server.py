"""What clients may take up of a listener, and what one listener leaves to another."""

import asyncio
import logging
import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

import httpx
import pytest
import uvicorn

from rindle_sync.web.connection import LARGEST_HEAD, MOST_PIPELINED, Limits
from rindle_sync.web.server import OPERATIONS, WEBHOOKS, listen
from rindle_sync.webhooks import Receive, Scope, Send
from tests.support.processes import PATIENCE, eventually
from tests.support.server import served

LARGE = b"x" * (16 * 1024 * 1024)
GET = b"GET /small HTTP/1.1\r\nhost: x\r\n\r\n"
GET_LARGE = b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n"
CHUNK = 64 * 1024


async def answering(scope: Scope, _receive: Receive, send: Send) -> None:
    """A large answer in one piece or in many, or a small one."""
    body = b"ok" if scope["path"] == "/small" else LARGE
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if scope["path"] == "/parts":
        for start in range(0, len(body), CHUNK):
            part = body[start : start + CHUNK]
            await send({"type": "http.response.body", "body": part, "more_body": True})
        body = b""
    await send({"type": "http.response.body", "body": body})


def asking(port: int, sent: bytes) -> socket.socket:
    """A client that asks, and reads nothing."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", port))
    client.sendall(sent)
    return client


async def is_answered(port: int) -> None:
    """A place is free."""
    async with httpx.AsyncClient(timeout=PATIENCE) as client:
        answer = await client.get(f"http://127.0.0.1:{port}/small")
    assert (answer.status_code, answer.text) == (200, "ok")


@pytest.mark.parametrize(
    "sent",
    [GET_LARGE + GET, GET_LARGE.replace(b"/large", b"/parts"), GET_LARGE * 3],
    ids=["and one more", "in parts", "three"],
)
async def test_an_answer_that_nobody_reads_gives_its_place_back(sent: bytes) -> None:
    async with served(answering, limits=Limits(requests=1, taken_within=1)) as port:
        with asking(port, sent):
            await eventually(lambda: is_answered(port))


@pytest.mark.parametrize(
    "sent",
    [GET_LARGE, GET_LARGE.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")],
    ids=["kept open", "to be closed"],
)
async def test_a_connection_ends_whose_answer_is_not_taken(sent: bytes) -> None:
    async with served(answering, limits=Limits(head_within=1, taken_within=2)) as port:
        with asking(port, sent) as client:
            client.setblocking(False)  # noqa: FBT003
            await asyncio.sleep(3)
            taken = await _all_of(client)

    assert 0 < len(taken) < len(LARGE)


async def _all_of(client: socket.socket) -> bytes:
    loop, taken = asyncio.get_running_loop(), bytearray()
    with suppress(ConnectionError):
        while part := await asyncio.wait_for(loop.sock_recv(client, CHUNK), PATIENCE):
            taken += part
    return bytes(taken)


async def test_an_answer_that_is_taken_slowly_is_whole() -> None:
    async with served(answering, limits=Limits(head_within=1, taken_within=30)) as port:
        answers, asks = await asyncio.open_connection("127.0.0.1", port, limit=CHUNK)
        asks.write(GET_LARGE)
        await asyncio.sleep(2.5)
        await answers.readuntil(b"\r\n\r\n")
        body = await answers.readexactly(len(LARGE))
        asks.close()

    assert body == LARGE


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    ],
)
async def test_strangers_write_no_warning_with_what_is_no_request(
    sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(answering) as port:
        with asking(port, sent) as client:
            client.settimeout(5)
            await asyncio.to_thread(client.recv, 100)

    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("path", [b"/small", b"/large", b"/parts"])
@pytest.mark.parametrize("pause", [0, 0.2])
async def test_a_body_that_is_no_http_behind_its_answer_writes_no_line(
    path: bytes, pause: float, caplog: pytest.LogCaptureFixture
) -> None:
    """The app answers a request whose body it need not read, while that turns out to be none."""
    sent = b"POST " + path + b" HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    failed: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failed.append(context))
    async with served(answering) as port:
        with asking(port, sent if pause else sent + b"zz\r\n") as client:
            client.settimeout(PATIENCE)
            await asyncio.sleep(pause)
            with suppress(ConnectionError):
                if pause:
                    client.sendall(b"zz\r\n")
                await asyncio.to_thread(_read_to_the_end, client)
        await is_answered(port)

    assert ([record.getMessage() for record in caplog.records], failed) == ([], [])


def _read_to_the_end(client: socket.socket) -> None:
    while client.recv(CHUNK):
        pass


async def test_requests_that_come_before_their_answers_are_bounded() -> None:
    async with served(answering) as port:
        answers, asks = await asyncio.open_connection("127.0.0.1", port)
        asks.write(GET * 1000)
        answered = 0
        with suppress(ConnectionError):
            answered = (await asyncio.wait_for(answers.read(), PATIENCE)).count(b"200 OK")
        asks.close()

    assert 0 < answered <= MOST_PIPELINED + 1


async def test_a_head_without_end_is_refused_while_it_comes() -> None:
    async with served(answering, limits=Limits(head_within=60)) as port:
        answers, asks = await asyncio.open_connection("127.0.0.1", port)
        asks.write(b"GET /small HTTP/1.1\r\nhost: x\r\nendless: ")
        with suppress(ConnectionError):
            for _ in range(2 * LARGEST_HEAD // 1024):
                asks.write(b"x" * 1024)
                await asks.drain()
        answer = await asyncio.wait_for(answers.readuntil(b"\r\n"), PATIENCE)
        asks.close()

    assert answer.startswith(b"HTTP/1.1 400")


async def test_a_connection_may_ask_again_and_again_after_each_answer() -> None:
    async with served(answering) as port:
        answers, asks = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(3 * MOST_PIPELINED):
            asks.write(GET)
            assert (await answers.readuntil(b"ok")).startswith(b"HTTP/1.1 200 OK")
        asks.close()


async def test_the_connection_that_has_idled_longest_makes_room_for_the_next() -> None:
    async with served(answering, limits=Limits(connections=5, head_within=60)) as port:
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
        await is_answered(port)

        async def most_are_closed() -> None:
            assert [answers.at_eof() for answers, _ in idle].count(False) <= 5

        await eventually(most_are_closed)
        # the one that came last is still there
        answers, asks = idle[-1]
        asks.write(GET)
        assert (await answers.readuntil(b"ok")).startswith(b"HTTP/1.1 200 OK")
        for _, asks in idle:
            asks.close()


async def test_a_listener_that_is_full_leaves_another_its_places() -> None:
    few = Limits(requests=2, connections=4, taken_within=60)
    async with served(answering, limits=few) as full, served(answering, limits=few) as other:
        with ExitStack() as stack:
            for _ in range(10):
                stack.enter_context(asking(full, GET_LARGE + GET))
            await is_answered(other)


def test_all_listeners_together_leave_files_to_the_databases_and_the_provider() -> None:
    assert WEBHOOKS.connections + OPERATIONS.connections <= 1024 - 200


# one that ends


def failing_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's loop fails the first time that it is run."""
    main_loop: Callable[..., Any] = uvicorn.Server.main_loop
    runs = 0

    async def fails_first(self: uvicorn.Server) -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise ZeroDivisionError("with a secret in its text")
        await main_loop(self)

    monkeypatch.setattr(uvicorn.Server, "main_loop", fails_first)


async def test_a_server_that_ends_by_itself_is_logged_and_started_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failing_once(monkeypatch)
    with caplog.at_level(logging.ERROR):
        async with served(answering) as first, served(answering) as second:
            await is_answered(second)
            await is_answered(first)

    (line,) = [record.getMessage() for record in caplog.records]
    assert line.endswith("ended in an unexpected ZeroDivisionError; it is started again")
    assert f"127.0.0.1:{first}" in line


async def streaming(scope: Scope, receive: Receive, send: Send) -> None:
    """A head; its body follows once the client goes on."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await receive()
    await send({"type": "http.response.body", "body": b"the body"})


async def test_the_head_of_an_answer_does_not_wait_for_a_body_that_is_yet_to_come() -> None:
    sent = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\n"
    async with served(streaming) as port, asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"x")
        body = await reader.readuntil(b"0\r\n\r\n")
        writer.close()

    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert body == b"8\r\nthe body\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"HEAD /small HTTP/1.1\r\nhost: x\r\n\r\n", b"HTTP/1.1 200 OK\r\n"),
        (b"GET /small HTTP/1.0\r\n\r\n", b"HTTP/1.1 200 OK\r\n"),
        (GET + GET, b"HTTP/1.1 200 OK\r\n"),
    ],
    ids=["no body", "to be closed", "two at once"],
)
async def test_an_answer_is_whole_however_it_was_asked_for(sent: bytes, answer: bytes) -> None:
    async with served(answering) as port, asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        writer.write_eof()
        whole = await reader.read()
        writer.close()

    answers = whole.split(answer)[1:]
    ends = {part.endswith(b"\r\n\r\n" if sent.startswith(b"HEAD") else b"ok") for part in answers}
    assert (len(answers), ends) == (sent.count(b"\r\n\r\n"), {True})


async def test_answers_leave_at_once() -> None:
    """A kept-alive connection would else wait 40 ms for the client's delayed acknowledgement."""
    options: list[int] = []

    def connected(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted = writer.get_extra_info("socket")
        options.append(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    listening = listen("127.0.0.1", 0)
    host, port = listening.getsockname()
    async with await asyncio.start_server(connected, sock=listening):
        reader, writer = await asyncio.open_connection(host, port)
        await reader.read()
        writer.close()

    assert options == [1]
