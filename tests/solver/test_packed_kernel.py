"""What machine code packs and rules out agrees with trying everything."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from solver.facilities import EPSILON, Facilities, Floats, instances_for
from solver.packed_kernel import MOST_INSTANCES, packings_of, penalties
from tests.solver.programs import random_program


def everything(
    program: Facilities, number: int, facility: int, worth: Floats
) -> list[tuple[int, float, set[int]]]:
    """(instances, what it earns, its classes) of all that a facility can serve and gains by one by one."""
    group = program.groups[number]
    gain = worth[group.classes] - group.joining[facility]
    able = np.flatnonzero(gain > 0).tolist()
    found = []
    for counts in itertools.product(*(range(int(program.members[group.classes[k]]) + 1) for k in able)):
        load = sum(n * float(program.load[group.classes[k]]) for n, k in zip(counts, able, strict=True))
        earned = sum(n * float(gain[k]) for n, k in zip(counts, able, strict=True))
        held = {int(group.classes[k]) for n, k in zip(counts, able, strict=True) if n}
        if held:
            found.append((instances_for(load, float(group.capacity[facility])), earned, held))
    return found


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("seed", range(12))
def test_facilities_earn_what_the_best_of_all_packings_earns(seed: int, members: int) -> None:
    """At several prices in a row, since what they earned before is remembered."""
    program = random_program(seed, classes=6, groups=2, options=4, members=members)
    rng = np.random.default_rng(seed)
    packings = packings_of(program)
    for factor in (0.5, 0.8, 0.82, 0.7, 1.0):
        worth = factor * program.alone * rng.uniform(0.8, 1.0, len(program))
        for number, (group, packing) in enumerate(zip(program.groups, packings, strict=True)):
            ratio = packing.promising(group, worth)
            for facility in range(len(group)):
                price = float(group.price[facility])
                best = max(
                    (earned / (n * price) for n, earned, _ in everything(program, number, facility, worth)),
                    default=0.0,
                )
                assert best <= 1 + 1e-6 or ratio[facility] > 0
                if ratio[facility] == 0:
                    continue
                among = np.array([facility])
                excess, found = packing.packed(group, worth, among, MOST_INSTANCES, 0.0)
                assert excess == pytest.approx(max(1.0, best))
                paying = list(packing.paying(program, group, worth, found))
                for pattern in paying:
                    counts = np.array(pattern.counts)
                    assert (counts <= program.members[list(pattern.classes)]).all()
                    assert worth[list(pattern.classes)] @ counts > pattern.cost
                assert bool(paying) == (best > 1 + 1e-6)


@pytest.mark.parametrize("seed", range(8))
def test_of_few_sizes_nothing_is_earned_that_the_rest_could_exceed(seed: int) -> None:
    program = random_program(seed, classes=7, groups=1, options=3)
    for number, (group, packing) in enumerate(zip(program.groups, packings_of(program), strict=True)):
        for facility in range(len(group)):
            excess, _ = packing.packed(group, program.alone, np.array([facility]), 1, 0.0)
            price = float(group.price[facility])
            for n, earned, _ in everything(program, number, facility, program.alone):
                assert earned / (n * price) <= excess * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(12))
def test_no_packing_costs_less_than_the_penalty_of_whom_it_serves(seed: int) -> None:
    program = random_program(seed, classes=6, groups=2, options=4, members=2)
    worth = 0.7 * program.alone
    for number, group in enumerate(program.groups):
        load, members = program.load[group.classes], program.members[group.classes]
        table = penalties(
            group.price, group.capacity, group.joining, load, members, worth[group.classes], MOST_INSTANCES
        )
        assert (table >= 0).all()
        for facility in range(len(group)):
            for n, earned, held in everything(program, number, facility, worth):
                for k in held:
                    column = int(np.searchsorted(group.classes, k))
                    least = max(0.0, n * float(group.price[facility]) - earned)
                    assert table[facility, column] <= least + EPSILON * (1 + least)
