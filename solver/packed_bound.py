"""The pattern program of 5.2 relaxed to fractions of whole patterns, by column generation.

    min Σ_P cost_P λ_P   s.t.  Σ_P x_kP λ_P ≥ m_k,  λ ≥ 0

Its dual is  max Σ_k m_k π_k  s.t. for every facility e and every n,

        V_e(n) = max Σ_k (π_k − a_ke) x_k   s.t.  Σ_k q_k x_k ≤ n c_e,  0 ≤ x_k ≤ m_k whole      ≤   n s_e

The strong form lets fragments be cut so that every instance is full; here instances hold whole fragments, and
the bound often rounds up to the optimum. If fragments may be cut, V_e(n)/n falls as n grows, so a facility
whose fractional knapsack for one instance earns less than its price is in no column; for the few others n
runs until the fractional knapsack of n + 1 instances no longer pays. Bounds and smoothing as in
`solver.fractional_bound`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from solver.covering import Covering
from solver.facilities import (
    EPSILON,
    Facilities,
    Floats,
    Group,
    Indices,
    Pattern,
    alone_pattern,
    make_pattern,
)
from solver.fractional_bound import NEGLIGIBLE, Bound, Earnings, Knapsacks
from solver.knapsack import fractional, pack
from solver.outcome import Watch
from solver.steps import common_step, round_down, round_up

# More instances than this are not packed item by item; what they could earn is bounded by fractions.
MOST_INSTANCES = 40
SMOOTHINGS = (0.8, 0.4, 0.0)
# Facilities packed in a round that only looks for patterns.
SOME = 40


class PackedAscent:
    """The column generation; `patterns` are all columns so far, `covering` the master program over them."""

    def __init__(self, program: Facilities, bound: Bound, answer: list[Pattern], step: float) -> None:
        self.program = program
        self.step = step
        self.value, self.worth = bound.value, bound.worth
        self.covering = Covering(program.members)
        self.knapsacks = Knapsacks(program)
        self._first = True
        self._load_step = common_step(program.load)
        self.patterns: list[Pattern] = []
        self._known: dict[tuple[int, int, tuple[int, ...], tuple[int, ...]], float] = {}
        for pattern in answer:
            self.add(pattern)
        for k in range(len(program)):
            self.add(alone_pattern(program, k))

    def add(self, pattern: Pattern) -> bool:
        """Take a column in, unless it is there already."""
        key = (pattern.group, pattern.facility, pattern.classes, pattern.counts)
        if key in self._known:
            return False
        self._known[key] = pattern.cost
        self.patterns.append(pattern)
        self.covering.add(pattern.cost, pattern.classes, pattern.counts)
        return True

    def restrict(self, members: Indices) -> None:
        """From here on only so many of each class are to be served; what was proven before is forgotten."""
        self.program = replace(self.program, members=members.copy())
        self.knapsacks = Knapsacks(self.program)
        self.covering.set_demand(members)
        self.value = 0.0

    def generate(self, rounds: int) -> Floats:
        """Look for patterns for so many rounds, without a bound; how much each is used in the relaxation."""
        for _ in range(rounds):
            worth = self.covering.relax().worth
            if not self._price(worth, worth, everything=False):
                break
        return self.covering.relax().used

    def run(self, watch: Watch, *, exact: bool = False) -> bool:
        """Raise the bound to the relaxation's optimum, or until the watch says stop.

        True when it is there or, unless `exact`, so near that rounding to the price step makes no difference.
        """
        if self._first:
            self._first = False
            self._price(self.worth * 1.05, self.worth * 1.05, everything=True)
        while True:
            relaxed = self.covering.relax()
            target, upper = relaxed.worth, relaxed.objective
            for smoothing in SMOOTHINGS:
                probe = smoothing * self.worth + (1 - smoothing) * target
                # A few facilities are enough to go on; only a round over all of them gives a bound.
                found = self._price(probe, target, everything=False) or self._price(
                    probe, target, everything=True
                )
                watch.update(phase="packing", lower_bound=round_up(self.value, self.step))
                if found or watch.limit is not None:
                    break
            if not found or self.value >= upper * (1 - NEGLIGIBLE):
                return True
            if not exact and round_up(self.value, self.step) >= round_up(upper, self.step):
                return True
            if watch.limit is not None:
                return False

    def _price(self, probe: Floats, target: Floats, *, everything: bool) -> bool:
        """Pack the facilities that may pay at `probe`; add the patterns that pay at `target`."""
        program = self.program
        excess = max(1.0, float((probe / program.alone).max()))
        candidates: list[tuple[float, int, Earnings, int]] = []
        for number, rough in self.knapsacks.promising(probe):
            ratio = rough.value / program.groups[number].price[rough.facilities]
            candidates.extend(
                (float(ratio[row]), number, rough, int(row)) for row in np.flatnonzero(ratio > 1 + EPSILON)
            )
        candidates.sort(key=lambda candidate: -candidate[0])
        added = False
        for _, number, rough, row in candidates if everything else candidates[:SOME]:
            earned, patterns = self._pack(number, probe, rough, row)
            excess = max(excess, earned)
            for pattern in patterns:
                worth = float(target[list(pattern.classes)] @ np.array(pattern.counts, dtype=np.float64))
                if pattern.cost - worth < -NEGLIGIBLE * pattern.cost:
                    added |= self.add(pattern)
        value = float(probe @ program.members) / excess
        if (everything or len(candidates) <= SOME) and value > self.value:
            self.value, self.worth = value, probe / excess
        return added

    def _pack(self, number: int, probe: Floats, rough: Earnings, row: int) -> tuple[float, list[Pattern]]:
        """The largest V_e(n) / (n s_e) that cannot be ruled out, and the patterns that pay."""
        program = self.program
        group, facility = program.groups[number], int(rough.facilities[row])
        order = rough.order[row]
        classes = group.classes[order]
        gain = probe[classes] - group.joining[facility, order]
        useful = int((gain > 0).sum())
        classes, gain = classes[:useful], gain[:useful]
        load, members = program.load[classes], program.members[classes]
        price, capacity = float(group.price[facility]), float(group.capacity[facility])
        number_of = np.arange(1.0, MOST_INSTANCES + 2)
        # What n instances could earn if fragments could be cut falls, divided by n, as n grows; and what fits
        # into them is a multiple of the load step.
        loose = fractional(gain, load, members, number_of * capacity) / (number_of * price)
        room = round_down(number_of * capacity * (1 + EPSILON), self._load_step)
        tight = fractional(gain, load, members, room) / (number_of * price)
        ratio, patterns = 1.0, []
        for instances in (np.flatnonzero(tight[:-1] > 1 + EPSILON) + 1).tolist():
            best = pack(gain, load, members, float(room[instances - 1]), instances * price)
            if best is not None:
                ratio = max(ratio, best.bound / (instances * price))
                counts = {int(k): int(n) for k, n in zip(classes, best.counts, strict=True) if n}
                patterns.append(make_pattern(program, number, facility, counts))
        if loose[-1] > 1 + EPSILON:
            ratio = max(ratio, float(loose[-1]))
            patterns.extend(self._large(number, group, facility, gain, load, classes, members))
        return ratio, patterns

    def _large(
        self,
        number: int,
        group: Group,
        facility: int,
        gain: Floats,
        load: Floats,
        classes: np.ndarray,
        members: np.ndarray,
    ) -> list[Pattern]:
        """Everything that pays when instances are bought in fractions, in one pattern of many instances."""
        rate = float(group.price[facility] / group.capacity[facility])
        paying = gain > load * rate
        counts = {int(k): int(n) for k, n in zip(classes[paying], members[paying], strict=True)}
        return [make_pattern(self.program, number, facility, counts)] if counts else []
