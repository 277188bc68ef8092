"""The linear relaxation of 5.3 in its strong form: a bound on every valid plan, routes split or not.

Its dual shares the price of every arc e among the classes. π_ke is what class k pays for it, and

    max Σ_k (price of k's cheapest path in time, arcs priced π_k)
    s.t. for every arc e:  max { Σ_k π_ke x_k :  Σ_k q_k x_k ≤ c_e,  0 ≤ x_k ≤ 1 }  ≤  s_e

so any prices that keep to this prove a bound. They are raised in two ways:

*Sweeps.* Where a class is far from using an arc, its share of it is wasted: it needs to pay only as much as
makes the arc no better than its cheapest path. Every arc's price is shared anew in proportion to these needs,
again and again; a few sweeps bring most of what there is.

*Paths.* Column generation: the relaxation over the paths found so far gives the shares of the arcs on them
(and a fractional plan), all other arcs keep the best shares so far; the cheapest paths at prices between
these and the best are added.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import highspy
import numpy as np

from solver.highs import quiet
from solver.outcome import Watch
from solver.route_graph import RouteGraph
from solver.routes import Floats
from solver.steps import round_up

# Sweeps, how far the first goes towards the new shares, and after how many it goes half as far.
SWEEPS, STRIDE, HALVING = 25, 0.5, 40
# Prices sent out for paths lie so far from the best ones; then at the relaxation's own.
SMOOTHINGS = (0.8, 0.0)
# Every so many rounds the shares of all other arcs are swept again.
SWEEP_EVERY = 5
CLOSE = 1e-4


@dataclass(frozen=True, kw_only=True, slots=True)
class RoutePath:
    """Class `k` passes through `arcs`."""

    k: int
    arcs: tuple[int, ...]


class RouteBound:
    """The ascent; `value` is the best bound so far, `prices` [K, E] prove it, `paths` are all found."""

    def __init__(self, graph: RouteGraph, step: float) -> None:
        self.graph, self.step = graph, step
        # To begin with every arc is bought in fractions, as its load needs it.
        self.prices = np.where(graph.able, graph.price * graph.load[:, None] / graph.capacity, 0.0)
        self.value = 0.0
        self.paths = Paths(graph)

    def sweep(self, watch: Watch) -> None:
        """Raise the bound quickly: sweeps alone."""
        prices = self.prices
        for sweep in range(SWEEPS):
            to_end = self._evaluate(prices, watch)
            if watch.over:
                return
            stride = STRIDE / (1 + sweep / HALVING)
            prices = (1 - stride) * prices + stride * self._shared_anew(prices, to_end)

    def run(self, watch: Watch) -> None:
        """Raise the bound until the relaxation's optimum is reached or the watch says stop."""
        for number in itertools.count():
            relaxed = self.paths.relax()
            own = self.paths.prices(self.prices)
            found = 0
            for smoothing in SMOOTHINGS:
                known = len(self.paths)
                probe = smoothing * self.prices + (1 - smoothing) * own
                to_end = self._evaluate(probe, watch)
                if number % SWEEP_EVERY == 0 and not watch.over:
                    anew = self._shared_anew(probe, to_end)
                    for other in (np.where(self.paths.on_a_path, probe, anew), (probe + anew) / 2):
                        self._evaluate(other, watch)
                found = len(self.paths) - known
                if found or watch.over:
                    break
            # A bound that rounds up to the relaxation's optimum does not get better.
            done = relaxed - self.value <= CLOSE * relaxed
            rounded = round_up(self.value, self.step) >= round_up(relaxed, self.step)
            if not found or watch.over or done or (self.step > 0 and rounded):
                return

    def _evaluate(self, prices: Floats, watch: Watch) -> Floats:
        """The bound these prices prove, and the paths they make cheapest; returns the prices to the end."""
        to_end = self.graph.to_end(prices)
        value = float(self.graph.distances(to_end).sum())
        if value > self.value:
            self.value, self.prices = value, prices
        for k, arcs in enumerate(self.graph.paths(prices, to_end)):
            self.paths.add(RoutePath(k=k, arcs=arcs))
        watch.update(phase="routes", lower_bound=round_up(self.value, self.step))
        return to_end

    def _shared_anew(self, prices: Floats, to_end: Floats) -> Floats:
        """[K, E]: every arc's price shared in proportion to what each class needs to pay."""
        graph = self.graph
        spare = graph.distances(to_end)[:, None] - graph.without(prices, to_end)
        needs = np.where(graph.able & np.isfinite(spare), np.maximum(spare, 0.0), 0.0)
        earned = _knapsacks(needs, graph)
        return needs * np.where(earned > 0, graph.price / np.maximum(earned, 1e-300), 0.0)


class Paths:
    """The relaxation over known paths, by HiGHS: rows appear with the arcs of the paths."""

    def __init__(self, graph: RouteGraph) -> None:
        self._graph = graph
        self._known: set[RoutePath] = set()
        self._highs = quiet()
        self._rows = self._columns = 0
        self._arc: dict[int, tuple[int, int]] = {}  # arc → (row of its capacity, column of its instances)
        self._pair: dict[tuple[int, int], int] = {}  # (class, arc) → row of the strong form
        self.on_a_path = np.zeros(len(graph.tail), dtype=bool)
        dearest = float(graph.price.max()) * (graph.depth + 1)
        for k in range(len(graph.load)):
            self._row(1.0, highspy.kHighsInf, [], [])
            needed = max(1.0, float((graph.load[k] / graph.capacity[graph.able[k]]).max(initial=1.0)))
            self._column(10 * dearest * needed, [k], [1.0])

    def __len__(self) -> int:
        return len(self._known)

    def __iter__(self) -> Iterator[RoutePath]:
        return iter(sorted(self._known, key=lambda path: (path.k, path.arcs)))

    def add(self, path: RoutePath) -> None:
        """Take a path in, unless it is known."""
        if path in self._known:
            return
        self._known.add(path)
        graph = self._graph
        rows, values = [path.k], [1.0]
        for arc in path.arcs:
            if arc not in self._arc:
                row = self._row(-highspy.kHighsInf, 0.0, [], [])
                column = self._column(float(graph.price[arc]), [row], [-float(graph.capacity[arc])])
                self._arc[arc] = (row, column)
                self.on_a_path[arc] = True
            if (path.k, arc) not in self._pair:
                self._pair[path.k, arc] = self._row(-highspy.kHighsInf, 0.0, [self._arc[arc][1]], [-1.0])
            rows += [self._arc[arc][0], self._pair[path.k, arc]]
            values += [float(graph.load[path.k]), 1.0]
        self._column(0.0, rows, values)

    def relax(self) -> float:
        """The optimum over the known paths."""
        self._highs.run()
        return float(self._highs.getInfo().objective_function_value)

    def prices(self, others: Floats) -> Floats:
        """The shares that the last `relax` gives the arcs on known paths; `others` for all other arcs."""
        dual = np.maximum(0.0, -np.array(self._highs.getSolution().row_dual))
        prices = others.copy()
        for arc, (row, _) in self._arc.items():
            prices[:, arc] = np.where(self._graph.able[:, arc], dual[row] * self._graph.load, 0.0)
        for (k, arc), row in self._pair.items():
            prices[k, arc] += dual[row]
        # What rounding lets an arc earn above its price is taken back.
        return prices * np.minimum(
            1.0, self._graph.price / np.maximum(_knapsacks(prices, self._graph), 1e-300)
        )

    def _row(self, lower: float, upper: float, columns: list[int], values: list[float]) -> int:
        self._highs.addRow(lower, upper, len(columns), np.array(columns, np.int32), np.array(values))
        self._rows += 1
        return self._rows - 1

    def _column(self, cost: float, rows: list[int], values: list[float]) -> int:
        self._highs.addCol(
            cost, 0.0, highspy.kHighsInf, len(rows), np.array(rows, np.int32), np.array(values)
        )
        self._columns += 1
        return self._columns - 1


def _knapsacks(gains: Floats, graph: RouteGraph) -> Floats:
    """[E]: max Σ_k gains_ke x_k with Σ_k q_k x_k ≤ c_e, 0 ≤ x_k ≤ 1."""
    load = graph.load[:, None]
    order = np.argsort(-gains / load, axis=0, kind="stable")
    ordered = graph.load[order]
    before = np.cumsum(ordered, axis=0) - ordered
    taken = np.clip(graph.capacity - before, 0.0, ordered) / ordered
    earned: Floats = (taken * np.take_along_axis(gains, order, axis=0)).sum(axis=0)
    return earned
