"""What must change for an assignment to run: which workers stay, which are missing. Pure.

The document is the service's assignment (`regraft.assignment/v1`, docs/protocol.md). Workers are told
apart by what they *are* (layers, batch, share, device), not by what a plan calls them: a new generation
takes over every worker it can use, under a new name, without a restart. A share cannot be changed in a
running process, so a new share is a new worker beside the old one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from runtime.errors import ServiceError

FORMAT = "regraft.assignment/v1"


class Signature(NamedTuple):
    """What a worker is: two with the same signature do the same."""

    model: str
    start: int
    end: int
    batch: int
    share: float
    gpu: str
    memory_mb: float | None
    exits: tuple[int, ...] = ()


class Post(NamedTuple):
    """What a worker stands for in a generation: an instance of a stage."""

    stage: str
    instance: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Changes:
    """`kept` workers (by key) get these posts; for the `missing` posts workers must be started."""

    kept: dict[str, Post]
    missing: dict[Post, Signature]


def reconcile(running: Mapping[str, Signature], wanted: Mapping[Post, Signature]) -> Changes:
    """Give running workers to the posts they fit; each worker at most one post."""
    free: dict[Signature, list[str]] = {}
    for key, signature in running.items():
        free.setdefault(signature, []).append(key)
    kept: dict[str, Post] = {}
    missing: dict[Post, Signature] = {}
    for post, signature in wanted.items():
        candidates = free.get(signature)
        if candidates:
            kept[candidates.pop(0)] = post
        else:
            missing[post] = signature
    return Changes(kept=kept, missing=missing)


class _Stage(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)

    id: str
    model: str
    start: int = Field(ge=0)
    end: int
    batch: int = Field(ge=1)
    share: float = Field(gt=0, le=100)
    gpu: str
    instances: int = Field(ge=1)


class _Route(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)

    fragment: str
    model: str
    start: int
    budget_ms: float
    rate_rps: float
    fraction: float
    stages: list[str] = Field(min_length=1)


class _Worker(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)

    stage: str
    instance: int
    gpu: str
    memory_mb: float | None = None


class _Assignment(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)

    format: str
    # As far as whole numbers are the same for all who read JSON.
    generation: int = Field(ge=0, le=2**53 - 1)
    stages: list[_Stage]
    routes: list[_Route]
    workers: list[_Worker]


def check_assignment(document: Any) -> dict[str, Any]:
    """The document, if it is an assignment that makes sense. Raises ServiceError that says what does not.

    Fields that this version does not know are left alone: a newer service may send more.
    """
    try:
        assignment = _Assignment.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(step) for step in first["loc"]) or "document"
        raise ServiceError(f"assignment: {place}: {first['msg']}") from None
    if assignment.format != FORMAT:
        raise ServiceError(f'assignment: format is {assignment.format!r}; expected "{FORMAT}"')
    stages = {stage.id for stage in assignment.stages}
    for route in assignment.routes:
        if unknown := [stage for stage in route.stages if stage not in stages]:
            raise ServiceError(f"assignment: the route of {route.fragment} uses unknown stage {unknown[0]!r}")
    for worker in assignment.workers:
        if worker.stage not in stages:
            raise ServiceError(f"assignment: a worker is of unknown stage {worker.stage!r}")
    return assignment.model_dump()


def wanted_posts(document: Mapping[str, Any]) -> dict[Post, Signature]:
    """The posts that a checked assignment asks this machine to fill."""
    stages = {stage["id"]: stage for stage in document["stages"]}
    wanted: dict[Post, Signature] = {}
    for worker in document["workers"]:
        stage = stages[worker["stage"]]
        wanted[Post(worker["stage"], worker["instance"])] = Signature(
            stage["model"],
            stage["start"],
            stage["end"],
            stage["batch"],
            float(stage["share"]),
            worker["gpu"],
            worker["memory_mb"],
            tuple(stage.get("exits") or ()),
        )
    return wanted
