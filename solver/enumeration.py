"""Every pattern of 5.2 that an answer of at most `goal` can contain.

Prices π that prove a bound z give every pattern P a reduced cost  r_P = cost_P − Σ_k π_k x_kP ≥ 0  (z is
Σ m_k π_k once the prices are scaled so that this holds). An answer that serves every fragment exactly once
costs z + Σ r_P over its patterns, so in an answer of at most `goal` no pattern has r_P > goal − z. Where the
bound is tight these are few enough to write down, and the integer program over them is 5.2 (Baldacci and
others, *An exact algorithm for the vehicle routing problem based on the set partitioning formulation*, 2008).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from solver.enumeration_kernel import RowsOf, written
from solver.facilities import (
    ALONE,
    Facilities,
    Floats,
    Indices,
    Pattern,
    alone_pattern,
    make_pattern,
)
from solver.fractional_bound import Bound
from solver.outcome import Watch
from solver.subset_rows import SubsetRow

# Instances of one pattern that are looked at. The enumeration gives up where more might pay.
MOST_INSTANCES = 60
# Rounding of sums of doubles, as a part of the goal.
ROUNDING = 1e-7


# What a unit of a row costs.
RowPrices = Mapping[SubsetRow, float]
NO_ROWS: RowPrices = {}


@dataclass(frozen=True, kw_only=True, eq=False)
class Enumerated:
    """N patterns: `counts` is [K, N], what each holds of every class; all others are [N].

    `reduced` is the reduced cost at the prices that they were written down for.
    """

    counts: sparse.csc_matrix
    cost: Floats
    reduced: Floats
    group: Indices
    facility: Indices
    instances: Indices

    def __len__(self) -> int:
        return len(self.cost)

    def keep(self, numbers: Indices) -> Enumerated:
        """Only the patterns of these numbers."""
        return Enumerated(
            counts=self.counts[:, numbers],
            cost=self.cost[numbers],
            reduced=self.reduced[numbers],
            group=self.group[numbers],
            facility=self.facility[numbers],
            instances=self.instances[numbers],
        )

    def pattern(self, program: Facilities, number: int) -> Pattern:
        """The pattern of this number."""
        first, last = self.counts.indptr[number : number + 2]
        classes, counts = self.counts.indices[first:last], self.counts.data[first:last]
        if self.group[number] == ALONE:
            return alone_pattern(program, int(classes[0]))
        members = {int(k): round(float(n)) for k, n in zip(classes, counts, strict=True)}
        return make_pattern(program, int(self.group[number]), int(self.facility[number]), members)


def enumerate_patterns(
    program: Facilities,
    bound: Bound,
    goal: float,
    most: int,
    watch: Watch | None = None,
    rows: RowPrices = NO_ROWS,
) -> Enumerated | None:
    """All patterns that an answer of at most `goal` can contain; None where there are more than `most`, or
    where the watch said stop.

    Of patterns with the same members only the cheapest is kept. `bound` is proven by `bound.worth` and by
    what `rows` cost.
    """
    return patterns_within(
        program, bound.worth, goal - bound.value + ROUNDING * goal, most, watch=watch, rows=rows
    )


def patterns_within(
    program: Facilities,
    worth: Floats,
    slack: float,
    most: int,
    *,
    watch: Watch | None = None,
    rows: RowPrices = NO_ROWS,
) -> Enumerated | None:
    """The same, of all patterns whose reduced cost is at most `slack`."""
    alone = np.flatnonzero(program.alone - worth <= slack)
    many, blocks, rows_of = len(alone), [], _by_class(rows, len(program))
    for number, group in enumerate(program.groups):
        if watch is not None and watch.limit is not None:
            return None
        load, members = program.load[group.classes], program.members[group.classes]
        complete, (facility, instances, cost, reduced, first, classes, counts) = written(
            group.price,
            group.capacity,
            group.joining,
            group.classes,
            load,
            members,
            worth[group.classes],
            rows_of,
            slack,
            most - many,
            MOST_INSTANCES,
        )
        if not complete:
            return None
        many += len(cost)
        where = np.full(len(cost), number), facility, instances
        blocks.append((*where, cost, reduced, np.diff(first), group.classes[classes], counts))
    ones, cost = np.ones(len(alone), dtype=np.intp), program.alone[alone]
    blocks.append((ALONE * ones, 0 * ones, ones, cost, cost - worth[alone], ones, alone, ones))
    return _cheapest(len(program), *(np.concatenate(part) for part in zip(*blocks, strict=True)))


def written_down(program: Facilities, patterns: Sequence[Pattern], bound: Bound, goal: float) -> Enumerated:
    """Of these patterns those that an answer of at most `goal` can contain."""
    found = table_of(program, patterns, bound.worth)
    slack = goal - bound.value + ROUNDING * goal
    served = np.diff(found.counts.indptr) > 0
    return found.keep(np.flatnonzero(served & (found.reduced <= slack)))


def table_of(program: Facilities, patterns: Sequence[Pattern], worth: Floats) -> Enumerated:
    """These patterns, in their order; reduced costs are those at `worth`."""
    cost = np.array([pattern.cost for pattern in patterns])
    classes = np.array([k for pattern in patterns for k in pattern.classes], dtype=np.intp)
    counts = np.array([count for pattern in patterns for count in pattern.counts], dtype=np.float64)
    column = np.repeat(np.arange(len(patterns)), [len(pattern.classes) for pattern in patterns])
    matrix = sparse.csc_matrix((counts, (classes, column)), shape=(len(program), len(patterns)))
    return Enumerated(
        counts=matrix,
        cost=cost,
        reduced=cost - matrix.T @ worth,
        group=np.array([pattern.group for pattern in patterns], dtype=np.intp),
        facility=np.array([pattern.facility for pattern in patterns], dtype=np.intp),
        instances=np.array([pattern.instances for pattern in patterns], dtype=np.intp),
    )


def together(parts: Sequence[Enumerated]) -> Enumerated:
    """All of these; of patterns with the same members only the cheapest."""
    counts = sparse.hstack([part.counts for part in parts], format="csc")
    return _cheapest(
        counts.shape[0],
        np.concatenate([part.group for part in parts]),
        np.concatenate([part.facility for part in parts]),
        np.concatenate([part.instances for part in parts]),
        np.concatenate([part.cost for part in parts]),
        np.concatenate([part.reduced for part in parts]),
        np.diff(counts.indptr),
        counts.indices,
        counts.data,
    )


def _cheapest(
    among: int,
    group: Indices,
    facility: Indices,
    instances: Indices,
    cost: Floats,
    reduced: Floats,
    sizes: Indices,
    classes: Indices,
    counts: Indices,
) -> Enumerated:
    """Of patterns with the same members the cheapest; their members are told one pattern after the other."""
    # Sums of random words tell sets of members apart (Zobrist hashing).
    words = np.random.default_rng(0).integers(1, 2**63, among, dtype=np.uint64)
    first = np.concatenate([[0], np.cumsum(sizes)])
    key = np.add.reduceat(counts.astype(np.uint64) * words[classes], first[:-1]) if len(cost) else words[:0]
    order = np.lexsort((cost, key))
    least = np.ones(len(order), dtype=bool)
    least[1:] = key[order][1:] != key[order][:-1]
    matrix = sparse.csc_matrix((counts.astype(np.float64), classes, first), shape=(among, len(cost)))
    matrix.sort_indices()
    found = Enumerated(
        counts=matrix, cost=cost, reduced=reduced, group=group, facility=facility, instances=instances
    )
    return found.keep(np.sort(order[least]))


def _by_class(rows: RowPrices, among: int) -> RowsOf:
    """For each of so many classes the rows that it is in, and its weights there."""
    classes = np.array([k for row in rows for k in row.classes], dtype=np.intp)
    weights = np.array([weight for row in rows for weight in row.weights], dtype=np.intp)
    number = np.repeat(np.arange(len(rows)), [len(row.classes) for row in rows])
    order = np.argsort(classes, kind="stable")
    first = np.searchsorted(classes[order], np.arange(among + 1))
    price = np.array(list(rows.values()), dtype=np.float64)
    divisor = np.array([row.divisor for row in rows], dtype=np.intp)
    return first, number[order].astype(np.intp), weights[order], price, divisor
