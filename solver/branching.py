"""Branch and price for 5.2: an answer of at most a goal, or a proof that there is none.

A node is the pattern program with limits on sums that are whole in every answer (`solver.sums`); its
relaxation (`solver.packed_bound`) bounds all answers that keep to them. Where a sum is a fraction v, one of
its children has at most ⌊v⌋ of it and the other at least ⌈v⌉ (Vance 1998 and others branch so on sums over
columns rather than on columns). How many instances a group has, and how many of them small ones, decides
most: the relaxation mixes a large instance with a small one where the answer has to take one. Only then it
is decided which group a fragment joins.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, replace

import numpy as np

from solver.depth_first import DepthFirst
from solver.facilities import ALONE, Facilities, Floats, Pattern, make_pattern, settle, total_cost
from solver.fractional_bound import Bound
from solver.outcome import Watch
from solver.packed_bound import PackedAscent
from solver.subset_rows import SubsetRow, broken_rows
from solver.sums import Duals, Limits, Row, Sum

# A sum this near a whole number is one.
WHOLE = 1e-5
# Sums that are tried before one is chosen.
CANDIDATES = 6
# How near a node's bound has to come to a relaxation that is not above the goal, as a part of the price step.
NEAR = 0.02
# Subset rows added at a time, how often at the first node and at others, and how much they have to bring, in
# parts of NEAR; and it must not take this often as much to the goal.
MORE_ROWS, ROW_ROUNDS, NODE_ROUNDS, LEAST_RISE, FAR = 60, 30, 8, 0.2, 200
# Used at least this much, a pattern is taken whole when a relaxation is rounded; otherwise the one used most,
# by a number drawn between these. Rounds of new patterns after each step.
NEARLY_WHOLE, ALIKE, ROUNDED_ROUNDS = 0.95, (0.7, 1.0), 8
# How much more a group's number of instances is worth deciding than how many of them are small.
ALL_OF_A_GROUP = 2.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Node:
    """Limits, and the prices that prove the bound at these limits.

    What subset rows cost is among the duals; their limits are the same everywhere, and not among `limits`.
    """

    limits: Limits
    bound: float
    worth: Floats
    duals: Duals

    @property
    def row_prices(self) -> dict[SubsetRow, float]:
        """What a unit of each subset row costs."""
        return {row: -dual for row, dual in self.duals.items() if isinstance(row, SubsetRow)}


class Tree(DepthFirst[Node]):
    """A search for answers of at most `goal`; the last known prices and patterns are what it begins with.

    `with_rows`: relaxations are tightened by subset rows, until too many patterns pay; with `larger_rows` by
    those of more than three classes, too, where these bring little. `root` is the first node, with the best
    bound proven there; `guess` is the root of a tree like this one.
    """

    def __init__(
        self,
        program: Facilities,
        bound: Bound,
        patterns: list[Pattern],
        goal: float,
        step: float,
        *,
        with_rows: bool = False,
        larger_rows: bool = True,
        guess: Node | None = None,
    ) -> None:
        self.program, self.goal = program, goal
        self._near = NEAR * step if step > 0 else NEAR * 1e-2 * goal
        self._ascent = PackedAscent(program, bound, patterns, step)
        self.root = Node(limits={}, bound=bound.value, worth=bound.worth, duals={})
        # Good prices, perhaps, but nothing is proven by them here.
        begin = self.root if guess is None else replace(guess, bound=bound.value)
        super().__init__(begin)
        # Whether there may be more rows, and also of more than three classes; and whether there are such.
        self.with_rows = self._may_grow = with_rows
        self.larger_rows, self._larger = larger_rows, False
        members = program.members
        self._rows: dict[Row, tuple[float, float]] = {
            row: (-math.inf, row.limit(members)) for row in begin.duals if isinstance(row, SubsetRow)
        }

    @property
    def patterns(self) -> list[Pattern]:
        """All patterns that were looked at."""
        return self._ascent.patterns

    def relax(self, watch: Watch) -> bool:
        """Solve the first node's relaxation; False where it exceeds the goal, or the watch says stop."""
        return self._relaxed(self._open[0], watch) is not None

    def rounded(self, served: float, rng: np.random.Generator, watch: Watch) -> list[Pattern]:
        """Patterns that the first node's relaxation, once solved, uses whole, or nearly, one after the other.

        So many that this part of all fragments is served, unless the relaxation exceeds the goal before.
        """
        ascent, root = self._ascent, self.root
        self._enter(root.limits, root.bound, root.worth, root.duals)
        taken: dict[int, int] = {}
        before: dict[int, int] = {}
        enough, many = served * float(self.program.members.sum()), 0
        while watch.limit is None:
            used = ascent.generate(ROUNDED_ROUNDS, watch)
            if ascent.covering.relax().objective > self.goal:
                break
            before = dict(taken)
            if many >= enough:
                break
            score = used.copy()
            for number, times in taken.items():
                score[number] -= times
            order = np.argsort(-score * rng.uniform(*ALIKE, len(score)), kind="stable").tolist()
            whole = [number for number in order if score[number] >= NEARLY_WHOLE] or order[:1]
            if score[whole[0]] <= WHOLE:
                break  # nothing is left to be served
            for number in whole:
                times = max(1, int(score[number] + 1 - NEARLY_WHOLE))
                taken[number] = taken.get(number, 0) + times
                many += times * sum(ascent.patterns[number].counts)
                ascent.covering.use_at_least(number, taken[number])
        for number in taken:
            ascent.covering.use_at_least(number, 0)
        return [ascent.patterns[number] for number, times in before.items() for _ in range(times)]

    def _visit(self, node: Node, watch: Watch) -> list[Pattern] | None:
        ascent = self._ascent
        used = self._relaxed(node, watch)
        if used is None:
            return None
        use = _Use(self.program, ascent.patterns, used)
        fractions = use.fractions()
        if not fractions:
            return self._answer(use)
        sum_, value, prefer_above = self._choose(node, fractions)
        lower, upper = node.limits.get(sum_, (-math.inf, math.inf))
        below, above = (
            self._node({**node.limits, sum_: limits})
            for limits in ((lower, math.floor(value)), (math.floor(value) + 1.0, upper))
        )
        self._open.extend((below, above) if prefer_above else (above, below))
        return None

    def _relaxed(self, node: Node, watch: Watch) -> Floats | None:
        """How much the node's relaxation uses each pattern, subset rows that it breaks added to it again and
        again; None where it exceeds the goal."""
        ascent = self._ascent
        self._enter(node.limits, node.bound, node.worth, node.duals)
        used = ascent.run_to(self.goal, self._near, watch)
        rows = self._rows
        for _ in range(NODE_ROUNDS if node.limits else ROW_ROUNDS):
            if used is None or ascent.too_many or not self._may_grow:
                break
            before, rows = ascent.value, self._rows
            if self._add_rows(used):
                self._enter(node.limits, ascent.value, ascent.worth, ascent.duals)
                used = ascent.run_to(self.goal, self._near, watch)
            if ascent.value < before + max(LEAST_RISE * self._near, (self.goal - before) / FAR):
                if self._larger or not self.larger_rows:
                    break
                self._larger = True
        if used is not None and ascent.too_many and self.with_rows:
            # Patterns hold so many fragments that those that pay cannot all be written down with these rows.
            self._rows = rows if rows is not self._rows else {}
            self.with_rows, self._may_grow, ascent.too_many = bool(self._rows), False, False
            self._enter(node.limits, node.bound, node.worth, node.duals)
            used = ascent.run_to(self.goal, self._near, watch)
        if not node.limits and ascent.value > self.root.bound:
            self.root = self._node({})
        return used

    def _add_rows(self, used: Floats) -> bool:
        """Take in the rows that a relaxation breaks most; False where it breaks none."""
        members, among = self.program.members, np.flatnonzero(used > WHOLE)
        held = [self._ascent.patterns[number].classes for number in among.tolist()]
        seed = len(self._rows) if self._larger else None
        broken = broken_rows(held, used[among].tolist(), members, self._rows, MORE_ROWS, seed)
        self._rows = self._rows | {row: (-math.inf, row.limit(members)) for row in broken}
        return bool(broken)

    def _node(self, limits: Limits) -> Node:
        """One whose relaxation begins where the last one ended."""
        ascent = self._ascent
        return Node(limits=limits, bound=ascent.value, worth=ascent.worth, duals=ascent.duals)

    def _enter(self, limits: Limits, bound: float, worth: Floats, duals: Duals) -> None:
        self._ascent.enter({**limits, **self._rows}, bound, worth, duals, missing=2 * self.goal)

    def _choose(self, node: Node, fractions: list[tuple[float, Sum, float]]) -> tuple[Sum, float, bool]:
        """The sum whose children exceed the node most, as far as the patterns known can tell."""
        if len(fractions) == 1:
            _, sum_, value = fractions[0]
            return sum_, value, value - math.floor(value) > 0.5
        base = self._ascent.covering.relax().objective
        best = None
        for _, sum_, value in fractions[:CANDIDATES]:
            lower, upper = node.limits.get(sum_, (-math.inf, math.inf))
            rise = [
                min(self._ascent.estimate(sum_, *limits), 1.2 * self.goal) - base
                for limits in ((lower, math.floor(value)), (math.floor(value) + 1.0, upper))
            ]
            score = max(min(rise), 1e-3 * self._near) * max(max(rise), 1e-3 * self._near)
            if best is None or score > best[0]:
                best = score, sum_, value, rise[1] < rise[0]
        assert best is not None
        return best[1:]

    def _answer(self, use: _Use) -> list[Pattern] | None:
        """Every sum is whole, so this is an answer, and it costs no more than the relaxation.

        Rounding may make it dearer: then what is below this node stays undecided.
        """
        self._undecided = True
        answer = settle(self.program, use.whole_patterns())
        return answer if total_cost(answer) <= self.goal else None


class _Use:
    """How much of everything a relaxation uses: instances and members by (group, facility)."""

    def __init__(self, program: Facilities, patterns: list[Pattern], used: Floats) -> None:
        self._program = program
        self._instances: defaultdict[tuple[int, int], float] = defaultdict(float)
        self._members: defaultdict[tuple[int, int], defaultdict[int, float]] = defaultdict(
            lambda: defaultdict(float)
        )
        for number in np.flatnonzero(used > 0).tolist():
            pattern, times = patterns[number], float(used[number])
            if pattern.group == ALONE:
                continue
            where = pattern.group, pattern.facility
            self._instances[where] += times * pattern.instances
            for k, count in zip(pattern.classes, pattern.counts, strict=True):
                self._members[where][k] += times * count

    def fractions(self) -> list[tuple[float, Sum, float]]:
        """(worth of deciding it, sum, what it is) of the sums of the first kind that has any fractions."""
        return self._of_prices() or self._of_facilities() or self._of_members()

    def whole_patterns(self) -> list[Pattern]:
        """The patterns of an answer whose sums are all whole."""
        return [
            make_pattern(self._program, *where, counts)
            for where, members in self._members.items()
            if (counts := {k: number for k, part in members.items() if (number := round(part))})
        ]

    def _of_prices(self) -> list[tuple[float, Sum, float]]:
        found = []
        groups: defaultdict[int, defaultdict[float, float]] = defaultdict(lambda: defaultdict(float))
        for (group, facility), number in self._instances.items():
            groups[group][float(self._program.groups[group].price[facility])] += number
        for group, of_price in groups.items():
            total = 0.0
            for price in sorted(of_price):
                total += of_price[price]
                last = price == max(of_price)
                sum_ = Sum(group=group, most_price=math.inf if last else price)
                found.append((ALL_OF_A_GROUP if last else 1.0, sum_, total))
        return _fractional(found)

    def _of_facilities(self) -> list[tuple[float, Sum, float]]:
        return _fractional(
            [
                (1.0, Sum(group=group, facility=facility), number)
                for (group, facility), number in self._instances.items()
            ]
        )

    def _of_members(self) -> list[tuple[float, Sum, float]]:
        groups: defaultdict[tuple[int, int], float] = defaultdict(float)
        for (group, _), members in self._members.items():
            for k, part in members.items():
                groups[group, k] += part
        return _fractional(
            [(1.0, Sum(group=group, member=k), part) for (group, k), part in groups.items()]
        ) or _fractional(
            [
                (1.0, Sum(group=group, facility=facility, member=k), part)
                for (group, facility), members in self._members.items()
                for k, part in members.items()
            ]
        )


def _fractional(sums: list[tuple[float, Sum, float]]) -> list[tuple[float, Sum, float]]:
    """Those that are not whole, most worth deciding first."""
    found = []
    for weight, sum_, value in sums:
        part = value - math.floor(value)
        if min(part, 1 - part) > WHOLE:
            found.append((weight * min(part, 1 - part), sum_, value))
    return sorted(found, key=lambda one: -one[0])
