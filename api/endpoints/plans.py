"""Plans: store, read, list, and what changes from one to another."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from api import importing, packing, presenting, views
from api.context import (
    BODY_REFUSALS,
    Cursor,
    Limit,
    Planner,
    Reader,
    TheDatabase,
    TheService,
    refusals,
)
from api.differing import difference
from api.endpoints.documents import Body, described_body
from api.posts import Outcome, PostOnce
from api.repositories.store import Store
from api.requests import StrictRoute, parse_document
from planner.plan import Plan

router = APIRouter(route_class=StrictRoute, tags=["plans"])

_DOCUMENT = {"application/json": {"schema": {"$ref": "#/components/schemas/Plan"}}}


@router.post(
    "/plans",
    dependencies=[Planner],
    status_code=201,
    response_model=views.PlanInfo,
    openapi_extra=described_body("NewPlan"),
    responses={
        200: {"model": views.PlanInfo, "description": "The same plan was stored before"},
        **refusals(404, 409, *BODY_REFUSALS),
    },
)
def create_plan(body: Body, post: PostOnce, service: TheService) -> Response:
    """Store a plan made elsewhere (`regraft.plan/v1`), so that it can be deployed.

    Its provenance names its workload and profiles by their ids here. It is verified against them first: one
    that breaks a law is refused with 409 `invalid_plan`, and `violations` say which, where, and by how much.
    """
    if (answered := post.replay()) is not None:
        return answered
    name, plan = parse_document(Plan, body)
    origin = importing.judge(service.database, plan, max_clients=service.settings.max_clients)
    packed = packing.pack(plan)

    def store_it(store: Store) -> Outcome:
        created = store.plans.add_foreign(
            plan, digest=name, workload_id=origin.workload_id, profiles=origin.profiles, body=packed
        )
        view = presenting.plan(store.plans.plan(name))
        audit = ("plan.add", name, {"strategy": plan.strategy}) if created else None
        return Outcome(status=201 if created else 200, view=view, location=f"/v1/plans/{name}", audit=audit)

    return post.answer(store_it)


@router.get("/plans", dependencies=[Reader], responses=refusals())
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


@router.get("/plans/{plan_id}", dependencies=[Reader], responses=refusals(404))
def read_plan(plan_id: str, database: TheDatabase) -> views.PlanInfo:
    """A plan without its stages and routes."""
    with database.reading() as store:
        return presenting.plan(store.plans.plan(plan_id))


@router.get(
    "/plans/{plan_id}/document",
    dependencies=[Reader],
    response_class=Response,
    responses={200: {"description": "The plan", "content": _DOCUMENT}, **refusals(404)},
)
def read_plan_document(plan_id: str, database: TheDatabase) -> Response:
    """The plan itself (`regraft.plan/v1`)."""
    with database.reading() as store:
        row = store.plans.plan(plan_id, body=True)
    return Response(packing.unpack_bytes(row.body), media_type="application/json")


@router.get("/plans/{plan_id}/diff", dependencies=[Reader], responses=refusals(404))
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
