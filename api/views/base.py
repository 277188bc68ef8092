"""What all requests and answers share: strictness, pages, problems, and the small words."""

from __future__ import annotations

from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Scope = Literal["read", "plan", "deploy", "agent"]
SCOPES: tuple[Scope, ...] = ("read", "plan", "deploy", "agent")

# No control characters: they say nothing, and PostgreSQL cannot store NUL.
_PLAIN = r"^[^\x00-\x1f\x7f]*$"
Id = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=_PLAIN)]
Label = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=_PLAIN)]
Generation = Annotated[int, Field(ge=0, lt=2**53)]


class Request(BaseModel):
    """The root of what clients send."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class Answer(BaseModel):
    """The root of what the service sends."""

    model_config = ConfigDict(extra="ignore", frozen=True)


Item = TypeVar("Item")


class Page(Answer, Generic[Item]):
    """Part of a list, newest first; `next` is the cursor of the rest, null at the end."""

    items: list[Item]
    next: str | None


class ComplaintView(Answer):
    """One thing wrong with the input: where it stands, what is wrong, what would be right."""

    place: str
    problem: str
    cure: str


class Problem(Answer):
    """Why a request was refused (RFC 9457). `code` is stable; `detail` is for people."""

    model_config = ConfigDict(extra="allow", frozen=True)

    type: str
    title: str
    status: int
    code: str
    detail: str
    errors: list[ComplaintView] = []


class GpuView(Request):
    """One GPU of a node; `type` is the profile's `gpu`."""

    id: Label
    type: Label
    memory_mb: Annotated[float, Field(gt=0, le=1e9)]
