"""Chains: one is found whenever there is one, within the budget, at the least price."""

from __future__ import annotations

import math
from functools import cache
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.allocating import Demand, price_of
from planner.chaining import GRID, alone, chain, chains
from planner.menu import EPSILON, Menu
from tests.planner.trees import assert_serves, demands_for, menu_of

few = settings(max_examples=60, deadline=None, derandomize=True)


def cheapest(menu: Menu, start: int, time_ms: float, load_rps: float, last: int | None = None) -> float:
    """The least price of any chain to `last` (default L), by trying all cuts and options."""
    last = menu.depth if last is None else last

    @cache
    def ways(cut: int) -> list[tuple[float, float]]:
        """Time and price of every way from a cut point to the last one."""
        if cut == last:
            return [(0.0, 0.0)]
        found = []
        for end in range(cut + 1, last + 1):
            options = menu.options(cut, end)
            for option, (rest_ms, rest) in product(range(len(options)), ways(end)):
                count = max(1, math.ceil(load_rps / float(options.capacity_rps[option]) - EPSILON))
                price = count * float(options.price[option])
                found.append((float(options.time_ms[option]) + rest_ms, price + rest))
        return found

    return min(
        (price for spent_ms, price in ways(start) if spent_ms <= time_ms * (1 + EPSILON)), default=math.inf
    )


@few
@given(st.data(), st.integers(0, 20), st.sampled_from([0.3, 0.6]))
def test_the_cheapest_chain_is_found_for_the_load_rounded_up(
    data: st.DataObject, seed: int, nulls: float
) -> None:
    menu = menu_of(seed, layers=3, nulls=nulls)
    [demand, *_] = data.draw(demands_for(menu, most=1))
    rounded_rps = GRID ** math.ceil(math.log(demand.load_rps, GRID) - EPSILON)
    found = chains(menu).price(demand.start, menu.depth, demand.budget_ms, demand.load_rps)
    assert math.isclose(found, cheapest(menu, demand.start, demand.budget_ms, rounded_rps))
    tree = chain(menu, demand)
    assert_serves(menu, [demand], [tree])
    # It is bought for the true load, which is no more.
    exact = cheapest(menu, demand.start, demand.budget_ms, demand.load_rps)
    assert exact * (1 - 1e-9) <= tree.total <= found * (1 + 1e-9)


@few
@given(
    seed=st.integers(0, 20),
    start=st.integers(0, 2),
    length=st.integers(1, 3),
    power=st.integers(-10, 120),
    part=st.floats(0.5, 4.0),
)
def test_chains_to_an_earlier_cut_point_are_the_cheapest_too(
    seed: int, start: int, length: int, power: int, part: float
) -> None:
    menu = menu_of(seed, layers=4, nulls=0.5)
    last = min(start + length, menu.depth)
    time_ms = part * float(menu.least_time_ms[start] - menu.least_time_ms[last])
    load_rps = GRID**power
    found = chains(menu).price(start, last, time_ms, load_rps)
    assert math.isclose(found, cheapest(menu, start, time_ms, load_rps, last))


@few
@given(st.data(), st.integers(0, 20), st.sampled_from([0.0, 0.4]))
def test_alone_takes_the_cheapest_single_stage_and_a_chain_only_without_one(
    data: st.DataObject, seed: int, nulls: float
) -> None:
    menu = menu_of(seed, nulls=nulls)
    demands = data.draw(demands_for(menu))
    trees = alone(menu, demands)
    assert_serves(menu, demands, trees)
    for demand, tree in zip(demands, trees, strict=True):
        single = menu.cheapest(demand.start, menu.depth, demand.budget_ms, demand.load_rps)
        if single is None:
            assert tree.feeders
        else:
            assert not tree.feeders
            assert price_of([tree]) == single.price


def test_where_no_chain_is_fast_enough_the_answer_says_so() -> None:
    menu = menu_of(0)
    hasty = Demand(start=0, budget_ms=0.5 * float(menu.least_time_ms[0]), load_rps=1.0, members=(0,))
    assert chains(menu).price(0, menu.depth, hasty.budget_ms, 1.0) == math.inf
    assert chains(menu).steps(0, menu.depth, hasty.budget_ms, 1.0) is None
    with pytest.raises(ValueError, match="no chain of net from 0 to 5 within the budget"):
        chain(menu, hasty)
