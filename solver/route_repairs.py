"""Better plans of 5.3 by solving parts of one again: some classes give up their routes and choose anew.

The others keep theirs, and the instances bought for them stay, with whatever room is left in these. Each
class that chooses gets its cheapest paths at the prices of the bound (`solver.route_bound`), at which good
plans are cheap; what has room is next to free. An integer program then shares the classes out. Classes that
use the same stages, or stages next to one another, choose together: only then can a stage go.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from solver.outcome import Watch
from solver.route_bound import RoutePath
from solver.route_choice import instances_for, share_out
from solver.route_graph import RouteGraph
from solver.routes import Floats, Indices

# A path and the part of its class that it takes.
Part = tuple[RoutePath, float]

# Classes that choose together: at first, at least, at most. A part that was solved quickly is followed by
# larger ones, one that was not by smaller ones.
SIZE, LEAST, MOST = 10, 4, 24
QUICK_S, SLOW_S = 0.7, 2.5
# Paths that each of them may choose from, the size of all that, and how long one part may take.
PATHS, ALL_PATHS, PART_S = 120, 1_600, 4.0
# What is left of the price of an arc that has room for the whole class.
ROOMY = 0.02


def carried_by(graph: RouteGraph, plan: Sequence[Part]) -> Floats:
    """[E]: the load of every arc."""
    carried = np.zeros(len(graph.tail))
    for path, fraction in plan:
        carried[list(path.arcs)] += graph.load[path.k] * fraction
    return carried


def price_of(graph: RouteGraph, plan: Sequence[Part]) -> float:
    """What the instances for a plan cost."""
    return float(instances_for(carried_by(graph, plan), graph.capacity) @ graph.price)


@dataclass(kw_only=True, eq=False)
class Repairs:
    """A search around `plan`, which serves every class of `graph`; `arcs` (rising numbers) may be used.

    `prices_of` gives the prices π [classes, E] of some classes. `keep` hears of every better plan.
    """

    graph: RouteGraph
    plan: list[Part]
    arcs: Indices
    prices_of: Callable[[Indices], Floats]
    step: float
    seed: int
    threads: int
    keep: Callable[[list[Part]], None]

    def __post_init__(self) -> None:
        self.price = price_of(self.graph, self.plan)
        self._rng = np.random.default_rng(self.seed)
        self._size = SIZE

    def improve(self, watch: Watch, tries: int, time_limit_s: float = math.inf) -> int:
        """Solve so many parts again, one after the other; how many made the plan better."""
        better, until = 0, watch.elapsed_s + time_limit_s
        for _ in range(tries):
            watch.update(phase="solving parts again")
            if watch.over or watch.elapsed_s >= until:
                break
            began = watch.elapsed_s
            better += self._solve_again(self._some_classes(), watch, until - began)
            took = watch.elapsed_s - began
            if took < QUICK_S:
                self._size = min(self._size + 1, MOST)
            elif took > SLOW_S:
                self._size = max(self._size - 2, LEAST)
        return better

    def _some_classes(self) -> Indices:
        """Classes around a stage of the plan."""
        graph, rng = self.graph, self._rng
        users: dict[int, set[int]] = {}
        of_class: dict[int, set[int]] = {}
        for path, _ in self.plan:
            of_class.setdefault(path.k, set()).update(path.arcs)
            for arc in path.arcs:
                users.setdefault(arc, set()).add(path.k)
        arcs = sorted(users)
        chosen: set[int] = set()
        seeds = [arcs[int(rng.integers(len(arcs)))]]
        taken: set[int] = set()
        while seeds and len(chosen) < self._size:
            arc = seeds.pop(0)
            taken.add(arc)
            new = np.array(sorted(users[arc] - chosen), dtype=np.intp)
            chosen.update(rng.permutation(new)[: self._size - len(chosen)].tolist())
            # Onward to a stage that takes off near where these do.
            tails = graph.tail[sorted({other for k in chosen for other in of_class[k]})]
            rest = [other for other in arcs if other not in taken]
            if not rest:
                break
            near = np.abs(graph.tail[rest][:, None] - tails).min(axis=1) + rng.exponential(2.0, len(rest))
            seeds.append(rest[int(near.argmin())])
        return np.array(sorted(chosen), dtype=np.intp)

    def _solve_again(self, free: Indices, watch: Watch, time_limit_s: float) -> bool:
        graph = self.graph
        among = set(free.tolist())
        kept = [part for part in self.plan if part[0].k not in among]
        given_up = [path for path, _ in self.plan if path.k in among]
        carried = carried_by(graph, kept)
        there = instances_for(carried, graph.capacity)
        cutoff = self.price - float(there @ graph.price) - (self.step or 1e-6 * self.price) * (1 - 1e-6)
        if cutoff < 0:
            return False
        part = graph.part(free.tolist())
        paths = self._paths(part, given_up, carried, there)
        choice = share_out(
            part,
            paths,
            carried,
            cutoff,
            watch,
            time_limit_s=min(PART_S, time_limit_s),
            threads=self.threads,
            seed=self.seed,
        )
        if not choice.paths:
            return False
        anew = [(RoutePath(k=int(free[path.k]), arcs=path.arcs), share) for path, share in choice.paths]
        plan = sorted([*kept, *anew], key=lambda one: (one[0].k, one[0].arcs))
        price = price_of(graph, plan)
        if price >= self.price * (1 - 1e-9):
            return False
        self.plan, self.price = plan, price
        self.keep(plan)
        watch.update(objective=price)
        return True

    def _paths(
        self, part: RouteGraph, given_up: Sequence[RoutePath], carried: Floats, there: Floats
    ) -> list[RoutePath]:
        """The cheapest paths of every class, and those it had."""
        number = {k: position for position, k in enumerate(part.class_of.tolist())}
        arcs = np.union1d(self.arcs, np.flatnonzero(there)).astype(np.intp)
        prices = self.prices_of(part.class_of)
        room = there * part.capacity - carried
        # Whatever an arc has no room for has to be bought again.
        lacking = 1 - np.minimum(1.0, room / part.load[:, None])
        prices = np.where(there > 0, prices * np.maximum(ROOMY, lacking), prices)
        routing = part.routing(prices, arcs)
        most = max(20, min(PATHS, ALL_PATHS // len(part.load)))
        found = {RoutePath(k=number[path.k], arcs=path.arcs): None for path in given_up}
        for k in range(len(part.load)):
            found |= {RoutePath(k=k, arcs=path): None for path in routing.cheapest(k, most)}
        return list(found)
