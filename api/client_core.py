"""What the asynchronous and the synchronous client share: errors, retries, and the event stream's text.

ClientError
├── ProblemError           the service refused; `problem` says why (RFC 9457, with a stable `code`)
└── UnreachableError       the service did not answer, also not when asked again
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx
from pydantic import ValidationError

from api.views import Problem, RunEvent
from planner.problem import Progress

# A service that restarts is away for seconds; each further try waits twice as long.
RETRIES = 5
FIRST_PAUSE_S = 0.2
# 502 and 504 are a proxy's words for a service that restarts.
RETRIED_STATUSES = frozenset({429, 502, 503, 504})


class ClientError(Exception):
    """The root of what a client raises."""


class ProblemError(ClientError):
    """The service refused the request; `problem` says why."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        lines = [f"{problem.title}: {problem.detail}"]
        for item in problem.errors:
            cure = f" ({item.cure})" if item.cure else ""
            lines.append(f"  {item.place}: {item.problem}{cure}")
        super().__init__("\n".join(lines))


class UnreachableError(ClientError):
    """The service did not answer."""


def retry_pause_s(attempt: int, response: httpx.Response | None) -> float:
    """How long to wait before trying again: as the service says, or longer each time."""
    asked = response.headers.get("Retry-After", "") if response is not None else ""
    return float(asked) if asked.isdigit() else FIRST_PAUSE_S * 2**attempt


def headers_of(method: str) -> dict[str, str]:
    """A POST gets an Idempotency-Key, so that asking again does it once."""
    return {"Idempotency-Key": uuid.uuid4().hex} if method == "POST" else {}


def checked(response: httpx.Response) -> httpx.Response:
    """The response, or ProblemError."""
    if response.status_code < 400:
        return response
    try:
        problem = Problem.model_validate_json(response.content)
    except ValidationError:
        # Not from the service: a proxy in between, or another program on this port.
        problem = Problem(
            type="about:blank",
            title="The answer is not the service's",
            status=response.status_code,
            code="unknown",
            detail=f"{response.request.method} {response.request.url}: {response.text[:300]}",
        )
    raise ProblemError(problem)


@dataclass
class EventReader:
    """Lines of a text/event-stream to events; keeps the last id, after which the stream can be resumed."""

    last: int = 0
    _kind: str = ""
    _data: list[str] = field(default_factory=list)
    _seq: int = 0

    def read(self, line: str) -> Iterable[RunEvent]:
        """One line in, at most one event out."""
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "event":
                self._kind = value
            case "data":
                self._data.append(value)
            case "id":
                self._seq = int(value)
            case "" if not line and self._data:
                event = RunEvent(seq=self._seq, kind=self._kind, data=json.loads("\n".join(self._data)))
                self.last, self._kind, self._data = event.seq, "", []
                yield event


def progress_of(event: RunEvent) -> Progress | None:
    """A progress event in the planner's words; None for others."""
    if event.kind != "progress":
        return None
    data: dict[str, Any] = event.data
    return Progress(
        t_s=data["t"],
        phase=data["phase"],
        objective=data["objective"],
        lower_bound=data["bound"],
        gap=data["gap"],
    )
