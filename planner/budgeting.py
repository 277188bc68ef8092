"""Where a planned fragment's budget goes: waiting and running, before and in the stages it shares, and slack.

By law 2 a request waits at most one execution of every stage on its way and runs in the next, so each stage
takes its exec_ms twice. A route's stages count as *alignment* as long as they only bring it to where others
wait: all before the last, unless another fragment's requests pass through them too. The last stage, and
every one that several fragments use, counts as *shared*, so that the five parts always add up to the
budget.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from planner.plan import Plan
from planner.workload import Workload


@dataclass(frozen=True, kw_only=True, slots=True)
class BudgetUse:
    """Where the budget of one route goes at worst, in milliseconds; the five parts add up to `budget_ms`.

    `alone` is true where no other fragment uses any stage of the route.
    """

    fragment: str
    fraction: float
    budget_ms: float
    alignment_wait_ms: float
    alignment_run_ms: float
    shared_wait_ms: float
    shared_run_ms: float
    slack_ms: float
    stages: tuple[str, ...]
    alone: bool


def to_json(uses: Sequence[BudgetUse]) -> dict[str, Any]:
    """`regraft.budgets/v1`: one entry a route, in the plan's order; an overflown number is null."""
    return {
        "format": "regraft.budgets/v1",
        "routes": [
            {
                name: None if isinstance(value, float) and not math.isfinite(value) else value
                for name, value in asdict(use).items()
            }
            for use in uses
        ],
    }


def budget_use(plan: Plan, workload: Workload) -> list[BudgetUse]:
    """For every route of a plan, in its order, where the fragment's budget goes.

    The plan need not be valid: where a route takes longer than the budget its slack is negative, and one with
    stages or a fragment that nobody knows is left out.
    """
    budgets = {fragment.id: fragment.budget_ms for fragment in workload.fragments}
    exec_ms = {stage.id: stage.exec_ms for stage in plan.stages}
    users: defaultdict[str, set[str]] = defaultdict(set)
    for route in plan.routes:
        for stage in route.stages:
            users[stage].add(route.fragment)
    uses = []
    for route in plan.routes:
        if route.fragment not in budgets or not exec_ms.keys() >= set(route.stages):
            continue
        common = [stage for stage in route.stages if len(users[stage]) > 1]
        shared = sum(exec_ms[stage] for stage in {*common, route.stages[-1]})
        alignment = sum(exec_ms[stage] for stage in route.stages) - shared
        uses.append(
            BudgetUse(
                fragment=route.fragment,
                fraction=route.fraction,
                budget_ms=budgets[route.fragment],
                alignment_wait_ms=alignment,
                alignment_run_ms=alignment,
                shared_wait_ms=shared,
                shared_run_ms=shared,
                slack_ms=budgets[route.fragment] - 2 * (alignment + shared),
                stages=route.stages,
                alone=not common,
            )
        )
    return uses
