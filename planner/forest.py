"""Trees of stages that a search can change: from a tree's shape follow its cheapest options.

A tree's shape says which stages there are, what enters them and where they lead. Loads follow from it, so
of all options of a stage only the front over (time, price of all instances) matters: a `Front`. Which of
these each stage takes is a question of how the budgets are divided, and it is answered exactly. Let τ be
the time that still comes after a stage; the price of the stage and all that feeds it, as a step function
of τ, is

    curve(τ) = min over the stage's options of  price + Σ over feeders of their curve(τ + time)

where an option is out of the question if a demand that enters here has less budget than τ + time. A `Curve`
lists its steps; it is kept with the stage until something below it changes, so that after a change only
the stages from there to the root are looked at again.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import chain as flatten
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from planner.allocating import Demand, Tree, stage
from planner.bounds import least_price_per_rps
from planner.menu import EPSILON, Floats, Menu

# Fronts kept for reuse; beyond this the store starts anew, which bounds its memory.
MAX_FRONTS = 20_000

# Digits kept of a stage's load. The order in which loads were added up must not show in the keys of fronts.
LOAD_DIGITS = 9

# Milliseconds by which sums of times may differ for the order in which they were added.
ROUNDING_MS = 1e-9


class Front:
    """What a stage costs with a given load, by the time allowed: `times` rise, `prices` fall.

    `options` are numbers of the menu entry's options. Plain lists, since a search looks up one at a time.
    """

    __slots__ = ("options", "prices", "times")

    def __init__(self, times: list[float], prices: list[float], options: list[int]) -> None:
        self.times = times
        self.prices = prices
        self.options = options

    def position(self, time_ms: float) -> int:
        """Of the cheapest option within this time; −1 where nothing is that fast."""
        return bisect_right(self.times, time_ms) - 1

    def price(self, time_ms: float) -> float:
        """The least price within this time; infinite where nothing is that fast."""
        position = bisect_right(self.times, time_ms)
        return self.prices[position - 1] if position else math.inf


class Curve:
    """The steps of a tree's price: `prices[n]` while at most `after_ms[n]` come after it; both rise.

    `positions[n]` is where in the front of the tree's last stage its option stands, `rises[n]` by how much
    the price rises at the end of the step, at the last one without end.
    """

    __slots__ = ("after_ms", "positions", "prices", "rises")

    def __init__(self, after_ms: list[float], prices: list[float], positions: list[int]) -> None:
        self.after_ms = after_ms
        self.prices = prices
        self.positions = positions
        self.rises = [later - sooner for sooner, later in pairwise(prices)]
        self.rises.append(math.inf)


class Stem:
    """A stage in a tree under search: layers [start, end), numbers of the demands that enter it, its feeders.

    What the search changes is the shape. `Forest.settle` sets the rest: `price` (all instances),
    `room_rps` (what they carry), `tail_ms` (from entering this stage to the end of the model), the option
    and what one instance of it costs and carries.
    """

    __slots__ = (
        "curve", "demands", "end", "feeders", "limit_ms", "load_rps", "option", "parent", "price",
        "room_rps", "start", "tail_ms", "unit_price", "unit_rps",
    )  # fmt: skip

    def __init__(self, start: int, end: int, parent: Stem | None) -> None:
        self.start = start
        self.end = end
        self.parent = parent
        self.demands: list[int] = []
        self.feeders: list[Stem] = []
        self.load_rps = 0.0
        self.limit_ms = math.inf  # the least budget of the demands that enter here
        self.curve: Curve | None = None
        self.option = -1
        self.price = self.room_rps = self.tail_ms = self.unit_price = self.unit_rps = 0.0

    def walk(self) -> Iterator[Stem]:
        """This stage and all that feed it, parents first."""
        waiting = [self]
        while waiting:
            stem = waiting.pop()
            yield stem
            waiting.extend(stem.feeders)

    def everybody(self) -> list[int]:
        """The numbers of all demands that pass here."""
        return list(flatten.from_iterable(stem.demands for stem in self.walk()))

    def changed(self) -> None:
        """Call it after a change to what enters or feeds this stage; its tree has to be settled again."""
        stem: Stem | None = self
        while stem is not None:
            stem.curve = None
            stem = stem.parent

    def copy(self, twins: dict[int, Stem] | None = None) -> Stem:
        """The tree below this stage, to be changed; `twins` learns which stage (by id) became which."""
        twin = Stem(self.start, self.end, None)
        twin.demands = self.demands.copy()
        twin.load_rps, twin.limit_ms, twin.curve = self.load_rps, self.limit_ms, self.curve
        twin.option, twin.price, twin.room_rps = self.option, self.price, self.room_rps
        twin.tail_ms, twin.unit_price, twin.unit_rps = self.tail_ms, self.unit_price, self.unit_rps
        if twins is not None:
            twins[id(self)] = twin
        for feeder in self.feeders:
            below = feeder.copy(twins)
            below.parent = twin
            twin.feeders.append(below)
        return twin


class Fronts:
    """The fronts of one model's stages, made when first asked for.

    `work` counts the fronts and curves made with them: how much was done, on whatever machine.
    """

    def __init__(self, menu: Menu) -> None:
        self.menu = menu
        self.work = 0
        self._kept: dict[tuple[int, int, float], Front] = {}
        self._by_time: dict[tuple[int, int], tuple[NDArray[np.intp], Floats, Floats, Floats]] = {}
        self._units: dict[tuple[int, int], tuple[list[float], list[float]]] = {}
        self._least_price = float(menu.prices.min())
        # Running sums over layers of the least price of one request a second, a little lowered for rounding.
        # With exits, loads may be counted where not all of them are any more: then nothing is said of layers.
        per_rps = least_price_per_rps(menu) * (1 - EPSILON)
        if any(profile.exits for profile in menu.profiles):
            per_rps[:] = 0.0
        self._price_per_rps: list[float] = np.concatenate([[0.0], per_rps.cumsum()]).tolist()

    def floor(self, start: int, end: int, load_rps: float) -> float:
        """A price that no stage [start, end) for this load is below."""
        fluid = load_rps * (self._price_per_rps[end] - self._price_per_rps[start])
        return max(fluid, self._least_price)

    def front(self, start: int, end: int, load_rps: float) -> Front:
        """The front of [start, end) for this load."""
        key = (start, end, load_rps)
        front = self._kept.get(key)
        if front is None:
            if len(self._kept) >= MAX_FRONTS:
                self._kept.clear()
            front = self._kept[key] = self._make(start, end, load_rps)
        return front

    def unit(self, start: int, end: int, option: int) -> tuple[float, float]:
        """What one instance of an option can be loaded with, and its price."""
        if (start, end) not in self._units:
            options = self.menu.options(start, end)
            self._units[start, end] = (options.capacity_rps.tolist(), options.price.tolist())
        rps, prices = self._units[start, end]
        return rps[option], prices[option]

    def _make(self, start: int, end: int, load_rps: float) -> Front:
        self.work += 1
        if (start, end) not in self._by_time:
            options = self.menu.options(start, end)
            # Of equal times the cheaper first, so that a strict comparison keeps it.
            order = np.lexsort((options.price, options.time_ms))
            columns = (options.time_ms[order], options.capacity_rps[order], options.price[order])
            self._by_time[start, end] = (order, *columns)
        order, time, capacity, price = self._by_time[start, end]
        if not len(order):
            return Front([], [], [])
        cost = np.maximum(1.0, np.ceil(load_rps / capacity - EPSILON)) * price  # as instances_for counts
        cheaper = (cost[1:] < np.minimum.accumulate(cost)[:-1]).nonzero()[0] + 1
        keep = [0, *cheaper.tolist()]
        return Front(time[keep].tolist(), cost[keep].tolist(), order[keep].tolist())


class Forest:
    """Demands of one model, and the arithmetic of trees that bring them to its end."""

    def __init__(self, fronts: Fronts, demands: Sequence[Demand]) -> None:
        """`fronts` may be shared by the forests of one model."""
        self.menu = fronts.menu
        self.fronts = fronts
        self.front = fronts.front
        self.demands = demands
        self.starts = [demand.start for demand in demands]
        self.budgets = [demand.budget_ms * (1 + EPSILON) for demand in demands]
        self.loads = [demand.load_rps for demand in demands]

    def settle(self, root: Stem) -> float:
        """Give every stage of a tree its cheapest option; the tree's price, infinite where none will do."""
        curve = root.curve or self._curve(root)
        if not curve.prices:
            return math.inf
        price = curve.prices[0]
        waiting = [(root, 0.0)]
        while waiting:
            stem, after_ms = waiting.pop()
            assert stem.curve is not None
            position = stem.curve.positions[bisect_left(stem.curve.after_ms, after_ms - ROUNDING_MS)]
            front = self.front(stem.start, stem.end, stem.load_rps)
            self.choose(stem, front, position, after_ms)
            waiting.extend((feeder, stem.tail_ms) for feeder in stem.feeders)
        return price

    def choose(self, stem: Stem, front: Front, position: int, after_ms: float) -> None:
        """Give a stage the option at this position of a front, with as many instances as its load needs."""
        option = front.options[position]
        stem.option = option
        stem.unit_rps, stem.unit_price = self.fronts.unit(stem.start, stem.end, option)
        stem.tail_ms = after_ms + front.times[position]
        count = max(1, math.ceil(stem.load_rps / stem.unit_rps - EPSILON))
        stem.room_rps, stem.price = count * stem.unit_rps, count * stem.unit_price

    def prune(self, root: Stem) -> Stem | None:
        """The tree without stages that nothing enters or that only pass on what one other brings."""
        kept = []
        for feeder in root.feeders:
            pruned = self.prune(feeder)
            if pruned is not None:
                pruned.parent = root
                kept.append(pruned)
            if pruned is not feeder:
                root.changed()
        root.feeders = kept
        if root.demands or len(kept) > 1:
            return root
        if not kept:
            return None
        [only] = kept
        if not self.front(only.start, root.end, only.load_rps).times:
            return root  # no single stage goes all the way
        only.end, only.parent, only.curve = root.end, None, None
        return only

    def planted(self, trees: Sequence[Tree]) -> list[Stem]:
        """Trees over these demands, or over ones that were merged of these, as stems."""
        number = {member: k for k, demand in enumerate(self.demands) for member in demand.members}

        def grow(tree: Tree) -> Stem:
            stem = Stem(tree.start, tree.end, None)
            stem.demands = sorted({number[member] for demand in tree.demands for member in demand.members})
            for feeder in tree.feeders:
                below = grow(feeder)
                below.parent = stem
                stem.feeders.append(below)
            return stem

        return [grow(tree) for tree in trees]

    def harvested(self, root: Stem) -> Tree:
        """A settled stem as a tree."""
        return stage(
            self.menu.options(root.start, root.end),
            root.option,
            math.fsum(self.loads[number] for number in root.everybody()),
            tuple(self.demands[number] for number in sorted(root.demands)),
            tuple(self.harvested(feeder) for feeder in root.feeders),
        )

    def _curve(self, stem: Stem) -> Curve:
        """The curve of a stage whose shape changed; those of its feeders that changed are made on the way."""
        self.fronts.work += 1
        load = 0.0
        for number in stem.demands:
            load += self.loads[number]
        for feeder in stem.feeders:
            if feeder.curve is None:
                self._curve(feeder)
            load += feeder.load_rps
        stem.load_rps = round(load, LOAD_DIGITS)
        stem.limit_ms = limit = min((self.budgets[number] for number in stem.demands), default=math.inf)
        front = self.front(stem.start, stem.end, stem.load_rps)
        if not stem.feeders:
            last = front.position(limit)
            positions = list(range(last, -1, -1))
            after_ms = [limit - time for time in front.times[last::-1]] if last >= 0 else []
            stem.curve = Curve(after_ms, front.prices[last::-1] if last >= 0 else [], positions)
        else:
            stem.curve = _above(
                front, limit, *_added([feeder.curve for feeder in stem.feeders if feeder.curve])
            )
        return stem.curve


def _added(curves: list[Curve]) -> tuple[list[float], list[float]]:
    """The sum of step functions: until when each step lasts, and its price; both rise."""
    until: list[float] = []
    prices: list[float] = []
    if not all(curve.prices for curve in curves):
        return until, prices
    total = sum(curve.prices[0] for curve in curves)
    for after_ms, rise in sorted(
        [pair for curve in curves for pair in zip(curve.after_ms, curve.rises, strict=True)]
    ):
        # Of steps that end together only the first one has any length.
        if not until or after_ms > until[-1]:
            until.append(after_ms)
            prices.append(total)
        total += rise
        if total == math.inf:
            break
    return until, prices


def _above(front: Front, limit_ms: float, until: list[float], prices: list[float]) -> Curve:
    """The curve of a stage with this front over the summed curve of what feeds it."""
    if not until or not front.times:
        return Curve([], [], [])
    after = (np.minimum(until, limit_ms) - np.array(front.times)[:, None]).ravel()
    price = (np.array(prices) + np.array(front.prices)[:, None]).ravel()
    possible = np.flatnonzero(after >= 0)
    if not len(possible):
        return Curve([], [], [])
    order = possible[price[possible].argsort(kind="stable")]
    after = after[order]
    keep = np.ones(len(after), dtype=bool)
    keep[1:] = after[1:] > np.maximum.accumulate(after)[:-1]
    order = order[keep]
    return Curve(after[keep].tolist(), price[order].tolist(), (order // len(until)).tolist())
