"""Stored rows as answers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from api import views
from api.repositories.runs import FINAL
from api.tables import (
    AuditRow,
    ComparisonRow,
    DeploymentRow,
    PlanRow,
    ProfileRow,
    RunEventRow,
    RunRow,
    WorkloadRow,
)


def moment(ms: int) -> datetime:
    """A stored time as an answer shows it: UTC."""
    return datetime.fromtimestamp(ms / 1000, tz=UTC)


def moment_or_none(ms: int | None) -> datetime | None:
    """A stored time that may be absent."""
    return None if ms is None else moment(ms)


def workload(row: WorkloadRow) -> views.WorkloadInfo:
    """A workload without its fragments."""
    return views.WorkloadInfo(
        id=row.id,
        created_at=moment(row.created_ms),
        fragments=row.fragments,
        clients=row.clients,
        gpus=row.gpus,
        models=row.models,
        derived_from=row.derived_from,
        derivation=row.derivation,
    )


def profile(row: ProfileRow) -> views.ProfileInfo:
    """A profile without its latencies."""
    return views.ProfileInfo(
        id=row.id,
        created_at=moment(row.created_ms),
        model=row.model,
        gpu=row.gpu,
        layers=row.layers,
        batches=row.batches,
        shares=row.shares,
        measured=row.measured,
    )


def run(row: RunRow) -> views.Run:
    """A plan run."""
    return views.Run(
        id=row.id,
        created_at=moment(row.created_ms),
        workload=row.workload_id,
        profiles=row.profiles,
        comparison=row.comparison_id,
        strategy=row.strategy,
        settings=row.settings,
        state=row.state,
        wanted=row.wanted,
        attempts=row.attempts,
        started_at=moment_or_none(row.started_ms),
        finished_at=moment_or_none(row.finished_ms),
        progress=row.progress,
        failure=row.failure,
        plan=row.plan_id,
    )


def event(row: RunEventRow) -> views.RunEvent:
    """Something that happened to a run."""
    return views.RunEvent(seq=row.seq, kind=row.kind, data=row.data)


def plan(row: PlanRow) -> views.PlanInfo:
    """A plan without its stages and routes."""
    return views.PlanInfo(
        id=row.id,
        created_at=moment(row.created_ms),
        run=row.run_id,
        workload=row.workload_id,
        profiles=row.profiles,
        digest=row.digest,
        strategy=row.strategy,
        status=row.status,
        share=row.share,
        gpus=row.gpus,
        lower_bound=row.lower_bound,
        gap=row.gap,
        seconds=row.seconds,
        stages=row.stages,
        instances=row.instances,
        unplanned=row.unplanned,
    )


def comparison(row: ComparisonRow, runs: Sequence[RunRow], plans: dict[str, PlanRow]) -> views.Comparison:
    """Strategies side by side."""
    rows = []
    for item in runs:
        made = plans.get(item.plan_id or "")
        figures: dict[str, Any] = dict.fromkeys(
            ("share", "gpus", "stages", "instances", "lower_bound", "gap", "seconds")
        )
        if made is not None:
            figures = {name: getattr(made, name) for name in figures}
        rows.append(
            views.ComparisonRow(
                strategy=item.strategy,
                run=item.id,
                state=item.state,
                plan=item.plan_id,
                failure=item.failure,
                **figures,
            )
        )
    return views.Comparison(
        id=row.id,
        created_at=moment(row.created_ms),
        workload=row.workload_id,
        profiles=row.profiles,
        done=all(item.state in FINAL for item in runs),
        rows=rows,
    )


def deployment(row: DeploymentRow, *, current: int) -> views.Deployment:
    """A generation."""
    return views.Deployment(
        generation=row.generation,
        id=row.id,
        created_at=moment(row.created_ms),
        plan=row.plan_id,
        rollback_of=row.rollback_of,
        deployed_by=row.deployed_by,
        on_drift=row.on_drift,
        instances=row.instances,
        gpus=row.gpus,
        current=row.generation == current,
    )


def audit(row: AuditRow) -> views.AuditEntry:
    """An entry of the audit log."""
    return views.AuditEntry(
        id=row.id,
        at=moment(row.at_ms),
        key=row.key_name,
        action=row.action,
        target=row.target,
        detail=row.detail,
    )
