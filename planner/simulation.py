"""What a plan does with requests as they come: a simulation by discrete events.

The laws of a plan promise what they promise for arrivals that behave (see docs/queueing.md); this replays a
plan with arrivals that do not, and counts how often the promise is kept.

Every stage has one queue for all its instances. An instance that is free takes what is queued, at once, up
to the stage's batch, and never waits for a batch to fill. What happens to a batch depends on nothing that
happens later on its way, and routes only lead forwards, so the events need no common calendar: stages are
simulated one after the other, in the order of their first layer, each with all requests that reach it.
This is the same simulation as with one process a worker and a shared clock (a test replays it with
SimPy and compares every request), and it is an order of magnitude faster.

Times inside are in ms from the start of the simulation.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from planner import laws
from planner.arrivals import Arrivals
from planner.errors import Complaint, InputError
from planner.formats import MAX_COMPLAINTS
from planner.plan import Plan, Route, Stage
from planner.profile import Profile
from planner.simulation_exits import leaving_of
from planner.simulation_queue import SLACK_MS, Arrival, Served, SimulationSettings, serve
from planner.simulation_results import FragmentResult, SimulationResult, StageResult
from planner.simulation_server import server_of
from planner.traces import Floats
from planner.workload import Fragment, Workload


@dataclass(frozen=True, kw_only=True, eq=False)
class Replay:
    """Every request of one run: arrays of one length, a fragment's requests side by side in order of arrival.

    `fragment` is the position in `fragments`, `route` the one in the plan; `finish_ms` is nan for a dropped
    request, and `wait_ms` the time in queues of all stages that ran it.
    """

    fragments: tuple[Fragment, ...]
    arrival_ms: Floats
    fragment: NDArray[np.intp]
    route: NDArray[np.intp]
    finish_ms: Floats
    wait_ms: Floats
    served: tuple[tuple[Stage, Served], ...]


def simulate(
    plan: Plan,
    workload: Workload,
    profiles: Sequence[Profile],
    *,
    arrivals: Arrivals,
    seconds: float = 60.0,
    seed: int = 0,
    settings: SimulationSettings | None = None,
) -> SimulationResult:
    """Replay `seconds` of arrivals against a plan, and whatever is then still under way.

    The same arguments give the same result. Raises InputError for a plan whose stages and routes do not
    exist as it says (laws 1 and 4); a plan that breaks the laws of time or capacity is simulated.
    """
    run = replay(plan, workload, profiles, arrivals=arrivals, seconds=seconds, seed=seed, settings=settings)
    return SimulationResult(
        arrivals=arrivals.kind,
        seconds=seconds,
        seed=seed,
        fragments=_fragment_results(run),
        stages=tuple(_stage_result(stage, served, seconds) for stage, served in run.served),
    )


def replay(
    plan: Plan,
    workload: Workload,
    profiles: Sequence[Profile],
    *,
    arrivals: Arrivals | Mapping[str, Floats],
    seconds: float = 60.0,
    seed: int = 0,
    settings: SimulationSettings | None = None,
) -> Replay:
    """As `simulate`, with what happened to every single request.

    `arrivals` may also be the times at which each fragment's requests came, in seconds and in order: what was
    seen can be replayed as it was.
    """
    settings = settings or SimulationSettings()
    _check(plan, workload, profiles, seconds, settings)
    case = _Case(plan, workload, profiles, settings)
    random = np.random.default_rng(seed)
    load = _requests(case, arrivals, seconds, random)
    case.let_go(load, seed)
    inbox: dict[str, list[Arrival]] = defaultdict(list)
    _enter(case, load, inbox)
    finish_ms = np.full(len(load.arrival_ms), math.nan)
    wait_ms = np.zeros(len(load.arrival_ms))
    done = []
    for stage in case.order:
        served = serve(case.servers[stage.id], inbox.pop(stage.id, []), settings, random)
        _hand_over(case, load, served, stage, inbox, finish_ms)
        wait_ms[served.request] += served.wait_ms
        done.append((stage, served))
    return Replay(
        fragments=tuple(case.fragments),
        arrival_ms=load.arrival_ms,
        fragment=load.fragment,
        route=load.route,
        finish_ms=finish_ms,
        wait_ms=wait_ms,
        served=tuple(done),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Load:
    """All requests: when they arrived, whose they are (a fragment's number), and their route's number."""

    arrival_ms: Floats
    fragment: NDArray[np.intp]
    route: NDArray[np.intp]


class _Case:
    """The plan with everything looked up once."""

    def __init__(
        self, plan: Plan, workload: Workload, profiles: Sequence[Profile], settings: SimulationSettings
    ) -> None:
        known = {(profile.model, profile.gpu): profile for profile in profiles}
        self.settings = settings
        self.profiles = known
        self.order = sorted(plan.stages, key=lambda stage: stage.start)
        self.servers = {
            stage.id: server_of(stage, known[stage.model, stage.gpu], settings) for stage in plan.stages
        }
        routed = {route.fragment for route in plan.routes}
        self.fragments: list[Fragment] = [
            fragment for fragment in workload.fragments if fragment.id in routed
        ]
        numbers = {fragment.id: number for number, fragment in enumerate(self.fragments)}
        self.routes: list[Route] = list(plan.routes)
        self.routes_of: list[list[int]] = [[] for _ in self.fragments]
        for number, route in enumerate(self.routes):
            self.routes_of[numbers[route.fragment]].append(number)
        self.budgets_ms = np.array([fragment.budget_ms for fragment in self.fragments])
        # What a request needs at least from this stage's answer on, and where it goes next ("" at the end).
        self.later_ms: dict[tuple[str, int], float] = {}
        self.next: dict[tuple[str, int], str] = {}
        for number, route in enumerate(self.routes):
            later, following = 0.0, ""
            for name in reversed(route.stages):
                self.later_ms[name, number], self.next[name, number] = later, following
                later, following = later + self.servers[name].exec_ms[1] + settings.copy_ms, name

    def let_go(self, load: _Load, seed: int) -> None:
        """Decide who leaves where; from a seed of its own, so that nothing else changes with it."""
        hardness = np.random.default_rng([seed, 1]).random(len(load.arrival_ms))
        for stage in self.order:
            if stage.exits:
                leaving = leaving_of(
                    stage,
                    self.profiles[stage.model, stage.gpu],
                    self.fragments,
                    load.fragment.tolist(),
                    hardness,
                    taken=self.settings.batch_time == "taken",
                )
                self.servers[stage.id] = replace(self.servers[stage.id], leaving=leaving)


def _requests(
    case: _Case, arrivals: Arrivals | Mapping[str, Floats], seconds: float, random: np.random.Generator
) -> _Load:
    """Every fragment's requests, each with the route whose turn it is."""
    times, owners, routes = [], [], []
    for number, fragment in enumerate(case.fragments):
        if isinstance(arrivals, Arrivals):
            found = arrivals.times(
                rate_rps=fragment.rate_rps, count=fragment.count, seconds=seconds, random=random
            )
        else:
            found = np.asarray(arrivals.get(fragment.id, ()), dtype=np.float64)
        times.append(found * 1000.0)
        owners.append(np.full(len(found), number))
        routes.append(_turns(case.routes_of[number], case.routes, len(found)))
    return _Load(
        arrival_ms=np.concatenate(times), fragment=np.concatenate(owners), route=np.concatenate(routes)
    )


def _turns(numbers: Sequence[int], routes: Sequence[Route], length: int) -> NDArray[np.intp]:
    """Smooth weighted round robin: after any number of requests every route had its share to within one."""
    if len(numbers) == 1:
        return np.full(length, numbers[0])
    weights = [routes[number].fraction for number in numbers]
    total, credit, turns = sum(weights), [0.0] * len(numbers), np.empty(length, dtype=np.intp)
    for position in range(length):
        credit = [have + weight for have, weight in zip(credit, weights, strict=True)]
        best = max(range(len(numbers)), key=credit.__getitem__)
        credit[best] -= total
        turns[position] = numbers[best]
    return turns


def _enter(case: _Case, load: _Load, inbox: dict[str, list[Arrival]]) -> None:
    """Put every request into the queue of its first stage."""
    for number, route in enumerate(case.routes):
        first = route.stages[0]
        mine = np.flatnonzero(load.route == number)
        arrived = load.arrival_ms[mine]
        deadline = arrived + case.budgets_ms[load.fragment[mine]] - case.later_ms[first, number]
        queued = (arrived + case.settings.network_ms).tolist()
        inbox[first].extend(zip(queued, deadline.tolist(), mine.tolist(), strict=True))


def _hand_over(
    case: _Case,
    load: _Load,
    served: Served,
    stage: Stage,
    inbox: dict[str, list[Arrival]],
    finish_ms: Floats,
) -> None:
    """Send what a stage has run to the next stage, or home."""
    finish_ms[served.request[served.left]] = served.end_ms[served.left]
    routes = load.route[served.request]
    for number in np.unique(routes[~served.left]).tolist():
        these = (routes == number) & ~served.left
        requests, ends = served.request[these], served.end_ms[these]
        following = case.next[stage.id, number]
        if not following:
            finish_ms[requests] = ends
            continue
        deadline = load.arrival_ms[requests] + case.budgets_ms[load.fragment[requests]]
        deadline -= case.later_ms[following, number]
        queued = (ends + case.settings.copy_ms).tolist()
        inbox[following].extend(zip(queued, deadline.tolist(), requests.tolist(), strict=True))


def _stage_result(stage: Stage, served: Served, seconds: float) -> StageResult:
    # A worker may still be busy after the last arrival; time after that is no time it could have been idle.
    span_ms = max(seconds * 1000.0, float(served.end_ms.max(initial=0.0)))
    return StageResult(
        stage=stage.id,
        requests=served.received,
        dropped=served.dropped,
        batches=served.batches,
        mean_batch=len(served.request) / served.batches if served.batches else None,
        utilisation=served.busy_ms / (stage.instances * span_ms),
        mean_wait_ms=_mean(served.wait_ms),
        p99_wait_ms=_quantile(served.wait_ms, 0.99),
    )


def _fragment_results(run: Replay) -> tuple[FragmentResult, ...]:
    found = []
    bounds = np.searchsorted(run.fragment, np.arange(len(run.fragments) + 1))
    for number, fragment in enumerate(run.fragments):
        mine = slice(bounds[number], bounds[number + 1])
        answered = ~np.isnan(run.finish_ms[mine])
        latency = (run.finish_ms[mine] - run.arrival_ms[mine])[answered]
        waits = run.wait_ms[mine][answered]
        found.append(
            FragmentResult(
                fragment=fragment.id,
                budget_ms=fragment.budget_ms,
                requests=len(answered),
                on_time=int((latency <= fragment.budget_ms + SLACK_MS).sum()),
                dropped=int((~answered).sum()),
                p50_ms=_quantile(latency, 0.5),
                p99_ms=_quantile(latency, 0.99),
                p999_ms=_quantile(latency, 0.999),
                mean_wait_ms=_mean(waits),
                p99_wait_ms=_quantile(waits, 0.99),
            )
        )
    return tuple(found)


def _mean(values: Floats) -> float | None:
    return float(values.mean()) if len(values) else None


def _quantile(values: Floats, part: float) -> float | None:
    """The smallest value that this part of the values does not exceed."""
    return float(np.quantile(values, part, method="inverted_cdf")) if len(values) else None


def _check(
    plan: Plan,
    workload: Workload,
    profiles: Sequence[Profile],
    seconds: float,
    settings: SimulationSettings,
) -> None:
    """What cannot be simulated is refused: settings out of range, stages or routes that do not exist."""
    parts = [settings.beside_of(stage.id) for stage in plan.stages] or [settings.beside_of("")]
    waver = [times for _, times in settings.waver] or [1.0]
    slow = [settings.slowness_of(stage.id) for stage in plan.stages] or [settings.slowness_of("")]
    complaints = [
        Complaint(place=name, problem=f"is {value:g}", cure=cure)
        for name, value, allowed, cure in (
            ("seconds", seconds, 0 < seconds <= 1e7, "above 0, at most 10000000"),
            ("network_ms", settings.network_ms, 0 <= settings.network_ms <= 1e9, "0 to 1e9"),
            ("copy_ms", settings.copy_ms, 0 <= settings.copy_ms <= 1e9, "0 to 1e9"),
            ("slowness", min(slow), min(slow) > 0, "above 0"),
            ("waver", min(waver), min(waver) > 0, "above 0"),
            ("beside", min(parts), min(parts) >= 0, "0 to 1"),
            ("beside", max(parts), max(parts) <= 1, "0 to 1"),
            ("exec_cv", settings.exec_cv, 0 <= settings.exec_cv <= 10, "0 to 10"),
        )
        if not allowed
    ]
    if complaints:
        raise InputError("settings", complaints)
    broken = [
        Complaint(
            place=violation.place, problem=violation.message, cure="simulate a plan that `verify` accepts"
        )
        for violation in laws.verify(plan, workload, profiles).violations
        if violation.law in ("stage", "routes")
    ]
    if broken:
        raise InputError("plan", broken[:MAX_COMPLAINTS])
    if not plan.routes:
        complaint = Complaint(
            place="routes", problem="are empty", cure="simulate a plan that serves something"
        )
        raise InputError("plan", [complaint])
