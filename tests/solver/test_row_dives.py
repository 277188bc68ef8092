"""Answers that begin as the relaxation with subset rows says."""

from __future__ import annotations

import numpy as np
import pytest

from solver.branching import Tree
from solver.facilities import Facilities, all_alone, settle, total_cost
from solver.fractional_bound import Bound, fractional_bound
from solver.goals import Goals, Verdict
from solver.outcome import Watch
from solver.packed_bound import PackedAscent
from solver.parts import Part, members_of
from solver.row_dives import RowDives
from tests.solver.brute import best_one_stage
from tests.solver.programs import random_program
from tests.solver.test_one_stage_search import served

STEP = 5.0


def ascent_of(program: Facilities) -> PackedAscent:
    answer = all_alone(program)
    ascent = PackedAscent(program, fractional_bound(program, answer, Watch()), answer, STEP)
    ascent.run(Watch(), rounds=1_000)
    return ascent


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("seed", range(10))
def test_dives_lead_down_to_the_optimum_and_no_further(seed: int, members: int) -> None:
    program = random_program(seed, classes=6 // members, members=members)
    optimum = best_one_stage(program)
    dives = RowDives(program, ascent_of(program), seed=seed)
    answer = settle(program, all_alone(program))
    for _ in range(20):
        better = dives.improve(answer, Watch())
        if better is None:
            continue
        assert total_cost(better) < total_cost(answer)
        assert served(program, better) == program.members.tolist()
        answer = better
    assert total_cost(answer) == pytest.approx(optimum)


@pytest.mark.parametrize("seed", range(4))
def test_dives_over_many_fragments_are_whole_and_cheaper(seed: int) -> None:
    program = random_program(seed, classes=40, groups=4, options=6, members=2)
    ascent = ascent_of(program)
    first = settle(program, all_alone(program))
    better = RowDives(program, ascent, seed=seed).improve(first, Watch())
    assert better is not None
    assert served(program, better) == program.members.tolist()
    assert ascent.value * (1 - 1e-9) <= total_cost(better) < total_cost(first)


def test_where_prices_share_no_step_the_rest_has_one_goal(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is proven at it ends the search for it."""
    program = random_program(1, classes=30, groups=4, options=6)
    ascent = ascent_of(program)
    ascent.step = 0.0
    goals: list[float] = []

    def reach(_: Goals, goal: float, *__: object) -> Verdict:
        goals.append(goal)
        assert len(goals) <= 1
        return Verdict(proven=True)

    monkeypatch.setattr(Goals, "reach", reach)
    monkeypatch.setattr(Tree, "rounded", lambda *_: [])
    assert RowDives(program, ascent, seed=0).improve(settle(program, all_alone(program)), Watch()) is None
    assert len(goals) == 1


def test_a_stop_ends_a_dive_and_it_goes_on_later() -> None:
    program = random_program(1, classes=30, groups=4, options=6)
    dives = RowDives(program, ascent_of(program), seed=0)
    first = settle(program, all_alone(program))
    assert dives.improve(first, Watch(should_stop=lambda: True)) is None
    assert dives.fits
    assert dives.improve(first, Watch()) is not None


def test_rounding_leaves_the_relaxation_as_it_was() -> None:
    program = random_program(2, classes=30, groups=4, options=6)
    ascent = ascent_of(program)
    bound = Bound(value=ascent.value, worth=ascent.worth)
    goal = 2 * ascent.value
    tree = Tree(program, bound, ascent.patterns, goal, STEP, with_rows=True, larger_rows=False)
    proven = 0.0
    while tree.root.bound > proven * (1 + 1e-9):  # until it breaks no more rows
        proven = tree.root.bound
        assert tree.relax(Watch())
    taken = tree.rounded(1.0, np.random.default_rng(0), Watch())
    assert (members_of(program, taken) >= program.members).all()
    assert total_cost(taken) >= proven * (1 - 1e-9)
    assert tree.relax(Watch())
    assert tree.root.bound == pytest.approx(proven, rel=1e-3)
    few = tree.rounded(0.3, np.random.default_rng(0), Watch())
    assert 0.3 * program.members.sum() <= members_of(program, few).sum() < program.members.sum()


@pytest.mark.parametrize("seed", range(5))
def test_patterns_of_a_part_are_the_same_inside_and_outside(seed: int) -> None:
    program = random_program(seed, classes=10, groups=3, members=2)
    patterns = ascent_of(program).patterns
    members = np.where(np.arange(10) % 3 == 0, 0, program.members)
    part = Part(program, members)
    assert part.program.members.tolist() == members[part.classes].tolist()
    inside = part.inside(patterns)
    assert part.outside(inside) == [
        pattern
        for pattern in patterns
        if all(members[k] >= n for k, n in zip(pattern.classes, pattern.counts, strict=True))
    ]
    for whole, pattern in zip(part.outside(inside), inside, strict=True):
        assert (
            members_of(part.program, [pattern]).tolist()
            == members_of(program, [whole])[part.classes].tolist()
        )
