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
    found = _Found(program)
    found.add_alone(np.flatnonzero(program.alone - worth <= slack))
    for number, group in enumerate(program.groups):
        for facility in range(len(group)):
            if watch is not None and watch.limit is not None:
                return None
            gain = worth[group.classes] - group.joining[facility]
            able = np.flatnonzero(gain >= -max(slack, 0.0))
            able = able[np.argsort(-gain[able] / program.load[group.classes[able]], kind="stable")]
            if not _enumerate_facility(
                program, group, facility, able, gain[able], slack, most, number, found, rows
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
    rows: RowPrices,
) -> bool:
    """Every pattern of one facility, item by item; False where there are too many.

    A partial pattern is dropped when not even pieces of the items to come could make up for its price and for
    what it has to pay for rows already.
    """
    capacity, price = float(group.capacity[facility]), float(group.price[facility])
    load, members = program.load[group.classes[able]], program.members[group.classes[able]]
    curve = _Curve(gain, load, members)
    for instances in range(1, MOST_INSTANCES + 1):
        room, need = instances * capacity * (1 + EPSILON), instances * price - slack
        if curve.at(room) < need:
            return True  # and more instances pay even less: the curve is concave
        if (instances - 1) * capacity >= float(load @ members):
            return True  # everybody fits into fewer
        items = curve.may_be_in(room, need)
        classes = group.classes[able[items]]
        counts = _fill_up(
            gain[items], load[items], members[items], room, need, most - found.total, _by_item(rows, classes)
        )
        if counts is None:
            return False
        # What fits into fewer instances was found there.
        counts = counts[counts @ load[items] > (instances - 1) * capacity * (1 + EPSILON)]
        if len(counts):
            # A load a hair above the capacity, within EPSILON, still takes this many instances.
            cost = instances * price + counts @ group.joining[facility, able[items]]
            found.add(counts, classes, cost, number, facility)
    return False


class _Curve:
    """What items could earn within a load if they could be cut; they come sorted by gain per load."""

    def __init__(self, gain: Floats, load: Floats, members: Indices) -> None:
        self._gain, self._load = gain, load
        useful = gain > 0
        self.load = np.concatenate([[0.0], np.cumsum(np.where(useful, load * members, 0.0))])
        self.gain = np.concatenate([[0.0], np.cumsum(np.where(useful, gain * members, 0.0))])

    def at(self, room: float) -> float:
        return float(np.interp(room, self.load, self.gain))

    def may_be_in(self, room: float, need: float) -> Indices:
        """The items that something within the room that earns what it needs can hold."""
        last = int(np.searchsorted(self.load, room))
        rate = self._gain[last - 1] / self._load[last - 1] if 0 < last < len(self.load) else 0.0
        return np.flatnonzero(
            self._gain - max(0.0, rate) * self._load >= need - self.at(room) - 1e-9 * abs(need)
        )


def _fill_up(
    gain: Floats,
    load: Floats,
    members: Indices,
    room: float,
    need: float,
    most: int,
    paid: list[list[tuple[list[int], float]]],
) -> NDArray[np.int16] | None:
    """[N, items]: all that is within the room and earns what it needs; None where that is more than `most`.

    `paid` says for every item which rows it is in (`_by_item`).
    """
    curve = _Curve(gain, load, members)
    loads, gains = np.zeros(1), np.zeros(1)
    counts = np.zeros((1, len(gain)), dtype=np.int16)
    for item in range(len(gain)):
        parts_load, parts_gain, parts = [loads], [gains], [counts]
        for pieces in range(1, int(members[item]) + 1):
            fits = loads + pieces * load[item] <= room
            if not fits.any():
                break
            more = counts[fits]
            earned = gains[fits] + pieces * gain[item]
            for before, price_of_row in paid[item]:
                held = more[:, before].sum(axis=1)
                earned -= price_of_row * ((held + pieces) // 2 - held // 2)
            more[:, item] = pieces
            parts_load.append(loads[fits] + pieces * load[item])
            parts_gain.append(earned)
            parts.append(more)
        loads, gains = np.concatenate(parts_load), np.concatenate(parts_gain)
        rest = np.interp(room - loads + curve.load[item + 1], curve.load, curve.gain)
        hopeful = gains + rest - curve.gain[item + 1] >= need
        loads, gains, counts = loads[hopeful], gains[hopeful], np.concatenate(parts)[hopeful]
        if len(loads) > most:
            return None
    return counts


def _by_item(rows: RowPrices, classes: Indices) -> list[list[tuple[list[int], float]]]:
    """For every item the rows that it is in: which items of these come before it, and what the row costs."""
    position = {int(k): item for item, k in enumerate(classes.tolist())}
    paid: list[list[tuple[list[int], float]]] = [[] for _ in position]
    for row, cost in rows.items():
        items = sorted(position[k] for k in row.classes if k in position)
        for number, item in enumerate(items):
            paid[item].append((items[:number], cost))
    return paid
