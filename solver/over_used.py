"""Answers to 5.2 over those facilities alone that its relaxation uses.

Where prices are few and large (seven shares of a MIG-like grid) a relaxation uses so few facilities that
HiGHS decides what is best over them in seconds, and that is often the best there is. It proves nothing: the
best answer may use others.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from solver.compact import Kept, solve_compact, what_can_matter
from solver.facilities import ALONE, Facilities, Pattern, settle, total_cost
from solver.fractional_bound import Bound
from solver.outcome import Watch
from solver.packed_bound import PackedAscent

# Beyond so many pairs of facility and class HiGHS found nothing in a minute; and what it may do.
MOST_PAIRS, NODES, LOOKS = 3_000, 500, 600
# A facility of which less than this is used is rounding.
USED = 1e-6


def best_over_used(
    program: Facilities, ascent: PackedAscent, goal: float, watch: Watch, *, threads: int, seed: int
) -> list[Pattern] | None:
    """An answer of at most `goal` over the facilities that the ascent's relaxation uses; None where none is
    found, or where they leave too much to be searched."""
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
