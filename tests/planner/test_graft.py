"""What the heuristics promise: complete, valid plans, and each at least as cheap as the one before it."""

from __future__ import annotations

from itertools import count
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.graft import Tuning
from planner.planning import make_plan
from planner.problem import PlanSettings, Progress
from planner.profile import Profile
from planner.queueing import QUEUEING_LAWS
from planner.workload import Fragment, Workload
from tests.profiles import make_coarse_profile, make_profile, make_workload

FAMILY = ("gslice", "gslice+", "graft")


def shares(workload: Workload, profiles: list[Profile], queueing: str = "plain") -> list[float]:
    """What each of the family pays; `make_plan` has the laws judge every plan."""
    tuning = PlanSettings(queueing=queueing, infeasible="partial")
    return [make_plan(workload, profiles, strategy=name, settings=tuning).objective.share for name in FAMILY]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 100_000),
    fragments=st.integers(1, 30),
    layers=st.integers(1, 8),
    nulls=st.sampled_from([0.0, 0.1, 0.4]),
    budgets=st.sampled_from([(1.0, 1.3), (1.2, 3.0), (3.0, 12.0)]),
    rates=st.sampled_from([(0.1, 1.0), (1.0, 30.0), (50.0, 2_000.0)]),
    queueing=st.sampled_from(list(QUEUEING_LAWS)),
    gpus=st.integers(1, 2),
)
def test_graft_is_never_above_gslice_plus_and_that_never_above_gslice(
    seed: int,
    fragments: int,
    layers: int,
    nulls: float,
    budgets: tuple[float, float],
    rates: tuple[float, float],
    queueing: str,
    gpus: int,
) -> None:
    profiles = [
        make_coarse_profile(
            "net", gpu, layers=layers, null_cells=nulls, total_ms=total_ms, cost_per_share=cost, seed=seed + 1
        )
        for gpu, total_ms, cost in (("v100", 10.0, 1.0), ("a100", 6.0, 1.7))[:gpus]
    ]
    law = QUEUEING_LAWS[queueing]
    stretch = law.time_per_exec / 2  # budgets are drawn for the plain law
    workload = make_workload(
        profiles,
        fragments=fragments,
        budgets=(budgets[0] * stretch, budgets[1] * stretch),
        rates=rates,
        counts=(1, 3),
        seed=seed,
    )
    gslice, gslice_plus, graft = shares(workload, profiles, queueing)
    assert gslice_plus <= gslice * (1 + 1e-9)
    assert graft <= gslice_plus * (1 + 1e-9)


def test_phones_that_are_alike_share_and_those_that_cannot_are_left_alone() -> None:
    """Two cut at the same place and share a stage; a third, with no time to wait for anybody, does not."""
    profile = make_profile(layers=6)
    least = make_workload([profile], fragments=1, starts=[2], budgets=(1.0, 1.0)).fragments[0].budget_ms
    fragments = [
        Fragment(id="a", model="net", start=2, budget_ms=10 * least, rate_rps=10.0),
        Fragment(id="b", model="net", start=2, budget_ms=10 * least, rate_rps=10.0),
        Fragment(id="hasty", model="net", start=3, budget_ms=1.01 * least, rate_rps=1.0),
    ]
    plan = make_plan(Workload(fragments=tuple(fragments)), [profile], strategy="gslice+")
    route = {route.fragment: route.stages for route in plan.routes}
    assert route["a"] == route["b"] != route["hasty"]


def test_fragments_that_start_apart_meet() -> None:
    """Slow trickles of requests with time to spare: after short alignment stages all share one instance."""
    profile = make_profile(layers=10, overhead_ms=0.0)
    fragments = tuple(
        Fragment(id=f"f{start}", model="net", start=start, budget_ms=150.0, rate_rps=0.5)
        for start in range(5)
    )
    workload = Workload(fragments=fragments)
    last = {
        name: {route.stages[-1] for route in make_plan(workload, [profile], strategy=name).routes}
        for name in FAMILY
    }
    assert len(last["gslice"]) == len(last["gslice+"]) == 5
    tight = Workload(
        fragments=tuple(
            Fragment(id=f"f{start}", model="net", start=start, budget_ms=42.0 - 3 * start, rate_rps=20.0)
            for start in range(5)
        )
    )
    plans = {name: make_plan(tight, [profile], strategy=name) for name in FAMILY}
    assert len({route.stages[-1] for route in plans["graft"].routes}) < 5
    assert plans["graft"].objective.share < plans["gslice+"].objective.share


@pytest.mark.parametrize("strategy", FAMILY)
def test_a_fragment_that_no_single_stage_can_serve_gets_a_chain(strategy: str) -> None:
    profile = Profile(
        model="net",
        gpu="v100",
        layers=("a", "b", "c"),
        batches=(1,),
        shares=(50, 100),
        latency_ms=(((4.0, None),), ((None, 3.0),), ((None, 3.0),)),
    )
    fragment = Fragment(id="f", model="net", start=0, budget_ms=20.0, rate_rps=1.0)
    plan = make_plan(Workload(fragments=(fragment,)), [profile], strategy=strategy)
    assert [(stage.start, stage.end, stage.share) for stage in plan.stages] == [(0, 1, 50), (1, 3, 100)]


@pytest.mark.parametrize("strategy", FAMILY)
def test_the_same_input_gives_the_same_plan(strategy: str) -> None:
    profile = make_profile(layers=8)
    workload = make_workload([profile], fragments=25, seed=3)
    first, second = (make_plan(workload, [profile], strategy=strategy) for _ in range(2))
    assert (first.stages, first.routes) == (second.stages, second.routes)


def test_a_slower_machine_makes_the_same_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """Effort is counted in steps: a clock on which every step takes 5 ms changes nothing."""
    profile = make_profile(layers=8)
    workload = make_workload([profile], fragments=25, seed=3)
    first = make_plan(workload, [profile], strategy="graft")
    clock = count(0.0, 0.005)
    monkeypatch.setattr("planner.graft.time", SimpleNamespace(perf_counter=lambda: next(clock)))
    second = make_plan(workload, [profile], strategy="graft")
    assert next(clock) > 5, "the search looked at this clock"
    assert (first.stages, first.routes) == (second.stages, second.routes)


def test_where_every_step_takes_seconds_the_brake_keeps_the_time_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    profile = make_profile(layers=8)
    workload = make_workload([profile], fragments=25, seed=3)
    merged, full = (make_plan(workload, [profile], strategy=name) for name in ("gslice+", "graft"))
    clock = count(0.0, 4.0)
    monkeypatch.setattr("planner.graft.time", SimpleNamespace(perf_counter=lambda: next(clock)))
    stopped = make_plan(workload, [profile], strategy="graft", settings=PlanSettings(time_limit_s=60.0))
    # Stopped after 45 s; every round and report still asks once.
    assert next(clock) < 45 + 4 * 20
    assert full.objective.share < stopped.objective.share <= merged.objective.share


def test_who_asked_for_the_plan_can_stop_the_search_between_two_steps() -> None:
    profile = make_profile(layers=8)
    workload = make_workload([profile], fragments=25, seed=3)
    merged, full = (make_plan(workload, [profile], strategy=name) for name in ("gslice+", "graft"))
    asked = count()
    stopped = make_plan(workload, [profile], strategy="graft", should_stop=lambda: next(asked) > 20)
    # Once before a step said to stop, only ends of rounds and the like ask again.
    assert next(asked) < 60
    assert full.objective.share < stopped.objective.share <= merged.objective.share
    at_once = make_plan(workload, [profile], strategy="graft", should_stop=lambda: True)
    assert at_once.objective.share <= merged.objective.share


@given(st.integers(1, 20_000), st.floats(0.01, 600.0))
def test_effort_follows_the_demands_and_the_time_limit_alone(demands: int, time_limit_s: float) -> None:
    tuning = Tuning()
    steps = tuning.steps(demands, time_limit_s)
    assert 1 <= steps <= max(1, tuning.most_steps_per_demand * demands)
    assert steps <= max(1, tuning.steps_per_s * time_limit_s)
    assert tuning.steps(demands + 1, time_limit_s) >= steps
    assert tuning.steps(demands, 2 * time_limit_s) >= steps


def test_graft_says_where_it_is() -> None:
    profiles = [make_profile("a", layers=6), make_profile("b", layers=6, seed=1)]
    seen: list[Progress] = []
    plan = make_plan(make_workload(profiles, fragments=20), profiles, strategy="graft", progress=seen.append)
    assert {"a", "b"} <= {progress.phase.split()[-1] for progress in seen}
    assert seen[-1].objective == pytest.approx(plan.objective.share)


def test_from_fifty_fragments_on_graft_needs_at_least_two_fifths_less_than_gslice() -> None:
    profile = make_profile(layers=12)
    workload = make_workload([profile], fragments=50, seed=1)
    gslice, _, graft = shares(workload, [profile])
    assert graft <= 0.6 * gslice
