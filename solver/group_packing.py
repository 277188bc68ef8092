"""A group of facilities of 5.2 exactly: every fragment whole at one facility of it, by CP-SAT.

The dynamic program of `solver.group_labels` pools capacity: a fragment may be cut among instances of unlike
facilities. Where what it chooses can be packed without that, it is exact; where not, this says what the group
earns at most, and what it does for that:

    max Σ_ke (π_k − a_ke) x_ke − Σ_e s_e n_e     s.t.  Σ_e x_ke ≤ m_k,   Σ_k q_k x_ke ≤ c_e n_e,   x ≤ m n

Such programs are small, since few pairs of facility and class are left when this is asked. CP-SAT knows whole
numbers alone: loads are rounded down, capacities and gains up, so what it says is earned at most holds. Where
all prices are multiples of one unit that is not too small, what is earned is as well, and it is decided up to
twenty times sooner.
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
from solver.group_labels import ALIKE, Choice, GroupLabels, TooManyLabelsError, choices_of
from solver.outcome import Watch

# Parts of a price and of the largest capacity in which is counted.
PRICE_PARTS, LOAD_PARTS = 1e6, 1e9
# What a price may be in such parts.
LARGEST = 1e13
# How hard CP-SAT may try to pack a choice, and to find the best one, in its own measure of work.
FIT_WORK, BEST_WORK = 0.3, 0.5
# Pairs with which nothing is looked for.
MOST_PAIRS = 1_000
# What a multiple of the unit may be off by, as a part of it.
OFF = 1e-7
# How near to what labels earn a choice is looked for first, as a part of what is needed, and how much
# farther then.
NEAR, FARTHER = 0.25, 2.0


# Instances, classes and how many of each, and the cost.
_Key = tuple[bytes, bytes, bytes, float]


def _key(choice: Choice) -> _Key:
    return (choice.instances.tobytes(), choice.classes.tobytes(), choice.counts.tobytes(), choice.cost)


def _parts(prices: Floats, others: Floats) -> float:
    """The parts of a price in which is counted: less of them where whole numbers would be too large."""
    largest = max(float(prices.max(initial=0.0)), float(np.abs(others).max(initial=0.0)))
    return min(PRICE_PARTS, LARGEST / largest) if largest > 0 else PRICE_PARTS


def _in_units(prices: Floats, unit: float) -> bool:
    """Whether all of these are multiples of the unit; of none is one where that is 0."""
    return unit > 0 and bool((np.abs(prices / unit - np.rint(prices / unit)) <= OFF).all())


class GroupPacking:
    """One group of a program. What could be packed, and how, is kept.

    Looking for the best choice may take so much `work`, and is not tried with more than `most_pairs`.
    """

    def __init__(
        self,
        program: Facilities,
        number: int,
        seed: int,
        *,
        work: float = BEST_WORK,
        most_pairs: int = MOST_PAIRS,
    ) -> None:
        self._program, self._number, self._seed, self._work = program, number, seed, work
        self._group = program.groups[number]
        self._finite = np.isfinite(self._group.joining)
        parts = LOAD_PARTS / float(self._group.capacity.max())
        self._load = np.floor(program.load[self._group.classes] * parts).astype(np.int64).tolist()
        self._room = np.ceil(self._group.capacity * (1 + 2 * EPSILON) * parts).astype(np.int64).tolist()
        # Pairs with which nothing was found in vain, and nothing proven.
        self._too_many = most_pairs
        # How far below what labels say it was last, and whether that was not decided once.
        self._below, self._hard = 0.0, False
        self._packed: dict[_Key, list[Pattern] | None] = {}

    def known(self, choice: Choice) -> bool:
        """Whether the choice was packed already."""
        return bool(self._packed.get(_key(choice)))

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
        `need`. The nearer to `most`, the fewer pairs of facility and class can be in such a choice; so it is
        looked for near it first.
        """
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

    def best_in_units(
        self,
        labels: GroupLabels,
        worth: Floats,
        known: float,
        most: float,
        need: float,
        unit: float,
        watch: Watch,
    ) -> tuple[float, Choice | None]:
        """The same where all prices are multiples of `unit`, `worth` among them.

        It is looked for as far below `most` as it was found last; the first time a unit below, then twice as
        far and so on. Where that is not decided, a unit at a time.
        """
        bound, less = most, self._below + unit
        while watch.limit is None:
            floor = max(known, most - less)
            able = labels.losses(worth, most, most - floor) <= most - floor + labels.slack(worth, most)
            word, at_most, choice = "UNKNOWN", bound, None
            if int(able.sum()) < self._too_many:
                word, at_most, choice = self._search(worth, able, floor, most, watch, unit=unit)
            bound = min(bound, at_most)
            decided = word in ("OPTIMAL", "INFEASIBLE")
            if decided or self._below > most - bound:
                self._below = most - bound
            if word in ("OPTIMAL", "FEASIBLE"):
                return bound, choice
            if decided and (floor <= known or most - bound >= need):
                break
            nearest = most - bound + unit
            if not decided and less <= nearest * (1 + ALIKE):
                break
            self._hard |= not decided
            less = nearest if self._hard else FARTHER * less
        return bound, None

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
        unit: float = 0.0,
    ) -> tuple[str, float, Choice | None]:
        """The best choice among these pairs that earns over `floor`, and what any of them earns at most.

        Word `INFEASIBLE`: none earns over `floor`.

        It serves at most `members` of each class of the group, everybody where that is None.
        """
        group, pays = self._group, worth[self._group.classes] - self._group.joining
        pairs = np.argwhere(able & self._finite & (pays > 0))
        model = cp_model.CpModel()
        members = self._program.members[group.classes] if members is None else members
        # Of all, also of those not looked at: what these earn is rounded to a multiple as well.
        if not (_in_units(pays[self._finite & (pays > 0)], unit) and _in_units(group.price, unit)):
            unit = 0.0
        parts = 1 / unit if unit else _parts(group.price, pays[np.isfinite(pays)])
        total = float(self._program.load[group.classes] @ members)
        most_of = {e: int(np.ceil(total / group.capacity[e])) + 1 for e in np.unique(pairs[:, 0]).tolist()}
        instances = {e: model.new_int_var(0, number, "") for e, number in most_of.items()}
        served = self._served(model, pairs, members, instances)
        # Gains and prices are rounded up by less than a part each; or down, where they are multiples of it.
        rounded = int(members.sum()) + sum(most_of.values())
        off, together = (OFF, OFF * rounded) if unit else (0.0, 0.0)
        gains = [int(np.ceil(pays[pair] * parts - off)) for pair in served]
        costs = [-int(np.floor(group.price[e] * parts + off)) for e in instances]
        earned = cp_model.LinearExpr.weighted_sum([*served.values(), *instances.values()], [*gains, *costs])
        least = int(np.floor(floor * parts + together))
        model.add(earned > least)
        top = np.floor(most * parts + together) if unit else np.ceil(most * parts) + rounded
        model.add(earned <= int(top))
        model.maximize(earned)
        solver, word = cp_sat.search(model, watch, threads=1, seed=self._seed, relaxing=True, work=self._work)
        if word == "INFEASIBLE":
            return word, (least + together) * unit if unit else floor, None
        if word not in ("OPTIMAL", "FEASIBLE"):
            return word, most, None
        choice = self._choice(
            {pair: solver.value(number) for pair, number in served.items()},
            {e: solver.value(number) for e, number in instances.items()},
        )
        return word, min(most, (solver.best_objective_bound + together) / parts), choice

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
        ((_, choice),) = choices_of(self._program, patterns)
        self._packed[_key(choice)] = patterns
        return choice
