"""Branch and price for 5.2: exact on small programs, whatever is in them twice, and sound when cut short."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from solver.branching import Tree
from solver.compact import what_can_matter
from solver.facilities import ALONE, Facilities, Pattern, all_alone, make_pattern, total_cost
from solver.fractional_bound import Bound, fractional_bound
from solver.outcome import Watch
from solver.packed_bound import PackedAscent
from solver.reduction import Reduction
from solver.sums import Limits, Sum, allowed_duals, at_prices
from tests.solver.brute import best_one_stage
from tests.solver.programs import random_program

STEP = 5.0


def bound_of(program: Facilities) -> tuple[Bound, list[Pattern]]:
    loose = fractional_bound(program, all_alone(program), Watch())
    ascent = PackedAscent(program, loose, all_alone(program), STEP)
    ascent.run(Watch(), rounds=1_000)
    return Bound(value=ascent.value, worth=ascent.worth), ascent.patterns


def with_twins(program: Facilities) -> Facilities:
    """Every facility twice, the second a little smaller at the same price: only single facilities differ."""
    return replace(
        program,
        groups=tuple(
            replace(
                group,
                price=np.concatenate([group.price, group.price]),
                capacity=np.concatenate([group.capacity, 0.8 * group.capacity]),
                joining=np.concatenate([group.joining, np.roll(group.joining, 1, axis=1)]),
            )
            for group in program.groups
        ),
    )


@pytest.mark.parametrize("with_rows", [False, True])
@pytest.mark.parametrize("twins", [False, True])
@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("seed", range(15))
def test_the_tree_finds_the_optimum_and_proves_there_is_nothing_below(
    seed: int, members: int, twins: bool, with_rows: bool
) -> None:
    program = random_program(seed, classes=6 // members, members=members)
    program = with_twins(program) if twins else program
    optimum = best_one_stage(program)
    bound, patterns = bound_of(program)
    below = Tree(program, bound, patterns, optimum - 1, STEP, with_rows=with_rows)
    assert below.search(10_000, Watch()) is None
    assert below.proven
    at = Tree(program, bound, patterns, optimum + 1, STEP, with_rows=with_rows, guess=below.root)
    answer = at.search(10_000, Watch())
    assert answer is not None
    assert total_cost(answer) == pytest.approx(optimum)
    assert not at.proven


@pytest.mark.parametrize("seed", range(10))
def test_what_is_left_out_is_in_no_answer_of_at_most_the_goal(seed: int) -> None:
    program = random_program(seed, classes=6)
    optimum = best_one_stage(program)
    bound, patterns = bound_of(program)
    reduction = Reduction(program, what_can_matter(program, [bound], optimum))
    known = [found for pattern in patterns if (found := reduction.reduced(pattern))]
    for pattern in known:
        assert reduction.whole(pattern).cost == pytest.approx(pattern.cost)
        assert reduction.reduced(reduction.whole(pattern)) == pattern
    tree = Tree(reduction.program, bound, known, optimum * (1 + 1e-9), STEP)
    answer = tree.search(10_000, Watch())
    assert answer is not None
    assert sum(reduction.whole(pattern).cost for pattern in answer) == pytest.approx(optimum)


def test_a_stopped_tree_claims_nothing_and_goes_on_later() -> None:
    program = random_program(3, classes=6)
    optimum = best_one_stage(program)
    bound, patterns = bound_of(program)
    tree = Tree(program, bound, patterns, optimum, STEP)
    assert tree.search(10, Watch(should_stop=lambda: True)) is None
    assert not tree.proven
    assert tree.search(10_000, Watch()) is not None


@pytest.mark.parametrize("seed", range(12))
def test_the_bound_at_limits_holds_for_every_answer_that_keeps_to_them(seed: int) -> None:
    """Every answer of a small program is written down; those within random limits cost at least the bound."""
    rng = np.random.default_rng(seed)
    program = random_program(seed, classes=4, groups=2, options=2)
    bound, patterns = bound_of(program)
    group = int(rng.integers(len(program.groups)))
    sums = [
        Sum(group=group),
        Sum(group=group, most_price=float(program.groups[group].price.min())),
        Sum(group=group, facility=0),
        Sum(group=group, member=int(program.groups[group].classes[0])),
    ]
    answers = list(every_answer(program))
    for sum_ in sums:
        for limits in ((-math.inf, 0.0), (1.0, math.inf), (-math.inf, 1.0), (2.0, math.inf)):
            ascent = PackedAscent(program, bound, patterns, STEP)
            ascent.enter({sum_: limits}, bound.value, bound.worth, {}, missing=1e4)
            ascent.run_to(5e3, 0.0, Watch())
            costs = [
                total_cost(answer)
                for answer in answers
                if limits[0] <= sum(sum_.of(program, pattern) for pattern in answer) <= limits[1]
            ]
            assert ascent.value <= min(costs, default=math.inf) * (1 + 1e-9)
            assert ascent.value >= bound.value * (1 - 1e-9)


def every_answer(program: Facilities) -> list[list[Pattern]]:
    """Every class at every facility or alone, with the instances that it takes."""
    places = [(ALONE, 0)] + [
        (number, facility) for number, group in enumerate(program.groups) for facility in range(len(group))
    ]
    answers = []
    for choice in itertools.product(places, repeat=len(program)):
        answer, able = [], True
        for place in set(choice):
            members = [k for k, chosen in enumerate(choice) if chosen == place]
            if place[0] == ALONE:
                answer += [pattern for pattern in all_alone(program) if pattern.classes[0] in members]
            elif not set(members) <= set(program.groups[place[0]].classes.tolist()):
                able = False
                break
            else:
                answer.append(make_pattern(program, *place, dict.fromkeys(members, 1)))
        if able and math.isfinite(total_cost(answer)):
            answers.append(answer)
    return answers


def test_duals_that_a_solver_overshot_are_lowered_until_no_price_is_below_zero() -> None:
    program = random_program(1, classes=5)
    price = float(program.groups[0].price.max())
    all_, small, member = Sum(group=0), Sum(group=0, most_price=price - 1), Sum(group=0, member=0)
    limits: Limits = {all_: (1.0, math.inf), small: (-math.inf, 2.0), member: (0.0, 1.0)}
    duals = allowed_duals(program, {all_: 2 * price, small: -1.0, member: 3.0}, limits)
    assert (at_prices(program, duals).groups[0].price >= 0).all()
    assert duals[small] == -1.0
    assert 0 < duals[all_] < 2 * price
    # A dual that belongs to a limit that is not there proves nothing.
    assert allowed_duals(program, {all_: -4.0, small: 4.0}, limits) == {}
