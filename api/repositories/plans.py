"""Plans: what runs made, and what was made elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, undefer

from api.errors import NotFoundError
from api.repositories.paging import Slice, slice_by_time
from api.repositories.statements import insert_new, now_ms
from api.tables import PlanRow, new_id
from planner.plan import Plan


class Plans:
    """Verified plans. Nothing here ever changes."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(
        self, plan: Plan, *, digest: str, run_id: str, workload_id: str, profiles: Sequence[str], body: bytes
    ) -> PlanRow:
        """Store the plan of a run; `body` is its packed JSON."""
        row = PlanRow(
            id=new_id("plan"),
            created_ms=self._session.execute(select(now_ms())).scalar_one(),
            run_id=run_id,
            **_columns(plan, digest=digest, workload_id=workload_id, profiles=profiles, body=body),
        )
        self._session.add(row)
        self._session.flush()
        return row

    def add_foreign(
        self, plan: Plan, *, digest: str, workload_id: str, profiles: Sequence[str], body: bytes
    ) -> bool:
        """Store a plan made elsewhere under its digest; says whether it was new."""
        values: dict[str, Any] = {"id": digest, "created_ms": now_ms(), "run_id": None}
        values |= _columns(plan, digest=digest, workload_id=workload_id, profiles=profiles, body=body)
        return insert_new(self._session, PlanRow, values)

    def plan(self, plan_id: str, *, body: bool = False) -> PlanRow:
        """The plan of this id, with its body where asked for. Raises NotFoundError."""
        options = [undefer(PlanRow.body)] if body else []
        row = self._session.get(PlanRow, plan_id, options=options)
        if row is None:
            raise NotFoundError(f"there is no plan {plan_id!r}")
        return row

    def plans(
        self, *, workload_id: str | None, strategy: str | None, cursor: str | None, limit: int
    ) -> Slice[PlanRow]:
        """Plans, newest first; of one workload or strategy where given."""
        query = select(PlanRow)
        if workload_id is not None:
            query = query.where(PlanRow.workload_id == workload_id)
        if strategy is not None:
            query = query.where(PlanRow.strategy == strategy)
        return slice_by_time(self._session, query, PlanRow, cursor=cursor, limit=limit)

    def of_ids(self, plan_ids: Sequence[str]) -> dict[str, PlanRow]:
        """The plans of these ids, as far as there are any."""
        return {row.id: row for row in self._session.scalars(select(PlanRow).where(PlanRow.id.in_(plan_ids)))}


def _columns(
    plan: Plan, *, digest: str, workload_id: str, profiles: Sequence[str], body: bytes
) -> dict[str, Any]:
    return {
        "workload_id": workload_id,
        "profiles": list(profiles),
        "digest": digest,
        "strategy": plan.strategy,
        "status": plan.status,
        "share": plan.objective.share,
        "gpus": plan.objective.gpus,
        "lower_bound": plan.lower_bound,
        "gap": plan.gap,
        "seconds": plan.provenance.seconds,
        "stages": len(plan.stages),
        "instances": sum(stage.instances for stage in plan.stages),
        "unplanned": len(plan.unplanned),
        "body": body,
    }
