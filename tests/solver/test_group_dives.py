"""Answers that begin as the relaxation over groups says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from solver.compact import able_pairs
from solver.facilities import Facilities, Pattern, settle, total_cost
from solver.fractional_bound import fractional_bound
from solver.greedy import greedy
from solver.group_bound import GroupAscent, Groups
from solver.group_dives import GroupDives
from solver.group_labels import choices_of
from solver.group_packing import GroupPacking
from solver.group_places import Places
from solver.outcome import Watch
from solver.steps import below
from tests.solver.brute import best_one_stage
from tests.solver.programs import random_program
from tests.solver.test_groups import STEP, in_a_row, one_group
from tests.solver.test_one_stage_search import served


def begun(program: Facilities, *, whole: bool = False) -> tuple[list[Pattern], Groups]:
    """A quick answer, and what is known of the groups in a better one; with `whole` of those that hold whole
    fragments."""
    answer = settle(program, greedy(program, Watch()))
    loose = fractional_bound(program, answer, Watch())
    goal = below(total_cost(answer), STEP)
    able = able_pairs(program, [loose], goal)
    packings = {number: GroupPacking(program, number, 0) for number in range(len(program.groups))}
    ascent = GroupAscent(
        program,
        able,
        loose,
        choices_of(program, answer),
        goal,
        STEP,
        packings=packings if whole else None,
    )
    ascent.run(Watch(), rounds=400)
    return answer, replace(ascent.known, choices=[])


def dived(program: Facilities, *, seed: int, times: int, whole: bool = False) -> list[Pattern]:
    answer, groups = begun(program, whole=whole)
    dives = GroupDives(program, STEP, seed=seed, whole=whole)
    for _ in range(times):
        better = dives.improve(answer, groups, Watch())
        if better is None:
            continue
        assert total_cost(better) < total_cost(answer)
        assert served(program, better) == program.members.tolist()
        answer = better
    return answer


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("members", [1, 2])
def test_dives_lead_down_to_the_optimum_and_no_further(members: int, whole: bool) -> None:
    reached = 0
    for seed in range(20):
        program = in_a_row(seed, classes=6 // members, members=members, options=4)
        answer, optimum = dived(program, seed=seed, times=12, whole=whole), best_one_stage(program)
        assert total_cost(answer) >= optimum - 1e-9
        reached += total_cost(answer) <= optimum + 1e-9
    # Some drawn decisions are wrong every time.
    assert reached >= (18 if whole else 19)


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("seed", range(10))
def test_nor_where_who_is_in_time_follows_from_nothing(seed: int, members: int, whole: bool) -> None:
    program = random_program(seed, classes=6 // members, members=members, options=4)
    assert total_cost(dived(program, seed=seed, times=4, whole=whole)) >= best_one_stage(program) - 1e-9


@pytest.mark.parametrize("seed", [1, 2, 4, 6, 7, 8])
def test_dives_over_many_fragments_come_near_the_bound(seed: int) -> None:
    program = in_a_row(seed, classes=60, members=1, options=10, groups=4)
    first, groups = begun(program)
    answer = dived(program, seed=seed, times=6)
    assert total_cost(answer) < total_cost(first)
    assert groups.bound.value * (1 - 1e-9) <= total_cost(answer) <= 1.03 * groups.bound.value
    again = dived(program, seed=seed, times=6)
    assert again == answer


@pytest.mark.parametrize("seed", range(6))
def test_whole_fragments_are_dived_for_where_a_cut_one_leads_astray(seed: int) -> None:
    """With loads of half an instance and more nearly everybody is cut among instances otherwise."""
    drawn = in_a_row(seed, classes=24, members=1, options=6, groups=4)
    rng = np.random.default_rng(seed)
    largest = max(float(group.capacity.max()) for group in drawn.groups)
    program = replace(drawn, load=rng.uniform(0.25, 0.6, len(drawn)) * largest)
    first, groups = begun(program, whole=True)
    answer = dived(program, seed=seed, times=6, whole=True)
    assert groups.bound.value * (1 - 1e-9) <= total_cost(answer) <= total_cost(first)
    assert total_cost(answer) <= total_cost(dived(program, seed=seed, times=6))
    assert total_cost(answer) <= 1.03 * groups.bound.value


def test_there_is_no_dive_without_time_and_none_below_the_bound() -> None:
    program = in_a_row(2, classes=60, members=1, options=10, groups=4)
    answer, groups = begun(program)
    dives = GroupDives(program, STEP, seed=0)
    assert dives.improve(answer, groups, Watch(time_limit_s=0.0)) is None
    assert dives.improve(answer, groups, Watch()) is not None
    optimal = replace(groups, bound=replace(groups.bound, value=total_cost(answer)))
    dives = GroupDives(program, STEP, seed=0)
    assert dives.fits(answer, optimal)
    assert dives.improve(answer, optimal, Watch()) is None
    # That is remembered, for this answer and what was known of the groups.
    assert not dives.fits(answer, optimal)
    assert dives.fits(answer, groups)


@pytest.mark.parametrize("seed", range(40))
def test_what_a_group_is_told_to_serve_is_put_together_in_what_is_cheapest(seed: int) -> None:
    program, _ = one_group(seed)
    program = replace(program, members=np.ones(len(program), dtype=np.intp))
    optimum = best_one_stage(program)
    everything = np.ones_like(program.groups[0].joining, dtype=bool)
    packing = GroupPacking(program, 0, seed=0)
    found = packing.cheapest(program.members, everything, 1e3, Watch())
    assert found is not None
    cost, patterns = found
    assert cost == pytest.approx(total_cost(patterns)) == pytest.approx(optimum)
    assert served(program, patterns) == [1] * len(program)
    assert packing.cheapest(program.members, everything, optimum - 1.0, Watch()) is None
    # Whoever it is not told to serve is not served.
    some = program.members.copy()
    some[0] = 0
    without = packing.cheapest(some, everything, 1e3, Watch())
    assert without is not None
    assert served(program, without[1]) == some.tolist()


@pytest.mark.parametrize("seed", range(10))
def test_places_decide_about_one_class_alone(seed: int) -> None:
    program = in_a_row(seed, classes=8, members=1, options=4)
    able = tuple(np.isfinite(group.joining) for group in program.groups)
    places = Places(program=program, able=able, lonely=np.ones(len(program), dtype=bool))
    for k in range(len(program)):
        for number, group in enumerate(program.groups):
            if k not in group.classes:
                continue
            there, elsewhere = places.at(number, k), places.elsewhere(number, k)
            for other, one in enumerate(program.groups):
                mine = one.classes == k
                assert (there.able[other][:, ~mine] == able[other][:, ~mine]).all()
                assert (elsewhere.able[other][:, ~mine] == able[other][:, ~mine]).all()
                assert there.able[other][:, mine].any() == (other == number and able[other][:, mine].any())
                assert elsewhere.able[other][:, mine].any() == (
                    other != number and able[other][:, mine].any()
                )
            assert not there.lonely[k]
            assert elsewhere.lonely[k]
            assert places.is_open(number, k)
            assert not there.is_open(number, k)
    alone, together = places.at(-1, 0), places.elsewhere(-1, 0)
    assert not any(
        pairs[:, one.classes == 0].any() for one, pairs in zip(program.groups, alone.able, strict=True)
    )
    assert alone.lonely[0]
    assert not together.lonely[0]
    assert not alone.is_open(-1, 0)
