"""The baselines that do not re-align: every fragment alone (`gslice`), and with merging (`gslice+`).

The names and the idea, a spatial share of a GPU for each function, follow GSLICE (SoCC 2020) as the
Graft paper's evaluation uses it; what they do in detail is our reconstruction.
"""

from __future__ import annotations

from planner.allocating import Demand, Tree, demands_of, draft, price_of
from planner.chaining import alone
from planner.menu import Menu
from planner.merging import merge
from planner.problem import Draft, PlanSettings, Problem, ProgressReport


def gslice(problem: Problem, _settings: PlanSettings, _progress: ProgressReport) -> Draft:
    """Every fragment on one stage [start, L) of its own, the cheapest within its whole budget.

    Where no single stage will do, because cells were not measured, on a chain of its own.
    """
    demands = demands_of(problem, identical_as_one=False)
    return draft({model: alone(problem.menus[model], group) for model, group in demands.items()})


def gslice_plus(problem: Problem, _settings: PlanSettings, _progress: ProgressReport) -> Draft:
    """Fragments of one start and close budgets merged where that lowers the price; never above `gslice`."""
    single = demands_of(problem, identical_as_one=False)
    classes = demands_of(problem, identical_as_one=True)
    return draft(
        {model: merged_alone(problem.menus[model], single[model], classes[model]) for model in single}
    )


def merged_alone(menu: Menu, single: list[Demand], classes: list[Demand]) -> list[Tree]:
    """One model's demands merged and each on its own stage; or unmerged, where that is cheaper.

    `classes` are the `single` demands with identical ones as one. A chain is not always the cheapest one,
    so that merging never costs more has to be made sure of.
    """
    trees = alone(menu, merge(menu, classes))
    return min((trees, alone(menu, single)), key=price_of)
