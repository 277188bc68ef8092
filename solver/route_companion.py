"""A process beside a search for 5.3 (`solver.beside`): it looks for better plans while the search proves.

First it chooses among all paths over the stages that the relaxation uses most, then it solves parts of the
plan again (`solver.route_repairs`). The search tells it the relaxation's prices as they become better, and of
cheaper plans, and it tells every cheaper plan that it finds.
"""

from __future__ import annotations

import math
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from solver.beside import Beside
from solver.outcome import Watch
from solver.route_choice import most_used, share_out
from solver.route_graph import RouteGraph
from solver.route_kernel import Prices
from solver.route_repairs import Part, Repairs, price_of
from solver.routes import Floats, Indices

Plan = tuple[Part, ...]

# How long it may choose among the stages used most.
CHOOSING_S = 12.0


@dataclass(frozen=True, kw_only=True, eq=False)
class RouteKnown:
    """What the search knows now: its plan, the arcs that can be in a better one, and of the relaxation how
    much it uses an arc [E], its prices [condensed classes, E], and whether they are final."""

    plan: Plan
    arcs: Indices
    use: Floats
    prices: Prices
    final: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class RouteTask:
    """Classes and arcs; `condensed` [K] says which class of the relaxation a class belongs to."""

    graph: RouteGraph
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
        self._told = threading.Event()

    def hear(self, known: RouteKnown) -> None:
        """What the search knows."""
        self._known = known
        self._told.set()

    def run(self) -> None:
        """Until too much is in memory; otherwise it is the search that ends."""
        task = self._task
        self._told.wait()
        watch = Watch(memory_limit_mb=task.memory_limit_mb)
        repairs = self._repairs()
        chosen, chosen_last = False, False
        while watch.limit is None:
            known = self._known
            assert known is not None
            repairs.arcs, repairs.use = known.arcs, known.use
            repairs.take(known.plan)
            if known.use.any() and (not chosen or (known.final and not chosen_last)):
                chosen, chosen_last = True, known.final
                self._choose(repairs, watch)
            repairs.improve(watch, 1)

    def _repairs(self) -> Repairs:
        task, known = self._task, self._known
        assert known is not None
        return Repairs(
            graph=task.graph,
            plan=list(known.plan),
            arcs=known.arcs,
            use=known.use,
            prices_of=lambda classes: self._prices(task.condensed[classes]),
            step=task.step,
            seed=task.seed,
            threads=1,
            keep=lambda plan: self._send(tuple(plan)),
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
            self._send(tuple(repairs.plan))


class RouteCompanion:
    """The process, as the search sees it. To be closed, which ends it."""

    def __init__(self, task: RouteTask) -> None:
        self._graph = task.graph
        self._news: queue.SimpleQueue[Plan] = queue.SimpleQueue()
        self._beside = Beside(task, self._news.put)

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
