"""Grouping: everybody in one group of bounded size, with those who are alike."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from planner.allocating import Demand
from planner.grouping import Similarity, group

few = settings(max_examples=100, deadline=None, derandomize=True)

demands = st.lists(
    st.builds(
        Demand,
        start=st.integers(0, 40),
        budget_ms=st.floats(1.0, 500.0),
        load_rps=st.floats(0.1, 1000.0),
        members=st.just((0,)),
    ),
    max_size=60,
)


@few
@given(demands, st.integers(1, 20))
def test_everybody_is_in_one_group_and_no_group_is_too_large(given_: list[Demand], max_size: int) -> None:
    groups = group(given_, Similarity(max_size=max_size))
    assert sorted(number for part in groups for number in part) == list(range(len(given_)))
    assert all(1 <= len(part) <= max_size for part in groups)
    # Halving never leaves more groups than there would be of one demand each, nor empty ones.
    assert len(groups) <= len(given_)


@few
@given(demands, st.data(), st.integers(1, 40))
def test_sizes_count_and_what_is_too_large_stands_alone(
    given_: list[Demand], data: st.DataObject, max_size: int
) -> None:
    sizes = data.draw(st.lists(st.integers(1, 50), min_size=len(given_), max_size=len(given_)))
    for part in group(given_, Similarity(max_size=max_size), sizes=sizes):
        assert len(part) == 1 or sum(sizes[number] for number in part) <= max_size


@few
@given(demands, st.integers(-5, 5))
def test_units_do_not_matter(given_: list[Demand], power: int) -> None:
    """Twice as much is as far from 10 as from 100: all budgets times a factor give the same groups."""
    assume(len({demand.budget_ms for demand in given_}) == len(given_))  # ties are broken by rounding
    scaled = [replace(demand, budget_ms=demand.budget_ms * 2.0**power) for demand in given_]
    only_budgets = Similarity(max_size=7, start_weight=0.0, rate_weight=0.0)
    assert group(scaled, only_budgets) == group(given_, only_budgets)


def test_two_kinds_of_demands_are_not_mixed() -> None:
    early = [Demand(start=2, budget_ms=20.0 + number, load_rps=5.0, members=(number,)) for number in range(6)]
    late = [Demand(start=30, budget_ms=300.0 + number, load_rps=5.0, members=(9,)) for number in range(6)]
    mixed = [demand for pair in zip(early, late, strict=True) for demand in pair]
    groups = group(mixed, Similarity(max_size=6))
    assert sorted(sorted({mixed[number].start for number in part}) for part in groups) == [[2], [30]]


def test_a_weight_of_zero_ignores_a_difference() -> None:
    """Two budgets, two starts: whichever of them does not count is mixed in both groups."""
    crossed = [
        Demand(start=start, budget_ms=budget_ms, load_rps=1.0, members=(0,))
        for start in (0, 10)
        for budget_ms in (10.0, 100.0)
    ]
    by_budget = group(crossed, Similarity(max_size=2, start_weight=0.0))
    by_start = group(crossed, Similarity(max_size=2, budget_weight=0.0))
    assert sorted(map(sorted, by_budget)) == [[0, 2], [1, 3]]
    assert sorted(map(sorted, by_start)) == [[0, 1], [2, 3]]


def test_nobody_makes_no_group() -> None:
    assert group([]) == []
