"""Program 5.2, one shared stage a route, as numbers: a facility location problem with modular capacities.

A *facility* e is a shared stage with an option: one instance takes c_e requests a second and costs s_e. A
*class* k is m_k identical fragments of load q_k each. A fragment of k joins e for a_ke, the price of the
alignment stages it needs to get there in time (0 where it starts there, infinite where it cannot), or stays
alone for w_k:

    min  Σ_e s_e n_e + Σ_ke a_ke x_ke + Σ_k w_k z_k
    s.t. Σ_e x_ke + z_k = m_k              every fragment is served
         Σ_k q_k x_ke ≤ c_e n_e            capacity comes in whole instances
         x_ke ≤ m_k n_e                    (the strong form; without it the bound is poor)
         x, z, n whole numbers

Facilities that start at the same cut point form a *group*: the classes that can reach one of them are much
the same, so a group's a_ke is a small dense table. A *pattern* is what one facility serves with n instances
(alone: one fragment), and an answer is a list of patterns that serve every fragment:

    min  Σ_P cost_P λ_P   s.t.  Σ_P x_kP λ_P ≥ m_k,  λ whole
         with  cost_P = s_e · ⌈Σ_k q_k x_kP / c_e⌉ + Σ_k a_ke x_kP

which is the same program, and has a much better linear relaxation (see `solver.packed_bound`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

# A load that equals a capacity exactly, up to double precision, fits it.
EPSILON = 1e-9

ALONE = -1  # the group number of a pattern in which a fragment stays alone


@dataclass(frozen=True, kw_only=True, eq=False)
class Group:
    """Facilities that start at one cut point. E facilities, K' classes that can reach one of them.

    `price` and `capacity` are [E], `classes` [K'] the numbers of the classes, `joining` [E, K'] is a_ke.
    """

    price: Floats
    capacity: Floats
    classes: Indices
    joining: Floats

    def __post_init__(self) -> None:
        # Machine code is compiled for tables that lie in memory row by row.
        object.__setattr__(self, "joining", np.ascontiguousarray(self.joining))

    def __len__(self) -> int:
        return len(self.price)


@dataclass(frozen=True, kw_only=True, eq=False)
class Facilities:
    """The whole program: `load`, `members` (m_k) and `alone` (w_k) are [K]; the groups."""

    load: Floats
    members: Indices
    alone: Floats
    groups: tuple[Group, ...]

    def __len__(self) -> int:
        return len(self.load)

    @property
    def prices(self) -> set[float]:
        """Every price that can occur in a cost; all costs are sums of these."""
        found: set[float] = set(np.unique(self.alone).tolist())
        for group in self.groups:
            found.update(np.unique(group.price).tolist(), np.unique(group.joining).tolist())
        return {price for price in found if 0 < price < math.inf}


@dataclass(frozen=True, kw_only=True, slots=True)
class Pattern:
    """`counts[i]` fragments of class `classes[i]` (rising) at facility `facility` of group `group`."""

    group: int
    facility: int
    instances: int
    classes: tuple[int, ...]
    counts: tuple[int, ...]
    cost: float = field(compare=False)


def make_pattern(program: Facilities, group: int, facility: int, counts: dict[int, int]) -> Pattern:
    """The pattern with its true number of instances and cost; infinite where a member cannot join."""
    table = program.groups[group]
    classes = sorted(counts)
    number = np.array([counts[k] for k in classes], dtype=np.float64)
    column = np.searchsorted(table.classes, classes)
    load = float(number @ program.load[classes])
    instances = instances_for(load, float(table.capacity[facility]))
    cost = instances * float(table.price[facility]) + float(number @ table.joining[facility, column])
    return Pattern(
        group=group,
        facility=facility,
        instances=instances,
        classes=tuple(classes),
        counts=tuple(int(counts[k]) for k in classes),
        cost=cost,
    )


def alone_pattern(program: Facilities, number: int) -> Pattern:
    """One fragment of class `number` on stages of its own."""
    return Pattern(
        group=ALONE,
        facility=0,
        instances=1,
        classes=(number,),
        counts=(1,),
        cost=float(program.alone[number]),
    )


def instances_for(load: float, capacity: float) -> int:
    """How many whole instances carry this load, at least one."""
    return max(1, math.ceil(load / capacity - EPSILON))


def total_cost(patterns: Iterable[Pattern]) -> float:
    """What these patterns cost together."""
    return math.fsum(pattern.cost for pattern in patterns)


def all_alone(program: Facilities) -> list[Pattern]:
    """The answer that is always there."""
    return [
        alone_pattern(program, number)
        for number in range(len(program))
        for _ in range(int(program.members[number]))
    ]


def impossible(program: Facilities) -> list[int]:
    """Classes that can neither stay alone nor join any facility: with one of them there is no answer."""
    able = np.isfinite(program.alone)
    for group in program.groups:
        able[group.classes] |= np.isfinite(group.joining).any(axis=0)
    return np.flatnonzero(~able).tolist()


def everybody_alone(program: Facilities) -> Facilities:
    """The same program in which everybody can stay alone, where need be at a facility of their own."""
    if np.isfinite(program.alone).all():
        return program
    alone = program.alone.copy()
    for k in np.flatnonzero(~np.isfinite(alone)).tolist():
        alone[k] = min(pattern.cost for pattern in _single(program, k))
    return replace(program, alone=alone)


def as_it_is(program: Facilities, patterns: Iterable[Pattern]) -> list[Pattern]:
    """An answer to `everybody_alone(program)` as one to the program itself."""
    return [
        min(_single(program, pattern.classes[0]), key=lambda single: single.cost)
        if pattern.group == ALONE and not math.isfinite(program.alone[pattern.classes[0]])
        else pattern
        for pattern in patterns
    ]


def _single(program: Facilities, k: int) -> list[Pattern]:
    return [
        make_pattern(program, number, facility, {k: 1})
        for number, group in enumerate(program.groups)
        if k in group.classes
        for facility in range(len(group))
    ]


def settle(program: Facilities, patterns: Iterable[Pattern]) -> list[Pattern]:
    """Patterns that serve every fragment at least once, made to serve each exactly once, none dearer.

    A fragment served twice leaves the pattern where joining costs more; what nobody serves stays alone.
    """
    left = program.members.copy()
    settled = []
    for pattern in sorted(patterns, key=lambda pattern: pattern.cost / sum(pattern.counts)):
        counts = {k: min(n, int(left[k])) for k, n in zip(pattern.classes, pattern.counts, strict=True)}
        counts = {k: n for k, n in counts.items() if n > 0}
        for k, n in counts.items():
            left[k] -= n
        if not counts:
            continue
        if pattern.group == ALONE:
            settled.append(pattern)
        else:
            settled.append(make_pattern(program, pattern.group, pattern.facility, counts))
    for unserved in np.flatnonzero(left).tolist():
        settled.extend(alone_pattern(program, unserved) for _ in range(int(left[unserved])))
    return [best_facility(program, pattern) for pattern in settled]


def best_facility(program: Facilities, pattern: Pattern) -> Pattern:
    """The cheapest way to serve the same members together (or, where that is cheaper, as it is)."""
    members = np.array(pattern.classes)
    counts = np.array(pattern.counts, dtype=np.float64)
    load = float(counts @ program.load[members])
    best, found = pattern.cost - EPSILON, (pattern.group, pattern.facility)
    for position, group in enumerate(program.groups):
        column = np.searchsorted(group.classes, members)
        if (column >= len(group.classes)).any() or (group.classes[column] != members).any():
            continue
        instances = np.maximum(1.0, np.ceil(load / group.capacity - EPSILON))
        cost = instances * group.price + group.joining[:, column] @ counts
        facility = int(cost.argmin())
        if cost[facility] < best:
            best, found = float(cost[facility]), (position, facility)
    if found == (pattern.group, pattern.facility):
        return pattern
    return make_pattern(program, *found, dict(zip(pattern.classes, pattern.counts, strict=True)))
