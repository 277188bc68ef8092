"""One shared stage a route (5.2): as good as the written-out program, with bounds that hold for it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from solver.facilities import ALONE, Facilities, Group, Pattern, make_pattern, total_cost
from solver.one_stage import solve_one_stage
from solver.outcome import Limit, Progress, Status, Watch
from solver.reference import reference_model, solve_reference


def random_program(seed: int, *, classes: int = 5, members: int = 2) -> Facilities:
    """A few classes and facilities; some classes cannot reach some facilities."""
    rng = np.random.default_rng(seed)
    groups = []
    for _ in range(int(rng.integers(1, 4))):
        reach = np.sort(rng.choice(classes, size=int(rng.integers(1, classes + 1)), replace=False))
        facilities = int(rng.integers(1, 4))
        joining = rng.choice(
            [0.0, 5.0, 10.0, math.inf], size=(facilities, len(reach)), p=[0.4, 0.2, 0.2, 0.2]
        )
        groups.append(
            Group(
                price=rng.choice([10.0, 25.0, 50.0], facilities),
                capacity=rng.uniform(5, 40, facilities),
                classes=reach.astype(np.intp),
                joining=joining,
            )
        )
    return Facilities(
        load=rng.uniform(0.5, 20, classes),
        members=rng.integers(1, members + 1, classes).astype(np.intp),
        alone=rng.choice([15.0, 25.0, 50.0], classes),
        groups=tuple(groups),
    )


def check(program: Facilities, patterns: tuple[Pattern, ...]) -> None:
    """Everybody is served exactly once, within capacity, at the cost that the pattern says."""
    served = np.zeros(len(program), dtype=int)
    for pattern in patterns:
        for k, count in zip(pattern.classes, pattern.counts, strict=True):
            served[k] += count
        if pattern.group == ALONE:
            assert pattern.cost == program.alone[pattern.classes[0]]
            continue
        again = make_pattern(
            program,
            pattern.group,
            pattern.facility,
            dict(zip(pattern.classes, pattern.counts, strict=True)),
        )
        assert again == pattern
        assert again.cost == pytest.approx(pattern.cost)
    assert (served == program.members).all()


@pytest.mark.parametrize("seed", range(60))
def test_the_answer_is_valid_and_both_bounds_hold_for_the_written_out_program(seed: int) -> None:
    program = random_program(seed)
    answer = solve_one_stage(program, watch=Watch(time_limit_s=20), seed=0)
    check(program, answer.patterns)
    optimum = solve_reference(program)
    outcome = answer.outcome
    assert outcome.objective == pytest.approx(total_cost(answer.patterns))
    assert outcome.lower_bound <= optimum + 1e-6
    assert outcome.objective >= optimum - 1e-6
    if outcome.status is Status.OPTIMAL:
        assert outcome.objective == pytest.approx(optimum)


def test_it_is_nearly_always_the_optimum() -> None:
    """Over the same programs: what the search leaves unproven or above the optimum stays rare."""
    above = 0
    for seed in range(60):
        program = random_program(seed)
        answer = solve_one_stage(program, watch=Watch(time_limit_s=20), seed=0)
        above += answer.outcome.objective > solve_reference(program) + 1e-6
    assert above <= 6


def test_the_same_seed_gives_the_same_answer() -> None:
    program = random_program(7, classes=12, members=3)
    first, second = (solve_one_stage(program, watch=Watch(time_limit_s=20), seed=3) for _ in range(2))
    assert first.patterns == second.patterns


def test_progress_only_ever_gets_better_and_ends_at_the_outcome() -> None:
    seen: list[Progress] = []
    program = random_program(3, classes=12, members=3)
    answer = solve_one_stage(program, watch=Watch(time_limit_s=20, report=seen.append))
    objectives, bounds = [item.objective for item in seen], [item.lower_bound for item in seen]
    assert objectives == sorted(objectives, reverse=True)
    assert bounds == sorted(bounds)
    assert objectives[-1] == answer.outcome.objective


def test_a_stop_keeps_the_best_answer_and_is_named() -> None:
    program = random_program(11, classes=30, members=3)
    answer = solve_one_stage(program, watch=Watch(time_limit_s=20, should_stop=lambda: True))
    check(program, answer.patterns)
    assert answer.outcome.limit in (Limit.STOPPED, None)
    assert answer.outcome.lower_bound <= answer.outcome.objective


def test_the_written_out_program_is_a_file_for_other_solvers(tmp_path: Path) -> None:
    model = reference_model(random_program(1))
    model.writeLP(str(tmp_path / "program.lp"))
    model.writeMPS(str(tmp_path / "program.mps"))
    assert "Minimize" in (tmp_path / "program.lp").read_text()
    assert "ROWS" in (tmp_path / "program.mps").read_text()
