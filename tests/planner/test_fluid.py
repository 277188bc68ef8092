"""Large loads: plans of many different fragments are valid, their bound holds, the gap closes with load."""

from __future__ import annotations

import numpy as np
import pytest

from planner import laws, optimal
from planner.fluid import fluid_draft
from planner.plan import Plan
from planner.planning import make_plan, prepare
from planner.problem import PlanSettings
from planner.profile import Profile
from planner.programs import network_over
from planner.workload import Workload
from solver.path_bound import path_bound
from tests.profiles import make_coarse_profile, make_profile, make_workload
from tests.solver.brute import best_plan


@pytest.fixture(autouse=True)
def _everything_is_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimal, "MANY_CLASSES", 0)
    monkeypatch.setattr(optimal, "GRAFT_S_PER_CLASS", 1e9)  # `graft` would hide what is tested here


def plan_of(workload: Workload, profiles: list[Profile], **settings: float) -> Plan:
    plan = make_plan(workload, profiles, strategy="optimal", settings=PlanSettings(**settings))
    assert laws.verify(plan, workload, profiles).valid
    return plan


@pytest.mark.parametrize("seed", range(4))
def test_no_plan_is_below_the_bound(seed: int) -> None:
    profile = make_profile(layers=4, batches=(1, 4), shares=(20, 50, 100), seed=seed)
    workload = make_workload([profile], fragments=5, rates=(5.0, 60.0), seed=seed)
    plan = plan_of(workload, [profile], time_limit_s=5.0)
    best = best_plan([profile], workload.fragments)
    assert plan.lower_bound <= best * (1 + 1e-9)
    assert best <= plan.objective.share * (1 + 1e-9)


@pytest.mark.parametrize("profile", [make_profile(layers=8), make_coarse_profile(null_cells=0.2)])
def test_the_gap_is_small_where_counts_are_large(profile: Profile) -> None:
    workload = make_workload([profile], fragments=40, counts=(1000, 1000))
    assert plan_of(workload, [profile], time_limit_s=30.0).gap <= 0.01


def test_budgets_are_not_rounded() -> None:
    """A budget that a path takes to the last bit is enough, and the next double below it is not."""
    profile = make_profile(layers=4, batches=(1, 4), shares=(20, 50, 100))
    workload = make_workload([profile], fragments=60, rates=(50.0, 60.0))
    plan = plan_of(workload, [profile], time_limit_s=3.0)
    worst = {route.fragment: route.worst_ms for route in plan.routes}
    for fragment in workload.fragments:
        assert worst[fragment.id] <= fragment.budget_ms * (1 + 1e-9)


def test_split_fragments_are_split_once_a_border_and_add_up() -> None:
    profile = make_profile(layers=8)
    workload = make_workload([profile], fragments=300, counts=(2000, 4000))
    plan = plan_of(workload, [profile], time_limit_s=30.0)
    whole = sum(route.fraction == 1.0 for route in plan.routes)
    assert whole >= 150, "most phones have one route"
    assert min(route.fraction for route in plan.routes) > 0


def test_a_time_that_is_over_still_gives_a_plan() -> None:
    profile = make_profile(layers=8)
    workload = make_workload([profile], fragments=200)
    problem, _ = prepare(workload, [profile], PlanSettings())
    found = fluid_draft(problem, "net", range(200), PlanSettings(), ends=0.0)
    assert found is not None
    draft, bound = found
    assert len({route.fragment for route in draft.routes}) == 200
    assert bound > 0


def test_every_model_is_planned() -> None:
    profiles = [make_profile("a", layers=6), make_profile("b", layers=8, seed=1)]
    workload = make_workload(profiles, fragments=80, counts=(1000, 2000))
    plan = plan_of(workload, profiles, time_limit_s=30.0)
    assert {stage.model for stage in plan.stages} == {"a", "b"}
    assert plan.provenance.settings["classes"] == 80


def test_the_bound_is_that_of_paths_in_fractions() -> None:
    profile = make_profile(layers=6)
    workload = make_workload([profile], fragments=50)
    problem, _ = prepare(workload, [profile], PlanSettings())
    found = fluid_draft(problem, "net", range(50), PlanSettings(), ends=0.0)
    assert found is not None
    fragments = problem.fragments
    network = network_over(
        problem.menus["net"],
        np.array([fragment.start for fragment in fragments]),
        np.array([fragment.budget_ms for fragment in fragments]),
        np.array([fragment.load_rps for fragment in fragments]),
    )
    assert network is not None
    assert found[1] == path_bound(network)
