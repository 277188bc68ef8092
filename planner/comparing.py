"""Several strategies on one workload and the same profiles, side by side (`regraft.comparison/v1`)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from planner import formats
from planner.errors import DoesNotFitError, InfeasibleError
from planner.plan import Plan
from planner.planning import find_strategy, make_plan
from planner.problem import PlanSettings, Progress
from planner.profile import Profile
from planner.workload import Workload


@dataclass(frozen=True, kw_only=True)
class Row:
    """One strategy's result.

    Without a plan `status` is `infeasible` or `does_not_fit`, and `reasons` says why.
    """

    strategy: str
    status: str
    seconds: float
    share: float | None = None
    gpus: int | None = None
    instances: int | None = None
    stages: int | None = None
    lower_bound: float | None = None
    gap: float | None = None
    unplanned: int = 0
    reasons: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Rows in the order asked for, and the plans that were found.

    `best_lower_bound` is the highest bound any strategy proved: it holds for all of them, since a bound
    is a statement about the workload and not about the strategy.
    """

    rows: tuple[Row, ...]
    plans: dict[str, Plan]
    best_lower_bound: float | None

    def to_json(self) -> dict[str, Any]:
        """The result as plain JSON data."""
        return {
            "format": "regraft.comparison/v1",
            "best_lower_bound": self.best_lower_bound,
            "rows": [asdict(row) for row in self.rows],
            "plans": {name: formats.to_json(plan) for name, plan in self.plans.items()},
        }


def compare(
    workload: Workload,
    profiles: Sequence[Profile],
    *,
    strategies: Sequence[str],
    settings: PlanSettings | None = None,
    progress: Callable[[str, Progress], None] | None = None,
) -> Comparison:
    """Run the strategies one after the other; raises InputError where the input is wrong for all of them."""
    settings = settings or PlanSettings()
    for name in strategies:
        find_strategy(name)
    rows, plans = [], {}
    for name in strategies:
        started = time.perf_counter()
        report = None if progress is None else _named(progress, name)
        try:
            plan = make_plan(workload, profiles, strategy=name, settings=settings, progress=report)
        except InfeasibleError as error:
            reasons = tuple(asdict(reason) for reason in error.reasons)
            rows.append(_failed(name, "infeasible", started, reasons))
        except DoesNotFitError as error:
            rows.append(_failed(name, "does_not_fit", started, tuple(error.missing)))
        else:
            plans[name] = plan
            rows.append(row_of(plan, seconds=time.perf_counter() - started))
    bounds = [plan.lower_bound for plan in plans.values() if plan.lower_bound is not None]
    best = max(bounds, default=None)
    return Comparison(rows=tuple(rows), plans=plans, best_lower_bound=best)


def row_of(plan: Plan, *, seconds: float | None = None) -> Row:
    """What a table shows of a plan."""
    return Row(
        strategy=plan.strategy,
        status=plan.status,
        seconds=seconds if seconds is not None else plan.provenance.seconds or 0.0,
        share=plan.objective.share,
        gpus=plan.objective.gpus,
        instances=sum(stage.instances for stage in plan.stages),
        stages=len(plan.stages),
        lower_bound=plan.lower_bound,
        gap=plan.gap,
        unplanned=len(plan.unplanned),
    )


def _failed(name: str, status: str, started: float, reasons: tuple[dict[str, Any], ...]) -> Row:
    row = Row(strategy=name, status=status, seconds=0.0, reasons=reasons)
    return replace(row, seconds=time.perf_counter() - started)


def _named(progress: Callable[[str, Progress], None], name: str) -> Callable[[Progress], None]:
    return lambda report: progress(name, report)
