"""What exits see, and what was planned anew where inputs had become easier or harder."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter

from api import views
from api.context import Cursor, Limit, Reader, Service, TheDatabase, TheService, refusals
from api.presenting import moment
from api.repositories.store import Store
from api.requests import StrictRoute
from api.tables import DriftRow

router = APIRouter(route_class=StrictRoute, tags=["drifts"])


@router.get("/exits", dependencies=[Reader], responses=refusals())
def read_exits(service: TheService) -> views.Exits:
    """What fraction of inputs goes on past each exit: as planned, as seen, and as expected."""
    with service.database.reading() as store:
        return seen(service, store)


@router.get("/drifts", dependencies=[Reader], responses=refusals())
def list_drifts(database: TheDatabase, cursor: Cursor = None, limit: Limit = 50) -> views.Page[views.Drift]:
    """Drifts, newest first."""
    with database.reading() as store:
        page = store.drifts.drifts(cursor=cursor, limit=limit)
        return views.Page(items=shown(store, page.items), next=page.next)


@router.get("/drifts/{drift_id}", dependencies=[Reader], responses=refusals(404))
def read_drift(drift_id: str, database: TheDatabase) -> views.Drift:
    """A drift: what was seen and expected, and what became of the plan for it."""
    with database.reading() as store:
        return shown(store, [store.drifts.drift(drift_id)])[0]


def seen(service: Service, store: Store) -> views.Exits:
    """What exits see of the current generation."""
    generation = store.deployments.generation()
    last = store.drifts.last_judged(generation)
    mode = store.deployments.deployment(generation).on_drift if generation else None
    return views.Exits(
        generation=generation,
        on_drift=mode or service.settings.on_drift,
        window_s=service.settings.drift_window_s,
        tolerance=service.settings.drift_tolerance,
        at=moment(last.ended_ms) if last is not None else None,
        outlooks=[
            views.ExitOutlook.model_validate(item)
            for item in (last.outlook or () if last is not None else ())
        ],
    )


def shown(store: Store, rows: Sequence[DriftRow]) -> list[views.Drift]:
    """Drifts as answers."""
    runs = {row.run_id: store.runs.run(row.run_id) for row in rows}
    wanted = [row.plan_id for row in rows] + [run.plan_id for run in runs.values() if run.plan_id]
    plans = store.plans.of_ids(wanted)
    answers = []
    for row in rows:
        made = plans.get(runs[row.run_id].plan_id or "")
        answers.append(
            views.Drift(
                id=row.id,
                created_at=moment(row.created_ms),
                generation=row.generation,
                plan=row.plan_id,
                mode=row.mode,
                state=row.state,
                detail=row.detail,
                outlooks=[views.ExitOutlook.model_validate(item) for item in row.outlook],
                workload=row.workload_id,
                run=row.run_id,
                new_plan=made.id if made else None,
                share=plans[row.plan_id].share,
                new_share=made.share if made else None,
                applied_as=row.applied_as,
            )
        )
    return answers
