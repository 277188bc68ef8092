"""Groups that hold whole fragments: what is ruled out has no answer, at prices in units nothing is missed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from solver.facilities import Facilities, Group, everybody_alone
from solver.fractional_bound import fractional_bound
from solver.greedy import greedy
from solver.group_bound import GroupAscent
from solver.group_labels import GroupLabels
from solver.group_packing import GroupPacking
from solver.one_stage import solve_one_stage
from solver.outcome import Status, Watch
from solver.steps import round_up
from solver.whole_groups import WholeAscent, WholeGroups
from tests.solver.brute import best_one_stage
from tests.solver.programs import random_program
from tests.solver.test_groups import STEP, by_brute_force, in_a_row, one_group, optimum_of, some_program

UNIT = STEP / 4


@pytest.mark.parametrize("seed", range(40))
def test_what_a_group_earns_in_units_is_what_the_best_choice_earns(seed: int) -> None:
    program, worth = one_group(seed)
    program = replace(program, members=np.ones(len(program), dtype=np.intp))
    worth = np.round(worth / UNIT) * UNIT
    best, _ = by_brute_force(program, worth)
    labels = GroupLabels(program, 0)
    most, _ = labels.best(worth)
    packing = GroupPacking(program, 0, seed=0)
    for _ in range(2):  # the second time it knows how far to look
        bound, choice = packing.best_in_units(labels, worth, 0.0, most, 1e3, UNIT, Watch())
        assert best - 1e-9 <= bound <= best + UNIT / 2
        if best > UNIT / 2:
            assert choice is not None
            assert float(worth[choice.classes] @ choice.counts) - choice.cost == pytest.approx(best)
    # Asked for a part of it, it may prove less, and never too much.
    bound, _ = GroupPacking(program, 0, seed=0).best_in_units(labels, worth, 0.0, most, UNIT, UNIT, Watch())
    assert best - 1e-9 <= bound <= most + 1e-9


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kind", ["row", "any"])
@pytest.mark.parametrize("seed", range(10))
def test_only_goals_below_the_optimum_are_ruled_out(seed: int, kind: str, threads: int) -> None:
    program, optimum = some_program(seed, 1, kind), optimum_of(seed, 1, kind)
    whole = WholeGroups(program, STEP, seed=0, threads=threads)
    bounds = [fractional_bound(program, greedy(program, Watch()), Watch())]
    goal = STEP
    while whole.rule_out(goal, bounds, Watch()):
        goal += STEP
    assert goal <= optimum * (1 + 1e-9)
    assert goal >= round_up(bounds[0].value, STEP)
    if kind == "row":
        assert goal == pytest.approx(optimum)
    # Asked again, it says the same.
    assert not whole.rule_out(goal, bounds, Watch())


def test_a_goal_is_ruled_out_where_labels_would_cut_a_fragment() -> None:
    # An instance of each has room for both fragments, but for one of them in two parts: 18. Whole, 20.
    group = Group(
        price=np.array([10.0, 8.0]),
        capacity=np.array([3.0, 2.0]),
        classes=np.arange(2),
        joining=np.zeros((2, 2)),
    )
    program = Facilities(
        load=np.full(2, 2.5), members=np.ones(2, dtype=np.intp), alone=np.full(2, 40.0), groups=(group,)
    )
    assert best_one_stage(program) == 20.0
    loose = fractional_bound(program, greedy(program, Watch()), Watch())
    labels = GroupAscent(program, (np.ones((2, 2), dtype=bool),), loose, [], 18.0, 2.0)
    assert labels.run(Watch(), rounds=100)
    assert not labels.done
    whole = WholeGroups(program, 2.0, seed=0, threads=1)
    assert whole.rule_out(18.0, [loose], Watch())
    assert not whole.rule_out(20.0, [loose], Watch())


@pytest.mark.parametrize("seed", range(20))
def test_prices_that_are_no_multiples_of_the_unit_are_not_taken_for_some(seed: int) -> None:
    program, worth = one_group(seed)
    best, _ = by_brute_force(program, worth)
    labels = GroupLabels(program, 0)
    most, _ = labels.best(worth)
    packing = GroupPacking(program, 0, seed=0)
    bound, _ = packing.best_in_units(labels, worth, 0.0, most, 1e3, UNIT, Watch())
    assert best - 1e-6 <= bound <= most + 1e-6


def heavy_program(seed: int) -> tuple[WholeAscent, float]:
    program = everybody_alone(in_a_row(seed, classes=14, members=1, options=4))
    answer = solve_one_stage(program, watch=Watch(), seed=0)
    assert answer.outcome.status is Status.OPTIMAL
    optimum = answer.outcome.objective
    loose = fractional_bound(program, greedy(program, Watch()), Watch())
    able = tuple(np.isfinite(group.joining) for group in program.groups)
    return WholeAscent(program, able, loose, optimum, STEP, seed=0, threads=1), optimum


@pytest.mark.parametrize("seed", range(5))
def test_the_bound_rises_and_never_over_the_optimum(seed: int) -> None:
    ascent, optimum = heavy_program(seed)
    assert not ascent.run(Watch(), rounds=1)
    first = ascent.level
    while not ascent.run(Watch(), rounds=1):
        pass
    assert not ascent.done
    assert first < ascent.level <= optimum * (1 + 1e-9)


def test_it_stops_when_the_watch_says_so_and_goes_on_afterwards() -> None:
    ascent, _ = heavy_program(0)
    assert not ascent.run(Watch(should_stop=lambda: True), rounds=10)
    assert ascent.level == -np.inf
    ascent.run(Watch(), rounds=1)
    assert ascent.level > 0


def test_prices_without_a_step_and_many_facilities_are_not_for_it() -> None:
    program = random_program(0, classes=4, options=2)
    assert WholeGroups(program, STEP, seed=0, threads=1).fits
    assert not WholeGroups(program, 0.0, seed=0, threads=1).fits
    assert not WholeGroups(replace(program, groups=program.groups * 300), STEP, seed=0, threads=1).fits
