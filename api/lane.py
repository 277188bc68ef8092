"""The agents' own way in: assignment and status, the two requests that thousands of agents repeat.

FastAPI's routing and dependencies cost several times what these two requests do. Here the plain form of
both, which is what agents send, is answered straight from the roster; whatever looks otherwise in any way
(another parameter, a body that is not exactly right) goes on to the endpoints of `api.endpoints.nodes`,
which say what is wrong with it. Both ways give the same answers; a test says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pydantic import ValidationError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import problems, views
from api.errors import ServiceError
from api.keys import Caller
from api.roster import Roster, report_of
from api.settings import Settings

_ASSIGNMENT, _STATUS = "/v1/nodes/{node_id}/assignment", "/v1/nodes/{node_id}/status"
_PATH = re.compile(r"/v1/nodes/([A-Za-z0-9_]{1,100})/(assignment|status)")
_WAIT = re.compile(rb"(?:wait=([0-9]{1,3}(?:\.[0-9]{1,6})?))?")
_MAX_ETAGS = 1000


@dataclass(frozen=True, kw_only=True)
class Route:
    """What the metrics call these requests: the same as their endpoints."""

    path: str


class AgentLane:
    """Answers agents, and passes everything else on. Stands behind the gate, which has checked the key."""

    def __init__(self, app: ASGIApp, *, roster: Roster, settings: Settings) -> None:
        self._app = app
        self._roster = roster
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = _PATH.fullmatch(scope["path"]) if scope["type"] == "http" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        node_id, what = found.groups()
        try:
            if what == "assignment" and scope["method"] == "GET":
                answered = await self._assignment(node_id, scope, send)
            elif what == "status" and scope["method"] == "PUT" and not scope["query_string"]:
                receive, answered = await self._status(node_id, scope, receive, send)
            else:
                answered = False
        except ServiceError as error:
            await problems.response(error)(scope, receive, send)
            return
        if not answered:
            await self._app(scope, receive, send)

    async def _assignment(self, node_id: str, scope: Scope, send: Send) -> bool:
        """Answer as `read_assignment` does, or say that this is for the endpoint."""
        wait = _WAIT.fullmatch(scope["query_string"])
        known = [value for name, value in scope["headers"] if name == b"if-none-match"]
        tags = b", ".join(known)
        if wait is None or len(tags) > _MAX_ETAGS:
            return False
        _agent(scope, _ASSIGNMENT)
        wait_s = min(float(wait[1] or 0), self._settings.long_poll_max_s)
        assignment, news = await self._roster.assignment(
            node_id, known=tags.decode("latin-1") if known else None, wait_s=wait_s
        )
        etag = (b"etag", assignment.etag.encode())
        if news:
            await _answer(send, 200, [etag, (b"content-type", b"application/json")], assignment.body)
        else:
            await _answer(send, 304, [etag])
        return True

    async def _status(self, node_id: str, scope: Scope, receive: Receive, send: Send) -> tuple[Receive, bool]:
        """Answer as `report_status` does, or give back the body, to be read again by the endpoint."""
        body = b""
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return _again(message, receive), False
            body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        whole = _again({"type": "http.request", "body": body, "more_body": False}, receive)
        try:
            status = views.ReportStatus.model_validate_json(body)
        except ValidationError:
            return whole, False
        _agent(scope, _STATUS)
        await self._roster.report(report_of(node_id, status))
        await _answer(send, 204, [])
        return whole, True


def _agent(scope: Scope, path: str) -> None:
    """Raises ForbiddenError unless an agent asks."""
    scope["route"] = Route(path=path)
    caller: Caller = scope["caller"]
    caller.require("agent")


def _again(message: Message, receive: Receive) -> Receive:
    """A channel that gives this message first."""
    waiting: list[Message] = [message]

    async def channel() -> Message:
        return waiting.pop() if waiting else await receive()

    return channel


async def _answer(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes = b"") -> None:
    if status == 200:
        headers = [*headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
