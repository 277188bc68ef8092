"""Re-aligning: everybody is served in time, never dearer than alone, and the best star of two is found."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from planner.allocating import Demand, price_of
from planner.chaining import alone
from planner.menu import Menu
from planner.profile import Profile
from planner.realigning import realign
from tests.planner.trees import assert_serves, demands_for, menu_of

few = settings(max_examples=60, deadline=None, derandomize=True)


@few
@given(st.data(), st.integers(0, 5), st.sampled_from([0.0, 0.3]))
def test_everybody_is_served_in_time_and_never_dearer_than_alone(
    data: st.DataObject, seed: int, nulls: float
) -> None:
    menu = menu_of(seed, nulls=nulls)
    demands = data.draw(demands_for(menu, most=12))
    trees = realign(menu, demands)
    assert_serves(menu, demands, trees)
    assert price_of(trees) <= price_of(alone(menu, demands)) * (1 + 1e-9)


@few
@given(st.data(), st.integers(0, 3))
def test_demands_are_brought_to_an_earlier_end_with_time_to_spare(data: st.DataObject, seed: int) -> None:
    """What alignment stages are asked for: to a cut point before the last, some of the budget left."""
    menu = menu_of(seed)
    demands = data.draw(demands_for(menu))
    end = menu.depth - 1
    early = [demand for demand in demands if demand.start < end]
    if not early:
        return
    reserve_ms = min(demand.budget_ms - float(_least_ms(menu, demand.start, end)) for demand in early)
    left = [
        Demand(
            start=demand.start,
            budget_ms=demand.budget_ms - reserve_ms,
            load_rps=demand.load_rps,
            members=demand.members,
        )
        for demand in early
    ]
    assert_serves(menu, left, realign(menu, early, end=end, reserve_ms=reserve_ms), end=end)


@few
@given(st.data(), st.integers(0, 5))
def test_of_two_demands_it_finds_the_cheapest_meeting(data: st.DataObject, seed: int) -> None:
    """Against every option of the shared stage with every option of the alignment stage before it."""
    menu = menu_of(seed)
    demands = data.draw(demands_for(menu, most=2))
    if len(demands) < 2:
        return
    early, late = sorted(demands, key=lambda demand: demand.start)
    shared = menu.options(late.start, menu.depth)
    together = math.inf
    for time_ms, capacity_rps, price in zip(shared.time_ms, shared.capacity_rps, shared.price, strict=True):
        count = max(1, math.ceil((early.load_rps + late.load_rps) / capacity_rps - 1e-9))
        total = count * float(price)
        if time_ms > late.budget_ms * (1 + 1e-9):
            continue
        if early.start < late.start:
            left_ms = early.budget_ms * (1 + 1e-9) - float(time_ms)
            first = menu.cheapest(early.start, late.start, left_ms / (1 + 1e-9), early.load_rps)
            total += math.inf if left_ms <= 0 or first is None else first.price
        elif time_ms > early.budget_ms * (1 + 1e-9):
            continue
        together = min(together, total)
    apart = price_of(alone(menu, demands))
    assert math.isclose(price_of(realign(menu, demands)), min(apart, together), rel_tol=1e-9)


def test_some_share_and_who_cannot_is_left_alone() -> None:
    """20 % takes 10 ms a layer and 50 % takes 4: two with time share 20 %, the hasty one fills its 50 %."""
    cells = ((10.0, 4.0),)
    menu = Menu(
        [
            Profile(
                model="m",
                gpu="g",
                layers=("a", "b"),
                batches=(1,),
                shares=(20, 50),
                latency_ms=(cells, cells),
            )
        ]
    )
    demands = [
        Demand(start=0, budget_ms=60.0, load_rps=20.0, members=(0,)),
        Demand(start=0, budget_ms=60.0, load_rps=20.0, members=(1,)),
        Demand(start=0, budget_ms=18.0, load_rps=110.0, members=(2,)),
    ]
    trees = realign(menu, demands)
    assert sorted(sorted(n for leaf in tree.leaves() for n in leaf.members) for tree in trees) == [
        [0, 1],
        [2],
    ]
    assert price_of(trees) == 70.0


def _least_ms(menu: Menu, start: int, end: int) -> float:
    return menu.options(start, end).least_time_ms
