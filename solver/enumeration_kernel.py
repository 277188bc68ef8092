"""The inner loop of `solver.enumeration` as machine code; letters as there and in `solver.facilities`.

Items are the classes of a group that are worth something at a facility, best gain per load first. A partial
pattern is a pattern itself, so every one that is reached is looked at once: then each item behind its last.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from solver.compiled import compiled
from solver.facilities import EPSILON, Floats, Indices

# Subset rows: class k has weights[first[k]:first[k + 1]] in those of numbers[first[k]:first[k + 1]]; prices
# and divisors are those of every row.
RowsOf = tuple[Indices, Indices, Indices, Floats, Indices]
# Pattern n: its facility, instances, cost and reduced cost, and its classes (places in the group) and counts
# from first[n] on.
Written = tuple[Indices, Indices, Floats, Floats, Indices, Indices, Indices]

# Partial patterns looked at for every pattern that may be written down.
LOOKS = 20

Number = TypeVar("Number", np.float64, np.intp)


@compiled
def longer(values: NDArray[Number], size: int) -> NDArray[Number]:
    """The same values with room for more than `size`."""
    if size < len(values):
        return values
    more = np.empty(2 * max(size, 8), dtype=values.dtype)
    more[: len(values)] = values
    return more


@compiled
def at(load: Floats, gain: Floats, room: float) -> float:
    """The value at `room` of the line through these points, `load` rising; flat beyond the last."""
    if room >= load[-1]:
        return gain[-1]
    if room <= 0.0:
        return 0.0
    last = np.searchsorted(load, room, side="right")
    rise = gain[last] - gain[last - 1]
    return gain[last - 1] + rise * (room - load[last - 1]) / (load[last] - load[last - 1])


@compiled
def curve_of(gain: Floats, load: Floats, members: Indices) -> tuple[Floats, Floats]:
    """What items could earn within a load if they could be cut, as points of a line, [items + 1] each."""
    loads, gains = np.zeros(len(gain) + 1), np.zeros(len(gain) + 1)
    for item in range(len(gain)):
        useful = members[item] if gain[item] > 0 else 0
        loads[item + 1] = loads[item] + useful * load[item]
        gains[item + 1] = gains[item] + useful * gain[item]
    return loads, gains


@compiled
def written(
    price: Floats,
    capacity: Floats,
    joining: Floats,
    among: Indices,
    load: Floats,
    members: Indices,
    worth: Floats,
    rows: RowsOf,
    slack: float,
    most: int,
    most_instances: int,
) -> tuple[bool, Written]:
    """All patterns of a group whose reduced cost is at most `slack`; False where there are more than `most`.

    `joining` is [E, K'], `price` and `capacity` [E], all others [K'], of the classes of the group, `among`.
    """
    facility, number = np.empty(64, dtype=np.intp), np.empty(64, dtype=np.intp)
    first = np.empty(64, dtype=np.intp)
    cost, reduced = np.empty(64), np.empty(64)
    classes, counts = np.empty(256, dtype=np.intp), np.empty(256, dtype=np.intp)
    first[0] = 0
    found, size, looks = 0, 0, 0
    enough = LOOKS * (most + 1000)
    row_first, row_numbers, row_weights, row_price, row_divisor = rows
    held = np.zeros(len(row_price), dtype=np.intp)
    least = -max(slack, 0.0)
    for e in range(len(price)):
        all_gain = worth - joining[e]
        able = np.flatnonzero(all_gain >= least)
        able = able[np.argsort(-all_gain[able] / load[able], kind="mergesort")]
        curve_load, curve_gain = curve_of(all_gain[able], load[able], members[able])
        everybody = (load[able] * members[able]).sum()
        for instances in range(1, most_instances + 2):
            room, need = instances * capacity[e] * (1 + EPSILON), instances * price[e] - slack
            most_earned = at(curve_load, curve_gain, room)
            # More instances pay even less, since the curve is concave; or everybody fits into fewer.
            if most_earned < need or (instances - 1) * capacity[e] >= everybody:
                break
            if instances > most_instances:
                return False, (facility, number, cost, reduced, first, classes, counts)
            # What fits into fewer instances was found there.
            above = (instances - 1) * capacity[e] * (1 + EPSILON)
            last = np.searchsorted(curve_load, room)
            rate = 0.0
            if 0 < last <= len(able):
                rate = max(0.0, all_gain[able[last - 1]] / load[able[last - 1]])
            spare = most_earned - need + 1e-9 * abs(need)
            items = able[all_gain[able] - rate * load[able] >= -spare]
            gain, item_load, item_members = all_gain[items], load[items], members[items]
            rest_load, rest_gain = curve_of(gain, item_load, item_members)
            # Depth first: `taken[depth]` items, `count[depth]` of each, and what they come to before it.
            taken = np.empty(len(items) + 1, dtype=np.intp)
            count = np.empty(len(items) + 1, dtype=np.intp)
            loads, gains = np.zeros(len(items) + 1), np.zeros(len(items) + 1)
            depth, item = 0, 0
            while True:
                # The next item that may come in at this depth, one of it.
                forward = False
                if item < len(items):
                    looks += 1
                    if looks > enough:
                        return False, (facility, number, cost, reduced, first, classes, counts)
                    rest = at(rest_load, rest_gain, room - loads[depth] + rest_load[item]) - rest_gain[item]
                    if gains[depth] + rest >= need:
                        if loads[depth] + item_load[item] > room:
                            item += 1
                            continue
                        taken[depth], count[depth] = item, 1
                        forward = True
                if not forward:
                    # Nothing further belongs in: one more of the last item, or the next one in its place.
                    if depth == 0:
                        break
                    depth -= 1
                    item = taken[depth]
                    count[depth] += 1
                    if (
                        count[depth] > item_members[item]
                        or loads[depth] + count[depth] * item_load[item] > room
                    ):
                        k = among[items[item]]
                        for place in range(row_first[k], row_first[k + 1]):
                            held[row_numbers[place]] -= (count[depth] - 1) * row_weights[place]
                        item += 1
                        continue
                item, pieces = taken[depth], count[depth]
                k, paid = among[items[item]], 0.0
                for place in range(row_first[k], row_first[k + 1]):
                    row, weight = row_numbers[place], row_weights[place]
                    divisor = row_divisor[row]
                    if pieces > 1:
                        held[row] -= (pieces - 1) * weight
                    more = held[row] + pieces * weight
                    paid += row_price[row] * (more // divisor - held[row] // divisor)
                    held[row] = more
                loads[depth + 1] = loads[depth] + pieces * item_load[item]
                gains[depth + 1] = gains[depth] + pieces * gain[item] - paid
                depth += 1
                if gains[depth] >= need and loads[depth] > above:
                    facility, number = longer(facility, found), longer(number, found)
                    first = longer(first, found + 1)
                    cost, reduced = longer(cost, found), longer(reduced, found)
                    # A load a hair above the capacity, within EPSILON, still takes this many instances.
                    facility[found], number[found], cost[found] = e, instances, instances * price[e]
                    reduced[found] = cost[found] - gains[depth]
                    for place in range(depth):
                        classes, counts = longer(classes, size), longer(counts, size)
                        classes[size], counts[size] = items[taken[place]], count[place]
                        cost[found] += counts[size] * joining[e, classes[size]]
                        size += 1
                    found += 1
                    first[found] = size
                    if found > most:
                        return False, (facility, number, cost, reduced, first, classes, counts)
                item += 1
    values = facility[:found], number[:found], cost[:found], reduced[:found]
    return True, (*values, first[: found + 1], classes[:size], counts[:size])
