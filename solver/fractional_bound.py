"""The linear relaxation of 5.2 in its strong form, by column generation, with a valid bound every round.

Its dual is  max Σ_k m_k π_k  s.t. for every facility e, v_e(π) ≤ s_e, where v_e is what one instance could
earn at prices π if fragments could be cut into pieces:

    v_e(π) = max Σ_k (π_k − a_ke) x_k   s.t.  Σ_k q_k x_k ≤ c_e,  0 ≤ x_k ≤ m_k       (a fractional knapsack)

and π_k ≤ w_k. Because a ≥ 0, prices scaled down by max_e v_e/s_e satisfy every constraint:
Σ m_k π_k / max(1, max v_e/s_e) is a bound at every round (Farley). The prices sent to the
knapsacks lie between the master's and the best so far (Wentges smoothing), without which the first rounds
wander.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from solver.covering import Covering
from solver.facilities import EPSILON, Facilities, Floats, Group, Indices, Pattern
from solver.outcome import Watch

# Columns taken from one round: enough to move on, few enough to keep the master small.
COLUMNS_A_ROUND = 100
SMOOTHING = 0.9
# A column whose reduced cost is within this part of its cost gains nothing but rounding.
NEGLIGIBLE = 1e-7
# How near the bound has to come to the relaxation's optimum: the last bit costs many rounds.
CLOSE = 5e-4


@dataclass(frozen=True, kw_only=True, eq=False)
class Bound:
    """`value` is a lower bound; `worth` ([K]) are prices that prove it."""

    value: float
    worth: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class Earnings:
    """What one instance could earn at some facilities of a group (`facilities`, [F]).

    `order` [F, K'] are positions in `group.classes`, best first; `taken` [F, K'] how many are taken of
    each in that order; `value` [F] the earnings.
    """

    facilities: Indices
    order: Indices
    taken: Floats
    value: Floats


def fractional_bound(program: Facilities, answer: list[Pattern], watch: Watch) -> Bound:
    """Raise the bound until it is the relaxation's optimum or the watch says stop."""
    return _Ascent(program, answer).run(watch)


def earnings(program: Facilities, group: Group, worth: Floats, among: Indices, capacity: Floats) -> Earnings:
    """Fractional knapsacks of some facilities at these prices; `capacity` is theirs, [F]."""
    gain = worth[group.classes] - group.joining[among]  # −inf where a class cannot join
    load = program.load[group.classes]
    order = np.argsort(-gain / load, axis=1, kind="stable")
    gain = np.take_along_axis(gain, order, axis=1)
    useful = gain > 0
    unit = load[order]
    demand = np.where(useful, unit * program.members[group.classes][order], 0.0)
    before = np.cumsum(demand, axis=1) - demand
    taken = np.clip(capacity[:, None] - before, 0.0, demand) / unit
    value = (taken * np.where(useful, gain, 0.0)).sum(axis=1)
    return Earnings(facilities=among, order=order, taken=taken, value=value)


class Knapsacks:
    """The fractional knapsacks of all facilities at changing prices; most are ruled out without sorting."""

    def __init__(self, program: Facilities) -> None:
        # Critical gain per load of each facility's knapsack when it was last sorted: it bounds the
        # knapsack at other prices too.
        self._rates = [group.price / group.capacity for group in program.groups]

    def promising(self, program: Facilities, worth: Floats) -> Iterator[tuple[int, Earnings]]:
        """Group by group, the knapsacks that may earn more than their price.

        `program` may differ from that of the beginning in prices, of instances and of joining.
        """
        for number, group in enumerate(program.groups):
            among = self._not_ruled_out(program, number, group, worth)
            if len(among):
                found = earnings(program, group, worth, among, group.capacity[among])
                self._remember(program, number, group, worth, found)
                yield number, found

    def _not_ruled_out(self, program: Facilities, number: int, group: Group, worth: Floats) -> Indices:
        """Where not even v_e ≤ c_e μ + Σ_k m_k (π_k − a_ke − q_k μ)⁺, true for any μ, is below the price."""
        rate = self._rates[number]
        gain = worth[group.classes] - group.joining
        over = np.maximum(0.0, gain - program.load[group.classes] * rate[:, None])
        bound = group.capacity * rate + over @ program.members[group.classes]
        return np.flatnonzero(bound > group.price * (1 + EPSILON))

    def _remember(
        self, program: Facilities, number: int, group: Group, worth: Floats, found: Earnings
    ) -> None:
        """The gain per load of the last piece that went in is the μ that makes the bound above exact."""
        used = (found.taken > 0).sum(axis=1)
        last = np.maximum(used - 1, 0)[:, None]
        position = np.take_along_axis(found.order, last, axis=1)[:, 0]
        gain = worth[group.classes[position]] - group.joining[found.facilities, position]
        load = program.load[group.classes]
        full = (found.taken * load[found.order]).sum(axis=1)
        tight = full >= group.capacity[found.facilities] * (1 - EPSILON)
        rate = np.where(tight & (used > 0), gain / load[position], 0.0)
        self._rates[number][found.facilities] = np.maximum(rate, 0.0)


class _Ascent:
    """One run of the column generation."""

    def __init__(self, program: Facilities, answer: list[Pattern]) -> None:
        self.program = program
        self.covering = Covering(program.members)
        for pattern in answer:
            self.covering.add(pattern.cost, pattern.classes, pattern.counts)
        for k, cost in enumerate(program.alone):
            self.covering.add(float(cost), [k], [1.0])
        self.knapsacks = Knapsacks(program)
        self.worth = self._cheapest_rates()
        self.value = float(self.worth @ program.members)

    def run(self, watch: Watch) -> Bound:
        # The first prices of the master are far too high; begin with some that are a little too high.
        self._price(self.worth * 1.5, self.worth * 1.5)
        while True:
            relaxed = self.covering.relax()
            target, upper = relaxed.worth, relaxed.objective
            for smoothing in (SMOOTHING, SMOOTHING / 2, 0.0):
                probe = smoothing * self.worth + (1 - smoothing) * target
                found = self._price(probe, target)
                watch.update(phase="relaxing", lower_bound=self.value)
                if found or watch.over:
                    break
            if not found or watch.over or upper - self.value <= CLOSE * upper:
                return Bound(value=self.value, worth=self.worth)

    def _cheapest_rates(self) -> Floats:
        """Prices at which every instance is bought in fractions: π_k = min_e a_ke + q_k s_e / c_e."""
        program = self.program
        worth = program.alone.copy()
        for group in program.groups:
            rate = program.load[group.classes] * (group.price / group.capacity)[:, None]
            worth[group.classes] = np.minimum(worth[group.classes], (group.joining + rate).min(axis=0))
        return worth

    def _price(self, probe: Floats, target: Floats) -> bool:
        """Knapsacks at `probe`: raise the bound, add columns that pay at the master's prices `target`."""
        program = self.program
        excess = max(1.0, float((probe / program.alone).max()))
        columns: list[tuple[float, float, Indices, Floats]] = []
        for number, found in self.knapsacks.promising(program, probe):
            group = program.groups[number]
            excess = max(excess, float((found.value / group.price[found.facilities]).max()))
            columns.extend(_columns(group, target, found))
        value = float(probe @ program.members) / excess
        if value > self.value:
            self.value, self.worth = value, probe / excess
        columns.sort(key=lambda column: column[0])
        for _, cost, rows, amounts in columns[:COLUMNS_A_ROUND]:
            self.covering.add(cost, rows, amounts)
        return bool(columns)


def _columns(group: Group, target: Floats, found: Earnings) -> list[tuple[float, float, Indices, Floats]]:
    """(reduced cost per cost, cost, rows, amounts) of the knapsacks that pay at the prices `target`."""
    joining = np.take_along_axis(group.joining[found.facilities], found.order, axis=1)
    joining = np.where(found.taken > 0, joining, 0.0)
    cost = group.price[found.facilities] + (joining * found.taken).sum(axis=1)
    worth = (target[group.classes][found.order] * found.taken).sum(axis=1)
    paying = np.flatnonzero(cost - worth < -NEGLIGIBLE * cost)
    columns = []
    for row in paying:
        used = found.taken[row] > 0
        classes = group.classes[found.order[row, used]]
        ratio = float((cost[row] - worth[row]) / cost[row])
        columns.append((ratio, float(cost[row]), classes, found.taken[row, used]))
    return columns
