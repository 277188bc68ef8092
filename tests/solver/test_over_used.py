"""Answers over the facilities that a relaxation uses: they hold, and are the best there are over these."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from solver.facilities import ALONE, Facilities, Group, total_cost
from solver.outcome import Watch
from solver.over_used import best_over_used
from solver.packed_bound import PackedAscent
from tests.solver.brute import best_one_stage
from tests.solver.programs import random_program
from tests.solver.test_goals import ascent_of, served

SEEDS = range(20)


def only_used(program: Facilities, ascent: PackedAscent) -> Facilities:
    """The program without the facilities that the relaxation leaves alone."""
    used = ascent.covering.relax().used
    rows: dict[int, set[int]] = {}
    for number in np.flatnonzero(used > 1e-6).tolist():
        pattern = ascent.patterns[number]
        if pattern.group != ALONE:
            rows.setdefault(pattern.group, set()).add(pattern.facility)
    groups = []
    for number, facilities in sorted(rows.items()):
        group, kept = program.groups[number], sorted(facilities)
        groups.append(
            Group(
                price=group.price[kept],
                capacity=group.capacity[kept],
                classes=group.classes,
                joining=group.joining[kept],
            )
        )
    return replace(program, groups=tuple(groups))


@pytest.mark.parametrize("seed", SEEDS)
def test_it_is_the_best_over_these_facilities(seed: int) -> None:
    program = random_program(seed, classes=6, options=5)
    _, ascent = ascent_of(program)
    over_used = best_one_stage(only_used(program, ascent))
    answer = best_over_used(program, ascent, over_used, Watch(), threads=1, seed=0)
    assert answer is not None
    assert served(program, answer) == program.members.tolist()
    # Whoever is served together may be served by yet another facility where that is cheaper.
    assert best_one_stage(program) <= total_cost(answer) <= over_used


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_out_of_reach_is_not_found(seed: int) -> None:
    program = random_program(seed, classes=6, options=5)
    _, ascent = ascent_of(program)
    goal = best_one_stage(program) - 5.0
    assert best_over_used(program, ascent, goal, Watch(), threads=1, seed=0) is None


def test_where_they_leave_too_much_nothing_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    program = random_program(8, classes=40, groups=5, options=8)
    _, ascent = ascent_of(program)
    monkeypatch.setattr("solver.over_used.solve_compact", lambda *_, **__: pytest.fail("it was tried"))
    monkeypatch.setattr("solver.over_used.MOST_PAIRS", 10)
    assert best_over_used(program, ascent, 1e6, Watch(), threads=1, seed=0) is None
