"""The baselines: every fragment alone, with merging, with fixed cuts, and the sessions of Nexus."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.planning import make_plan
from planner.problem import PlanSettings
from planner.profile import Profile
from planner.workload import Fragment, Workload
from tests.profiles import make_coarse_profile, make_profile, make_workload


def test_gslice_gives_every_fragment_the_cheapest_stage_of_its_own() -> None:
    profile = make_profile(layers=6)
    workload = make_workload([profile], fragments=12, seed=1)
    plan = make_plan(workload, [profile], strategy="gslice")
    assert [len(route.stages) for route in plan.routes] == [1] * 12
    assert len({route.stages for route in plan.routes}) == 12
    for stage in plan.stages:
        assert (stage.end, stage.instances) == (6, 1)


def test_merging_waits_for_the_price_to_fall() -> None:
    """One instance carries 100 requests a second: 40 and 40 share it, two times 90 need two either way."""
    profile = Profile(model="m", gpu="g", layers=("a",), batches=(1,), shares=(20,), latency_ms=(((10.0,),),))

    def stages(rate_rps: float) -> int:
        fragments = tuple(
            Fragment(id=name, model="m", start=0, budget_ms=budget_ms, rate_rps=rate_rps)
            for name, budget_ms in (("a", 30.0), ("b", 31.0))
        )
        return len(make_plan(Workload(fragments=fragments), [profile], strategy="gslice+").stages)

    assert stages(40.0) == 1
    assert stages(90.0) == 2


@pytest.mark.parametrize(("fixed", "baseline"), [("static", "gslice"), ("static+", "gslice+")])
def test_fixed_cuts_are_served_like_any_others_and_the_plan_says_how_many_there_are(
    fixed: str, baseline: str
) -> None:
    profile = make_profile(layers=6)
    workload = make_workload([profile], fragments=10, starts=[3])
    plan = make_plan(workload, [profile], strategy=fixed)
    assert plan.objective.share == make_plan(workload, [profile], strategy=baseline).objective.share
    assert plan.provenance.settings["cuts"] == {"net": 1}


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10_000),
    nulls=st.sampled_from([0.0, 0.3]),
    rates=st.sampled_from([(0.1, 1.0), (1.0, 30.0), (100.0, 3_000.0)]),
    queueing=st.sampled_from(["plain", "headroom"]),
)
def test_nexus_always_gives_a_valid_plan_of_whole_models(
    seed: int, nulls: float, rates: tuple[float, float], queueing: str
) -> None:
    profile = make_coarse_profile(null_cells=nulls, seed=seed)
    workload = make_workload([profile], fragments=12, rates=rates, budgets=(2.5, 8.0), seed=seed)
    plan = make_plan(workload, [profile], strategy="nexus", settings=PlanSettings(queueing=queueing))
    assert {route.fragment for route in plan.routes} == {fragment.id for fragment in workload.fragments}


def test_nexus_fills_whole_gpus_and_packs_what_is_left() -> None:
    """100 requests a second fill a whole GPU: 250 take two and leave 50, which share one with another 30."""
    profile = Profile(
        model="m", gpu="g", layers=("a",), batches=(1,), shares=(100,), latency_ms=(((10.0,),),)
    )
    fragments = (
        Fragment(id="busy", model="m", start=0, budget_ms=30.0, rate_rps=250.0),
        Fragment(id="calm", model="m", start=0, budget_ms=40.0, rate_rps=30.0),
    )
    plan = make_plan(Workload(fragments=fragments), [profile], strategy="nexus")
    assert sorted(stage.instances for stage in plan.stages) == [1, 2]
    fractions = sorted(route.fraction for route in plan.routes if route.fragment == "busy")
    assert fractions == pytest.approx([0.2, 0.8])
    [packed] = [stage for stage in plan.stages if stage.instances == 1]
    assert {route.fragment for route in plan.routes if packed.id in route.stages} == {"busy", "calm"}
