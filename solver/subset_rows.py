"""Subset rows: of three fragments, whole patterns that hold at least two of them are used at most once.

    Σ_P ⌊½ Σ_{k∈S} x_kP⌋ λ_P ≤ ⌊½ Σ_{k∈S} m_k⌋        for every S of three classes

holds in every answer to 5.2, since each fragment is served once, and cuts off mixtures of patterns that share
one another's fragments in pairs (Jepsen, Petersen, Spoorendonk and Pisinger, *Subset-row inequalities applied
to the vehicle-routing problem with time windows*, 2008). Where an instance holds few fragments, some hundred
of them close most of what the relaxation over patterns leaves.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from solver.facilities import Facilities, Indices, Pattern

VIOLATION = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class SubsetRow:
    """The row of three classes, rising."""

    classes: tuple[int, int, int]

    def of(self, _: Facilities, pattern: Pattern) -> float:
        """What the pattern, used once, adds to it."""
        held = 0
        for k in self.classes:
            if k in pattern.classes:
                held += pattern.counts[pattern.classes.index(k)]
        return float(held // 2)

    def limit(self, members: Indices) -> float:
        """What it is in an answer at most."""
        return float(members[list(self.classes)].sum() // 2)


def all_of(rows: Sequence[SubsetRow], counts: sparse.csc_matrix) -> sparse.csr_matrix:
    """[rows, N]: what each of the patterns of a table [K, N], used once, adds to each of these rows."""
    classes = np.array([row.classes for row in rows], dtype=np.intp).reshape(-1, 3)
    number = np.repeat(np.arange(len(rows)), 3)
    holds = sparse.csr_matrix(
        (np.ones(classes.size), (number, classes.ravel())), shape=(len(rows), counts.shape[0])
    )
    held: sparse.csr_matrix = (holds @ counts).tocsr()
    held.data = np.floor(held.data / 2 + 1e-9)
    held.eliminate_zeros()
    return held


def broken_rows(
    held: Iterable[Sequence[int]],
    used: Iterable[float],
    members: Indices,
    known: Collection[object],
    most: int,
) -> list[SubsetRow]:
    """The rows that a relaxation breaks most: it uses patterns that hold these classes so much.

    Of classes with one member alone.
    """
    weight: defaultdict[tuple[int, int], float] = defaultdict(float)
    inside: list[tuple[list[int], float]] = []
    for classes, times in zip(held, used, strict=True):
        single = sorted(k for k in classes if members[k] == 1)
        inside.append((single, times))
        for pair in itertools.combinations(single, 2):
            weight[pair] += times
    near: defaultdict[int, set[int]] = defaultdict(set)
    for i, j in weight:
        near[i].add(j)
        near[j].add(i)
    violation: defaultdict[tuple[int, int, int], float] = defaultdict(float)
    for i, j in weight:
        for k in near[i] & near[j]:
            if k > j:
                violation[i, j, k] = weight[i, j] + weight[i, k] + weight[j, k]
    # A pattern that holds all three was counted three times.
    for single, times in inside:
        for triple in itertools.combinations(single, 3):
            violation[triple] -= 2 * times
    rows = (
        (-value, SubsetRow(classes=triple)) for triple, value in violation.items() if value > 1 + VIOLATION
    )
    broken = sorted((one for one in rows if one[1] not in known), key=lambda one: (one[0], one[1].classes))
    return [row for _, row in broken[:most]]
