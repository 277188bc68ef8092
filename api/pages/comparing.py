"""/compare: strategies side by side on one workload, and the difference between any two plans."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from api import presenting, views
from api.differing import difference
from api.pages.plans import sheet
from api.pages.routing import House, PageRoute, Reader, TheHouse, render
from api.pictures.sides import Side, sides_picture
from api.repositories.paging import CURSOR
from api.repositories.store import Store

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_ON_PAGE = 20


@router.get("/compare")
def list_comparisons(
    request: Request,
    house: TheHouse,
    _visitor: Reader,
    cursor: Annotated[str | None, Query(pattern=CURSOR)] = None,
) -> Response:
    """Comparisons, newest first, and a form for two plans."""
    with house.service.database.reading() as store:
        page = store.runs.comparisons(cursor=cursor, limit=_ON_PAGE)
        comparisons = [_comparison(store, row.id) for row in page.items]
        sizes = {item.workload: store.documents.workload(item.workload).fragments for item in comparisons}
        plans = store.plans.plans(workload_id=None, strategy=None, cursor=None, limit=50).items
    return render(
        request, "comparisons.html", comparisons=comparisons, next=page.next, plans=plans, sizes=sizes
    )


@router.get("/compare/plans")
def compare_plans(
    request: Request,
    house: TheHouse,
    _visitor: Reader,
    before: Annotated[str, Query(max_length=100)],
    after: Annotated[str, Query(max_length=100)],
    page: Annotated[int, Query(ge=1, le=10**7)] = 1,
) -> Response:
    """What changes when one plan replaces another."""
    one, other = house.library.account(before), house.library.account(after)
    changes = difference(before, one.plan, after, other.plan)
    with house.service.database.reading() as store:
        rows = [store.plans.plan(before), store.plans.plan(after)]
        plans = store.plans.plans(workload_id=None, strategy=None, cursor=None, limit=50).items
    return render(
        request,
        "difference.html",
        changes=changes,
        before=rows[0],
        after=rows[1],
        accounts=[one, other],
        plans=[*(row for row in rows if row.id not in {plan.id for plan in plans}), *plans],
        rerouted=sheet(changes.rerouted, page),
        same_workload=rows[0].workload_id == rows[1].workload_id,
    )


@router.get("/compare/{comparison_id}")
def read_comparison(comparison_id: str, request: Request, house: TheHouse, _visitor: Reader) -> Response:
    """Strategies side by side."""
    values = _seen(house, comparison_id)
    if "hx-request" in request.headers:
        return render(request, "comparison_live.html", **values)
    return render(request, "comparison.html", **values)


def _comparison(store: Store, comparison_id: str) -> views.Comparison:
    row, runs = store.runs.comparison(comparison_id)
    plans = store.plans.of_ids([run.plan_id for run in runs if run.plan_id is not None])
    return presenting.comparison(row, runs, plans)


def _seen(house: House, comparison_id: str) -> dict[str, Any]:
    with house.service.database.reading() as store:
        comparison = _comparison(store, comparison_id)
        _, runs = store.runs.comparison(comparison_id)
        workload = store.documents.workload(comparison.workload)
    progress = {run.id: run.progress or {} for run in runs}
    bounds = [row.lower_bound for row in comparison.rows if row.lower_bound is not None]
    bound = max(bounds, default=None)
    shares = [row.share for row in comparison.rows if row.share is not None]
    sides = [Side(strategy=row.strategy, share=row.share, state=row.state) for row in comparison.rows]
    return {
        "comparison": comparison,
        "workload": workload,
        "progress": progress,
        "bound": bound,
        "best": min(shares, default=None),
        "sides": sides_picture(sides, bound),
        "accounts": {row.plan: house.library.account(row.plan) for row in comparison.rows if row.plan},
    }
