"""The tables, as SQLAlchemy sees them. `migrations` makes them; a test says that both agree.

Times are milliseconds since 1970 (`…_ms`) by the *database's* clock, so that leases hold between machines
whose clocks differ. Documents are stored as compressed JSON (`body`) beside the few columns that lists
show. Workloads and profiles are named by their content; the other ids begin with their time, so that they
sort by it.
"""

from __future__ import annotations

import secrets
import threading
import time
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, Integer, LargeBinary, MetaData, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

_NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

# SQLite numbers rows by itself only in a column that is INTEGER to the letter.
_COUNTER = BigInteger().with_variant(Integer, "sqlite")


_ids = threading.Lock()
_last = (0, 0)


def new_id(kind: str) -> str:
    """A fresh id, `run_0193…`: 48 bits of time, then 64 random bits. One process's sort by their age."""
    global _last
    with _ids:
        now_ms, before_ms = int(time.time() * 1000), _last[0]
        # Within a millisecond, or where the clock went back, the last one is counted on.
        _last = (now_ms, secrets.randbits(63)) if now_ms > before_ms else (before_ms, _last[1] + 1)
        return f"{kind}_{_last[0]:012x}{_last[1]:016x}"


class Base(DeclarativeBase):
    """The root of the tables."""

    metadata = MetaData(naming_convention=_NAMING)
    type_annotation_map = {int: BigInteger, str: String(200), dict[str, Any]: JSON, list[Any]: JSON}  # noqa: RUF012


class WorkloadRow(Base):
    """A workload, named by its content."""

    __tablename__ = "workloads"
    __table_args__ = (Index(None, "created_ms", "id"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    created_ms: Mapped[int]
    fragments: Mapped[int]
    clients: Mapped[int]
    gpus: Mapped[int]
    models: Mapped[list[Any]]
    derived_from: Mapped[str | None]
    derivation: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    body: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)


class ProfileRow(Base):
    """A profile, named by its content."""

    __tablename__ = "profiles"
    __table_args__ = (Index(None, "created_ms", "id"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    created_ms: Mapped[int]
    model: Mapped[str] = mapped_column(index=True)
    gpu: Mapped[str]
    layers: Mapped[int]
    batches: Mapped[list[Any]]
    shares: Mapped[list[Any]]
    measured: Mapped[dict[str, Any]]
    body: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)


class ComparisonRow(Base):
    """Several strategies on one workload; its runs carry its id."""

    __tablename__ = "comparisons"
    __table_args__ = (Index(None, "created_ms", "id"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    created_ms: Mapped[int]
    workload_id: Mapped[str] = mapped_column(ForeignKey("workloads.id"))
    profiles: Mapped[list[Any]]


class PlanRow(Base):
    """A verified plan; at most one a run. One made elsewhere has no run, and is named by its content."""

    __tablename__ = "plans"
    __table_args__ = (Index(None, "created_ms", "id"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    created_ms: Mapped[int]
    run_id: Mapped[str | None] = mapped_column(unique=True)
    workload_id: Mapped[str] = mapped_column(ForeignKey("workloads.id"), index=True)
    profiles: Mapped[list[Any]]
    digest: Mapped[str]
    strategy: Mapped[str]
    status: Mapped[str]
    share: Mapped[float]
    gpus: Mapped[int | None]
    lower_bound: Mapped[float | None]
    gap: Mapped[float | None]
    seconds: Mapped[float | None]
    stages: Mapped[int]
    instances: Mapped[int]
    unplanned: Mapped[int]
    body: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)


class RunRow(Base):
    """A plan run.

    `state` is queued → running → one of the final states; `wanted` is what a user asks of a running one.
    `fence` grows each time the run is taken: whoever holds an older number can no longer write to it.
    """

    __tablename__ = "plan_runs"
    __table_args__ = (Index(None, "created_ms", "id"), Index(None, "state", "created_ms"))

    id: Mapped[str] = mapped_column(primary_key=True)
    created_ms: Mapped[int]
    workload_id: Mapped[str] = mapped_column(ForeignKey("workloads.id"), index=True)
    profiles: Mapped[list[Any]]
    comparison_id: Mapped[str | None] = mapped_column(ForeignKey("comparisons.id"), index=True)
    strategy: Mapped[str]
    settings: Mapped[dict[str, Any]]
    submitted_by: Mapped[str | None]

    state: Mapped[str] = mapped_column(String(20))
    wanted: Mapped[str | None] = mapped_column(String(20))
    attempts: Mapped[int] = mapped_column(default=0)
    fence: Mapped[int] = mapped_column(default=0)
    lease_owner: Mapped[str | None]
    lease_until_ms: Mapped[int | None]
    started_ms: Mapped[int | None]
    finished_ms: Mapped[int | None]
    progress: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    failure: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    plan_id: Mapped[str | None] = mapped_column(ForeignKey("plans.id"))


class RunEventRow(Base):
    """Something that happened to a run; `seq` counts from 1 and is the SSE event's id."""

    __tablename__ = "run_events"

    run_id: Mapped[str] = mapped_column(ForeignKey("plan_runs.id"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at_ms: Mapped[int]
    kind: Mapped[str] = mapped_column(String(20))
    data: Mapped[dict[str, Any]]


class DeploymentRow(Base):
    """A generation: the plan to run, resolved onto GPUs (`body`). Generations only grow."""

    __tablename__ = "deployments"

    generation: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    id: Mapped[str] = mapped_column(unique=True)
    created_ms: Mapped[int]
    plan_id: Mapped[str] = mapped_column(ForeignKey("plans.id"))
    rollback_of: Mapped[int | None]
    deployed_by: Mapped[str | None]
    on_drift: Mapped[str | None] = mapped_column(String(20))
    instances: Mapped[int]
    gpus: Mapped[int]
    body: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)


class NodeRow(Base):
    """A machine with an agent. It counts as live until its lease ends."""

    __tablename__ = "nodes"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    address: Mapped[str]
    gpus: Mapped[list[Any]]
    created_ms: Mapped[int]
    registered_ms: Mapped[int] = mapped_column(index=True)
    lease_until_ms: Mapped[int]


class NodeGpuRow(Base):
    """Which node a GPU belongs to: one at a time."""

    __tablename__ = "node_gpus"

    gpu_id: Mapped[str] = mapped_column(primary_key=True)
    node_id: Mapped[str] = mapped_column(ForeignKey("nodes.id"), index=True)


class NodeStatusRow(Base):
    """What a node last said that it runs."""

    __tablename__ = "node_status"

    node_id: Mapped[str] = mapped_column(ForeignKey("nodes.id"), primary_key=True)
    reported_ms: Mapped[int]
    generation: Mapped[int]
    workers: Mapped[list[Any]]
    exits: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True))


class ExitWindowRow(Base):
    """What gateways counted at exits in one window of time.

    `body` has the window's counts by fragment, and the readings at its end that the next one is counted from;
    `outlook` is what is expected since (`planner.drifting`).
    """

    __tablename__ = "exit_windows"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    generation: Mapped[int]
    ended_ms: Mapped[int]
    outlook: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True))
    body: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)


class DriftRow(Base):
    """Inputs were found to be easier or harder than a generation was planned for, and what was done.

    `state` is planning → proposed | applied | kept | failed; what is proposed may become applied or
    superseded.
    """

    __tablename__ = "drifts"
    __table_args__ = (Index(None, "created_ms", "id"), Index(None, "state"))

    id: Mapped[str] = mapped_column(primary_key=True)
    created_ms: Mapped[int]
    generation: Mapped[int]
    plan_id: Mapped[str] = mapped_column(ForeignKey("plans.id"))
    workload_id: Mapped[str] = mapped_column(ForeignKey("workloads.id"))
    run_id: Mapped[str] = mapped_column(ForeignKey("plan_runs.id"))
    mode: Mapped[str] = mapped_column(String(20))
    state: Mapped[str] = mapped_column(String(20))
    outlook: Mapped[list[Any]]
    applied_as: Mapped[int | None]
    detail: Mapped[str | None] = mapped_column(Text)


class KeyRow(Base):
    """An API key: found by its prefix, proved by its hash."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    prefix: Mapped[str] = mapped_column(unique=True)
    hash: Mapped[str] = mapped_column(Text)
    scopes: Mapped[list[Any]]
    created_ms: Mapped[int]
    revoked_ms: Mapped[int | None]


class IdempotencyRow(Base):
    """The answer to a POST with an Idempotency-Key, written with what the POST did."""

    __tablename__ = "idempotency_records"

    key_id: Mapped[str] = mapped_column(primary_key=True)
    idempotency_key: Mapped[str] = mapped_column(primary_key=True)
    created_ms: Mapped[int] = mapped_column(index=True)
    fingerprint: Mapped[str]
    status: Mapped[int]
    headers: Mapped[dict[str, Any]]
    body: Mapped[bytes] = mapped_column(LargeBinary)


class AuditRow(Base):
    """Who did what to which resource."""

    __tablename__ = "audit_log"

    id: Mapped[int] = mapped_column(_COUNTER, primary_key=True, autoincrement=True)
    at_ms: Mapped[int] = mapped_column(index=True)
    key_id: Mapped[str | None]
    key_name: Mapped[str | None]
    action: Mapped[str]
    target: Mapped[str]
    detail: Mapped[dict[str, Any]]
