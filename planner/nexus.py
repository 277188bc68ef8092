"""The baseline `nexus`: sessions on whole GPUs, and squishy packing of what is left over.

After Nexus (Shen et al., SOSP 2019), in the terms of our laws; what differs is said here.

A *session* is what asks for the same layers within the same time: fragments of one model, start and budget.
A session with much load first fills whole instances at the greatest share, at the batch of the cheapest
throughput that keeps the budget (2 · exec ≤ budget: their rule and our law 2 are the same). What remains
is a residual load below one such instance. For a residual Nexus takes the largest batch that still fills in
time, exec(b) + b/rate ≤ budget, for they wait for a batch to fill; its *occupancy* is the part of a GPU's
time it needs. Nexus lets residuals take turns on a GPU. Our instances run side by side at fixed shares,
so here a residual gets the least share at which it keeps its budget and carries its load, and it is
*squishy*: with more load it runs at a larger batch, and a request costs less.

Residuals of one model and start may be packed together: by falling occupancy, each goes where it raises
the price least (best fit), as long as everything still runs on one instance and is not dearer than apart.

There is no merging by budgets beyond that and no re-aligning: every stage is [start, L). Where no single
stage serves a session, because cells were not measured, it gets a chain, as in `gslice`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from planner.allocating import Demand, Tree, by_start, demands_of, instances_for, stage
from planner.chaining import alone
from planner.menu import EPSILON, Menu, Options
from planner.problem import Draft, DraftRoute, DraftStage, PlanSettings, Problem, ProgressReport


def nexus(problem: Problem, _settings: PlanSettings, _progress: ProgressReport) -> Draft:
    """Whole GPUs for the bulk of every session, squishy packing for the residuals."""
    stages: list[DraftStage] = []
    routes: list[DraftRoute] = []
    for model, sessions in demands_of(problem, identical_as_one=True).items():
        menu = problem.menus[model]
        for numbers in by_start(sessions).values():
            for tree, parts in _serve(menu, [sessions[number] for number in numbers]):
                path = []
                node: Tree | None = tree
                while node is not None:
                    path.append(len(stages))
                    stages.append(
                        DraftStage(
                            model=model,
                            start=node.start,
                            end=node.end,
                            column=node.column,
                            instances=node.instances,
                        )
                    )
                    node = node.feeders[0] if node.feeders else None
                for session, rate in parts:
                    fraction = rate / session.load_rps
                    routes.extend(
                        DraftRoute(fragment=member, stages=tuple(reversed(path)), fraction=fraction)
                        for member in session.members
                    )
    routes.sort(key=lambda route: route.fragment)
    return Draft(stages=tuple(stages), routes=tuple(routes))


# A part of a session's load: the session, and how many requests a second of it.
_Part = tuple[Demand, float]


def _serve(menu: Menu, sessions: Sequence[Demand]) -> list[tuple[Tree, list[_Part]]]:
    """Sessions of one start: each tree with the parts of sessions that use it."""
    options = menu.options(sessions[0].start, menu.depth)
    served: list[tuple[Tree, list[_Part]]] = []
    residuals: list[tuple[float, _Part]] = []
    for session in sessions:
        fits = np.flatnonzero(options.time_ms <= session.budget_ms * (1 + EPSILON))
        if not len(fits):
            served.append((alone(menu, [session])[0], [(session, session.load_rps)]))
            continue
        whole = _whole_gpus(menu, options, fits)
        full = int(whole[(options.price[whole] / options.capacity_rps[whole]).argmin()])
        capacity = float(options.capacity_rps[full])
        instances = math.floor(session.load_rps / capacity + EPSILON)
        bulk = min(session.load_rps, instances * capacity)
        left = session.load_rps - bulk
        if left <= EPSILON * session.load_rps:
            bulk = session.load_rps
        else:
            occupancy = left / _filled_rps(menu, options, whole, session.budget_ms, left)
            residuals.append((occupancy, (session, left)))
        if instances:
            served.append((stage(options, full, bulk), [(session, bulk)]))
    residuals.sort(key=lambda item: (-item[0], item[1][0].members))
    served.extend(_pack(options, [part for _, part in residuals]))
    return served


def _whole_gpus(menu: Menu, options: Options, fits: NDArray[np.intp]) -> NDArray[np.intp]:
    """Of these options, those at the greatest share there is."""
    shares = np.array([float(menu.columns[column].share) for column in options.column[fits]])
    whole: NDArray[np.intp] = fits[shares == shares.max()]
    return whole


def _filled_rps(
    menu: Menu, options: Options, whole: NDArray[np.intp], budget_ms: float, rate_rps: float
) -> float:
    """The throughput of a whole GPU at the largest batch that this rate still fills in time (Nexus' rule)."""
    batches = menu.batches[options.column[whole]]
    exec_ms = options.time_ms[whole] / menu.law.time_per_exec
    filled = exec_ms + (batches - 1) * 1000 / rate_rps <= budget_ms * (1 + EPSILON)
    capacity = options.capacity_rps[whole]
    return float(capacity[filled].max() if filled.any() else capacity.min())


def _pack(options: Options, residuals: Sequence[_Part]) -> list[tuple[Tree, list[_Part]]]:
    """Residuals in this order, each where it raises the price least, together on one instance at most."""
    nodes: list[list[_Part]] = []
    paid: list[float] = []
    for part in residuals:
        apart = _squeeze(options, [part])[1]
        rises = [_squeeze(options, [*node, part])[1] - price for node, price in zip(nodes, paid, strict=True)]
        place = int(np.argmin(rises)) if rises else -1
        if rises and rises[place] < apart:
            nodes[place].append(part)
            paid[place] += rises[place]
        else:
            nodes.append([part])
            paid.append(apart)
    trees = []
    for node in nodes:
        load = math.fsum(rate for _, rate in node)
        trees.append((stage(options, _squeeze(options, node)[0], load), node))
    return trees


def _squeeze(options: Options, node: Sequence[_Part]) -> tuple[int, float]:
    """The cheapest option for these parts, for several on one instance; its price, inf if none will do."""
    budget = min(session.budget_ms for session, _ in node)
    counts = instances_for(np.array(math.fsum(rate for _, rate in node)), options.capacity_rps)
    fits = options.time_ms <= budget * (1 + EPSILON)
    if len(node) > 1:
        fits &= counts <= 1
    price = np.where(fits, counts * options.price, math.inf)
    best = int(price.argmin())
    return best, float(price[best])
