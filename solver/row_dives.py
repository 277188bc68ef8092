"""Answers to 5.2 by rounding the relaxation with subset rows as far as it allows, the rest solved exactly.

The relaxation with rows is often within a price step of the optimum (`solver.subset_rows`). Patterns that it
uses whole, or nearly, are taken one after the other, and it is solved again, until more than half of the
fragments are served: that costs little. For the others what is left is a program small enough to be solved
exactly, step by step from its own bound, or to be rounded to the end some times.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from solver.branching import Node, Tree
from solver.compact import what_can_matter
from solver.facilities import Facilities, Pattern, settle, total_cost
from solver.fractional_bound import Bound
from solver.goals import Effort, Goals
from solver.outcome import Watch
from solver.packed_bound import PackedAscent
from solver.parts import Part, members_of
from solver.reduction import Reduction
from solver.steps import below, round_up

# What part of the fragments is served by rounding, drawn between these.
LEAST_SERVED, MOST_SERVED = 0.5, 0.8
# Rounds of the relaxation of what is left in the end.
REST_ROUNDS = 200
# What is left is solved exactly where there are no more goals than this, and so much may be done for each.
GOALS, EFFORT = 3, Effort(branches=4, patterns=4_000, nodes=50, looks=50)
# How often it is rounded to the end, where that does not decide it.
TRIES = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class _Begun:
    """What an answer of at most `goal` can be made of, and the first node over it, its relaxation solved."""

    goal: float
    reduction: Reduction
    tree: Tree


class RowDives:
    """Such answers of one program, again and again; what is used about as much is drawn from.

    `ascent` has prices that prove a bound, and patterns to begin with; it learns new ones. `fits` is False
    where instances hold so many fragments that rows are of no use.
    """

    def __init__(self, program: Facilities, ascent: PackedAscent, *, seed: int) -> None:
        self.program, self.ascent, self.seed = program, ascent, seed
        self._rng = np.random.default_rng(seed)
        self._begun: _Begun | None = None
        self.fits = True

    def improve(self, answer: list[Pattern], watch: Watch) -> list[Pattern] | None:
        """A cheaper answer than `answer`, or None."""
        goal = below(total_cost(answer), self.ascent.step)
        begun = self._begun
        if begun is None or begun.goal != goal:
            begun = self._begun = self._begin(goal, watch)
        if begun is None or not self.fits:
            return None
        tree, reduction = begun.tree, begun.reduction
        taken = tree.rounded(self._rng.uniform(LEAST_SERVED, MOST_SERVED), self._rng, watch)
        rest = self._rest(begun, taken, watch)
        for pattern in tree.patterns:
            if pattern.classes:
                self.ascent.add(reduction.whole(pattern))
        if rest is None:
            return None
        found = settle(self.program, [reduction.whole(pattern) for pattern in (*taken, *rest)])
        return found if total_cost(found) <= goal * (1 + 1e-9) else None

    @property
    def root(self) -> Node | None:
        """The relaxation that the last dive began with: prices, and what subset rows cost."""
        return None if self._begun is None else self._begun.tree.root

    def _begin(self, goal: float, watch: Watch) -> _Begun | None:
        """Solve the relaxation for this goal; None where the watch says stop."""
        allowed = goal * (1 + 1e-9)
        bound = Bound(value=self.ascent.value, worth=self.ascent.worth)
        reduction = Reduction(self.program, what_can_matter(self.program, [bound], allowed))
        known = [found for pattern in self.ascent.patterns if (found := reduction.reduced(pattern))]
        guess = None if self._begun is None else self._begun.tree.root
        tree = Tree(
            reduction.program,
            bound,
            known,
            allowed,
            self.ascent.step,
            with_rows=True,
            larger_rows=False,
            guess=guess,
        )
        reached = tree.relax(watch)
        if watch.limit is not None:
            return None
        self.fits = reached and tree.with_rows
        return _Begun(goal=goal, reduction=reduction, tree=tree)

    def _rest(self, begun: _Begun, taken: list[Pattern], watch: Watch) -> list[Pattern] | None:
        """Whoever is not served yet, cheaply; None where nothing that reaches the goal is found."""
        tree, program, step = begun.tree, begun.reduction.program, self.ascent.step
        left = np.maximum(program.members - members_of(program, taken), 0)
        if not left.any() or watch.limit is not None:
            return None if left.any() else []
        part = Part(program, left)
        known, worth = part.inside(tree.patterns), tree.root.worth[part.classes]
        ascent = PackedAscent(part.program, Bound(value=0.0, worth=worth), known, step)
        if not ascent.run(watch, rounds=REST_ROUNDS):
            return None
        bound = Bound(value=ascent.value, worth=ascent.worth)
        most = (begun.goal - total_cost(taken)) * (1 + 1e-9)
        goals = Goals(part.program, bound, ascent, threads=1, seed=self.seed, quick=False)
        goal = round_up(ascent.value, step) if step > 0 else most
        if goal > most:
            return None
        if most <= goal + (GOALS - 1) * step:
            while goal <= most and watch.limit is None:
                verdict = goals.reach(goal, EFFORT, watch)
                if verdict.answer is not None:
                    return part.outside(verdict.answer)
                if not verdict.proven:
                    break
                goal = goal + step if step > 0 else math.inf
            else:
                return None
        found = self._rounded(part.program, bound, ascent.patterns, most, watch)
        return found and part.outside(found)

    def _rounded(
        self, program: Facilities, bound: Bound, patterns: list[Pattern], most: float, watch: Watch
    ) -> list[Pattern] | None:
        """The best of some answers of at most `most`, rounded to the end; None where there is none."""
        tree = Tree(program, bound, patterns, most, self.ascent.step, with_rows=True, larger_rows=False)
        if not tree.relax(watch):
            return None
        best = None
        for _ in range(TRIES):
            found = settle(program, tree.rounded(1.0, self._rng, watch))
            if watch.limit is not None:
                break
            if total_cost(found) <= most:
                best, most = found, below(total_cost(found), self.ascent.step) * (1 + 1e-9)
        return best
