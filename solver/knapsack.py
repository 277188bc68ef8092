"""Knapsacks with whole items, and only those that are worth more than a threshold.

    max Σ_k g_k x_k   s.t.  Σ_k q_k x_k ≤ C,  0 ≤ x_k ≤ m_k whole

Items come sorted by g/q, best first, so the fractional knapsack is read off their running sums. Its value
minus the threshold is what a better answer may lose, which decides most items beforehand: one whose
single piece costs more than that to leave out is in, one that costs more to put in is out. What is left is
decided exactly by OR-Tools' branch and bound, and where that takes long by the list of states (load, gain)
that no other state beats (Nemhauser and Ullmann).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from ortools.algorithms.python import knapsack_solver

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

# States kept while packing; only where more of them are undominated is the packing not exact.
MOST_STATES = 20_000
EPSILON = 1e-9
# Branch and bound counts in whole numbers, and mostly takes less than a millisecond; but where the best and
# worst of more than FEW items are within ALIKE of one another in gain per load, or there are MANY, it may
# look at nearly all.
UNITS, BRANCHING_S, ALIKE, FEW, MANY = 1e9, 0.1, 1e-2, 12, 20
BRANCH_AND_BOUND = knapsack_solver.SolverType.KNAPSACK_MULTIDIMENSION_BRANCH_AND_BOUND_SOLVER


@dataclass(frozen=True, kw_only=True, eq=False)
class Packed:
    """`counts` of each item ([K]), their `gain`, and `bound`: no packing above the threshold gains more."""

    counts: Indices
    gain: float
    bound: float


def fractional(gain: Floats, load: Floats, members: Indices, capacity: Floats) -> Floats:
    """The value of the knapsack at each capacity if items could be cut; items sorted by gain per load."""
    demand = np.concatenate([[0.0], np.cumsum(load * members)])
    return np.interp(capacity, demand, np.concatenate([[0.0], np.cumsum(gain * members)]))


def pack(gain: Floats, load: Floats, members: Indices, capacity: float, threshold: float) -> Packed | None:
    """The best packing whose gain exceeds `threshold`; None when there is none.

    Arrays [K], sorted by gain per load, best first, all gains above 0. `bound` is above `gain`, and
    `counts` may exceed the capacity, only where more than MOST_STATES states had to be kept.
    """
    capacity *= 1 + EPSILON
    fits = np.minimum(members, np.floor(capacity / load).astype(np.intp))
    demand = load * fits
    filled = np.cumsum(demand)
    if not len(filled) or filled[-1] <= capacity:
        total = float(gain @ fits)
        return Packed(counts=fits, gain=total, bound=total) if total > threshold else None
    critical = int(np.searchsorted(filled, capacity, side="right"))
    rate = float(gain[critical] / load[critical])
    before = float(filled[critical - 1]) if critical else 0.0
    value = float(gain[:critical] @ fits[:critical]) + (capacity - before) * rate
    spare = value - threshold
    if spare <= 0:
        return None
    margin = gain - load * rate  # ≥ 0 before the critical item, ≤ 0 after it
    inside = np.flatnonzero(margin > spare)
    open_items = np.flatnonzero(np.abs(margin) <= spare)
    counts = np.zeros_like(members)
    counts[inside] = fits[inside]
    rest = capacity - float(load[inside] @ fits[inside])
    if rest < 0:
        return None
    sure = float(gain[inside] @ fits[inside])
    parts = gain[open_items], load[open_items], fits[open_items], rest
    filled_up = _branch(*parts) or _fill(*parts, threshold - sure)
    if filled_up is None:
        return None
    counts[open_items], open_gain = filled_up
    if sure + open_gain <= threshold:
        return None
    return Packed(counts=counts, gain=float(gain @ counts), bound=sure + open_gain)


def _branch(gain: Floats, load: Floats, members: Indices, capacity: float) -> tuple[Indices, float] | None:
    """The packing that gains most and a bound on its gain; None where this is not the way to find it.

    Loads are rounded down to whole units and gains up, so what fits still fits and the bound holds.
    """
    counts = np.zeros_like(members)
    if not len(gain):
        return counts, 0.0
    rate = gain / load
    if len(gain) > MANY or (len(gain) > FEW and rate.min() > (1 - ALIKE) * rate.max()):
        return None
    pieces = _pieces(members)
    sizes = np.array([number for _, number in pieces], dtype=np.float64)
    items = np.array([item for item, _ in pieces], dtype=np.intp)
    piece_load, piece_gain = load[items] * sizes, gain[items] * sizes
    load_unit, gain_unit = max(capacity, float(piece_load.max())) / UNITS, float(piece_gain.max()) / UNITS
    solver = knapsack_solver.KnapsackSolver(BRANCH_AND_BOUND, "packing")
    solver.set_time_limit(BRANCHING_S)
    weights = np.floor(piece_load / load_unit).astype(np.int64)
    solver.init(
        np.ceil(piece_gain / gain_unit).astype(np.int64).tolist(),
        [weights.tolist()],
        [int(capacity / load_unit)],
    )
    best = solver.solve()
    if not solver.is_solution_optimal():
        return None
    for number, (item, size) in enumerate(pieces):
        if solver.best_solution_contains(number):
            counts[item] += size
    return counts, float(best) * gain_unit


def _fill(
    gain: Floats, load: Floats, members: Indices, capacity: float, threshold: float
) -> tuple[Indices, float] | None:
    """The packing that gains most, above the threshold: its counts and a bound on its gain, or None.

    States (load, gain) that no other beats in both, one piece at a time; a state that cannot exceed the
    threshold even if the pieces to come could be cut is dropped. Where more than MOST_STATES are left, runs
    of neighbours become one with the least load and the greatest gain of the run: a bound still, but perhaps
    no packing any more.
    """
    pieces = _pieces(members)
    sizes = np.array([number for _, number in pieces], dtype=np.float64)
    items = np.array([item for item, _ in pieces], dtype=np.intp)
    piece_load, piece_gain = load[items] * sizes, gain[items] * sizes
    # What all pieces earn if cut, as a function of capacity; the pieces still to come are its tail.
    curve_load = np.concatenate([[0.0], np.cumsum(piece_load)])
    curve_gain = np.concatenate([[0.0], np.cumsum(piece_gain)])
    # What first fit earns is worth keeping too, so the threshold stays a little below it.
    first = _first_fit(piece_gain, piece_load, capacity)
    threshold = max(threshold, first - EPSILON * (1 + first))
    loads, gains = np.zeros(1), np.zeros(1)
    steps: list[tuple[Indices, NDArray[np.bool_]]] = []
    for row in range(len(pieces)):
        fitting = int(np.searchsorted(loads, capacity - piece_load[row], side="right"))
        all_loads = np.concatenate([loads, loads[:fitting] + piece_load[row]])
        all_gains = np.concatenate([gains, gains[:fitting] + piece_gain[row]])
        spare = (
            np.interp(capacity - all_loads + curve_load[row + 1], curve_load, curve_gain)
            - curve_gain[row + 1]
        )
        hopeful = np.flatnonzero(all_gains + spare > threshold)
        if not len(hopeful):
            return None
        order = hopeful[np.argsort(all_loads[hopeful], kind="stable")]
        gains = all_gains[order]
        highest = np.maximum.accumulate(gains)
        undominated = np.concatenate([[True], gains[1:] > highest[:-1]])
        order = order[undominated]
        loads, gains = all_loads[order], all_gains[order]
        if len(order) > MOST_STATES:
            run = np.linspace(0, len(order), MOST_STATES // 2 + 1).astype(np.intp)
            loads, gains, order = loads[run[:-1]], gains[run[1:] - 1], order[run[1:] - 1]
        before = len(all_loads) - fitting
        steps.append((np.where(order < before, order, order - before), order >= before))
    counts = np.zeros_like(members)
    at = len(gains) - 1
    for row in range(len(pieces) - 1, -1, -1):
        parent, taken = steps[row]
        if taken[at]:
            counts[items[row]] += pieces[row][1]
        at = int(parent[at])
    return counts, float(gains[-1])


def _first_fit(gain: Floats, load: Floats, capacity: float) -> float:
    """What pieces earn when each is taken that still fits, in the order given."""
    earned = 0.0
    for piece_gain, piece_load in zip(gain.tolist(), load.tolist(), strict=True):
        if piece_load <= capacity:
            capacity -= piece_load
            earned += piece_gain
    return earned


def _pieces(members: Indices) -> list[tuple[int, int]]:
    """m identical items as 1, 2, 4, … of them at once: (item, number) of each piece."""
    pieces: list[tuple[int, int]] = []
    for item, number in enumerate(members.tolist()):
        size, left = 1, number
        while left > 0:
            pieces.append((item, min(size, left)))
            left -= size
            size *= 2
    return pieces
