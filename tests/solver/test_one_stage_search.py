"""Program 5.2: answers are complete and optimal, bounds hold, limits are kept."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest

from solver.compact import solve_compact, what_can_matter
from solver.facilities import Facilities, Pattern, all_alone, make_pattern, settle, total_cost
from solver.fractional_bound import fractional_bound
from solver.goals import Verdict
from solver.greedy import greedy
from solver.one_stage import EFFORT, _Search, solve_one_stage
from solver.outcome import Limit, Progress, Status, Watch
from solver.packed_bound import PackedAscent
from solver.steps import common_step
from tests.solver.brute import best_one_stage
from tests.solver.programs import random_program

# 62: what it takes to notice a facility ruled out by prices that only whole fragments justify.
SEEDS = (*range(25), 62)


def served(program: Facilities, answer: list[Pattern]) -> list[int]:
    counts = [0] * len(program)
    for pattern in answer:
        for k, n in zip(pattern.classes, pattern.counts, strict=True):
            counts[k] += n
    return counts


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("members", [1, 2])
def test_the_answer_is_what_trying_everything_finds(seed: int, members: int) -> None:
    program = random_program(seed, classes=6 // members, members=members)
    answer = solve_one_stage(program, watch=Watch(time_limit_s=30))
    best = best_one_stage(program)
    assert total_cost(answer.patterns) == pytest.approx(best)
    assert answer.outcome.status is Status.OPTIMAL
    assert answer.outcome.lower_bound == pytest.approx(best)
    assert served(program, list(answer.patterns)) == program.members.tolist()


@pytest.mark.parametrize("seed", SEEDS)
def test_no_answer_is_below_either_bound(seed: int) -> None:
    program = random_program(seed, classes=6)
    best = best_one_stage(program)
    watch = Watch()
    loose = fractional_bound(program, all_alone(program), watch)
    ascent = PackedAscent(program, loose, all_alone(program), common_step(program.prices))
    ascent.run(watch, rounds=1_000)
    assert loose.value <= best * (1 + 1e-9)
    assert ascent.value <= best * (1 + 1e-9)
    assert ascent.value >= loose.value


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_left_out_is_in_no_better_answer(seed: int) -> None:
    program = random_program(seed, classes=6)
    best = best_one_stage(program)
    bound = fractional_bound(program, all_alone(program), Watch())
    kept = what_can_matter(program, [bound], best)
    answer, lower = solve_compact(
        program, kept, start=all_alone(program), goal=best, watch=Watch(), threads=1, seed=0
    )
    assert answer is not None
    assert total_cost(settle(program, answer)) == pytest.approx(best)
    assert lower <= best * (1 + 1e-9)


def test_the_greedy_answer_serves_everybody() -> None:
    program = random_program(1, classes=40, groups=6, members=3)
    assert served(program, greedy(program, Watch())) == program.members.tolist()


def test_a_fragment_served_twice_is_served_once_after_settling() -> None:
    program = random_program(0, classes=4)
    answer = [*all_alone(program), *all_alone(program)]
    settled = settle(program, answer)
    assert served(program, settled) == [1, 1, 1, 1]
    assert total_cost(settled) <= total_cost(all_alone(program))


def test_a_pattern_buys_as_many_instances_as_its_load_needs() -> None:
    program = random_program(2, classes=5)
    group = program.groups[-1]
    for facility in range(len(group)):
        able = group.classes[np.isfinite(group.joining[facility])]
        pattern = make_pattern(program, len(program.groups) - 1, facility, {int(k): 1 for k in able})
        load = float(program.load[able].sum())
        assert (pattern.instances - 1) * group.capacity[facility] < max(load, 1e-9)
        assert pattern.instances * group.capacity[facility] >= load * (1 - 1e-9)


def test_a_time_limit_is_kept_and_the_answer_stays_complete() -> None:
    program = random_program(4, classes=300, groups=12, options=18)
    started = time.perf_counter()
    answer = solve_one_stage(program, watch=Watch(time_limit_s=1.0))
    assert time.perf_counter() - started < 4.0
    assert served(program, list(answer.patterns)) == program.members.tolist()
    assert answer.outcome.limit in (Limit.TIME, None)
    assert answer.outcome.lower_bound <= answer.outcome.objective


def test_a_stop_keeps_the_best_so_far() -> None:
    program = random_program(5, classes=60, groups=6, options=10)
    seen: list[Progress] = []
    watch = Watch(report=seen.append, should_stop=lambda: any(item.phase == "packing" for item in seen))
    answer = solve_one_stage(program, watch=watch)
    assert answer.outcome.limit in (Limit.STOPPED, None)
    assert served(program, list(answer.patterns)) == program.members.tolist()
    assert math.isfinite(answer.outcome.objective)


def test_a_gap_that_was_asked_for_ends_the_search() -> None:
    program = random_program(6, classes=30, groups=5, options=8)
    answer = solve_one_stage(program, watch=Watch(gap=0.5, time_limit_s=30))
    assert answer.outcome.gap <= 0.5
    assert answer.outcome.limit in (Limit.GAP, None)


def test_progress_only_gets_better() -> None:
    program = random_program(7, classes=40, groups=5, options=8)
    seen: list[Progress] = []
    solve_one_stage(program, watch=Watch(report=seen.append, time_limit_s=20))
    assert seen
    objectives = [item.objective for item in seen]
    bounds = [item.lower_bound for item in seen]
    assert objectives == sorted(objectives, reverse=True)
    assert bounds == sorted(bounds)
    assert all(item.lower_bound <= item.objective for item in seen)


def test_the_same_seed_and_one_thread_give_the_same_answer() -> None:
    program = random_program(8, classes=40, groups=5, options=8)
    answers = [solve_one_stage(program, watch=Watch(time_limit_s=60), threads=1, seed=3) for _ in range(2)]
    assert answers[0].patterns == answers[1].patterns


class _Deciding:
    """Goals of which every one up to `until` is ruled out, and HiGHS says no more of the first above."""

    sure = True

    def __init__(self, until: float) -> None:
        self.until, self.asked = until, list[float]()
        self.lower_bound = 0.0

    def reach(self, goal: float, *_: object) -> Verdict:
        self.asked.append(goal)
        return Verdict(proven=goal <= self.until)

    decide = reach


def test_where_goals_are_decided_the_next_is_farther_away_and_never_beyond_the_answer() -> None:
    program = random_program(3, classes=9)
    for until in (1e9, 37.0):
        search = _Search(program, Watch(), 1, 0, None)
        search.step = 5.0
        cost = total_cost(search.best)
        search.watch.update(objective=cost, lower_bound=5.0)
        goals = _Deciding(until)
        while search.watch.lower_bound < cost * (1 - 1e-9) and len(goals.asked) < 1_000:
            search._raise_bound(goals, EFFORT, search.watch)  # type: ignore[arg-type]
            if goals.asked[-1] > until:
                break
        assert goals.asked[:4] == [5.0, 15.0, 35.0, 55.0]
        assert max(goals.asked) <= cost - 5.0 + 1e-6
        if until < cost:
            # The bound is what was ruled out, and the next goal is near it again.
            assert search.watch.lower_bound == pytest.approx(40.0)
            search._raise_bound(goals, EFFORT, search.watch)  # type: ignore[arg-type]
            assert goals.asked[-1] == pytest.approx(40.0)


def test_without_a_step_goals_are_reached_for_and_not_only_decided() -> None:
    program = random_program(3, classes=9)
    search = _Search(program, Watch(), 1, 0, None)
    search.step = 0.0
    search.watch.update(objective=total_cost(search.best), lower_bound=5.0)
    goals = _Deciding(1e9)
    goals.decide = lambda *_: pytest.fail("there is nothing to be ahead of")  # type: ignore[method-assign]
    for _ in range(3):
        search._raise_bound(goals, EFFORT, search.watch)  # type: ignore[arg-type]
    assert len(goals.asked) == 3
