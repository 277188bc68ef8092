"""Groups chosen as a whole: labels earn what they can, nothing that matters is left out, trees decide."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from solver.compact import able_pairs, kept_among
from solver.facilities import Facilities, Floats, Group, all_alone, settle, total_cost
from solver.fractional_bound import fractional_bound
from solver.goals import Effort, Goals
from solver.group_bound import GroupAscent, Groups
from solver.group_kernel import capped, merged, most_earned, most_with, pieces, start, together
from solver.group_labels import Choice, GroupLabels, choices_of
from solver.group_packing import GroupPacking
from solver.group_tree import GroupTree
from solver.one_stage import solve_one_stage
from solver.outcome import Status, Watch
from solver.packed_bound import PackedAscent
from tests.solver.brute import best_one_stage
from tests.solver.programs import random_program

STEP = 5.0
SEEDS = range(10)


def one_group(seed: int) -> tuple[Facilities, Floats]:
    """A group whose facilities differ in how long they take, who is in time by that alone, and prices."""
    rng = np.random.default_rng(seed)
    classes, options = int(rng.integers(1, 5)), int(rng.integers(1, 4))
    takes, in_time = rng.uniform(1, 10, options), rng.uniform(2, 12, classes)
    from_here = rng.random(classes) < 0.6
    joining = np.where(from_here, 0.0, 5 * np.ceil(takes[:, None] / 3))
    joining = np.where(takes[:, None] <= in_time, joining, np.inf)
    group = Group(
        price=5.0 * rng.integers(1, 8, options).astype(np.float64),
        capacity=rng.uniform(1, 10, options),
        classes=np.arange(classes),
        joining=joining,
    )
    program = Facilities(
        load=rng.uniform(0.5, 4, classes),
        members=rng.integers(1, 4, classes) if classes < 4 else np.ones(classes, dtype=np.intp),
        alone=np.full(classes, 100.0),
        groups=(group,),
    )
    return program, rng.uniform(0, 25, classes)


def in_a_row(seed: int, *, classes: int, members: int, options: int = 3, groups: int = 3) -> Facilities:
    """Facilities that differ in how long they take, as those of a profile do, in several groups."""
    rng = np.random.default_rng(seed)
    entry = np.sort(rng.integers(0, groups, classes))
    tables = []
    for number in range(groups):
        able = np.flatnonzero(entry <= number)
        if len(able):
            takes, in_time = np.sort(rng.uniform(1, 10, options)), rng.uniform(4, 14, len(able))
            joining = np.where(entry[able] == number, 0.0, 5 * np.ceil(takes[:, None] / 3))
            tables.append(
                Group(
                    price=5.0 * rng.integers(2, 20, options).astype(np.float64),
                    capacity=np.round(rng.uniform(5, 60, options), 2),
                    classes=able,
                    joining=np.where(takes[:, None] <= in_time, joining, np.inf),
                )
            )
    return Facilities(
        load=np.round(rng.uniform(1, 20, classes), 2),
        members=rng.integers(1, members + 1, classes),
        alone=5.0 * rng.integers(4, 20, classes),
        groups=tuple(tables),
    )


def by_brute_force(program: Facilities, worth: Floats) -> tuple[float, Floats]:
    """What the group earns at most, and at most with a class at a facility, [E, K']."""
    group = program.groups[0]
    facilities, classes = group.joining.shape
    ways = [
        [
            counts
            for counts in itertools.product(range(int(program.members[k]) + 1), repeat=facilities)
            if sum(counts) <= program.members[k]
            and all(not n or np.isfinite(group.joining[e, k]) for e, n in enumerate(counts))
        ]
        for k in range(classes)
    ]
    best, with_pair = 0.0, np.full(group.joining.shape, -np.inf)
    for chosen in itertools.product(*ways):
        counts = np.array(chosen).T  # [E, K']
        instances = np.ceil(counts @ program.load / group.capacity - 1e-9)
        gain = np.where(counts > 0, worth - group.joining, 0.0)
        earned = float((gain * counts).sum() - instances @ group.price)
        best = max(best, earned)
        with_pair = np.where(counts > 0, np.maximum(with_pair, earned), with_pair)
    return best, with_pair


@pytest.mark.parametrize("seed", range(60))
def test_labels_earn_at_least_what_the_best_choice_does(seed: int) -> None:
    program, worth = one_group(seed)
    best, with_pair = by_brute_force(program, worth)
    labels = GroupLabels(program, 0)
    earned, choice = labels.best(worth)
    assert earned >= best - 1e-9
    if choice is not None:
        assert float(worth[choice.classes] @ choice.counts) - choice.cost == pytest.approx(earned)
    # What is known already is not found again, and what is less than that is not claimed.
    assert labels.best(worth, earned + 1.0) == (earned + 1.0, None)
    losses = labels.losses(worth, earned, 1e3)
    assert (losses <= np.maximum(0.0, earned - with_pair) + 1e-6).all()
    few = labels.losses(worth, earned, 6.0)
    near = losses <= 6.0
    assert few[near] == pytest.approx(losses[near])


@pytest.mark.parametrize("seed", range(20))
def test_labels_are_exact_where_nothing_has_to_be_cut_and_nobody_joins(seed: int) -> None:
    program, worth = one_group(seed)
    group = program.groups[0]
    program = replace(
        program,
        load=np.ones(len(program)),
        groups=(
            replace(
                group,
                capacity=np.ceil(group.capacity),
                joining=np.where(np.isfinite(group.joining), 0.0, np.inf),
            ),
        ),
    )
    best, _ = by_brute_force(program, worth)
    assert GroupLabels(program, 0).best(worth)[0] == pytest.approx(best)


def ascent_of(program: Facilities, goal: float, *, packed: bool = False) -> GroupAscent:
    loose = fractional_bound(program, all_alone(program), Watch())
    able = able_pairs(program, [loose], goal)
    packings = {number: GroupPacking(program, number, seed=0) for number in range(len(program.groups))}
    choices = choices_of(program, all_alone(program))
    return GroupAscent(program, able, loose, choices, goal, STEP, packings=packings if packed else None)


def some_program(seed: int, members: int, kind: str) -> Facilities:
    classes = {1: 7, 2: 4, 3: 3}[members]
    if kind == "row":
        return in_a_row(seed, classes=classes, members=members, options=4)
    return random_program(seed, classes=classes, members=members, options=4)


@cache
def optimum_of(seed: int, members: int, kind: str) -> float:
    return best_one_stage(some_program(seed, members, kind))


@pytest.mark.parametrize(("above", "packed"), [(0.0, False), (15.0, False), (0.0, True), (15.0, True)])
@pytest.mark.parametrize("kind", ["row", "any"])
@pytest.mark.parametrize("members", [1, 2, 3])
@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_left_out_is_in_no_answer_of_at_most_the_goal(
    seed: int, members: int, kind: str, above: float, packed: bool
) -> None:
    program, optimum = some_program(seed, members, kind), optimum_of(seed, members, kind)
    ascent = ascent_of(program, optimum + above, packed=packed)
    loose = ascent.value
    assert ascent.run(Watch(), rounds=100 if packed else 1_000) or packed
    assert not ascent.done
    assert loose - 1e-9 <= ascent.value <= optimum * (1 + 1e-9)
    assert ascent.lower_bound <= optimum
    left = replace(
        program,
        groups=tuple(
            replace(group, joining=np.where(able, group.joining, np.inf))
            for group, able in zip(program.groups, ascent.able, strict=True)
        ),
    )
    assert best_one_stage(left) == pytest.approx(optimum)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_below_the_optimum_the_bound_says_no_more_than_that(seed: int, packed: bool) -> None:
    program = random_program(seed, classes=6)
    optimum = best_one_stage(program)
    ascent = ascent_of(program, optimum - STEP, packed=packed)
    ascent.run(Watch(), rounds=1_000)
    assert ascent.lower_bound <= optimum


@pytest.mark.parametrize("kind", ["row", "any"])
@pytest.mark.parametrize("members", [1, 2, 3])
@pytest.mark.parametrize("seed", [*SEEDS, 58, 5308])
def test_the_tree_finds_the_optimum_and_proves_there_is_nothing_below(
    seed: int, members: int, kind: str
) -> None:
    program, optimum = some_program(seed, members, kind), optimum_of(seed, members, kind)
    for goal, there in ((optimum - STEP, False), (optimum, True), (optimum + STEP, True)):
        loose = fractional_bound(program, all_alone(program), Watch())
        tree = GroupTree(program, able_pairs(program, [loose], goal), loose, [], goal, STEP, seed=0)
        answer = tree.search(1_000, Watch())
        assert (answer is not None) == there
        assert tree.proven == (not there)
        if answer is not None:
            assert total_cost(settle(program, answer)) <= goal


def with_hard_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """HiGHS is asked about a node only where there is nothing to branch on."""
    monkeypatch.setattr("solver.group_tree.FEW", 0)


@pytest.mark.parametrize("seed", SEEDS)
def test_branching_alone_decides_the_same(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with_hard_nodes(monkeypatch)
    program = random_program(seed, classes=7, groups=4)
    optimum = best_one_stage(program)
    for goal, there in ((optimum - STEP, False), (optimum, True)):
        loose = fractional_bound(program, all_alone(program), Watch())
        tree = GroupTree(program, able_pairs(program, [loose], goal), loose, [], goal, STEP, seed=0)
        assert (tree.search(1_000, Watch()) is not None) == there
        assert tree.proven == (not there)


def test_a_stopped_tree_claims_nothing_and_goes_on_later() -> None:
    program = random_program(3, classes=6)
    optimum = best_one_stage(program)
    loose = fractional_bound(program, all_alone(program), Watch())
    tree = GroupTree(program, able_pairs(program, [loose], optimum), loose, [], optimum, STEP, seed=0)
    assert tree.search(10, Watch(should_stop=lambda: True)) is None
    assert not tree.proven
    assert tree.search(1_000, Watch()) is not None


def test_a_group_that_is_too_hard_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    program = random_program(3, classes=6)
    optimum = best_one_stage(program)
    monkeypatch.setattr("solver.group_labels.MOST_LABELS", 1)
    ascent = ascent_of(program, optimum)
    before = ascent.value
    assert not ascent.run(Watch(), rounds=100)
    assert ascent.hopeless
    assert ascent.value == before
    loose = fractional_bound(program, all_alone(program), Watch())
    tree = GroupTree(program, able_pairs(program, [loose], optimum), loose, [], optimum, STEP, seed=0)
    assert tree.search(100, Watch()) is None
    assert not tree.proven


@pytest.mark.parametrize("seed", SEEDS)
def test_goals_that_know_of_groups_decide_as_others_do(seed: int) -> None:
    program = random_program(seed, classes=6)
    optimum = best_one_stage(program)
    loose = fractional_bound(program, all_alone(program), Watch())
    packed = PackedAscent(program, loose, all_alone(program), STEP)
    packed.run(Watch(), rounds=1_000)
    effort = Effort(branches=100, patterns=1_000, pairs=1_000, nodes=1_000, looks=1_000)
    for quick in (False, True):
        goals = Goals(program, loose, packed, threads=1, seed=0, quick=quick)
        groups = ascent_of(program, optimum)
        assert groups.run(Watch(), rounds=1_000)
        goals.groups = groups.known
        assert goals.reach(optimum - STEP, effort, Watch()).proven
        found = goals.reach(optimum, effort, Watch())
        assert found.answer is not None
        assert total_cost(found.answer) == pytest.approx(optimum)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("seed", range(8))
def test_a_search_that_chooses_by_groups_finds_the_optimum(
    seed: int, members: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("solver.one_stage.HEAVY", 0.0)
    monkeypatch.setattr("solver.group_labels.FEW_JOINING", 1.0)
    program = some_program(100 + seed, members, "row")
    optimum = best_one_stage(program)
    outcome = solve_one_stage(program, watch=Watch(time_limit_s=20), threads=threads).outcome
    assert outcome.status is Status.OPTIMAL
    assert outcome.objective == pytest.approx(optimum)


def test_what_holds_for_lower_goals_is_not_used_for_higher_ones() -> None:
    program = random_program(1, classes=6)
    optimum = best_one_stage(program)
    loose = fractional_bound(program, all_alone(program), Watch())
    packed = PackedAscent(program, loose, all_alone(program), STEP)
    goals = Goals(program, loose, packed, threads=1, seed=0)
    able = tuple(np.zeros(group.joining.shape, dtype=bool) for group in program.groups)
    goals.groups = Groups(goal=optimum - STEP, able=able, bound=loose, choices=[], used=set())
    effort = Effort(branches=100, patterns=1_000, pairs=1_000, nodes=1_000, looks=1_000)
    assert goals.reach(optimum, effort, Watch()).answer is not None


def test_pairs_are_kept_as_the_tables_say() -> None:
    program = random_program(1, classes=6)
    able = tuple(np.isfinite(group.joining) for group in program.groups)
    able[0][0, :] = False
    kept = kept_among(program, able, np.ones(len(program), dtype=bool))
    assert (0, 0) not in kept.facilities
    assert len(kept.classes) == sum(int(table.sum()) for table in able)


def test_labels_that_are_worse_in_both_are_dropped() -> None:
    one = np.array([3.0, 1.0]), np.array([0.0, 2.0]), np.array([1, 2])
    other = np.array([2.0, 0.5]), np.array([1.0, 1.5]), np.array([3, 4])
    found = merged(one, other)
    assert found[2].tolist() == [1, 3, 2]
    assert merged(found, start())[2].tolist() == [1, 3, 2]
    # Of those that earn the same the one with more to spare is enough.
    assert merged((np.ones(1), np.zeros(1), np.array([5])), (np.ones(1), np.ones(1), np.array([6])))[
        2
    ].tolist() == [6]
    assert capped(found, 1.0)[2].tolist() == [1, 3]


def test_together_takes_the_best_of_what_there_is_room_for() -> None:
    earned, spare = np.array([5.0, 4.0, 0.0]), np.array([0.0, 2.0, 9.0])
    ahead, needed = np.array([7.0, 3.0, 0.0]), np.array([-8.0, -2.0, 0.0])
    assert together(earned, spare, ahead, needed) == 7.0
    assert together(earned[:1], spare[:1], ahead, needed) == 5.0
    assert together(earned[:1], spare[:1] - 1.0, ahead, needed) == -np.inf


@pytest.mark.parametrize("seed", SEEDS)
def test_compiled_and_interpreted_labels_say_the_same(seed: int) -> None:
    """What the compiler makes of the kernels, and what Python makes of the same lines."""
    program, worth = one_group(seed)
    labels = GroupLabels(program, 0)
    _, row = labels._at(worth)
    for kernel in (most_earned, most_with):
        for one, other in zip(kernel(row, -5.0, 1_000), kernel.py_func(row, -5.0, 1_000), strict=True):  # type: ignore[attr-defined]
            assert np.array_equal(one, other)


@pytest.mark.parametrize("seed", range(60))
def test_packing_earns_what_the_best_choice_does(seed: int) -> None:
    program, worth = one_group(seed)
    best, _ = by_brute_force(program, worth)
    labels, packing = GroupLabels(program, 0), GroupPacking(program, 0, seed=0)
    most, _ = labels.best(worth)
    bound, choice = packing.best(labels, worth, 0.0, most, most + 1.0, Watch())
    assert bound == pytest.approx(best, abs=1e-4)
    assert bound >= best - 1e-9
    assert (choice is not None) == (best > 1e-6)
    if choice is not None:
        assert float(worth[choice.classes] @ choice.counts) - choice.cost == pytest.approx(best)
        patterns = packing.packed(choice, Watch())
        assert patterns is not None
        assert total_cost(patterns) == pytest.approx(choice.cost)
    # With nothing that earns more than is known, what is known is the most.
    assert packing.best(labels, worth, most + 1.0, most + 1.0, 1.0, Watch()) == (most + 1.0, None)
    # Asked to look no farther than so much below it claims no less.
    near, _ = packing.best(labels, worth, 0.0, most, 0.5, Watch())
    assert near >= best - 1e-9


def can_be_packed(program: Facilities, choice: Choice) -> bool:
    """Whether the group's instances hold what it chose, for no more than it costs: every way is tried."""
    group = program.groups[0]
    ways = [
        [
            counts
            for counts in itertools.product(range(int(number) + 1), repeat=len(group))
            if sum(counts) == number
            and all(not n or np.isfinite(group.joining[e, k]) for e, n in enumerate(counts))
        ]
        for k, number in zip(choice.classes.tolist(), choice.counts.tolist(), strict=True)
        if number <= program.members[k]
    ]
    if len(ways) < len(choice.classes):
        return False
    joining = np.where(np.isfinite(group.joining), group.joining, 0.0)[:, choice.classes]
    paid = choice.cost - float(group.price @ choice.instances)
    for chosen in itertools.product(*ways):
        counts = np.array(chosen).T  # [E, chosen classes]
        room = choice.instances * group.capacity * (1 + 1e-9)
        if (counts @ program.load[choice.classes] <= room).all() and (joining * counts).sum() <= paid + 1e-9:
            return True
    return False


@pytest.mark.parametrize("seed", range(60))
def test_a_choice_is_packed_only_where_it_fits(seed: int) -> None:
    program, worth = one_group(seed)
    best, _ = by_brute_force(program, worth)
    labels, packing = GroupLabels(program, 0), GroupPacking(program, 0, seed=0)
    earned, choice = labels.best(worth)
    if choice is None:
        return
    patterns = packing.packed(choice, Watch())
    if patterns is None:
        assert not can_be_packed(program, choice)
        return
    assert best == pytest.approx(earned)
    served = np.zeros(len(program))
    for pattern in patterns:
        load = float(program.load[list(pattern.classes)] @ pattern.counts)
        assert load <= pattern.instances * program.groups[0].capacity[pattern.facility] * (1 + 1e-8)
        served[list(pattern.classes)] += pattern.counts
    assert served[choice.classes].tolist() == choice.counts.tolist()
    assert total_cost(patterns) <= choice.cost + 1e-9


def one_facility(price: float, capacity: float, load: Floats, alone: Floats) -> Facilities:
    group = Group(
        price=np.array([price]),
        capacity=np.array([capacity]),
        classes=np.arange(len(load)),
        joining=np.zeros((1, len(load))),
    )
    return Facilities(load=load, members=np.ones(len(load), dtype=np.intp), alone=alone, groups=(group,))


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e8])
def test_what_is_lost_is_told_no_more_exactly_than_prices_are_known(size: float) -> None:
    program = one_facility(size, 1.0, np.ones(1), np.array([2 * size]))
    assert GroupLabels(program, 0).losses(np.array([size]), 0.0, -1e-15 * size)[0, 0] == 0.0


@pytest.mark.parametrize("seed", range(10))
def test_at_large_prices_the_optimum_is_not_left_out(seed: int) -> None:
    rng = np.random.default_rng(seed)
    many = int(rng.integers(3, 7))
    prices = rng.uniform(1, 10, many) * 1e8
    groups = tuple(
        Group(price=prices[k : k + 1], capacity=np.ones(1), classes=np.array([k]), joining=np.zeros((1, 1)))
        for k in range(many)
    )
    program = Facilities(
        load=np.ones(many), members=np.ones(many, dtype=np.intp), alone=2 * prices, groups=groups
    )
    goal = float(prices.sum())
    loose = fractional_bound(program, all_alone(program), Watch())
    tree = GroupTree(program, able_pairs(program, [loose], goal), loose, [], goal, 0.0, seed=0)
    tree.search(100, Watch())
    assert not tree.proven


@pytest.mark.parametrize("capacity", [1e-6, 1e-4, 1.0, 1e6])
def test_what_is_a_little_to_spare_is_so_in_parts_of_a_capacity(capacity: float) -> None:
    less = 0.9e-8 * capacity
    load = np.array([capacity / 2, capacity / 2 - less, capacity / 2 + less])
    program = one_facility(50.0, capacity, load, np.array([10.0, 9.0, 100.0]))
    assert GroupLabels(program, 0).best(program.alone)[0] == pytest.approx(59.0)


def test_a_dearer_packing_of_the_same_is_not_taken_for_a_cheaper_choice() -> None:
    group = Group(
        price=np.array([10.0, 15.0]),
        capacity=np.array([12.19, 25.0966666667]),
        classes=np.arange(3),
        joining=np.array([[10.0, 10.0, 5.0], [5.0, np.inf, 10.0]]),
    )
    program = Facilities(
        load=np.array([5.24, 11.23, 2.46]),
        members=np.ones(3, dtype=np.intp),
        alone=np.full(3, 100.0),
        groups=(group,),
    )
    worth = np.array([44.3154665914, 1.7043511917, 12.0761983098])
    labels, packing = GroupLabels(program, 0), GroupPacking(program, 0, seed=0)
    most, choice = labels.best(worth)
    assert choice is not None
    bound, better = packing.best(labels, worth, 0.0, most, most, Watch())
    assert bound < most
    assert better is not None
    patterns = packing.packed(choice, Watch())
    assert patterns is None or total_cost(patterns) <= choice.cost + 1e-9


@pytest.mark.parametrize("size", [1e9, 1e13, 1e15])
def test_prices_too_large_for_whole_numbers_are_counted_in_larger_parts(size: float) -> None:
    program, worth = one_group(3)
    group = program.groups[0]
    large = replace(
        program,
        alone=size * program.alone,
        groups=(replace(group, price=size * group.price, joining=size * group.joining),),
    )
    best, _ = by_brute_force(program, worth)
    labels, packing = GroupLabels(large, 0), GroupPacking(large, 0, seed=0)
    most, choice = labels.best(size * worth)
    bound, _ = packing.best(labels, size * worth, 0.0, most, most, Watch())
    assert choice is not None
    assert bound == pytest.approx(size * best, rel=1e-6)
    assert (packing.packed(choice, Watch()) is not None) == can_be_packed(large, choice)


def test_an_instance_that_is_full_to_the_last_digit_is_not_too_small() -> None:
    first = Group(
        price=np.array([5.0, 35.0]),
        capacity=np.array([12000.0, 21000.0]),
        classes=np.array([0, 1]),
        joining=np.zeros((2, 2)),
    )
    second = Group(
        price=np.array([75.0, 100.0]),
        capacity=np.array([24000.0, 24000.0]),
        classes=np.arange(3),
        joining=np.array([[10.0, 5.0, np.inf], [np.inf, 5.0, np.inf]]),
    )
    program = Facilities(
        load=np.array([12000.000008233523, 6000.0000034774785, 3000.0000017736274]),
        members=np.array([2, 2, 1]),
        alone=np.array([85.0, 35.0, 35.0]),
        groups=(first, second),
    )
    loose = fractional_bound(program, all_alone(program), Watch())
    for goal in (50.0, 55.0):
        tree = GroupTree(program, able_pairs(program, [loose], goal), loose, [], goal, STEP, seed=0)
        tree.search(100, Watch())
        assert not tree.proven


@pytest.mark.parametrize("number", [0, 1, 2, 3, 5, 100])
def test_pieces_make_up_every_number(number: int) -> None:
    sums = {sum(some) for n in range(8) for some in itertools.combinations(pieces(number), n)}
    assert sums == set(range(number + 1))
