"""Demands drawn at random, and what must hold of every list of trees that serves them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from hypothesis import strategies as st

from planner.allocating import Demand, Tree
from planner.menu import Menu
from tests.profiles import make_coarse_profile, make_profile

SLACK = 1 + 1e-6

_MENUS: dict[tuple[int, float, int], Menu] = {}


def menu_of(seed: int, *, layers: int = 5, nulls: float = 0.0) -> Menu:
    """A small coarse menu (3 shares, 3 batches); the same arguments give the same object."""
    key = (seed, nulls, layers)
    if key not in _MENUS:
        _MENUS[key] = Menu([make_coarse_profile(layers=layers, null_cells=nulls, seed=seed)])
    return _MENUS[key]


def fine_menu(layers: int = 8) -> Menu:
    """A menu with many shares and batches."""
    return Menu([make_profile(layers=layers)])


@st.composite
def demands_for(draw: st.DrawFn, menu: Menu, *, most: int = 8, same_start: bool = False) -> list[Demand]:
    """Demands that can all be served, numbered from 0."""
    starts = st.integers(0, menu.depth - 1)
    one = draw(starts)
    made = []
    for number in range(draw(st.integers(1, most))):
        start = one if same_start else draw(starts)
        least = float(menu.least_time_ms[start])
        made.append(
            Demand(
                start=start,
                budget_ms=least * draw(st.floats(1.0, 6.0)),
                load_rps=draw(st.floats(0.1, 400.0)),
                members=(number,),
            )
        )
    return made


def paths(trees: Sequence[Tree]) -> Iterator[tuple[Demand, tuple[Tree, ...]]]:
    """Every demand with the stages it passes, in order."""
    waiting: list[tuple[Tree, tuple[Tree, ...]]] = [(tree, ()) for tree in trees]
    while waiting:
        tree, onward = waiting.pop()
        for demand in tree.demands:
            yield demand, (tree, *onward)
        waiting.extend((feeder, (tree, *onward)) for feeder in tree.feeders)


def assert_serves(
    menu: Menu, demands: Sequence[Demand], trees: Sequence[Tree], end: int | None = None
) -> None:
    """Laws 1 to 4 for trees: everybody once, from start to end without a hole, in time, within capacity."""
    end = menu.depth if end is None else end
    budgets = {member: demand.budget_ms for demand in demands for member in demand.members}
    starts = {member: demand.start for demand in demands for member in demand.members}
    loads = {demand.members: demand.load_rps for demand in demands}
    served = []
    for demand, way in paths(trees):
        served.extend(demand.members)
        cuts = [way[0].start, *(tree.end for tree in way)]
        assert cuts == [demand.start, *(tree.start for tree in way[1:]), end]
        time_ms = 0.0
        for tree in way:
            exec_ms = float(menu.exec_ms(tree.start, tree.end)[tree.column])
            assert not math.isnan(exec_ms), "a stage over a cell that was not measured"
            time_ms += exec_ms * float(menu.time_per_exec[tree.column])
        for member in demand.members:
            assert starts[member] == demand.start
            assert time_ms <= budgets[member] * SLACK
    assert sorted(served) == sorted(budgets), "every demand is served once"
    for tree in all_stages(trees):
        load = sum(load for members, load in loads.items() if _passes(tree, members))
        exec_ms = float(menu.exec_ms(tree.start, tree.end)[tree.column])
        assert tree.instances * 1000 * menu.columns[tree.column].batch / exec_ms * SLACK >= load
        assert tree.price == tree.instances * menu.prices[tree.column]


def all_stages(trees: Sequence[Tree]) -> Iterator[Tree]:
    """Every stage of these trees."""
    waiting = list(trees)
    while waiting:
        tree = waiting.pop()
        yield tree
        waiting.extend(tree.feeders)


def _passes(tree: Tree, members: tuple[int, ...]) -> bool:
    return any(set(members) <= set(demand.members) for demand in tree.leaves())
