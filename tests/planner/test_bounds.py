"""The quick bound: never above a valid plan, and the plan itself where nothing is wasted."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.bounds import quick_bound
from planner.planning import make_plan, prepare
from planner.problem import PlanSettings
from planner.profile import Profile
from planner.workload import Fragment, Workload
from tests.profiles import make_profile, make_workload


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10_000),
    fragments=st.integers(1, 12),
    rate=st.sampled_from([0.1, 5.0, 300.0, 5_000.0]),
    nulls=st.sampled_from([0.0, 0.3]),
    queueing=st.sampled_from(["plain", "headroom"]),
)
def test_no_plan_has_less_than_the_bound(
    seed: int, fragments: int, rate: float, nulls: float, queueing: str
) -> None:
    profiles = [
        make_profile("a", layers=5, shares=(10, 30, 100), null_cells=nulls, overhead_ms=0.0, seed=seed),
        make_profile("a", "t4", layers=5, shares=(50, 100), total_ms=20, cost_per_share=0.4, seed=seed),
    ]
    workload = make_workload(
        profiles, fragments=fragments, rates=(rate / 2, rate), budgets=(3.0, 9.0), seed=seed
    )
    tuning = PlanSettings(queueing=queueing)
    problem, _ = prepare(workload, profiles, tuning)
    plan = make_plan(workload, profiles, strategy="graft", settings=tuning)
    assert quick_bound(problem) <= plan.objective.share * (1 + 1e-9)


def test_the_bound_is_the_plan_where_instances_are_full() -> None:
    """10 ms a request on share 20: 100 requests a second fill an instance, 300 fill three."""
    profile = Profile(model="m", gpu="g", layers=("a",), batches=(1,), shares=(20,), latency_ms=(((10.0,),),))
    fragment = Fragment(id="f", model="m", start=0, budget_ms=20.0, rate_rps=300.0)
    plan = make_plan(Workload(fragments=(fragment,)), [profile], strategy="gslice")
    assert plan.objective.share == pytest.approx(60.0)
    assert plan.lower_bound == pytest.approx(60.0)
    assert plan.status == "optimal"


def test_the_bound_counts_whole_instances() -> None:
    """A hundredth of an instance is bought as a whole one, the cheapest there is."""
    profile = Profile(
        model="m", gpu="g", layers=("a",), batches=(1,), shares=(20, 50), latency_ms=(((10.0, 5.0),),)
    )
    fragment = Fragment(id="f", model="m", start=0, budget_ms=100.0, rate_rps=1.0)
    problem, _ = prepare(Workload(fragments=(fragment,)), [profile], PlanSettings())
    assert quick_bound(problem) == pytest.approx(20.0)


def test_the_bound_counts_a_stage_for_every_cut_point_where_phones_enter() -> None:
    """Three phones at three cuts need three stages, however little they send."""
    profile = Profile(
        model="m",
        gpu="g",
        layers=("a", "b", "c"),
        batches=(1,),
        shares=(20, 50),
        latency_ms=(((10.0, 5.0),),) * 3,
    )
    fragments = tuple(
        Fragment(id=f"f{start}", model="m", start=start, budget_ms=200.0, rate_rps=0.1) for start in range(3)
    )
    problem, _ = prepare(Workload(fragments=fragments), [profile], PlanSettings())
    assert quick_bound(problem) == pytest.approx(60.0)
    hasty = (Fragment(id="f", model="m", start=2, budget_ms=10.0, rate_rps=0.1), *fragments[:2])
    problem, _ = prepare(Workload(fragments=hasty), [profile], PlanSettings())
    assert quick_bound(problem) == pytest.approx(90.0), "20 ms on a share of 20 are too slow for 10 ms"
