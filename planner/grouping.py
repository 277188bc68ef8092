"""Grouping: which demands may meet (design section 5.1; our reconstruction).

Re-aligning looks at one group at a time, so groups bound its work, and what would share well should be in
one group. Demands are alike when start, budget and rate are close; start counts in parts of the model's
depth, budget and rate by their logarithm (twice as much is as far from 10 as from 100), each divided
by its spread over the demands and multiplied by its weight.

Groups come from halving: while a set is larger than `max_size` it is cut in two along the direction in which
it is widest, at the widest gap near its middle. That takes O(n log n), and neighbours stay together.

Parameters, with the ablation in benchmarks/planner_ablation.py:

    max_size                    demands in a group at most
    start_weight, budget_weight, rate_weight
                                how much a difference in each counts; 0 ignores it
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.allocating import Demand
from planner.menu import Floats

# A cut between groups may stray this far from the middle, as a part of the set, to fall into a gap.
MIDDLE = 0.2


@dataclass(frozen=True, kw_only=True, slots=True)
class Similarity:
    """How demands are compared and how many may be in a group."""

    max_size: int = 96
    start_weight: float = 1.0
    budget_weight: float = 0.5
    rate_weight: float = 0.25


def group(
    demands: Sequence[Demand], similarity: Similarity = Similarity(), *, sizes: Sequence[int] | None = None
) -> list[list[int]]:
    """The numbers of the demands in groups of at most `max_size` similar ones.

    With `sizes`, number n counts as `sizes[n]`, and one that is larger than `max_size` is a group of its own.
    """
    if not demands:
        return []
    places = _places(demands, similarity)
    counts = np.ones(len(demands)) if sizes is None else np.array(sizes, dtype=float)
    groups = []
    waiting = [np.arange(len(demands))]
    while waiting:
        numbers = waiting.pop()
        if len(numbers) == 1 or counts[numbers].sum() <= similarity.max_size:
            groups.append(numbers.tolist())
        else:
            waiting.extend(reversed(_halves(numbers, places)))
    return groups


def _places(demands: Sequence[Demand], similarity: Similarity) -> Floats:
    """Where each demand lies: [N, 3], every column of unit spread times its weight."""
    table = np.array(
        [(demand.start, np.log(demand.budget_ms), np.log(demand.load_rps)) for demand in demands], dtype=float
    )
    spread = table.std(axis=0)
    weights = np.array([similarity.start_weight, similarity.budget_weight, similarity.rate_weight])
    places: Floats = (table - table.mean(axis=0)) / np.where(spread > 0, spread, 1.0) * weights
    return places


def _halves(numbers: NDArray[np.intp], places: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Two parts of a set, cut across its widest direction at the widest gap near the middle."""
    inside = places[numbers]
    widest = int(np.ptp(inside, axis=0).argmax())
    order = np.argsort(inside[:, widest], kind="stable")
    along = inside[order, widest]
    count = len(order)
    low, high = max(1, math.floor(count * (0.5 - MIDDLE))), min(count - 1, math.ceil(count * (0.5 + MIDDLE)))
    cuts = np.arange(low, high + 1)
    gaps = along[cuts] - along[cuts - 1]
    # Among equal gaps the one nearest to the middle.
    cut = int(cuts[np.lexsort((-np.abs(cuts - count / 2), gaps))[-1]])
    return numbers[order[:cut]], numbers[order[cut:]]
