"""The relaxation of 5.2 over whole groups: each chooses its instances as a whole, and which fragments it serves.

A fragment rarely pays to join a group other than the one that begins where it starts. So groups are programs of
their own, nearly, and all that a relaxation over single facilities (`solver.packed_bound`) may mix is within
them: half an instance of this kind and half of that. With columns C that say all that group g does at once,

    min Σ cost_C λ_C + Σ_k w_k z_k   s.t.  Σ_C x_kC λ_C + z_k ≥ m_k,   Σ_{C of g} λ_C ≤ 1 for every group,   λ ≥ 0

only fragments that are served here half the time and there half the time are left to mix (Dantzig and Wolfe,
*Decomposition principle for linear programs*, 1960). At any prices π ≤ w

    Σ_k m_k π_k − Σ_g V_g(π)         V_g(π) what group g earns at most (`solver.group_labels`)

is a bound. An answer of at most G in which a group earns l less than it could costs l more than this bound: what
costs too much, facilities and pairs of facility and class, is in no such answer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from solver.covering import Covering
from solver.facilities import ALONE, Facilities, Floats, Indices, Pattern
from solver.fractional_bound import NEGLIGIBLE, Bound
from solver.group_labels import Choice, GroupLabels, TooManyLabels
from solver.outcome import Watch
from solver.steps import round_up

# How near the bound has to come to the relaxation's optimum, as a part of it.
CLOSE = 2e-5
# How far the prices tried are from the master's towards the best, and how much less every time they prove nothing.
SMOOTHINGS = (0.8, 0.5, 0.0)
# What can be left out is looked for again after so many rounds.
EVERY = 15

# A part this near to a whole number is one.
WHOLE = 1e-5

# Which pairs of facility and class can be in an answer, a table [E, K'] for each group.
Able = tuple[NDArray[np.bool_], ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Groups:
    """What is known of the groups: no answer of at most a goal uses pairs that are not `able`; `choices` are
    columns with their groups, `used` the facilities (group, facility) that the relaxation uses."""

    able: Able
    bound: Bound
    choices: list[tuple[int, Choice]]
    used: frozenset[tuple[int, int]]


class GroupAscent:
    """The column generation: no answer of at most `goal` costs less than `value`, which the prices `worth`
    prove, or uses a pair that is not `able`. `hopeless`: a group is too hard for labels."""

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
    ) -> None:
        self.program, self.able, self.goal, self.step = program, list(able), goal, step
        self.value, self.worth = bound.value, np.minimum(bound.worth, program.alone)
        self.hopeless = False
        self._groups = [number for number, pairs in enumerate(able) if pairs.any()]
        self._labels = {number: GroupLabels(program, number, able[number]) for number in self._groups}
        self._choices: dict[int, list[tuple[int, Choice]]] = {number: [] for number in self._groups}
        self._master = Covering(program.members)
        # Who may not stay alone still may, at a price that no answer that matters pays.
        self._alone = program.alone if lonely is None else np.where(lonely, program.alone, 2 * goal)
        for k, price in enumerate(self._alone.tolist()):
            self._master.add(price, [k], [1.0])
        self._columns = len(program)
        for row in range(len(self._groups)):
            self._master.add_row(np.zeros(self._columns), goal)
            self._master.set_limits(row, -math.inf, 1.0)
        for number, choice in choices:
            if number in self._choices and _possible(choice, self.able[number], program.groups[number].classes):
                self._add(number, choice)
        self._first, self._since = True, 0

    @property
    def lower_bound(self) -> float:
        """No answer costs less, whatever the goal."""
        return min(round_up(self.value, self.step), self.goal + self.step)

    def aim(self, goal: float) -> None:
        """From here on only answers of at most this matter."""
        self.goal = min(self.goal, goal)

    def run(self, watch: Watch, *, rounds: int) -> bool:
        """Raise the bound to the relaxation's optimum, or above the goal, or until the rounds or the watch are
        over; True when it is there."""
        try:
            return self._run(watch, rounds)
        except TooManyLabels:
            self.hopeless = True
            return False

    def _run(self, watch: Watch, rounds: int) -> bool:
        for _ in range(rounds):
            relaxed = self._master.relax()
            duals = dict(zip(self._groups, relaxed.duals.tolist(), strict=True))
            target = np.minimum(relaxed.worth, self._alone)
            found = False
            for smoothing in (1.0,) if self._first else SMOOTHINGS:
                probe = smoothing * self.worth + (1 - smoothing) * target
                found = self._price(probe, target, duals, watch) or self._first
                if found or watch.limit is not None:
                    break
            self._first = False
            watch.update(phase="choosing by starts", lower_bound=self.lower_bound)
            if watch.limit is not None:
                return False
            if not found or self.value >= relaxed.objective * (1 - CLOSE) or self.done:
                self.leave_out(watch)
                return True
            self._since += 1
            if self._since >= EVERY:
                self.leave_out(watch)
        return False

    @property
    def known(self) -> Groups:
        """What it knows."""
        return Groups(
            able=tuple(self.able),
            bound=Bound(value=self.value, worth=self.worth),
            choices=self.choices,
            used=frozenset(
                (number, facility)
                for _, number, choice in self.used()
                for facility in np.flatnonzero(choice.instances).tolist()
            ),
        )

    @property
    def choices(self) -> list[tuple[int, Choice]]:
        """The columns that are left, with their groups."""
        return [(number, choice) for number, choices in self._choices.items() for _, choice in choices]

    def used(self) -> list[tuple[float, int, Choice]]:
        """How much the relaxation uses each choice that it uses, and its group."""
        used = self._master.relax().used
        return [
            (float(used[column]), number, choice)
            for number, choices in self._choices.items()
            for column, choice in choices
            if used[column] > WHOLE
        ]

    def fractions(self) -> list[tuple[float, int, int, float]]:
        """(how far from whole, group, class, part) of the classes of one fragment that are served in parts, the
        farthest first; group −1 is alone."""
        parts: dict[tuple[int, int], float] = {}
        used = self._master.relax().used
        for k in np.flatnonzero(used[: len(self.program)] > WHOLE).tolist():
            parts[ALONE, k] = float(used[k])
        for times, number, choice in self.used():
            for k, count in zip(choice.classes.tolist(), choice.counts.tolist(), strict=True):
                parts[number, k] = parts.get((number, k), 0.0) + times * count
        found = [
            (min(part, 1 - part), number, k, part)
            for (number, k), part in parts.items()
            if WHOLE < part < 1 - WHOLE and self.program.members[k] == 1
        ]
        return sorted(found, key=lambda one: -one[0])

    @property
    def done(self) -> bool:
        """No answer costs at most the goal."""
        return round_up(self.value, self.step) > self.goal * (1 + 1e-9)

    def leave_out(self, watch: Watch) -> None:
        """Leave out the pairs that are in no answer of at most the goal."""
        self._since = 0
        total, losses = float(self.worth @ self.program.members), {}
        for number, labels in self._labels.items():
            try:
                losses[number] = labels.losses(self.worth, self.goal - self.value)
            except TooManyLabels:
                return  # the goal is too far away
            watch.update()
            if watch.limit is not None:
                return
        self.value = max(self.value, total - sum(loss.earned for loss in losses.values()))
        for number, loss in losses.items():
            able = self.able[number] & (loss.pairs <= (self.goal - self.value) * (1 + 1e-9) + 1e-9)
            if able.sum() < self.able[number].sum():
                self.able[number] = able
                self._labels[number] = GroupLabels(self.program, number, able)
                self._drop(number, able)

    def _drop(self, number: int, able: NDArray[np.bool_]) -> None:
        """Leave out the columns that are no choice any more."""
        classes = self.program.groups[number].classes
        kept = []
        for column, choice in self._choices[number]:
            if _possible(choice, able, classes):
                kept.append((column, choice))
            else:
                self._master.leave_out(column)
        self._choices[number] = kept

    def _price(self, probe: Floats, target: Floats, duals: dict[int, float], watch: Watch) -> bool:
        """What every group earns at most at `probe`; whether any choice pays at the master's prices."""
        value, found = float(probe @ self.program.members), False
        for number, labels in self._labels.items():
            known = max((_earned(choice, probe) for _, choice in self._choices[number]), default=0.0)
            earned, choice = labels.best(probe, max(0.0, known))
            value -= earned
            if choice is not None:
                self._add(number, choice)
                found |= _earned(choice, target) + duals[number] > NEGLIGIBLE * choice.cost
            watch.update()
            if watch.limit is not None:
                return found
        if value > self.value:
            self.value, self.worth = value, probe
        return found

    def _add(self, number: int, choice: Choice) -> None:
        row = np.zeros(len(self._groups))
        row[self._groups.index(number)] = 1.0
        self._master.add(choice.cost, choice.classes, choice.counts, row)
        self._choices[number].append((self._columns, choice))
        self._columns += 1


def _earned(choice: Choice, worth: Floats) -> float:
    return float(worth[choice.classes] @ choice.counts) - choice.cost


def _possible(choice: Choice, able: NDArray[np.bool_], classes: Indices) -> bool:
    """Whether its facilities and classes are among those that are able."""
    used = able[choice.instances > 0]
    position = np.searchsorted(classes, choice.classes)
    return bool(used.any(axis=1).all() and used[:, position].any(axis=0).all())


def choices_of(program: Facilities, answer: list[Pattern]) -> list[tuple[int, Choice]]:
    """What every group does in an answer."""
    found = []
    for number in sorted({pattern.group for pattern in answer} - {ALONE}):
        group = program.groups[number]
        mine = [pattern for pattern in answer if pattern.group == number]
        instances, counts = np.zeros(len(group), dtype=np.intp), np.zeros(len(program))
        for pattern in mine:
            instances[pattern.facility] += pattern.instances
            counts[list(pattern.classes)] += pattern.counts
        served = np.flatnonzero(counts)
        cost = sum(pattern.cost for pattern in mine)
        found.append(
            (number, Choice(cost=cost, instances=instances, classes=served, counts=counts[served]))
        )
    return found
