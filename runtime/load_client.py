"""A lean HTTP client for the gateway: it shares its processor cores with the workers it measures.

Keep-alive connections, opened ahead and added to when all are busy, so that no request waits for another.
Answers come by callback.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, urlsplit

import httptools

from runtime.errors import ServingError

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: its HTTP status (0: the connection failed), and when its last byte came.

    `at` is of the monotonic clock: an event loop's own may tick in whole milliseconds.
    """

    status: int
    headers: dict[bytes, bytes]
    body: bytes
    at: float

    def answer(self) -> tuple[dict[str, Any], np.ndarray[Any, Any]]:
        """The JSON and the tensor of an inference answer with binary output."""
        import numpy as np

        from runtime.inference_protocol import DATATYPES

        length = int(self.headers[b"inference-header-content-length"])
        head = json.loads(self.body[:length])
        output = head["outputs"][0]
        tensor = np.frombuffer(self.body, dtype=DATATYPES[output["datatype"]], offset=length)
        return head, tensor.reshape(output["shape"])

    def problem(self) -> str:
        """What an error says."""
        try:
            return str(json.loads(self.body)["error"])
        except (ValueError, KeyError, TypeError):
            return self.body[:200].decode(errors="replace")


class GatewayClient:
    """Sends inference requests to one gateway."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise ServingError(f"gateway {url!r}: expected http://host:port")
        self._host = parts.hostname
        self._port = parts.port or 80
        self._idle: list[_Connection] = []
        self._all: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.outstanding = 0

    async def open(self, count: int) -> None:
        """Connect `count` times ahead. Raises ServingError where nobody listens."""
        try:
            for _ in range(count):
                self._idle.append(await self._connect())
        except OSError as error:
            raise ServingError(
                f"gateway http://{self._host}:{self._port}: {error.strerror or error}"
            ) from None

    def request(self, name: str, tensor: np.ndarray[Any, Any], parameters: dict[str, Any]) -> list[bytes]:
        """An inference request, ready to be sent any number of times."""
        data = tensor.tobytes()
        datatype = {"float32": "FP32", "float16": "FP16", "int64": "INT64", "int32": "INT32"}[
            str(tensor.dtype)
        ]
        content = {
            "inputs": [
                {
                    "name": "input",
                    "datatype": datatype,
                    "shape": list(tensor.shape),
                    "parameters": {"binary_data_size": len(data)},
                }
            ],
            "parameters": {**parameters, "binary_data_output": True},
        }
        head = json.dumps(content).encode()
        lines = (
            f"POST /v2/models/{quote(name, safe='@')}/infer HTTP/1.1\r\nHost: {self._host}:{self._port}\r\n"
            f"Content-Length: {len(head) + len(data)}\r\nInference-Header-Content-Length: {len(head)}\r\n\r\n"
        )
        return [lines.encode() + head, data]

    def send(self, request: list[bytes], replied: Callable[[Reply], None]) -> None:
        """Send; `replied` is called once."""
        self.outstanding += 1
        while self._idle:
            connection = self._idle.pop()
            if not connection.lost:
                connection.send(request, replied)
                return
        task = asyncio.get_running_loop().create_task(self._send_on_new(request, replied))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Hang up."""
        for connection in list(self._all):
            connection.close()

    async def _send_on_new(self, request: list[bytes], replied: Callable[[Reply], None]) -> None:
        try:
            connection = await self._connect()
        except OSError as error:
            self.outstanding -= 1
            problem = json.dumps({"error": f"cannot connect: {error}"}).encode()
            replied(Reply(0, {}, problem, time.monotonic()))
            return
        connection.send(request, replied)

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            lambda: _Connection(self._finished), self._host, self._port
        )
        self._all.add(connection)
        return connection

    def _finished(self, connection: _Connection) -> None:
        self.outstanding -= 1
        if connection.lost:
            self._all.discard(connection)
        else:
            self._idle.append(connection)


class _Connection(asyncio.Protocol):
    """One connection, with at most one request on it."""

    def __init__(self, finished: Callable[[_Connection], None]) -> None:
        self._finished = finished
        self._transport: asyncio.Transport | None = None
        self._replied: Callable[[Reply], None] | None = None
        self._reset()
        self.lost = False

    def send(self, request: list[bytes], replied: Callable[[Reply], None]) -> None:
        assert self._transport is not None
        self._replied = replied
        self._transport.writelines(request)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if self._replied is not None:
            problem = json.dumps({"error": f"connection lost: {exc or 'closed by the gateway'}"}).encode()
            self._answer(Reply(0, {}, problem, time.monotonic()))

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        reply = Reply(
            self._parser.get_status_code(),
            self._headers,
            b"".join(self._body),
            time.monotonic(),
        )
        keep_alive = self._parser.should_keep_alive()
        self._reset()
        if not keep_alive:
            self.lost = True
            self.close()
        self._answer(reply)

    def _answer(self, reply: Reply) -> None:
        replied, self._replied = self._replied, None
        if replied is not None:
            self._finished(self)
            replied(reply)

    def _reset(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
