"""A process beside a search for 5.3 (`solver.beside`): it looks for better plans while the search proves.

It tries other routes (`solver.recreation`) and solves parts of the plan again (`solver.route_repairs`), by
turns, longer ones of what has saved more so far. First of all a few searches begin from no plan, each with
draws of its own: where prices are coarse they end at different ones, most of them within a second, and none
leaves where it ended for long. Once the relaxation is known it also chooses among all paths
over the stages that it uses most. Where that does not help any more it begins afresh, from no plan at all,
for a moment: with heavy loads, parts of one plan solved again lead further than those of another. The search
tells it the relaxation's prices as they become better, and of cheaper plans, and it tells every cheaper plan
that it finds.
"""

from __future__ import annotations

import math
import queue
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from solver.beside import Beside
from solver.outcome import Watch
from solver.recreation import SEEDS, Recreation
from solver.route_choice import most_used, share_out
from solver.route_graph import RouteGraph
from solver.route_kernel import Prices
from solver.route_repairs import Part, Repairs, price_of
from solver.routes import Floats, Indices

Plan = tuple[Part, ...]

# How long it may choose among the stages used most, and how long a turn of other routes is at least and most.
CHOOSING_S, SHORTEST_S, LONGEST_S = 12.0, 0.5, 8.0
# The part of the time in which other routes are tried, by what either way has saved so far, within these.
LEAST_OTHER, MOST_OTHER = 0.4, 0.85
# How long it sleeps before it looks whether it may go on.
RESTING_S = 0.05
# With so many classes at most it begins afresh now and then: other routes for so long, then parts again.
MOST_AFRESH, OTHER_ROUTES_S, PARTS, PARTS_S = 100, 1.0, 1_000, 3.0
# And so many searches from no plan come first, each for so long.
STARTS, START_S = 12, 0.35


@dataclass(frozen=True, kw_only=True, eq=False)
class RouteKnown:
    """What the search knows now: its plan, the arcs that can be in a better one, and of the relaxation how
    much it uses an arc [E], its prices [condensed classes, E], and whether they are final. `rest`: the search
    needs the core itself."""

    plan: Plan
    arcs: Indices
    use: Floats
    prices: Prices
    final: bool = False
    rest: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class RouteTask:
    """Classes, arcs and a plan; `condensed` [K] says which class of the relaxation a class belongs to."""

    graph: RouteGraph
    plan: Plan
    condensed: Indices
    step: float
    seed: int
    memory_limit_mb: int = 0

    def begin(self, send: Callable[[Plan], None]) -> RouteWork:
        return RouteWork(self, send)


class RouteWork:
    """The best plan so far, and the search around it. `hear` is called from another thread than `run`."""

    def __init__(self, task: RouteTask, send: Callable[[Plan], None]) -> None:
        self._task, self._send = task, send
        self._known: RouteKnown | None = None
        self._sent = price_of(task.graph, task.plan)

    def hear(self, known: RouteKnown) -> None:
        """What the search knows."""
        self._known = known

    @property
    def _resting(self) -> bool:
        return self._known is not None and self._known.rest

    def _keep(self, plan: Sequence[Part]) -> None:
        """Send a plan, unless one as cheap is known."""
        price = price_of(self._task.graph, plan)
        if price < self._sent * (1 - 1e-9):
            self._sent = price
            self._send(tuple(plan))

    def run(self) -> None:
        """Until too much is in memory; otherwise it is the search that ends."""
        task = self._task
        watch = Watch(memory_limit_mb=task.memory_limit_mb)
        recreation = Recreation(task.graph, task.step, task.plan, task.seed)
        repairs: Repairs | None = None
        chosen, chosen_last, turn_s, times = False, False, SHORTEST_S, 0
        # What other routes, and parts solved again, have saved.
        by_routes = by_parts = 0.0
        self.start(recreation, watch)
        while watch.limit is None:
            if self._resting:
                time.sleep(RESTING_S)
                continue
            # A stop stays a stop.
            awake = Watch(memory_limit_mb=task.memory_limit_mb, should_stop=lambda: self._resting)
            before = recreation.price
            if recreation.improve(awake, turn_s):
                self._keep(recreation.plan)
                by_routes += before - recreation.price
            began, known = watch.elapsed_s, self._known
            if known is None:
                continue
            repairs = repairs or self._repairs(known, known.plan, task.seed)
            repairs.arcs, repairs.use = known.arcs, known.use
            repairs.take(known.plan)
            self._sent = min(self._sent, repairs.price)
            repairs.take(recreation.plan)
            price = repairs.price
            if known.use.any() and (not chosen or (known.final and not chosen_last)):
                chosen, chosen_last = True, known.final
                self._choose(repairs, watch)
            while awake.limit is None and watch.elapsed_s < began + SHORTEST_S:
                repairs.improve(awake, 1)
            recreation.take(repairs.plan)
            by_parts += price - repairs.price
            other = by_routes / (by_routes + by_parts) if by_routes else 0.0
            other = min(MOST_OTHER, max(LEAST_OTHER, other))
            turn_s = (watch.elapsed_s - began) * other / (1 - other)
            turn_s = min(LONGEST_S, max(SHORTEST_S, turn_s))
            if recreation.price >= before and len(task.graph.load) <= MOST_AFRESH:
                times += 1
                recreation.take(self._afresh(known, task.seed + times * SEEDS, watch))

    def start(self, recreation: Recreation, watch: Watch) -> None:
        """The best of a few searches from no plan; nothing where each would take long."""
        task = self._task
        for number in range(STARTS if len(task.graph.load) <= MOST_AFRESH else 0):
            if watch.limit is not None or self._resting:
                return
            search = Recreation(task.graph, task.step, (), task.seed + 1 + number)
            search.improve(watch, START_S)
            if search.plan and recreation.take(search.plan):
                self._keep(recreation.plan)

    def _afresh(self, known: RouteKnown, seed: int, watch: Watch) -> list[Part]:
        """A plan that has nothing to do with those before."""
        search = Recreation(self._task.graph, self._task.step, (), seed)
        search.improve(watch, OTHER_ROUTES_S)
        repairs = self._repairs(known, search.plan, seed)
        repairs.improve(watch, PARTS, PARTS_S)
        return repairs.plan

    def _repairs(self, known: RouteKnown, plan: Sequence[Part], seed: int) -> Repairs:
        task = self._task
        return Repairs(
            graph=task.graph,
            plan=list(plan),
            arcs=known.arcs,
            use=known.use,
            prices_of=lambda classes: self._prices(task.condensed[classes]),
            step=task.step,
            seed=seed,
            threads=1,
            keep=self._keep,
        )

    def _prices(self, classes: Indices) -> Floats:
        assert self._known is not None
        return self._known.prices[classes].astype(np.float64)

    def _choose(self, repairs: Repairs, watch: Watch) -> None:
        """The best plan over the stages that the relaxation uses most."""
        graph = self._task.graph
        choice = share_out(
            graph,
            most_used(graph, repairs.use),
            np.zeros(len(graph.tail)),
            repairs.cutoff,
            watch,
            time_limit_s=CHOOSING_S,
            threads=1,
            seed=self._task.seed,
        )
        if repairs.take(choice.paths):
            self._keep(repairs.plan)


class RouteCompanion:
    """The process, as the search sees it. To be closed, which ends it."""

    def __init__(self, task: RouteTask) -> None:
        self._graph = task.graph
        self._news: queue.SimpleQueue[Plan] = queue.SimpleQueue()
        self._beside = Beside(__name__, self._news.put)
        self._beside.tell(task)

    @property
    def pid(self) -> int:
        return self._beside.pid

    def tell(self, known: RouteKnown) -> None:
        """What is known now."""
        self._beside.tell(known)

    def news(self) -> Sequence[Part] | None:
        """The cheapest plan that came since the last time, if one did."""
        best, least = None, math.inf
        while not self._news.empty():
            plan = self._news.get()
            price = price_of(self._graph, plan)
            if price < least:
                best, least = plan, price
        return best

    def close(self) -> None:
        self._beside.close()
