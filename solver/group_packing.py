"""A group of facilities of 5.2 exactly: every fragment whole at one facility of it.

The dynamic program of `solver.group_labels` pools capacity: a fragment may be cut among instances of unlike
facilities. What is earned at most without that,

    max Σ_ke (π_k − a_ke) x_ke − Σ_e s_e n_e     s.t.  Σ_e x_ke ≤ m_k,   Σ_k q_k x_ke ≤ c_e n_e,   x ≤ m n

and what has to be done for it, labels tell that know what is to spare at each place
(`solver.whole_kernel`). Where there are too many of these, or they serve somebody twice who pays to join,
CP-SAT decides it if few pairs of facility and class are left. It knows whole numbers alone: loads are rounded
down, capacities and gains up, so what it says is earned at most holds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from ortools.sat.python import cp_model

from solver import cp_sat
from solver.facilities import (
    EPSILON,
    Facilities,
    Floats,
    Indices,
    Pattern,
    alone_pattern,
    make_pattern,
    total_cost,
)
from solver.group_labels import Choice, GroupLabels, TooManyLabelsError, choices_of
from solver.outcome import Watch

# Parts of a price and of the largest capacity in which is counted.
PRICE_PARTS, LOAD_PARTS = 1e6, 1e9
# What a price may be in such parts.
LARGEST = 1e13
# How hard CP-SAT may try to pack a choice, and to find the best one, in its own measure of work.
FIT_WORK, BEST_WORK = 0.3, 0.5
# Pairs with which nothing is looked for.
MOST_PAIRS = 1_000
# How near to what labels earn a choice is looked for first, as a part of what is needed, and how much
# farther then.
NEAR, FARTHER = 0.25, 2.0
# The same for labels that know what is to spare at each place, as a part of the least price; and the part of
# it that is looked at above what was found last.
BEGIN, BEYOND = 0.1, 0.025
# Labels that may be looked at for that: half as many after each time that these were too few, at least.
MOST_WORK, LEAST_WORK = 400_000, 50_000


# Instances, classes and how many of each, and the cost.
_Key = tuple[bytes, bytes, bytes, float]


def _key(choice: Choice) -> _Key:
    return (choice.instances.tobytes(), choice.classes.tobytes(), choice.counts.tobytes(), choice.cost)


def _parts(prices: Floats, others: Floats) -> float:
    """The parts of a price in which is counted: less of them where whole numbers would be too large."""
    largest = max(float(prices.max(initial=0.0)), float(np.abs(others).max(initial=0.0)))
    return min(PRICE_PARTS, LARGEST / largest) if largest > 0 else PRICE_PARTS


class GroupPacking:
    """One group of a program. What could be packed, and how, is kept."""

    def __init__(self, program: Facilities, number: int, seed: int) -> None:
        self._program, self._number, self._seed = program, number, seed
        self._group = program.groups[number]
        self._finite = np.isfinite(self._group.joining)
        parts = LOAD_PARTS / float(self._group.capacity.max())
        self._load = np.floor(program.load[self._group.classes] * parts).astype(np.int64).tolist()
        self._room = np.ceil(self._group.capacity * (1 + 2 * EPSILON) * parts).astype(np.int64).tolist()
        # Pairs with which nothing was found in vain, and nothing proven.
        self._too_many = MOST_PAIRS
        # How far below what labels say it was last, and what may be done to find it.
        self._below, self._work = 0.0, MOST_WORK
        self._packed: dict[_Key, list[Pattern] | None] = {}

    def packed(self, choice: Choice, watch: Watch) -> list[Pattern] | None:
        """What the choice does, as patterns that cost no more; None where none are found."""
        key = _key(choice)
        if key not in self._packed:
            found = self._pack(choice, watch)
            if watch.limit is not None:
                return None
            self._packed[key] = found
        return self._packed[key]

    def best(
        self, labels: GroupLabels, worth: Floats, known: float, most: float, need: float, watch: Watch
    ) -> tuple[float, Choice | None]:
        """No more is earned than this, and a choice that earns it, or over `known`, where there is one.

        `most` is what `labels` say is earned at most. Nothing is looked for that earns less than that by
        `need`.
        """
        decided, most, choice = self._by_labels(labels, worth, known, most, need)
        if decided or watch.limit is not None:
            return most, choice
        return self._by_cp_sat(labels, worth, known, most, need, watch)

    def _by_labels(
        self, labels: GroupLabels, worth: Floats, known: float, most: float, need: float
    ) -> tuple[bool, float, Choice | None]:
        """Whether it is decided, and the same."""
        least = float(self._group.price.min())
        decided, bound, choice, served = labels.best_whole(
            worth,
            known,
            most,
            need,
            begin=max(BEGIN * least, self._below + BEYOND * least),
            grow=BEGIN * least,
            work=self._work,
        )
        if not decided:
            self._work = max(self._work // 2, LEAST_WORK)
            return False, bound, None
        self._work = min(2 * self._work, MOST_WORK)
        self._below = most - bound
        if choice is None:
            return True, bound, None
        if (choice.counts > self._program.members[choice.classes]).any():
            return False, bound, None  # labels may serve a class at several places
        counts: dict[int, dict[int, int]] = {}
        for e, k, many in served:
            at = counts.setdefault(e, {})
            at[k] = at.get(k, 0) + many
        packed = self._kept([make_pattern(self._program, self._number, e, counts[e]) for e in sorted(counts)])
        # Where nobody could join it says less than is paid.
        dearer = packed.cost > choice.cost * (1 + EPSILON) + EPSILON
        return (False, bound, None) if dearer else (True, bound, packed)

    def _by_cp_sat(
        self, labels: GroupLabels, worth: Floats, known: float, most: float, need: float, watch: Watch
    ) -> tuple[float, Choice | None]:
        """The same. The nearer to `most`, the fewer pairs of facility and class can be in such a choice; so
        it is looked for near it first."""
        less, bound = NEAR * need, most
        while True:
            floor = max(known, most - less)
            able = labels.losses(worth, most, most - floor) <= most - floor + labels.slack(worth, most)
            if int(able.sum()) >= self._too_many:
                return bound, None
            word, at_most, choice = self._search(worth, able, floor, most, watch)
            if word == "UNKNOWN" and watch.limit is None:
                self._too_many = min(self._too_many, int(able.sum()))
            if word != "INFEASIBLE":
                return min(bound, at_most), choice
            bound = min(bound, at_most)
            if floor <= known or less >= need:
                return bound, None
            less *= FARTHER

    def cheapest(
        self, served: Indices, able: NDArray[np.bool_], most: float, watch: Watch
    ) -> tuple[float, list[Pattern]] | None:
        """What serves so many of every class, [K], over these pairs, and its cost, of at most `most`.

        None where that was not found, which proves nothing; it may be that there is something cheaper.
        """
        members = served[self._group.classes]
        labels = GroupLabels(self._program, self._number, able & (members > 0))
        # What is earned is what is saved: whoever stays alone saves nothing.
        worth = self._program.alone
        alone = float(worth[self._group.classes] @ members)
        floor = max(0.0, alone - most * (1 + EPSILON))
        try:
            earned, _ = labels.best(worth)
            within = earned - floor + labels.slack(worth, earned)
            able = labels.losses(worth, earned, within) <= within
        except TooManyLabelsError:
            return None
        if int(able.sum()) > MOST_PAIRS or watch.limit is not None:
            return None
        _, _, choice = self._search(worth, able, floor, earned, watch, members)
        patterns: list[Pattern] = []
        left = members.astype(np.float64)
        if choice is not None:
            patterns += self._packed[_key(choice)] or ()
            left[np.searchsorted(self._group.classes, choice.classes)] -= choice.counts
        for k, many in zip(self._group.classes.tolist(), np.rint(left).astype(np.intp).tolist(), strict=True):
            patterns += many * [alone_pattern(self._program, k)]
        cost = total_cost(patterns)
        return (cost, patterns) if cost <= most * (1 + EPSILON) else None

    def _search(
        self,
        worth: Floats,
        able: NDArray[np.bool_],
        floor: float,
        most: float,
        watch: Watch,
        members: Indices | None = None,
    ) -> tuple[str, float, Choice | None]:
        """The best choice among these pairs that earns over `floor`, and what any of them earns at most.

        Word `INFEASIBLE`: none earns over `floor`.

        It serves at most `members` of each class of the group, everybody where that is None.
        """
        group, pays = self._group, worth[self._group.classes] - self._group.joining
        pairs = np.argwhere(able & self._finite & (pays > 0))
        model = cp_model.CpModel()
        members = self._program.members[group.classes] if members is None else members
        parts = _parts(group.price, pays[np.isfinite(pays)])
        total = float(self._program.load[group.classes] @ members)
        most_of = {e: int(np.ceil(total / group.capacity[e])) + 1 for e in np.unique(pairs[:, 0]).tolist()}
        instances = {e: model.new_int_var(0, number, "") for e, number in most_of.items()}
        served = self._served(model, pairs, members, instances)
        # Gains and prices are rounded up by less than a part each.
        rounded = int(members.sum()) + sum(most_of.values())
        gains = [int(np.ceil(pays[pair] * parts)) for pair in served]
        costs = [-int(np.floor(group.price[e] * parts)) for e in instances]
        earned = cp_model.LinearExpr.weighted_sum([*served.values(), *instances.values()], [*gains, *costs])
        model.add(earned > int(np.floor(floor * parts)))
        model.add(earned <= int(np.ceil(most * parts)) + rounded)
        model.maximize(earned)
        solver, word = cp_sat.search(model, watch, threads=1, seed=self._seed, relaxing=True, work=BEST_WORK)
        if word == "INFEASIBLE":
            return word, floor, None
        if word not in ("OPTIMAL", "FEASIBLE"):
            return word, most, None
        choice = self._choice(
            {pair: solver.value(number) for pair, number in served.items()},
            {e: solver.value(number) for e, number in instances.items()},
        )
        return word, min(most, solver.best_objective_bound / parts), choice

    def _served(
        self,
        model: cp_model.CpModel,
        pairs: NDArray[np.intp],
        members: NDArray[np.intp],
        instances: dict[int, cp_model.IntVar],
    ) -> dict[tuple[int, int], cp_model.IntVar]:
        """How many of which class at which facility, within its instances."""
        served: dict[tuple[int, int], cp_model.IntVar] = {}
        of_class: dict[int, list[cp_model.IntVar]] = {}
        of_facility: dict[int, list[int]] = {}
        for e, j in pairs.tolist():
            served[e, j] = model.new_int_var(0, int(members[j]), "")
            of_class.setdefault(j, []).append(served[e, j])
            of_facility.setdefault(e, []).append(j)
            model.add(served[e, j] <= int(members[j]) * instances[e])
        for j, numbers in of_class.items():
            model.add(cp_model.LinearExpr.sum(numbers) <= int(members[j]))
        for e, classes in of_facility.items():
            load = cp_model.LinearExpr.weighted_sum(
                [served[e, j] for j in classes], [self._load[j] for j in classes]
            )
            model.add(load <= self._room[e] * instances[e])
        return served

    def _pack(self, choice: Choice, watch: Watch) -> list[Pattern] | None:
        group, position = self._group, np.searchsorted(self._group.classes, choice.classes)
        if (choice.counts > self._program.members[choice.classes]).any():
            return None  # labels may serve a class at several places
        members = np.zeros(len(group.classes), dtype=np.intp)
        members[position] = np.rint(choice.counts).astype(np.intp)
        facilities = np.flatnonzero(choice.instances)
        able = np.zeros_like(self._finite)
        able[np.ix_(facilities, position)] = self._finite[np.ix_(facilities, position)]
        model = cp_model.CpModel()
        instances = {e: model.new_int_var(n, n, "") for e, n in enumerate(choice.instances.tolist()) if n}
        served = self._served(model, np.argwhere(able), members, instances)
        for j in position.tolist():
            everywhere = [number for (_, other), number in served.items() if other == j]
            model.add(cp_model.LinearExpr.sum(everywhere) == int(members[j]))
        parts = _parts(group.price, group.joining[self._finite])
        paid = choice.cost - float(group.price @ choice.instances)
        prices = [int(np.floor(group.joining[pair] * parts)) for pair in served]
        model.add(cp_model.LinearExpr.weighted_sum(list(served.values()), prices) <= int(paid * parts) + 1)
        solver, word = cp_sat.search(model, watch, threads=1, seed=self._seed, work=FIT_WORK)
        if word not in ("OPTIMAL", "FEASIBLE"):
            return None
        patterns = self._patterns({pair: solver.value(number) for pair, number in served.items()})
        cost = sum(pattern.cost for pattern in patterns)
        return patterns if cost <= choice.cost * (1 + EPSILON) + EPSILON else None

    def _patterns(self, served: dict[tuple[int, int], int]) -> list[Pattern]:
        counts: dict[int, dict[int, int]] = {}
        for (e, j), number in served.items():
            if number:
                counts.setdefault(e, {})[int(self._group.classes[j])] = number
        return [make_pattern(self._program, self._number, e, counts[e]) for e in sorted(counts)]

    def _choice(self, served: dict[tuple[int, int], int], bought: dict[int, int]) -> Choice | None:
        """What is served, as patterns, kept; None where nobody is, or rounding let in too many."""
        patterns = self._patterns(served)
        if not patterns or any(pattern.instances > bought[pattern.facility] for pattern in patterns):
            return None
        return self._kept(patterns)

    def _kept(self, patterns: list[Pattern]) -> Choice:
        """These patterns of the group as a choice; they are kept."""
        ((_, choice),) = choices_of(self._program, patterns)
        if np.isfinite(choice.cost):
            self._packed[_key(choice)] = patterns
        return choice
