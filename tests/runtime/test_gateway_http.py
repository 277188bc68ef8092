"""The HTTP server under the gateway: what clients and networks do to it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import threading
import weakref
from collections.abc import Iterator

import pytest

from runtime.http_server import Exchange, HttpServer
from runtime.transport_arena import Tensor
from tests.runtime.cluster import wait_for

LIMIT = 1 << 20


class Running:
    """An echo server: answers with the body it was sent; at /slow a little later, at /broken it raises."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.held: list[weakref.ref[memoryview]] = []
        self.server = HttpServer(self.handle, max_body_bytes=LIMIT, allocate=self.allocate)
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        asyncio.run_coroutine_threadsafe(self.server.start("127.0.0.1", 0), self.loop).result()
        self.complaints: list[object] = []
        self.loop.set_exception_handler(lambda _, context: self.complaints.append(context.get("exception")))

    def allocate(self, _headers: dict[bytes, bytes], size: int) -> Tensor:
        data = memoryview(bytearray(size))
        self.held.append(weakref.ref(data))
        return Tensor(data)

    def handle(self, exchange: Exchange) -> object:
        if exchange.path == "/slow":
            return self.later(exchange)
        if exchange.path == "/broken":
            raise RuntimeError("oh dear")
        exchange.respond(200, ((b"x-method", exchange.method.encode()),), exchange.text)
        return None

    async def later(self, exchange: Exchange) -> None:
        await asyncio.sleep(0.1)
        exchange.respond(200, (), b"slow:", exchange.body.data)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.server.port), timeout=10)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self.server.stop(grace_s=1.0), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


@pytest.fixture
def server() -> Iterator[Running]:
    running = Running()
    yield running
    running.close()


def read_response(connection: socket.socket) -> tuple[int, bytes]:
    """One response, to the byte."""
    data = b""
    while b"\r\n\r\n" not in data:
        received = connection.recv(1)
        assert received, data
        data += received
    head = data.decode().lower()
    length = 0
    for line in head.split("\r\n"):
        if line.startswith("content-length:"):
            length = int(line.split(":")[1])
    body = b""
    while len(body) < length:
        body += connection.recv(length - len(body))
    return int(head.split()[1]), body


def post(path: bytes, body: bytes, *headers: bytes) -> bytes:
    lines = [b"POST %b HTTP/1.1" % path, b"Host: x", b"Content-Length: %d" % len(body), *headers, b"", b""]
    return b"\r\n".join(lines) + body


@pytest.mark.parametrize("size", [0, 1, 1000, 70_000, LIMIT])
def test_a_body_comes_back_as_it_was_sent_and_the_connection_is_kept(server: Running, size: int) -> None:
    body = bytes(number % 251 for number in range(size))
    with server.connect() as connection:
        for _ in range(3):
            connection.sendall(post(b"/", body))
            assert read_response(connection) == (200, body)


def test_a_body_that_comes_in_drops_is_put_together(server: Running) -> None:
    request = post(b"/", b"0123456789" * 20)
    with server.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for position in range(0, len(request), 7):
            connection.sendall(request[position : position + 7])
        assert read_response(connection) == (200, b"0123456789" * 20)


def test_a_client_that_hangs_up_in_the_middle_of_a_body_leaves_no_memory_behind(server: Running) -> None:
    gc.disable()  # which frees what refers to itself, some time
    try:
        with server.connect() as connection:
            connection.sendall(post(b"/", bytes(LIMIT))[: LIMIT // 2])
            wait_for(lambda: server.held, what="memory for the body")
        wait_for(lambda: server.held[0]() is None, what="freeing of it", timeout_s=10)
    finally:
        gc.enable()


def test_chunked_bodies_are_taken(server: Running) -> None:
    with server.connect() as connection:
        connection.sendall(
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
        )
        assert read_response(connection) == (200, b"hello world")
        connection.sendall(post(b"/", b"again"))
        assert read_response(connection) == (200, b"again")


def test_pipelined_requests_are_answered_in_order(server: Running) -> None:
    large = b"L" * 100_000
    with server.connect() as connection:
        connection.sendall(
            post(b"/slow", b"1")
            + post(b"/", b"2")
            + post(b"/slow", large)
            + post(b"/", b"4")
            + post(b"/", b"")
        )
        answers = [read_response(connection) for _ in range(5)]
    assert answers == [(200, b"slow:1"), (200, b"2"), (200, b"slow:" + large), (200, b"4"), (200, b"")]


def test_a_client_that_asks_before_sending_is_told_to_go_on(server: Running) -> None:
    with server.connect() as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert read_response(connection)[0] == 100
        connection.sendall(b"hello")
        assert read_response(connection) == (200, b"hello")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (post(b"/", b"", b"X: " + b"y" * 70_000), 431),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (LIMIT + 1), 413),
        (
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            + (b"80000\r\n" + b"z" * 0x80000 + b"\r\n") * 3,
            413,
        ),
        (b"nonsense\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n", 400),
    ],
    ids=["long head", "large body", "large chunks", "nonsense", "bad length"],
)
def test_what_cannot_be_taken_is_refused_and_the_connection_closed(
    server: Running, request_bytes: bytes, status: int
) -> None:
    with server.connect() as connection:
        with contextlib.suppress(OSError):  # it may hang up while we still send
            connection.sendall(request_bytes)
        assert read_response(connection)[0] == status
        assert connection.recv(1) == b""
    with server.connect() as connection:
        connection.sendall(post(b"/", b"next"))
        assert read_response(connection) == (200, b"next")


def test_an_offer_to_change_protocols_is_ignored(server: Running) -> None:
    with server.connect() as connection:
        upgrade = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
        connection.sendall(upgrade + post(b"/", b"next"))
        assert read_response(connection) == (200, b"")
        assert read_response(connection) == (200, b"next")


def test_a_client_that_wants_to_close_is_closed_and_head_gets_no_body(server: Running) -> None:
    with server.connect() as connection:
        connection.sendall(b"HEAD / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody")
        connection.sendall(post(b"/", b"last", b"Connection: close"))
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(1)
        assert b"content-length: 4" in head
        assert read_response(connection) == (200, b"last")
        assert connection.recv(1) == b""


def test_a_handler_that_raises_answers_500_and_is_reported(server: Running) -> None:
    with server.connect() as connection:
        connection.sendall(post(b"/broken", b""))
        status, body = read_response(connection)
        assert status == 500
        assert b"oh dear" in body
        connection.sendall(post(b"/", b"next"))
        assert read_response(connection) == (200, b"next")
    assert [str(complaint) for complaint in server.complaints] == ["oh dear"]


def test_stopping_lets_an_answer_out(server: Running) -> None:
    with server.connect() as connection:
        connection.sendall(post(b"/slow", b"x"))
        threading.Event().wait(0.03)
        stop = asyncio.run_coroutine_threadsafe(server.server.stop(grace_s=5.0), server.loop)
        assert read_response(connection) == (200, b"slow:x")
        assert connection.recv(1) == b""
        stop.result()
