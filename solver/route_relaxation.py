"""The strong form's relaxation over some arcs, with all their rows, by column generation over their paths.

    min  Σ_e s_e n_e
    s.t. Σ_p y_kp ≥ 1                                 for every class k
         Σ_k (q_k / c_e) Σ_{p∋e} y_kp ≤ n_e           for every arc e: α_e
         Σ_{p∋e} y_kp ≤ n_e                           for every class that can use e: β_ke
         y, n ≥ 0

The duals price arc e at π_ke = α_e q_k / c_e + β_ke for class k; a path of k that costs less than what k pays
in all may lower the value, and is taken in. HiGHS' interior point method is left at the middle of the
optimal duals, since corners make poor prices for arcs and paths that are not there yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import highspy
import numpy as np
from scipy import sparse

from solver.highs import quiet, run
from solver.outcome import Watch
from solver.route_graph import RouteGraph, Routing
from solver.routes import Floats, Indices

# Paths taken in for a class at most beside its cheapest one, and how much dearer they may be, as a part of
# what a class pays on average.
MORE_PATHS, NEAR = 8, 0.05
# Where paths are looked for: so far from the optimum's own prices towards the best known.
SMOOTHINGS = (0.6, 0.0)
# Every so many rounds, so many paths a class are kept.
THINNING, MOST_LIVE = 4, 40
# HiGHS' tolerances. The prices are made to keep to every arc's price afterwards.
TOLERANCE = 1e-5


@dataclass(frozen=True, kw_only=True, slots=True)
class RoutePath:
    """Class `k` passes through `arcs`."""

    k: int
    arcs: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Relaxed:
    """The optimum over the arcs [A] asked for (or a little above it), and the prices π [K, A]."""

    value: float
    prices: Floats


class RouteRelaxation:
    """The paths known so far, and the relaxation over them."""

    def __init__(self, graph: RouteGraph) -> None:
        self._graph = graph
        self._known: dict[RoutePath, None] = {}
        self._live: dict[RoutePath, None] = {}  # those in the program

    def __len__(self) -> int:
        return len(self._known)

    def __iter__(self) -> Iterator[RoutePath]:
        return iter(sorted(self._known, key=lambda path: (path.k, path.arcs)))

    def add(self, path: RoutePath) -> bool:
        """Take a path in; False when it is there."""
        there = path in self._live
        self._known[path] = self._live[path] = None
        return not there

    def leave_out(self, arcs: Indices) -> None:
        """Forget the paths through these arcs."""
        gone = set(arcs.tolist())
        self._known = {path: None for path in self._known if gone.isdisjoint(path.arcs)}
        self._live = {path: None for path in self._live if gone.isdisjoint(path.arcs)}

    def solve(
        self, arcs: Indices, close: float, centers: Sequence[Floats], watch: Watch, *, rounds: int
    ) -> Relaxed | None:
        """The optimum over all paths along these arcs, up to a relative `close` or after so many rounds.

        None when interrupted.

        `centers`, [K, E] each, are good prices: paths are looked for between the best known and the
        optimum's own.
        """
        graph = self._graph
        value, best = -np.inf, np.ascontiguousarray(centers[0][:, arcs])
        for center in centers:
            routing = graph.routing(center, arcs)
            if (total := float(routing.distances.sum())) > value:
                value, best = total, np.ascontiguousarray(center[:, arcs])
                self._take_in(routing, arcs, best)
        optimum = np.inf
        for number in range(rounds):
            solved = self._solve_known(arcs, watch)
            if solved is None:
                return None
            if number % THINNING == THINNING - 1:
                self._thin_out(arcs, solved)
            optimum = min(optimum, solved.value)
            found = 0
            for part in SMOOTHINGS:
                priced = part * best + (1 - part) * solved.prices
                prices = np.zeros(graph.able.shape)
                prices[:, arcs] = priced
                routing = graph.routing(prices, arcs)
                total = float(routing.distances.sum())
                if total > value:
                    value, best = total, priced
                found += self._take_in(routing, arcs, priced)
            if value >= optimum * (1 - close) or not found:
                break
            if watch.over:
                return None
        return Relaxed(value=optimum, prices=best)

    def _thin_out(self, arcs: Indices, solved: Relaxed) -> None:
        """Keep the paths that cost each class least in the program."""
        prices = np.zeros(self._graph.able.shape)
        prices[:, arcs] = solved.prices
        ranked: list[list[tuple[float, RoutePath]]] = [[] for _ in self._graph.load]
        for path in self._live:
            ranked[path.k].append((float(prices[path.k, list(path.arcs)].sum()), path))
        self._live = {
            path: None
            for paths in ranked
            for _, path in sorted(paths, key=lambda one: (one[0], one[1].arcs))[:MOST_LIVE]
        }

    def _take_in(self, routing: Routing, arcs: Indices, priced: Floats) -> int:
        """Cheapest paths, and such as are nearly so through other arcs; how many are new."""
        classes = np.flatnonzero(np.isfinite(routing.distances)).tolist()
        found = 0
        beyond = routing.without(arcs) + priced - routing.distances[:, None]
        near = NEAR * float(routing.distances[classes].sum()) / max(1, len(classes))
        for k in classes:
            found += self.add(RoutePath(k=k, arcs=routing.path(k)))
            for position in np.argsort(beyond[k])[:MORE_PATHS].tolist():
                if beyond[k, position] > near:
                    break
                found += self.add(RoutePath(k=k, arcs=routing.through(k, int(arcs[position]))))
        return found

    def _solve_known(self, arcs: Indices, watch: Watch) -> Relaxed | None:
        graph = self._graph
        position = np.full(len(graph.tail), -1)
        position[arcs] = np.arange(len(arcs))
        paths = [path for path in self._live if (position[list(path.arcs)] >= 0).all()]
        classes, many = len(graph.load), len(arcs)
        able = graph.able[:, arcs]
        # Rows: classes, then capacities, then the strong form of every pair (class, arc).
        pair = np.full(able.shape, -1)
        pair[able] = classes + many + np.arange(int(able.sum()))
        height = classes + many + int(able.sum())
        # Columns: a way out for every class, instances, paths.
        dear = 10.0 * float(graph.price.max()) * (graph.depth + 1)
        needed = np.maximum(1.0, (graph.load[:, None] / graph.capacity[None, :]).max(axis=1))
        column_of_arc = classes + np.arange(many)
        k_of, arc_of = np.nonzero(able)
        length = np.array([len(path.arcs) for path in paths], dtype=np.intp)
        taken = np.repeat([path.k for path in paths], length).astype(np.intp)
        along = position[[arc for path in paths for arc in path.arcs]]
        column = classes + many + np.arange(len(paths))
        columns_along = np.repeat(column, length)
        rows = np.concatenate(
            [
                np.arange(classes),
                classes + np.arange(many),
                pair[k_of, arc_of],
                [path.k for path in paths],
                classes + along,
                pair[taken, along],
            ]
        )
        columns = np.concatenate(
            [np.arange(classes), column_of_arc, classes + arc_of, column, columns_along, columns_along]
        )
        values = np.concatenate(
            [
                np.ones(classes),
                -np.ones(many),
                -np.ones(len(k_of)),
                np.ones(len(paths)),
                graph.load[taken] / graph.capacity[arcs[along]],
                np.ones(len(along)),
            ]
        )
        width = classes + many + len(paths)
        table = sparse.csc_matrix((values, (rows, columns)), shape=(height, width))
        cost = np.concatenate([dear * needed, graph.price[arcs], np.zeros(len(paths))])
        lower = np.concatenate([np.ones(classes), np.full(height - classes, -highspy.kHighsInf)])
        upper = np.concatenate([np.full(classes, highspy.kHighsInf), np.zeros(height - classes)])
        solved = _optimum(table, cost, lower, upper, watch)
        if solved is None:
            return None
        value, dual = solved
        per_load = dual[classes : classes + many] / graph.capacity[arcs]
        prices = np.where(able, per_load * graph.load[:, None], 0.0)
        prices[able] += dual[classes + many :]
        return Relaxed(value=value, prices=prices)


def _optimum(
    table: sparse.csc_matrix, cost: Floats, lower: Floats, upper: Floats, watch: Watch
) -> tuple[float, Floats] | None:
    """Value and (negated) duals of min cost·x, lower ≤ table·x ≤ upper, x ≥ 0; None when interrupted."""
    highs = quiet()
    highs.setOptionValue("solver", "ipm")
    highs.setOptionValue("run_crossover", "off")
    highs.setOptionValue("ipm_optimality_tolerance", TOLERANCE)
    program = highspy.HighsLp()
    program.num_row_, program.num_col_ = table.shape
    program.col_cost_ = cost
    program.col_lower_, program.col_upper_ = np.zeros(len(cost)), np.full(len(cost), highspy.kHighsInf)
    program.row_lower_, program.row_upper_ = lower, upper
    matrix = program.a_matrix_
    matrix.format_ = highspy.MatrixFormat.kColwise
    matrix.num_row_, matrix.num_col_ = table.shape
    matrix.start_, matrix.index_, matrix.value_ = table.indptr, table.indices, table.data
    highs.passModel(program)
    if not run(highs, watch) or highs.getModelStatus() == highspy.HighsModelStatus.kInterrupt:
        return None
    dual = np.maximum(0.0, -np.array(highs.getSolution().row_dual))
    if not len(dual):
        return None
    return float(highs.getInfo().objective_function_value), dual
