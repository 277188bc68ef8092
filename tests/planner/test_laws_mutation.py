"""Valid plans, broken in every way: each time the verdict names the law and the place.

Two plans are broken: one by hand, in which every part of a plan occurs (two models, two GPU types, an
alignment stage, a fragment split over two routes, several instances, a fragment left out), and one by the
planner. Every mutation changes one thing; what the laws are is taken from the design, not from the code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from planner import laws
from planner.plan import Objective, Placed, Plan, Route, Stage, Unplanned
from planner.planning import make_plan
from planner.profile import Profile
from planner.workload import Fragment, Gpu, Workload
from tests.profiles import make_profile, make_workload


@dataclass(frozen=True, kw_only=True)
class Case:
    plan: Plan
    workload: Workload
    profiles: tuple[Profile, ...]


def by_hand() -> Case:
    """A layer of `deep` takes 1 ms on `big`, 2 on `small`, one of `flat` 3, at any batch and share."""

    def profile(model: str, gpu: str, layer_ms: float, cost: float) -> Profile:
        cells = ((layer_ms, layer_ms), (layer_ms, layer_ms))
        return Profile(
            model=model,
            gpu=gpu,
            layers=("a", "b", "c", "d"),
            batches=(1, 4),
            shares=(20, 40),
            latency_ms=(cells,) * 4,
            stage_overhead_ms=0.5,
            weight_mb=(10.0,) * 4,
            activation_mb=(1.0,) * 4,
            context_mb=50.0,
            cost_per_share=cost,
        )

    profiles = (
        profile("deep", "big", 1.0, 2.0),
        profile("deep", "small", 2.0, 1.0),
        profile("flat", "small", 3.0, 1.0),
    )
    fragments = (
        Fragment(id="early", model="deep", start=0, budget_ms=10.0, rate_rps=100.0),
        Fragment(id="late", model="deep", start=1, budget_ms=15.0, rate_rps=400.0, count=2),
        Fragment(id="other", model="flat", start=2, budget_ms=13.0, rate_rps=150.0),
        Fragment(id="hopeless", model="flat", start=0, budget_ms=1.0, rate_rps=1.0),
    )
    gpus = (Gpu(id="b0", type="big", memory_mb=400.0), Gpu(id="p0", type="small", memory_mb=400.0))
    stages = (
        # 1.5 ms, 666.7 a second; carries 100
        Stage(
            id="align", model="deep", gpu="big", start=0, end=1, batch=1, share=20, instances=1, exec_ms=1.5
        ),
        # 3.5 ms, 285.7 a second an instance; carries 100 + 400
        Stage(
            id="meet", model="deep", gpu="big", start=1, end=4, batch=1, share=40, instances=2, exec_ms=3.5
        ),
        # 6.5 ms, 615.4 a second; carries 400
        Stage(
            id="aside", model="deep", gpu="small", start=1, end=4, batch=4, share=20, instances=1, exec_ms=6.5
        ),
        # 6.5 ms, 153.8 a second; carries 150
        Stage(
            id="tail", model="flat", gpu="small", start=2, end=4, batch=1, share=20, instances=1, exec_ms=6.5
        ),
    )
    routes = (
        Route(fragment="early", fraction=1.0, stages=("align", "meet"), worst_ms=10.0),
        Route(fragment="late", fraction=0.5, stages=("meet",), worst_ms=7.0),
        Route(fragment="late", fraction=0.5, stages=("aside",), worst_ms=13.0),
        Route(fragment="other", fraction=1.0, stages=("tail",), worst_ms=13.0),
    )
    placement = (
        Placed(stage="align", instance=0, gpu="b0"),
        Placed(stage="meet", instance=0, gpu="b0"),
        Placed(stage="meet", instance=1, gpu="b0"),
        Placed(stage="aside", instance=0, gpu="p0"),
        Placed(stage="tail", instance=0, gpu="p0"),
    )
    plan = Plan(
        strategy="by hand",
        status="feasible",
        objective=Objective(share=20 * 2 + 2 * 40 * 2 + 20 + 20.0, gpus=2),
        lower_bound=120.0,
        gap=0.5,
        stages=stages,
        routes=routes,
        placement=placement,
        unplanned=(Unplanned(fragment="hopeless", reason="budget_too_small"),),
    )
    return Case(plan=plan, workload=Workload(fragments=fragments, gpus=gpus), profiles=profiles)


def by_planner() -> Case:
    profiles = (
        make_profile("deep", layers=8, memory=True),
        make_profile("flat", layers=5, memory=True, seed=1),
    )
    gpus = [Gpu(id=f"gpu-{number}", type="v100", memory_mb=16_000.0) for number in range(8)]
    workload = make_workload(profiles, fragments=14, gpus=gpus, seed=2)
    return Case(plan=make_plan(workload, profiles, strategy="graft"), workload=workload, profiles=profiles)


CASES = {"by hand": by_hand(), "by planner": by_planner()}


def found(case: Case, plan: Plan) -> set[tuple[str, str]]:
    return {(item.law, item.place) for item in laws.verify(plan, case.workload, case.profiles).violations}


def changed(plan: Plan, part: str, position: int, **changes: Any) -> Plan:
    items = list(getattr(plan, part))
    items[position] = replace(items[position], **changes)
    return replace(plan, **{part: tuple(items)})


def without(plan: Plan, part: str, position: int) -> Plan:
    items = list(getattr(plan, part))
    del items[position]
    return replace(plan, **{part: tuple(items)})


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_plans_that_are_broken_below_are_valid_before(case: Case) -> None:
    assert laws.verify(case.plan, case.workload, case.profiles).violations == ()


# ---- every field of every stage -----------------------------------------------------------------------

STAGE_MUTATIONS: dict[str, Callable[[Stage], dict[str, Any]]] = {
    "exec_ms too low": lambda stage: {"exec_ms": stage.exec_ms * 0.999},
    "exec_ms too high": lambda stage: {"exec_ms": stage.exec_ms * 1.001},
    "exec_ms not a number": lambda _: {"exec_ms": float("nan")},
    "a batch not measured": lambda _: {"batch": 3},
    "a share not measured": lambda _: {"share": 33},
    "a share below 0": lambda stage: {"share": -stage.share},
    "ends beyond the model": lambda _: {"end": 99},
    "starts before the model": lambda _: {"start": -1},
    "has no layers": lambda stage: {"end": stage.start},
    "runs backwards": lambda stage: {"start": stage.end, "end": stage.start},
    "a model without profile": lambda _: {"model": "unheard-of"},
    "a gpu type without profile": lambda _: {"gpu": "unheard-of"},
    "no instances": lambda _: {"instances": 0},
    "fewer than no instances": lambda _: {"instances": -2},
    "endless instances": lambda _: {"instances": 10**400},
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("mutation", STAGE_MUTATIONS.values(), ids=STAGE_MUTATIONS.keys())
def test_a_stage_that_cannot_exist_is_found(case: Case, mutation: Callable[[Stage], dict[str, Any]]) -> None:
    for position, stage in enumerate(case.plan.stages):
        plan = changed(case.plan, "stages", position, **mutation(stage))
        assert ("stage", f"stages[{position}] ({stage.id})") in found(case, plan)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_an_id_used_twice_is_found_at_its_second_use(case: Case) -> None:
    plan = changed(case.plan, "stages", 1, id=case.plan.stages[0].id)
    assert ("stage", f"stages[1] ({case.plan.stages[0].id})") in found(case, plan)


def test_a_stage_through_a_cell_that_was_not_measured_is_found() -> None:
    case = CASES["by hand"]
    holed = [
        replace(
            profile,
            latency_ms=(
                *profile.latency_ms[:2],
                ((None, None), (None, None)),
                *profile.latency_ms[3:],
            ),
        )
        for profile in case.profiles
    ]
    violations = laws.verify(case.plan, case.workload, holed).violations
    places = {item.place for item in violations if item.law == "stage"}
    assert places == {"stages[1] (meet)", "stages[2] (aside)", "stages[3] (tail)"}
    assert all("not measured" in item.message for item in violations if item.law == "stage")


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_profile_that_changed_since_is_found(case: Case) -> None:
    slower = [
        replace(profile, stage_overhead_ms=profile.stage_overhead_ms + 0.01) for profile in case.profiles
    ]
    violations = laws.verify(case.plan, case.workload, slower).violations
    assert {item.place for item in violations if item.law == "stage"} == {
        f"stages[{position}] ({stage.id})" for position, stage in enumerate(case.plan.stages)
    }


# ---- time -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_budget_a_little_too_small_is_found_on_every_route(case: Case) -> None:
    for position, route in enumerate(case.plan.routes):
        fragments = tuple(
            replace(fragment, budget_ms=route.worst_ms * 0.999) if fragment.id == route.fragment else fragment
            for fragment in case.workload.fragments
        )
        tight = replace(case, workload=replace(case.workload, fragments=fragments))
        assert ("time", f"routes[{position}] ({route.fragment})") in found(tight, case.plan)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("factor", [0.0, 0.999, -1.0, float("nan")])
def test_a_worst_case_that_says_less_than_twice_the_executions_is_found(case: Case, factor: float) -> None:
    for position, route in enumerate(case.plan.routes):
        plan = changed(case.plan, "routes", position, worst_ms=route.worst_ms * factor)
        assert ("time", f"routes[{position}] ({route.fragment})") in found(case, plan)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_worst_case_above_the_budget_is_found(case: Case) -> None:
    budgets = {fragment.id: fragment.budget_ms for fragment in case.workload.fragments}
    for position, route in enumerate(case.plan.routes):
        plan = changed(case.plan, "routes", position, worst_ms=budgets[route.fragment] * 1.001)
        assert ("time", f"routes[{position}] ({route.fragment})") in found(case, plan)


# ---- capacity -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_load_a_little_above_the_capacity_is_found_at_every_stage_on_its_way(case: Case) -> None:
    for position, stage in enumerate(case.plan.stages):
        capacity = stage.instances * stage.batch * 1000 / stage.exec_ms
        using = [route for route in case.plan.routes if stage.id in route.stages]
        loads = {fragment.id: fragment.load_rps for fragment in case.workload.fragments}
        load = sum(loads[route.fragment] * route.fraction for route in using)
        factor = capacity / load * 1.001
        busy = {route.fragment for route in using}
        fragments = tuple(
            replace(fragment, rate_rps=fragment.rate_rps * factor) if fragment.id in busy else fragment
            for fragment in case.workload.fragments
        )
        heavy = replace(case, workload=replace(case.workload, fragments=fragments))
        assert ("capacity", f"stages[{position}] ({stage.id})") in found(heavy, case.plan)


def test_an_instance_too_few_is_found() -> None:
    case = CASES["by hand"]
    violations = laws.verify(
        changed(case.plan, "stages", 1, instances=1), case.workload, case.profiles
    ).violations
    [capacity] = [item for item in violations if item.law == "capacity"]
    assert capacity.place == "stages[1] (meet)"
    assert capacity.by == pytest.approx(500 - 1000 / 3.5)


# ---- routes ---------------------------------------------------------------------------------------------

ROUTE_MUTATIONS: dict[str, Callable[[Route], dict[str, Any]]] = {
    "no stages": lambda _: {"stages": ()},
    "first stage missing": lambda route: {"stages": route.stages[1:]},
    "last stage missing": lambda route: {"stages": route.stages[:-1]},
    "a stage twice": lambda route: {"stages": (route.stages[0], *route.stages)},
    "a stage that does not exist": lambda route: {"stages": (*route.stages, "nowhere")},
    "no fraction": lambda _: {"fraction": 0.0},
    "a fraction below 0": lambda route: {"fraction": -route.fraction},
    "a fraction that is no number": lambda _: {"fraction": float("nan")},
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("mutation", ROUTE_MUTATIONS.values(), ids=ROUTE_MUTATIONS.keys())
def test_a_route_that_leads_nowhere_is_found(case: Case, mutation: Callable[[Route], dict[str, Any]]) -> None:
    for position, route in enumerate(case.plan.routes):
        plan = changed(case.plan, "routes", position, **mutation(route))
        assert ("routes", f"routes[{position}] ({route.fragment})") in found(case, plan)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_stages_in_the_wrong_order_are_found(case: Case) -> None:
    for position, route in enumerate(case.plan.routes):
        if len(route.stages) > 1:
            plan = changed(case.plan, "routes", position, stages=route.stages[::-1])
            assert ("routes", f"routes[{position}] ({route.fragment})") in found(case, plan)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_hole_between_stages_and_a_stage_of_another_model_are_found(case: Case) -> None:
    by_id = {stage.id: stage for stage in case.plan.stages}
    tried = 0
    for position, route in enumerate(case.plan.routes):
        here = by_id[route.stages[0]]
        for other in case.plan.stages:
            if (other.model, other.start) != (here.model, here.start):
                plan = changed(case.plan, "routes", position, stages=(other.id, *route.stages[1:]))
                assert ("routes", f"routes[{position}] ({route.fragment})") in found(case, plan)
                tried += 1
    assert tried > 3


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("factor", [0.5, 0.999, 1.001, 2.0])
def test_fractions_that_do_not_add_up_to_one_are_found(case: Case, factor: float) -> None:
    for position, route in enumerate(case.plan.routes):
        plan = changed(case.plan, "routes", position, fraction=route.fraction * factor)
        assert ("routes", f"fragment {route.fragment}") in found(case, plan)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_fragment_without_a_route_is_found(case: Case) -> None:
    for fragment in case.workload.fragments:
        kept = tuple(route for route in case.plan.routes if route.fragment != fragment.id)
        listed = tuple(item for item in case.plan.unplanned if item.fragment != fragment.id)
        plan = replace(case.plan, routes=kept, unplanned=listed)
        assert ("routes", f"fragment {fragment.id}") in found(case, plan)


def test_a_fragment_both_served_and_left_out_is_found() -> None:
    case = CASES["by hand"]
    left_out = (*case.plan.unplanned, Unplanned(fragment="early", reason="budget_too_small"))
    assert ("routes", "fragment early") in found(case, replace(case.plan, unplanned=left_out))


def test_fragments_nobody_asked_for_are_found() -> None:
    case = CASES["by hand"]
    plan = changed(case.plan, "routes", 0, fragment="stranger")
    assert {("routes", "routes[0] (stranger)"), ("routes", "fragment early")} <= found(case, plan)
    plan = changed(case.plan, "unplanned", 0, fragment="stranger")
    assert {("routes", "unplanned[0]"), ("routes", "fragment hopeless")} <= found(case, plan)


def test_a_fragment_left_out_twice_is_found() -> None:
    case = CASES["by hand"]
    plan = replace(case.plan, unplanned=case.plan.unplanned * 2)
    assert found(case, plan) == {("routes", "unplanned[1]")}


# ---- placement ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_an_instance_on_no_gpu_is_found(case: Case) -> None:
    for position, placed in enumerate(case.plan.placement):
        plan = without(case.plan, "placement", position)
        assert ("placement", f"stage {placed.stage}") in found(case, plan)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize(
    "changes", [{"stage": "nowhere"}, {"instance": 99}, {"instance": -1}, {"gpu": "nowhere"}], ids=str
)
def test_a_placement_of_nothing_or_on_nothing_is_found(case: Case, changes: dict[str, Any]) -> None:
    for position, placed in enumerate(case.plan.placement):
        plan = changed(case.plan, "placement", position, **changes)
        broken = replace(placed, **changes)
        place = f"placement[{position}] ({broken.stage} #{broken.instance})"
        assert ("placement", place) in found(case, plan)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_an_instance_placed_twice_is_found(case: Case) -> None:
    first = case.plan.placement[0]
    plan = replace(case.plan, placement=(*case.plan.placement, first))
    last = len(case.plan.placement)
    assert ("placement", f"placement[{last}] ({first.stage} #{first.instance})") in found(case, plan)


def test_the_wrong_type_of_gpu_is_found() -> None:
    case = CASES["by hand"]
    plan = changed(case.plan, "placement", 0, gpu="p0")
    assert found(case, plan) == {("placement", "placement[0] (align #0)")}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_gpu_with_more_than_all_of_its_share_given_away_is_found(case: Case) -> None:
    name = case.plan.placement[0].gpu
    crowded = tuple(replace(placed, gpu=name) for placed in case.plan.placement)
    used = sum(
        stage.share * sum(placed.stage == stage.id for placed in crowded) for stage in case.plan.stages
    )
    violations = laws.verify(replace(case.plan, placement=crowded), case.workload, case.profiles).violations
    [share] = [item for item in violations if item.place == f"gpu {name}" and item.unit == "percent of share"]
    assert share.law == "placement"
    assert share.by == pytest.approx(used - 100)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_gpu_short_of_memory_is_found(case: Case) -> None:
    for gpu in {placed.gpu for placed in case.plan.placement}:
        gpus = tuple(
            replace(item, memory_mb=60.0) if item.id == gpu else item for item in case.workload.gpus or ()
        )
        small = replace(case, workload=replace(case.workload, gpus=gpus))
        assert ("placement", f"gpu {gpu}") in found(small, case.plan)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_placement_without_gpus_to_place_on_is_found(case: Case) -> None:
    nowhere = replace(case, workload=replace(case.workload, gpus=None))
    assert ("placement", "placement") in found(nowhere, case.plan)


# ---- objective ------------------------------------------------------------------------------------------

OBJECTIVE_MUTATIONS: dict[str, tuple[Callable[[Plan], dict[str, Any]], str]] = {
    "share too low": (
        lambda plan: {"objective": replace(plan.objective, share=plan.objective.share - 1)},
        "objective.share",
    ),
    "share too high": (
        lambda plan: {"objective": replace(plan.objective, share=plan.objective.share + 1)},
        "objective.share",
    ),
    "too few gpus": (lambda plan: {"objective": replace(plan.objective, gpus=0)}, "objective.gpus"),
    "too many gpus": (lambda plan: {"objective": replace(plan.objective, gpus=99)}, "objective.gpus"),
    "a bound above the plan": (lambda plan: {"lower_bound": plan.objective.share + 1}, "lower_bound"),
    "a bound that is no number": (lambda _: {"lower_bound": float("nan")}, "lower_bound"),
    "an endless bound": (lambda _: {"lower_bound": float("-inf")}, "lower_bound"),
    "a gap too small": (lambda plan: {"gap": plan.gap - 0.01 if plan.gap else -0.01}, "gap"),
    "a gap too large": (lambda plan: {"gap": (plan.gap or 0.0) + 0.01}, "gap"),
    "a gap from nowhere": (lambda _: {"lower_bound": None}, "gap"),
    "optimal, but not proven": (lambda _: {"status": "optimal"}, "status"),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize(("mutation", "place"), OBJECTIVE_MUTATIONS.values(), ids=OBJECTIVE_MUTATIONS.keys())
def test_an_objective_that_is_not_the_plans_is_found(
    case: Case, mutation: Callable[[Plan], dict[str, Any]], place: str
) -> None:
    assert ("objective", place) in found(case, replace(case.plan, **mutation(case.plan)))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_price_of_gpus_that_changed_is_found(case: Case) -> None:
    dearer = replace(
        case,
        profiles=tuple(
            replace(profile, cost_per_share=profile.cost_per_share * 1.01) for profile in case.profiles
        ),
    )
    assert ("objective", "objective.share") in found(dearer, case.plan)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_an_instance_that_is_not_paid_for_is_found(case: Case) -> None:
    for position, stage in enumerate(case.plan.stages):
        plan = changed(case.plan, "stages", position, instances=stage.instances + 1)
        assert {("objective", "objective.share"), ("placement", f"stage {stage.id}")} <= found(case, plan)
