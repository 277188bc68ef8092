"""HTTP as it comes in: what is no request, or has too long or too slow a head, gets no further than here.

uvicorn bounds neither the size of a request's head nor the time that a client takes for it, and answers
what it cannot parse in plain text. Here both are bounded, and every refusal is a problem document.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from api import problems
from api.errors import BadRequestError, HeadTimeoutError, HeadTooLargeError, ServiceError

MAX_HEAD_BYTES = 32 * 1024
_TOO_LARGE = HeadTooLargeError(f"the request's head has more than {MAX_HEAD_BYTES} bytes")


class Wire(HttpToolsProtocol):
    """One connection."""

    head_timeout_s = 30.0

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._reading_head = True
        self._head_bytes = 0
        self._too_late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait_no_more()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        began = self._reading_head
        super().data_received(data)
        if self._reading_head and not self.transport.is_closing():
            # Where a head begins behind a body, in the middle of what came, is not known: it counts as 1.
            self._head_bytes += len(data) if began else 1
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(_TOO_LARGE)
            elif self._too_late is None:
                self._wait()

    def on_message_begin(self) -> None:
        self._reading_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._reading_head = False
        self._head_bytes = 0
        self._wait_no_more()
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > MAX_HEAD_BYTES:
            self._refuse(_TOO_LARGE)
            raise ValueError  # the parser then goes no further
        super().on_headers_complete()

    def send_400_response(self, _msg: str) -> None:
        self._refuse(BadRequestError("this is not an HTTP/1.1 request"))

    def _wait(self) -> None:
        """From the connection, or from the first byte of a head that did not come at once."""
        self._too_late = self.loop.call_later(self.head_timeout_s, self._give_up)

    def _wait_no_more(self) -> None:
        if self._too_late is not None:
            self._too_late.cancel()
            self._too_late = None

    def _give_up(self) -> None:
        if self._head_bytes:
            self._refuse(HeadTimeoutError("the request's head did not arrive in time"))
        else:
            self.transport.close()

    def _refuse(self, error: ServiceError) -> None:
        """Answer and close; only close where an earlier request is still being answered."""
        if self.transport.is_closing():
            return
        self._wait_no_more()
        if self.cycle is None or self.cycle.response_complete:
            body = json.dumps(problems.document(error)).encode()
            head = [
                STATUS_LINE[error.status],
                f"content-type: {problems.MEDIA_TYPE}\r\n".encode(),
                f"content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode(),
            ]
            self.transport.write(b"".join([*head, body]))
        self.transport.close()


def wire(head_timeout_s: float) -> type[Wire]:
    """Connections whose clients have so long to send a head."""
    return type("Wire", (Wire,), {"head_timeout_s": head_timeout_s})
