"""One contract for every way to solve 5.2."""

from __future__ import annotations

import math
import re
import time
from dataclasses import replace
from pathlib import Path

import highspy
import numpy as np
import pulp
import pytest

from solver.backends import BACKENDS, Backend, capability_table
from solver.facilities import ALONE, Facilities, total_cost
from solver.one_stage import OneStageAnswer
from solver.outcome import Limit, Progress, Status, Watch
from solver.statuses import CP_SAT, HIGHS, PULP, status_of
from tests.solver.brute import best_one_stage
from tests.solver.programs import random_program

every_backend = pytest.mark.parametrize("backend", BACKENDS.values(), ids=BACKENDS)


@every_backend
@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("seed", range(6))
def test_all_find_what_trying_everything_finds(seed: int, members: int, backend: Backend) -> None:
    program = random_program(seed, classes=6 // members, members=members)
    best = best_one_stage(program)
    answer = backend(program, Watch(time_limit_s=30))
    assert total_cost(answer.patterns) == pytest.approx(best)
    assert answer.outcome.objective == pytest.approx(best)
    assert served(program, answer) == program.members.tolist()
    assert (answer.outcome.status is Status.OPTIMAL) is backend.proves
    assert answer.outcome.lower_bound <= best * (1 + 1e-9)


@every_backend
def test_those_that_report_do(backend: Backend) -> None:
    seen: list[Progress] = []
    backend(random_program(1, classes=8), Watch(time_limit_s=30, report=seen.append))
    assert seen[-1].objective > 0
    if backend.reports:
        assert len(seen) > 1


@every_backend
def test_the_same_seed_and_one_thread_give_the_same_answer(backend: Backend) -> None:
    program = random_program(3, classes=12, groups=4, options=4)
    first, second = (backend(program, Watch(time_limit_s=60), seed=5) for _ in range(2))
    assert backend.repeats
    assert first.patterns == second.patterns


@every_backend
def test_a_stop_before_the_start_still_gives_an_answer_that_serves_all(backend: Backend) -> None:
    program = random_program(2, classes=10)
    answer = backend(program, Watch(time_limit_s=30, should_stop=lambda: True))
    assert sum(sum(pattern.counts) for pattern in answer.patterns) == int(program.members.sum())


@every_backend
def test_a_cancelled_search_ends_and_keeps_an_answer(backend: Backend) -> None:
    """A program too large to be solved in time is begun, and then told to stop."""
    if not backend.cancels:
        pytest.skip("cannot be cancelled, as the table says")
    program = random_program(9, classes=150, groups=10, options=10)
    started = time.perf_counter()
    watch = Watch(time_limit_s=60, should_stop=lambda: time.perf_counter() - started > 1.0)
    answer = backend(program, watch)
    assert time.perf_counter() - started < 20
    assert served(program, answer) == program.members.tolist()
    assert answer.outcome.limit in (Limit.STOPPED, None)


@every_backend
def test_a_memory_limit_ends_the_search_with_an_answer(backend: Backend) -> None:
    if not backend.memory:
        pytest.skip("does not look at its memory, as the table says")
    program = random_program(9, classes=60, groups=6, options=6)
    answer = backend(program, Watch(time_limit_s=30, memory_limit_mb=1))
    assert answer.outcome.limit is Limit.MEMORY
    assert answer.outcome.status is Status.FEASIBLE
    assert served(program, answer) == program.members.tolist()


@every_backend
def test_where_somebody_can_be_served_in_no_way_it_says_who(backend: Backend) -> None:
    program = random_program(3, classes=5)
    alone = program.alone.copy()
    alone[2] = math.inf
    groups = tuple(
        replace(group, joining=np.where(group.classes == 2, math.inf, group.joining))
        for group in program.groups
    )
    answer = backend(replace(program, alone=alone, groups=groups), Watch(time_limit_s=30))
    assert answer.outcome.status is Status.INFEASIBLE
    assert answer.outcome.limit is None
    assert answer.outcome.detail.endswith("served: 2")
    assert answer.patterns == ()


@every_backend
@pytest.mark.parametrize("seed", range(4))
def test_who_cannot_stay_alone_joins_somebody_or_a_facility_of_their_own(seed: int, backend: Backend) -> None:
    program = random_program(seed, classes=5)
    reachable = {
        int(k)
        for group in program.groups
        for k in group.classes[np.isfinite(group.joining).any(axis=0)].tolist()
    }
    alone = program.alone.copy()
    alone[sorted(reachable)] = math.inf
    program = replace(program, alone=alone)
    answer = backend(program, Watch(time_limit_s=30))
    assert total_cost(answer.patterns) == pytest.approx(best_one_stage(program))
    assert not {pattern.classes[0] for pattern in answer.patterns if pattern.group == ALONE} & reachable


def test_a_code_that_no_table_has_is_unknown() -> None:
    for table in (HIGHS, CP_SAT, PULP):
        assert status_of(table, "kSomethingElse", has_answer=True) == (Status.UNKNOWN, None)


def test_the_tables_know_every_code_that_says_how_a_search_ended() -> None:
    """What is left out means an error, or that nothing was solved."""
    errors = {
        "kNotset", "kLoadError", "kModelError", "kPresolveError", "kSolveError", "kPostsolveError",
        "kUnbounded", "kUnboundedOrInfeasible", "kUnknown", "kHighsInterrupt",
    }  # fmt: skip
    assert set(highspy.HighsModelStatus.__members__) - errors <= set(HIGHS) | {"kMin", "kMax"}
    assert set(CP_SAT) == {"OPTIMAL", "FEASIBLE", "INFEASIBLE"}
    assert set(PULP) <= set(pulp.LpSolution.values())


def test_a_limit_leaves_a_status_that_depends_on_the_answer() -> None:
    assert status_of(HIGHS, "kTimeLimit", has_answer=True) == (Status.FEASIBLE, Limit.TIME)
    assert status_of(HIGHS, "kTimeLimit", has_answer=False) == (Status.UNKNOWN, Limit.TIME)
    assert status_of(HIGHS, "kInfeasible", has_answer=False) == (Status.INFEASIBLE, None)


def served(program: Facilities, answer: OneStageAnswer) -> list[int]:
    counts = [0] * len(program)
    for pattern in answer.patterns:
        for k, number in zip(pattern.classes, pattern.counts, strict=True):
            counts[k] += number
    return counts


def test_the_documentation_has_the_table() -> None:
    text = (Path(__file__).parents[2] / "docs" / "solver.md").read_text(encoding="utf-8")
    assert re.sub(r"\s+", " ", capability_table()) in re.sub(r"\s+", " ", text)
