"""The menu: what a stage over layers [i, j) of one model can be bought for (design section 5, Options).

An option is (gpu, batch, share). What a plan buys with it is time and throughput, so the menu of [i, j)
is the Pareto front over (time, capacity, price): an option that another beats in all three is left out.
Every strategy sees only this menu; the queueing law is already in it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from planner.profile import Profile
from planner.queueing import PLAIN, QueueingLaw

Floats = NDArray[np.float64]

# Rounding slack: a load that equals a capacity exactly, up to double precision, fits it.
EPSILON = 1e-9

# A latency of zero would be an endless capacity; a nanosecond is as good and divides.
SHORTEST_MS = 1e-6


@dataclass(frozen=True, kw_only=True, eq=False)
class Options:
    """The Pareto options of one stage [start, end), sorted by price; arrays of one length.

    `time_ms` is what the stage takes from a route's budget (under the plain law 2 · exec_ms),
    `capacity_rps` what one instance may be loaded with, `price` its share times the GPU type's cost;
    `column` says which (gpu, batch, share) of the model each one is (see `Menu.columns`).
    """

    start: int
    end: int
    time_ms: Floats
    capacity_rps: Floats
    price: Floats
    column: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.price)

    @cached_property
    def least_time_ms(self) -> float:
        """The fastest this stage can be; infinite where no option was measured."""
        return float(self.time_ms.min()) if len(self) else math.inf

    @cached_property
    def least_price_per_rps(self) -> float:
        """The cheapest throughput, fractions of instances allowed; infinite where nothing was measured."""
        return float((self.price / self.capacity_rps).min()) if len(self) else math.inf


@dataclass(frozen=True, kw_only=True, slots=True)
class Allocation:
    """`instances` of option number `option` of a menu entry: one stage's cost (`price`, all instances)."""

    option: int
    instances: int
    price: float
    time_ms: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One (gpu, batch, share) of a model's profiles; a stage that takes it uses those `exits` it includes."""

    gpu: str
    batch: int
    share: int | float
    exits: tuple[int, ...] = ()


class Menu:
    """All options of one model, over every GPU type that has a profile of it.

    Tables are made when first asked for and kept: a model of L layers has L(L+1)/2 of them.
    """

    def __init__(self, profiles: Sequence[Profile], law: QueueingLaw = PLAIN) -> None:
        """`profiles` are of one model, one a GPU type, with the same layers."""
        self.profiles = tuple(profiles)
        self.model = profiles[0].model
        self.depth = profiles[0].depth
        self.law = law
        self.columns: list[Column] = []
        sums, missing, overheads, prices = [], [], [], []
        for profile in profiles:
            latency = np.array(profile.latency_ms, dtype=np.float64).reshape(self.depth, -1)  # None → nan
            sums.append(np.vstack([np.zeros(latency.shape[1]), np.nancumsum(latency, axis=0)]))
            missing.append(np.vstack([np.zeros(latency.shape[1]), np.isnan(latency).cumsum(axis=0)]))
            for batch in profile.batches:
                for share in profile.shares:
                    self.columns.append(Column(gpu=profile.gpu, batch=batch, share=share))
                    overheads.append(profile.stage_overhead_ms)
                    prices.append(share * profile.cost_per_share)
        # Every column once for each time factor of the law: more time is another option.
        many, self._base = len(law.time_factors), len(self.columns)
        self.columns *= many
        self.time_per_exec: Floats = np.repeat(law.time_factors, self._base) * law.latency_margin
        self._sums: Floats = np.tile(np.hstack(sums), many)  # [L+1, columns] running sums of latency_ms
        self._missing: Floats = np.tile(np.hstack(missing), many)  # … and counts of cells not measured
        self._overheads = np.tile(overheads, many)
        self.prices: Floats = np.tile(prices, many)
        self.batches = np.array([column.batch for column in self.columns], dtype=np.float64)
        # The columns of one GPU type and share, by rising batch.
        groups: dict[tuple[str, float], list[int]] = {}
        for number in sorted(range(self._base), key=lambda number: self.columns[number].batch):
            column = self.columns[number]
            groups.setdefault((column.gpu, column.share), []).append(number)
        self._same_share = [np.array(group, dtype=np.intp) for group in groups.values()]
        self._tables: dict[tuple[int, int], Options] = {}

    def dearer(self, extra: float) -> Menu:
        """The same menu with every instance dearer by `extra`; columns keep their numbers."""
        menu = copy(self)
        menu.prices = self.prices + extra
        menu._tables = {}
        return menu

    def exec_ms(self, start: int, end: int) -> Floats:
        """exec_ms of [start, end) for every column; nan where a cell was not measured."""
        total = self._sums[end] - self._sums[start] + self._overheads
        return np.where(self._missing[end] > self._missing[start], np.nan, total)

    def stage_exec_ms(self, start: int, end: int, column: int) -> float:
        """exec_ms of [start, end) for one column, whether or not it is among the options."""
        return float(Menu.exec_ms(self, start, end)[column])

    def busy_ms(self, start: int, end: int) -> Floats:
        """What a full batch of [start, end) takes of an instance's time, for every column.

        With exits (`planner.exit_menu`) it is less, and counted for requests at the model's input.
        """
        return self.exec_ms(start, end)

    def exec_ms_to(self, start: int, ends: NDArray[np.intp]) -> Floats:
        """exec_ms from `start` to each of several ends, for every column: [ends, columns]; nan as above."""
        total = self._sums[ends] - self._sums[start] + self._overheads
        return np.where(self._missing[ends] > self._missing[start], np.nan, total)

    def layer_ms(self, layer: int) -> Floats:
        """latency_ms of one layer for every column, without overhead; nan where it was not measured."""
        return np.where(
            self._missing[layer + 1] > self._missing[layer], np.nan, self._sums[layer + 1] - self._sums[layer]
        )

    def load_per_capacity(self, start: int, end: int) -> Floats:
        """The part of its measured capacity that [start, end) may be loaded with, for every column."""
        batches = self.batches[: self._base]
        fixed = self._fixed_part(start, end) if self.law.arrivals == "poisson" else np.ones(self._base)
        return np.concatenate(
            [self.law.load_per_capacity(factor, batches, fixed) for factor in self.law.time_factors]
        )

    def options(self, start: int, end: int) -> Options:
        """The Pareto front of [start, end)."""
        key = (start, end)
        if key not in self._tables:
            self._tables[key] = self._make(start, end)
        return self._tables[key]

    def cheapest(self, start: int, end: int, time_ms: float, load_rps: float) -> Allocation | None:
        """The cheapest stage that takes at most `time_ms` and carries `load_rps`; None if there is none."""
        options = self.options(start, end)
        fits = options.time_ms <= time_ms * (1 + EPSILON)
        if not fits.any():
            return None
        count = np.maximum(1.0, np.ceil(load_rps / options.capacity_rps - EPSILON))
        price = np.where(fits, count * options.price, math.inf)
        best = int(price.argmin())
        return Allocation(
            option=best,
            instances=int(count[best]),
            price=float(price[best]),
            time_ms=float(options.time_ms[best]),
        )

    @cached_property
    def least_time_ms(self) -> Floats:
        """For every cut point, the least time of any route from there to L (L+1 entries; inf: no route)."""
        least = np.full(self.depth + 1, math.inf)
        least[self.depth] = 0.0
        for start in range(self.depth - 1, -1, -1):
            ends = np.arange(start + 1, self.depth + 1)
            time_ms = np.nan_to_num(self.exec_ms_to(start, ends) * self.time_per_exec, nan=math.inf)
            least[start] = float((time_ms.min(axis=1) + least[ends]).min())
        return least

    def _fixed_part(self, start: int, end: int) -> Floats:
        """How long smaller batches take beside each column's own, as `planner.queueing` wants to know it.

        A batch takes as long as the smallest measured one that holds it. With m the mean of that over all
        sizes up to the column's own, as a part of its exec_ms, the fixed part is 2m − 1: that is where a time
        linear in the size has the same mean.
        """
        exec_ms = np.maximum(self.exec_ms(start, end), SHORTEST_MS)
        fixed = np.ones(self._base)
        for rows in self._same_share:
            times, sizes = exec_ms[rows], self.batches[rows]
            for smaller in reversed(range(len(rows) - 1)):
                if np.isnan(times[smaller]):
                    times[smaller] = times[smaller + 1]
            steps = np.diff(sizes, prepend=0.0)
            fixed[rows] = 2 * np.cumsum(steps * times) / (sizes * times) - 1
        return np.clip(np.nan_to_num(fixed, nan=1.0), 0.0, 1.0)

    def _make(self, start: int, end: int) -> Options:
        latency = self.exec_ms(start, end)
        exists = np.flatnonzero(~np.isnan(latency))
        busy_ms = np.maximum(self.busy_ms(start, end)[exists], SHORTEST_MS)
        allowed = self.load_per_capacity(start, end)[exists]
        capacity = 1000.0 * self.batches[exists] / busy_ms * allowed
        time = latency[exists] * self.time_per_exec[exists]
        price = self.prices[exists]
        keep = _pareto(time, capacity, price)
        return Options(
            start=start,
            end=end,
            time_ms=time[keep],
            capacity_rps=capacity[keep],
            price=price[keep],
            column=exists[keep],
        )


def _pareto(time: Floats, capacity: Floats, price: Floats) -> NDArray[np.intp]:
    """Indices of the options no other beats in all three, by rising price; one of equals is kept."""
    order = np.lexsort((-capacity, time, price))
    time, capacity = time[order], capacity[order]
    # By rising price, an option can only be beaten by one before it.
    beats = (time[:, None] <= time) & (capacity[:, None] >= capacity) & _before(len(order))
    kept: NDArray[np.intp] = order[~beats.any(axis=0)]
    return kept


@lru_cache(maxsize=8)
def _before(count: int) -> NDArray[np.bool_]:
    """Whether row number is below column number, [count, count]."""
    return np.triu(np.ones((count, count), dtype=bool), 1)
