"""A demand on stages of its own: the cheapest single stage, or a chain where no single one will do.

Chains are needed where cells were not measured: there may be no batch and share at which all layers from a
demand's start were, or only slow ones. The cheapest chain within a budget is a shortest path with a time
limit over the cut points, found by dynamic programming from the end backwards. A label of a cut point is
(time, price, option, next label); its Pareto front over time and price is kept, so the labels answer for
every budget and every start at once. Prices depend on the load, so labels are made for loads on a grid,
rounded up, and the chain found is then bought for the true load.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from planner.allocating import Demand, Tree, allocate, by_start, instances_for, stage
from planner.menu import EPSILON, Floats, Menu

# Labels kept for each cut point, the fastest always among them: a chain is found whenever there is one, and
# it is the cheapest (for the rounded load) unless labels had to be left out.
MAX_LABELS = 64

# Loads are rounded up to powers of this.
GRID = 1.05

# Labels kept for reuse, by load and end; beyond this the store starts anew.
MAX_KEPT = 500


def alone(
    menu: Menu, demands: Sequence[Demand], *, end: int | None = None, reserve_ms: float = 0.0
) -> list[Tree]:
    """Each demand on stages of its own up to `end` (default L), `reserve_ms` of every budget left for later.

    The cheapest single stage, or a chain where none will do. Every demand must have a route.
    """
    end = menu.depth if end is None else end
    trees: list[Tree | None] = [None] * len(demands)
    for start, numbers in by_start(demands).items():
        options = menu.options(start, end)
        times = np.array([demands[number].budget_ms for number in numbers]) - reserve_ms
        loads = np.array([demands[number].load_rps for number in numbers])
        found = allocate(options, times, loads)
        for position, number in enumerate(numbers):
            demand = demands[number]
            if math.isfinite(found.price[position]):
                trees[number] = stage(options, int(found.option[position]), demand.load_rps, (demand,))
            else:
                trees[number] = chain(menu, demand, end=end, reserve_ms=reserve_ms)
    return [tree for tree in trees if tree is not None]


def chain(menu: Menu, demand: Demand, *, end: int | None = None, reserve_ms: float = 0.0) -> Tree:
    """A cheap chain of stages from the demand's start to `end` (default L), within budget less reserve.

    Raises ValueError where there is none; a Problem promises one to L for each of its fragments.
    """
    end = menu.depth if end is None else end
    steps = chains(menu).steps(demand.start, end, demand.budget_ms - reserve_ms, demand.load_rps)
    if steps is None:
        raise ValueError(f"no chain of {menu.model} from {demand.start} to {end} within the budget")
    tree: Tree | None = None
    for start, later, option in steps:
        options = menu.options(start, later)
        if tree is None:
            tree = stage(options, option, demand.load_rps, (demand,))
        else:
            tree = stage(options, option, demand.load_rps, feeders=(tree,))
    assert tree is not None
    return tree


def chains(menu: Menu) -> Chains:
    """The chains of a menu, which remember what they found as long as the menu lives."""
    if menu not in _CHAINS:
        _CHAINS[menu] = Chains(menu)
    return _CHAINS[menu]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Labels:
    """Labels of one cut point by rising time, falling price; `links` [n, 3]: next cut, option, label."""

    times: Floats
    prices: Floats
    links: NDArray[np.intp]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Ways:
    """Options of all stages from one cut point, by where they lead and then by time; arrays of one length.

    `later` is the cut point a stage leads to, `number` that of the option in the menu's table of the stage.
    """

    later: NDArray[np.intp]
    number: NDArray[np.intp]
    time_ms: Floats
    capacity_rps: Floats
    price: Floats

    def until(self, end: int) -> _Ways:
        """Those that lead to `end` or before."""
        stop = int(np.searchsorted(self.later, end, side="right"))
        return _Ways(**{column.name: getattr(self, column.name)[:stop] for column in fields(self)})

    def useful(self, cost: Floats) -> NDArray[np.intp]:
        """The ways that no faster one to the same cut point undercuts; `cost` is what each costs in all."""
        if not len(cost):
            return np.zeros(0, dtype=np.intp)
        # Costs are lowered by more than they can differ from one cut point to the next, so that the least so
        # far starts anew with each.
        lowered = cost - self.later * (1.0 + float(cost.max()))
        keep = np.ones(len(cost), dtype=bool)
        keep[1:] = lowered[1:] < np.minimum.accumulate(lowered)[:-1]
        return np.flatnonzero(keep)


class Chains:
    """The cheapest chains of one model."""

    def __init__(self, menu: Menu) -> None:
        self._menu = menu
        self._kept: dict[tuple[int, int], dict[int, _Labels]] = {}
        self._all_ways: dict[int, _Ways] = {}

    def price(self, start: int, end: int, time_ms: float, load_rps: float) -> float:
        """About what a chain costs (for the load rounded up); infinite where there is none."""
        found = self._find(start, end, time_ms, load_rps)
        return math.inf if found is None else float(found[0][start].prices[found[1]])

    def steps(
        self, start: int, end: int, time_ms: float, load_rps: float
    ) -> list[tuple[int, int, int]] | None:
        """The stages of the cheapest chain as (start, end, number of the option); None if there is none."""
        found = self._find(start, end, time_ms, load_rps)
        if found is None:
            return None
        labels, label = found
        steps = []
        while start != end:
            later, option, label = (int(value) for value in labels[start].links[label])
            steps.append((start, later, option))
            start = later
        return steps

    def _find(
        self, start: int, end: int, time_ms: float, load_rps: float
    ) -> tuple[dict[int, _Labels], int] | None:
        """All labels for this end and load, and the number of the best one at `start`."""
        power = math.ceil(math.log(load_rps, GRID) - EPSILON)
        labels = self._kept.get((end, power))
        if labels is None:
            if len(self._kept) >= MAX_KEPT:
                self._kept.clear()
            labels = self._kept[end, power] = self._label(end, GRID**power)
        if start not in labels:
            return None
        label = int(np.searchsorted(labels[start].times, time_ms * (1 + EPSILON), side="right")) - 1
        return (labels, label) if label >= 0 else None

    def _label(self, end: int, load_rps: float) -> dict[int, _Labels]:
        """The labels of every cut point from which `end` can be reached."""
        none = np.zeros((1, 3), dtype=np.intp)
        labels = {end: _Labels(times=np.zeros(1), prices=np.zeros(1), links=none)}
        # All labels so far in one row: count[c] of cut point c, from first[c] on.
        times, prices = np.zeros(1), np.zeros(1)
        first, count = np.zeros(end + 1, dtype=np.intp), np.zeros(end + 1, dtype=np.intp)
        count[end] = 1
        for cut in range(end - 1, -1, -1):
            ways = self._ways(cut, end)
            cost = instances_for(np.array(load_rps), ways.capacity_rps) * ways.price
            useful = ways.useful(cost)
            useful = useful[count[ways.later[useful]] > 0]
            # Every useful option with every label of the cut point it leads to.
            later = ways.later[useful]
            many = count[later]
            option = np.repeat(np.arange(len(useful)), many)
            label = np.arange(len(option)) - np.repeat(np.cumsum(many) - many, many)
            after = first[later[option]] + label
            total_ms = ways.time_ms[useful[option]] + times[after]
            total = cost[useful[option]] + prices[after]
            keep = _front(total_ms, total)
            if not len(keep):
                continue
            links = np.stack([later[option[keep]], ways.number[useful[option[keep]]], label[keep]], axis=1)
            labels[cut] = _Labels(times=total_ms[keep], prices=total[keep], links=links)
            first[cut], count[cut] = len(times), len(keep)
            times = np.concatenate([times, labels[cut].times])
            prices = np.concatenate([prices, labels[cut].prices])
        return labels

    def _ways(self, cut: int, end: int) -> _Ways:
        """All stages that begin at a cut point and end at `end` or before."""
        if cut not in self._all_ways:
            ends = range(cut + 1, self._menu.depth + 1)
            tables = [self._menu.options(cut, later) for later in ends]
            later = np.repeat(ends, [len(table) for table in tables])
            number = np.concatenate([np.arange(len(table)) for table in tables])
            time, capacity, price = (
                np.concatenate([getattr(table, name) for table in tables])
                for name in ("time_ms", "capacity_rps", "price")
            )
            order = np.lexsort((price, time, later))
            self._all_ways[cut] = _Ways(
                later=later[order],
                number=number[order],
                time_ms=time[order],
                capacity_rps=capacity[order],
                price=price[order],
            )
        return self._all_ways[cut].until(end)


_CHAINS: WeakKeyDictionary[Menu, Chains] = WeakKeyDictionary()


def _front(times: Floats, prices: Floats) -> NDArray[np.intp]:
    """The Pareto front over time and price, fastest first, thinned to MAX_LABELS."""
    order: NDArray[np.intp] = np.lexsort((prices, times))
    if not len(order):
        return order
    least = np.minimum.accumulate(prices[order])
    order = order[np.concatenate([[True], prices[order][1:] < least[:-1]])]
    if len(order) > MAX_LABELS:
        order = order[np.linspace(0, len(order) - 1, MAX_LABELS).round().astype(int)]
    return order
