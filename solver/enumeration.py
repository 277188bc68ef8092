"""Every pattern of 5.2 that an answer of at most `goal` can contain.

Prices π that prove a bound z give every pattern P a reduced cost  r_P = cost_P − Σ_k π_k x_kP ≥ 0  (z is
Σ m_k π_k once the prices are scaled so that this holds). An answer that serves every fragment exactly once
costs z + Σ r_P over its patterns, so in an answer of at most `goal` no pattern has r_P > goal − z. Where the
bound is tight these are few enough to write down, and the integer program over them is 5.2 (Baldacci and
others, *An exact algorithm for the vehicle routing problem based on the set partitioning formulation*, 2008).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from solver.facilities import (
    ALONE,
    EPSILON,
    Facilities,
    Floats,
    Group,
    Indices,
    Pattern,
    alone_pattern,
    make_pattern,
)
from solver.fractional_bound import Bound
from solver.outcome import Watch

# Instances of one pattern that are looked at. The enumeration gives up where more might pay.
MOST_INSTANCES = 60
# Rounding of sums of doubles, as a part of the goal.
ROUNDING = 1e-7


@dataclass(frozen=True, kw_only=True, eq=False)
class Enumerated:
    """N patterns: `counts` is [K, N], what each holds of every class; `cost`, `group`, `facility` are [N]."""

    counts: sparse.csc_matrix
    cost: Floats
    group: Indices
    facility: Indices

    def __len__(self) -> int:
        return len(self.cost)

    def keep(self, numbers: Indices) -> Enumerated:
        """Only the patterns of these numbers."""
        return Enumerated(
            counts=self.counts[:, numbers],
            cost=self.cost[numbers],
            group=self.group[numbers],
            facility=self.facility[numbers],
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
    program: Facilities, bound: Bound, goal: float, most: int, watch: Watch | None = None
) -> Enumerated | None:
    """All patterns that an answer of at most `goal` can contain; None where there are more than `most`, or
    where the watch said stop.

    Of patterns with the same members only the cheapest is kept. `bound.worth` must be prices at which no
    pattern has a negative reduced cost.
    """
    slack = goal - bound.value + ROUNDING * goal
    found = _Found(program)
    found.add_alone(np.flatnonzero(program.alone - bound.worth <= slack))
    for number, group in enumerate(program.groups):
        for facility in range(len(group)):
            if watch is not None and watch.limit is not None:
                return None
            gain = bound.worth[group.classes] - group.joining[facility]
            able = np.flatnonzero(gain >= -slack)
            able = able[np.argsort(-gain[able] / program.load[group.classes[able]], kind="stable")]
            if not _enumerate_facility(
                program, group, facility, able, gain[able], slack, most, number, found
            ):
                return None
    return found.cheapest()


def written_down(program: Facilities, patterns: Sequence[Pattern], bound: Bound, goal: float) -> Enumerated:
    """Of these patterns those that an answer of at most `goal` can contain."""
    cost = np.array([pattern.cost for pattern in patterns])
    classes = np.array([k for pattern in patterns for k in pattern.classes], dtype=np.intp)
    counts = np.array([count for pattern in patterns for count in pattern.counts], dtype=np.float64)
    column = np.repeat(np.arange(len(patterns)), [len(pattern.classes) for pattern in patterns])
    matrix = sparse.csc_matrix((counts, (classes, column)), shape=(len(program), len(patterns)))
    found = Enumerated(
        counts=matrix,
        cost=cost,
        group=np.array([pattern.group for pattern in patterns], dtype=np.intp),
        facility=np.array([pattern.facility for pattern in patterns], dtype=np.intp),
    )
    slack = goal - bound.value + ROUNDING * goal
    served = np.diff(matrix.indptr) > 0
    return found.keep(np.flatnonzero(served & (cost - matrix.T @ bound.worth <= slack)))


class _Found:
    """Patterns as they are found; those with the same members share a key."""

    def __init__(self, program: Facilities) -> None:
        self._classes = len(program)
        # Sums of random words tell sets of members apart (Zobrist hashing).
        self._words = np.random.default_rng(0).integers(1, 2**63, len(program), dtype=np.uint64)
        self._alone = program.alone
        self._blocks: list[tuple[sparse.csr_matrix, Floats, Indices, NDArray[np.uint64]]] = []
        self.total = 0

    def add_alone(self, classes: Indices) -> None:
        counts = np.ones((len(classes), 1), dtype=np.int16)
        rows = np.arange(len(classes))
        matrix = sparse.csr_matrix((counts[:, 0], (rows, classes)), shape=(len(classes), self._classes))
        where = np.tile([ALONE, 0], (len(classes), 1))
        self._blocks.append((matrix, self._alone[classes], where, self._words[classes]))
        self.total += len(classes)

    def add(
        self, counts: NDArray[np.int16], classes: Indices, cost: Floats, group: int, facility: int
    ) -> None:
        """`counts` [n, items] of the items' `classes`."""
        rows, items = np.nonzero(counts)
        matrix = sparse.csr_matrix(
            (counts[rows, items], (rows, classes[items])), shape=(len(counts), self._classes)
        )
        key = (counts.astype(np.uint64) * self._words[classes]).sum(axis=1, dtype=np.uint64)
        self._blocks.append((matrix, cost, np.tile([group, facility], (len(counts), 1)), key))
        self.total += len(counts)

    def cheapest(self) -> Enumerated:
        counts = sparse.vstack([block[0] for block in self._blocks], format="csr")
        cost, where, key = (np.concatenate([block[part] for block in self._blocks]) for part in (1, 2, 3))
        order = np.lexsort((cost, key))
        first = np.ones(len(order), dtype=bool)
        first[1:] = key[order][1:] != key[order][:-1]
        kept = np.sort(order[first])
        return Enumerated(
            counts=counts[kept].T.tocsc().astype(np.float64),
            cost=cost[kept],
            group=where[kept, 0],
            facility=where[kept, 1],
        )


def _enumerate_facility(
    program: Facilities,
    group: Group,
    facility: int,
    able: Indices,
    gain: Floats,
    slack: float,
    most: int,
    number: int,
    found: _Found,
) -> bool:
    """Every pattern of one facility, item by item; False where there are too many.

    A partial pattern is dropped when not even pieces of the items to come could make up for its price.
    """
    classes = group.classes[able]
    load, members = program.load[classes], program.members[classes]
    useful = np.maximum(gain, 0.0) > 0
    curve_load = np.concatenate([[0.0], np.cumsum(np.where(useful, load * members, 0.0))])
    curve_gain = np.concatenate([[0.0], np.cumsum(np.where(useful, gain * members, 0.0))])
    capacity, price = float(group.capacity[facility]), float(group.price[facility])
    for instances in range(1, MOST_INSTANCES + 1):
        room, need = instances * capacity * (1 + EPSILON), instances * price - slack
        if np.interp(room, curve_load, curve_gain) < need:
            return True  # and more instances pay even less: the curve is concave
        loads, gains = np.zeros(1), np.zeros(1)
        counts = np.zeros((1, len(able)), dtype=np.int16)
        for item in range(len(able)):
            parts_load, parts_gain, parts = [loads], [gains], [counts]
            for pieces in range(1, int(members[item]) + 1):
                fits = loads + pieces * load[item] <= room
                if not fits.any():
                    break
                more = counts[fits].copy()
                more[:, item] = pieces
                parts_load.append(loads[fits] + pieces * load[item])
                parts_gain.append(gains[fits] + pieces * gain[item])
                parts.append(more)
            loads, gains = np.concatenate(parts_load), np.concatenate(parts_gain)
            rest = np.interp(room - loads + curve_load[item + 1], curve_load, curve_gain)
            hopeful = gains + rest - curve_gain[item + 1] >= need
            loads, gains, counts = loads[hopeful], gains[hopeful], np.concatenate(parts)[hopeful]
            if found.total + len(loads) > most:
                return False
        # What fits into fewer instances was found there.
        full = loads > (instances - 1) * capacity * (1 + EPSILON)
        counts = counts[full]
        if len(counts):
            # A load a hair above the capacity, within EPSILON, still takes this many instances.
            cost = instances * price + counts @ group.joining[facility, able]
            found.add(counts, classes, cost, number, facility)
    return False
