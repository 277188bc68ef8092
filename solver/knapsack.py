"""Knapsacks with whole items, and only those that are worth more than a threshold, as machine code.

    max Σ_k g_k x_k   s.t.  Σ_k q_k x_k ≤ C,  0 ≤ x_k ≤ m_k whole

Items come sorted by g/q, best first, so the fractional knapsack is read off their running sums. Its value
minus the threshold is what a better answer may lose, which decides most items beforehand: one whose
single piece costs more than that to leave out is in, one that costs more to put in is out. What is left is
decided by branch and bound (Martello and Toth), and where that takes long and has found nothing by the list
of states (load, gain) that no other state beats (Nemhauser and Ullmann). A search packs a million of these,
of ten items each: calls of a library's solver took ten times as long as what it did.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from solver.compiled import compiled
from solver.enumeration_kernel import at, curve_of, longer

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

# Items looked at by branch and bound, a millisecond's worth; all are, where they are alike in gain per load.
MOST_LOOKS = 100_000
# States kept while packing; only where more of them are undominated is the packing not exact.
MOST_STATES = 5_000
EPSILON = 1e-9
NONE = -np.inf


@dataclass(frozen=True, kw_only=True, eq=False)
class Packed:
    """`counts` of each item ([K]), their `gain`, and `bound`: no packing above the threshold gains more."""

    counts: Indices
    gain: float
    bound: float


def pack(
    gain: Floats,
    load: Floats,
    members: Indices,
    capacity: float,
    threshold: float,
    *,
    most_looks: int = MOST_LOOKS,
    most_states: int = MOST_STATES,
) -> Packed | None:
    """A packing whose gain exceeds `threshold`; None when there is none.

    Arrays [K], sorted by gain per load, best first, all gains above 0. It is the best, and `bound` its gain,
    unless branch and bound took more looks than allowed. Only where more than `most_states` states had to be
    kept then, `counts` may exceed the capacity.
    """
    bound, counts = packing_alone(gain, load, members, capacity, threshold, most_looks, most_states)
    return Packed(counts=counts, gain=float(gain @ counts), bound=bound) if bound > NONE else None


@compiled
def fractional(gain: Floats, load: Floats, members: Indices, capacity: Floats) -> Floats:
    """The value of the knapsack at each capacity if items could be cut; items sorted by gain per load."""
    loads, gains = curve_of(gain, load, members)
    return np.array([at(loads, gains, room) for room in capacity])


@compiled
def packing(
    gain: Floats,
    load: Floats,
    members: Indices,
    capacity: float,
    threshold: float,
    most_looks: int,
    most_states: int,
) -> tuple[float, Indices]:
    """The bound and the counts of `pack`; the bound is −∞ where there is none."""
    counts = np.zeros_like(members)
    room = capacity * (1 + EPSILON)
    fits = np.empty_like(members)
    for item in range(len(gain)):
        fits[item] = min(members[item], int(room / load[item]))
    # The critical item is the first that does not fit whole behind all before it.
    critical, value, left = 0, 0.0, room
    while critical < len(gain) and fits[critical] * load[critical] <= left:
        left -= fits[critical] * load[critical]
        value += fits[critical] * gain[critical]
        critical += 1
    if critical == len(gain):
        return (value if value > threshold else NONE), fits
    rate = gain[critical] / load[critical]
    spare = value + left * rate - threshold
    if spare <= 0:
        return NONE, counts
    # What an item loses by not being as the fractional knapsack has it: above 0 before the critical one.
    margin = gain - load * rate
    left, sure = room, 0.0
    for item in range(len(gain)):
        if margin[item] > spare:
            counts[item] = fits[item]
            left -= fits[item] * load[item]
            sure += fits[item] * gain[item]
    if left < 0:
        return NONE, counts
    undecided = np.flatnonzero(np.abs(margin) <= spare)
    items = gain[undecided], load[undecided], fits[undecided]
    complete, best, chosen = branched(*items, left, threshold - sure, most_looks)
    bound = best
    if not complete:
        loads, gains = curve_of(*items)
        bound = at(loads, gains, left)
        if best <= threshold - sure:
            listed_bound, chosen = listed(*items, left, threshold - sure, most_states)
            bound = min(bound, listed_bound)
    if bound <= threshold - sure:
        return NONE, counts
    counts[undecided] = chosen
    return sure + bound, counts


@compiled
def packing_alone(
    gain: Floats,
    load: Floats,
    members: Indices,
    capacity: float,
    threshold: float,
    most_looks: int,
    most_states: int,
) -> tuple[float, Indices]:
    """The same, to be called from Python: numba cannot load from disk what machine code calls as well."""
    return packing(gain, load, members, capacity, threshold, most_looks, most_states)


@compiled
def branched(
    gain: Floats, load: Floats, members: Indices, capacity: float, threshold: float, most_looks: int
) -> tuple[bool, float, Indices]:
    """What the best packing above the threshold gains, or the threshold, and the packing: depth first.

    False where that takes more looks than allowed.
    """
    rest_load, rest_gain = curve_of(gain, load, members)
    best, chosen = threshold, np.zeros_like(members)
    counts = np.zeros_like(members)
    item, left, earned = 0, capacity, 0.0
    looks = 0
    while looks < most_looks:
        # Forward: as many of every item as fit, while what is to come could make up for it.
        while item < len(gain):
            looks += 1
            if earned + at(rest_load, rest_gain, left + rest_load[item]) - rest_gain[item] <= best:
                break
            counts[item] = min(members[item], int(left / load[item]))
            left -= counts[item] * load[item]
            earned += counts[item] * gain[item]
            item += 1
        if item == len(gain) and earned > best:
            best, chosen[:] = earned, counts
        # Back: one less of the last item there is.
        item -= 1
        while item >= 0 and counts[item] == 0:
            item -= 1
        if item < 0:
            return True, best, chosen
        counts[item] -= 1
        left += load[item]
        earned -= gain[item]
        item += 1
    return False, best, chosen


@compiled
def listed(
    gain: Floats, load: Floats, members: Indices, capacity: float, threshold: float, most_states: int
) -> tuple[float, Indices]:
    """What the packing that gains most, above the threshold, gains at most, and the packing; or −∞.

    States (load, gain) that no other beats in both, one piece at a time: m identical items are 1, 2, 4, …
    of them at once. A state that cannot exceed the threshold even if the pieces to come could be cut is
    dropped. Where more than so many states are left, runs of neighbours become one with the least load and
    the greatest gain of the run: a bound still, but perhaps no packing any more.
    """
    rest_load, rest_gain = curve_of(gain, load, members)
    # All states that there were: the one before, and how many of which item came in.
    before, came, of = np.empty(1024, dtype=np.intp), np.empty(1024, dtype=np.intp), np.empty(1024, np.intp)
    kept = 0
    loads, gains, names = np.zeros(1), np.zeros(1), np.full(1, -1, dtype=np.intp)
    for item in range(len(gain)):
        pieces, taken = 1, 0
        while taken < members[item]:
            pieces = min(pieces, members[item] - taken)
            taken += pieces
            more_load, more_gain = pieces * load[item], pieces * gain[item]
            to_come = members[item] - taken
            new_loads, new_gains = np.empty(2 * len(loads)), np.empty(2 * len(loads))
            new_names = np.empty(2 * len(loads), dtype=np.intp)
            size, here, there, highest = 0, 0, 0, NONE
            # Loads rise, so what is left for the items to come falls, and so does its place on their curve.
            place = len(gain)
            while here < len(loads) or there < len(loads):
                shifted = here == len(loads) or (
                    there < len(loads) and loads[there] + more_load < loads[here]
                )
                if shifted:
                    a_load, a_gain, name = loads[there] + more_load, gains[there] + more_gain, names[there]
                    there += 1
                    if a_load > capacity:
                        there = len(loads)
                        continue
                else:
                    a_load, a_gain, name = loads[here], gains[here], names[here]
                    here += 1
                if a_gain <= highest:
                    continue
                # Of this item so many are to come, and all items behind it.
                left = capacity - a_load
                rest = min(left, to_come * load[item])
                could = a_gain + rest * gain[item] / load[item] - rest_gain[item + 1]
                left += rest_load[item + 1] - rest
                while place > item + 1 and rest_load[place - 1] >= left:
                    place -= 1
                if rest_load[place] <= left:
                    could += rest_gain[place]
                else:
                    rate = gain[place - 1] / load[place - 1]
                    could += rest_gain[place - 1] + (left - rest_load[place - 1]) * rate
                if could <= threshold:
                    continue
                highest = a_gain
                if shifted:
                    before, came, of = longer(before, kept), longer(came, kept), longer(of, kept)
                    before[kept], came[kept], of[kept] = name, pieces, item
                    name = kept
                    kept += 1
                new_loads[size], new_gains[size], new_names[size] = a_load, a_gain, name
                size += 1
            if size == 0:
                return NONE, np.zeros_like(members)
            if size > most_states:
                run = np.linspace(0, size, most_states // 2 + 1).astype(np.intp)
                new_loads, new_gains = new_loads[run[:-1]], new_gains[run[1:] - 1]
                new_names = new_names[run[1:] - 1]
                size = len(new_loads)
            loads, gains, names = new_loads[:size], new_gains[:size], new_names[:size]
            pieces *= 2
    counts = np.zeros_like(members)
    name = names[-1]
    while name >= 0:
        counts[of[name]] += came[name]
        name = before[name]
    return gains[-1], counts
