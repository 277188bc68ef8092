"""One contract for every way to solve 5.2."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from solver.backends import BACKENDS, Backend, capability_table
from solver.facilities import total_cost
from solver.outcome import Progress, Status, Watch
from tests.solver.brute import best_one_stage
from tests.solver.programs import random_program

every_backend = pytest.mark.parametrize("backend", BACKENDS.values(), ids=BACKENDS)


@every_backend
@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("seed", range(6))
def test_all_find_what_trying_everything_finds(seed: int, members: int, backend: Backend) -> None:
    program = random_program(seed, classes=6 // members, members=members)
    best = best_one_stage(program)
    answer = backend.solve(program, Watch(time_limit_s=30), 1, 0)
    assert total_cost(answer.patterns) == pytest.approx(best)
    assert answer.outcome.objective == pytest.approx(best)
    counts = [0] * len(program)
    for pattern in answer.patterns:
        for k, number in zip(pattern.classes, pattern.counts, strict=True):
            counts[k] += number
    assert counts == program.members.tolist()
    assert (answer.outcome.status is Status.OPTIMAL) is backend.proves
    assert answer.outcome.lower_bound <= best * (1 + 1e-9)


@every_backend
def test_those_that_report_do(backend: Backend) -> None:
    seen: list[Progress] = []
    backend.solve(random_program(1, classes=8), Watch(time_limit_s=30, report=seen.append), 1, 0)
    assert seen[-1].objective > 0
    if backend.reports:
        assert len(seen) > 1


@every_backend
def test_the_same_seed_and_one_thread_give_the_same_answer(backend: Backend) -> None:
    program = random_program(3, classes=12, groups=4, options=4)
    first, second = (backend.solve(program, Watch(time_limit_s=60), 1, 5) for _ in range(2))
    assert backend.repeats
    assert first.patterns == second.patterns


@every_backend
def test_a_stop_before_the_start_still_gives_an_answer_that_serves_all(backend: Backend) -> None:
    program = random_program(2, classes=10)
    answer = backend.solve(program, Watch(time_limit_s=30, should_stop=lambda: True), 1, 0)
    assert sum(sum(pattern.counts) for pattern in answer.patterns) == int(program.members.sum())


def test_the_documentation_has_the_table() -> None:
    text = (Path(__file__).parents[2] / "docs" / "solver.md").read_text(encoding="utf-8")
    assert re.sub(r"\s+", " ", capability_table()) in re.sub(r"\s+", " ", text)
