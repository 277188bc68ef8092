"""A plan onto the live nodes' GPUs, and what each node gets of it.

A plan that names GPUs keeps its placement, if these are there; one without is placed by
`planner.placement`. Either way `planner.laws` has the last word on whether it fits.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from api import packing
from api.database import Database
from api.errors import DoesNotFitError
from planner import formats, laws, placement
from planner.errors import DoesNotFitError as NoRoomError
from planner.plan import Placed, Plan
from planner.profile import Profile
from planner.workload import Gpu, Workload


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A plan ready to become generation `after` + 1."""

    plan_id: str
    after: int
    instances: int
    gpus: int
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """A generation's deployment as it is stored: the plan with routes completed and every worker's place."""

    generation: int
    deployment_id: str
    plan_id: str | None
    stages: list[dict[str, Any]]
    routes: list[dict[str, Any]]
    workers: list[dict[str, Any]]


def prepare(database: Database, plan_id: str, *, max_clients: int) -> Prepared:
    """Place a plan onto the GPUs of the live nodes; may take seconds, and holds no transaction meanwhile.

    Raises NotFoundError where there is no such plan, DoesNotFitError with what found no place.
    """
    with database.reading() as store:
        row = store.plans.plan(plan_id, body=True)
        workload_body = store.documents.workload(row.workload_id, body=True).body
        profile_bodies = [store.documents.profile(name, body=True).body for name in row.profiles]
        gpus = [Gpu(**gpu) for node in store.nodes.live() for gpu in node.gpus]
        after = store.deployments.generation()
    plan = packing.unpack(Plan, row.body)
    workload = packing.unpack(Workload, workload_body)
    profiles = [packing.unpack(Profile, body) for body in profile_bodies]
    placed = _place(plan, workload, profiles, gpus, max_clients)
    by_type = {(profile.model, profile.gpu): profile for profile in profiles}
    stages = {stage.id: stage for stage in plan.stages}
    fragments = {fragment.id: fragment for fragment in workload.fragments}
    workers = []
    for item in placed:
        stage = stages[item.stage]
        profile = by_type[stage.model, stage.gpu]
        memory_mb = laws.memory_mb(profile, stage.start, stage.end, stage.batch, stage.exits)
        workers.append({**asdict(item), "memory_mb": memory_mb})
    routes = []
    written = formats.to_json(plan)
    for route, parts in zip(plan.routes, written["routes"], strict=True):
        fragment = fragments[route.fragment]
        routes.append(
            {
                **parts,
                "model": fragment.model,
                "start": fragment.start,
                "budget_ms": fragment.budget_ms,
                "rate_rps": fragment.load_rps,
            }
        )
    body = {"stages": written["stages"], "routes": routes, "workers": workers}
    used = len({item.gpu for item in placed})
    return Prepared(
        plan_id=plan_id, after=after, instances=len(placed), gpus=used, body=packing.pack_json(body)
    )


def resolve(database: Database, generation: int) -> Resolved:
    """What was stored for a generation. Raises NotFoundError; generation 0 is empty."""
    if generation == 0:
        return Resolved(generation=0, deployment_id="", plan_id=None, stages=[], routes=[], workers=[])
    with database.reading() as store:
        row = store.deployments.deployment(generation, body=True)
    return Resolved(
        generation=generation,
        deployment_id=row.id,
        plan_id=row.plan_id,
        **json.loads(packing.unpack_bytes(row.body)),
    )


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """What one node gets, as bytes, and its ETag: the same bytes have the same."""

    body: bytes
    etag: str


class AssignmentBook:
    """One generation's assignments; nodes with the same GPUs share theirs."""

    def __init__(self, resolved: Resolved) -> None:
        self.resolved = resolved
        self._by_gpus: dict[tuple[str, ...], Assignment] = {}
        self._workers: dict[str, list[dict[str, Any]]] = {}
        for worker in resolved.workers:
            self._workers.setdefault(worker["gpu"], []).append(worker)
        head = {
            "format": "regraft.assignment/v1",
            "generation": resolved.generation,
            "deployment": resolved.deployment_id or None,
            "plan": resolved.plan_id,
            "stages": resolved.stages,
            "routes": resolved.routes,
        }
        # Most of an assignment is the plan, which is the same for all nodes: it is written once.
        self._head = json.dumps(head, separators=(",", ":"))[:-1].encode() + b',"workers":'

    def workers(self, gpus: Sequence[str]) -> list[dict[str, Any]]:
        """The instances on these GPUs."""
        return [worker for gpu in gpus for worker in self._workers.get(gpu, [])]

    def assignment(self, gpus: Sequence[str]) -> Assignment:
        """The part of a node with these GPUs."""
        key = tuple(gpus)
        found = self._by_gpus.get(key)
        if found is None:
            workers = json.dumps(self.workers(gpus), separators=(",", ":")).encode()
            digest = hashlib.sha256(workers).hexdigest()[:16]
            found = Assignment(
                body=self._head + workers + b"}", etag=f'"{self.resolved.generation}-{digest}"'
            )
            self._by_gpus[key] = found
        return found


def _place(
    plan: Plan, workload: Workload, profiles: list[Profile], gpus: list[Gpu], max_clients: int
) -> tuple[Placed, ...]:
    placed = plan.placement
    if not gpus and plan.stages:
        raise DoesNotFitError("no node is live: there is no GPU to place the plan on", missing=[])
    if not placed:
        try:
            usable = _usable(plan, gpus)
            placed = placement.place(plan.stages, usable, profiles, max_clients=max_clients)
        except NoRoomError as error:
            raise DoesNotFitError(f"{error}; {_there(gpus)}", missing=error.missing) from None
    # A workload without GPUs has no placement to judge, so an empty list of nodes gets one that is too small.
    there = tuple(gpus) or (Gpu(id="none", type="none", memory_mb=1e-9),)
    verdict = laws.verify(
        replace(plan, placement=placed), replace(workload, gpus=there), profiles, max_clients=max_clients
    )
    broken = [item for item in verdict.violations if item.law == "placement"]
    if broken:
        what = "; ".join(f"{item.place}: {item.message}" for item in broken[:5])
        raise DoesNotFitError(f"{what}; {_there(gpus)}", missing=[asdict(item) for item in broken[:100]])
    return placed


def _usable(plan: Plan, gpus: list[Gpu]) -> list[Gpu]:
    """Of equal GPUs as many as there are instances for them: more could not be used, and cost the packer."""
    instances: Counter[str] = Counter()
    for stage in plan.stages:
        instances[stage.gpu] += stage.instances
    kept: Counter[tuple[str, float]] = Counter()
    usable = []
    for gpu in gpus:
        kind = gpu.type, gpu.memory_mb
        if kept[kind] < instances[gpu.type]:
            kept[kind] += 1
            usable.append(gpu)
    return usable


def _there(gpus: list[Gpu]) -> str:
    kinds = sorted({gpu.type for gpu in gpus})
    return f"the live nodes have {len(gpus)} GPUs" + (f" ({', '.join(kinds)})" if kinds else "")
