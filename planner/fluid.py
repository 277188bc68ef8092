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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from planner.menu import EPSILON, Menu
from planner.problem import Draft, DraftRoute, DraftStage, PlanSettings, Problem
from planner.programs import network_over
from solver.highs import integer_search
from solver.outcome import Watch
from solver.path_bound import MOST_POINTS, path_bound
from solver.routes import Floats, Indices, Network

# Paths kept at a cut point: few make few stages, which suits small loads, many make cheap ones. Each is
# tried, with rounds until so many of them brought nothing better.
MOST_PATHS = (30, 8, 120, 4)
PATIENCE = 4
ROUNDS = 40
# The integer program has so many paths from a cut point beside those found before, lets a class take one of
# so many faster ones, and ends this near its optimum. It may be wrong by a part FEASIBLE.
MORE_PATHS, FASTER, ENOUGH, FEASIBLE = 24, 4, 1e-3, 4e-6
# A plan so near the bound is near enough.
NEAR = 0.008
# Parts of a fragment below this are rounding.
LEAST_PART = 1e-9


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


@dataclass(frozen=True, kw_only=True, eq=False)
class _Ways:
    """Paths from one entry by rising time, as arcs, and load [P, P]: path p carries load[p, r] of class r.

    Class r are the fragments with time for path r but not for the next one, so p ≤ r.
    """

    time: Floats
    arcs: tuple[tuple[int, ...], ...]
    load: Floats


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
    fronts = _search(network, entries, settings, ends)
    ways = [_ways(network, fronts, entry) for entry in entries]
    bound = path_bound(network)
    ways = _filled(network, ways, entries, settings, ends, bound * (1 + NEAR)) or ways
    return _draft(menu, network, ways, entries), bound


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


def _search(network: Network, entries: list[_Entry], settings: PlanSettings, ends: float) -> list[_Front]:
    """The fronts of the cheapest plan found in which every request takes its cheapest path."""
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
                best, cheapest = fronts, price
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
    return _reached_at(front.time, entry)


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


def _ways(network: Network, fronts: list[_Front], entry: _Entry, most: int | None = None) -> _Ways:
    """The paths from an entry that carry something, each with what its fragments make of it.

    At most `most` of them: whose loss costs least goes first, its load taking the next faster one.
    """
    front = fronts[entry.cut]
    load = np.diff(entry.load_rps[_reached(front, entry)])
    used = np.flatnonzero(load > 0)
    while most is not None and len(used) > most:
        price = front.price[used]
        lost = int((load[used[1:]] * (price[:-1] - price[1:])).argmin()) + 1
        load[used[lost - 1]] += load[used[lost]]
        used = np.delete(used, lost)
    return _Ways(
        time=front.time[used],
        arcs=tuple(_passed(network, fronts, entry.cut, path) for path in used.tolist()),
        load=np.diag(load[used]),
    )


def _passed(network: Network, fronts: list[_Front], cut: int, path: int) -> tuple[int, ...]:
    """The arcs of a path."""
    arcs = []
    while cut < network.depth:
        arcs.append(int(fronts[cut].arc[path]))
        cut, path = int(network.head[arcs[-1]]), int(fronts[cut].onward[path])
    return tuple(arcs)


def _filled(
    network: Network,
    ways: list[_Ways],
    entries: list[_Entry],
    settings: PlanSettings,
    ends: float,
    enough: float,
) -> list[_Ways] | None:
    """The same fragments on a better mix of paths, by an integer program; None where it finds none.

    The search ends at a plan of at most `enough`.

    Fragments whose budgets lie between the times of the same two paths are a class. It may take its own path
    or one of the next faster ones, which costs little more and fills instances that are bought anyway:

        min Σ_e s_e n_e   s.t.  Σ_p y_kp = 1,   Σ_k q_k Σ_{p∋e} y_kp ≤ c_e n_e,   n whole
    """
    left = ends - time.perf_counter()
    if left <= 0 or settings.stopped:
        return None
    slope = network.price / network.capacity
    fronts = _fronts(network, slope, np.arange(len(slope), dtype=np.intp), MOST_POINTS)
    mixed = []
    for entry, own in zip(entries, ways, strict=True):
        cheap = _ways(network, fronts, entry, MORE_PATHS)
        time_of = dict(zip(own.arcs + cheap.arcs, (*own.time.tolist(), *cheap.time.tolist()), strict=True))
        arcs = sorted(time_of, key=lambda path: (time_of[path], path))
        times = np.array([time_of[path] for path in arcs])
        mixed.append((times, arcs, np.diff(entry.load_rps[_reached_at(times, entry)])))
    used = np.unique([arc for _, arcs, _ in mixed for path in arcs for arc in path])
    at = {arc: number for number, arc in enumerate(used.tolist())}
    rows: list[int] = []
    columns: list[int] = []
    values: list[float] = []
    taken: list[tuple[int, int, int]] = []  # (entry, class, path) of every column after the arcs
    height = len(used)
    for number, (_, arcs, load) in enumerate(mixed):
        for group in np.flatnonzero(load > 0).tolist():
            for path in range(max(0, group - FASTER), group + 1):
                column = len(used) + len(taken)
                taken.append((number, group, path))
                rows.append(height)
                columns.append(column)
                values.append(1.0)
                for arc in arcs[path]:
                    rows.append(at[arc])
                    columns.append(column)
                    values.append(load[group] / float(network.capacity[arc]) * (1 + FEASIBLE))
            height += 1
    rows.extend(range(len(used)))
    columns.extend(range(len(used)))
    values.extend([-1.0] * len(used))
    width = len(used) + len(taken)
    instances = _instances(network, _load_of(network, ways))
    price = float(instances @ network.price)
    found = integer_search(
        cost=np.concatenate([network.price[used], np.zeros(len(taken))]),
        upper=np.concatenate([np.full(len(used), np.inf), np.ones(len(taken))]),
        rows=sparse.csr_matrix((values, (rows, columns)), shape=(height, width)),
        row_lower=np.concatenate([np.full(len(used), -np.inf), np.ones(height - len(used))]),
        row_upper=np.concatenate([np.zeros(len(used)), np.ones(height - len(used))]),
        integer=np.arange(width) < len(used),
        start=None,
        cutoff=price,
        watch=Watch(time_limit_s=left, should_stop=settings.should_stop),
        time_limit_s=left,
        threads=settings.threads,
        seed=settings.seed,
        gap=ENOUGH,
        target=enough,
    )
    if found.values is None:
        return None
    loads = [np.zeros((len(load), len(load))) for _, _, load in mixed]
    for (number, group, path), part in zip(taken, found.values[len(used) :].tolist(), strict=True):
        if part > FEASIBLE / 10:
            loads[number][path, group] = part
    filled = [
        _Ways(time=times, arcs=tuple(arcs), load=parts / np.maximum(parts.sum(axis=0), 1e-300) * load)
        for (times, arcs, load), parts in zip(mixed, loads, strict=True)
    ]
    cheaper = float(_instances(network, _load_of(network, filled)) @ network.price) < price
    return filled if cheaper else None


def _load_of(network: Network, ways: list[_Ways]) -> Floats:
    """The load of every arc."""
    carried = np.zeros(len(network.tail))
    for way in ways:
        for arcs, load in zip(way.arcs, way.load.sum(axis=1).tolist(), strict=True):
            for arc in arcs:
                carried[arc] += load
    return carried


def _reached_at(times: Floats, entry: _Entry) -> Indices:
    """[P + 1]: fragments reached[p] … reached[p + 1] − 1 of the entry have time for path p, but not p + 1."""
    first = np.searchsorted(entry.budget_ms * (1 + EPSILON), times, side="left")
    first[0] = 0  # every fragment here has some route (see `Problem`)
    return np.concatenate([first, [len(entry.numbers)]])


def _draft(menu: Menu, network: Network, ways: list[_Ways], entries: list[_Entry]) -> Draft:
    instances = _instances(network, _load_of(network, ways))
    column = np.concatenate(
        [
            menu.options(i, j).column
            for i, j in dict.fromkeys(zip(network.tail.tolist(), network.head.tolist(), strict=True))
        ]
    )
    used = np.flatnonzero(instances).tolist()
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
    for entry, way in zip(entries, ways, strict=True):
        passed = [tuple(position.get(arc, -1) for arc in arcs) for arcs in way.arcs]
        reached = _reached_at(way.time, entry).tolist()
        for group in range(len(way.time)):
            routes.extend(_dealt(entry, reached[group], reached[group + 1], way.load[:, group], passed))
    return Draft(stages=stages, routes=tuple(routes))


def _dealt(
    entry: _Entry, first: int, last: int, load: Floats, passed: list[tuple[int, ...]]
) -> Iterator[DraftRoute]:
    """Fragments first … last − 1 dealt to the paths, so much load to each: whole ones, but where two meet."""
    ends = np.cumsum(load) + entry.load_rps[first]
    paths = [path for path in range(len(load)) if load[path] > 0]
    numbers = entry.numbers[first:last].tolist()
    after = entry.load_rps[first + 1 : last + 1].tolist()
    before = entry.load_rps[first]
    turn = 0
    for number, until in zip(numbers, after, strict=True):
        start, whole = before, until - before
        before = until
        parts: list[tuple[int, float]] = []
        while turn < len(paths) - 1 and ends[paths[turn]] < until:
            part = (ends[paths[turn]] - start) / whole
            if part > LEAST_PART:
                parts.append((paths[turn], float(part)))
                start = ends[paths[turn]]
            turn += 1
        rest = 1.0 - math.fsum(part for _, part in parts)
        if rest > LEAST_PART:
            parts.append((paths[turn], rest))
        total = math.fsum(part for _, part in parts)
        for path, part in parts:
            yield DraftRoute(fragment=number, stages=passed[path], fraction=part / total)
