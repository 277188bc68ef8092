"""Generations: what is to run, what does not, and who did what."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from api.views.base import Answer, Generation, Id, Request
from api.views.drifts import OnDrift


class Deploy(Request):
    """A plan to run from now on."""

    plan: Annotated[Id, Field(description="id of a plan")]
    expected_generation: Annotated[
        Generation | None, Field(description="refuse (409) unless this is the current generation")
    ] = None
    on_drift: Annotated[
        OnDrift | None, Field(description="ignore, propose or apply; by default as the service is set")
    ] = None


class Rollback(Request):
    """Run an earlier generation's plan again, as a new generation."""

    generation: Annotated[
        Annotated[int, Field(ge=1, lt=2**53)] | None,
        Field(description="whose plan to run; without it, that of the generation before the current one"),
    ] = None
    expected_generation: Annotated[
        Generation | None, Field(description="refuse (409) unless this is the current generation")
    ] = None
    on_drift: Annotated[
        OnDrift | None,
        Field(
            description="without it, propose where the service would apply: who rolls back wants this plan"
        ),
    ] = None


class WorkerPlace(Answer):
    """An instance of a stage on a GPU."""

    stage: str
    instance: int
    gpu: str


class NotRunning(WorkerPlace):
    """An instance that the deployment wants and that does not run, and why."""

    node: str | None
    reason: Literal["node_gone", "node_unknown", "not_reported", "starting", "draining", "failed"]


class Deployment(Answer):
    """A generation: a plan made the one to run."""

    generation: int
    id: str
    created_at: datetime
    plan: str
    rollback_of: int | None
    deployed_by: str | None = Field(description="name of the key that deployed it; drift: the service itself")
    on_drift: OnDrift | None = Field(None, description="null: as the service is set")
    instances: int
    gpus: int
    current: bool


class DeploymentStatus(Deployment):
    """A generation with where its instances are, and which of them do not run (of the current one)."""

    workers: list[WorkerPlace]
    not_running: list[NotRunning]


class AuditEntry(Answer):
    """Who did what to which resource."""

    id: int
    at: datetime
    key: str | None = Field(description="name of the key")
    action: str
    target: str
    detail: dict[str, Any]
