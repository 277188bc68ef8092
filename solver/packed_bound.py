"""The pattern program of 5.2 relaxed to fractions of whole patterns, by column generation.

    min Σ_P cost_P λ_P   s.t.  Σ_P x_kP λ_P ≥ m_k,  λ ≥ 0

Its dual is  max Σ_k m_k π_k  s.t. for every facility e and every n,

        V_e(n) = max Σ_k (π_k − a_ke) x_k   s.t.  Σ_k q_k x_k ≤ n c_e,  0 ≤ x_k ≤ m_k whole      ≤   n s_e

The strong form lets fragments be cut so that every instance is full; here instances hold whole fragments, and
the bound often rounds up to the optimum. If fragments may be cut, V_e(n)/n falls as n grows, so a facility
whose fractional knapsack for one instance earns less than its price is in no column; for the few others n
runs until the fractional knapsack of n + 1 instances no longer pays. Bounds and smoothing as in
`solver.fractional_bound`. Limits on sums that are whole in every answer (`solver.sums`) only change prices.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from solver.covering import Covering
from solver.enumeration import Enumerated, patterns_within, table_of
from solver.facilities import (
    Facilities,
    Floats,
    Indices,
    Pattern,
    alone_pattern,
    make_pattern,
)
from solver.fractional_bound import NEGLIGIBLE, Bound
from solver.outcome import Watch
from solver.packed_kernel import MOST_INSTANCES, packings_of
from solver.steps import common_step, round_up
from solver.subset_rows import SubsetRow, all_of
from solver.sums import (
    Duals,
    Limits,
    Row,
    Sum,
    added_to_rows,
    allowed_duals,
    at_prices,
    earned_of_rows,
    proven,
    scaled,
)

SMOOTHINGS = (0.8, 0.4, 0.0)
# How near the bound has to come to the relaxation's optimum: the last bit costs many rounds.
CLOSE = 5e-5
# Facilities packed in a round that only looks for patterns.
SOME = 40
# How many numbers of instances of a facility are packed in such a round.
SOME_SIZES = 2
# Patterns that pay, where all are written down, and how many of them become columns. Where they are more,
# only what pays this part of the highest price on top is looked for, then four times as much, up to so much.
MOST_PAYING, MOST_ADDED = 30_000, 600
SHORT, MOST_SHORT = 0.01, 10.0


class PackedAscent:
    """The column generation; `patterns` are all columns so far, `covering` the master program over them."""

    def __init__(self, program: Facilities, bound: Bound, answer: list[Pattern], step: float) -> None:
        self.program = program
        self.step = step
        self.value, self.worth = bound.value, bound.worth
        self.covering = Covering(program.members)
        self._packings = packings_of(program)
        self._first = True
        self._load_step = common_step(program.load)
        self.patterns: list[Pattern] = []
        self.limits: Limits = {}
        self.duals: Duals = {}
        self._sums: dict[Row, int] = {}
        self._missing = math.inf
        # So many patterns pay that the optimum with subset rows is out of reach.
        self.too_many = False
        self._known: dict[tuple[int, int, tuple[int, ...], tuple[int, ...]], float] = {}
        for pattern in answer:
            self.add(pattern)
        for k in range(len(program)):
            self.add(alone_pattern(program, k))

    def add(self, pattern: Pattern) -> bool:
        """Take a column in, unless it is there already."""
        key = _key(pattern)
        if key in self._known:
            return False
        self._known[key] = pattern.cost
        self.patterns.append(pattern)
        further = np.array([sum_.of(self.program, pattern) for sum_ in self._sums])
        self.covering.add(pattern.cost, pattern.classes, pattern.counts, further)
        return True

    def enter(self, limits: Limits, bound: float, worth: Floats, duals: Duals, missing: float) -> None:
        """From here on the sums keep to these limits; with these prices `bound` is proven already.

        What a sum lacks costs `missing` a unit, which must be more than any answer that matters.
        """
        self._missing = missing
        self._require([row for row in limits if row not in self._sums])
        for sum_, row in self._sums.items():
            self.covering.set_limits(row, *limits.get(sum_, (-math.inf, math.inf)))
        self.limits, self.duals = limits, duals
        self.value, self.worth = bound, worth

    def _require(self, rows: Sequence[Row]) -> None:
        """Take in rows that are not there yet."""
        for row in rows:
            if isinstance(row, Sum) and row.member is None:
                # Instances that serve nobody: then dual prices of instances are not below 0.
                for facility in np.flatnonzero(row.facilities(self.program)).tolist():
                    self.add(make_pattern(self.program, row.group, facility, {}))
            if isinstance(row, Sum):
                self._take_in(row, np.array([row.of(self.program, pattern) for pattern in self.patterns]))
        # Of these there are many at a time.
        subsets = [row for row in rows if isinstance(row, SubsetRow)]
        if subsets:
            table = table_of(self.program, self.patterns, self.worth)
            for row, coefficients in zip(subsets, all_of(subsets, table.counts).toarray(), strict=True):
                self._take_in(row, coefficients)

    def _take_in(self, row: Row, coefficients: Floats) -> None:
        self.covering.add_row(coefficients, self._missing)
        self._sums[row] = len(self._sums)

    def restrict(self, members: Indices) -> None:
        """From here on only so many of each class are to be served; what was proven before is forgotten."""
        self.program = replace(self.program, members=members.copy())
        self._packings = packings_of(self.program)
        self.covering.set_demand(members)
        self.value = 0.0

    def generate(self, rounds: int, watch: Watch) -> Floats:
        """Look for patterns for so many rounds, without a bound; how much each is used in the relaxation."""
        for _ in range(rounds):
            relaxed = self.covering.relax()
            duals = dict(zip(self._sums, relaxed.duals.tolist(), strict=True))
            duals = allowed_duals(self.program, duals, self.limits)
            if not self._price(relaxed.worth, relaxed.worth, duals, duals, watch, everything=False):
                break
        return self.covering.relax().used

    def run(self, watch: Watch, *, rounds: int) -> bool:
        """Raise the bound to the relaxation's optimum, or until the rounds are over or the watch says stop.

        True when it is there.
        """
        if self._first:
            self._first = False
            self._price(self.worth * 1.05, self.worth * 1.05, {}, {}, watch, everything=True)
        for _ in range(rounds):
            upper, found = self._round(watch)
            watch.update(phase="packing", lower_bound=round_up(self.value, self.step))
            if watch.limit is not None:
                break
            if not found or self.value >= upper * (1 - CLOSE):
                return True
        return False

    def estimate(self, sum_: Sum, lower: float, upper: float) -> float:
        """The relaxation over the patterns known when the sum keeps to these limits too: no bound."""
        self._require([] if sum_ in self._sums else [sum_])
        row = self._sums[sum_]
        self.covering.set_limits(row, lower, upper)
        value = self.covering.relax().objective
        self.covering.set_limits(row, *self.limits.get(sum_, (-math.inf, math.inf)))
        return value

    def run_to(self, goal: float, near: float, watch: Watch) -> Floats | None:
        """How much each pattern is used in the relaxation; None when it exceeds the goal or is stopped.

        Ends too when the bound is `near` a relaxation that does not exceed the goal.
        """
        while self.value <= goal and watch.limit is None:
            upper, found = self._round(watch, goal)
            watch.update()
            if not found or (upper <= goal and upper - self.value <= near):
                break
        return self.covering.relax().used if self.value <= goal and watch.limit is None else None

    def _round(self, watch: Watch, goal: float = math.inf) -> tuple[float, bool]:
        """One round of pricing: the relaxation before it, and whether new patterns were found."""
        relaxed = self.covering.relax()
        duals = dict(zip(self._sums, relaxed.duals.tolist(), strict=True))
        for smoothing in SMOOTHINGS:
            probe = smoothing * self.worth + (1 - smoothing) * relaxed.worth
            between = {
                sum_: smoothing * self.duals.get(sum_, 0.0) + (1 - smoothing) * dual
                for sum_, dual in duals.items()
            }
            between = allowed_duals(self.program, between, self.limits)
            for everything in (False, True):
                # A few facilities are enough to go on; only a round over all of them gives a bound.
                if self._price(probe, relaxed.worth, between, duals, watch, everything=everything):
                    return relaxed.objective, True
                if self.value > goal or watch.limit is not None:
                    return relaxed.objective, False
        return relaxed.objective, False

    def _price(
        self,
        probe: Floats,
        target: Floats,
        duals: Duals,
        target_duals: Duals,
        watch: Watch,
        *,
        everything: bool,
    ) -> bool:
        """Pack what may pay at `probe` and `duals`; add the patterns that pay at the targets."""
        program = at_prices(self.program, duals)
        if any(isinstance(row, SubsetRow) for row in duals):
            return self._price_rows(program, probe, target, duals, target_duals, watch)
        excess = max(1.0, float((probe / program.alone).max()))
        ratios = [
            packing.promising(group, probe)
            for packing, group in zip(self._packings, program.groups, strict=True)
        ]
        many = sum(int(np.count_nonzero(ratio)) for ratio in ratios)
        of_all = everything or many <= SOME
        least = 0.0 if of_all else float(np.partition(np.concatenate(ratios), -SOME)[-SOME])
        sizes = MOST_INSTANCES if everything else SOME_SIZES
        at_target = at_prices(self.program, target_duals)
        added = False
        for packing, group, dear, ratio in zip(
            self._packings, program.groups, at_target.groups, ratios, strict=True
        ):
            if watch.limit is not None:
                return added
            among = np.flatnonzero(ratio > 0 if of_all else ratio >= least)
            if len(among):
                earned, packings = packing.packed(group, probe, among, sizes, self._load_step)
                excess = max(excess, earned)
                for pattern in packing.paying(self.program, dear, target, packings):
                    added |= self.add(pattern)
        if of_all:
            value = proven(program.members, probe, excess, duals, self.limits)
            if value > self.value:
                self.value, self.worth, self.duals = value, probe / excess, scaled(duals, excess)
        return added

    def _price_rows(
        self,
        program: Facilities,
        probe: Floats,
        target: Floats,
        duals: Duals,
        target_duals: Duals,
        watch: Watch,
    ) -> bool:
        """The same where patterns pay for subset rows: all that pay all the same are written down."""
        rows = {row: -dual for row, dual in duals.items() if isinstance(row, SubsetRow)}
        short, found = 0.0, None
        while found is None:
            found = patterns_within(program, probe, -short, MOST_PAYING, watch=watch, rows=rows)
            if watch.limit is not None:
                return False
            if found is None:
                short = max(4 * short, SHORT * float(probe.max()))
            if short > MOST_SHORT * float(probe.max()):
                self.too_many = True
                return False
        earned = found.cost - found.reduced
        # Where a limit pays a pattern more than it costs, no factor makes up for what it earns on top.
        if not short and (found.cost > 0).all():
            excess = max(
                1.0, float((probe / program.alone).max()), float((earned / found.cost).max(initial=0.0))
            )
            value = proven(self.program.members, probe, excess, duals, self.limits)
            if value > self.value:
                self.value, self.worth, self.duals = value, probe / excess, scaled(duals, excess)
        # What is found costs what the limits make of it.
        limited: Duals = {row: dual for row, dual in duals.items() if isinstance(row, Sum)}
        cost: Floats = found.cost + earned_of_rows(self.program, limited, found)
        lost = cost - found.counts.T @ target - earned_of_rows(self.program, target_duals, found)
        paying = np.flatnonzero(lost < -NEGLIGIBLE * cost)
        added = self._add_some(found, paying[np.argsort(found.reduced[paying], kind="stable")])
        self.too_many = self.too_many or (short > 0 and not len(found))
        return added > 0

    def _add_some(self, found: Enumerated, numbers: Indices) -> int:
        """Take in those of these that are not there yet, at most `MOST_ADDED`; how many these were."""
        kept: list[int] = []
        for number in numbers.tolist():
            pattern = found.pattern(self.program, number)
            key = _key(pattern)
            if key not in self._known:
                self._known[key] = pattern.cost
                self.patterns.append(pattern)
                kept.append(number)
            if len(kept) >= MOST_ADDED:
                break
        if kept:
            new = found.keep(np.array(kept))
            cost = np.array([pattern.cost for pattern in self.patterns[-len(kept) :]])
            self.covering.add_all(cost, new.counts, added_to_rows(self.program, list(self._sums), new))
        return len(kept)


def _key(pattern: Pattern) -> tuple[int, int, tuple[int, ...], tuple[int, ...]]:
    return pattern.group, pattern.facility, pattern.classes, pattern.counts
