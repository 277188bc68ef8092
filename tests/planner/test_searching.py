"""The search: whatever it changes, everybody is served once and in time, and it never gets dearer."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.allocating import Demand, demands_of, price_of
from planner.chaining import alone
from planner.forest import Forest, Fronts
from planner.menu import Menu
from planner.planning import prepare
from planner.problem import PlanSettings
from planner.searching import Search
from tests.planner.trees import assert_serves, demands_for, menu_of
from tests.profiles import make_coarse_profile, make_profile, make_workload


def crowd(fragments: int, *, coarse: bool = False, seed: int = 0) -> tuple[Menu, list[Demand]]:
    """The menu and demands of a workload of tests/profiles.py."""
    profile = make_coarse_profile(null_cells=0.2) if coarse else make_profile(layers=10)
    problem, _ = prepare(make_workload([profile], fragments=fragments, seed=seed), [profile], PlanSettings())
    return problem.menus["net"], demands_of(problem, identical_as_one=True)["net"]


def search_of(menu: Menu, demands: list[Demand], *, seed: int = 0, recombine: bool = True) -> Search:
    """A search that starts from everybody alone."""
    forest = Forest(Fronts(menu), demands)
    return Search(forest, forest.planted(alone(menu, demands)), seed=seed, recombine=recombine)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.data(), st.integers(0, 5), st.sampled_from([0.0, 0.3]), st.booleans())
def test_everybody_is_served_and_no_round_makes_it_dearer(
    data: st.DataObject, seed: int, nulls: float, recombine: bool
) -> None:
    menu = menu_of(seed, nulls=nulls)
    demands = data.draw(demands_for(menu, most=10))
    search = search_of(menu, demands, seed=seed, recombine=recombine)
    price = price_of(alone(menu, demands))
    for _ in range(3):
        search.improve(40)
        assert search.price <= price * (1 + 1e-9)
        price = search.price
        trees = search.trees()
        assert price_of(trees) == pytest.approx(price)
        assert_serves(menu, demands, trees)


@pytest.mark.parametrize("coarse", [False, True], ids=["fine", "coarse"])
def test_trees_put_together_anew_serve_everybody_once(coarse: bool) -> None:
    """Recombining takes trees seen earlier; had they been changed since, somebody would be served twice."""
    menu, demands = crowd(60, coarse=coarse)
    search = search_of(menu, demands)
    for _ in range(4):
        search.improve(150)
        assert_serves(menu, demands, search.trees())


def test_what_it_remembers_of_a_tree_stays_true() -> None:
    """Every tree kept for recombining still serves whom it was kept for, at the price it was kept with."""
    menu, demands = crowd(40)
    search = search_of(menu, demands)
    search.improve(200)
    assert len(search._seen) > 50
    for members, (price, root) in search._seen.items():
        assert frozenset(root.everybody()) == members
        assert search.forest.settle(root.copy()) == pytest.approx(price)


def test_it_gets_cheaper_with_more_steps_and_the_same_seed_gives_the_same_trees() -> None:
    menu, demands = crowd(30)
    prices = []
    for steps in (0, 10, 600):
        searches = [search_of(menu, demands, seed=3) for _ in range(2)]
        for search in searches:
            search.improve(steps)
        assert searches[0].trees() == searches[1].trees()
        prices.append(searches[0].price)
    assert prices[0] > prices[1] > prices[2]


def test_it_asks_before_every_step_whether_to_go_on() -> None:
    menu, demands = crowd(20)
    search = search_of(menu, demands)
    asked = 0

    def after_ten() -> bool:
        nonlocal asked
        asked += 1
        return asked > 10

    search.improve(1000, after_ten)
    # Ten steps, the answer that ended them, and once more before recombining.
    assert asked == 12
    same = search_of(menu, demands, recombine=False)
    same.improve(1000, iter([False] * 10 + [True]).__next__)
    assert_serves(menu, demands, same.trees())
