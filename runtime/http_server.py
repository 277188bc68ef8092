"""A small HTTP/1.1 server for the gateway's hot path (and the agent's few pages): httptools on asyncio.

Why not ASGI: a tensor of 600 KB would be cut into chunks, each copied and awaited, and then joined. Here
the body is received by the kernel straight into one buffer that the handler provides, and the handler
answers by a call, without a task for each request.

Keep-alive, pipelining (answered in order), `Expect: 100-continue`, chunked bodies and size limits are
handled; TLS and HTTP/2 are a reverse proxy's business.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, cast

import httptools

from runtime.eager import EagerWriter
from runtime.transport import Bytes
from runtime.transport_arena import Tensor

Handler = Callable[["Exchange"], Awaitable[None] | None]

# Where the bodies of requests are received, from their headers and their length.
Allocate = Callable[[dict[bytes, bytes], int], Tensor]

# What comes with the head is copied out of the scratch; of a large body, that shall be little.
_SCRATCH_BYTES = 1 << 14
_MAX_HEAD_BYTES = 1 << 16
_LINGER_S = 2.0
# For what is on its way on a connection that is closed while nothing is asked.
_IDLE_LINGER_S = 0.2
_STOPPING = "this server is stopping"
_JSON = ((b"content-type", b"application/json"),)
_STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}


class Exchange:
    """One request, and the means of answering it, once."""

    __slots__ = (
        "_protocol",
        "answered",
        "body",
        "copied",
        "early",
        "headers",
        "keep_alive",
        "method",
        "path",
        "query",
    )

    def __init__(self, protocol: HttpProtocol, method: str, url: bytes, headers: dict[bytes, bytes]) -> None:
        self._protocol = protocol
        self.method = method
        path, _, query = url.partition(b"?")
        self.path = path.decode("latin-1")
        self.query = query.decode("latin-1")
        self.headers = headers
        self.body = Tensor(memoryview(b""))
        self.copied = 0
        self.keep_alive = True
        self.answered = False
        # It was here in full before the server was told to stop, and waits for those before it.
        self.early = False

    def respond(self, status: int, headers: tuple[tuple[bytes, bytes], ...], *body: Bytes) -> None:
        """Answer; the body's buffers must not change until they are sent."""
        if self.answered:
            return
        self.answered = True
        self._protocol.write_response(self, status, headers, body)

    def respond_json(self, status: int, content: Any, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        """Answer with JSON."""
        self.respond(status, (*_JSON, *headers), json.dumps(content).encode())

    @property
    def text(self) -> bytes:
        """The body, for those to whom it is small."""
        return bytes(self.body.data)

    @property
    def gone(self) -> bool:
        """Whether the client has hung up."""
        return self._protocol.gone


class HttpProtocol(asyncio.BufferedProtocol):
    """One connection: reads requests one after the other, and answers them in order."""

    def __init__(
        self,
        handler: Handler,
        connections: set[HttpProtocol],
        max_body_bytes: int,
        allocate: Allocate,
    ) -> None:
        self._handler = handler
        self._allocate = allocate
        self._connections = connections
        self._max_body_bytes = max_body_bytes
        self._transport: asyncio.Transport | None = None
        self._writer: EagerWriter | None = None
        self._scratch = memoryview(bytearray(_SCRATCH_BYTES))
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._head_bytes = 0
        self._exchange: Exchange | None = None
        self._body: Tensor | None = None  # a body of known length, filled by the kernel
        self._body_filled = 0
        self._chunks: list[bytes] = []
        self._chunked_bytes = 0
        self._waiting: list[Exchange] = []
        self._current: Exchange | None = None
        self._closing = False
        self._stopping = False
        self._discarding = False
        self.gone = False

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._writer = EagerWriter(self._transport)
        self._connections.add(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        self.gone = True
        self._connections.discard(self)
        self._waiting.clear()
        # The parser and this object refer to each other, so memory that came for a body would be kept until
        # the collector looks.
        self._body = self._exchange = self._current = None
        self._chunks = []
        if self._writer is not None:
            self._writer.close()

    def get_buffer(self, _sizehint: int) -> memoryview:
        if self._body is not None:
            return self._body.data[self._body_filled :]
        return self._scratch

    def buffer_updated(self, nbytes: int) -> None:
        if self._body is not None:
            self._body_filled += nbytes
            if self._body_filled == len(self._body.data):
                # The parser has not seen this body: the next request gets a new one.
                self._parser = httptools.HttpRequestParser(self)
                self.on_message_complete()
            return
        if self._discarding:
            return
        self._feed(self._scratch[:nbytes])

    def _feed(self, data: memoryview) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # An offer to change protocols, which a server may ignore; the parser then expects no more HTTP.
            self._parser = httptools.HttpRequestParser(self)
            self._feed(data[upgrade.args[0] :])
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            if not isinstance(cause, _RefusedError):
                raise
            self._refuse(cause.status, str(cause))
        except httptools.HttpParserError as error:
            self._refuse(400, f"not HTTP/1.1: {error}")

    def eof_received(self) -> bool:
        return False

    # httptools' side

    def on_url(self, url: bytes) -> None:
        self._count_head(len(url))
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_head(len(name) + len(value))
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        exchange = Exchange(self, self._parser.get_method().decode(), self._url, self._headers)
        exchange.keep_alive = self._parser.should_keep_alive()
        self._exchange, self._url, self._headers, self._head_bytes = exchange, b"", {}, 0
        length = exchange.headers.get(b"content-length")
        if length is not None:
            size = int(length)
            if size > self._max_body_bytes:
                raise _RefusedError(413, f"a body of {size} bytes; at most {self._max_body_bytes} are taken")
            if size:
                self._body = self._allocate(exchange.headers, size)
                self._body_filled = 0
        if exchange.headers.get(b"expect", b"").lower() == b"100-continue" and self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        if self._body is not None:
            self._body.data[self._body_filled : self._body_filled + len(body)] = body
            self._body_filled += len(body)
            if self._exchange is not None:
                self._exchange.copied += 2 * len(body)  # by the parser, and here
            return
        self._chunked_bytes += len(body)
        if self._chunked_bytes > self._max_body_bytes:
            raise _RefusedError(413, f"more than {self._max_body_bytes} bytes")
        self._chunks.append(body)

    def on_message_complete(self) -> None:
        exchange = self._exchange
        assert exchange is not None
        if self._body is not None:
            exchange.body = self._body
            self._body = None
        elif self._chunks:
            exchange.body = Tensor(memoryview(b"".join(self._chunks)))
            exchange.copied = 2 * self._chunked_bytes
        self._exchange, self._chunks, self._chunked_bytes = None, [], 0
        if self._closing:
            return
        if self._current is not None:
            self._waiting.append(exchange)
            if len(self._waiting) == 1 and self._transport is not None:
                self._transport.pause_reading()
            return
        self._start(exchange)

    # the handler's side

    def write_response(
        self,
        exchange: Exchange,
        status: int,
        headers: tuple[tuple[bytes, bytes], ...],
        body: tuple[Bytes, ...],
    ) -> None:
        """Write one answer, then turn to the next request, if one waits."""
        if self.gone or self._transport is None or self._writer is None:
            return
        length = 0
        for part in body:
            length += part.nbytes if isinstance(part, memoryview) else len(part)
        head = [_STATUS_LINES[status]]
        if status not in (204, 304):
            head.append(b"content-length: %d\r\n" % length)
        head += [b"%b: %b\r\n" % header for header in headers]
        # Whoever is answered last before the end is told so, and sends nothing more on this connection.
        closing = self._closing or not exchange.keep_alive or (self._stopping and not self._waiting)
        head.append(b"connection: close\r\n\r\n" if closing else b"\r\n")
        if exchange.method == "HEAD" or not length:
            self._writer.write([b"".join(head)])
        else:
            self._writer.write([*head, *body])
        self._current = None
        if self._discarding:
            # Closing with unread input resets the connection, and the answer may be lost on the way: so say
            # that there is no more, and let the client close.
            self._transport.write_eof()
            asyncio.get_running_loop().call_later(_LINGER_S, self._transport.close)
        elif closing:
            self._closing = True
            self._transport.close()
        elif self._waiting:
            following = self._waiting.pop(0)
            if not self._waiting:
                self._transport.resume_reading()
            self._start(following)

    def stop(self) -> None:
        """Answer what is here, and say with the last answer that this connection ends."""
        self._stopping = True
        for exchange in self._waiting:
            exchange.early = True

    @property
    def busy(self) -> bool:
        """Whether something is being answered."""
        return self._current is not None

    def finish(self) -> None:
        """Close once nothing is being answered."""
        self.stop()
        if self._current is not None or self._transport is None or self._closing:
            return
        if self._exchange is not None:
            self._refuse(503, _STOPPING)
            return
        # A request may be on its way: closing with unread input would reset the connection under it.
        self._closing = self._discarding = True
        self._transport.write_eof()
        asyncio.get_running_loop().call_later(_IDLE_LINGER_S, self._transport.close)

    def abandon(self) -> None:
        """There is no more time: say so to whoever waits."""
        self._closing = True
        if self._current is not None:
            self._current.respond_json(503, {"error": _STOPPING})
        elif self._transport is not None:
            self._transport.close()

    def _start(self, exchange: Exchange) -> None:
        self._current = exchange
        try:
            outcome = self._handler(exchange)
        except Exception as error:
            _report(error)
            exchange.respond_json(500, {"error": f"{type(error).__name__}: {error}"})
            return
        if outcome is not None:
            task = asyncio.ensure_future(outcome)
            _RUNNING.add(task)
            task.add_done_callback(lambda done: self._finished(done, exchange))

    def _finished(self, task: asyncio.Future[None], exchange: Exchange) -> None:
        _RUNNING.discard(task)
        if task.cancelled():
            exchange.respond_json(503, {"error": _STOPPING})
        elif (error := task.exception()) is not None:
            _report(error)
            exchange.respond_json(500, {"error": f"{type(error).__name__}: {error}"})

    def _count_head(self, count: int) -> None:
        self._head_bytes += count
        if self._head_bytes > _MAX_HEAD_BYTES:
            raise _RefusedError(431, f"more than {_MAX_HEAD_BYTES} bytes of headers")

    def _refuse(self, status: int, problem: str) -> None:
        self._closing = self._discarding = True
        self._body = None
        exchange = Exchange(self, "POST", b"", {})
        exchange.keep_alive = False
        exchange.respond_json(status, {"error": problem})


class HttpServer:
    """Listens, and closes without cutting off an answer."""

    def __init__(
        self, handler: Handler, *, max_body_bytes: int = 1 << 26, allocate: Allocate | None = None
    ) -> None:
        self._handler = handler
        self._max_body_bytes = max_body_bytes
        self._allocate = allocate or (lambda _, size: Tensor(memoryview(bytearray(size))))
        self._connections: set[HttpProtocol] = set()
        self._server: asyncio.Server | None = None
        self._stopping = False
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Listen; port 0 takes any free one, which is then in `port`."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            self._protocol,
            host,
            port,
        )
        self.port = self._server.sockets[0].getsockname()[1]

    def stop_soon(self) -> None:
        """Go on listening and answering, but let every connection end with the answer to what is asked."""
        self._stopping = True
        for connection in self._connections:
            connection.stop()

    @property
    def busy(self) -> bool:
        """Whether something is being answered."""
        return any(connection.busy for connection in self._connections)

    async def stop(self, grace_s: float = 5.0) -> None:
        """Stop listening, let what is being answered be answered, then close; 503 to who waits after that."""
        if self._server is None:
            return
        self.stop_soon()
        self._server.close()
        for connection in list(self._connections):
            connection.finish()
        await self._until_closed(grace_s)
        for connection in list(self._connections):
            connection.abandon()
        await self._until_closed(_IDLE_LINGER_S)

    async def _until_closed(self, most_s: float) -> None:
        deadline = asyncio.get_running_loop().time() + most_s
        while self._connections and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.01)

    def _protocol(self) -> HttpProtocol:
        connection = HttpProtocol(self._handler, self._connections, self._max_body_bytes, self._allocate)
        if self._stopping:
            connection.stop()
        return connection


# asyncio keeps only weak references to tasks.
_RUNNING: set[asyncio.Future[None]] = set()


class _RefusedError(Exception):
    def __init__(self, status: int, problem: str) -> None:
        self.status = status
        super().__init__(problem)


def _report(error: BaseException) -> None:
    asyncio.get_running_loop().call_exception_handler({"message": "a request failed", "exception": error})
