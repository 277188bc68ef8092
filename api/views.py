"""What goes over the wire beside workloads, profiles and plans: requests and answers, for service and client.

Requests are strict: unknown fields, texts for numbers, NaN are refused. Answers may gain fields in later
versions, so the client ignores those it does not know.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

State = Literal["queued", "running", "succeeded", "failed", "infeasible", "stopped", "cancelled"]
Scope = Literal["read", "plan", "deploy", "agent"]
SCOPES: tuple[Scope, ...] = ("read", "plan", "deploy", "agent")

# No control characters: they say nothing, and PostgreSQL cannot store NUL.
_PLAIN = r"^[^\x00-\x1f\x7f]*$"
Id = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=_PLAIN)]
Label = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=_PLAIN)]


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


# Errors ------------------------------------------------------------------------------------------------


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


# Documents ---------------------------------------------------------------------------------------------


class WorkloadInfo(Answer):
    """A stored workload; its id is the digest of its content."""

    id: str
    created_at: datetime
    fragments: int = Field(description="rows of the workload")
    clients: int = Field(description="clients of all fragments together")
    gpus: int = Field(description="GPUs it names; 0 where it names none")
    models: list[str]
    derived_from: str | None = Field(description="id of the workload it was first made from")
    derivation: dict[str, Any] | None = Field(description="how it was made from that")


class DeriveWorkload(Request):
    """What if: another workload made from this one, by factors."""

    clients: Annotated[float, Field(gt=0, le=1e6, description="how many times as many clients")] = 1.0
    budget: Annotated[
        float, Field(gt=0, le=1e6, description="factor of every budget; below 1 is tighter")
    ] = 1.0
    rate: Annotated[float, Field(gt=0, le=1e6, description="factor of every client's rate")] = 1.0
    models: Annotated[
        list[Label] | None,
        Field(min_length=1, max_length=1000, description="keep only these models' fragments"),
    ] = None
    gpus: Annotated[
        list[GpuView] | None,
        Field(description="other GPUs; an empty list leaves the workload without"),
    ] = None


class DeriveProfile(Request):
    """What if: the same GPU at another price."""

    cost_per_share: Annotated[float, Field(gt=0, le=1e9, description="relative price of one percent of it")]


class ProfileInfo(Answer):
    """A stored profile; its id is the digest of its content."""

    id: str
    created_at: datetime
    model: str
    gpu: str
    layers: int
    batches: list[int]
    shares: list[float]
    measured: dict[str, Any]


# Runs --------------------------------------------------------------------------------------------------


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
    errors: list[ComplaintView] = []
    reasons: list[dict[str, Any]] = []


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


# Plans -------------------------------------------------------------------------------------------------


class PlanInfo(Answer):
    """A stored plan without its stages and routes; these are in its document."""

    id: str
    created_at: datetime
    run: str
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


class StageChange(Answer):
    """A stage of the same layers in both plans that runs otherwise: its workers are restarted."""

    before: StageView
    after: StageView
    changed: list[str] = Field(description="of batch, share, instances")


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


# Deployments and nodes ---------------------------------------------------------------------------------

Generation = Annotated[int, Field(ge=0, lt=2**53)]


class Deploy(Request):
    """A plan to run from now on."""

    plan: Annotated[Id, Field(description="id of a plan")]
    expected_generation: Annotated[
        Generation | None, Field(description="refuse (409) unless this is the current generation")
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
    deployed_by: str | None = Field(description="name of the key that deployed it")
    instances: int
    gpus: int
    current: bool


class DeploymentStatus(Deployment):
    """A generation with where its instances are, and which of them do not run (of the current one)."""

    workers: list[WorkerPlace]
    not_running: list[NotRunning]


class Register(Request):
    """A machine with an agent."""

    name: Label
    address: Annotated[Label, Field(description="where the agent's data plane listens")]
    gpus: list[GpuView]


class Worker(Request):
    """One worker process, as its agent sees it."""

    generation: Generation
    stage: Label
    instance: Annotated[int, Field(ge=0, lt=2**31)]
    gpu: Label
    state: Literal["starting", "ready", "draining", "failed"]
    pid: Annotated[int | None, Field(ge=0, lt=2**53)] = None
    restarts: Annotated[int, Field(ge=0, lt=2**53)] = 0
    share_pct: Annotated[float | None, Field(ge=0, le=100)] = None
    effective_share_pct: Annotated[float | None, Field(ge=0, le=1e6)] = None
    enforced_by: Annotated[str | None, Field(max_length=50)] = None
    detail: Annotated[str, Field(max_length=2000)] = ""


class ReportStatus(Request):
    """What really runs on a node; sending it renews the node's lease."""

    generation: Generation
    workers: list[Worker]


class Node(Answer):
    """A machine with an agent. Its lease ends `lease_s` seconds after its last status; then it is gone."""

    id: str
    name: str
    address: str
    gpus: list[GpuView]
    lease: Literal["live", "gone"]
    lease_s: float
    heartbeat_s: float
    lease_until: datetime
    registered_at: datetime
    reported_at: datetime | None
    generation: int | None = Field(description="the generation its agent last said that it runs")
    workers: list[Worker]
    assigned: int = Field(description="instances that the current generation gives it")
    not_running: list[NotRunning]


# Keys and audit ----------------------------------------------------------------------------------------


class AuditEntry(Answer):
    """Who did what to which resource."""

    id: int
    at: datetime
    key: str | None = Field(description="name of the key")
    action: str
    target: str
    detail: dict[str, Any]
