"""Plan runs and comparisons: submit, read, list, stop, cancel, and follow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent

from api import packing, presenting, submitting, views
from api.context import (
    BODY_REFUSALS,
    Cursor,
    Limit,
    Planner,
    Reader,
    Service,
    TheDatabase,
    TheService,
    refusals,
)
from api.differing import difference
from api.errors import NotFoundError
from api.posts import Outcome, PostOnce
from api.repositories.runs import FINAL, Wish
from api.repositories.store import Store
from api.requests import StrictRoute
from api.tables import RunEventRow
from api.watch import heard
from planner.plan import Plan

router = APIRouter(route_class=StrictRoute)

# Runs of other processes ring no bell here: their events are looked for this often.
FOLLOW_EVERY_S = 0.5
_EVENTS_AT_ONCE = 500


@router.post(
    "/plan-runs",
    tags=["plan runs"],
    status_code=202,
    response_model=views.Run,
    responses=refusals(404, 409, *BODY_REFUSALS),
)
def submit_run(
    wanted: views.SubmitRun, post: PostOnce, service: TheService, caller: Any = Planner
) -> Response:
    """Ask for a plan. The run is stored before this answers; follow it at its `Location`."""

    def submit(store: Store) -> Outcome:
        submitting.check(
            store,
            workload=wanted.workload,
            profiles=wanted.profiles,
            strategies=[("strategy", wanted.strategy)],
            queueing=wanted.queueing,
        )
        run = store.runs.submit(
            workload_id=wanted.workload,
            profiles=wanted.profiles,
            strategy=wanted.strategy,
            settings=submitting.settings_of(wanted),
            submitted_by=caller.key_id,
        )
        return Outcome(status=202, view=presenting.run(run), location=f"/v1/plan-runs/{run.id}")

    answer = post.answer(submit)
    service.queued.ring_from_thread()
    return answer


@router.get("/plan-runs", tags=["plan runs"], dependencies=[Reader], responses=refusals())
def list_runs(
    database: TheDatabase,
    state: views.State | None = None,
    workload: Annotated[str | None, Query(max_length=200)] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> views.Page[views.Run]:
    """Runs, newest first; in one state or of one workload where given."""
    with database.reading() as store:
        page = store.runs.runs(state=state, workload_id=workload, cursor=cursor, limit=limit)
    return views.Page(items=[presenting.run(row) for row in page.items], next=page.next)


@router.get("/plan-runs/{run_id}", tags=["plan runs"], dependencies=[Reader], responses=refusals(404))
def read_run(run_id: str, database: TheDatabase) -> views.Run:
    """A run."""
    with database.reading() as store:
        return presenting.run(store.runs.run(run_id))


@router.post(
    "/plan-runs/{run_id}/stop",
    tags=["plan runs"],
    dependencies=[Planner],
    status_code=202,
    response_model=views.Run,
    responses={200: {"model": views.Run, "description": "It has ended"}, **refusals(404, 409)},
)
def stop_run(run_id: str, post: PostOnce, service: TheService) -> Response:
    """End a run and keep the best plan so far. One that has ended stays as it is."""
    return _ask(run_id, "stop", post, service)


@router.post(
    "/plan-runs/{run_id}/cancel",
    tags=["plan runs"],
    dependencies=[Planner],
    status_code=202,
    response_model=views.Run,
    responses={200: {"model": views.Run, "description": "It has ended"}, **refusals(404, 409)},
)
def cancel_run(run_id: str, post: PostOnce, service: TheService) -> Response:
    """End a run and keep nothing. One that has ended stays as it is."""
    return _ask(run_id, "cancel", post, service)


def _ask(run_id: str, wish: Wish, post: PostOnce, service: Service) -> Response:
    def ask(store: Store) -> Outcome:
        run = store.runs.ask(run_id, wish)
        status = 200 if run.state in FINAL else 202
        audit = (f"run.{wish}", run_id, {"state": run.state})
        location = f"/v1/plan-runs/{run_id}"
        return Outcome(status=status, view=presenting.run(run), location=location, audit=audit)

    answer = post.answer(ask)
    service.watch.runs.ring_from_thread()
    return answer


async def existing(run_id: str, service: TheService) -> str:
    """The run's id, if there is such a run. Raises NotFoundError."""

    def look() -> str:
        with service.database.reading() as store:
            return store.runs.run(run_id).id

    return await asyncio.to_thread(look)


@router.get(
    "/plan-runs/{run_id}/events",
    tags=["plan runs"],
    dependencies=[Reader],
    response_class=EventSourceResponse,
    responses=refusals(404),
)
async def follow_run(
    run: Annotated[str, Depends(existing)],
    service: TheService,
    last_event_id: Annotated[
        int | None, Header(ge=0, lt=2**53, description="go on after this event; they count from 1")
    ] = None,
    follow: Annotated[bool, Query(description="wait for further events until the run has ended")] = True,
) -> AsyncIterator[ServerSentEvent]:
    """What happened to a run, and what happens, as server-sent events.

    `progress` carries {t, phase, objective, bound, gap}, `state` the new state. Events are kept: the
    stream can be taken up after any of them, also when the run has ended. It closes after the final state.
    """
    after = last_event_id or 0
    while True:
        ticket = service.watch.runs.ticket()
        rows = await asyncio.to_thread(_events, service, run, after)
        for row in rows:
            after = row.seq
            yield ServerSentEvent(data=row.data, event=row.kind, id=str(row.seq))
        if len(rows) == _EVENTS_AT_ONCE:
            continue
        ended = rows and rows[-1].kind == "state" and rows[-1].data["state"] in FINAL
        if ended or not follow or service.watch.closing:
            return
        if not rows and await asyncio.to_thread(_has_ended, service, run):
            return
        await heard(ticket, FOLLOW_EVERY_S)


def _events(service: Service, run_id: str, after: int) -> list[RunEventRow]:
    with service.database.reading() as store:
        return store.runs.events(run_id, after=after, limit=_EVENTS_AT_ONCE)


def _has_ended(service: Service, run_id: str) -> bool:
    with service.database.reading() as store:
        return store.runs.run(run_id).state in FINAL


@router.post(
    "/comparisons",
    tags=["comparisons"],
    status_code=202,
    response_model=views.Comparison,
    responses=refusals(404, 409, *BODY_REFUSALS),
)
def submit_comparison(
    wanted: views.SubmitComparison, post: PostOnce, service: TheService, caller: Any = Planner
) -> Response:
    """Ask for plans of one workload by several strategies, on the same profiles: one run for each."""

    def submit(store: Store) -> Outcome:
        submitting.check(
            store,
            workload=wanted.workload,
            profiles=wanted.profiles,
            strategies=[(f"strategies[{number}]", name) for number, name in enumerate(wanted.strategies)],
            queueing=wanted.queueing,
        )
        comparison = store.runs.compare(workload_id=wanted.workload, profiles=wanted.profiles)
        runs = [
            store.runs.submit(
                workload_id=wanted.workload,
                profiles=wanted.profiles,
                strategy=strategy,
                settings=submitting.settings_of(wanted),
                submitted_by=caller.key_id,
                comparison_id=comparison.id,
            )
            for strategy in wanted.strategies
        ]
        view = presenting.comparison(comparison, runs, {})
        return Outcome(status=202, view=view, location=f"/v1/comparisons/{comparison.id}")

    answer = post.answer(submit)
    service.queued.ring_from_thread()
    return answer


@router.get("/comparisons", tags=["comparisons"], dependencies=[Reader], responses=refusals())
def list_comparisons(
    database: TheDatabase, cursor: Cursor = None, limit: Limit = 20
) -> views.Page[views.Comparison]:
    """Comparisons, newest first."""
    with database.reading() as store:
        page = store.runs.comparisons(cursor=cursor, limit=limit)
        items = [_comparison(store, row.id) for row in page.items]
    return views.Page(items=items, next=page.next)


@router.get(
    "/comparisons/{comparison_id}", tags=["comparisons"], dependencies=[Reader], responses=refusals(404)
)
def read_comparison(comparison_id: str, database: TheDatabase) -> views.Comparison:
    """Strategies side by side: share, GPUs, bound, gap, time."""
    with database.reading() as store:
        return _comparison(store, comparison_id)


@router.get(
    "/comparisons/{comparison_id}/differences",
    tags=["comparisons"],
    dependencies=[Reader],
    responses=refusals(404),
)
def read_comparison_differences(
    comparison_id: str,
    database: TheDatabase,
    baseline: Annotated[
        str | None, Query(max_length=200, description="strategy; by default the first that has a plan")
    ] = None,
) -> views.ComparisonDifferences:
    """What changes when each strategy's plan replaces that of one of them.

    Stages added, removed and restarted, fragments re-routed. 404 where `baseline` has no plan (yet).
    """
    with database.reading() as store:
        _, runs = store.runs.comparison(comparison_id)
        bodies = {run.id: store.plans.plan(run.plan_id, body=True).body for run in runs if run.plan_id}
    base = next((run for run in runs if run.id in bodies and baseline in (None, run.strategy)), None)
    if base is None and baseline is not None:
        raise NotFoundError(f"the comparison has no plan of the strategy {baseline!r}")
    made = {name: packing.unpack(Plan, body) for name, body in bodies.items()}
    rows = []
    for run in runs:
        changed = None
        if base is not None and run.id in made:
            changed = difference(str(base.plan_id), made[base.id], str(run.plan_id), made[run.id])
        rows.append(
            views.ComparisonDifference(
                strategy=run.strategy, run=run.id, plan=run.plan_id, difference=changed
            )
        )
    return views.ComparisonDifferences(
        id=comparison_id,
        baseline=base.strategy if base else None,
        plan=base.plan_id if base else None,
        rows=rows,
    )


def _comparison(store: Store, comparison_id: str) -> views.Comparison:
    row, runs = store.runs.comparison(comparison_id)
    plans = store.plans.of_ids([run.plan_id for run in runs if run.plan_id is not None])
    return presenting.comparison(row, runs, plans)
