"""The relaxation of 5.2 over groups: each chooses all its instances at once, and which fragments it serves.

A fragment rarely pays to join a group other than the one that begins where it starts. So groups are programs
of their own, nearly, and most of what a relaxation over single facilities (`solver.packed_bound`) mixes is in
one of them: half an instance of this kind and half of that. With columns C that say all that group g does,

    min Σ cost_C λ_C + Σ_k w_k z_k
    s.t. Σ_C x_kC λ_C + z_k ≥ m_k,   Σ_{C of g} λ_C ≤ 1 for every group,   λ, z ≥ 0

what is left to mix are fragments that are served here half the time and there half the time (Dantzig and
Wolfe, *Decomposition principle for linear programs*, 1960). At any prices π ≤ w

    L(π) = Σ_k m_k π_k − Σ_g V_g(π)        V_g(π) what group g earns at most (`solver.group_labels`)

is a bound. An answer in which a group earns l less than it could costs L + l at least: facilities and pairs
of facility and class for which that is more than the goal are in no answer that matters.

First L is raised by steps along its subgradient, as long as these go up (Polyak 1969): that takes some dozen
rounds, and leaves good columns behind. The master program over these does the rest, at prices between its own
and the best ones, nearer to these where its own are on their far side (Pessoa, Sadykov, Uchoa and Vanderbeck,
*Automation and combination of linear-programming based stabilization techniques in column generation*, 2018).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from solver.covering import Covering
from solver.facilities import ALONE, Facilities, Floats
from solver.fractional_bound import NEGLIGIBLE, Bound
from solver.group_labels import ALIKE, Choice, GroupLabels, TooManyLabelsError
from solver.group_packing import GroupPacking
from solver.outcome import Watch
from solver.steps import round_up

# Steps are halved after so many in vain, which bring less than this part of what is missing; the shortest.
PATIENCE, IN_VAIN, SHORTEST = 5, 1e-4, 0.1
# How near prices are to the best ones, and what they move by, towards the master's or the best.
SMOOTHING, LEAST, MOST, TOWARDS, BACK = 0.8, 0.3, 0.99, 0.1, 0.3
# How near the bound has to come to the relaxation's optimum, as a part of it.
CLOSE = 2e-5
# What can be left out is looked for again after so many rounds.
EVERY = 15
# What is a little above the goal, in steps of the price or as a part of it.
ABOVE = 1e-3
# A part this near to a whole number is one.
WHOLE = 1e-5

# Which pairs of facility and class can be in an answer, a table [E, K'] for each group.
Able = tuple[NDArray[np.bool_], ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Groups:
    """What is known of the groups: no answer of at most `goal` uses a pair that is not `able`.

    `choices` are columns with their groups; `used` the facilities (group, facility) of the relaxation.
    """

    goal: float
    able: Able
    bound: Bound
    choices: list[tuple[int, Choice]]
    used: set[tuple[int, int]]


class GroupAscent:
    """The ascent to it: no answer of at most `goal` costs less than `value`, or uses a pair not `able`.

    `worth` are the best prices, and `level` is L(π) there. `hopeless`: a group is too hard for labels.

    `packings` of all groups: they choose what can be packed alone, and `choices` have to be of that kind.

    `choices` are columns to begin with, `lonely` [K] says who may stay alone, `stride` how far steps go.
    """

    def __init__(
        self,
        program: Facilities,
        able: Able,
        bound: Bound,
        choices: list[tuple[int, Choice]],
        goal: float,
        step: float,
        *,
        lonely: NDArray[np.bool_] | None = None,
        stride: float = 1.0,
        packings: dict[int, GroupPacking] | None = None,
    ) -> None:
        self.program, self.able, self.goal, self.step = program, list(able), goal, step
        self.value, self.level = bound.value, -math.inf
        self._earned: dict[int, float] = {}
        self._chosen: dict[int, Choice] = {}
        self.worth = np.minimum(bound.worth, program.alone)
        self.hopeless = self.ended = False
        self._groups = [number for number, pairs in enumerate(able) if pairs.any()]
        self._labels = {number: GroupLabels(program, number, able[number]) for number in self._groups}
        self._packings = packings
        self._choices: dict[int, list[tuple[int, Choice]]] = {number: [] for number in self._groups}
        self._master = Covering(program.members)
        # Who may not stay alone still may, at a price that no answer that matters pays.
        self._lonely = np.ones(len(program), dtype=bool) if lonely is None else lonely
        self._alone = program.alone if lonely is None else np.where(lonely, program.alone, 2 * goal)
        for k, price in enumerate(self._alone.tolist()):
            self._master.add(price, [k], [1.0])
        self._columns = len(program)
        for row in range(len(self._groups)):
            self._master.add_row(np.zeros(self._columns), goal)
            self._master.set_limits(row, -math.inf, 1.0)
        for number, choice in choices:
            if number in self._choices and self._possible(number, choice):
                self._add(number, choice)
        self._at, self._stride, self._in_vain = self.worth, stride, 0
        self._smoothing, self._since = SMOOTHING, 0

    @property
    def lower_bound(self) -> float:
        """No answer costs less, whatever the goal."""
        return min(round_up(self.value, self.step), self.goal + self.step)

    @property
    def done(self) -> bool:
        """No answer costs at most the goal."""
        return round_up(self.value, self.step) > self.goal * (1 + 1e-9)

    @property
    def choices(self) -> list[tuple[int, Choice]]:
        """The columns that are left, with their groups."""
        return [(number, choice) for number, choices in self._choices.items() for _, choice in choices]

    @property
    def known(self) -> Groups:
        """What it knows."""
        used = {
            (number, facility)
            for _, number, choice in self.used()
            for facility in np.flatnonzero(choice.instances).tolist()
        }
        bound = Bound(value=self.value, worth=self.worth)
        return Groups(goal=self.goal, able=tuple(self.able), bound=bound, choices=self.choices, used=used)

    @property
    def _enough(self) -> float:
        """From here on no answer costs at most the goal."""
        return self.goal + self.step * ABOVE if self.step > 0 else self.goal * (1 + ABOVE)

    def used(self) -> list[tuple[float, int, Choice]]:
        """How much the relaxation uses each choice that it uses, and its group."""
        used = self._master.relax().used
        return [
            (float(used[column]), number, choice)
            for number, choices in self._choices.items()
            for column, choice in choices
            if used[column] > WHOLE
        ]

    def contested(self) -> list[tuple[int, int]]:
        """(group, class) of single fragments that several groups choose at the best prices."""
        by_class: dict[int, list[int]] = {}
        for number, choice in self._chosen.items():
            for k in choice.classes[self.program.members[choice.classes] == 1].tolist():
                by_class.setdefault(k, []).append(number)
        found = [(numbers[0], k) for k, numbers in by_class.items() if len(numbers) > 1]
        return sorted(found, key=lambda one: -self.worth[one[1]])

    def fractions(self) -> list[tuple[float, int, int, float]]:
        """(how far from whole, group, class, part) of single fragments that are served in parts, the farthest
        first; group −1 is alone."""
        alone = self._master.relax().used[: len(self.program)]
        parts = {(ALONE, k): float(alone[k]) for k in np.flatnonzero((alone > WHOLE) & self._lonely).tolist()}
        for times, number, choice in self.used():
            for k, count in zip(choice.classes.tolist(), choice.counts.tolist(), strict=True):
                parts[number, k] = parts.get((number, k), 0.0) + times * count
        found = [
            (min(part, 1 - part), number, k, part)
            for (number, k), part in parts.items()
            if WHOLE < part < 1 - WHOLE and self.program.members[k] == 1
        ]
        return sorted(found, key=lambda one: -one[0])

    def aim(self, goal: float) -> None:
        """From here on only answers of at most this matter."""
        self.ended = self.ended and goal >= self.goal
        self.goal = min(self.goal, goal)

    def run(self, watch: Watch, *, rounds: int) -> bool:
        """Raise the bound as far as it goes, or above the goal, or until the rounds or the watch are over.

        True where it went as far as it goes, in steps of the price.
        """
        try:
            for _ in range(rounds):
                if self.ended or watch.limit is not None:
                    break
                if self._stride >= SHORTEST:
                    self._step_up(watch)
                    ended = self.done
                else:
                    ended = not self._generate(watch)
                if ended and watch.limit is None:
                    if not self.done:
                        self.leave_out(watch)
                    self.ended = watch.limit is None
        except TooManyLabelsError:
            self.hopeless = True
        return self.ended

    def leave_out(self, watch: Watch) -> None:
        """Leave out the pairs that are in no answer of at most the goal."""
        if self._left_out(watch):
            self._value_at(self.worth, watch)  # less can be earned with less

    def _left_out(self, watch: Watch) -> bool:
        """The same, prices left as they are; False where nothing can be said."""
        # `level` is a sum of prices: its last digits are worth nothing.
        self._since, most = 0, self.goal - self.level + ALIKE * (1 + self.goal)
        if self.level == -math.inf:
            return False
        losses = {}
        for number, labels in self._labels.items():
            try:
                losses[number] = labels.losses(self.worth, self._earned[number], most)
            except TooManyLabelsError:
                return False  # the goal is too far away
            watch.update()
            if watch.limit is not None:
                return False
        for number, loss in losses.items():
            able = self.able[number] & (loss <= most)
            if able.sum() < self.able[number].sum():
                self.able[number] = able
                self._labels[number] = GroupLabels(self.program, number, able)
                self._drop(number)
        return True

    def _step_up(self, watch: Watch) -> None:
        """A step along the subgradient: what the choices at these prices leave unserved is worth more."""
        before = self.level
        value, lacking = self._value_at(self._at, watch)
        if watch.limit is not None:
            return
        if before == -math.inf or self.level > before + IN_VAIN * (self.goal - before):
            self._in_vain = 0
        else:
            self._in_vain += 1
        length = float(lacking @ lacking)
        if length == 0:
            self._stride = 0.0
        elif self._in_vain >= PATIENCE:
            self._stride, self._in_vain, self._at = self._stride / 2, 0, self.worth
        else:
            far = self._stride * max(0.0, self.goal + self.step - value) / length
            self._at = np.clip(self._at + far * lacking, 0.0, self._alone)

    def _generate(self, watch: Watch) -> bool:
        """A round of column generation; false where nothing is left that it could bring."""
        relaxed = self._master.relax()
        target = np.minimum(relaxed.worth, self._alone)
        duals = dict(zip(self._groups, relaxed.duals.tolist(), strict=True))
        smoothing, found = self._smoothing, False
        while not found and watch.limit is None:
            centre, first = self.worth, self._columns
            _, lacking = self._value_at(smoothing * centre + (1 - smoothing) * target, watch)
            found = any(
                column >= first and _earned(choice, target) + duals[number] > NEGLIGIBLE * choice.cost
                for number, choices in self._choices.items()
                for column, choice in choices[-1:]
            )
            if smoothing == 0.0:
                break
            if float(lacking @ (target - centre)) > 0:
                self._smoothing = max(LEAST, self._smoothing - TOWARDS)
            else:
                self._smoothing = min(MOST, self._smoothing + BACK * (1 - self._smoothing))
            smoothing = max(0.0, 1 - 2 * (1 - smoothing))
        self._since += 1
        if self._since >= EVERY and watch.limit is None:
            self.leave_out(watch)
        return found and not self.done and not self._as_high_as(relaxed.objective)

    def _as_high_as(self, optimum: float) -> bool:
        """The bound is near what the relaxation proves, or rounds up to the same price."""
        if self.value >= optimum * (1 - CLOSE):
            return True
        return self.step > 0 and round_up(self.value, self.step) >= round_up(optimum, self.step)

    def _value_at(self, worth: Floats, watch: Watch) -> tuple[float, Floats]:
        """The bound at these prices, and what the groups' choices there leave unserved, [K]."""
        value, lacking = float(worth @ self.program.members), self.program.members.astype(np.float64)
        earned_by: dict[int, float] = {}
        chosen: dict[int, Choice] = {}
        unpacked: list[tuple[int, float]] = []
        for number, labels in self._labels.items():
            earnings = [(_earned(choice, worth), choice) for _, choice in self._choices[number]]
            known, best = max(earnings, key=lambda one: one[0], default=(0.0, None))
            if known <= 0:
                known, best = 0.0, None
            earned, better = labels.best(worth, known)
            if better is None:
                better = best
            elif self._packings is not None:
                unpacked.append((number, known))
            else:
                self._add(number, better)
            value -= earned
            earned_by[number] = earned
            if better is not None:
                chosen[number] = better
            watch.update()
            if watch.limit is not None:
                return -math.inf, lacking
        for number, known in unpacked:
            # What labels say is earned, until that is enough for the goal.
            if self._enough - value <= 0 or watch.limit is not None:
                break
            assert self._packings is not None
            earned = earned_by[number]
            earned_by[number], better = self._packings[number].best(
                self._labels[number], worth, known, earned, self._enough - value, watch
            )
            value += earned - earned_by[number]
            if better is not None:
                chosen[number] = better
                self._add(number, better)
            watch.update()
        if watch.limit is not None:
            return -math.inf, lacking
        for choice in chosen.values():
            lacking[choice.classes] -= choice.counts
        if value > self.level:
            self.level, self.worth, self._earned, self._chosen = value, worth, earned_by, chosen
            self.value = max(self.value, value)
        return value, lacking

    def _add(self, number: int, choice: Choice) -> None:
        row = np.zeros(len(self._groups))
        row[self._groups.index(number)] = 1.0
        self._master.add(choice.cost, choice.classes, choice.counts, row)
        self._choices[number].append((self._columns, choice))
        self._columns += 1

    def _drop(self, number: int) -> None:
        """Leave out the group's columns that are none any more."""
        kept = []
        for column, choice in self._choices[number]:
            if self._possible(number, choice):
                kept.append((column, choice))
            else:
                self._master.leave_out(column)
        self._choices[number] = kept

    def _possible(self, number: int, choice: Choice) -> bool:
        """Whether its facilities and its classes are among those that are able."""
        used = self.able[number][choice.instances > 0]
        position = np.searchsorted(self.program.groups[number].classes, choice.classes)
        return bool(used.any(axis=1).all() and used[:, position].any(axis=0).all())


def _earned(choice: Choice, worth: Floats) -> float:
    return float(worth[choice.classes] @ choice.counts) - choice.cost
