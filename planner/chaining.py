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


class _Labelled:
    """The labels for one end and load, of the cut points from `done` to the end; earlier ones can be added.

    `labels` has those of every cut point from which the end can be reached. `times` and `prices` are all of
    them in one row: `count[c]` of cut point c, from `first[c]` on.
    """

    def __init__(self, end: int, load_rps: float) -> None:
        self.end = self.done = end
        self.load_rps = load_rps
        self.labels: dict[int, _Labels] = {}
        self.times, self.prices = np.zeros(0), np.zeros(0)
        self.first, self.count = np.zeros(end + 1, dtype=np.intp), np.zeros(end + 1, dtype=np.intp)
        self.add(end, _Labels(times=np.zeros(1), prices=np.zeros(1), links=np.zeros((1, 3), dtype=np.intp)))

    def add(self, cut: int, labels: _Labels) -> None:
        """What was found for a cut point; nothing, where the end cannot be reached from it."""
        self.done = cut
        if len(labels.times):
            self.labels[cut] = labels
            self.first[cut], self.count[cut] = len(self.times), len(labels.times)
            self.times = np.concatenate([self.times, labels.times])
            self.prices = np.concatenate([self.prices, labels.prices])


class Chains:
    """The cheapest chains of one model."""

    def __init__(self, menu: Menu) -> None:
        self._menu = menu
        self._kept: dict[tuple[int, int], _Labelled] = {}
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
        """The labels for this end and load, and the number of the best one at `start`."""
        power = math.ceil(math.log(load_rps, GRID) - EPSILON)
        labelled = self._kept.get((end, power))
        if labelled is None:
            if len(self._kept) >= MAX_KEPT:
                self._kept.clear()
            labelled = self._kept[end, power] = _Labelled(end, GRID**power)
        for cut in range(labelled.done - 1, start - 1, -1):
            self._label(labelled, cut)
        labels = labelled.labels
        if start not in labels:
            return None
        label = int(np.searchsorted(labels[start].times, time_ms * (1 + EPSILON), side="right")) - 1
        return (labels, label) if label >= 0 else None

    def _label(self, labelled: _Labelled, cut: int) -> None:
        """Label one more cut point, the one before those that are done."""
        first, count = labelled.first, labelled.count
        ways = self._ways(cut, labelled.end)
        cost = instances_for(np.array(labelled.load_rps), ways.capacity_rps) * ways.price
        useful = ways.useful(cost)
        useful = useful[count[ways.later[useful]] > 0]
        # Every useful option with every label of the cut point it leads to.
        later = ways.later[useful]
        many = count[later]
        option = np.repeat(np.arange(len(useful)), many)
        label = np.arange(len(option)) - np.repeat(np.cumsum(many) - many, many)
        after = first[later[option]] + label
        total_ms = ways.time_ms[useful[option]] + labelled.times[after]
        total = cost[useful[option]] + labelled.prices[after]
        keep = _front(total_ms, total)
        links = np.stack([later[option[keep]], ways.number[useful[option[keep]]], label[keep]], axis=1)
        labelled.add(cut, _Labels(times=total_ms[keep], prices=total[keep], links=links))

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
    order: NDArray[np.intp] = np.argsort(times)
    if not len(order):
        return order
    sorted_prices = prices[order]
    keep = np.ones(len(order), dtype=bool)
    keep[1:] = sorted_prices[1:] < np.minimum.accumulate(sorted_prices)[:-1]
    order = order[keep]
    # Of equal times the last is the cheapest, in whatever order the others were.
    order = order[np.append(np.diff(times[order]) > 0, True)]
    if len(order) > MAX_LABELS:
        order = order[np.linspace(0, len(order) - 1, MAX_LABELS).round().astype(int)]
    return order
