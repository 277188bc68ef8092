"""What every request passes first: the key (under /v1), the body's type, size and speed.

A pure ASGI layer, so that a request is refused before its body is read, and so that a long poll costs
next to nothing.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from email.message import Message as Headers
from functools import lru_cache

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import problems
from api.errors import (
    BadRequestError,
    BodyTimeoutError,
    MediaTypeError,
    ServiceError,
    TooLargeError,
    UnavailableError,
)
from api.keys import Authenticator, Caller
from api.limits import RateLimit
from api.metrics import Metrics
from api.settings import Settings

# Documents are taken here; every other body is small.
_DOCUMENT_PATHS = frozenset({"/v1/workloads", "/v1/profiles", "/v1/plans", "/submit"})
_SINGLE = frozenset(
    {b"authorization", b"content-type", b"content-length", b"content-encoding", b"idempotency-key", b"host"}
)
_AGENT_PATHS = ("/assignment", "/status")
# Reading a document takes some twenty times its size in memory, so only few large ones are read at a time.
LARGE_BYTES = 1_000_000
TURN_WAIT_S = 10.0
_OPEN_PATHS = frozenset({"/v1/livez", "/v1/readyz"})


class Gate:
    """Lets a request through, with its caller in `scope["caller"]`, or answers with a problem."""

    def __init__(
        self, app: ASGIApp, *, authenticator: Authenticator, settings: Settings, metrics: Metrics
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._authenticator = authenticator
        self._settings = settings
        self._turns = asyncio.Semaphore(settings.large_documents)
        self._rate = RateLimit(settings.rate_rps, burst=2 * settings.rate_rps)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, began_s = 0, time.monotonic()

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._pass(scope, receive, sending)
        except asyncio.CancelledError:
            # The service stops, and this one did not end in the time that open requests have.
            if status:
                raise
            await problems.response(UnavailableError("the service stops; try again"))(scope, receive, sending)
        finally:
            route = getattr(scope.get("route"), "path", "unknown")
            if scope["path"].startswith("/v1/") and route.startswith("/") and not route.startswith("/v1/"):
                route = f"/v1{route}"  # the router that has a route does not know where it is included
            seconds = time.monotonic() - began_s
            self._metrics.answered(method=scope["method"], route=route, status=status, seconds=seconds)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        try:
            headers = _headers(scope)
            _check_once(scope)
            if (path.startswith("/v1/") or path == "/metrics") and path not in _OPEN_PATHS:
                address = scope["client"][0] if scope.get("client") else "unknown"
                caller = await self._authenticator.caller(headers.get("authorization"), address=address)
                self._rate.take(_counted(caller, path))
                scope["caller"] = caller
            limit = self._check(scope, headers)
        except ServiceError as error:
            await problems.response(error)(scope, receive, send)
            return
        if limit > LARGE_BYTES and _may_be_large(scope, headers):
            try:
                async with asyncio.timeout(TURN_WAIT_S):
                    await self._turns.acquire()
            except TimeoutError:
                busy = UnavailableError("other large documents are being read; try again")
                await problems.response(busy)(scope, receive, send)
                return
            try:
                await self._read(scope, receive, send, limit)
            finally:
                self._turns.release()
        else:
            await self._read(scope, receive, send, limit)

    async def _read(self, scope: Scope, receive: Receive, send: Send, limit: int) -> None:
        body = _Body(receive, limit=limit, timeout_s=self._settings.body_timeout_s)
        await self._app(scope, body.receive, send)

    def _check(self, scope: Scope, headers: dict[str, str]) -> int:
        """The most bytes this request's body may have. Raises for a body that need not be read at all."""
        large = scope["method"] == "POST" and scope["path"] in _DOCUMENT_PATHS
        limit = self._settings.max_document_bytes if large else self._settings.max_body_bytes
        length = headers.get("content-length", "0")
        if not re.fullmatch("[0-9]{1,18}", length):
            raise BadRequestError("Content-Length is not a number")
        if int(length) > limit:
            raise _too_large(limit)
        # Outside of /v1 there are only pages, which take forms and check them themselves.
        if scope["path"].startswith("/v1/") and (int(length) > 0 or "transfer-encoding" in headers):
            _check_type(headers.get("content-type"), headers.get("content-encoding", "identity"))
        return limit


class _Body:
    """The request's body, counted and timed as it comes in."""

    def __init__(self, receive: Receive, *, limit: int, timeout_s: float) -> None:
        self._receive = receive
        self._limit = limit
        self._ends_s = time.monotonic() + timeout_s
        self._size = 0
        self._whole = False

    async def receive(self) -> Message:
        if self._whole:
            return await self._receive()  # only a disconnect can come
        try:
            async with asyncio.timeout(self._ends_s - time.monotonic()):
                message = await self._receive()
        except TimeoutError:
            raise BodyTimeoutError("the request's body did not arrive in time") from None
        self._size += len(message.get("body", b""))
        if self._size > self._limit:
            raise _too_large(self._limit)
        self._whole = not message.get("more_body", False)
        return message


def _may_be_large(scope: Scope, headers: dict[str, str]) -> bool:
    """Whether this request brings a document that is large, or does not say its size."""
    if scope["method"] != "POST" or scope["path"] not in _DOCUMENT_PATHS:
        return False
    return "transfer-encoding" in headers or int(headers.get("content-length", "0")) > LARGE_BYTES


def _check_once(scope: Scope) -> None:
    """Two of a header that says one thing could be read either way, here and by a proxy before us."""
    for name, times in Counter(name for name, _ in scope["headers"] if name in _SINGLE).items():
        if times > 1:
            raise BadRequestError(f"the header {name.decode()} came {times} times; send it once")


def _counted(caller: Caller, path: str) -> str:
    """Whose rate a request counts for: the key's, but an agent's for its node, since a fleet shares a key."""
    if path.startswith("/v1/nodes/") and path.endswith(_AGENT_PATHS) and "agent" in caller.scopes:
        return f"{caller.key_id} {path.rpartition('/')[0]}"
    return caller.key_id


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


@lru_cache(maxsize=256)
def _check_type(content_type: str | None, encoding: str) -> None:
    header = Headers()
    header["content-type"] = content_type or ""
    subtype = header.get_content_subtype() if content_type else ""
    if not (subtype == "json" or subtype.endswith("+json")):
        raise MediaTypeError(
            f"the body is {content_type or 'of no type'}; send JSON with `Content-Type: application/json`"
        )
    charset = header.get_content_charset("utf-8")
    if charset not in ("utf-8", "utf8", "us-ascii"):
        raise MediaTypeError(f"the body is encoded in {charset}; send UTF-8")
    if encoding.lower() != "identity":
        raise MediaTypeError(f"the body is compressed with {encoding}; send it as it is")


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(f"the body has more than {limit} bytes", limit_bytes=limit)
