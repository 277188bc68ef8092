"""/runs: every plan run, and one as it closes in on its bound; stop and cancel."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, get_args

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent

from api import views
from api.context import TheService
from api.endpoints import runs as endpoints
from api.pages.routing import AnyVisitor, House, OurForm, PageRoute, Reader, TheHouse, post_of, render, to
from api.pictures.closing import Reading, closing_picture
from api.repositories.paging import CURSOR
from api.repositories.runs import FINAL
from api.repositories.store import Store
from api.tables import PlanRow, RunRow
from planner.plan import Unplanned

router = APIRouter(route_class=PageRoute, include_in_schema=False)

STATES: tuple[str, ...] = get_args(views.State)
_ON_PAGE = 30
# A picture of more points says no more.
_MOST_READINGS = 2000


@dataclass(frozen=True, kw_only=True)
class RunLine:
    """A run as the list shows it."""

    run: RunRow
    plan: PlanRow | None
    fragments: int

    @property
    def share(self) -> float | None:
        return self.plan.share if self.plan else self._progress("objective")

    @property
    def bound(self) -> float | None:
        return self.plan.lower_bound if self.plan else self._progress("bound")

    @property
    def gap(self) -> float | None:
        return self.plan.gap if self.plan else self._progress("gap")

    @property
    def gpus(self) -> int | None:
        return self.plan.gpus if self.plan else None

    @property
    def seconds(self) -> float | None:
        """Seconds of the solve; of a run that still goes on, so far."""
        if self.plan is not None and self.plan.seconds is not None:
            return self.plan.seconds
        if self.run.started_ms is None:
            return None
        return max(0.0, (self.run.finished_ms or time.time() * 1000) - self.run.started_ms) / 1000

    @property
    def ended(self) -> bool:
        return self.run.state in FINAL

    def _progress(self, name: str) -> float | None:
        value = (self.run.progress or {}).get(name)
        return float(value) if isinstance(value, int | float) else None


@router.get("/")
def start(_visitor: AnyVisitor) -> Response:
    """The start page is the list of runs."""
    return to("/runs")


@router.get("/runs")
def list_runs(
    request: Request,
    house: TheHouse,
    _visitor: Reader,
    state: Annotated[str | None, Query(max_length=20)] = None,
    workload: Annotated[str | None, Query(max_length=100)] = None,
    cursor: Annotated[str | None, Query(pattern=CURSOR)] = None,
) -> Response:
    """Runs, newest first."""
    wanted = state if state in STATES else None
    with house.service.database.reading() as store:
        page = store.runs.runs(state=wanted, workload_id=workload or None, cursor=cursor, limit=_ON_PAGE)
        lines = run_lines(store, page.items)
        counts = store.runs.counts()
    part = "hx-request" in request.headers
    return render(
        request,
        "runs_rows.html" if part else "runs.html",
        lines=lines,
        next=page.next,
        state=wanted,
        workload=workload or None,
        cursor=cursor,
        counts=counts,
        states=[name for name in STATES if counts.get(name)],
        moving=any(not line.ended for line in lines),
    )


@router.get("/runs/{run_id}")
def read_run(run_id: str, request: Request, house: TheHouse, _visitor: Reader) -> Response:
    """A run: where it is, or how it ended."""
    return render(request, "run.html", **_seen(house, run_id))


@router.get("/runs/{run_id}/live")
def read_run_live(run_id: str, request: Request, house: TheHouse, _visitor: Reader) -> Response:
    """The part of a run's page that changes."""
    return render(request, "run_live.html", **_seen(house, run_id))


@router.get("/runs/{run_id}/events", response_class=EventSourceResponse)
async def follow(
    run: Annotated[str, Depends(endpoints.existing)],
    service: TheService,
    _visitor: Reader,
    last_event_id: Annotated[int | None, Header(ge=0, lt=2**53)] = None,
) -> AsyncIterator[ServerSentEvent]:
    """The run's events, as the API streams them, for whoever is signed in."""
    async for event in endpoints.follow_run(run, service, last_event_id, True):
        yield event


@router.post("/runs/{run_id}/{wish}")
def ask(run_id: str, wish: str, house: TheHouse, visitor: AnyVisitor, form: OurForm) -> Response:
    """Stop a run and keep its best plan, or cancel it."""
    visitor.caller.require("plan")
    post = post_of(house, visitor, form, f"run-{wish}")
    if wish == "stop":
        endpoints.stop_run(run_id, post, house.service)
    elif wish == "cancel":
        endpoints.cancel_run(run_id, post, house.service)
    return to(f"/runs/{run_id}")


def run_lines(store: Store, runs: Sequence[RunRow]) -> list[RunLine]:
    """Runs with their plans and the size of their workloads."""
    plans = store.plans.of_ids([run.plan_id for run in runs if run.plan_id is not None])
    sizes = {name: store.documents.workload(name).fragments for name in {run.workload_id for run in runs}}
    return [
        RunLine(run=run, plan=plans.get(run.plan_id or ""), fragments=sizes[run.workload_id]) for run in runs
    ]


def _seen(house: House, run_id: str) -> dict[str, Any]:
    readings: list[Reading] = []
    phase, after = None, 0
    with house.service.database.reading() as store:
        run = store.runs.run(run_id)
        (line,) = run_lines(store, [run])
        workload = store.documents.workload(run.workload_id)
        while events := store.runs.events(run_id, after=after, limit=1000):
            after = events[-1].seq
            for event in events:
                if event.kind == "state" and event.data.get("state") == "running":
                    readings = []  # begun again: only this attempt counts
                elif event.kind == "progress":
                    data = event.data
                    phase = data.get("phase")
                    readings.append(
                        Reading(t_s=data["t"], objective=data.get("objective"), bound=data.get("bound"))
                    )
    if line.plan is not None:
        end_s = max([line.plan.seconds or 0.0, *(item.t_s for item in readings)])
        readings.append(Reading(t_s=end_s, objective=line.plan.share, bound=line.plan.lower_bound))
    failure = run.failure or {}
    return {
        "line": line,
        "run": run,
        "workload": workload,
        "phase": phase,
        "picture": closing_picture(_thinned(readings), until_s=line.seconds if not line.ended else None),
        "failure": failure,
        "reasons": [
            Unplanned(fragment=item["fragment"], reason=item["reason"], detail=item.get("detail") or {})
            for item in (failure.get("reasons") or [])[:200]
            if isinstance(item, dict) and "fragment" in item and "reason" in item
        ],
        "more_reasons": max(0, len(failure.get("reasons") or []) - 200),
    }


def _thinned(readings: list[Reading]) -> list[Reading]:
    if len(readings) <= _MOST_READINGS:
        return readings
    step = len(readings) / _MOST_READINGS
    return [readings[int(number * step)] for number in range(_MOST_READINGS)] + readings[-1:]
