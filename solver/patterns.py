"""Packing by patterns (Gilmore and Gomory 1961): what one bin can hold, and how many bins hold that.

Equal bins are one *type* g, of which there are N_g. A pattern p says how many of each item a_ip one bin of
its type holds.

    min  Σ_p z_p
    s.t. Σ_p a_ip z_p ≥ count_i            every instance is somewhere
         Σ_{p of g} z_p ≤ N_g              there are no more bins than there are
         z whole

The linear relaxation is solved by column generation: with π_i the worth of an item, the most worthy pattern
of a type is a small integer program (shares, memory, clients). Where no pattern is worth more than w, π / w
is a dual answer, so Σ_i count_i π_i / w is a bound in every round (Farley 1990). A last integer program over
the patterns found gives the packing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.optimize import linprog

from solver.highs import integer_search
from solver.outcome import Watch
from solver.routes import Floats

ROUNDS = 500
# The part of the time for the relaxation; the rest is for the integer program.
RELAXING = 0.5
# An item left out costs so many bins in the relaxation.
LEFT_OUT = 1_000.0


@dataclass(frozen=True, kw_only=True, slots=True)
class BinType:
    """`number` equal bins."""

    share: int
    memory: int
    clients: int
    number: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Filling:
    """Patterns (bin type, how many of each item) and how many bins each fills; none where none was found.

    No packing uses fewer bins than `bins_bound`.
    """

    patterns: tuple[tuple[int, tuple[int, ...], int], ...]
    bins_bound: int


def fill(
    share: Sequence[int],
    memory: Sequence[int],
    count: Sequence[int],
    types: Sequence[BinType],
    *,
    time_limit_s: float,
    seed: int,
) -> Filling:
    """Pack `count[i]` items of these sizes into few bins."""
    watch = Watch(time_limit_s=time_limit_s)
    sizes = np.array([share, memory, np.ones(len(share))])
    counts = np.array(count, dtype=float)
    patterns = _first_patterns(sizes, counts, types)
    bound = 0.0
    for _ in range(ROUNDS):
        worth, dear = _relax(patterns, counts, types)
        most = 0.0
        found = []
        for number, kind in enumerate(types):
            value, pattern = _most_worthy(worth, sizes, counts, kind, watch, seed)
            most = max(most, value)
            if value > 1 + dear[number] + 1e-7:
                found.append((number, pattern))
        if most > 0:
            bound = max(bound, float(counts @ worth) / most)
        new = [one for one in found if one not in patterns]
        if not new or watch.elapsed_s > time_limit_s * RELAXING:
            break
        patterns.extend(new)
    return Filling(patterns=_choose(patterns, counts, types, watch, seed), bins_bound=math.ceil(bound - 1e-6))


Pattern = tuple[int, tuple[int, ...]]


def _first_patterns(sizes: Floats, counts: Floats, types: Sequence[BinType]) -> list[Pattern]:
    """As many as fit of each item alone."""
    patterns: list[Pattern] = []
    for number, kind in enumerate(types):
        room = np.array([kind.share, kind.memory, kind.clients], dtype=float)
        for item in range(sizes.shape[1]):
            needed = sizes[:, item] > 0
            fits = int(min(counts[item], (room[needed] // sizes[needed, item]).min()))
            if fits > 0:
                alone = [0] * sizes.shape[1]
                alone[item] = fits
                patterns.append((number, tuple(alone)))
    return patterns


def _relax(patterns: list[Pattern], counts: Floats, types: Sequence[BinType]) -> tuple[Floats, Floats]:
    """Worth of each item, and what a bin of each type is worth beyond its cost, since there are so few."""
    items = len(counts)
    table = np.array([pattern for _, pattern in patterns], dtype=float).reshape(-1, items).T
    of_type = np.array([[float(kind == number) for kind, _ in patterns] for number in range(len(types))])
    held = np.hstack([table, np.eye(items)])
    used = np.hstack([of_type, np.zeros((len(types), items))])
    answer = linprog(
        np.concatenate([np.ones(len(patterns)), np.full(items, LEFT_OUT)]),
        A_ub=np.vstack([-held, used]),
        b_ub=np.concatenate([-counts, [kind.number for kind in types]]),
        method="highs",
    )
    dual = -answer.ineqlin.marginals
    return np.maximum(dual[:items], 0.0), np.maximum(dual[items:], 0.0)


def _most_worthy(
    worth: Floats, sizes: Floats, counts: Floats, kind: BinType, watch: Watch, seed: int
) -> tuple[float, tuple[int, ...]]:
    """max worth·a within the bin; an upper bound on it where the time is over."""
    room = np.array([kind.share, kind.memory, kind.clients], dtype=float)
    fits = (sizes <= room[:, None]).all(axis=0)
    scale = np.maximum(room, 1.0)[:, None]
    found = integer_search(
        cost=-worth,
        upper=np.where(fits, counts, 0.0),
        rows=sparse.csr_matrix(sizes / scale),
        row_lower=np.full(3, -np.inf),
        row_upper=np.ones(3),
        integer=np.ones(len(counts), dtype=bool),
        start=None,
        cutoff=math.inf,
        watch=watch,
        time_limit_s=max(0.05, watch.remaining_s),
        threads=1,
        seed=seed,
    )
    if found.values is None:
        return math.inf, ()
    pattern = np.round(found.values)
    if (sizes @ pattern > room).any():  # within HiGHS' tolerance, but not ours
        return -found.lower_bound, ()
    return max(-found.lower_bound, float(worth @ pattern)), tuple(int(number) for number in pattern)


def _choose(
    patterns: list[Pattern], counts: Floats, types: Sequence[BinType], watch: Watch, seed: int
) -> tuple[tuple[int, tuple[int, ...], int], ...]:
    """Whole bins of these patterns that hold everything; none where they were not found."""
    usable = [pattern for pattern in patterns if pattern[1]]
    if not usable or watch.limit is not None:
        return ()
    table = np.array([pattern for _, pattern in usable], dtype=float).T
    of_type = np.array([[float(kind == number) for kind, _ in usable] for number in range(len(types))])
    number = np.array([kind.number for kind in types], dtype=float)
    found = integer_search(
        cost=np.ones(len(usable)),
        upper=np.array([number[kind] for kind, _ in usable]),
        rows=sparse.csr_matrix(np.vstack([table, of_type])),
        row_lower=np.concatenate([counts, np.full(len(types), -np.inf)]),
        row_upper=np.concatenate([np.full(len(counts), np.inf), number]),
        integer=np.ones(len(usable), dtype=bool),
        start=None,
        cutoff=math.inf,
        watch=watch,
        time_limit_s=max(0.05, watch.remaining_s),
        threads=1,
        seed=seed,
    )
    if found.values is None:
        return ()
    return tuple(
        (kind, pattern, int(bins))
        for (kind, pattern), bins in zip(usable, found.values.tolist(), strict=True)
        if bins > 0
    )


def bin_types(bins: Sequence[tuple[int, int, int]]) -> list[BinType]:
    """The types of bins given as (share, memory, clients), in order of appearance."""
    return [
        BinType(share=share, memory=memory, clients=clients, number=number)
        for (share, memory, clients), number in Counter(bins).items()
    ]
