"""Merging: demands of one start with close budgets become one (design section 5.1; our reconstruction).

What is merged has the least of the budgets and the sum of the rates. Sorted by budget, the groups worth
considering are runs of neighbours: a group that skips a demand would give it up without raising its least
budget. Over runs the best partition is found exactly by dynamic programming, so no merge is kept that
does not lower the price, and the result is never dearer than each demand alone.

Parameters, with the ablation in benchmarks/planner_ablation.py:

    closeness   how many times the least budget of a run its greatest may be; the default hardly ever
                binds: the price decides, and a bound only saves time
    max_run     demands in a run at most; bounds the time for many demands of one start, which then is
                linear in their number
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from planner.allocating import Demand, allocate, by_start, combine
from planner.chaining import chains
from planner.menu import Menu

CLOSENESS = 8.0
MAX_RUN = 32


def merge(
    menu: Menu, demands: Sequence[Demand], *, closeness: float = CLOSENESS, max_run: int = MAX_RUN
) -> list[Demand]:
    """Demands with those merged for which stages to the end together are cheaper than several apart."""
    merged = []
    for numbers in by_start(demands).values():
        merged.extend(_merge_start(menu, [demands[number] for number in numbers], closeness, max_run))
    return merged


def _merge_start(menu: Menu, demands: list[Demand], closeness: float, max_run: int) -> list[Demand]:
    """The best partition into runs: best[i] = min over j of price(i…j) + best[j+1], sorted by budget."""
    ordered = sorted(demands, key=lambda demand: (demand.budget_ms, demand.members))
    budgets = np.array([demand.budget_ms for demand in ordered])
    loads = np.concatenate([[0.0], np.cumsum([demand.load_rps for demand in ordered])])
    start = ordered[0].start
    options = menu.options(start, menu.depth)
    count = len(ordered)
    best = np.zeros(count + 1)
    length = np.ones(count, dtype=int)
    for first in range(count - 1, -1, -1):
        reach = int(np.searchsorted(budgets, budgets[first] * closeness, side="right"))
        last = max(first + 1, min(first + max_run, reach))
        ends = np.arange(first + 1, last + 1)
        found = allocate(options, np.full(len(ends), budgets[first]), loads[ends] - loads[first])
        if math.isinf(found.price[0]):  # no single stage is fast enough for the first one of the run
            together = np.array(
                [
                    chains(menu).price(start, menu.depth, budgets[first], load)
                    for load in (loads[ends] - loads[first]).tolist()
                ]
            )
        else:
            together = found.price
        total = together + best[ends]
        # A merge has to lower the price by more than rounding.
        total[1:] += 1e-9 * (1 + total[1:])
        length[first] = 1 + int(total.argmin())
        best[first] = float(together[length[first] - 1] + best[first + length[first]])
    merged, first = [], 0
    while first < count:
        merged.append(combine(ordered[first : first + int(length[first])]))
        first += int(length[first])
    return merged
