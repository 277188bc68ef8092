"""The inner loops of `solver.packed_bound` as machine code: which facilities may pay, and what they pack.

Facilities of one group at prices π of its classes: `price` and `capacity` are [E], `joining` [E, K'], and
`load`, `members` and `worth` (π) [K'].
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from solver.compiled import compiled
from solver.enumeration_kernel import at, curve_of, longer
from solver.facilities import EPSILON, Facilities, Floats, Group, Indices, Pattern, make_pattern
from solver.fractional_bound import NEGLIGIBLE
from solver.knapsack import MOST_LOOKS, MOST_STATES, NONE, packing

# More instances than this are not packed item by item; what they could earn is bounded by fractions.
MOST_INSTANCES = 40
# What earns no more than this part of its price on top costs a bound less than its solvers' tolerances do.
NEARLY = 5e-6

# Pattern n: its facility, and its classes (places in the group) and counts from first[n] on.
Packings = tuple[Indices, Indices, Indices, Indices]


@dataclass(frozen=True, kw_only=True, eq=False)
class Memory:
    """What is known of a group's facilities from other prices; the functions here keep it up to date.

    `rate` [E]: gain per load of the last item that went into the fractional knapsack when it was last filled.
    With it v_e ≤ c_e μ + Σ_k m_k (π_k − a_ke − q_k μ)⁺ is nearly exact; it is true for any μ.
    `gain` [E, K'] and `most` [E]: gains when the facility was last packed, and what it earned then at most.
    With gains g' instead, it earns at most what an instance could earn of (g'⁺ − g⁺)⁺, if fragments could
    be cut, on top.
    """

    rate: Floats
    gain: Floats
    most: Floats

    @classmethod
    def of(cls, group: Group) -> Memory:
        """Nothing is known yet."""
        return cls(
            rate=group.price / group.capacity,
            gain=np.zeros(group.joining.shape),
            most=np.full(len(group), np.inf),
        )


class GroupPacking:
    """One group of a program, and what is known of its facilities."""

    def __init__(self, program: Facilities, number: int) -> None:
        group = program.groups[number]
        self.group, self.number = group, number
        self.load, self.members = program.load[group.classes], program.members[group.classes]
        self._memory = Memory.of(group)

    def promising(self, group: Group, worth: Floats) -> Floats:
        """What one instance could earn if fragments could be cut, as a part of its price, [E]; 0 where it is
        known not to pay. `group` may differ in prices, of instances and of joining."""
        memory, mine = self._memory, worth[group.classes]
        numbers = (group.price, group.capacity, group.joining, self.load, self.members, mine)
        return promising(*numbers, memory.rate, memory.gain, memory.most)

    def packed(
        self, group: Group, worth: Floats, among: Indices, sizes: int, load_step: float
    ) -> tuple[float, Packings]:
        """The largest V_e(n) / (n s_e) that cannot be ruled out for these facilities, and what pays, of so
        many sizes n."""
        memory, mine = self._memory, worth[group.classes]
        numbers = (group.price, group.capacity, group.joining, self.load, self.members, mine)
        return packed(*numbers, among, sizes, load_step, memory.gain, memory.most)

    def paying(
        self, program: Facilities, group: Group, worth: Floats, packings: Packings
    ) -> Iterator[Pattern]:
        """Those of the patterns that pay at other prices, of the group and of its classes."""
        facility, first, classes, counts = packings
        joining = group.joining[np.repeat(facility, np.diff(first)), classes]
        gain = counts * (worth[group.classes[classes]] - joining)
        load = np.add.reduceat(np.append(counts * self.load[classes], 0.0), first[:-1])
        instances = np.maximum(1.0, np.ceil(load / group.capacity[facility] - EPSILON))
        cost = instances * group.price[facility]
        earned = np.add.reduceat(np.append(gain, 0.0), first[:-1])
        for number in np.flatnonzero(earned > cost).tolist():
            mine = slice(first[number], first[number + 1])
            members = dict(zip(group.classes[classes[mine]].tolist(), counts[mine].tolist(), strict=True))
            pattern = make_pattern(program, self.number, int(facility[number]), members)
            if earned[number] - cost[number] > NEGLIGIBLE * pattern.cost:
                yield pattern


def packings_of(program: Facilities) -> list[GroupPacking]:
    """Of every group."""
    return [GroupPacking(program, number) for number in range(len(program.groups))]


@compiled
def by_rate(gain: Floats, load: Floats) -> Indices:
    """The items that gain anything, best gain per load first."""
    useful = np.flatnonzero(gain > 0)
    return useful[np.argsort(-gain[useful] / load[useful], kind="mergesort")]


@compiled
def filled(gain: Floats, load: Floats, members: Indices, capacity: float) -> tuple[float, float]:
    """The fractional knapsack's value, and gain per load of its last item; 0 where there is room for more."""
    left, value = capacity, 0.0
    for item in by_rate(gain, load):
        demand = members[item] * load[item]
        if demand >= left:
            return value + left * gain[item] / load[item], gain[item] / load[item]
        left -= demand
        value += members[item] * gain[item]
    return value, 0.0


@compiled
def promising(
    price: Floats,
    capacity: Floats,
    joining: Floats,
    load: Floats,
    members: Indices,
    worth: Floats,
    rate: Floats,
    gain_before: Floats,
    most_before: Floats,
) -> Floats:
    """See `GroupPacking`."""
    ratio = np.zeros(len(price))
    gain, more = np.empty(len(worth)), np.empty(len(worth))
    for e in range(len(price)):
        enough = price[e] * (1 + EPSILON)
        bound = capacity[e] * rate[e]
        for k in range(len(worth)):
            gain[k] = worth[k] - joining[e, k]
            over = gain[k] - load[k] * rate[e]
            if over > 0:
                bound += members[k] * over
        if bound <= enough:
            continue
        value, last = filled(gain, load, members, capacity[e])
        rate[e] = last
        if value <= enough:
            continue
        if most_before[e] < np.inf:
            for k in range(len(worth)):
                more[k] = max(0.0, gain[k]) - gain_before[e, k]
            if most_before[e] + filled(more, load, members, capacity[e])[0] <= enough:
                continue
        ratio[e] = value / price[e]
    return ratio


@compiled
def packed(
    price: Floats,
    capacity: Floats,
    joining: Floats,
    load: Floats,
    members: Indices,
    worth: Floats,
    among: Indices,
    sizes: int,
    load_step: float,
    gain_before: Floats,
    most_before: Floats,
) -> tuple[float, Packings]:
    """See `GroupPacking`."""
    facility, first = np.empty(64, dtype=np.intp), np.zeros(64, dtype=np.intp)
    classes, counts = np.empty(256, dtype=np.intp), np.empty(256, dtype=np.intp)
    found, size, excess = 0, 0, 1.0
    room = np.empty(MOST_INSTANCES + 1)
    ratio_of = np.empty(MOST_INSTANCES + 1)
    for e in among:
        all_gain = worth - joining[e]
        items = by_rate(all_gain, load)
        gain, item_load, item_members = all_gain[items], load[items], members[items]
        curve_load, curve_gain = curve_of(gain, item_load, item_members)
        # What n instances could earn if fragments could be cut falls, divided by n, as n grows; and what fits
        # into them is a multiple of the load step.
        for n in range(1, MOST_INSTANCES + 2):
            most = n * capacity[e] * (1 + EPSILON)
            # Rounded down as in `solver.steps`.
            room[n - 1] = np.floor(most / load_step + 1e-6) * load_step if load_step > 0 else most
            ratio_of[n - 1] = at(curve_load, curve_gain, room[n - 1]) / (n * price[e])
        many = (MOST_INSTANCES + 1) * capacity[e]
        loose = at(curve_load, curve_gain, many) / ((MOST_INSTANCES + 1) * price[e])
        over = np.flatnonzero(ratio_of[:MOST_INSTANCES] > 1 + NEARLY)
        # What hardly pays even if fragments could be cut is not worth packing.
        ratio = 1.0
        for n in range(MOST_INSTANCES):
            if ratio_of[n] <= 1 + NEARLY:
                ratio = max(ratio, ratio_of[n])
        if len(over) > sizes:
            over = over[np.argsort(-ratio_of[over], kind="mergesort")]
            ratio = max(ratio, ratio_of[over[sizes]])
            over = over[:sizes]
        for place in range(len(over) + 1):
            if place < len(over):
                n = over[place] + 1
                cost = n * price[e]
                bound, chosen = packing(
                    gain, item_load, item_members, room[n - 1], cost, MOST_LOOKS, MOST_STATES
                )
                if bound == NONE:
                    continue
                ratio = max(ratio, bound / cost)
            elif loose > 1 + EPSILON:
                # Everything that pays when instances are bought in fractions, in many instances.
                ratio = max(ratio, loose)
                pays = gain > item_load * (price[e] / capacity[e])
                chosen = np.where(pays, item_members, 0)
            else:
                break
            facility, first = longer(facility, found), longer(first, found + 1)
            facility[found] = e
            for item in range(len(items)):
                if chosen[item]:
                    classes, counts = longer(classes, size), longer(counts, size)
                    classes[size], counts[size] = items[item], chosen[item]
                    size += 1
            found += 1
            first[found] = size
        gain_before[e] = np.maximum(all_gain, 0.0)
        most_before[e] = ratio * price[e]
        excess = max(excess, ratio)
    return excess, (facility[:found], first[: found + 1], classes[:size], counts[:size])


@compiled
def penalties(
    price: Floats,
    capacity: Floats,
    joining: Floats,
    load: Floats,
    members: Indices,
    worth: Floats,
    most_instances: int,
) -> Floats:
    """[E, K']: what a facility costs at least that serves class k, less what it earns; not below 0.

    With n instances that is n s_e − V_e(n) + (q_k μ − (π_k − a_ke))⁺, V_e(n) and μ of the fractional
    knapsack. It may be below 0: prices that are right for whole fragments let cut ones earn too much.
    """
    least = np.full(joining.shape, np.inf)
    for e in range(len(price)):
        gain = worth - joining[e]
        for n in range(1, most_instances + 2):
            if n > most_instances:
                least[e] = 0.0  # instances beyond those looked at
                break
            value, rate = filled(gain, load, members, n * capacity[e])
            for k in range(len(gain)):
                forced = max(0.0, load[k] * rate - gain[k])
                least[e, k] = min(least[e, k], max(0.0, n * price[e] - value + forced))
            if rate == 0.0:  # more instances only cost more
                break
    return least
