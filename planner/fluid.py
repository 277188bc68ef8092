"""Plans for loads so large that whole instances matter little: design section 5.4, for `optimal`.

What a plan sees of a fragment is (model, start, budget, load). Were instances sold in fractions, every
request would take the path that costs it least within its budget, and nobody would have to share: that is
the bound of `solver.path_bound`. Here the same paths are taken with whole instances, which hurts where a
stage is used little. So the price of a request on a stage is corrected to what it really was, instances · s
/ load, the paths are chosen anew, and so on: slope scaling (Kim and Pardalos 1999, for network design with
fixed charges).

Budgets are not rounded to a grid: a path of time t serves every budget from t to the time of the next
cheaper path, so sorted budgets with running sums of their loads say what each path carries, and a round
costs no more for a million fragments than for a thousand. Plan and bound hold for the budgets as they were
given.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from planner.menu import EPSILON, Menu
from planner.problem import Draft, DraftRoute, DraftStage, PlanSettings, Problem
from planner.programs import network_over
from solver.path_bound import path_bound
from solver.routes import Floats, Indices, Network

# Paths kept at a cut point: few make few stages, which suits small loads, many make cheap ones. Each is
# tried, with rounds until so many of them brought nothing better.
MOST_PATHS = (30, 8, 120, 4)
PATIENCE = 4
ROUNDS = 40


@dataclass(frozen=True, kw_only=True, eq=False)
class _Front:
    """Paths from one cut point to the end, by rising time and falling price of a request a second, [P].

    Path p begins with arc `arc[p]` and goes on as path `onward[p]` of that arc's head.
    """

    time: Floats
    price: Floats
    arc: Indices
    onward: Indices


@dataclass(frozen=True, kw_only=True, eq=False)
class _Entry:
    """The fragments that start at one cut point by rising budget, and sums of their loads, [N + 1]."""

    cut: int
    numbers: Indices
    budget_ms: Floats
    load_rps: Floats


def fluid_draft(
    problem: Problem, model: str, numbers: Sequence[int], settings: PlanSettings, ends: float
) -> tuple[Draft, float] | None:
    """A plan of one model's fragments and a bound on all; None where the model has too many stages.

    `ends` is a reading of `time.perf_counter`: no round is begun after it. The first is always done.
    """
    menu = problem.menus[model]
    fragments = [problem.fragments[number] for number in numbers]
    start = np.array([fragment.start for fragment in fragments], dtype=np.intp)
    budget = np.array([fragment.budget_ms for fragment in fragments])
    load = np.array([fragment.load_rps for fragment in fragments])
    network = network_over(menu, start, budget, load)
    if network is None:
        return None
    entries = _entries(np.array(numbers, dtype=np.intp), start, budget, load)
    fronts, carried = _search(network, entries, settings, ends)
    return _draft(menu, network, fronts, carried, entries), path_bound(network)


def _entries(numbers: Indices, start: Indices, budget: Floats, load: Floats) -> list[_Entry]:
    entries = []
    for cut in np.unique(start).tolist():
        here = np.flatnonzero(start == cut)
        here = here[np.argsort(budget[here], kind="stable")]
        entries.append(
            _Entry(
                cut=cut,
                numbers=numbers[here],
                budget_ms=budget[here],
                load_rps=np.concatenate([[0.0], np.cumsum(load[here])]),
            )
        )
    return entries


def _search(
    network: Network, entries: list[_Entry], settings: PlanSettings, ends: float
) -> tuple[list[_Front], Floats]:
    """The fronts of the cheapest plan found, and the load of every arc in it."""
    best, cheapest = None, math.inf
    for most in MOST_PATHS:
        slope = network.price / network.capacity
        allowed = np.arange(len(slope), dtype=np.intp)
        reached, idle = math.inf, 0
        for _ in range(ROUNDS):
            if best is not None and (settings.stopped or time.perf_counter() > ends):
                return best
            fronts = _fronts(network, slope, allowed, most)
            carried = _carried(network, fronts, entries)
            instances = _instances(network, carried)
            price = float(instances @ network.price)
            if price < cheapest:
                best, cheapest = (fronts, carried), price
            idle = 0 if price < reached else idle + 1
            reached = min(reached, price)
            if idle > PATIENCE:
                break
            # What was used at first is all there is from now on, and what nobody uses keeps its last price.
            used = np.flatnonzero(carried > 0)
            allowed = used if len(allowed) == len(slope) else allowed
            slope = slope.copy()
            slope[used] = instances[used] * network.price[used] / carried[used]
    assert best is not None
    return best


def _instances(network: Network, carried: Floats) -> Floats:
    """Whole instances of every arc; none where nothing is carried."""
    whole: Floats = np.where(
        carried > 0, np.maximum(1.0, np.ceil(carried / network.capacity * (1 - EPSILON) - EPSILON)), 0.0
    )
    return whole


def _fronts(network: Network, slope: Floats, allowed: Indices, most: int) -> list[_Front]:
    """Cheapest paths over the allowed arcs (rising numbers) from every cut point."""
    none = np.zeros(0, dtype=np.intp)
    nothing = _Front(time=np.zeros(0), price=np.zeros(0), arc=none, onward=none)
    end = _Front(time=np.zeros(1), price=np.zeros(1), arc=none, onward=none)
    fronts = [nothing] * network.depth + [end]
    longest = float(network.budget.max()) * (1 + EPSILON)
    tails = np.searchsorted(network.tail[allowed], np.arange(network.depth + 1))
    for cut in range(network.depth - 1, -1, -1):
        leaving = allowed[tails[cut] : tails[cut + 1]]
        heads = network.head[leaving]
        parts = []
        for head in np.unique(heads).tolist():
            arcs, onward = leaving[heads == head], fronts[head]
            arcs = arcs[_undominated(network.time[arcs], slope[arcs])]
            parts.append(
                (
                    np.add.outer(network.time[arcs], onward.time).ravel(),
                    np.add.outer(slope[arcs], onward.price).ravel(),
                    np.repeat(arcs, len(onward.time)),
                    np.tile(np.arange(len(onward.time)), len(arcs)),
                )
            )
        if not parts:
            continue
        times, price, arc, following = (np.concatenate(column) for column in zip(*parts, strict=True))
        in_time = np.flatnonzero(times <= longest)
        kept = in_time[_undominated(times[in_time], price[in_time])]
        if len(kept) > most:  # the fastest and the cheapest among them
            kept = kept[np.linspace(0, len(kept) - 1, most).astype(np.intp)]
        fronts[cut] = _Front(time=times[kept], price=price[kept], arc=arc[kept], onward=following[kept])
    return fronts


def _undominated(times: Floats, price: Floats) -> Indices:
    """Points no other beats in both, by rising time."""
    order = np.lexsort((price, times))
    best = np.minimum.accumulate(price[order])
    kept: Indices = order[np.concatenate([[True], price[order][1:] < best[:-1]])[: len(order)]]
    return kept


def _reached(front: _Front, entry: _Entry) -> Indices:
    """[P + 1]: fragments reached[p] … reached[p + 1] − 1 of the entry take path p."""
    first = np.searchsorted(entry.budget_ms * (1 + EPSILON), front.time, side="left")
    first[0] = 0  # every fragment here has some route (see `Problem`)
    return np.concatenate([first, [len(entry.numbers)]])


def _carried(network: Network, fronts: list[_Front], entries: list[_Entry]) -> Floats:
    """The load of every arc when every request takes its cheapest path."""
    carried = np.zeros(len(network.tail))
    flow = [np.zeros(len(front.time)) for front in fronts]
    for entry in entries:
        flow[entry.cut] += np.diff(entry.load_rps[_reached(fronts[entry.cut], entry)])
    for cut in range(network.depth):
        front = fronts[cut]
        for path in np.flatnonzero(flow[cut]).tolist():
            arc = int(front.arc[path])
            carried[arc] += flow[cut][path]
            flow[int(network.head[arc])][front.onward[path]] += flow[cut][path]
    return carried


def _draft(
    menu: Menu, network: Network, fronts: list[_Front], carried: Floats, entries: list[_Entry]
) -> Draft:
    instances = _instances(network, carried)
    column = np.concatenate(
        [
            menu.options(i, j).column
            for i, j in dict.fromkeys(zip(network.tail.tolist(), network.head.tolist(), strict=True))
        ]
    )
    used = np.flatnonzero(carried > 0).tolist()
    position = {arc: number for number, arc in enumerate(used)}
    stages = tuple(
        DraftStage(
            model=menu.model,
            start=int(network.tail[arc]),
            end=int(network.head[arc]),
            column=int(column[arc]),
            instances=int(instances[arc]),
        )
        for arc in used
    )
    routes: list[DraftRoute] = []
    for entry in entries:
        reached = _reached(fronts[entry.cut], entry).tolist()
        for path in range(len(reached) - 1):
            members = entry.numbers[reached[path] : reached[path + 1]].tolist()
            if members:
                passed = _passed(network, fronts, entry.cut, path, position)
                routes.extend(DraftRoute(fragment=number, stages=passed) for number in members)
    return Draft(stages=stages, routes=tuple(routes))


def _passed(
    network: Network, fronts: list[_Front], cut: int, path: int, position: dict[int, int]
) -> tuple[int, ...]:
    """The stages of a path, by their position in the draft."""
    stages = []
    while cut < network.depth:
        arc = int(fronts[cut].arc[path])
        stages.append(position[arc])
        cut, path = int(network.head[arc]), int(fronts[cut].onward[path])
    return tuple(stages)
