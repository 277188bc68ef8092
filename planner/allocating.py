"""Demands and the stages bought for them: the arithmetic that every heuristic shares.

A *demand* is what one or several fragments of one model and start ask for together: the least of their
budgets, the sum of their rates. A *tree* is a stage, the demands that enter it, and the trees that feed
it: everything a stage takes in goes on together to the end of the model, so a plan by heuristic is a
list of trees, and its price the sum of theirs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.menu import EPSILON, Floats, Options
from planner.problem import Draft, DraftRoute, DraftStage, Problem


@dataclass(frozen=True, kw_only=True, slots=True)
class Demand:
    """What has to get from layer `start` to the end within `budget_ms`; `members` are fragment numbers."""

    start: int
    budget_ms: float
    load_rps: float
    members: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Tree:
    """`instances` of menu column `column` over layers [start, end), what enters it and what feeds it.

    `price` is that of this stage alone, `time_ms` what it takes from a budget, `load_rps` what it carries.
    """

    start: int
    end: int
    column: int
    instances: int
    price: float
    time_ms: float
    load_rps: float
    demands: tuple[Demand, ...] = ()
    feeders: tuple[Tree, ...] = ()

    @property
    def total(self) -> float:
        """The price of this stage and of all that feeds it."""
        return self.price + math.fsum(feeder.total for feeder in self.feeders)

    def leaves(self) -> Iterator[Demand]:
        """Every demand that ends up here."""
        yield from self.demands
        for feeder in self.feeders:
            yield from feeder.leaves()


@dataclass(frozen=True, kw_only=True, slots=True)
class Allocations:
    """The cheapest option for each of several pairs of time and load; price inf where none fits."""

    price: Floats
    option: NDArray[np.intp]
    instances: NDArray[np.intp]


def price_of(trees: Iterable[Tree]) -> float:
    """What these trees cost together."""
    return math.fsum(tree.total for tree in trees)


def combine(demands: Sequence[Demand]) -> Demand:
    """Demands of one start as one: the least budget, the sum of the rates, all members."""
    if len(demands) == 1:
        return demands[0]
    return Demand(
        start=demands[0].start,
        budget_ms=min(demand.budget_ms for demand in demands),
        load_rps=math.fsum(demand.load_rps for demand in demands),
        members=tuple(number for demand in demands for number in demand.members),
    )


def demands_of(problem: Problem, *, identical_as_one: bool) -> dict[str, list[Demand]]:
    """The fragments of every model as demands: one each, or one for each class of identical ones.

    Fragments are identical when model, start and budget are equal; their rates then simply add up.
    """
    demands: dict[str, list[Demand]] = {}
    for model, numbers in problem.by_model().items():
        classes: dict[tuple[int, float, int], list[Demand]] = {}
        for number in numbers:
            fragment = problem.fragments[number]
            key = (fragment.start, fragment.budget_ms, -1 if identical_as_one else number)
            classes.setdefault(key, []).append(
                Demand(
                    start=fragment.start,
                    budget_ms=fragment.budget_ms,
                    load_rps=fragment.load_rps,
                    members=(number,),
                )
            )
        demands[model] = [combine(group) for group in classes.values()]
    return demands


def allocate(options: Options, times_ms: Floats, loads_rps: Floats) -> Allocations:
    """For every pair of a time and a load, the option and the number of its instances that cost least.

    The same choice as `Menu.cheapest`, for many at once: [N] times and loads against [O] options.
    """
    if not len(options):
        nothing = np.zeros(len(times_ms), dtype=np.intp)
        return Allocations(price=np.full(len(times_ms), math.inf), option=nothing, instances=nothing)
    counts = instances_for(loads_rps[:, None], options.capacity_rps)
    fits = options.time_ms <= times_ms[:, None] * (1 + EPSILON)
    price = np.where(fits, counts * options.price, math.inf)
    option = price.argmin(axis=1)
    rows = np.arange(len(times_ms))
    instances = counts[rows, option].astype(np.intp)
    return Allocations(price=price[rows, option], option=option, instances=instances)


def prices_within(options: Options, times_ms: Floats, loads_rps: Floats) -> Floats:
    """The least price of carrying load number n within each of its times: [N, T] times, [N] loads → [N, T].

    Infinite where no option is that fast. The same prices as `allocate`, but the options are gone through
    once a load, not once a time.
    """
    if not len(options):
        return np.full(times_ms.shape, math.inf)
    order = np.argsort(options.time_ms)
    price = instances_for(loads_rps[:, None], options.capacity_rps[order]) * options.price[order]
    least = np.column_stack([np.full(len(price), math.inf), np.minimum.accumulate(price, axis=1)])
    reached = np.searchsorted(options.time_ms[order], times_ms * (1 + EPSILON), side="right")
    within: Floats = np.take_along_axis(least, reached, axis=1)
    return within


def instances_for(loads_rps: Floats, capacity_rps: Floats) -> Floats:
    """How many whole instances carry these loads, at least one; the rounding slack of the menu is in it."""
    counts: Floats = np.maximum(1.0, np.ceil(loads_rps / capacity_rps - EPSILON))
    return counts


def stage(
    options: Options,
    option: int,
    load_rps: float,
    demands: tuple[Demand, ...] = (),
    feeders: tuple[Tree, ...] = (),
) -> Tree:
    """A tree whose last stage is this option, with as many instances as the load needs."""
    count = max(1, math.ceil(load_rps / float(options.capacity_rps[option]) - EPSILON))
    return Tree(
        start=options.start,
        end=options.end,
        column=int(options.column[option]),
        instances=count,
        price=count * float(options.price[option]),
        time_ms=float(options.time_ms[option]),
        load_rps=load_rps,
        demands=demands,
        feeders=feeders,
    )


def by_start(demands: Sequence[Demand]) -> dict[int, list[int]]:
    """The numbers of the demands of every start, starts in rising order."""
    numbers: dict[int, list[int]] = {start: [] for start in sorted({demand.start for demand in demands})}
    for number, demand in enumerate(demands):
        numbers[demand.start].append(number)
    return numbers


def draft(forests: dict[str, list[Tree]]) -> Draft:
    """The trees of every model as a draft; each member of a demand gets the demand's route."""
    stages: list[DraftStage] = []
    routes: list[DraftRoute] = []
    for model, trees in forests.items():
        waiting: list[tuple[Tree, tuple[int, ...]]] = [(tree, ()) for tree in reversed(trees)]
        while waiting:
            tree, onward = waiting.pop()
            path = (len(stages), *onward)
            stages.append(
                DraftStage(
                    model=model, start=tree.start, end=tree.end, column=tree.column, instances=tree.instances
                )
            )
            waiting.extend((feeder, path) for feeder in tree.feeders)
            for demand in tree.demands:
                routes.extend(DraftRoute(fragment=number, stages=path) for number in demand.members)
    routes.sort(key=lambda route: route.fragment)
    return Draft(stages=tuple(stages), routes=tuple(routes))
