"""Answers over the facilities that a relaxation uses: they hold, and are the best there are over these."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from solver.facilities import ALONE, Facilities, Group, Pattern, all_alone, make_pattern, total_cost
from solver.one_stage import solve_one_stage
from solver.outcome import Watch
from solver.over_used import SWELLS, InstancesFirst, best_over_used
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


def best_of(program: Facilities) -> list[Pattern]:
    """An optimal answer."""
    return list(solve_one_stage(program, watch=Watch(time_limit_s=60), threads=1).patterns)


@pytest.mark.parametrize("seed", SEEDS)
def test_with_instances_first_answers_hold_and_are_cheaper(seed: int) -> None:
    program = random_program(seed, classes=8, options=5)
    _, ascent = ascent_of(program)
    answer, best = all_alone(program), total_cost(best_of(program))
    first = InstancesFirst(program, ascent, threads=1, seed=0)
    for _ in range(2 * len(SWELLS)):
        better = first.improve(answer, Watch())
        if better is None:
            continue
        assert served(program, better) == program.members.tolist()
        assert best - 1e-6 <= total_cost(better) < total_cost(answer)
        answer = better
    assert total_cost(answer) < total_cost(all_alone(program))


@pytest.mark.parametrize("seed", SEEDS)
def test_with_instances_first_nothing_is_found_below_the_optimum(seed: int) -> None:
    program = random_program(seed, classes=8, options=5)
    _, ascent = ascent_of(program)
    best, first = best_of(program), InstancesFirst(program, ascent, threads=1, seed=seed)
    assert all(first.improve(best, Watch()) is None for _ in range(len(SWELLS)))


def test_instances_first_fits_where_they_hold_many_fragments() -> None:
    program = random_program(1, classes=30, groups=1, members=2)
    _, ascent = ascent_of(program)
    first = InstancesFirst(program, ascent, threads=1, seed=0)
    assert not first.fits(all_alone(program))
    fragments = int(program.members.sum())
    group = program.groups[0]
    counts = {int(k): int(program.members[k]) for k in group.classes}
    pattern = replace(make_pattern(program, 0, 0, counts), instances=max(1, fragments // 8))
    assert first.fits([pattern])


def test_instances_first_leaves_large_programs_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    program = random_program(8, classes=40, groups=5, options=8)
    _, ascent = ascent_of(program)
    monkeypatch.setattr("solver.over_used.search_compact", lambda *_, **__: pytest.fail("it was tried"))
    monkeypatch.setattr("solver.over_used.MOST_CUT_PAIRS", 10)
    first = InstancesFirst(program, ascent, threads=1, seed=0)
    assert first.improve(all_alone(program), Watch()) is None
