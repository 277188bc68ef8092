"""Plans of 5.3 by ruin and recreate: classes give up their routes, and find new ones one after the other.

A class finds the route that costs least more, given the stages that are there: it joins them where there is
room, has them replaced by others between the same cut points that have room for it or are fast enough for
it (as long as nobody else becomes late), or buys new ones. That is a shortest path with a time limit, and as
prices are whole steps, it is enough to know for every cut point and every number of steps the least time.
In every other step the capacity that is taken counts a little, too: then nobody who has time to spare takes
the room of a fast stage. After that every stage becomes as cheap as its users allow. The outcome is kept
where it is cheaper, or now and then where it is not (simulated annealing).

After Schrimpf et al. (2000) and Christiaens and Vanden Berghe (2020), who plan tours of vehicles so; what a
route costs here, and that new stages may mostly end only at cut points where others do (so that classes
meet), is ours. A step takes some hundredths to half a millisecond, where an integer program over a part of
the classes (`solver.route_repairs`) takes a tenth of a second and more; but routes are not split here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from solver.outcome import Watch
from solver.recreation_arrays import Arcs, Classes, Routes, bought
from solver.recreation_kernel import anneal
from solver.recreation_routes import LATE, alone, pruned
from solver.route_bound import RoutePath
from solver.route_choice import instances_for
from solver.route_graph import RouteGraph
from solver.route_repairs import Part, carried_by, price_of
from solver.routes import EPSILON
from solver.steps import SLACK

# Seeds of rounds are so far apart.
SEEDS = 7_919
# Steps of the first round; every other one has so many times as many as the one before.
FIRST, LONGER = 2_000, 2
# Steps between two looks at the clock at first, and how long they should take.
CHUNK, CHUNK_S = 20, 0.1
# The heat of a round, as a part of the price, but within these units, and what is left of it at the end.
HEAT, LEAST_HEAT, MOST_HEAT, COOLED = 1 / 80, 0.5, 2.0, 0.05
# Which part of the classes may give up their routes at once, and how many at least and at most.
TOGETHER, FEWEST, MOST = 0.5, 20, 100
# Units that a class alone may cost; where it takes more, prices are counted in larger units.
MOST_UNITS = 400
# How often units become twice as large at most: beyond that every instance costs one.
DOUBLINGS = 60
# Units that no plan costs.
BEYOND = 2**40
# Prices that share no step are counted in so many parts of the dearest.
PARTS = 100


class Recreation:
    """The search for one graph; `plan` is the best so far, `price` what it costs.

    `step` is what all prices are multiples of (0: nothing). Without a plan the first step makes one.
    """

    def __init__(self, graph: RouteGraph, step: float, plan: Sequence[Part], seed: int) -> None:
        self.graph, self.seed = graph, seed
        self.plan, self.price = list(plan), price_of(graph, plan) if plan else math.inf
        self._arcs, self._classes = _prepared(graph, step)
        self._routes, self._best = _nowhere(graph), _nowhere(graph)
        # Rounds begun; steps done of the last one, and of how many; steps between two looks at the clock.
        self._round, self._done, self._last, self._chunk = 0, 0, 0, CHUNK
        self._units = 0

    def take(self, plan: Sequence[Part]) -> bool:
        """Begin the next round from this plan, if it is one and cheaper."""
        price = price_of(self.graph, plan) if plan else math.inf
        if price >= self.price * (1 - 1e-9):
            return False
        self.plan, self.price = list(plan), price
        return True

    def improve(self, watch: Watch, time_limit_s: float) -> bool:
        """Search for so long; whether the plan became better."""
        until, better = watch.elapsed_s + time_limit_s, False
        while watch.elapsed_s < until:
            watch.update(phase="trying other routes")
            if watch.over:
                break
            began = watch.elapsed_s
            if self._advance():
                better = True
                watch.update(objective=self.price)
            took = watch.elapsed_s - began
            if took > CHUNK_S:
                self._chunk = max(1, self._chunk // 2)
            elif took < CHUNK_S / 3:
                self._chunk *= 2
        return better

    def _advance(self) -> bool:
        """Some steps; whether the plan became better."""
        seed = -1
        if self._done == self._last:
            self._done, self._last = 0, FIRST * LONGER**self._round
            seed = (self.seed + SEEDS * self._round) % 2**32
            self._round += 1
            self._begin()
        steps = min(self._chunk, self._last - self._done)
        hot = min(MOST_HEAT, max(LEAST_HEAT, HEAT * self._units))
        many = min(len(self.graph.load), MOST, max(FEWEST, round(TOGETHER * len(self.graph.load))))
        units = anneal(
            self._done,
            steps,
            self._last,
            (hot, COOLED * hot),
            many,
            seed,
            self._arcs,
            self._classes,
            self._routes,
            self._best,
            self._units,
        )
        self._done += steps
        if units >= self._units:
            return False
        self._units = units
        paths = zip(self._best.path.tolist(), self._best.length.tolist(), strict=True)
        found = [(RoutePath(k=k, arcs=tuple(path[:long])), 1.0) for k, (path, long) in enumerate(paths)]
        return self.take(found)

    def _begin(self) -> None:
        """Every class on the path that takes most of it in the best plan."""
        if not self.plan:
            self._units = BEYOND
            return
        largest = {path.k: path for path, _ in sorted(self.plan, key=lambda part: part[1])}
        for k, path in largest.items():
            self._routes.path[k, : len(path.arcs)] = path.arcs
            self._routes.length[k] = len(path.arcs)
        load = carried_by(self.graph, [(path, 1.0) for path in largest.values()])
        # Where the plan splits classes, it may well be cheaper than this; then what is found may be, too.
        instances = instances_for(load, self.graph.capacity)
        self._units = int(np.ceil(instances * self._arcs.units - SLACK).sum())


def _nowhere(graph: RouteGraph) -> Routes:
    many, arcs = len(graph.load), len(graph.tail)
    return Routes(
        path=np.full((many, graph.depth), -1, dtype=np.intp),
        length=np.zeros(many, dtype=np.intp),
        load=np.zeros(arcs),
        users=np.zeros(arcs, dtype=np.intp),
        slack=np.zeros(many),
    )


def _prepared(graph: RouteGraph, step: float) -> tuple[Arcs, Classes]:
    """The graph for machine code, in units so large that no class alone needs more than `MOST_UNITS`.

    Raises ValueError where a class has no path in time.
    """
    unit = step if step > 0 else float(graph.price.max()) / PARTS
    soonest = np.full(graph.depth + 1, np.inf)
    soonest[graph.depth] = 0.0
    for e in range(len(graph.tail) - 1, -1, -1):
        tail = graph.tail[e]
        soonest[tail] = min(soonest[tail], graph.time[e] + soonest[graph.head[e]])
    cuts = graph.depth + 1
    ends = graph.tail * cuts + graph.head
    for _ in range(DOUBLINGS):
        arcs = Arcs(
            depth=graph.depth,
            tail=graph.tail,
            head=graph.head,
            time=graph.time,
            capacity=graph.capacity,
            units=graph.price / unit,
            first=np.searchsorted(ends, np.arange(cuts**2 + 1)),
            soonest=soonest,
        )
        begins, units, time, arc = bought(arcs, graph.entry, graph.load, MOST_UNITS)
        classes = Classes(
            entry=graph.entry,
            budget=graph.budget * (1 + EPSILON) * (1 - 2 * LATE),
            load=graph.load,
            alone=np.full(len(graph.load), MOST_UNITS, dtype=np.intp),
            begins=begins,
            units=units,
            time=time,
            arc=arc,
        )
        needed = alone(arcs, classes, MOST_UNITS)
        if (needed >= 0).all():
            return arcs, pruned(arcs, classes._replace(alone=needed))
        unit *= 2
    raise ValueError(f"no path in time for the classes {np.flatnonzero(needed < 0).tolist()}")
