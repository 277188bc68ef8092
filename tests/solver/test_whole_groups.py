"""Groups that hold whole fragments: labels that know what is to spare where, and what bounds these give."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from solver import whole_groups, whole_kernel
from solver.facilities import Facilities, Floats, Group, everybody_alone, settle, total_cost
from solver.fractional_bound import Bound, fractional_bound
from solver.greedy import greedy
from solver.group_bound import GroupAscent
from solver.group_labels import GroupLabels
from solver.group_packing import GroupPacking
from solver.one_stage import solve_one_stage
from solver.outcome import Status, Watch
from solver.steps import round_up
from solver.whole_groups import WholeGroups
from solver.whole_kernel import MOST_SUMS, most_whole, sums_of, undominated, useful
from tests.solver.brute import best_one_stage
from tests.solver.programs import random_program
from tests.solver.test_groups import STEP, by_brute_force, in_a_row, one_group, optimum_of, some_program

LIMITS = {"begin": 0.5, "grow": 0.5, "work": 10_000}


@pytest.mark.parametrize("seed", range(60))
def test_a_group_earns_what_the_best_choice_of_whole_fragments_does(seed: int) -> None:
    program, worth = one_group(seed)
    best, _ = by_brute_force(program, worth)
    labels = GroupLabels(program, 0)
    most, _ = labels.best(worth)
    decided, bound, choice, served = labels.best_whole(worth, 0.0, most, 1e3, **LIMITS)
    assert decided
    assert bound >= best - 1e-9
    if choice is None:
        assert best <= 1e-6
        return
    counts = np.zeros(len(program))
    for facility, k, many in served:
        assert np.isfinite(program.groups[0].joining[facility, k])
        counts[k] += many
    assert counts[choice.classes].tolist() == choice.counts.tolist()
    # Who pays to join may be served twice.
    if (counts <= program.members).all():
        assert float(worth[choice.classes] @ choice.counts) - choice.cost == pytest.approx(bound)
        assert bound == pytest.approx(best)
        # What is served at each facility fits into its instances.
        load = np.zeros(len(choice.instances))
        for facility, k, many in served:
            load[facility] += many * program.load[k]
        assert (load <= choice.instances * program.groups[0].capacity * (1 + 1e-8)).all()
    # What is known is not found again, and what is looked at in part only is not claimed for the rest.
    assert labels.best_whole(worth, bound + 1.0, most, 1e3, **LIMITS)[:3] == (True, bound + 1.0, None)
    for need in (0.1, 0.7, 3.0):
        _, near, found, _ = labels.best_whole(worth, 0.0, most, need, **LIMITS)
        assert best - 1e-9 <= near <= most + 1e-9
        assert near == pytest.approx(bound) or (found is None and near >= most - need - 1e-9)


@pytest.mark.parametrize("work", [1, 3, 10, 30, 100])
@pytest.mark.parametrize("seed", range(10))
def test_what_takes_too_long_is_not_decided_and_nothing_too_low_is_said(seed: int, work: int) -> None:
    program = replace(in_a_row(seed, classes=12, members=1, options=4, groups=1), alone=np.full(12, 60.0))
    worth = np.random.default_rng(seed).uniform(5, 40, 12)
    labels = GroupLabels(program, 0)
    most, _ = labels.best(worth)
    limits = {"begin": 1.0, "grow": 1.0}
    _, exact, _, _ = labels.best_whole(worth, 0.0, most, 1e3, work=1_000_000, **limits)
    decided, bound, _, _ = labels.best_whole(worth, 0.0, most, 1e3, work=work, **limits)
    assert exact - 1e-9 <= bound <= most + 1e-9
    if decided:
        assert bound == pytest.approx(exact)
    assert not labels.best_whole(worth, -1.0, most, 1e3, work=0, **limits)[0]


@pytest.mark.parametrize("seed", range(10))
def test_compiled_and_interpreted_labels_say_the_same(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    program, worth = one_group(seed)
    _, row = GroupLabels(program, 0)._at(worth)
    given = (row, 0.0, 30.0, 1e3, 1.0, 2.0, 1_000, 10_000)
    compiled = most_whole(*given)
    for name in ("ahead_of", "sums_of", "search_over", "served_by"):
        # Lists of arrays are not handed from Python to machine code.
        monkeypatch.setattr(whole_kernel, name, getattr(whole_kernel, name).py_func)
    for one, other in zip(compiled, most_whole.py_func(*given), strict=True):  # type: ignore[attr-defined]
        assert np.array_equal(one, other)


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("seed", range(10))
def test_of_what_is_to_spare_the_largest_sum_of_loads_can_be_used(seed: int, members: int) -> None:
    rng = np.random.default_rng(seed)
    program = in_a_row(seed, classes=4, members=members, groups=1)
    _, row = GroupLabels(program, 0)._at(np.full(4, 1e3))
    found = sums_of(row)
    for first in range(len(row.load) + 1):
        reached = {0.0}
        for item in range(first, len(row.load)):
            for _ in range(int(row.members[item])):
                reached |= {value + float(row.load[item]) for value in reached}
        for spare in rng.uniform(0, 1.2 * max(reached) + 1, 20).tolist():
            assert useful(found[first], spare) == pytest.approx(max(v for v in reached if v <= spare))


def test_of_very_many_sums_only_the_least_are_looked_at() -> None:
    program = in_a_row(0, classes=14, members=1, groups=1, options=4)
    _, row = GroupLabels(program, 0)._at(np.full(14, 1e3))
    sums = sums_of(row)[0]
    assert len(sums) == MOST_SUMS
    assert sums[-1] == np.inf
    assert (np.diff(sums[:-1]) > 0).all()
    # Above the last one that is known everything counts.
    assert useful(sums, sums[-2] + 0.5) == sums[-2] + 0.5
    assert useful(sums, sums[-2] * (1 - 1e-9)) <= sums[-2]


@pytest.mark.parametrize("seed", range(10))
def test_labels_that_are_dropped_are_worse_than_one_that_is_kept(seed: int) -> None:
    rng = np.random.default_rng(seed)
    earned = rng.integers(0, 4, 40).astype(np.float64)
    spare: Floats = -np.sort(-rng.integers(0, 4, (40, 3)).astype(np.float64), axis=1)
    kept = undominated(earned, spare)
    assert (np.diff(earned[kept]) <= 0).all()
    for label in set(range(40)) - set(kept.tolist()):
        as_good = (earned[kept] >= earned[label]) & (spare[kept] >= spare[label]).all(axis=1)
        assert as_good.any()
    if len(kept) < whole_kernel.COMPARED:
        for label in kept.tolist():
            others = kept[kept != label]
            assert not ((earned[others] >= earned[label]) & (spare[others] >= spare[label]).all(axis=1)).any()


def bounds_on(program: Facilities) -> list[Bound]:
    return [fractional_bound(program, greedy(program, Watch()), Watch())]


@pytest.mark.parametrize("kind", ["row", "any"])
@pytest.mark.parametrize("seed", range(10))
def test_the_bound_rises_to_the_optimum_or_finds_it(seed: int, kind: str) -> None:
    program, optimum = some_program(seed, 1, kind), optimum_of(seed, 1, kind)
    whole, bounds = WholeGroups(program, STEP, seed=0), bounds_on(program)
    answer = greedy(program, Watch())
    lower = round_up(bounds[0].value, STEP)
    while lower < total_cost(answer) * (1 - 1e-9) and not whole.hopeless:
        better = total_cost(answer) - STEP
        before = lower
        lower, found = whole.rise(lower, better, answer, bounds, Watch(), turns=1)
        assert before <= lower <= optimum * (1 + 1e-9)
        if found is not None:
            assert total_cost(found) <= better * (1 + 1e-9)
            assert total_cost(settle(program, found)) == pytest.approx(total_cost(found))
            answer = found
    if not whole.hopeless:
        assert total_cost(answer) == pytest.approx(optimum)
        assert lower == pytest.approx(optimum)
    if kind == "row":
        assert not whole.hopeless


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
    (loose,) = bounds_on(program)
    labels = GroupAscent(program, (np.ones((2, 2), dtype=bool),), loose, [], 18.0, 2.0)
    assert labels.run(Watch(), rounds=100)
    assert not labels.done
    lower, _ = WholeGroups(program, 2.0, seed=0).rise(
        18.0, 38.0, greedy(program, Watch()), [loose], Watch(), turns=20
    )
    assert lower == 20.0


@pytest.mark.parametrize("seed", range(5))
def test_groups_that_hold_whole_fragments_say_more_than_labels_do(seed: int) -> None:
    program = everybody_alone(in_a_row(seed, classes=14, members=1, options=4))
    answer = solve_one_stage(program, watch=Watch(), seed=0)
    assert answer.outcome.status is Status.OPTIMAL
    optimum = answer.outcome.objective
    (loose,) = bounds_on(program)
    able = tuple(np.isfinite(group.joining) for group in program.groups)
    packings = {number: GroupPacking(program, number, seed=0) for number in range(len(program.groups))}
    labels = GroupAscent(program, able, loose, [], optimum, STEP)
    whole = GroupAscent(program, able, loose, [], optimum, STEP, packings=packings)
    for ascent in (labels, whole):
        while not ascent.run(Watch(), rounds=50):
            pass
    assert labels.level * (1 - 1e-3) <= whole.level <= optimum * (1 + 1e-9)


def test_it_stops_when_the_watch_says_so_and_goes_on_afterwards() -> None:
    program = everybody_alone(in_a_row(0, classes=14, members=1, options=4))
    whole, bounds, answer = WholeGroups(program, STEP, seed=0), bounds_on(program), greedy(program, Watch())
    lower, better = round_up(bounds[0].value, STEP), total_cost(answer) - STEP
    stopped = Watch(should_stop=lambda: True)
    assert whole.rise(lower, better, answer, bounds, stopped, turns=10) == (lower, None)
    after, found = whole.rise(lower, better, answer, bounds, Watch(), turns=50)
    assert after > lower or found is not None


def test_labels_come_first_some_rounds_a_turn_and_promise_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_groups, "LABEL_ROUNDS", 1)
    program = everybody_alone(in_a_row(0, classes=14, members=1, options=4))
    whole, bounds, answer = WholeGroups(program, STEP, seed=0), bounds_on(program), greedy(program, Watch())
    lower, better = round_up(bounds[0].value, STEP), total_cost(answer) - STEP
    turns, after, found = 0, lower, None
    while not whole.promises(0.0) and found is None:
        # Nothing is proven before, and it has to come to an end.
        assert (after, turns < whole_groups.ROUNDS + 2) == (lower, True)
        after, found = whole.rise(lower, better, answer, bounds, Watch(), turns=1)
        turns += 1
    assert turns > 1
    assert whole.promises(0.0)
    assert not whole.promises(better + STEP)


def test_prices_without_a_step_are_not_for_it() -> None:
    program = random_program(0, classes=4, options=2)
    assert not WholeGroups(program, STEP, seed=0).hopeless
    assert WholeGroups(program, 0.0, seed=0).hopeless
