"""Plan runs, their events, and comparisons of them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from api.views.base import Answer, ComplaintView, Id, Label, Request
from api.views.plans import PlanDiff

State = Literal["queued", "running", "succeeded", "failed", "infeasible", "stopped", "cancelled"]


def _strategies(schema: dict[str, Any]) -> None:
    # The client uses these classes too, and must not wait for the solvers to be imported.
    from planner.planning import STRATEGIES

    schema["enum"] = list(STRATEGIES)


def _laws(schema: dict[str, Any]) -> None:
    from planner.queueing import QUEUEING_LAWS

    schema["enum"] = list(QUEUEING_LAWS)


Strategy = Annotated[Label, Field(description="how to plan", json_schema_extra=_strategies)]


class RunSettings(Request):
    """How to plan."""

    time_limit_s: Annotated[float, Field(gt=0, le=7 * 86400, description="seconds the search may take")] = (
        60.0
    )
    gap: Annotated[float, Field(ge=0, lt=1, description="relative gap at which the search may stop")] = 0.0
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    threads: Annotated[int, Field(ge=1, le=1024)] = 2
    infeasible: Literal["fail", "partial"] = "fail"
    queueing: Annotated[
        Label, Field(description="the law of waiting that the plan keeps", json_schema_extra=_laws)
    ] = "plain"


Profiles = Annotated[list[Id], Field(min_length=1, max_length=1000, description="ids of profiles")]


class SubmitRun(RunSettings):
    """A plan wanted for a workload."""

    workload: Annotated[Id, Field(description="id of a workload")]
    profiles: Profiles
    strategy: Strategy


class SubmitComparison(RunSettings):
    """Several strategies wanted for one workload, on the same profiles and with the same settings."""

    workload: Annotated[Id, Field(description="id of a workload")]
    profiles: Profiles
    strategies: Annotated[list[Strategy], Field(min_length=1, max_length=20)]


class RunProgress(Answer):
    """Where a solve is, `t` seconds after its start; no objective or bound before there is one."""

    t: float
    phase: str
    objective: float | None = None
    bound: float | None = None
    gap: float | None = None


class Failure(Answer):
    """Why a run has no plan. `reasons` are the fragments that cannot be planned, `errors` what was wrong."""

    code: str
    detail: str
    errors: list[ComplaintView] = Field([])
    reasons: list[dict[str, Any]] = Field([])


class Run(Answer):
    """A plan run. `state` is queued, running, or final; a final state never changes."""

    id: str
    created_at: datetime
    workload: str
    profiles: list[str]
    comparison: str | None
    strategy: str
    settings: dict[str, Any]
    state: State
    wanted: Literal["stop", "cancel"] | None = Field(description="what was asked of it while it ran")
    attempts: int = Field(description="how often it was begun")
    started_at: datetime | None
    finished_at: datetime | None
    progress: RunProgress | None
    failure: Failure | None
    plan: str | None = Field(description="id of the plan it made")


class RunEvent(Answer):
    """Something that happened to a run, as the event stream shows it."""

    seq: int
    kind: Literal["state", "progress"]
    data: dict[str, Any]


class ComparisonRow(Answer):
    """One strategy of a comparison. Without a plan its figures are null."""

    strategy: str
    run: str
    state: State
    plan: str | None
    share: float | None
    gpus: int | None
    stages: int | None
    instances: int | None
    lower_bound: float | None
    gap: float | None
    seconds: float | None
    failure: Failure | None


class Comparison(Answer):
    """Several strategies on one workload, side by side. `done` when all its runs have ended."""

    id: str
    created_at: datetime
    workload: str
    profiles: list[str]
    done: bool
    rows: list[ComparisonRow]


class ComparisonDifference(Answer):
    """What changes when this strategy's plan replaces the one compared with; null where it has no plan."""

    strategy: str
    run: str
    plan: str | None
    difference: PlanDiff | None


class ComparisonDifferences(Answer):
    """The plans of a comparison, each laid beside one of them."""

    id: str
    baseline: str | None = Field(description="strategy the others are compared with; null without a plan")
    plan: str | None = Field(description="that strategy's plan")
    rows: list[ComparisonDifference]
