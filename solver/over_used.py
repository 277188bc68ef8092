"""Answers to 5.2 over few facilities, those that its relaxation uses among them. They prove nothing.

*What is best over them.* Where prices are few and large (seven shares of a MIG-like grid) a relaxation uses
so few facilities that HiGHS decides that in seconds, and it is often the best there is.

*Instances first.* Where an instance holds many fragments, which instances there are decides most, and cutting
fragments changes little: then few columns have to be whole. Fragments are counted a little larger than they
are, so that whole ones find room when they are shared out among these instances afterwards.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import highspy
import numpy as np
from scipy import sparse

from solver.compact import Kept, patterns_of, search_compact, solve_compact, what_can_matter
from solver.facilities import ALONE, Facilities, Indices, Pattern, settle, total_cost
from solver.fractional_bound import Bound
from solver.group_bound import Groups
from solver.highs import integer_search
from solver.outcome import Watch
from solver.packed_bound import PackedAscent
from solver.steps import below

# Beyond so many pairs of facility and class HiGHS found nothing in a minute; and what it may do.
MOST_PAIRS, NODES, LOOKS = 3_000, 500, 600
# The same where fragments may be cut, and when whole ones are shared out afterwards; and how near to the best
# each has to come.
MOST_CUT_PAIRS, CUT_NODES, CUT_LOOKS, SHARING_NODES, SHARING_LOOKS, NEAR = 20_000, 50, 400, 10, 100, 5e-3
# How much larger than they are fragments are counted, by turns; how many facilities are drawn; and how many
# fragments an instance has to hold on average.
SWELLS, OTHERS, MANY = (1.02, 1.0, 1.01), 15, 7.0
# What goals are raised by, that HiGHS does not miss an answer that costs just as much.
EPSILON = 1e-9
# A facility of which less than this is used is rounding.
USED = 1e-6


def best_over_used(
    program: Facilities, ascent: PackedAscent, goal: float, watch: Watch, *, threads: int, seed: int
) -> list[Pattern] | None:
    """An answer of at most `goal` over the facilities that the ascent's relaxation uses; None where none is
    found, or where they leave too much to be searched."""
    goal *= 1 + EPSILON
    kept = what_can_matter(program, [Bound(value=ascent.value, worth=ascent.worth)], goal)
    kept = _only(kept, _used(ascent))
    if not kept.facilities or len(kept.classes) > MOST_PAIRS:
        return None
    answer, _ = solve_compact(
        program,
        kept,
        goal=goal,
        watch=watch,
        threads=threads,
        seed=seed,
        nodes=NODES,
        looks=LOOKS,
    )
    answer = answer and settle(program, answer)
    return answer if answer is not None and total_cost(answer) <= goal else None


def holds_many(program: Facilities, answer: list[Pattern]) -> bool:
    """Whether an answer's instances hold so many fragments that cutting them changes little."""
    return float(program.members.sum()) >= MANY * sum(pattern.instances for pattern in answer)


class InstancesFirst:
    """Answers whose instances are chosen first, over the best answer's and the relaxation's facilities.

    After the first time others are drawn as well: of the ascent's patterns, by how many it has of each.
    """

    def __init__(self, program: Facilities, ascent: PackedAscent, *, threads: int, seed: int) -> None:
        self.program, self.ascent = program, ascent
        self.threads, self.seed = threads, seed
        self._rng = np.random.default_rng(seed)
        self._turn = 0

    def fits(self, answer: list[Pattern]) -> bool:
        """Whether this is a way to better answers than this one."""
        return holds_many(self.program, answer)

    def improve(
        self, answer: list[Pattern], watch: Watch, groups: Groups | None = None
    ) -> list[Pattern] | None:
        """A cheaper answer than `answer`, or None; `groups` says which facilities and pairs matter."""
        program, ascent = self.program, self.ascent
        swell = SWELLS[self._turn % len(SWELLS)]
        others = self._drawn() if self._turn else set()
        self._turn += 1
        goal = below(total_cost(answer), ascent.step) * (1 + EPSILON)
        bound = Bound(value=ascent.value, worth=ascent.worth)
        kept = what_can_matter(program, [bound], goal, None if groups is None else groups.able)
        used = _used(ascent) if groups is None else groups.used
        kept = _only(kept, used | {(pattern.group, pattern.facility) for pattern in answer} | others)
        if not kept.facilities or len(kept.classes) > MOST_CUT_PAIRS or watch.limit is not None:
            return None
        found = search_compact(
            replace(program, load=swell * program.load),
            kept,
            goal=goal,
            watch=watch,
            threads=self.threads,
            seed=self.seed,
            nodes=CUT_NODES,
            looks=CUT_LOOKS,
            gap=NEAR,
            cut=True,
        )
        if found.values is None or watch.limit is not None:
            return None
        instances = np.rint(found.values[: len(kept.facilities)]).astype(np.intp)
        better = shared_out(program, kept, instances, goal, watch, threads=self.threads, seed=self.seed)
        return better if better is not None and total_cost(better) <= goal else None

    def _drawn(self) -> set[tuple[int, int]]:
        known = Counter(
            (pattern.group, pattern.facility) for pattern in self.ascent.patterns if pattern.group != ALONE
        )
        facilities, weight = list(known), np.array(list(known.values()), dtype=np.float64)
        if not facilities:
            return set()
        many = min(OTHERS, len(facilities))
        drawn = self._rng.choice(len(facilities), many, replace=False, p=weight / weight.sum())
        return {facilities[number] for number in drawn.tolist()}


def shared_out(
    program: Facilities,
    kept: Kept,
    instances: Indices,
    goal: float,
    watch: Watch,
    *,
    threads: int,
    seed: int,
) -> list[Pattern] | None:
    """Whole fragments on these instances [facilities], as cheap as they can be, or nearly.

    None where they find no room for at most `goal`.
    """
    there = instances > 0
    bought = float(kept.prices(program) @ instances)
    room = (kept.capacities(program) * instances)[there]
    kept = _only(kept, {facility for facility, n in zip(kept.facilities, there, strict=True) if n})
    members, pairs, classes = program.members.astype(np.float64), len(kept.classes), len(program)
    rows = np.concatenate([kept.classes, np.arange(classes), classes + kept.facility_of])
    columns = np.concatenate([np.arange(pairs + classes), np.arange(pairs)])
    values = np.concatenate([np.ones(pairs + classes), program.load[kept.classes]])
    found = integer_search(
        cost=np.concatenate([kept.joining, program.alone]),
        upper=np.concatenate([members[kept.classes], np.where(kept.alone, members, 0.0)]),
        rows=sparse.csr_matrix(
            (values, (rows, columns)), shape=(classes + len(kept.facilities), pairs + classes)
        ),
        row_lower=np.concatenate([members, np.full(len(room), -highspy.kHighsInf)]),
        row_upper=np.concatenate([np.full(classes, highspy.kHighsInf), room]),
        integer=np.ones(pairs + classes, dtype=bool),
        start=None,
        cutoff=goal - bought,
        watch=watch,
        threads=threads,
        seed=seed,
        nodes=SHARING_NODES,
        looks=SHARING_LOOKS,
        gap=NEAR,
    )
    return None if found.values is None else settle(program, patterns_of(program, kept, found.values))


def _used(ascent: PackedAscent) -> set[tuple[int, int]]:
    used = np.flatnonzero(ascent.covering.relax().used > USED).tolist()
    patterns = (ascent.patterns[number] for number in used)
    return {(pattern.group, pattern.facility) for pattern in patterns if pattern.group != ALONE}


def _only(kept: Kept, facilities: set[tuple[int, int]]) -> Kept:
    """What is kept of these facilities."""
    stay = np.array([facility in facilities for facility in kept.facilities], dtype=bool)
    number = np.cumsum(stay) - 1
    pairs = stay[kept.facility_of]
    return replace(
        kept,
        facilities=[facility for facility in kept.facilities if facility in facilities],
        facility_of=number[kept.facility_of[pairs]],
        classes=kept.classes[pairs],
        joining=kept.joining[pairs],
    )
