"""Enumeration, pool and diving: nothing that matters is left out, and what is proven is so."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from solver.diving import dive
from solver.enumeration import enumerate_patterns
from solver.facilities import Facilities, Group, Pattern, all_alone, make_pattern, settle, total_cost
from solver.fractional_bound import Bound, fractional_bound
from solver.goals import LONG, QUICK, TRUSTED, Effort, Goals
from solver.neighbourhoods import Neighbourhoods
from solver.outcome import Watch
from solver.packed_bound import PackedAscent
from solver.pool import Pool
from solver.steps import common_step
from tests.solver.brute import best_one_stage
from tests.solver.programs import random_program

SEEDS = range(20)
BY_PATTERNS = Effort(branches=0, patterns=100_000, nodes=10_000, looks=10_000)
BY_BRANCHES = Effort(branches=10_000)


def ascent_of(program: Facilities) -> tuple[Bound, PackedAscent]:
    loose = fractional_bound(program, all_alone(program), Watch())
    ascent = PackedAscent(program, loose, all_alone(program), common_step(program.prices))
    ascent.run(Watch(), rounds=1_000)
    return loose, ascent


def served(program: Facilities, answer: list[Pattern]) -> list[int]:
    counts = [0] * len(program)
    for pattern in answer:
        for k, n in zip(pattern.classes, pattern.counts, strict=True):
            counts[k] += n
    return counts


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("seed", SEEDS)
def test_every_pattern_within_the_slack_is_enumerated(seed: int, members: int) -> None:
    program = random_program(seed, classes=6 // members, members=members)
    _, ascent = ascent_of(program)
    bound = Bound(value=ascent.value, worth=ascent.worth)
    goal = ascent.value + 20.0
    found = enumerate_patterns(program, bound, goal, 100_000)
    assert found is not None
    known = {}
    for number in range(len(found)):
        pattern = found.pattern(program, number)
        known[pattern.classes, pattern.counts] = float(found.cost[number])
        assert found.cost[number] == pytest.approx(pattern.cost)
    for counts in itertools.product(*(range(int(most) + 1) for most in program.members)):
        classes = tuple(k for k, number in enumerate(counts) if number)
        if not classes:
            continue
        taken = tuple(counts[k] for k in classes)
        cost = cheapest(program, dict(zip(classes, taken, strict=True)))
        reduced = cost - sum(n * float(bound.worth[k]) for k, n in zip(classes, taken, strict=True))
        assert reduced >= -1e-6 * goal
        if reduced <= goal - bound.value - 1e-3:
            assert known[classes, taken] == pytest.approx(cost)


def cheapest(program: Facilities, counts: dict[int, int]) -> float:
    """The least price of serving these together at one facility, or one of them alone."""
    best = math.inf
    if sum(counts.values()) == 1:
        best = float(program.alone[next(iter(counts))])
    for number, group in enumerate(program.groups):
        if set(counts) <= set(group.classes.tolist()):
            best = min(best, *(make_pattern(program, number, row, counts).cost for row in range(len(group))))
    return best


@pytest.mark.parametrize("with_rows", [True, False], ids=["rows", "no-rows"])
@pytest.mark.parametrize("effort", [BY_PATTERNS, BY_BRANCHES], ids=["patterns", "branches"])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_goal_is_reached_or_proven_out_of_reach(seed: int, effort: Effort, with_rows: bool) -> None:
    program = random_program(seed, classes=6)
    best = best_one_stage(program)
    loose, ascent = ascent_of(program)
    goals = Goals(program, loose, ascent, threads=1, seed=0, with_rows=with_rows)
    below = goals.reach(best - 1, effort, Watch())
    assert below.proven
    assert below.answer is None
    at = goals.reach(best, effort, Watch())
    assert at.answer is not None
    assert not at.proven
    assert total_cost(at.answer) == pytest.approx(best)
    assert served(program, at.answer) == program.members.tolist()


def test_without_effort_nothing_is_claimed_and_more_of_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("solver.goals.QUICK", Effort(branches=0))  # HiGHS decides so small a program at once
    program = next(found for seed in SEEDS if not decided_at_once(found := random_program(seed, classes=9)))
    loose, ascent = ascent_of(program)
    goals = Goals(program, loose, ascent, threads=1, seed=0, with_rows=False)
    goal = total_cost(exact(program)) - 5.0
    first = goals.reach(goal, Effort(branches=1), Watch())
    assert first.answer is None
    assert not first.proven
    assert goals.reach(goal, Effort(branches=10_000), Watch()).proven


def decided_at_once(program: Facilities) -> bool:
    loose, ascent = ascent_of(program)
    goal = total_cost(exact(program)) - 5.0
    goals = Goals(program, loose, ascent, threads=1, seed=0, with_rows=False)
    return goals.reach(goal, Effort(branches=1), Watch()).proven


def test_highs_may_take_long_for_a_goal_after_it_decided_others(monkeypatch: pytest.MonkeyPatch) -> None:
    program = random_program(1, classes=9)
    loose, ascent = ascent_of(program)
    allowed: list[int] = []
    decides = True

    def solve(*_: object, nodes: int, **__: object) -> tuple[None, float]:
        allowed.append(nodes)
        return None, math.inf if decides else 0.0

    monkeypatch.setattr("solver.goals.solve_compact", solve)
    goals = Goals(program, loose, ascent, threads=1, seed=0)
    best = total_cost(all_alone(program))
    for number in range(TRUSTED + 1):
        assert goals.reach(best + 5.0 * number, Effort(branches=0), Watch()).proven
    assert allowed == [QUICK.nodes] * TRUSTED + [LONG.nodes]
    # Far from deciding one, it is trusted less again.
    decides = False
    for number in range(TRUSTED + 1, TRUSTED + 4):
        allowed.clear()
        goals.reach(best + 5.0 * number, Effort(branches=0), Watch())
    assert allowed[0] == QUICK.nodes


@pytest.mark.parametrize("seed", SEEDS)
def test_what_highs_proves_of_goals_undecided_is_a_bound_on_all_answers(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("solver.goals.LONG", Effort(branches=0, pairs=40_000, nodes=1, looks=10_000))
    program = random_program(seed, classes=9)
    loose, ascent = ascent_of(program)
    best = total_cost(exact(program))
    goals = Goals(program, loose, ascent, threads=1, seed=0)
    for ahead in (3, 2, 1, 0, -1, -2):
        goals.decide(best + 5.0 * ahead, Watch())
        assert 0 < goals.lower_bound <= best * (1 + 1e-9)


def test_nothing_is_known_of_dearer_answers_than_the_goal(monkeypatch: pytest.MonkeyPatch) -> None:
    program = random_program(1, classes=9)
    loose, ascent = ascent_of(program)
    goals = Goals(program, loose, ascent, threads=1, seed=0)
    best = total_cost(all_alone(program))
    for proven, known in ((best - 7.0, best - 7.0), (best + 50.0, best)):
        monkeypatch.setattr("solver.goals.solve_compact", lambda *_, bound=proven, **__: (None, bound))
        goals.decide(best, Watch())
        assert goals.lower_bound == pytest.approx(known, rel=1e-5)


@pytest.mark.parametrize("seed", range(8))
def test_cuts_leave_every_answer_of_whole_patterns(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no pattern few enough for a search at once, the pool is cut until it has to be."""
    monkeypatch.setattr("solver.pool.FEW", 0)
    program = random_program(seed, classes=9, groups=2, options=2)
    _, ascent = ascent_of(program)
    best = total_cost(exact(program))
    for goal, reachable in ((best, True), (best - 1, False)):
        patterns = enumerate_patterns(
            program, Bound(value=ascent.value, worth=ascent.worth), max(goal, ascent.value), 100_000
        )
        assert patterns is not None
        pool = Pool(program, patterns, goal * (1 + 1e-9))
        answer, proven = pool.solve(Watch(), threads=1, seed=0, nodes=10_000, looks=10_000)
        assert (answer is not None) is reachable
        assert proven is not reachable


def exact(program: Facilities) -> list[Pattern]:
    loose, ascent = ascent_of(program)
    goals = Goals(program, loose, ascent, threads=1, seed=0)
    goal = math.ceil(ascent.value / 5 - 1e-6) * 5.0
    while True:
        verdict = goals.reach(goal, BY_BRANCHES, Watch())
        if verdict.answer is not None:
            return verdict.answer
        assert verdict.proven
        goal += 5.0


@pytest.mark.parametrize("seed", range(10))
def test_a_dive_serves_everybody(seed: int) -> None:
    program = random_program(seed, classes=30, groups=5, options=6, members=2)
    _, ascent = ascent_of(program)
    answer = dive(program, ascent, Watch(), np.random.default_rng(seed))
    assert answer is not None
    assert served(program, answer) == program.members.tolist()
    assert total_cost(answer) >= ascent.value * (1 - 1e-9)


def test_a_stop_ends_a_dive() -> None:
    program = random_program(0, classes=10)
    _, ascent = ascent_of(program)
    assert dive(program, ascent, Watch(should_stop=lambda: True), np.random.default_rng(0)) is None


@pytest.mark.parametrize("seed", range(6))
def test_improving_never_makes_an_answer_dearer_and_keeps_it_whole(seed: int) -> None:
    program = random_program(seed, classes=25, groups=4, options=5)
    _, ascent = ascent_of(program)
    first = settle(program, all_alone(program))
    watch = Watch(time_limit_s=20)
    search = Neighbourhoods(program, ascent, watch, threads=1, seed=seed)
    answer = search.improve(first, 4)
    assert served(program, answer) == program.members.tolist()
    assert ascent.value * (1 - 1e-9) <= total_cost(answer) <= total_cost(first)


@pytest.mark.parametrize("seed", range(6))
def test_rounding_a_part_again_never_makes_an_answer_dearer_and_goes_sideways(seed: int) -> None:
    program = random_program(seed, classes=25, groups=4, options=5)
    _, ascent = ascent_of(program)
    answer = dive(program, ascent, Watch(), np.random.default_rng(seed))
    assert answer is not None
    search = Neighbourhoods(program, ascent, Watch(), threads=1, seed=seed)
    others = set()
    for _ in range(30):
        other = search.round_again(answer)
        assert served(program, other) == program.members.tolist()
        assert ascent.value * (1 - 1e-9) <= total_cost(other) <= total_cost(answer) * (1 + 1e-9)
        others.add(frozenset(other))
        answer = other
    assert len(others) > 1


def test_improving_goes_on_from_where_it_was() -> None:
    program = random_program(0, classes=25, groups=4, options=5)
    _, ascent = ascent_of(program)
    search = Neighbourhoods(program, ascent, Watch(), threads=1, seed=0)
    first = settle(program, all_alone(program))
    better = search.improve(first, 1)
    assert total_cost(better) < total_cost(first)
    assert total_cost(search.improve(first, 1)) <= total_cost(better)


def test_where_no_pattern_is_cheap_enough_the_goal_is_out_of_reach() -> None:
    program = random_program(0, classes=6)
    worthless = Bound(value=10.0, worth=np.zeros(6))
    patterns = enumerate_patterns(program, worthless, 11.0, 1000)
    assert patterns is not None
    assert len(patterns) == 0
    answer, proven = Pool(program, patterns, 11.0).solve(Watch(), threads=1, seed=0, nodes=10, looks=10)
    assert answer is None
    assert proven


def test_patterns_hold_nothing_of_those_that_are_served_already() -> None:
    """Also those of so many instances that they are not packed item by item."""
    group = Group(
        price=np.array([1.0]), capacity=np.array([1.0]), classes=np.arange(3), joining=np.zeros((1, 3))
    )
    program = Facilities(
        load=np.full(3, 30.0), members=np.ones(3, dtype=np.intp), alone=np.full(3, 100.0), groups=(group,)
    )
    ascent = PackedAscent(program, Bound(value=0.0, worth=np.zeros(3)), all_alone(program), 1.0)
    ascent.restrict(np.array([1, 0, 1]))
    # Prices at which those would pay, too, as a degenerate master may say.
    prices = np.full(3, 100.0)
    ascent._price(prices, prices, {}, {}, Watch(), everything=True)
    assert any(pattern.classes == (0, 2) for pattern in ascent.patterns)
    assert all(count > 0 for pattern in ascent.patterns for count in pattern.counts)
