"""What instances have to do, as rows Σ_e a_e n_e ≥ 1 that every valid plan of 5.3 keeps.

Let prices π make class k's cheapest path in time cost u_k. Its parts of the arcs, x_ke ≤ min(1, n_e), pay at
least that, and together classes pay an arc no more than what an instance full of them pays, K_e(π):

    Σ_e min(π_ke, u_k) n_e ≥ u_k  for every class,      Σ_e K_e(π) n_e ≥ Σ_k u_k

(K_e is a fractional knapsack, see `solver.route_bound`.) With the relaxation's prices the second says what
the relaxation says (`priced_rows`). Where given instances are too few, the dual of sharing the classes out
over them gives prices at which the second is broken (`missed_rows`): β_e q_k / c_e for the arcs that are
there. The others cost u_k to begin with, enough for any path over them, and are lowered as far as paths stay
at u_k: no path uses two arcs over the same layer, so all of these are lowered at once, layer by layer.

`crossing_rows` need no prices: the classes S that enter at a layer or before all pass it, so the arcs over it
carry Σ_S q_k, and each instance no more than its capacity or what those of S bring that can use it in time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import highspy
import numpy as np
from scipy import sparse

from solver.highs import linear
from solver.route_bound import Lean, RouteBound, RoutePath, knapsacks
from solver.route_graph import RouteGraph
from solver.routes import Floats, Indices

# What is missing of a class below this is rounding.
TINY = 1e-7


def priced_rows(bound: RouteBound, lean: Lean) -> list[Floats]:
    """[E] each: of the relaxation's prices. Arcs that were left out count 1."""
    graph, arcs = bound.graph, bound.alive
    least = graph.routing(bound.prices, arcs, exact=True).distances
    rows = [
        _row(graph, arcs, np.minimum(bound.prices[k, arcs], least[k]) / least[k]) for k in range(len(least))
    ]
    rows.append(_row(graph, arcs, knapsacks(bound.prices[:, arcs], graph, arcs) / least.sum()))
    rows.append(_row(graph, arcs, (graph.price[arcs] - lean.unpaid[arcs]) / lean.value))
    return rows


def crossing_rows(graph: RouteGraph, arcs: Indices) -> list[Floats]:
    """[E] each: at every layer, of the classes to which fewest arcs over it are open, one more every time."""
    rows: dict[bytes, Floats] = {}
    for layer in range(graph.depth):
        over = arcs[(graph.tail[arcs] <= layer) & (graph.head[arcs] > layer)]
        there = np.flatnonzero(graph.entry <= layer)
        able = graph.able[np.ix_(there, over)]
        order = np.argsort(able.sum(axis=1), kind="stable")
        brought = np.cumsum(able[order] * graph.load[there[order], None], axis=0)
        needed = np.cumsum(graph.load[there[order]])
        for carried, load in zip(np.minimum(brought, graph.capacity[over]), needed.tolist(), strict=True):
            row = np.ones(len(graph.tail))
            row[arcs] = 0.0
            row[over] = np.minimum(1.0, carried / load)
            rows[row.tobytes()] = row
    return list(rows.values())


@dataclass(frozen=True, kw_only=True, eq=False)
class Missed:
    """Classes cannot be shared out: `most` [K] is what they pay at most, `each` [arcs] what an instance earns
    of the `arcs` that are there."""

    arcs: Indices
    most: Floats
    each: Floats


def missed(
    graph: RouteGraph, paths: Sequence[RoutePath], arcs: Indices, instances: Floats, worth: Floats
) -> Missed | None:
    """What these instances [arcs] lack of serving all classes, worth [K] each; None where they lack nothing.

    `paths` are all paths in time over `arcs` (rising numbers).
    """
    classes, many = len(graph.load), len(arcs)
    length = np.array([len(path.arcs) for path in paths], dtype=np.intp)
    k_of = np.array([path.k for path in paths], dtype=np.intp)
    along = np.searchsorted(arcs, [arc for path in paths for arc in path.arcs]).astype(np.intp)
    part = graph.load[np.repeat(k_of, length)] / graph.capacity[arcs[along]]
    # Columns are paths, then what is left of each class.
    table = sparse.csc_matrix(
        (
            np.concatenate([np.ones(len(paths)), part, np.ones(classes)]),
            (
                np.concatenate([k_of, classes + along, np.arange(classes)]),
                np.concatenate(
                    [
                        np.arange(len(paths)),
                        np.repeat(np.arange(len(paths)), length),
                        len(paths) + np.arange(classes),
                    ]
                ),
            ),
        ),
        shape=(classes + many, len(paths) + classes),
    )
    highs = linear(
        cost=np.concatenate([np.zeros(len(paths)), worth]),
        upper=np.full(len(paths) + classes, highspy.kHighsInf),
        rows=table,
        row_lower=np.concatenate([np.ones(classes), np.full(many, -highspy.kHighsInf)]),
        row_upper=np.concatenate([np.ones(classes), instances]),
    )
    each = np.maximum(0.0, -np.array(highs.getSolution().row_dual)[classes:])
    # What classes pay follows from what instances earn, whatever the solver's tolerances are.
    most = worth.astype(np.float64)
    if len(paths):
        np.minimum.at(most, k_of, np.bincount(np.repeat(np.arange(len(paths)), length), part * each[along]))
    if float(most.sum() - each @ instances) <= TINY * float(worth.sum()):
        return None
    return Missed(arcs=arcs, most=most, each=each)


def missed_rows(
    graph: RouteGraph, among: Indices, lack: Missed, generator: np.random.Generator, over: Callable[[], bool]
) -> list[Floats]:
    """[E] each: two rows that the instances break, for plans over the arcs `among`; other arcs count 1.

    The first is worth more, unless it is `over` soon. Time is in ticks there, so that the instances may keep
    it where a path is nearly in time.
    """
    there, payers = lack.arcs, lack.most > TINY
    others = np.setdiff1d(among, there)
    prices = np.zeros((len(graph.load), len(graph.tail)))
    prices[:, others] = lack.most[:, None]
    prices[:, there] = lack.each * graph.load[:, None] / graph.capacity[there]
    prices[~payers] = 0.0
    prices = np.where(graph.able, prices, 0.0)
    plain = _row(graph, among, knapsacks(prices[:, among], graph, among) / lack.most.sum())
    plain[others] = 1.0
    # Every arc is over the layer that it begins with.
    layers = np.unique(graph.tail[others])
    generator.shuffle(layers)
    for layer in layers.tolist():
        if over():
            break
        across = others[(graph.tail[others] <= layer) & (graph.head[others] > layer)]
        around = graph.routing(prices, among, exact=True).without(across)
        needed = np.maximum(0.0, lack.most[:, None] - around)
        prices[:, across] = np.minimum(prices[:, across], np.where(np.isfinite(around), needed, 0.0))
    reached = graph.routing(prices, among, exact=True).distances
    pays = float(np.where(payers, np.minimum(lack.most, reached), 0.0).sum())
    if pays <= 0:
        return [plain]
    return [_row(graph, among, knapsacks(prices[:, among], graph, among) / pays), plain]


def _row(graph: RouteGraph, arcs: Indices, counts: Floats) -> Floats:
    row = np.ones(len(graph.tail))
    row[arcs] = np.minimum(1.0, counts)
    return row
