"""`optimal` and `optimal-one`: valid plans, never above `graft`, with bounds that hold for every plan."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any, cast

import pytest

from planner import laws, optimal
from planner.graft import _Garden
from planner.gslice import gslice_plus
from planner.model_search import ONE_STAGE_SHORT, ModelSearch
from planner.plan import Plan
from planner.planning import make_plan, prepare
from planner.problem import PlanSettings, Progress
from planner.profile import Profile
from planner.programs import model_part
from planner.scoreboard import Scoreboard, ignore
from planner.workload import Fragment, Workload
from solver.facilities import Facilities
from solver.one_stage import OneStageAnswer, solve_one_stage
from solver.outcome import Limit, Status, Watch, outcome_of
from tests.profiles import make_coarse_profile, make_profile, make_workload
from tests.solver.brute import best_plan

STRATEGIES = ("optimal-one", "optimal")


def plan_of(workload: Workload, profiles: list[Profile], strategy: str, *, time_limit_s: float = 5.0) -> Plan:
    """A verified plan: `make_plan` refuses any other, and this asks the verifier once more."""
    settings = PlanSettings(time_limit_s=time_limit_s, threads=1)
    plan = make_plan(workload, profiles, strategy=strategy, settings=settings)
    assert laws.verify(plan, workload, profiles).valid
    return plan


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("seed", range(6))
def test_no_plan_at_all_is_below_the_bound(strategy: str, seed: int) -> None:
    profiles = [make_profile(layers=3, batches=(1, 4), shares=(25, 50, 100), seed=seed)]
    workload = make_workload(profiles, fragments=4, starts=(0, 1, 2), seed=seed)
    best = best_plan(profiles, workload.fragments)
    plan = plan_of(workload, profiles, strategy)
    assert plan.lower_bound is not None
    assert plan.lower_bound <= best * (1 + 1e-6)
    assert plan.objective.share >= best * (1 - 1e-6)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_cheaper_gpu_type_is_bounded_by_its_own_price(strategy: str) -> None:
    profiles = [
        make_profile(gpu="v100", layers=3, batches=(1, 4), shares=(25, 100)),
        make_profile(gpu="t4", layers=3, batches=(1, 4), shares=(50, 100), cost_per_share=0.4, total_ms=18.0),
    ]
    workload = make_workload(profiles, fragments=3, starts=(0, 1), seed=2)
    best = best_plan(profiles, workload.fragments)
    plan = plan_of(workload, profiles, strategy)
    assert plan.lower_bound is not None
    assert plan.lower_bound <= best * (1 + 1e-6)
    assert plan.objective.share >= best * (1 - 1e-6)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("seed", range(3))
def test_they_are_never_above_graft(strategy: str, seed: int) -> None:
    profiles = [make_profile(layers=12, seed=seed)]
    workload = make_workload(profiles, fragments=25, seed=seed)
    graft = plan_of(workload, profiles, "graft")
    assert plan_of(workload, profiles, strategy).objective.share <= graft.objective.share * (1 + 1e-9)


def test_what_graft_has_when_the_search_is_left_behind_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    profiles = [make_profile(layers=12)]
    workload = make_workload(profiles, fragments=25)
    quick = plan_of(workload, profiles, "gslice+")
    improve, rounds = _Garden.improve, []

    def for_one_round(garden: _Garden, steps: int, **how: Any) -> None:
        rounds.append(steps)
        if len(rounds) > 1:
            raise MemoryError
        improve(garden, steps, **how)

    monkeypatch.setattr(_Garden, "improve", for_one_round)
    plan = plan_of(workload, profiles, "optimal")
    assert len(rounds) == 2
    assert plan.provenance.settings["ended"]["limit"] == "memory"
    assert plan.objective.share < quick.objective.share


@pytest.mark.parametrize("seed", range(2))
def test_any_number_of_stages_costs_no_more_than_one_shared_stage(seed: int) -> None:
    profiles = [make_coarse_profile(seed=seed)]
    workload = make_workload(profiles, fragments=70, rates=(0.5, 10.0), seed=seed)
    one, any_number = (plan_of(workload, profiles, strategy, time_limit_s=3.0) for strategy in STRATEGIES)
    assert any_number.objective.share <= one.objective.share * (1 + 1e-9)
    assert one.lower_bound is not None
    assert one.lower_bound <= any_number.objective.share * (1 + 1e-6)


def test_the_proof_of_one_shared_stage_stands_in_the_notes() -> None:
    profiles = [make_coarse_profile()]
    plan = plan_of(make_workload(profiles, fragments=8), profiles, "optimal-one")
    proof = plan.provenance.settings["proof"]
    assert proof["program"] == "one shared stage"
    assert proof["status"] == "optimal"
    assert proof["limit"] is None
    assert proof["lower_bound"] == pytest.approx(proof["objective"])
    assert plan.objective.share <= proof["objective"] * (1 + 1e-9)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_where_much_is_not_measured_every_fragment_still_has_its_route(strategy: str) -> None:
    profiles = [make_coarse_profile(null_cells=0.5, seed=4)]
    workload = make_workload(profiles, fragments=12, budgets=(1.0, 3.0), seed=4)
    plan = plan_of(workload, profiles, strategy)
    assert {route.fragment for route in plan.routes} == {fragment.id for fragment in workload.fragments}


def test_several_models_types_and_counts_are_planned_together() -> None:
    profiles = [
        make_profile("a", "v100", layers=8),
        make_profile("a", "t4", layers=8, total_ms=20.0, cost_per_share=0.4),
        make_profile("b", "v100", layers=6, seed=1),
    ]
    workload = make_workload(profiles, fragments=16, counts=(1, 5000), seed=3)
    plan = plan_of(workload, profiles, "optimal-one", time_limit_s=3.0)
    assert {stage.model for stage in plan.stages} == {"a", "b"}
    assert plan.gap is not None
    assert 0 <= plan.gap < 1


class OneOfSeveral:
    """A model's search that needs so many seconds, by a clock of the test's own."""

    def __init__(self, clock: list[float], needs_s: float) -> None:
        self.clock, self.needs_s, self.classes = clock, needs_s, 10
        self.given: list[float] = []

    @property
    def open(self) -> bool:
        return self.needs_s > 1e-9

    def go_on(self, time_s: float) -> None:
        self.given.append(round(time_s, 3))
        takes_s = min(time_s, self.needs_s)
        self.needs_s -= takes_s
        self.clock[0] += takes_s


@pytest.mark.parametrize(
    ("again", "given"),
    [(True, [[1.0], [1.35, 13.5, 12.85], [1.35, 13.5]]), (False, [[10.0], [14.85], [14.85]])],
)
def test_models_that_are_proven_early_leave_their_time_to_the_others(
    monkeypatch: pytest.MonkeyPatch, *, again: bool, given: list[list[float]]
) -> None:
    """30 s for three: the second needs more than there is."""
    clock = [0.0]
    monkeypatch.setattr(optimal, "_left_s", lambda _: 30.0 - clock[0])
    searches = [OneOfSeveral(clock, needs_s) for needs_s in (0.3, 100.0, 2.0)]
    optimal._take_turns(cast(list[ModelSearch], searches), PlanSettings(), again=again)
    assert [search.given for search in searches] == given


def test_a_model_searched_again_knows_what_was_proven_and_found() -> None:
    profiles = [make_profile(layers=12, seed=3)]
    workload = make_workload(profiles, fragments=25, seed=3)
    settings = PlanSettings(time_limit_s=20.0, threads=1)
    problem, *_ = prepare(workload, profiles, settings)
    board = Scoreboard(problem)
    ((model, numbers),) = problem.by_model().items()
    board.keep(model, gslice_plus(problem, settings, ignore))
    search = ModelSearch(model_part(problem, model, numbers), settings, board, any_number=False)
    search.go_on(0.05)
    before, bound = board.outcomes[model], board.bound(model)
    assert search.open
    board.limits[model, "one stage"] = Limit.TIME
    search.go_on(10.0)
    assert not board.limits
    after = board.outcomes[model]
    assert before.lower_bound <= after.lower_bound <= after.objective <= before.objective
    assert board.bound(model) >= bound
    assert after.status is Status.OPTIMAL
    assert not search.open
    # What is known stays known, whatever comes after it.
    worse = replace(after, status=Status.FEASIBLE, objective=2 * after.objective, lower_bound=0.0)
    board.settle(model, worse)
    assert board.outcomes[model].status is Status.OPTIMAL
    assert board.outcomes[model].objective == after.objective


def test_5_2_is_left_some_seconds_though_the_plan_at_hand_is_cheaper(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With heavy loads it is ahead after a few: given up sooner, `optimal` ended above `optimal-one`."""
    time_s, ended_s = 1.2, []

    def never_ahead(facilities: Facilities, *, watch: Watch, **rest: Any) -> OneStageAnswer:
        while not watch.over:
            time.sleep(0.01)
        ended_s.append(watch.elapsed_s)
        return solve_one_stage(facilities, watch=watch, **rest)

    monkeypatch.setattr("planner.model_search.solve_one_stage", never_ahead)
    profiles = [make_profile(layers=6, shares=(25, 50, 100))]
    problem, *_ = prepare(make_workload(profiles, fragments=6), profiles, PlanSettings())
    board = Scoreboard(problem)
    ((model, numbers),) = problem.by_model().items()
    board.keep(model, gslice_plus(problem, PlanSettings(), ignore))
    settings = PlanSettings(threads=1)
    ModelSearch(model_part(problem, model, numbers), settings, board, any_number=True).go_on(time_s)
    assert ended_s[0] >= ONE_STAGE_SHORT * time_s


def test_what_a_search_knows_that_is_left_behind_counts_beside_what_an_earlier_one_did() -> None:
    profiles = [make_profile(layers=6, shares=(25, 50, 100))]
    problem, *_ = prepare(make_workload(profiles, fragments=4), profiles, PlanSettings())
    (model,) = problem.by_model()
    board, watch = Scoreboard(problem), Watch()
    earlier = outcome_of(None)
    board.settle(model, replace(earlier, status=Status.FEASIBLE, objective=500.0, lower_bound=250.0))
    watch.update(objective=300.0, lower_bound=200.0)
    board.watches[model] = watch
    proof = cast(dict[str, Any], board.draft().notes["proof"])
    assert (proof["objective"], proof["lower_bound"], proof["status"]) == (300.0, 250.0, "feasible")
    watch.update(lower_bound=300.0)
    assert cast(dict[str, Any], board.draft().notes["proof"])["status"] == "optimal"


def test_identical_fragments_are_each_served_once() -> None:
    profiles = [make_coarse_profile()]
    template = make_workload(profiles, fragments=1).fragments[0]
    fragments = tuple(
        Fragment(
            id=f"twin-{number}",
            model=template.model,
            start=template.start,
            budget_ms=template.budget_ms,
            rate_rps=template.rate_rps,
        )
        for number in range(9)
    )
    plan = plan_of(Workload(fragments=fragments), profiles, "optimal-one")
    assert sorted(route.fragment for route in plan.routes) == sorted(fragment.id for fragment in fragments)


def test_the_time_limit_is_kept_and_the_bounds_are_reported_on_the_way() -> None:
    profiles = [make_profile(layers=20)]
    workload = make_workload(profiles, fragments=80)
    seen: list[Progress] = []
    started = time.perf_counter()
    settings = PlanSettings(time_limit_s=3.0, threads=1)
    make_plan(workload, profiles, strategy="optimal-one", settings=settings, progress=seen.append)
    assert time.perf_counter() - started < 15.0
    shares = [item.objective for item in seen if item.objective is not None]
    assert shares == sorted(shares, reverse=True)
    assert [item.t_s for item in seen] == sorted(item.t_s for item in seen)


def test_the_same_seed_and_one_thread_give_the_same_plan() -> None:
    profiles = [make_coarse_profile()]
    workload = make_workload(profiles, fragments=15)
    plans = [plan_of(workload, profiles, "optimal-one", time_limit_s=60.0) for _ in range(2)]
    assert plans[0].stages == plans[1].stages
    assert plans[0].routes == plans[1].routes
