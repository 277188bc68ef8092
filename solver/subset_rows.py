"""Subset rows: of three fragments, whole patterns that hold at least two of them are used at most once.

    Σ_P ⌊Σ_{k∈S} w_k x_kP / d⌋ λ_P ≤ ⌊Σ_{k∈S} w_k m_k / d⌋        for every S of classes, w_k and d whole

holds in every answer to 5.2, since each fragment is served once, and cuts off mixtures of patterns that share
one another's fragments. With three classes, w = 1 and d = 2 it is a subset row (Jepsen, Petersen, Spoorendonk
and Pisinger, *Subset-row inequalities applied to the vehicle-routing problem with time windows*, 2008). With
four and five classes the multipliers w/d that no others make useless are those of `SHAPES` (Pecin, Pessoa,
Poggi, Uchoa and Santos, *Limited memory rank-1 cuts for vehicle routing problems*, 2017): rank-1 cuts of
Chvátal and Gomory. Where an instance holds few fragments, some hundred rows close most of what the relaxation
over patterns leaves, those of three classes first.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from solver.facilities import Facilities, Indices, Pattern
from solver.subset_rows_kernel import broken

VIOLATION = 0.05
# Weights, rising, and divisor, of rows of four and five classes.
SHAPES = (
    ((1, 1, 1, 2), 3),
    ((1, 1, 1, 1, 1), 3),
    ((1, 1, 1, 2, 2), 4),
    ((1, 1, 1, 1, 3), 4),
    ((1, 1, 2, 2, 3), 5),
    ((1, 1, 1, 1, 1), 2),
    ((1, 1, 1, 2, 2), 3),
    ((1, 2, 2, 3, 3), 4),
)
# How often each of them is looked for from a random beginning.
STARTS = 150


@dataclass(frozen=True, kw_only=True, slots=True)
class SubsetRow:
    """The row of these classes, rising, and the weights of each."""

    classes: tuple[int, ...]
    weights: tuple[int, ...] = (1, 1, 1)
    divisor: int = 2

    def of(self, _: Facilities, pattern: Pattern) -> float:
        """What the pattern, used once, adds to it."""
        held = 0
        for k, weight in zip(self.classes, self.weights, strict=True):
            if k in pattern.classes:
                held += weight * pattern.counts[pattern.classes.index(k)]
        return float(held // self.divisor)

    def limit(self, members: Indices) -> float:
        """What it is in an answer at most."""
        return float(int(members[list(self.classes)] @ np.array(self.weights)) // self.divisor)


def all_of(rows: Sequence[SubsetRow], counts: sparse.csc_matrix) -> sparse.csr_matrix:
    """[rows, N]: what each of the patterns of a table [K, N], used once, adds to each of these rows."""
    classes = [k for row in rows for k in row.classes]
    weights = np.array([weight for row in rows for weight in row.weights], dtype=np.float64)
    number = np.repeat(np.arange(len(rows)), [len(row.classes) for row in rows])
    holds = sparse.csr_matrix((weights, (number, classes)), shape=(len(rows), counts.shape[0]))
    held: sparse.csr_matrix = (holds @ counts).tocsr()
    divisor = np.repeat([row.divisor for row in rows], np.diff(held.indptr))
    held.data = np.floor((held.data + 0.5) / divisor)
    held.eliminate_zeros()
    return held


def broken_rows(
    held: Sequence[Sequence[int]],
    used: Sequence[float],
    members: Indices,
    known: Collection[object],
    most: int,
    seed: int | None = None,
) -> list[SubsetRow]:
    """The rows that a relaxation breaks most: it uses patterns that hold these classes so much.

    Of classes with one member alone; of three, or with a seed of four and five as well, some of which are
    found.
    """
    single = [[k for k in classes if members[k] == 1] for classes in held]
    found = _of_three(single, used)
    if seed is not None:
        found += _larger(single, used, len(members), seed)
    worst: dict[SubsetRow, float] = {}
    for violation, row in found:
        if row not in known:
            worst[row] = violation * row.divisor / math.hypot(*row.weights)
    order = sorted(worst, key=lambda row: (-worst[row], row.classes, row.weights, row.divisor))
    return order[:most]


def _of_three(held: Sequence[Sequence[int]], used: Iterable[float]) -> list[tuple[float, SubsetRow]]:
    """All broken rows of three classes, and by how much."""
    weight: defaultdict[tuple[int, int], float] = defaultdict(float)
    inside: list[tuple[list[int], float]] = []
    for classes, times in zip(held, used, strict=True):
        rising = sorted(classes)
        inside.append((rising, times))
        for pair in itertools.combinations(rising, 2):
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
    for rising, times in inside:
        for triple in itertools.combinations(rising, 3):
            violation[triple] -= 2 * times
    return [
        (value - 1, SubsetRow(classes=triple)) for triple, value in violation.items() if value > 1 + VIOLATION
    ]


def _larger(
    held: Sequence[Sequence[int]], used: Sequence[float], among: int, seed: int
) -> list[tuple[float, SubsetRow]]:
    """Broken rows of the other shapes that a local search finds, and by how much."""
    column = np.repeat(np.arange(len(held)), [len(classes) for classes in held])
    classes = np.array([k for classes in held for k in classes], dtype=np.intp)
    by_class = np.argsort(classes, kind="stable")
    begins = np.searchsorted(classes[by_class], np.arange(among + 1))
    first = np.searchsorted(column, np.arange(len(held) + 1))
    found = []
    for number, (weights, divisor) in enumerate(SHAPES):
        members, violation = broken(
            begins,
            column[by_class],
            first,
            classes,
            np.array(used),
            np.array(weights[::-1], dtype=np.intp),
            divisor,
            VIOLATION,
            STARTS,
            seed + number,
        )
        for drawn, value in zip(members.tolist(), violation.tolist(), strict=True):
            rising, beside = zip(*sorted(zip(drawn, weights[::-1], strict=True)), strict=True)
            found.append((value, SubsetRow(classes=rising, weights=beside, divisor=divisor)))
    return found
