"""Answers to 5.2 by rounding the relaxation over groups, where groups are nearly programs of their own.

That relaxation (`solver.group_bound`) chooses whole instances for every group, and is mostly within a step of
the price of the optimum; what it mixes are fragments that are served here half the time and there half the
time. Those that it serves mostly at one group are served there and nowhere else, all at once, and it is
solved again, some ten times, until every fragment has its group. A group's fragments are then put together
whole (`solver.group_packing`): as the relaxation chose where that can be, otherwise in what is cheapest.

Where groups hold whole fragments (`solver.whole_groups`) what they chose is whole already.

An instance that is full to the brim in the relaxation leaves whole fragments no room. So by turns fragments
are counted a little larger than they are, as in `solver.over_used`. This is the diving of branch and price
(Sadykov and others, *Primal heuristics for branch and price: the assets of diving methods*, 2019), over
assignments in place of columns.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from solver.facilities import Facilities, Floats, Pattern, settle, total_cost
from solver.fractional_bound import Bound
from solver.group_bound import GroupAscent, Groups
from solver.group_labels import Choice, choices_of
from solver.group_packing import GroupPacking
from solver.group_places import Places
from solver.outcome import Watch
from solver.steps import below, round_up

# Rounds of a relaxation, and where groups hold whole fragments, which takes longer; how far its first steps
# along the subgradient go, in the first relaxation and in those after it.
ROUNDS, WHOLE_ROUNDS, STRIDE, NEXT_STRIDE = 60, 30, 0.25, 0.12
# How much larger than they are fragments are counted, by turns.
SWELLS = (1.0, 1.003, 1.01)
# Answers so far above the bound are looked for, in steps of the price or as a part of it: the farther, the
# longer a dive takes. Where there is nothing to begin with, so many times as far.
AHEAD, AHEAD_PART, FARTHER = 4, 0.01, 4.0
# Who is served at a group for at least a part drawn between these is served there; where nobody is, so many
# of those that most is served of. Parts are taken for up to so much more than they are, drawn anew.
LEAST_PART, MOST_PART, SOME, SHAKEN = 0.6, 0.9, 0.5, 0.2
# How often a dive may find that what it decided last was wrong.
MISTAKES = 3
# A group that chooses one thing for nearly all of the time has chosen it.
CHOSEN = 1 - 1e-6


# A goal, and the goal and the bound that groups are known for: they may be told of again.
_For = tuple[float, float, float]


class GroupDives:
    """Such answers of one program, again and again; what is decided at once is drawn.

    With `whole` groups choose what can be packed alone, and what is known of them is of that kind, too.
    """

    def __init__(self, program: Facilities, step: float, *, seed: int, whole: bool = False) -> None:
        self.program, self.step, self.whole = program, step, whole
        # Who is whole needs no more room than there is.
        self._swells = SWELLS[:1] if whole else SWELLS
        self._rng = np.random.default_rng(seed)
        self._packings = {
            number: GroupPacking(program, number, seed) for number in range(len(program.groups))
        }
        # By swell, the relaxation that dives begin with, and what for.
        self._begun: dict[float, tuple[_For, GroupAscent]] = {}
        self._choices: list[tuple[int, Choice]] = []
        self._turn, self._ahead = 0, 1.0
        # What there is nothing to begin with for.
        self._given_up: _For | None = None

    def fits(self, answer: list[Pattern], groups: Groups) -> bool:
        """Whether there may be something to find that is cheaper than `answer`."""
        return self._given_up != _for(below(total_cost(answer), self.step), groups)

    def improve(self, answer: list[Pattern], groups: Groups, watch: Watch) -> list[Pattern] | None:
        """One dive: a cheaper answer than `answer`, or None. `groups` are of goals no lower than that."""
        least = goal = below(total_cost(answer), self.step)
        if self.step > 0:
            bound = round_up(groups.bound.value, self.step)
            ahead = self._ahead * max(AHEAD * self.step, AHEAD_PART * bound)
            goal = min(goal, round_up(bound + ahead, self.step))
        self._choices = self._choices or [*groups.choices, *choices_of(self.program, answer)]
        for _ in self._swells:
            swell = self._swells[self._turn % len(self._swells)]
            self._turn += 1
            ascent = self._begin(swell, goal, groups, watch)
            if watch.over:
                return None
            if not ascent.done and not ascent.hopeless:
                return self._dive(ascent, goal, watch)
        if goal < least:
            self._ahead *= FARTHER
        else:
            self._given_up = _for(least, groups)
        return None

    def _begin(self, swell: float, goal: float, groups: Groups, watch: Watch) -> GroupAscent:
        """The relaxation with fragments of so many times their load."""
        wanted = _for(goal, groups)
        known, ascent = self._begun.get(swell, (None, None))
        if ascent is None or known != wanted:
            program = replace(self.program, load=swell * self.program.load)
            places = Places(program=program, able=groups.able, lonely=np.ones(len(program), dtype=bool))
            # Where groups hold whole fragments prices are those of this relaxation, or of one much like it.
            stride = NEXT_STRIDE if self.whole else STRIDE
            ascent = self._relaxed(places, groups.bound, goal, watch, stride)
            if not watch.over:
                self._begun[swell] = wanted, ascent
        return ascent

    def _relaxed(
        self, places: Places, bound: Bound, goal: float, watch: Watch, stride: float = NEXT_STRIDE
    ) -> GroupAscent:
        allowed = goal * (1 + 1e-9)
        ascent = GroupAscent(
            places.program,
            places.able,
            bound,
            self._choices,
            allowed,
            self.step,
            lonely=places.lonely,
            stride=stride,
            packings=self._packings if self.whole else None,
        )
        ascent.run(watch, rounds=WHOLE_ROUNDS if self.whole else ROUNDS)
        if not ascent.done:
            self._choices = ascent.choices
        return ascent

    def _dive(self, ascent: GroupAscent, goal: float, watch: Watch) -> list[Pattern] | None:
        mistakes = 0
        lonely = np.ones(len(self.program), dtype=bool)
        places = Places(program=ascent.program, able=tuple(ascent.able), lonely=lonely)
        least = self._rng.uniform(LEAST_PART, MOST_PART)
        while decided := self._most_served(ascent, places, least):
            bound = Bound(value=ascent.value, worth=ascent.worth)
            while True:
                tried = places
                for group, k in decided:
                    tried = tried.at(group, k)
                below_it = self._relaxed(tried, bound, goal, watch)
                if watch.over or below_it.hopeless:
                    return None
                if not below_it.done:
                    break
                mistakes += 1
                if mistakes > MISTAKES or not decided:
                    return None
                if len(decided) == 1:
                    places = places.elsewhere(*decided[0])
                decided = decided[:1] if len(decided) > 1 else []
            ascent, places = below_it, replace(tried, able=tuple(below_it.able))
        return self._together(ascent, places, goal, watch)

    def _most_served(self, ascent: GroupAscent, places: Places, least: float) -> list[tuple[int, int]]:
        """(group, class) of those who are served in parts, and there for `least` or most."""
        most: dict[int, tuple[float, int]] = {}
        for _, group, k, part in ascent.fractions():
            if places.is_open(group, k):
                most[k] = max(most.get(k, (0.0, group)), (part, group))
        order = sorted(most, key=lambda k: -most[k][0] - self._rng.uniform(0.0, SHAKEN))
        mostly = [k for k in order if most[k][0] >= least]
        return [(most[k][1], k) for k in mostly or order[: max(1, round(SOME * len(order)))]]

    def _together(
        self, ascent: GroupAscent, places: Places, goal: float, watch: Watch
    ) -> list[Pattern] | None:
        """Every group's fragments, whole, in what the relaxation chose or in what is cheapest."""
        program = self.program
        answer: list[Pattern] = []
        served: Floats = np.zeros(len(program))
        left, dear = goal, []
        by_group: dict[int, list[tuple[float, Choice]]] = {}
        for times, number, choice in ascent.used():
            by_group.setdefault(number, []).append((times, choice))
        for number, chosen in by_group.items():
            here: Floats = np.zeros(len(program))
            for times, choice in chosen:
                here[choice.classes] += times * choice.counts
            mine = np.minimum(np.rint(here).astype(np.intp), program.members)
            served += mine
            cost = math.fsum(times * choice.cost for times, choice in chosen)
            left -= cost
            packed = self._packings[number].packed(chosen[0][1], watch) if chosen[0][0] > CHOSEN else None
            if packed is None:
                dear.append((number, mine, cost))
            else:
                answer += packed
        left -= float(program.alone @ np.maximum(program.members - served, 0))
        for number, mine, cost in dear:
            if left < 0 or watch.over:
                return None
            found = self._packings[number].cheapest(mine, places.able[number], cost + left, watch)
            if found is None:
                return None
            left -= found[0] - cost
            answer += found[1]
        answer = settle(program, answer)
        return answer if total_cost(answer) <= goal * (1 + 1e-9) else None


def _for(goal: float, groups: Groups) -> _For:
    return goal, groups.goal, groups.bound.value
