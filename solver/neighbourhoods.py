"""Better answers to 5.2 by solving small parts of it again.

A *part* is some patterns of the answer. The fragments they serve are a program of their own (`solver.parts`),
smaller and of the same kind, and prices π that prove a bound for all fragments prove Σ π_k over the part's
fragments for the part. So the *slack* of a pattern,

    cost_P − Σ_k π_k x_kP,

is the most that can be saved on it, and the sum over a part the most that a better choice can save there.

A part is solved exactly, which takes a second or more, or in some hundredths of one by rounding its
relaxation (`solver.diving`). Prices are few, so very many answers cost the same: one that costs as much as
the answer at hand takes its place, and what could not be made better there often can be elsewhere (Pisinger
and Ropke, *Large neighborhood search*, 2010).
"""

from __future__ import annotations

import math

import numpy as np

from solver.diving import dive
from solver.facilities import Facilities, Floats, Pattern, settle, total_cost
from solver.fractional_bound import Bound
from solver.goals import Effort, Goals
from solver.outcome import Watch
from solver.packed_bound import PackedAscent
from solver.parts import Part, members_of
from solver.steps import below, round_up

# Fragments of a part at first, and at least. Parts grow when they were decided and shrink when too hard.
FRAGMENTS, FEWEST = 40, 12
LARGER, SMALLER = 1.25, 0.8
# A part's slack, in price steps, at first and at most: where it is less there is rarely anything to gain.
GAIN, MOST_GAIN = 2.0, 4.0
# A part never is more than this of the whole: that would be the whole search again.
LARGEST = 0.6
# Rounds of a part's relaxation.
MOST_ROUNDS = 1_000
EFFORT = Effort(branches=25)
# What choosing among known patterns may do, and with how many times as many it is done again.
COMBINING, MORE_PATTERNS = Effort(branches=0, nodes=50, looks=50), 1.25
# Where an instance holds few fragments, choosing among all patterns of a part goes further; and dives do.
HEAVY_EFFORT = Effort(branches=0, patterns=20_000, pairs=1_500, nodes=100, looks=100)
DIVES = 2
# Fragments of a part that is rounded, one of these drawn each time; and so many parts before one is solved.
ROUNDED, ROUNDED_BEFORE = (25, 40, 60, 90, 120), 6


class Neighbourhoods:
    """A search among the neighbours of the best answer; `ascent` has prices, and patterns to begin with."""

    def __init__(
        self,
        program: Facilities,
        ascent: PackedAscent,
        watch: Watch,
        *,
        threads: int,
        seed: int,
        heavy: bool = False,
    ) -> None:
        self.program, self.ascent, self.watch, self.heavy = program, ascent, watch, heavy
        self.step = ascent.step
        self.threads, self.seed = threads, seed
        self._rng = np.random.default_rng(seed)
        self._size, self._gain = float(FRAGMENTS), GAIN
        self._here: list[Pattern] | None = None

    @property
    def worth(self) -> Floats:
        """The prices that prove the best bound so far."""
        return self.ascent.worth

    def improve(self, answer: list[Pattern], tries: int) -> list[Pattern]:
        """The best answer found from `answer`, never dearer; ends after so many failures in a row.

        Where `answer` is no cheaper than the last one returned, it goes on from that.
        """
        failed, here = 0, self._here
        if here is None or total_cost(answer) < total_cost(here):
            here = answer
        self.watch.update(phase="improving")
        while failed < tries and not self.watch.over:
            before = total_cost(here)
            for _ in range(ROUNDED_BEFORE):
                here = self.round_again(here)
            if not self.watch.over:
                here = self.solve_again(here, self._pick(here, self._size, self._gain)) or here
            failed = 0 if total_cost(here) < before else failed + 1
        self._here = here
        return here

    def round_again(self, answer: list[Pattern]) -> list[Pattern]:
        """An answer that is no dearer and may differ in a part that is drawn."""
        if self.watch.over:
            return answer
        taken = set(self._pick(answer, float(self._rng.choice(ROUNDED))))
        freed = [answer[number] for number in taken]
        part = Part(self.program, members_of(self.program, freed))
        known = part.inside([*freed, *self.ascent.patterns])
        ascent = PackedAscent(
            part.program, Bound(value=0.0, worth=self.worth[part.classes]), known, self.step
        )
        found = dive(part.program, ascent, _part_watch(self.watch), self._rng)
        self.watch.update()
        found = found and settle(part.program, found)
        if found is None or total_cost(found) > total_cost(freed) * (1 + 1e-9):
            return answer
        rest = [pattern for number, pattern in enumerate(answer) if number not in taken]
        other = settle(self.program, [*rest, *part.outside(found)])
        for pattern in other:
            self.ascent.add(pattern)
        self.watch.update(objective=total_cost(other))
        return other

    def solve_again(self, answer: list[Pattern], taken: list[int]) -> list[Pattern] | None:
        """A cheaper answer that differs in the patterns of these numbers alone; None when there is none."""
        freed = [answer[number] for number in taken]
        goal = below(total_cost(freed), self.step)
        part = Part(self.program, members_of(self.program, freed))
        value = float(self.worth[part.classes] @ part.program.members)
        if round_up(value, self.step) > goal * (1 + 1e-9):
            self._resize(LARGER)  # nothing to gain here
            return None
        known = part.inside([*freed, *self.ascent.patterns])
        bound = Bound(value=value, worth=self.worth[part.classes])
        found = self._solve_part(part.program, bound, known, goal)
        if found is None:
            return None
        rest = [pattern for number, pattern in enumerate(answer) if number not in taken]
        better = settle(self.program, [*rest, *part.outside(found)])
        self.watch.update(objective=total_cost(better))
        return better if total_cost(better) < total_cost(answer) else None

    def _solve_part(
        self, program: Facilities, bound: Bound, start: list[Pattern], most: float
    ) -> list[Pattern] | None:
        """An answer of at most `most`; `bound` is one on the part, `start` patterns to begin with."""
        private = _part_watch(self.watch)
        ascent = PackedAscent(program, bound, start, self.step)
        ascent.run(private, rounds=MOST_ROUNDS)
        if private.limit is not None:
            return None
        bound = Bound(value=ascent.value, worth=ascent.worth)
        if round_up(ascent.value, self.step) > most * (1 + 1e-9):
            self._resize(LARGER)  # proven: there is nothing better
            return None
        threads, seed = self.threads, self.seed
        goals = Goals(program, bound, ascent, threads=threads, seed=seed, quick=False, with_rows=False)
        return self._by_steps(goals, most, private) if self.heavy else self._search(goals, most, private)

    def _search(self, goals: Goals, most: float, private: Watch) -> list[Pattern] | None:
        """Cheaper and cheaper answers by branch and price; where it finds none, one of known patterns."""
        best = None
        while (verdict := goals.reach(most, EFFORT, private)).answer is not None:
            best = verdict.answer
            self.watch.update()
            most = below(total_cost(best), self.step)
        if best is None and verdict.proven:
            self._resize(LARGER)
        if best is not None or verdict.proven or private.limit is not None:
            return best
        self._resize(SMALLER)
        return goals.combine(most, COMBINING, private)

    def _by_steps(self, goals: Goals, most: float, private: Watch) -> list[Pattern] | None:
        """The part's optimum, its bound raised step by step; else what dives find."""
        goal = round_up(goals.ascent.value, self.step) if self.step > 0 else most
        while private.limit is None and goal <= most * (1 + 1e-9):
            verdict = goals.reach(goal, HEAVY_EFFORT, private)
            self.watch.update()
            if verdict.answer is not None:
                return verdict.answer
            if not verdict.proven:
                return self._dive(goals, most, private)
            goal = goal + self.step if self.step > 0 else math.inf
        self._resize(LARGER)
        return None

    def _dive(self, goals: Goals, most: float, private: Watch) -> list[Pattern] | None:
        """The best of some dives, and of the patterns that they found."""
        best = None
        for _ in range(DIVES):
            answer = dive(goals.program, goals.ascent, private, self._rng)
            self.watch.update()
            if answer is None:
                break
            if total_cost(answer) <= most * (1 + 1e-9):
                best, most = answer, below(total_cost(answer), self.step)
        better = goals.combine(most, HEAVY_EFFORT, private) if private.limit is None else None
        if better is None and best is None:
            self._resize(SMALLER)
        return better or best

    def _resize(self, factor: float) -> None:
        self._size = min(max(FEWEST, self._size * factor), LARGEST * float(self.program.members.sum()))
        self._gain = min(max(1.0, self._gain * factor), MOST_GAIN)

    def _pick(self, answer: list[Pattern], size: float, gain: float = 0.0) -> list[int]:
        """Numbers of patterns that serve about `size` fragments, more until their slack is `gain` steps.

        One is drawn by its slack. The others are near it (classes are sorted by start, so near classes can
        share), or have slack too, or are any: what is missing for a better answer may be anywhere.
        """
        rng = self._rng
        slack = np.array([_slack(pattern, self.worth) for pattern in answer])
        weight = np.maximum(slack, 0.0) + 1e-3 * (1 + abs(slack).max())
        centre = int(rng.choice(len(answer), p=weight / weight.sum()))
        way = int(rng.integers(3))
        if way == 0:
            middle = np.array([np.mean(pattern.classes) for pattern in answer])
            key = abs(middle - middle[centre]) * rng.uniform(0.3, 1.0, len(answer))
        else:
            key = rng.uniform(0.0, 1.0, len(answer)) / (weight if way == 1 else 1.0)
        key[centre] = -1.0
        largest = LARGEST * float(self.program.members.sum())
        part, served, slack_of_part = [], 0, 0.0
        for number in np.argsort(key).tolist():
            if served >= largest or (served >= size and (self.heavy or slack_of_part >= gain * self.step)):
                break
            part.append(number)
            served += sum(answer[number].counts)
            slack_of_part += float(slack[number])
        return sorted(part)


def _part_watch(watch: Watch) -> Watch:
    """A watch for a part: the same end, but bounds of its own."""
    return Watch(time_limit_s=watch.remaining_s, should_stop=lambda: watch.limit is not None)


def _slack(pattern: Pattern, worth: Floats) -> float:
    return pattern.cost - float(worth[list(pattern.classes)] @ np.array(pattern.counts, dtype=np.float64))
