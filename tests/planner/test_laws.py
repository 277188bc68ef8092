"""The verdict on a plan: valid plans pass, and the numbers in the laws are the ones of the design."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from planner import laws
from planner.plan import Objective, Placed, Plan, Route, Stage
from planner.profile import Profile
from planner.workload import Fragment, Gpu, Workload

PROFILE = Profile(
    model="net",
    gpu="v100",
    layers=("a", "b", "c"),
    batches=(1, 2),
    shares=(25, 50),
    latency_ms=(((4.0, 2.0), (6.0, 3.0)), ((8.0, 4.0), (12.0, None)), ((2.0, 1.0), (3.0, 1.5))),
    stage_overhead_ms=0.5,
    weight_mb=(10.0, 20.0, 30.0),
    activation_mb=(4.0, 1.0, 2.0),
    context_mb=100.0,
    cost_per_share=2.0,
)


def one_stage(
    *, instances: int = 1, rate_rps: float = 10.0, budget_ms: float = 43.0
) -> tuple[Plan, Workload]:
    """The whole model on one stage at batch 2 and share 25: 6 + 12 + 3 + 0.5 = 21.5 ms, 93.02 rps."""
    fragment = Fragment(id="phone", model="net", start=0, budget_ms=budget_ms, rate_rps=rate_rps)
    stage = Stage(
        id="s0", model="net", gpu="v100", start=0, end=3, batch=2, share=25, instances=instances, exec_ms=21.5
    )
    plan = Plan(
        strategy="by hand",
        status="feasible",
        objective=Objective(share=50.0 * instances),
        stages=(stage,),
        routes=(Route(fragment="phone", fraction=1.0, stages=("s0",), worst_ms=43.0),),
    )
    return plan, Workload(fragments=(fragment,))


def broken(plan: Plan, workload: Workload) -> list[tuple[str, str]]:
    return [(item.law, item.place) for item in laws.verify(plan, workload, [PROFILE]).violations]


def test_a_plan_that_uses_its_whole_budget_and_its_whole_capacity_is_valid() -> None:
    plan, workload = one_stage(rate_rps=2000 / 21.5)
    assert broken(plan, workload) == []


@pytest.mark.parametrize(
    ("start", "end", "batch", "share", "expected"),
    [
        (0, 3, 1, 25, 14.5),
        (1, 2, 1, 50, 4.5),
        (0, 1, 2, 50, 3.5),
        (0, 2, 2, 50, None),  # passes the cell that was not measured
        (2, 2, 1, 25, None),
        (0, 4, 1, 25, None),
        (-1, 2, 1, 25, None),
        (0, 3, 4, 25, None),
        (0, 3, 1, 30, None),
    ],
)
def test_exec_ms_is_the_overhead_plus_the_sum_of_the_layers(
    start: int, end: int, batch: int, share: int, expected: float | None
) -> None:
    assert laws.exec_ms(PROFILE, start, end, batch, share) == expected


def test_memory_is_the_context_plus_weights_plus_the_largest_activation_times_the_batch() -> None:
    assert laws.memory_mb(PROFILE, 0, 2, 2) == 100 + 30 + 2 * 4
    assert laws.memory_mb(PROFILE, 1, 3, 1) == 100 + 50 + 2
    assert laws.memory_mb(replace(PROFILE, weight_mb=None, activation_mb=None), 0, 3, 2) == 100


def test_a_gpu_takes_what_fits_exactly_and_not_a_megabyte_more() -> None:
    plan, workload = one_stage(instances=4)
    placed = tuple(Placed(stage="s0", instance=number, gpu="g") for number in range(4))
    plan = replace(plan, placement=placed, objective=Objective(share=200.0, gpus=1))
    needed_mb = 4 * (100 + 60 + 2 * 4)
    exactly = replace(workload, gpus=(Gpu(id="g", type="v100", memory_mb=needed_mb),))
    assert broken(plan, exactly) == []
    less = replace(workload, gpus=(Gpu(id="g", type="v100", memory_mb=needed_mb - 1),))
    [violation] = laws.verify(plan, less, [PROFILE]).violations
    assert (violation.law, violation.place, violation.unit) == ("placement", "gpu g", "MB")
    assert violation.by == pytest.approx(1.0)


def test_a_gpu_takes_at_most_the_clients_that_mps_allows() -> None:
    plan, workload = one_stage(instances=2)
    placed = tuple(Placed(stage="s0", instance=number, gpu="g") for number in range(2))
    plan = replace(plan, placement=placed, objective=Objective(share=100.0, gpus=1))
    workload = replace(workload, gpus=(Gpu(id="g", type="v100", memory_mb=1e6),))
    assert laws.verify(plan, workload, [PROFILE]).valid
    [violation] = laws.verify(plan, workload, [PROFILE], max_clients=1).violations
    assert (violation.law, violation.place, violation.by) == ("placement", "gpu g", 1.0)


def test_the_verdict_says_by_how_much_time_and_capacity_are_exceeded() -> None:
    plan, workload = one_stage(budget_ms=40.0, rate_rps=100.0)
    by_law = {item.law: item for item in laws.verify(plan, workload, [PROFILE]).violations}
    assert by_law["time"].by == pytest.approx(3.0)
    assert by_law["time"].unit == "ms"
    assert by_law["capacity"].by == pytest.approx(100 - 2000 / 21.5)
    assert by_law["capacity"].unit == "rps"


def test_clients_of_one_fragment_all_count() -> None:
    plan, workload = one_stage(rate_rps=50.0)
    assert broken(plan, workload) == []
    doubled = replace(workload, fragments=(replace(workload.fragments[0], count=2),))
    assert broken(plan, doubled) == [("capacity", "stages[0] (s0)")]


def test_a_verdict_is_json_that_any_reader_takes_even_for_numbers_that_are_none() -> None:
    plan, workload = one_stage()
    stage, route = plan.stages[0], plan.routes[0]
    plan = replace(
        plan,
        stages=(replace(stage, exec_ms=math.nan, instances=10**400),),
        routes=(replace(route, fraction=math.inf), replace(route, fraction=-math.inf, worst_ms=math.nan)),
        objective=Objective(share=math.inf),
        lower_bound=math.nan,
    )
    verdict = laws.verify(plan, workload, [PROFILE])
    assert {item.law for item in verdict.violations} == {"stage", "time", "capacity", "routes", "objective"}
    document = json.loads(json.dumps(verdict.to_json(), allow_nan=False))
    assert document["format"] == "regraft.verdict/v1"
    assert document["valid"] is False


def test_a_stage_without_latency_and_without_instances_is_no_way_to_serve() -> None:
    free = replace(PROFILE, latency_ms=(((0.0, 0.0), (0.0, 0.0)),) * 3, stage_overhead_ms=0.0)
    plan, workload = one_stage()
    stage = replace(plan.stages[0], exec_ms=0.0, instances=-1)
    plan = replace(plan, stages=(stage,), objective=Objective(share=-50.0))
    found = {(item.law, item.place) for item in laws.verify(plan, workload, [free]).violations}
    assert ("stage", "stages[0] (s0)") in found
