"""Why a fragment cannot be planned, and the smallest changes that would help.

`budget_too_small`: even the fastest way takes longer than the budget. `detail` says how long it takes
(`least_possible_ms`) and which way that is, and under `would_help` each change that alone would be enough,
and is the smallest of its kind:

    budget_ms   this budget
    start       the phone runs the layers up to here itself (the earliest such cut, within the same budget)
    share_pct   a measurement at this share, if time falls in proportion: no GPU does better, so it takes
                at least this much; only where the profiles stop short of the whole GPU
    queueing    a laxer law under which the budget is enough

`not_measured`: some layer on the way was measured at no batch and share; `detail` names the layers, and
under `would_help` what to measure, and the first cut after them.

A lower rate is never among the changes: what a stage cannot carry, more instances can, so a rate makes a
plan dear but not impossible. (That instances find no place on the GPUs is another matter, see
`planner.errors.DoesNotFitError`.)
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from planner.menu import EPSILON, Menu
from planner.plan import Unplanned
from planner.queueing import QUEUEING_LAWS
from planner.workload import Fragment


def why_not(fragment: Fragment, menu: Menu) -> Unplanned | None:
    """None when some route serves the fragment within its budget; otherwise the reason it has none."""
    least = float(menu.least_time_ms[fragment.start])
    if math.isinf(least):
        return Unplanned(fragment=fragment.id, reason="not_measured", detail=_not_measured(fragment, menu))
    if least > fragment.budget_ms * (1 + EPSILON):
        return Unplanned(
            fragment=fragment.id, reason="budget_too_small", detail=_too_small(fragment, menu, least)
        )
    return None


def _not_measured(fragment: Fragment, menu: Menu) -> dict[str, Any]:
    missing = [
        layer for layer in range(fragment.start, menu.depth) if np.isnan(menu.exec_ms(layer, layer + 1)).all()
    ]
    help_: dict[str, Any] = {"measure_layers": missing}
    if missing[-1] + 1 < menu.depth:
        help_["start"] = missing[-1] + 1
    return {"start": fragment.start, "depth": menu.depth, "layers": missing, "would_help": help_}


def _too_small(fragment: Fragment, menu: Menu, least_ms: float) -> dict[str, Any]:
    help_: dict[str, Any] = {"budget_ms": least_ms}
    enough = np.flatnonzero(menu.least_time_ms[fragment.start : menu.depth] <= fragment.budget_ms)
    if len(enough):
        help_["start"] = fragment.start + int(enough[0])
    greatest = max(float(column.share) for column in menu.columns)
    needed = math.ceil(greatest * least_ms / fragment.budget_ms)
    if greatest < needed <= 100:
        help_["share_pct"] = needed
    # Time is the law's factor times the executions, so what another law asks follows by its factor.
    executions = least_ms / menu.law.time_per_exec
    laxer = [
        law.name
        for law in QUEUEING_LAWS.values()
        if law.time_per_exec * executions <= fragment.budget_ms * (1 + EPSILON)
    ]
    if laxer:
        help_["queueing"] = laxer[0]
    return {
        "budget_ms": fragment.budget_ms,
        "least_possible_ms": least_ms,
        "short_by_ms": least_ms - fragment.budget_ms,
        "fastest_way": _fastest_way(fragment.start, menu),
        "queueing": menu.law.name,
        "would_help": help_,
    }


def _fastest_way(start: int, menu: Menu) -> list[dict[str, Any]]:
    """The stages of the fastest route from a cut point to the end."""
    stages = []
    while start < menu.depth:
        ends = range(start + 1, menu.depth + 1)
        end = min(
            ends, key=lambda end: menu.options(start, end).least_time_ms + float(menu.least_time_ms[end])
        )
        options = menu.options(start, end)
        column = menu.columns[options.column[int(options.time_ms.argmin())]]
        stages.append(
            {
                "start": start,
                "end": end,
                "gpu": column.gpu,
                "batch": column.batch,
                "share": column.share,
                "time_ms": options.least_time_ms,
            }
        )
        start = end
    return stages
