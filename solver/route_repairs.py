"""Better plans of 5.3 by solving parts of one again: some classes give up their routes and choose anew.

The others keep theirs, but all that they bring to a stage may move to one like it, no slower. Each
class that chooses gets its cheapest paths at the prices of the bound (`solver.route_bound`), at which good
plans are cheap; what has room is next to free. An integer program then shares the classes out. Classes that
use the same stages, or stages next to one another, choose together: only then can a stage go.

Among thousands of stages the cheapest paths of two classes hardly ever meet. So every time only the stages of
the plan may be used and a few others, drawn by how much the relaxation uses them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from solver.outcome import Watch
from solver.route_bound import RoutePath
from solver.route_choice import LEAST_PART, instances_for, share_out
from solver.route_graph import RouteGraph
from solver.routes import Floats, Indices

# A path and the part of its class that it takes.
Part = tuple[RoutePath, float]

# Classes that choose together, at most; all do where they are no more.
MOST = 200
# About every other part is of fewer classes, so many at least and at most.
LEAST, SOME = 10, 60
# Stages that are drawn on average: at first, at least, at most. After a quick part there are so many times as
# many, after a slow one fewer. Where fewer classes choose, so many are.
DRAWN, FEWEST, MANY = 8.0, 3.0, 80.0
QUICK_S, MORE, SLOW_S, FEWER = 0.7, 1.15, 2.5, 0.7
DRAWN_FOR_SOME = (15, 25, 40, 80)
# Stages that are few enough to be used all.
FEW = 500
# Paths that each class may choose from, the size of all that, and how long one part may take.
PATHS, ALL_PATHS, PART_S = 120, 6_000, 4.0
# How many stages like it what the others bring to a stage may move to.
ALIKE = 6
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


def _moved(graph: RouteGraph, plan: Sequence[Part], shares: dict[int, dict[int, float]]) -> list[Part]:
    """What passes through each of some arcs put on others, so large a share of its load on each.

    Paths are split as little as may be.
    """
    # Where somebody was put is marked (~arc), since that arc may have to be emptied itself.
    for arc, parts in shares.items():
        passing = [part for part in plan if arc in part[0].arcs]
        total = sum(float(graph.load[path.k]) * fraction for path, fraction in passing)
        room = [[other, share * total] for other, share in parts.items()]
        plan = [part for part in plan if arc not in part[0].arcs]
        for path, fraction in passing:
            load, left = float(graph.load[path.k]), fraction
            while left > 0:
                other, free = int(room[0][0]), room[0][1] / load
                # The last one takes all that is left, and no crumbs are left for others.
                part = left if len(room) == 1 or left - free <= LEAST_PART else free
                if part > LEAST_PART or part == left:
                    arcs = tuple(~other if one == arc else one for one in path.arcs)
                    plan.append((RoutePath(k=path.k, arcs=arcs), part))
                    left -= part
                room[0][1] -= part * load
                if len(room) > 1 and room[0][1] <= LEAST_PART * load:
                    room.pop(0)
    merged: dict[RoutePath, float] = {}
    for path, fraction in plan:
        arcs = tuple(one if one >= 0 else ~one for one in path.arcs)
        merged[RoutePath(k=path.k, arcs=arcs)] = merged.get(RoutePath(k=path.k, arcs=arcs), 0.0) + fraction
    return list(merged.items())


@dataclass(kw_only=True, eq=False)
class Repairs:
    """A search around `plan`, which serves every class of `graph`; `arcs` (rising numbers) may be used.

    `prices_of` gives the prices π [classes, E] of some classes, `use` [E] how much the relaxation uses an
    arc; where that is nothing, no arcs are drawn. `keep` hears of every better plan.
    """

    graph: RouteGraph
    plan: list[Part]
    arcs: Indices
    use: Floats
    prices_of: Callable[[Indices], Floats]
    step: float
    seed: int
    threads: int
    keep: Callable[[list[Part]], None]

    def __post_init__(self) -> None:
        self.price = price_of(self.graph, self.plan)
        self._rng = np.random.default_rng(self.seed)
        self._drawn = DRAWN

    @property
    def cutoff(self) -> float:
        """What a better plan costs at most."""
        return self.price - (self.step or 1e-6 * self.price) * (1 - 1e-6)

    def take(self, plan: Sequence[Part]) -> bool:
        """Go on from this plan, if it is one and cheaper."""
        price = price_of(self.graph, plan) if plan else math.inf
        if price >= self.price * (1 - 1e-9):
            return False
        self.plan, self.price = list(plan), price
        return True

    def improve(self, watch: Watch, tries: int, time_limit_s: float = math.inf) -> int:
        """Solve so many parts again, one after the other; how many made the plan better."""
        better, until = 0, watch.elapsed_s + time_limit_s
        for _ in range(tries):
            watch.update(phase="solving parts again")
            if watch.over or watch.elapsed_s >= until:
                break
            began = watch.elapsed_s
            if self._rng.random() < 0.5:
                classes = self._some_classes(int(self._rng.integers(LEAST, SOME, endpoint=True)))
                drawn = int(self._rng.choice(DRAWN_FOR_SOME))
                better += self._solve_again(classes, drawn, watch, until - began)
                continue
            drawn = max(1, round(self._drawn * self._rng.uniform(0.4, 1.6)))
            better += self._solve_again(self._some_classes(MOST), drawn, watch, until - began)
            took = watch.elapsed_s - began
            if took < QUICK_S:
                self._drawn = min(MORE * self._drawn, MANY)
            elif took > SLOW_S:
                self._drawn = max(FEWER * self._drawn, FEWEST)
        return better

    def _some_classes(self, size: int) -> Indices:
        """So many classes around a stage of the plan."""
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
        while seeds and len(chosen) < size:
            arc = seeds.pop(0)
            taken.add(arc)
            new = np.array(sorted(users[arc] - chosen), dtype=np.intp)
            chosen.update(rng.permutation(new)[: size - len(chosen)].tolist())
            # Onward to a stage that takes off near where these do.
            tails = graph.tail[sorted({other for k in chosen for other in of_class[k]})]
            rest = [other for other in arcs if other not in taken]
            if not rest:
                break
            near = np.abs(graph.tail[rest][:, None] - tails).min(axis=1) + rng.exponential(2.0, len(rest))
            seeds.append(rest[int(near.argmin())])
        return np.array(sorted(chosen), dtype=np.intp)

    def _some_arcs(self, many: int) -> Indices:
        """Those of the plan and so many others."""
        use = self.use[self.arcs]
        used = int(np.count_nonzero(use))
        if not used or (used <= many and len(self.arcs) <= FEW):
            return self.arcs
        many = min(many, used)
        drawn = self._rng.choice(self.arcs, size=many, replace=False, p=use / use.sum())
        return np.union1d(drawn, np.flatnonzero(carried_by(self.graph, self.plan))).astype(np.intp)

    def _solve_again(self, free: Indices, drawn: int, watch: Watch, time_limit_s: float) -> bool:
        graph, arcs = self.graph, self._some_arcs(drawn)
        among = set(free.tolist())
        kept = [part for part in self.plan if part[0].k not in among]
        given_up = [path for path, _ in self.plan if path.k in among]
        carried = carried_by(graph, kept)
        used = np.flatnonzero(carried)
        part = graph.part(free.tolist())
        paths = self._paths(part, arcs, given_up, carried, instances_for(carried, graph.capacity))
        # What the others bring to a stage is one more class each, on that stage or one like it.
        paths += [
            RoutePath(k=len(free) + number, arcs=(other,))
            for number, arc in enumerate(used.tolist())
            for other in self._like(arc, arcs, float(carried[arc]))
        ]
        choice = share_out(
            replace(part, load=np.concatenate([part.load, carried[used]])),
            paths,
            np.zeros(len(carried)),
            self.cutoff,
            watch,
            time_limit_s=min(PART_S, time_limit_s),
            threads=self.threads,
            seed=self.seed,
        )
        if not choice.paths:
            return False
        anew = [
            (RoutePath(k=int(free[path.k]), arcs=path.arcs), share)
            for path, share in choice.paths
            if path.k < len(free)
        ]
        moved = {
            arc: {path.arcs[0]: share for path, share in choice.paths if path.k == len(free) + number}
            for number, arc in enumerate(used.tolist())
        }
        kept = _moved(graph, kept, moved)
        plan = sorted([*kept, *anew], key=lambda one: (one[0].k, one[0].arcs))
        price = price_of(graph, plan)
        if price >= self.price * (1 - 1e-9):
            return False
        self.plan, self.price = plan, price
        self.keep(plan)
        watch.update(objective=price)
        return True

    def _like(self, arc: int, arcs: Indices, load: float) -> list[int]:
        """The arc, and those of others between the same ends, no slower, that cost least with this load."""
        graph = self.graph
        others = arcs[(graph.tail[arcs] == graph.tail[arc]) & (graph.head[arcs] == graph.head[arc])]
        others = others[(graph.time[others] <= graph.time[arc]) & (others != arc)]
        cost = instances_for(np.full(len(others), load), graph.capacity[others]) * graph.price[others]
        return [arc, *others[np.argsort(cost, kind="stable")[:ALIKE]].tolist()]

    def _paths(
        self,
        part: RouteGraph,
        arcs: Indices,
        given_up: Sequence[RoutePath],
        carried: Floats,
        there: Floats,
    ) -> list[RoutePath]:
        """The cheapest paths of every class, and those it had."""
        number = {k: position for position, k in enumerate(part.class_of.tolist())}
        arcs = np.union1d(arcs, np.flatnonzero(there)).astype(np.intp)
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
