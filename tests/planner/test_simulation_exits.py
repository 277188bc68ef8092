"""Simulated plans with exits: who leaves is answered at once, the rest goes on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from planner.arrivals import arrivals_of
from planner.plan import Plan
from planner.planning import make_plan
from planner.problem import PlanSettings
from planner.simulation import replay, simulate
from planner.workload import Fragment, Workload
from tests.exits import with_exits
from tests.planner.test_laws_exits import PROFILE, split
from tests.profiles import make_profile


def test_requests_leave_in_the_parts_that_survival_says() -> None:
    plan, workload = split()
    run = replay(plan, workload, [PROFILE], arrivals=arrivals_of("paced"), seconds=40.0)
    came = {stage.id: served.received for stage, served in run.served}
    sent = [int((run.fragment == number).sum()) for number in range(2)]
    # Half of `early` leave at the first exit; 0.4 of whoever comes to `rest` go to its end.
    assert came["first"] == sent[0]
    assert came["rest"] == pytest.approx(sent[1] + sent[0] / 2, rel=0.05)
    [_, rest] = [served for _, served in run.served]
    assert 1 - rest.left.mean() == pytest.approx(0.4, abs=0.03)
    assert not np.isnan(run.finish_ms).any()


def alone(survival: tuple[float, ...]) -> tuple[Plan, Workload]:
    """One request now and then through one stage, which nobody shares with it."""
    plan, _ = split()
    fragment = Fragment(id="early", model="net", start=0, budget_ms=60.0, rate_rps=1.0, survival=survival)
    [_, rest] = plan.stages
    stage = replace(rest, id="all", start=0, end=4, batch=1, exits=(1, 3), exec_ms=10.5, expected_ms=None)
    route = replace(plan.routes[0], stages=("all",), worst_ms=21.0, expected_ms=None)
    return replace(plan, stages=(stage,), routes=(route,)), Workload(fragments=(fragment,))


@pytest.mark.parametrize(
    ("survival", "latency"),
    [
        ((0.0, 0.0), 0.5 + 2 + 1),  # layer a and its ramp
        ((1.0, 0.0), 0.5 + 2 + 1 + 2 + 2 + 1),  # and b, c and theirs
        ((1.0, 1.0), 0.5 + 2 + 1 + 2 + 2 + 1 + 2),  # and d
    ],
)
def test_who_leaves_is_answered_when_its_ramp_has_run(survival: tuple[float, ...], latency: float) -> None:
    plan, workload = alone(survival)
    profile = PROFILE
    plan = replace(plan, stages=(replace(plan.stages[0], expected_ms=latency),))
    run = replay(plan, workload, [profile], arrivals=arrivals_of("paced"), seconds=5.0)
    assert run.finish_ms - run.arrival_ms == pytest.approx(latency)


def test_a_plan_with_exits_keeps_its_promise() -> None:
    profile = with_exits(make_profile(layers=8, seed=5), (0.5, 0.25))
    workload = Workload(
        fragments=tuple(
            Fragment(id=f"f{n}", model="net", start=n, budget_ms=120.0 + n, rate_rps=300.0) for n in range(3)
        )
    )
    settings = PlanSettings(time_limit_s=2.0, queueing="headroom")
    plan = make_plan(workload, [profile], strategy="graft", settings=settings)
    assert any(stage.exits for stage in plan.stages)
    result = simulate(plan, workload, [profile], arrivals=arrivals_of("paced"), seconds=20.0)
    on_time = sum(item.on_time for item in result.fragments) / sum(item.requests for item in result.fragments)
    assert on_time > 0.999
