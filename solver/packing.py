"""Packing instances onto GPUs: vector bin packing with share, memory and client limits (design 5.5).

    min  Σ_g used_g
    s.t. Σ_g x(i,g) = count_i                          every instance is somewhere
         Σ_i share_i  · x(i,g) ≤ share_g  · used_g     of every GPU
         Σ_i memory_i · x(i,g) ≤ memory_g · used_g
         Σ_i            x(i,g) ≤ clients  · used_g
         x(i,g) = 0 where the item's kind is not the GPU's; x integer, used binary

Kinds share nothing, so each is packed for itself. First-fit decreasing gives a first packing, patterns
(`solver.patterns`) a bound and mostly a better one; where they are not equal, CP-SAT tries the program above.
In it identical instances are one item with a count, so nothing is symmetric but equal GPUs, which are used in
order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from ortools.sat.python import cp_model

from solver.patterns import bin_types, fill

# The part of the time for patterns; CP-SAT is not tried with more pairs of item and bin than MOST_PLACES.
PATTERNS, MOST_PLACES = 0.7, 50_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """`count` identical instances; sizes are whole numbers in the units of the bins."""

    kind: str
    share: int
    memory: int
    count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Bin:
    """One GPU: what fits on it."""

    kind: str
    share: int
    memory: int
    clients: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Packing:
    """`counts[i][g]` instances of item i on bin g.

    `leftover[i]` of them found no place; no packing uses fewer bins than `bins_bound`.
    """

    counts: tuple[tuple[int, ...], ...]
    leftover: tuple[int, ...]
    bins_used: int
    bins_bound: int

    @property
    def complete(self) -> bool:
        return not any(self.leftover)


def pack(items: Sequence[Item], bins: Sequence[Bin], *, time_limit_s: float = 5.0, seed: int = 0) -> Packing:
    """Pack all items onto the fewest bins found within the limit; what does not fit is left over.

    Where no complete packing is found, the answer is first-fit decreasing's, with its leftover.
    """
    counts = [[0] * len(bins) for _ in items]
    leftover = [0] * len(items)
    used = bound = 0
    kinds = sorted({item.kind for item in items})
    for position, kind in enumerate(kinds):
        mine = [number for number, item in enumerate(items) if item.kind == kind]
        theirs = [number for number, bin_ in enumerate(bins) if bin_.kind == kind]
        part = _pack_kind(
            [items[number] for number in mine],
            [bins[number] for number in theirs],
            time_limit_s / (len(kinds) - position) if position + 1 < len(kinds) else time_limit_s,
            seed,
        )
        for number, row, left in zip(mine, part.counts, part.leftover, strict=True):
            leftover[number] = left
            for place, count in zip(theirs, row, strict=True):
                counts[number][place] = count
        used, bound = used + part.bins_used, bound + part.bins_bound
    return Packing(
        counts=tuple(tuple(row) for row in counts),
        leftover=tuple(leftover),
        bins_used=used,
        bins_bound=bound,
    )


def _pack_kind(items: Sequence[Item], bins: Sequence[Bin], time_limit_s: float, seed: int) -> Packing:
    """Items and bins are all of one kind."""
    best = first_fit_decreasing(items, bins)
    if not bins or (best.complete and best.bins_used <= best.bins_bound):
        return best
    patterns = _by_patterns(items, bins, best.bins_bound, time_limit_s * PATTERNS, seed)
    if patterns.complete and (not best.complete or patterns.bins_used < best.bins_used):
        best = patterns
    best = replace(best, bins_bound=max(best.bins_bound, patterns.bins_bound))
    if best.complete and best.bins_used <= best.bins_bound:
        return best
    if len(items) * len(bins) > MOST_PLACES:
        return best
    return _exact(items, bins, best, time_limit_s * (1 - PATTERNS), seed) or best


def _by_patterns(
    items: Sequence[Item], bins: Sequence[Bin], bound: int, time_limit_s: float, seed: int
) -> Packing:
    """The packing by patterns; everything is left over where none was found."""
    sizes = [(bin_.share, bin_.memory, bin_.clients) for bin_ in bins]
    types = bin_types(sizes)
    filling = fill(
        [item.share for item in items],
        [item.memory for item in items],
        [item.count for item in items],
        types,
        time_limit_s=time_limit_s,
        seed=seed,
    )
    order = [(kind.share, kind.memory, kind.clients) for kind in types]
    free = {size: [number for number, other in enumerate(sizes) if other == size] for size in order}
    counts = [[0] * len(bins) for _ in items]
    left = [item.count for item in items]
    for kind, pattern, number in filling.patterns:
        for _ in range(number):
            bin_ = free[order[kind]].pop(0)
            for i, count in enumerate(pattern):
                here = min(count, left[i])
                counts[i][bin_] = here
                left[i] -= here
    return _packing(counts, left, max(bound, filling.bins_bound), len(bins))


def first_fit_decreasing(items: Sequence[Item], bins: Sequence[Bin]) -> Packing:
    """Largest instances first, each onto the first bin it fits: what a user would do without a solver."""
    counts = [[0] * len(bins) for _ in items]
    leftover = [0] * len(items)
    share = [bin_.share for bin_ in bins]
    memory = [bin_.memory for bin_ in bins]
    clients = [bin_.clients for bin_ in bins]

    def size(number: int) -> tuple[float, int]:
        item = items[number]
        # The scarcer of the two resources decides which instance is large.
        widest = max((b.memory for b in bins if b.kind == item.kind), default=1)
        return (
            -max(item.share / max((b.share for b in bins), default=1), item.memory / max(1, widest)),
            number,
        )

    for number in sorted(range(len(items)), key=size):
        item, left = items[number], items[number].count
        for position, bin_ in enumerate(bins):
            if bin_.kind != item.kind or left == 0:
                continue
            fits = [left, clients[position]]
            if item.share:
                fits.append(share[position] // item.share)
            if item.memory:
                fits.append(memory[position] // item.memory)
            here = min(fits)
            counts[number][position] += here
            share[position] -= here * item.share
            memory[position] -= here * item.memory
            clients[position] -= here
            left -= here
        leftover[number] = left
    return _packing(counts, leftover, _bins_bound(items, bins), len(bins))


def _bins_bound(items: Sequence[Item], bins: Sequence[Bin]) -> int:
    """Bins of every kind needed for the sum of shares, of memory and of instances."""
    bound = 0
    for kind in {item.kind for item in items}:
        mine = [item for item in items if item.kind == kind]
        theirs = [bin_ for bin_ in bins if bin_.kind == kind]
        needs = (
            (sum(i.share * i.count for i in mine), sorted((b.share for b in theirs), reverse=True)),
            (sum(i.memory * i.count for i in mine), sorted((b.memory for b in theirs), reverse=True)),
            (sum(i.count for i in mine), sorted((b.clients for b in theirs), reverse=True)),
        )
        most = 0
        for need, sizes in needs:
            bins_needed = 0
            while need > 0 and bins_needed < len(sizes):
                need -= sizes[bins_needed]
                bins_needed += 1
            most = max(most, bins_needed)
        bound += most
    return bound


def _exact(
    items: Sequence[Item], bins: Sequence[Bin], greedy: Packing, time_limit_s: float, seed: int
) -> Packing | None:
    model = cp_model.CpModel()
    used = [model.new_bool_var("") for _ in bins]
    place = {
        (i, g): model.new_int_var(0, item.count, "")
        for i, item in enumerate(items)
        for g, bin_ in enumerate(bins)
        if bin_.kind == item.kind and item.share <= bin_.share and item.memory <= bin_.memory
    }
    for i, item in enumerate(items):
        model.add(sum(place[i, g] for g in range(len(bins)) if (i, g) in place) == item.count)
    for g, bin_ in enumerate(bins):
        here = [(i, item) for i, item in enumerate(items) if (i, g) in place]
        model.add(sum(item.share * place[i, g] for i, item in here) <= bin_.share * used[g])
        model.add(sum(item.memory * place[i, g] for i, item in here) <= bin_.memory * used[g])
        model.add(sum(place[i, g] for i, _ in here) <= bin_.clients * used[g])
    for g, h in pairwise(range(len(bins))):
        if bins[g] == bins[h]:
            model.add(used[g] >= used[h])
    if greedy.complete:
        for (i, g), variable in place.items():
            model.add_hint(variable, greedy.counts[i][g])
    model.minimize(sum(used))
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = time_limit_s
    solver.parameters.random_seed = seed
    solver.parameters.num_workers = 1
    status = solver.solve(model)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return None
    counts = [
        [solver.value(place[i, g]) if (i, g) in place else 0 for g in range(len(bins))]
        for i in range(len(items))
    ]
    bound = max(greedy.bins_bound, math.ceil(solver.best_objective_bound - 1e-6))
    return _packing(counts, [0] * len(items), bound, len(bins))


def _packing(counts: list[list[int]], leftover: list[int], bound: int, bins: int) -> Packing:
    return Packing(
        counts=tuple(tuple(row) for row in counts),
        leftover=tuple(leftover),
        bins_used=sum(any(row[g] for row in counts) for g in range(bins)),
        bins_bound=bound,
    )
