"""Subset rows of 5.2: they hold in every answer, and bounds with them are bounds."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

import solver.packed_bound
from solver.branching import Tree
from solver.enumeration import Enumerated, patterns_within
from solver.facilities import Facilities, Floats, Group, all_alone, total_cost
from solver.fractional_bound import Bound, fractional_bound
from solver.one_stage import solve_one_stage
from solver.outcome import Status, Watch
from solver.packed_bound import PackedAscent
from solver.subset_rows import SHAPES, VIOLATION, SubsetRow, all_of, broken_rows
from solver.sums import Duals, Limits, Row, Sum, earned_of_rows
from tests.solver.brute import best_one_stage
from tests.solver.programs import random_program
from tests.solver.test_branching import every_answer

STEP = 5.0
EVERYTHING = np.ones(9, dtype=np.intp)


def pairs(fragments: int, seed: int | None = None) -> Facilities:
    """An instance holds any two of them: the relaxation takes every pair a little, an answer cannot.

    With a seed loads differ, and prices make up for it in steps.
    """
    rng = np.random.default_rng(seed)
    load = np.ones(fragments) if seed is None else np.round(rng.uniform(0.8, 1.2, fragments), 2)
    joining: Floats = np.zeros((1, fragments))
    if seed is not None:
        joining = 5.0 * rng.integers(0, 2, (1, fragments)).astype(np.float64)
    group = Group(
        price=np.array([50.0]),
        capacity=np.array([2.2]),
        classes=np.arange(fragments),
        joining=joining,
    )
    members = np.ones(fragments, dtype=np.intp)
    return Facilities(load=load, members=members, alone=np.full(fragments, 50.0), groups=(group,))


def relaxed(program: Facilities) -> PackedAscent:
    loose = fractional_bound(program, all_alone(program), Watch())
    ascent = PackedAscent(program, loose, all_alone(program), STEP)
    ascent.run(Watch(), rounds=1_000)
    return ascent


def rows_of(classes: int) -> list[SubsetRow]:
    """Rows of every shape over so many classes, heavy weights on every class in turn."""
    rows = [SubsetRow(classes=triple) for triple in itertools.combinations(range(classes), 3)]
    for weights, divisor in SHAPES:
        for some in itertools.combinations(range(classes), len(weights)):
            for turn in range(len(weights)):
                turned = (*weights[turn:], *weights[:turn])
                rows.append(SubsetRow(classes=some, weights=turned, divisor=divisor))
    return rows


def tree_of(program: Facilities, goal: float, *, with_rows: bool) -> Tree:
    ascent = relaxed(program)
    bound = Bound(value=ascent.value, worth=ascent.worth)
    return Tree(program, bound, ascent.patterns, goal, STEP, with_rows=with_rows)


def test_three_that_share_in_pairs_need_two_instances() -> None:
    program = pairs(3)
    assert relaxed(program).value == pytest.approx(75.0, rel=1e-3)
    tree = tree_of(program, 99.0, with_rows=True)
    assert tree.search(1, Watch()) is None
    assert tree.proven
    assert tree.root.bound == pytest.approx(100.0, rel=1e-3)
    assert list(tree.root.row_prices) == [SubsetRow(classes=(0, 1, 2))]
    # Without the row the first node proves less.
    without = tree_of(program, 99.0, with_rows=False)
    without.search(1, Watch())
    assert without.root.bound < 80
    assert not without.proven


def test_four_in_threes_and_pairs_with_one_of_them_need_a_larger_row() -> None:
    """Three go together half of the time, and the fourth with each of them a quarter."""
    trio = [[1, 2, 3], [0, 1], [0, 2], [0, 3]]
    used = [0.5, 0.25, 0.25, 0.25]
    members = np.ones(4, dtype=np.intp)
    assert broken_rows(trio, used, members, [], 10) == []
    row = SubsetRow(classes=(0, 1, 2, 3), weights=(2, 1, 1, 1), divisor=3)
    assert broken_rows(trio, used, members, [], 10, seed=0) == [row]
    assert broken_rows(trio, used, members, [row], 10, seed=0) == []
    # Not where one of them may be served twice, nor where there are fewer.
    assert broken_rows(trio, used, np.array([1, 2, 1, 1]), [], 10, seed=0) == []
    assert broken_rows([[1, 2], [0, 1], [0, 2]], [0.3] * 3, np.ones(3, dtype=np.intp), [], 10, seed=0) == []


def test_larger_rows_prove_more_and_no_more_than_the_optimum() -> None:
    program = random_program(2, classes=30, groups=4, options=6)
    answer = solve_one_stage(program, watch=Watch())
    assert answer.outcome.status is Status.OPTIMAL
    ascent = relaxed(program)
    bound, goal = Bound(value=ascent.value, worth=ascent.worth), answer.outcome.objective
    proven = []
    for larger in (False, True):
        tree = Tree(program, bound, ascent.patterns, goal, STEP, with_rows=True, larger_rows=larger)
        tree.relax(Watch())
        proven.append(tree.root.bound)
        sizes = {len(row.classes) for row in tree.root.row_prices}
        assert sizes > {3} if larger else sizes == {3}
    assert proven[0] < proven[1] <= goal * (1 + 1e-9)


def test_rows_with_which_too_many_patterns_pay_are_left_out_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those before them stay, and there are no more."""
    program = random_program(2, classes=30, groups=4, options=6)
    tree, run_to, rows = tree_of(program, 2_000.0, with_rows=True), PackedAscent.run_to, []

    def at_last_too_many(self: PackedAscent, goal: float, near: float, watch: Watch) -> Floats | None:
        used = run_to(self, goal, near, watch)
        rows.append(sum(isinstance(row, SubsetRow) for row in self.limits))
        self.too_many = len(rows) == 3
        return used

    monkeypatch.setattr(PackedAscent, "run_to", at_last_too_many)
    assert tree.relax(Watch())
    # Without rows, with some, with more, with some again.
    assert rows == [0, rows[1], rows[2], rows[1]]
    assert 0 < rows[1] < rows[2]
    assert tree.with_rows
    assert tree.relax(Watch())
    assert rows[4:] == [rows[1]]


@pytest.mark.parametrize("seed", range(6))
def test_larger_rows_that_are_found_are_broken_by_what_is_said_and_the_same_again(seed: int) -> None:
    rng = np.random.default_rng(seed)
    held = [rng.choice(9, 4, replace=False).tolist() for _ in range(20)]
    used = rng.uniform(0.1, 0.5, 20).tolist()
    found = broken_rows(held, used, EVERYTHING, [], 1_000, seed=seed)
    assert {(tuple(sorted(row.weights)), row.divisor) for row in found} > {((1, 1, 1), 2)}
    for row in found:
        inside = [sum(w for k, w in zip(row.classes, row.weights, strict=True) if k in one) for one in held]
        value = sum(times * (weight // row.divisor) for times, weight in zip(used, inside, strict=True))
        assert value > row.limit(EVERYTHING) + VIOLATION
        assert list(row.classes) == sorted(set(row.classes))
    assert broken_rows(held, used, EVERYTHING, [], 1_000, seed=seed) == found


@pytest.mark.parametrize("seed", range(10))
def test_every_answer_keeps_to_every_row(seed: int) -> None:
    program = random_program(seed, classes=5, groups=2, options=2)
    rows = rows_of(5)
    for answer in every_answer(program):
        for row in rows:
            assert sum(row.of(program, pattern) for pattern in answer) <= row.limit(program.members)


@pytest.mark.parametrize("paying", [solver.packed_bound.MOST_PAYING, 1])
@pytest.mark.parametrize("seed", range(12))
def test_bounds_with_rows_hold_also_where_too_many_patterns_pay(
    seed: int, paying: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(solver.packed_bound, "MOST_PAYING", paying)
    program = pairs(7, seed)
    optimum = best_one_stage(program)
    below = tree_of(program, optimum - 1, with_rows=True)
    assert below.search(10_000, Watch()) is None
    assert below.proven
    assert below.root.bound <= optimum * (1 + 1e-9)
    at = tree_of(program, optimum + 1, with_rows=True)
    answer = at.search(10_000, Watch())
    assert answer is not None
    assert total_cost(answer) == pytest.approx(optimum)
    # What the root proved, row by row: no pattern is worth more than it costs.
    found = all_patterns(program)
    root = at.root
    assert (reduced_costs(program, found, root.worth, root.row_prices) >= -1e-6 * optimum).all()
    proven = float(root.worth.sum()) - sum(
        price * row.limit(program.members) for row, price in root.row_prices.items()
    )
    assert root.bound == pytest.approx(proven)


@pytest.mark.parametrize("seed", range(12))
def test_the_bound_with_rows_at_limits_holds_for_every_answer_that_keeps_to_them(seed: int) -> None:
    """With all rows at once, so that their duals and those of the limits meet."""
    program = random_program(seed, classes=5, groups=2, options=2)
    loose = relaxed(program)
    answers = list(every_answer(program))
    rows: dict[Row, tuple[float, float]] = {}
    for triple in itertools.combinations(range(5), 3):
        row = SubsetRow(classes=triple)
        rows[row] = (-math.inf, row.limit(program.members))
    first = program.groups[0]
    sums = [Sum(group=0), Sum(group=0, facility=0)]
    sums += [Sum(group=0, member=int(k)) for k in first.classes]
    sums += [Sum(group=0, facility=1, member=int(k)) for k in first.classes]
    for one, other in itertools.combinations(sums, 2):
        limits: Limits = {one: (1.0, math.inf), other: (-math.inf, 0.0), **rows}
        duals: Duals = {one: 200.0, other: -20.0, **dict.fromkeys(rows, -1.0)}
        for worth in (loose.worth, 0.2 * loose.worth):
            ascent = PackedAscent(program, Bound(value=0.0, worth=worth), loose.patterns, STEP)
            ascent.enter(limits, 0.0, worth, duals, missing=1e4)
            ascent.run_to(5e3, 0.0, Watch())
            costs = [
                total_cost(answer)
                for answer in answers
                if sum(one.of(program, pattern) for pattern in answer) >= 1
                and sum(other.of(program, pattern) for pattern in answer) <= 0
            ]
            assert ascent.value <= min(costs, default=math.inf) * (1 + 1e-9)


def all_patterns(program: Facilities) -> Enumerated:
    found = patterns_within(program, np.zeros(len(program)), 1e4, 100_000)
    assert found is not None
    return found


def reduced_costs(
    program: Facilities, found: Enumerated, worth: Floats, prices: dict[SubsetRow, float]
) -> Floats:
    patterns = [found.pattern(program, number) for number in range(len(found))]
    paid = [sum(price * row.of(program, pattern) for row, price in prices.items()) for pattern in patterns]
    reduced: Floats = found.cost - found.counts.T @ worth + np.array(paid)
    return reduced


@pytest.mark.parametrize("seed", range(8))
def test_patterns_that_pay_for_rows_are_those_within_the_slack(seed: int) -> None:
    rng = np.random.default_rng(seed)
    program = random_program(seed, classes=7, groups=2, options=2)
    everything = all_patterns(program)
    worth = rng.uniform(0.0, 40.0, 7)
    rows = rows_of(7)
    triples = rng.choice(35, 5, replace=False).tolist()
    chosen = [*triples, *rng.choice(np.arange(35, len(rows)), 10, replace=False).tolist()]
    prices = {rows[number]: float(rng.uniform(0, 20)) for number in chosen}
    reduced = reduced_costs(program, everything, worth, prices)
    for slack in (-10.0, 0.0, 15.0):
        found = patterns_within(program, worth, slack, 100_000, rows=prices)
        assert found is not None
        known = {found.pattern(program, number).classes for number in range(len(found))}
        for number in range(len(everything)):
            classes = everything.pattern(program, number).classes
            # Whoever earns less than the slack is left out: without them the rest is within it all the more.
            if reduced[number] <= slack - 1e-6 and (worth[list(classes)] > 60).all():
                assert classes in known
        assert found.reduced == pytest.approx(reduced_costs(program, found, worth, prices))
        assert (found.reduced <= slack + 1e-6).all()


@pytest.mark.parametrize("seed", range(4))
def test_what_patterns_add_to_rows_is_the_same_one_by_one_and_all_at_once(seed: int) -> None:
    program = random_program(seed, classes=6, groups=2, options=2)
    found = all_patterns(program)
    patterns = [found.pattern(program, number) for number in range(len(found))]
    rows: list[Row] = list(rows_of(6))
    at_once = all_of([row for row in rows if isinstance(row, SubsetRow)], found.counts).toarray()
    assert at_once.tolist() == [[row.of(program, pattern) for pattern in patterns] for row in rows]
    last = len(program.groups) - 1
    rows += [Sum(group=0), Sum(group=last, facility=1), Sum(group=0, most_price=program.groups[0].price[0])]
    rows += [Sum(group=0, member=int(program.groups[0].classes[0])), Sum(group=last, facility=0, member=5)]
    duals: Duals = {row: float(dual) for dual, row in enumerate(rows, start=1)}
    earned = [sum(dual * row.of(program, pattern) for row, dual in duals.items()) for pattern in patterns]
    assert earned_of_rows(program, duals, found) == pytest.approx(earned)


def test_what_a_relaxation_breaks_is_found_worst_first_and_once() -> None:
    held = [[0, 1], [1, 2], [0, 2], [3, 4], [4, 5], [3, 5], [0, 1, 2]]
    used = [0.5, 0.5, 0.5, 0.4, 0.4, 0.4, 0.0]
    first, second = SubsetRow(classes=(0, 1, 2)), SubsetRow(classes=(3, 4, 5))
    assert broken_rows(held, used, EVERYTHING, [], 10) == [first, second]
    assert broken_rows(held, used, EVERYTHING, [], 1) == [first]
    assert broken_rows(held, used, EVERYTHING, [first], 10) == [second]
    # A pattern that holds all three counts once.
    assert broken_rows([[0, 1, 2]], [1.0], EVERYTHING, [], 10) == []
    twice = EVERYTHING.copy()
    twice[0] = 2
    assert broken_rows(held, used, twice, [], 10) == [second]
