"""/plans: every plan, one plan in pictures and tables, and deploying it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query, Request, Response

from api import packing, views
from api.endpoints import deployments
from api.errors import ConflictError
from api.pages.routing import AnyVisitor, House, OurForm, PageRoute, Reader, TheHouse, post_of, render, to
from api.repositories.paging import CURSOR

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_ON_PAGE = 30
_ROWS = 50
Row = TypeVar("Row")


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A page of a long table: `number` from 1."""

    rows: Sequence[Any]
    number: int
    pages: int
    total: int
    first: int


def sheet(rows: Sequence[Row], number: int) -> Sheet:
    """Page `number` of the rows, or the nearest there is."""
    pages = max(1, -(-len(rows) // _ROWS))
    number = min(max(1, number), pages)
    first = (number - 1) * _ROWS
    return Sheet(
        rows=rows[first : first + _ROWS], number=number, pages=pages, total=len(rows), first=first + 1
    )


@router.get("/plans")
def list_plans(
    request: Request,
    house: TheHouse,
    _visitor: Reader,
    workload: Annotated[str | None, Query(max_length=100)] = None,
    cursor: Annotated[str | None, Query(pattern=CURSOR)] = None,
) -> Response:
    """Plans, newest first; any two can be compared."""
    with house.service.database.reading() as store:
        page = store.plans.plans(workload_id=workload or None, strategy=None, cursor=cursor, limit=_ON_PAGE)
        generation = store.deployments.generation()
        running = store.deployments.deployment(generation).plan_id if generation else None
    return render(
        request, "plans.html", plans=page.items, next=page.next, workload=workload or None, running=running
    )


@router.get("/plans/{plan_id}")
def read_plan(plan_id: str, request: Request, house: TheHouse, _visitor: Reader) -> Response:
    """A plan."""
    return render(request, "plan.html", **_seen(house, plan_id))


@router.get("/plans/{plan_id}/fragments")
def read_fragments(
    plan_id: str,
    request: Request,
    house: TheHouse,
    _visitor: Reader,
    page: Annotated[int, Query(ge=1, le=10**7)] = 1,
    find: Annotated[str, Query(max_length=200)] = "",
    sort: Annotated[str, Query(max_length=20)] = "",
) -> Response:
    """A page of the table of fragments."""
    values = _fragments(house, plan_id, page, find, sort)
    if "hx-request" in request.headers:
        return render(request, "plan_fragments.html", plan_id=plan_id, **values)
    return render(request, "plan.html", **(_seen(house, plan_id) | values))


@router.get("/plans/{plan_id}/stages")
def read_stages(
    plan_id: str,
    request: Request,
    house: TheHouse,
    _visitor: Reader,
    page: Annotated[int, Query(ge=1, le=10**7)] = 1,
) -> Response:
    """A page of the table of stages."""
    values: dict[str, Any] = {"stages": sheet(house.library.account(plan_id).stages, page)}
    if "hx-request" in request.headers:
        return render(request, "plan_stages.html", plan_id=plan_id, **values)
    return render(request, "plan.html", **(_seen(house, plan_id) | values))


@router.get("/plans/{plan_id}/left-out")
def read_left_out(
    plan_id: str,
    request: Request,
    house: TheHouse,
    _visitor: Reader,
    page: Annotated[int, Query(ge=1, le=10**7)] = 1,
) -> Response:
    """A page of the table of fragments left out."""
    values: dict[str, Any] = {"left_out": sheet(house.library.account(plan_id).left_out, page)}
    if "hx-request" in request.headers:
        return render(request, "plan_left_out.html", plan_id=plan_id, **values)
    return render(request, "plan.html", **(_seen(house, plan_id) | values))


@router.get("/plans/{plan_id}/document")
def read_document(plan_id: str, house: TheHouse, _visitor: Reader) -> Response:
    """The plan as a file."""
    with house.service.database.reading() as store:
        body = store.plans.plan(plan_id, body=True).body
    name = "".join(letter if letter.isalnum() else "-" for letter in plan_id)
    headers = {"Content-Disposition": f'attachment; filename="{name}.json"'}
    return Response(packing.unpack_bytes(body), media_type="application/json", headers=headers)


@router.post("/plans/{plan_id}/deploy")
def deploy(plan_id: str, request: Request, house: TheHouse, visitor: AnyVisitor, form: OurForm) -> Response:
    """Run this plan from now on; where it does not fit, the page says what found no place."""
    visitor.caller.require("deploy")
    expected = form.one("expected_generation")
    wanted = views.Deploy(plan=plan_id, expected_generation=int(expected) if expected.isdigit() else None)
    try:
        answer = deployments.deploy(
            wanted, post_of(house, visitor, form, "deploy"), house.service, visitor.caller
        )
    except ConflictError as error:
        return render(
            request, "plan.html", status=error.status, **(_seen(house, plan_id) | {"problem": error})
        )
    return to(f"/nodes?deployed={json.loads(bytes(answer.body))['generation']}")


def _seen(house: House, plan_id: str) -> dict[str, Any]:
    account = house.library.account(plan_id)
    with house.service.database.reading() as store:
        row = store.plans.plan(plan_id)
        generation = store.deployments.generation()
        running = store.deployments.deployment(generation).plan_id if generation else None
        others = store.plans.plans(workload_id=row.workload_id, strategy=None, cursor=None, limit=20).items
        live = len(store.nodes.live())
    return {
        "row": row,
        "plan_id": plan_id,
        "account": account,
        "generation": generation,
        "is_running": running == plan_id,
        "running": running,
        "others": [other for other in others if other.id != plan_id],
        "live": live,
        "stages": sheet(account.stages, 1),
        "left_out": sheet(account.left_out, 1),
        "problem": None,
        **_fragments(house, plan_id, 1, "", ""),
    }


def _fragments(house: House, plan_id: str, page: int, find: str, sort: str) -> dict[str, Any]:
    rows = house.library.account(plan_id).routes
    wanted = find.strip().lower()
    if wanted:
        rows = [
            row
            for row in rows
            if wanted in row.fragment.lower() or wanted in row.model.lower() or wanted in row.stages
        ]
    if sort == "slack":
        rows = sorted(rows, key=lambda row: row.use.slack_ms if row.use else 0.0)
    elif sort == "rate":
        rows = sorted(rows, key=lambda row: -(row.rate_rps or 0.0))
    return {"fragments": sheet(rows, page), "find": find, "sort": sort}
