"""Plans: read, list, and what changes from one to another."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from api import packing, presenting, views
from api.context import Cursor, Limit, Reader, TheDatabase, refusals
from api.differing import difference
from api.requests import StrictRoute
from planner.plan import Plan

router = APIRouter(route_class=StrictRoute, tags=["plans"], dependencies=[Reader])

_DOCUMENT = {"application/json": {"schema": {"$ref": "#/components/schemas/Plan"}}}


@router.get("/plans", responses=refusals())
def list_plans(
    database: TheDatabase,
    workload: Annotated[str | None, Query(max_length=200)] = None,
    strategy: Annotated[str | None, Query(max_length=200)] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> views.Page[views.PlanInfo]:
    """Plans, newest first; of one workload or strategy where given."""
    with database.reading() as store:
        page = store.plans.plans(workload_id=workload, strategy=strategy, cursor=cursor, limit=limit)
    return views.Page(items=[presenting.plan(row) for row in page.items], next=page.next)


@router.get("/plans/{plan_id}", responses=refusals(404))
def read_plan(plan_id: str, database: TheDatabase) -> views.PlanInfo:
    """A plan without its stages and routes."""
    with database.reading() as store:
        return presenting.plan(store.plans.plan(plan_id))


@router.get(
    "/plans/{plan_id}/document",
    response_class=Response,
    responses={200: {"description": "The plan", "content": _DOCUMENT}, **refusals(404)},
)
def read_plan_document(plan_id: str, database: TheDatabase) -> Response:
    """The plan itself (`regraft.plan/v1`)."""
    with database.reading() as store:
        row = store.plans.plan(plan_id, body=True)
    return Response(packing.unpack_bytes(row.body), media_type="application/json")


@router.get("/plans/{plan_id}/diff", responses=refusals(404))
def diff_plans(
    plan_id: str,
    against: Annotated[str, Query(max_length=200, description="id of the plan before")],
    database: TheDatabase,
) -> views.PlanDiff:
    """What changes when this plan replaces another: stages added, removed, restarted, fragments re-routed."""
    with database.reading() as store:
        before = store.plans.plan(against, body=True)
        after = store.plans.plan(plan_id, body=True)
    return difference(against, packing.unpack(Plan, before.body), plan_id, packing.unpack(Plan, after.body))
