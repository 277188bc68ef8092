"""A lower bound on the share of every valid plan, from sums alone (our reconstruction).

*Fluid.* Let a stage with n instances of an option (latency ℓ, batch b, price s) carry q requests a second.
By law 3, n ≥ q·ℓ/(1000·b), and ℓ is at least the sum of its layers' latencies, so the price n·s is at least

    Σ over its layers λ of  q · s · latency[λ][b][s] / (1000 · b).

Every request of a fragment passes every layer from its start to L exactly once, on whatever route, and where
exits are in use as many as σ lets go on (docs/exits.md; a sample in a smaller batch is counted there). So
each layer λ costs at least (its load) · min over (b, s) of s · latency[λ][b][s] / (1000 · b), and the sum
over layers is a bound: what the plan would cost if instances could be bought in fractions and time were free.

*Entries.* The first stage of a route starts where its fragment starts. So every cut point p where fragments
start has a stage of its own that begins there, and for the most demanding fragment k of those it costs at
least

    max over k of  min price of an option of [p, j) with time + (least time from j to L) ≤ budget of k.

The sum over these p is a bound too: what light loads with many different cuts cost at the very least.

The larger of the two counts, for each model, and whole instances only: see `_on_grid`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from planner.exit_survival import relative_survival
from planner.menu import EPSILON, Floats, Menu
from planner.problem import Problem
from planner.workload import Fragment


def quick_bound(problem: Problem) -> float:
    """Σ over models of the larger bound, each rounded up to what whole instances can cost."""
    total = 0.0
    for model, numbers in problem.by_model().items():
        menu = problem.menus[model]
        fragments = [problem.fragments[number] for number in numbers]
        bound = max(_fluid(menu, fragments), _entries(menu, fragments), float(menu.prices.min()))
        total += _on_grid(bound, menu)
    return total


def least_price_per_rps(menu: Menu, *, leaving: bool = False) -> Floats:
    """For every layer, the cheapest price of one request a second, without overhead; 0 where unmeasured.

    Where requests are `leaving`, a layer may run fewer samples than the batch that its stage is loaded for.
    """
    least = np.zeros(menu.depth)
    most = menu.law.most_load_per_capacity(menu.batches)
    if leaving:
        most = np.full(len(most), most.max())
    for layer in range(menu.depth):
        exec_ms = menu.layer_ms(layer)
        price = menu.prices * exec_ms / (1000.0 * menu.batches) / most
        if not np.isnan(price).all():
            least[layer] = float(np.nanmin(price))
    return least


def _fluid(menu: Menu, fragments: Sequence[Fragment]) -> float:
    load_from = np.zeros(menu.depth)
    leaving = any(profile.exits for profile in menu.profiles)
    for fragment in fragments:
        load_from[fragment.start] += fragment.load_rps
        if leaving:
            here = 1.0
            for layer, fraction in relative_survival(menu.profiles[0], fragment).items():
                load_from[layer] -= fragment.load_rps * (here - min(here, fraction))
                here = min(here, fraction)
    load = np.cumsum(load_from)  # what passes layer λ entered at or before it, and has not left
    return float(load @ least_price_per_rps(menu, leaving=leaving))


def _entries(menu: Menu, fragments: Sequence[Fragment]) -> float:
    budgets: dict[int, float] = {}
    for fragment in fragments:
        # The tightest budget asks for the most expensive stage.
        budgets[fragment.start] = min(fragment.budget_ms, budgets.get(fragment.start, math.inf))
    total = 0.0
    for start, budget_ms in budgets.items():
        # Every end and every column at once; the front of each stage would be dearer to make than to do
        # without.
        ends = np.arange(start + 1, menu.depth + 1)
        time_ms = menu.exec_ms_to(start, ends) * menu.time_per_exec
        left_ms = budget_ms - menu.least_time_ms[ends]
        fits = time_ms <= left_ms[:, None] * (1 + EPSILON) + EPSILON  # never where it was not measured
        total += float(menu.prices[fits.any(axis=0)].min(initial=math.inf))
    return total


def _on_grid(bound: float, menu: Menu) -> float:
    """Round up to a sum that whole instances can have: a multiple of the price grid.

    The grid is the greatest common divisor of the prices, taken of exact decimals; where a price is no short
    decimal the grid is too fine to help, and the bound stays as it is.
    """
    decimals = [Fraction(str(round(price, 9))) for price in set(menu.prices.tolist())]
    grid = decimals[0]
    for price in decimals[1:]:
        grid = Fraction(
            math.gcd(grid.numerator * price.denominator, price.numerator * grid.denominator),
            grid.denominator * price.denominator,
        )
    step = float(grid)
    return math.ceil(bound / step - 1e-6) * step
