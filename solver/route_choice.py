"""The integer program of 5.3: arcs are bought whole, and every class is shared out among paths.

    min Σ_e s_e n_e   s.t.  Σ_p y_kp = 1,   Σ_k q_k Σ_{p∋e} y_kp ≤ c_e n_e,   Σ_{p∋e} y_kp ≤ n_e,   n whole

Where few enough paths can be in a plan below the cutoff (by `RouteBound.useful` arcs and by `RouteBound.lean`
prices), all of them are in the program, and its bound is one on every plan. Otherwise paths found so far are,
and those over the arcs that the relaxation uses most, and it is a way to find plans. Paths are in time here
to the last bit, not only in ticks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import highspy
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from solver.highs import integer_search, linear
from solver.outcome import Watch
from solver.route_bound import RouteBound, RoutePath
from solver.route_graph import RouteGraph
from solver.routes import EPSILON, Floats, Indices

# All paths are written down up to this many; of those found so far, so many are taken, the cheapest first,
# and so many over the arcs that the relaxation uses most.
MOST_PATHS, MOST_KNOWN, MOST_OVER_USED = 60_000, 3_000, 20_000
# Of the arcs that the relaxation uses at all, these parts are tried.
USED, PARTS = 1e-3, (1.0, 0.8, 0.65, 0.5, 0.35, 0.2)
# What sums of doubles may be wrong by.
SAFETY = 1e-6
# Parts of a class below this are rounding.
LEAST_PART = 1e-7


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """Paths and the part of its class that each one takes; none where none below the cutoff was found.

    No plan below the cutoff costs less than `lower_bound`: 0 where nothing was proven, infinite where there
    is no such plan.
    """

    paths: tuple[tuple[RoutePath, float], ...]
    lower_bound: float


def choose_paths(
    bound: RouteBound,
    cutoff: float,
    watch: Watch,
    *,
    known: bool = True,
    time_limit_s: float,
    threads: int,
    seed: int,
    nodes: int | None = None,
) -> Choice:
    """The cheapest way to share out all classes for at most `cutoff` that was found, and what was proven.

    The lower the cutoff, the fewer arcs can be in such a plan, and the sooner all paths are in the program.
    Where that are too many, the `known` ones are taken, or nothing is tried.
    """
    graph, arcs = bound.graph, bound.useful(cutoff, watch)
    lean = bound.lean()
    spare = cutoff * (1 + SAFETY) - lean.value
    every = all_paths(graph, arcs[lean.unpaid[arcs] <= spare], MOST_PATHS, unpaid=lean.unpaid, spare=spare)
    if every is None and not known:
        return Choice(paths=(), lower_bound=0.0)
    paths = every
    if paths is None:
        paths = list(dict.fromkeys([*_known(bound), *most_used(graph, bound.use)]))
    choice = share_out(
        graph,
        paths,
        np.zeros(len(graph.tail)),
        cutoff,
        watch,
        time_limit_s=time_limit_s,
        threads=threads,
        seed=seed,
        nodes=nodes,
    )
    return choice if every is not None else Choice(paths=choice.paths, lower_bound=0.0)


def share_out(
    graph: RouteGraph,
    paths: Sequence[RoutePath],
    carried: Floats,
    cutoff: float,
    watch: Watch,
    *,
    time_limit_s: float,
    threads: int,
    seed: int,
    nodes: int | None = None,
) -> Choice:
    """The same over these paths alone, where the arcs carry a load [E] of others already.

    Instances for that load are there and cost nothing; `cutoff` and what is proven are without them.
    """
    if len({path.k for path in paths}) < len(graph.load):
        return Choice(paths=(), lower_bound=math.inf)
    arcs = np.unique([arc for path in paths for arc in path.arcs])
    there = instances_for(carried[arcs], graph.capacity[arcs])
    room = there - carried[arcs] / graph.capacity[arcs]
    table, pairs = _rows(graph, paths, arcs, there > 0)
    classes, load = len(graph.load), float(graph.load.sum())
    found = integer_search(
        cost=np.concatenate([graph.price[arcs], np.zeros(len(paths))]),
        upper=np.concatenate([np.ceil(load / graph.capacity[arcs]) + 1, np.ones(len(paths))]),
        rows=table,
        row_lower=np.concatenate([np.ones(classes), np.full(table.shape[0] - classes, -highspy.kHighsInf)]),
        row_upper=np.concatenate([np.ones(classes), room, np.zeros(pairs)]),
        integer=np.arange(len(arcs) + len(paths)) < len(arcs),
        start=None,
        cutoff=cutoff,
        watch=watch,
        time_limit_s=time_limit_s,
        threads=threads,
        seed=seed,
        nodes=nodes,
    )
    proven = found.lower_bound
    if found.values is None or found.objective > cutoff * (1 + EPSILON):
        return Choice(paths=(), lower_bound=proven)
    parts = _parts(graph, paths, arcs, table, found.values[: len(arcs)] + room)
    if parts is None:
        return Choice(paths=(), lower_bound=proven)
    return _chosen(paths, parts, proven)


def shared_over(
    graph: RouteGraph, paths: Sequence[RoutePath], arcs: Indices, instances: Floats
) -> Choice | None:
    """All classes shared out among these paths over so many instances [arcs]; None where they cannot be."""
    table, _ = _rows(graph, paths, arcs, np.ones(len(arcs), dtype=bool))
    if len({path.k for path in paths}) < len(graph.load):
        return None
    parts = _parts(graph, paths, arcs, table, instances)
    if parts is None:
        return None
    return _chosen(paths, parts, 0.0)


def instances_for(load: Floats, capacity: Floats) -> Floats:
    """The whole instances that these loads need."""
    needed: Floats = np.where(load > 0, np.maximum(1.0, np.ceil(load / capacity - EPSILON)), 0.0)
    return needed


def all_paths(
    graph: RouteGraph,
    arcs: Indices,
    most: int,
    *,
    unpaid: Floats | None = None,
    spare: float = math.inf,
) -> list[RoutePath] | None:
    """Every path in time of every class over these arcs (rising numbers), unless there are more than `most`.

    Only those of which no more than `spare` is `unpaid` [E] in all (`RouteBound.lean`).
    """
    leaving = np.searchsorted(graph.tail[arcs], np.arange(graph.depth + 1)).tolist()
    time, head, numbers = graph.time[arcs].tolist(), graph.head[arcs].tolist(), arcs.tolist()
    lacks = [0.0] * len(arcs) if unpaid is None else unpaid[arcs].tolist()
    least, lacking = [math.inf] * graph.depth + [0.0], [math.inf] * graph.depth + [0.0]
    for cut in range(graph.depth - 1, -1, -1):
        for arc in range(leaving[cut], leaving[cut + 1]):
            least[cut] = min(least[cut], time[arc] + least[head[arc]])
            lacking[cut] = min(lacking[cut], lacks[arc] + lacking[head[arc]])
    found: list[RoutePath] = []
    for k in range(len(graph.load)):
        able = graph.able[k, arcs].tolist()
        within = float(graph.budget[k]) * (1 + EPSILON)
        start: tuple[int, float, float, tuple[int, ...]] = (int(graph.entry[k]), within, spare, ())
        waiting = [start]
        while waiting:
            cut, left, rest, path = waiting.pop()
            if cut == graph.depth:
                found.append(RoutePath(k=k, arcs=tuple(numbers[arc] for arc in path)))
                if len(found) > most:
                    return None
                continue
            for arc in range(leaving[cut], leaving[cut + 1]):
                there = head[arc]
                if able[arc] and time[arc] + least[there] <= left and lacks[arc] + lacking[there] <= rest:
                    waiting.append((there, left - time[arc], rest - lacks[arc], (*path, arc)))
    return found


def _known(bound: RouteBound) -> list[RoutePath]:
    """Paths found so far that are in time, those of least reduced cost."""
    graph, prices = bound.graph, bound.prices
    cheapest = graph.routing(prices, bound.alive).distances
    reduced = {
        path: float(prices[path.k, list(path.arcs)].sum() - cheapest[path.k])
        for path in bound.paths
        if graph.in_time(path.k, path.arcs)
    }
    return sorted(reduced, key=lambda path: (reduced[path], path.k, path.arcs))[:MOST_KNOWN]


def most_used(graph: RouteGraph, use: Floats) -> list[RoutePath]:
    """All paths over as many of the arcs that are used [E] most as leaves few enough."""
    used = np.flatnonzero(use > USED)
    used = used[np.argsort(-use[used], kind="stable")]
    for part in PARTS:
        arcs = np.sort(used[: round(part * len(used))])
        paths = all_paths(graph, arcs, MOST_OVER_USED)
        if paths is not None:
            return paths
    return []


def _rows(
    graph: RouteGraph, paths: Sequence[RoutePath], arcs: Indices, there: NDArray[np.bool_]
) -> tuple[sparse.csr_matrix, int]:
    """Classes, capacities (as parts of an instance), so many pairs; columns are arcs, then paths.

    There are no pairs for arcs that are there already.
    """
    classes, many = len(graph.load), len(arcs)
    length = np.array([len(path.arcs) for path in paths])
    k_of = np.array([path.k for path in paths])
    along = np.searchsorted(arcs, [arc for path in paths for arc in path.arcs])
    taken, column = np.repeat(k_of, length), np.repeat(many + np.arange(len(paths)), length)
    new = ~there[along]
    pairs, pair = np.unique(taken[new] * many + along[new], return_inverse=True)
    first = classes + many
    rows = np.concatenate(
        [k_of, classes + along, first + pair, classes + np.arange(many), first + np.arange(len(pairs))]
    )
    columns = np.concatenate(
        [many + np.arange(len(paths)), column, column[new], np.arange(many), pairs % many]
    )
    values = np.concatenate(
        [
            np.ones(len(paths)),
            graph.load[taken] / graph.capacity[arcs[along]],
            np.ones(len(pair)),
            -np.ones(many + len(pairs)),
        ]
    )
    table = sparse.csr_matrix((values, (rows, columns)), shape=(first + len(pairs), many + len(paths)))
    return table, len(pairs)


def _chosen(paths: Sequence[RoutePath], parts: Floats, proven: float) -> Choice:
    taken = tuple((path, part) for path, part in zip(paths, parts.tolist(), strict=True) if part > 0)
    return Choice(paths=taken, lower_bound=proven)


def _parts(
    graph: RouteGraph,
    paths: Sequence[RoutePath],
    arcs: Indices,
    table: sparse.csr_matrix,
    instances: Floats,
) -> Floats | None:
    """[paths]: how the classes are shared out over these (parts of) instances, to the last digits.

    None where they cannot be.
    """
    classes, many = len(graph.load), len(arcs)
    rows = sparse.csc_matrix(table[: classes + many, many:])
    highs = linear(
        # Whoever is split is split little: long paths are avoided, and a corner has few parts anyway.
        cost=np.array([float(len(path.arcs)) for path in paths]),
        upper=np.ones(len(paths)),
        rows=rows,
        row_lower=np.concatenate([np.ones(classes), np.full(many, -highspy.kHighsInf)]),
        row_upper=np.concatenate([np.ones(classes), instances]),
        tolerance=1e-10,
    )
    if highs.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        return None
    parts = np.array(highs.getSolution().col_value)
    parts[parts < LEAST_PART] = 0.0
    total = np.bincount([path.k for path in paths], weights=parts, minlength=classes)
    shared: Floats = parts / total[[path.k for path in paths]]
    return shared
