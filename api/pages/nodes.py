"""/nodes: what runs, and whether it keeps its promises; generations, and rolling back."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from api import deploying, running, views
from api.endpoints import deployments, drifts
from api.errors import ConflictError
from api.pages.observing import Latency, Observed
from api.pages.plans import sheet
from api.pages.routing import AnyVisitor, House, OurForm, PageRoute, Reader, TheHouse, post_of, render, to
from api.pictures.account import Account
from api.repositories.paging import CURSOR
from planner.plan import Placed
from planner.workload import Gpu

router = APIRouter(route_class=PageRoute, include_in_schema=False)


_COMING_UP_MS = 20_000
_DRIFTS = 10
_UNDER_WAY = ("starting", "not reported", "draining")


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuLine:
    """A GPU with what is given out of it and what is used. Shares in percent, memory in MB."""

    id: str
    node: str
    type: str
    allocated: float
    used: float | None
    memory_mb: float
    given_mb: float
    ready: int
    wanted: int


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerLine:
    """An instance as the plan wants it, beside what its node says of it."""

    stage: str
    instance: int
    gpu: str
    node: str | None
    state: str
    share: float
    reported: views.Worker | None
    used: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class PromiseLine:
    """What a fragment was promised, and what was observed."""

    fragment: str
    model: str
    start: int
    rate_rps: float
    budget_ms: float
    promised_ms: float
    latency: Latency | None
    answered: int
    on_time: float | None


@router.get("/nodes")
async def read_nodes(
    request: Request,
    house: TheHouse,
    _visitor: Reader,
    workers: Annotated[int, Query(ge=1, le=10**7)] = 1,
    fragments: Annotated[int, Query(ge=1, le=10**7)] = 1,
    cursor: Annotated[str, Query(pattern=rf"^$|{CURSOR}")] = "",
    deployed: Annotated[int | None, Query(ge=0, lt=2**53)] = None,
) -> Response:
    """What runs."""
    observed = await house.observatory.look()
    part = "hx-request" in request.headers
    values = await run_in_threadpool(_seen, house, observed, workers, fragments, cursor)
    template = "nodes_live.html" if part else "nodes.html"
    return await run_in_threadpool(render, request, template, deployed=deployed, problem=None, **values)


@router.post("/nodes/roll-back")
async def roll_back(request: Request, house: TheHouse, visitor: AnyVisitor, form: OurForm) -> Response:
    """Run an earlier generation's plan again."""
    visitor.caller.require("deploy")
    generation, expected = form.one("generation"), form.one("expected_generation")
    wanted = views.Rollback(
        generation=int(generation) if generation.isdigit() else None,
        expected_generation=int(expected) if expected.isdigit() else None,
    )
    try:
        await run_in_threadpool(
            deployments.roll_back,
            wanted,
            post_of(house, visitor, form, "roll-back"),
            house.service,
            visitor.caller,
        )
    except ConflictError as error:
        observed = await house.observatory.look()
        values = await run_in_threadpool(_seen, house, observed, 1, 1, "")
        return render(request, "nodes.html", status=error.status, deployed=None, problem=error, **values)
    with house.service.database.reading() as store:
        current = store.deployments.generation()
    return to(f"/nodes?deployed={current}")


def _seen(
    house: House, observed: Observed, workers_page: int, fragments_page: int, cursor: str
) -> dict[str, Any]:
    with house.service.database.reading() as store:
        generation = store.deployments.generation()
        history = store.deployments.deployments(cursor=cursor or None, limit=20)
        plans = store.plans.of_ids([row.plan_id for row in history.items])
        nodes, statuses, now_ms = store.nodes.nodes(), store.nodes.statuses(), store.nodes.now_ms()
        current = store.deployments.deployment(generation) if generation else None
        exits = drifts.seen(house.service, store)
        drifted = drifts.shown(store, store.drifts.drifts(cursor=None, limit=_DRIFTS).items)
    resolved = deploying.resolve(house.service.database, generation)
    missing = running.not_running(
        resolved.workers, generation=generation, nodes=nodes, statuses=statuses, now_ms=now_ms
    )
    book = deploying.AssignmentBook(resolved)
    shown = [
        running.node_view(
            node,
            statuses.get(node.id),
            book.workers([gpu["id"] for gpu in node.gpus]),
            generation=generation,
            now_ms=now_ms,
            settings=house.service.settings,
        )
        for node in nodes
    ]
    lines = _workers(resolved, missing, shown, observed)
    return {
        "generation": generation,
        "current": current,
        "plan": plans.get(resolved.plan_id or "") or _plan(house, resolved.plan_id),
        "history": history.items,
        "plans": plans,
        "next": history.next,
        "cursor": cursor,
        "nodes": shown,
        "gpus": _gpus(lines, shown, resolved),
        "missing": missing,
        "reasons": Counter(item.reason.replace("_", " ") for item in missing).most_common(),
        "total": len(resolved.workers),
        "workers": sheet(lines, workers_page),
        "promises": sheet(_promises(resolved, observed), fragments_page),
        "observed": observed,
        "exits": exits,
        "drifts": drifted,
        # Workers need a while to come up: until then nothing is wrong.
        "coming": current is not None
        and now_ms - current.created_ms < _COMING_UP_MS
        and all(item.reason.replace("_", " ") in _UNDER_WAY for item in missing),
        "asked": bool(house.service.settings.gateways.strip()),
        "account": _account(house, resolved, shown),
    }


def _plan(house: House, plan_id: str | None) -> Any:
    if plan_id is None:
        return None
    with house.service.database.reading() as store:
        return store.plans.plan(plan_id)


def _workers(
    resolved: deploying.Resolved,
    missing: Sequence[views.NotRunning],
    nodes: Sequence[views.Node],
    observed: Observed,
) -> list[WorkerLine]:
    """All instances, those that do not run first."""
    owner = {gpu.id: node.name for node in nodes for gpu in node.gpus}
    reported = {
        (worker.gpu, worker.stage, worker.instance): worker
        for node in nodes
        for worker in node.workers
        if worker.generation == resolved.generation
    }
    absent = {(item.gpu, item.stage, item.instance): item.reason.replace("_", " ") for item in missing}
    stages = {stage["id"]: stage for stage in resolved.stages}
    lines = []
    for worker in resolved.workers:
        key = worker["gpu"], worker["stage"], worker["instance"]
        stage = stages[worker["stage"]]
        busy = observed.busy.get((stage["model"], stage["start"], stage["end"], stage["batch"], stage["gpu"]))
        lines.append(
            WorkerLine(
                stage=worker["stage"],
                instance=worker["instance"],
                gpu=worker["gpu"],
                node=owner.get(worker["gpu"]),
                state=absent.get(key, "ready"),
                share=stage["share"],
                reported=reported.get(key),
                used=None if busy is None else busy * stage["share"],
            )
        )
    return sorted(lines, key=lambda line: (line.state == "ready", line.gpu, line.stage, line.instance))


def _gpus(
    lines: Sequence[WorkerLine], nodes: Sequence[views.Node], resolved: deploying.Resolved
) -> list[GpuLine]:
    by_gpu: defaultdict[str, list[WorkerLine]] = defaultdict(list)
    for line in lines:
        by_gpu[line.gpu].append(line)
    given: defaultdict[str, float] = defaultdict(float)
    for worker in resolved.workers:
        given[worker["gpu"]] += worker["memory_mb"]
    found = []
    for node in nodes:
        for gpu in node.gpus:
            held = by_gpu[gpu.id]
            used = [line.used for line in held if line.used is not None]
            found.append(
                GpuLine(
                    id=gpu.id,
                    node=node.name,
                    type=gpu.type,
                    allocated=sum(line.share for line in held),
                    used=sum(used) if used else None,
                    memory_mb=gpu.memory_mb,
                    given_mb=given[gpu.id],
                    ready=sum(line.state == "ready" for line in held),
                    wanted=len(held),
                )
            )
    return found


def _promises(resolved: deploying.Resolved, observed: Observed) -> list[PromiseLine]:
    """Every fragment, those that are late most often first."""
    worst: dict[str, float] = {}
    first: dict[str, dict[str, Any]] = {}
    for route in resolved.routes:
        name = route["fragment"]
        worst[name] = max(worst.get(name, 0.0), route["worst_ms"])
        first.setdefault(name, route)
    lines = [
        PromiseLine(
            fragment=name,
            model=route["model"],
            start=route["start"],
            rate_rps=route["rate_rps"],
            budget_ms=route["budget_ms"],
            promised_ms=worst[name],
            latency=observed.latency.get((route["model"], route["start"])),
            answered=observed.answered.get(name, 0),
            on_time=observed.on_time_fraction(name),
        )
        for name, route in first.items()
    ]
    return sorted(lines, key=lambda line: (2.0 if line.on_time is None else line.on_time, line.fragment))


def _account(house: House, resolved: deploying.Resolved, nodes: Sequence[views.Node]) -> Account | None:
    """The plan as it lies on the nodes that are there."""
    if resolved.plan_id is None:
        return None
    made = house.library.account(resolved.plan_id)
    placed = tuple(
        Placed(stage=worker["stage"], instance=worker["instance"], gpu=worker["gpu"])
        for worker in resolved.workers
    )
    gpus = tuple(
        Gpu(id=gpu.id, type=gpu.type, memory_mb=gpu.memory_mb) for node in nodes for gpu in node.gpus
    )
    workload = made.workload
    if workload is not None:
        workload = replace(workload, gpus=gpus or None)
    return Account(replace(made.plan, placement=placed), workload, list(made.profiles.values()))
