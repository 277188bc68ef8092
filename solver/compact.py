"""Program 5.2 as it stands in `solver.facilities`, by HiGHS, after everything that cannot matter is fixed.

An answer better than the best known one costs at most `goal`. Prices π that prove a bound z show what using a
facility e with n instances, or having class k in it, costs at least:

    z + n s_e − V_e(n)          and then also the (q_k μ − (π_k − a_ke))⁺ that forcing k in takes from V_e(n),

V_e(n) the fractional knapsack of n instances and μ its critical gain per load. What exceeds the goal is
left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import highspy
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from solver.facilities import (
    ALONE,
    EPSILON,
    Facilities,
    Floats,
    Indices,
    Pattern,
    alone_pattern,
    make_pattern,
)
from solver.fractional_bound import Bound
from solver.highs import Found, integer_search
from solver.outcome import Watch
from solver.packed_kernel import penalties

# Columns for which HiGHS still gets somewhere.
MOST_PAIRS = 40_000
MOST_INSTANCES = 60
# What HiGHS' bounds may be wrong by, generously.
TOLERANCE = 1e-6


@dataclass(frozen=True, kw_only=True, eq=False)
class Kept:
    """The facilities and pairs left: `facilities[f]` is (group, facility); pair p joins class `classes[p]` to
    facility number `facility_of[p]` for `joining[p]`; `alone` [K] says who may stay alone."""

    facilities: list[tuple[int, int]]
    facility_of: Indices
    classes: Indices
    joining: Floats
    alone: NDArray[np.bool_]

    def prices(self, program: Facilities) -> Floats:
        """[facilities]: of an instance."""
        return np.array([program.groups[g].price[f] for g, f in self.facilities])

    def capacities(self, program: Facilities) -> Floats:
        """[facilities]: of an instance."""
        return np.array([program.groups[g].capacity[f] for g, f in self.facilities])


def what_can_matter(
    program: Facilities, bounds: list[Bound], goal: float, among: Sequence[NDArray[np.bool_]] | None = None
) -> Kept:
    """Leave out every facility and pair that no answer of at most `goal` uses.

    `among`, [E, K'] for each group, are the pairs that are not left out already.
    """
    lonely = np.ones(len(program), dtype=bool)
    for bound in bounds:
        lonely &= bound.value + program.alone - bound.worth <= goal + 1e-9 * goal
    return kept_among(program, able_pairs(program, bounds, goal, among), lonely)


def able_pairs(
    program: Facilities, bounds: list[Bound], goal: float, among: Sequence[NDArray[np.bool_]] | None = None
) -> tuple[NDArray[np.bool_], ...]:
    """[E, K'] for each group: which pairs an answer of at most `goal` can use, as far as the bounds tell."""
    tables = []
    for position, group in enumerate(program.groups):
        able = np.isfinite(group.joining)
        if among is not None:
            able &= among[position]
        for bound in bounds:
            load, members = program.load[group.classes], program.members[group.classes]
            worth = bound.worth[group.classes]
            numbers = (group.price, group.capacity, group.joining, load, members, worth)
            able &= bound.value + penalties(*numbers, MOST_INSTANCES) <= goal + 1e-9 * goal
        tables.append(able)
    return tuple(tables)


def kept_among(program: Facilities, tables: Sequence[NDArray[np.bool_]], lonely: NDArray[np.bool_]) -> Kept:
    """The pairs in these tables, [E, K'] for each group, and who may stay alone."""
    facilities: list[tuple[int, int]] = []
    numbers, classes, joining = [], [], []
    for position, (group, able) in enumerate(zip(program.groups, tables, strict=True)):
        for row in np.flatnonzero(able.any(axis=1)).tolist():
            columns = np.flatnonzero(able[row])
            numbers.append(np.full(len(columns), len(facilities)))
            classes.append(group.classes[columns])
            joining.append(group.joining[row, columns])
            facilities.append((position, row))
    nothing = np.zeros(0)
    return Kept(
        facilities=facilities,
        facility_of=np.concatenate([*numbers, nothing]).astype(np.intp),
        classes=np.concatenate([*classes, nothing]).astype(np.intp),
        joining=np.concatenate([*joining, nothing]),
        alone=lonely,
    )


def solve_compact(
    program: Facilities,
    kept: Kept,
    *,
    start: list[Pattern] | None = None,
    goal: float,
    watch: Watch,
    threads: int,
    seed: int,
    nodes: int | None = None,
    looks: int | None = None,
) -> tuple[list[Pattern] | None, float]:
    """An answer of at most `goal` (None when none was found) and a bound on all that are."""
    begin = None if start is None else _as_columns(program, kept, start)
    found = search_compact(
        program,
        kept,
        start=begin,
        goal=goal,
        watch=watch,
        threads=threads,
        seed=seed,
        nodes=nodes,
        looks=looks,
    )
    if found.values is None:
        return None, found.lower_bound
    pairs = found.values[len(kept.facilities) :]
    return patterns_of(program, kept, pairs), found.lower_bound


def search_compact(
    program: Facilities,
    kept: Kept,
    *,
    start: Floats | None = None,
    goal: float,
    watch: Watch,
    threads: int,
    seed: int,
    nodes: int | None = None,
    looks: int | None = None,
    gap: float = 0.0,
    cut: bool = False,
) -> Found:
    """The same as columns: instances of facilities, pairs, classes alone. `cut`: fragments in parts."""
    count, pairs, classes = len(kept.facilities), len(kept.classes), len(program)
    price, capacity = kept.prices(program), kept.capacities(program)
    members = program.members.astype(np.float64)
    pair = np.arange(pairs)
    width = count + pairs + classes
    served = sparse.csr_matrix(
        (
            np.ones(pairs + classes),
            (np.concatenate([kept.classes, np.arange(classes)]), count + np.arange(pairs + classes)),
        ),
        shape=(classes, width),
    )
    loaded = sparse.csr_matrix(
        (
            # An instance that is full to the last digit is not too small.
            np.concatenate([program.load[kept.classes], -capacity * (1 + EPSILON)]),
            (
                np.concatenate([kept.facility_of, np.arange(count)]),
                np.concatenate([count + pair, np.arange(count)]),
            ),
        ),
        shape=(count, width),
    )
    strong = sparse.csr_matrix(
        (
            np.concatenate([np.ones(pairs), -members[kept.classes]]),
            (np.concatenate([pair, pair]), np.concatenate([count + pair, kept.facility_of])),
        ),
        shape=(pairs, width),
    )
    most = np.ceil((program.load @ members) / capacity) + 1
    return integer_search(
        cost=np.concatenate([price, kept.joining, program.alone]),
        upper=np.concatenate([most, members[kept.classes], np.where(kept.alone, members, 0.0)]),
        rows=sparse.vstack([served, loaded, strong]).tocsr(),
        row_lower=np.concatenate([members, np.full(count + pairs, -highspy.kHighsInf)]),
        row_upper=np.concatenate([np.full(classes, highspy.kHighsInf), np.zeros(count + pairs)]),
        integer=np.arange(width) < (count if cut else width),
        start=start,
        cutoff=goal,
        watch=watch,
        threads=threads,
        seed=seed,
        nodes=nodes,
        looks=looks,
        gap=gap,
    )


def _as_columns(program: Facilities, kept: Kept, answer: list[Pattern]) -> Floats | None:
    """The answer as values of the columns; None where it uses something that was left out."""
    number = {key: position for position, key in enumerate(kept.facilities)}
    pairs = {
        (int(f), int(k)): position
        for position, (f, k) in enumerate(zip(kept.facility_of, kept.classes, strict=True))
    }
    count = len(kept.facilities)
    values = np.zeros(count + len(kept.classes) + len(program))
    for pattern in answer:
        if pattern.group == ALONE:
            values[count + len(kept.classes) + pattern.classes[0]] += 1
            continue
        facility = number.get((pattern.group, pattern.facility))
        if facility is None or any((facility, k) not in pairs for k in pattern.classes):
            return None
        values[facility] += pattern.instances
        for k, n in zip(pattern.classes, pattern.counts, strict=True):
            values[count + pairs[facility, k]] += n
    return values


def patterns_of(program: Facilities, kept: Kept, values: Floats) -> list[Pattern]:
    """The answer that these values of pairs and classes alone stand for."""
    pairs = len(kept.classes)
    members: list[dict[int, int]] = [{} for _ in kept.facilities]
    for position in np.flatnonzero(values[:pairs] > 0.5).tolist():
        members[kept.facility_of[position]][int(kept.classes[position])] = int(values[position])
    answer = [
        make_pattern(program, *kept.facilities[facility], counts)
        for facility, counts in enumerate(members)
        if counts
    ]
    for k in np.flatnonzero(values[pairs:] > 0.5).tolist():
        answer.extend(alone_pattern(program, k) for _ in range(int(values[pairs + k])))
    return answer
