"""Plans, and what changes from one to another."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from api.views.base import Answer


class PlanInfo(Answer):
    """A stored plan without its stages and routes; these are in its document."""

    id: str
    created_at: datetime
    run: str | None = Field(description="the run that made it; null where it was made elsewhere")
    workload: str
    profiles: list[str]
    digest: str
    strategy: str
    status: Literal["optimal", "feasible"]
    share: float
    gpus: int | None
    lower_bound: float | None
    gap: float | None
    seconds: float | None
    stages: int
    instances: int
    unplanned: int


class StageView(Answer):
    """A stage of a plan."""

    id: str
    model: str
    gpu: str
    start: int
    end: int
    batch: int
    share: float
    instances: int
    exec_ms: float
    exits: tuple[int, ...] = ()
    expected_ms: float | None = None


class StageChange(Answer):
    """A stage of the same layers in both plans that runs otherwise: its workers are restarted."""

    before: StageView
    after: StageView
    changed: list[str] = Field(description="of batch, share, instances, exits")


class RouteChange(Answer):
    """A fragment whose requests take another way. A way is the cut points it passes, with its fraction."""

    fragment: str
    before: list[dict[str, Any]]
    after: list[dict[str, Any]]


class PlanDiff(Answer):
    """What changes from one plan to another."""

    before: str
    after: str
    share: float = Field(description="share of the second minus share of the first")
    added: list[StageView]
    removed: list[StageView]
    restarted: list[StageChange]
    rerouted: list[RouteChange]
    unchanged: int = Field(description="stages that are the same in both")
