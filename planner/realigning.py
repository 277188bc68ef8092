"""Re-aligning: where the demands of a group meet, and what they share from there (design section 5.1).

A *star* is a shared stage [p, end) with an option, and some demands that go there: one that starts at p
enters it directly, one that starts before it needs an alignment stage [start, p), for which it has what
the shared stage leaves of its budget. For every meeting point p and every option of the shared stage (its
time is what splits the budgets, so no grid of times is needed) the members worth having are found
together, from tables: for each demand what it would save by joining, per unit of load, best first, as
many as pay for the instances they need. "Share with some of the group" is the rule, and who is left over
stays as it was, alone.

The best star is taken, and the rest looked at again, until no star saves anything. What a star's
alignment stages have to do, bring demands to p within what is left of their budgets, is the same problem
with p for the end: it is solved the same way, so alignment stages are shared too.

This is our reconstruction: the paper's abstract names re-aligning, and no more of it was at hand.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.allocating import Demand, Tree, by_start, instances_for, price_of, prices_within, stage
from planner.chaining import alone
from planner.menu import EPSILON, Floats, Menu, Options

# What a star has to save, as a part of what its members cost without it.
LEAST_SAVING = 1e-9


@dataclass(frozen=True, kw_only=True, slots=True)
class _Star:
    """A shared stage [meeting, end), its option, and the numbers of the demands that go there.

    `score` is how much of what they cost before it saves, below 0: the least is the best.
    """

    meeting: int
    option: int
    members: tuple[int, ...]
    score: float


def realign(
    menu: Menu,
    demands: Sequence[Demand],
    *,
    end: int | None = None,
    reserve_ms: float = 0.0,
) -> list[Tree]:
    """Trees that bring these demands of one model to `end` (default L), each within its budget.

    `reserve_ms` of every budget stays unused, for what comes after `end`. Never dearer than each demand
    alone. Every demand must have a route of its own.
    """
    end = menu.depth if end is None else end
    single = alone(menu, demands, end=end, reserve_ms=reserve_ms)
    if len(demands) == 1:
        return single
    table = _Table(menu, demands, np.array([tree.total for tree in single]), end, reserve_ms)
    trees: list[Tree] = []
    # A star's saving can only shrink as demands are taken by others, so stars wait in a queue with what they
    # saved when last looked at, and only the first is looked at again.
    waiting = [(star.score, meeting) for meeting in table.meetings if (star := table.best_star(meeting))]
    heapq.heapify(waiting)
    while waiting:
        _, meeting = heapq.heappop(waiting)
        star = table.best_star(meeting)
        if star is None:
            continue
        if waiting and star.score > waiting[0][0]:
            heapq.heappush(waiting, (star.score, meeting))
            continue
        trees.append(_grow(menu, [demands[number] for number in star.members], star, end, reserve_ms))
        table.remove(star.members)
        heapq.heappush(waiting, (star.score, meeting))
    trees.extend(single[number] for number in table.left.tolist())
    # Stars are chosen by estimates from above, so this only guards against rounding.
    return min((trees, single), key=price_of)


def _grow(menu: Menu, members: list[Demand], star: _Star, end: int, reserve_ms: float) -> Tree:
    """The star as a tree; who has to be aligned is re-aligned in turn, with the meeting point for the end."""
    options = menu.options(star.meeting, end)
    time_ms = float(options.time_ms[star.option])
    entering = tuple(demand for demand in members if demand.start == star.meeting)
    aligned = [demand for demand in members if demand.start < star.meeting]
    feeders = realign(menu, aligned, end=star.meeting, reserve_ms=reserve_ms + time_ms) if aligned else []
    load = math.fsum(demand.load_rps for demand in members)
    return stage(options, star.option, load, entering, tuple(feeders))


class _Table:
    """What every demand of a group saves at every meeting point; `left` are the demands in no star yet."""

    def __init__(
        self, menu: Menu, demands: Sequence[Demand], prices: Floats, end: int, reserve_ms: float
    ) -> None:
        """`prices` are what the demands cost alone, [K]."""
        self.left = np.arange(len(demands))
        self._menu = menu
        self._end = end
        self._prices = prices
        self._loads = np.array([demand.load_rps for demand in demands])
        self._budgets = np.array([demand.budget_ms for demand in demands])
        self._reserve_ms = reserve_ms
        self._starts = by_start(demands)
        self._align: dict[int, Floats] = {}

    @property
    def meetings(self) -> list[int]:
        """The cut points where a star can be: those where a demand starts."""
        return list(self._starts)

    def remove(self, members: tuple[int, ...]) -> None:
        """These demands are in a star now."""
        self.left = np.setdiff1d(self.left, members)

    def best_star(self, meeting: int) -> _Star | None:
        """The star at this cut point that saves most of what its members cost now; None when none saves."""
        options = self._menu.options(meeting, self._end)
        if not len(options) or not len(self.left):
            return None
        if meeting not in self._align:
            self._align[meeting] = self._alignment(meeting, options)
        found = _best_members(
            self._align[meeting][self.left],
            self._prices[self.left],
            self._loads[self.left],
            options.capacity_rps,
            options.price,
        )
        if found is None:
            return None
        members, option, score = found
        return _Star(meeting=meeting, option=option, members=tuple(self.left[members].tolist()), score=score)

    def _alignment(self, meeting: int, options: Options) -> Floats:
        """What each demand pays to get to the meeting point in the time each option leaves it: [K, O]."""
        allowed = self._budgets * (1 + EPSILON) - self._reserve_ms
        left_ms = allowed[:, None] - options.time_ms
        align = np.full(left_ms.shape, math.inf)
        for start, numbers in self._starts.items():
            if start < meeting:
                before = self._menu.options(start, meeting)
                align[numbers] = prices_within(before, left_ms[numbers], self._loads[numbers])
            elif start == meeting:
                align[numbers] = np.where(left_ms[numbers] >= 0, 0.0, math.inf)
        return align


def _best_members(
    align: Floats, prices: Floats, loads: Floats, capacity: Floats, price: Floats
) -> tuple[NDArray[np.intp], int, float] | None:
    """For every option of one meeting point, the members that lower the price most; the best of them all.

    [K, O] alignment prices, [K] prices alone and loads, [O] capacities and prices of the shared stage.
    Gives the members (rows), the option and the score: what is saved, as a negative part of what it was.
    """
    saving = prices[:, None] - align
    density = np.where(saving > 0, saving / loads[:, None], -math.inf)
    order = np.argsort(-density, axis=0, kind="stable")
    gains = np.take_along_axis(saving, order, axis=0)
    worth = gains > 0
    load = np.cumsum(np.where(worth, loads[order], 0.0), axis=0)
    cost = instances_for(load, capacity) * price
    net = np.cumsum(np.where(worth, gains, 0.0), axis=0) - cost
    before = np.cumsum(prices[order], axis=0)
    # A star of one shares nothing.
    score = np.where(worth & (net > LEAST_SAVING * before), -net / before, math.inf)[1:]
    if not score.size or math.isinf(least := float(score.min())):
        return None
    row, option = np.unravel_index(int(score.argmin()), score.shape)
    return order[: row + 2, option], int(option), least
