"""Forests: the cheapest options of a tree of a given shape, exactly; and changes that lose nobody."""

from __future__ import annotations

import math
from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from planner.allocating import Demand, price_of
from planner.forest import Forest, Fronts, Stem
from planner.menu import EPSILON, Menu
from planner.realigning import realign
from tests.planner.trees import assert_serves, demands_for, menu_of

few = settings(max_examples=60, deadline=None, derandomize=True)


@st.composite
def shaped(draw: st.DrawFn, menu: Menu) -> tuple[Forest, Stem]:
    """A tree of a random shape (a root, up to two feeders, perhaps one below the first), and its demands."""
    depth = menu.depth
    root = Stem(draw(st.integers(1, depth - 1)), depth, None)
    stems = [root]
    for _ in range(draw(st.integers(0, 2))):
        below = Stem(draw(st.integers(0, root.start - 1)), root.start, root)
        root.feeders.append(below)
        stems.append(below)
    if len(stems) > 1 and stems[1].start > 0 and draw(st.booleans()):
        below = Stem(draw(st.integers(0, stems[1].start - 1)), stems[1].start, stems[1])
        stems[1].feeders.append(below)
        stems.append(below)
    demands: list[Demand] = []
    for stem in stems:
        for _ in range(draw(st.integers(0 if stem.feeders else 1, 2))):
            stem.demands.append(len(demands))
            demands.append(
                Demand(
                    start=stem.start,
                    budget_ms=float(menu.least_time_ms[stem.start]) * draw(st.floats(0.8, 5.0)),
                    load_rps=draw(st.floats(0.1, 400.0)),
                    members=(len(demands),),
                )
            )
    return Forest(Fronts(menu), demands), root


def by_trying_all(forest: Forest, root: Stem) -> float:
    """The least price over every choice of one option a stage that keeps everybody's budget."""
    stems = list(root.walk())
    tables = [forest.menu.options(stem.start, stem.end) for stem in stems]
    least = math.inf
    for choice in product(*(range(len(options)) for options in tables)):
        time_ms = {
            id(stem): float(options.time_ms[option])
            for stem, options, option in zip(stems, tables, choice, strict=True)
        }
        price = 0.0
        for stem, options, option in zip(stems, tables, choice, strict=True):
            way, above = 0.0, stem
            while above is not None:
                way += time_ms[id(above)]
                above = above.parent  # type: ignore[assignment]
            if any(way > forest.budgets[number] + 1e-9 for number in stem.demands):
                break
            load = sum(forest.loads[number] for number in stem.everybody())
            price += max(1, math.ceil(load / float(options.capacity_rps[option]) - EPSILON)) * float(
                options.price[option]
            )
        else:
            least = min(least, price)
    return least


@few
@given(st.data(), st.integers(0, 5))
def test_settling_finds_the_cheapest_options_of_a_shape(data: st.DataObject, seed: int) -> None:
    menu = menu_of(seed, layers=4)
    forest, root = data.draw(shaped(menu))
    price = forest.settle(root)
    assert math.isclose(price, by_trying_all(forest, root))
    if math.isfinite(price):
        tree = forest.harvested(root)
        assert math.isclose(tree.total, price)
        assert_serves(menu, forest.demands, [tree])


@few
@given(st.data(), st.integers(0, 5))
def test_after_a_change_it_settles_as_if_it_had_been_made_so(data: st.DataObject, seed: int) -> None:
    """Take one demand out, and curves kept from before must not show; the tree before stays as it was."""
    menu = menu_of(seed, layers=4)
    forest, root = data.draw(shaped(menu))
    before = forest.settle(root)
    gone = data.draw(st.sampled_from(range(len(forest.demands))))
    twin = root.copy()
    for stem in twin.walk():
        if gone in stem.demands:
            stem.demands.remove(gone)
            stem.changed()
    left = forest.prune(twin)
    assert forest.settle(root) == before
    assert sorted(root.everybody()) == list(range(len(forest.demands)))
    others = sorted(set(range(len(forest.demands))) - {gone})
    if left is None:
        assert others == []
        return
    assert sorted(left.everybody()) == others
    anew = left.copy()
    for stem in anew.walk():
        stem.curve = None
    assert math.isclose(forest.settle(left), forest.settle(anew))


@few
@given(st.data(), st.integers(0, 5), st.sampled_from([0.0, 0.3]))
def test_planting_trees_and_harvesting_them_costs_no_more(
    data: st.DataObject, seed: int, nulls: float
) -> None:
    menu = menu_of(seed, nulls=nulls)
    demands = data.draw(demands_for(menu))
    trees = realign(menu, demands)
    forest = Forest(Fronts(menu), demands)
    roots = forest.planted(trees)
    assert math.fsum(forest.settle(root) for root in roots) <= price_of(trees) * (1 + 1e-9)
    assert_serves(menu, demands, [forest.harvested(root) for root in roots])
