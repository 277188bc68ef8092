"""The integer program of 5.3 over known paths: every class takes one of them, arcs are bought whole.

    min Σ_e s_e n_e   s.t.  Σ_p y_kp = 1,   Σ_k q_k Σ_{p∋e} y_kp ≤ c_e n_e,   Σ_{p∋e} y_kp ≤ n_e,   y, n whole

Prices that prove a bound z give every path the reduced cost Σ_{e∈p} π_ke − (price of the cheapest path of
k); a path for which z plus this is above the cutoff is in no answer below it.
"""

from __future__ import annotations

import highspy
import numpy as np
from scipy import sparse

from solver.highs import integer_search
from solver.outcome import Watch
from solver.route_bound import RouteBound, RoutePath


def choose_paths(
    bound: RouteBound,
    cutoff: float,
    watch: Watch,
    *,
    time_limit_s: float,
    threads: int,
    seed: int,
    nodes: int,
) -> list[RoutePath] | None:
    """A path for every class, together at most `cutoff`, the cheapest found; None when none was found."""
    graph, prices = bound.graph, bound.prices
    cheapest = graph.distances(graph.to_end(prices))
    paths = [
        path
        for path in bound.paths
        if graph.in_time(path.k, path.arcs)
        and bound.value + prices[path.k, list(path.arcs)].sum() - cheapest[path.k] <= cutoff
    ]
    if not paths:
        return None
    arcs = sorted({arc for path in paths for arc in path.arcs})
    pairs = sorted({(path.k, arc) for path in paths for arc in path.arcs})
    arc_at = {arc: position for position, arc in enumerate(arcs)}
    pair_at = {pair: position for position, pair in enumerate(pairs)}
    classes, first = len(graph.load), len(arcs)
    rows, columns, values = [], [], []

    def entry(row: int, column: int, value: float) -> None:
        rows.append(row)
        columns.append(column)
        values.append(value)

    for arc, position in arc_at.items():
        entry(classes + position, position, -float(graph.capacity[arc]))
    for (_, arc), position in pair_at.items():
        entry(classes + first + position, arc_at[arc], -1.0)
    for number, path in enumerate(paths):
        entry(path.k, first + number, 1.0)
        for arc in path.arcs:
            entry(classes + arc_at[arc], first + number, float(graph.load[path.k]))
            entry(classes + first + pair_at[path.k, arc], first + number, 1.0)
    height, width = classes + first + len(pairs), first + len(paths)
    load = float(graph.load.sum())
    one = np.ones(classes)
    found = integer_search(
        cost=np.concatenate([graph.price[arcs], np.zeros(len(paths))]),
        upper=np.concatenate([np.ceil(load / graph.capacity[arcs]) + 1, np.ones(len(paths))]),
        rows=sparse.csr_matrix((values, (rows, columns)), shape=(height, width)),
        row_lower=np.concatenate([one, np.full(height - classes, -highspy.kHighsInf)]),
        row_upper=np.concatenate([one, np.zeros(height - classes)]),
        integer=np.ones(width, dtype=bool),
        start=None,
        cutoff=cutoff,
        watch=watch,
        time_limit_s=time_limit_s,
        threads=threads,
        seed=seed,
        nodes=nodes,
    )
    if found.values is None or found.objective > cutoff:
        return None
    return [paths[number] for number in np.flatnonzero(found.values[first:] > 0.5).tolist()]
