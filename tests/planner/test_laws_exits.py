"""The laws where requests leave on the way: figures worked out by hand, and plans broken in every way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from planner import laws
from planner.plan import Objective, Plan, Route, Stage
from planner.profile import Exit, Profile
from planner.workload import Fragment, Workload

# Every layer takes 2 ms at batch 1 and 5 at batch 4, so 3 at batch 2; a ramp 1 ms at 1, and 4 at batch 4.
PROFILE = Profile(
    model="net",
    gpu="v100",
    layers=("a", "b", "c", "d"),
    batches=(1, 4),
    shares=(20,),
    latency_ms=(((2.0,), (5.0,)),) * 4,
    stage_overhead_ms=0.5,
    context_mb=100.0,
    exits=(
        Exit(layer=1, ramp_ms=((1.0,), (4.0,)), survival=0.5, weight_mb=3.0),
        Exit(layer=3, ramp_ms=((1.0,), (4.0,)), survival=0.2, weight_mb=5.0),
    ),
)


def split() -> tuple[Plan, Workload]:
    """`first` [0, 1) lets half of the requests go at exit 1, `rest` [1, 4) most of the others at exit 3.

    `early` sends 100, of which 50 come to `rest`; `late` starts at 1, behind the exit, and sends 150. Of
    what comes to `rest`, 0.2 / 0.5 = 0.4 goes on past exit 3.
    """
    fragments = (
        Fragment(id="early", model="net", start=0, budget_ms=60.0, rate_rps=50.0, count=2),
        Fragment(id="late", model="net", start=1, budget_ms=60.0, rate_rps=150.0),
    )
    stages = (
        # Nobody has left before its ramp, which runs for all.
        Stage(
            id="first", model="net", gpu="v100", start=0, end=1, batch=4, share=20, instances=1, exec_ms=9.5,
            exits=(1,), expected_ms=9.5,
        ),
        # Layers b, c and the ramp at batch 4, then layer d at 4 · 0.4 = 1.6: 2 + 0.6 / 3 · 3 = 2.6.
        Stage(
            id="rest", model="net", gpu="v100", start=1, end=4, batch=4, share=20, instances=1, exec_ms=19.5,
            exits=(3,), expected_ms=17.1,
        ),
    )  # fmt: skip
    routes = (
        # All take 9.5, then half of them 0.5 + 5 + 5 + 4 and a fifth 2.6.
        Route(
            fragment="early", fraction=1.0, stages=("first", "rest"), worst_ms=58.0, expected_ms=9.5 + 7.77
        ),
        Route(fragment="late", fraction=1.0, stages=("rest",), worst_ms=39.0, expected_ms=14.5 + 0.4 * 2.6),
    )
    plan = Plan(
        strategy="by hand",
        status="feasible",
        objective=Objective(share=40.0),
        stages=stages,
        routes=routes,
    )
    return plan, Workload(fragments=fragments)


def found(plan: Plan, workload: Workload, profile: Profile = PROFILE) -> set[tuple[str, str]]:
    return {(item.law, item.place) for item in laws.verify(plan, workload, [profile]).violations}


def stage(plan: Plan, position: int, **changes: Any) -> Plan:
    stages = list(plan.stages)
    stages[position] = replace(stages[position], **changes)
    return replace(plan, stages=tuple(stages))


def route(plan: Plan, position: int, **changes: Any) -> Plan:
    routes = list(plan.routes)
    routes[position] = replace(routes[position], **changes)
    return replace(plan, routes=tuple(routes))


def test_the_plan_worked_out_by_hand_is_valid() -> None:
    # `rest` carries 50 + 150 = 200 of 4000 / 17.1 = 233.9; with exec_ms it could take 205.1.
    assert found(*split()) == set()


def test_a_stage_carries_what_comes_to_it_and_not_a_request_more() -> None:
    plan, workload = split()
    for rate_rps, broken in ((4000 / 17.1 - 50, set()), (184.0, {("capacity", "stages[1] (rest)")})):
        late = replace(workload.fragments[1], rate_rps=rate_rps)
        # The parts of `early` and `late` that leave at exit 3 are equal, so expected_ms stays.
        assert found(plan, replace(workload, fragments=(workload.fragments[0], late))) == broken


def test_an_exit_that_is_not_in_use_lets_nobody_go() -> None:
    plan, workload = split()
    plan = stage(plan, 0, exits=(), expected_ms=None, exec_ms=5.5)
    # Everybody comes to `rest`: 250, of which 30 + 60 … go on past exit 3: 0.2 of `early`, 0.4 of `late`.
    part = (100 * 0.2 + 150 * 0.4) / 250
    after = 2 + (4 * part - 1)
    plan = stage(plan, 1, expected_ms=14.5 + after)
    plan = route(plan, 0, worst_ms=50.0, expected_ms=5.5 + 14.5 + 0.2 * after)
    plan = route(plan, 1, expected_ms=14.5 + 0.4 * after)
    assert found(plan, workload) == {("capacity", "stages[1] (rest)")}
    assert found(replace(stage(plan, 1, instances=2), objective=Objective(share=60.0)), workload) == set()


def test_a_fragments_own_survival_stands_for_the_profiles() -> None:
    plan, workload = split()
    easy = replace(workload.fragments[0], survival=(0.1, 0.0))
    part = 150 * 0.4 / 160
    after = 2 + (4 * part - 1)
    plan = stage(plan, 1, expected_ms=14.5 + after)
    plan = route(plan, 0, expected_ms=9.5 + 0.1 * 14.5)
    plan = route(plan, 1, expected_ms=14.5 + 0.4 * after)
    assert found(plan, replace(workload, fragments=(easy, workload.fragments[1]))) == set()
    assert ("stage", "stages[1] (rest)") in found(plan, workload)


@pytest.mark.parametrize(
    ("samples", "expected"), [(0.0, 0.0), (0.9, 1.8), (1.0, 2.0), (2.0, 3.0), (3.0, 4.0), (4.0, 5.0)]
)
def test_fewer_samples_take_what_lies_between_the_batches_measured(samples: float, expected: float) -> None:
    found_ms = laws.expected_ms(PROFILE, 0, 2, 4, 20, {1: samples / 4})
    assert found_ms == pytest.approx(0.5 + 5.0 + 4.0 + expected)


def test_batches_above_the_stages_own_are_not_asked() -> None:
    profile = replace(PROFILE, batches=(1, 2, 4), latency_ms=(((2.0,), (3.0,), (100.0,)),) * 4)
    ramps = tuple(replace(item, ramp_ms=((1.0,), (1.0,), (1.0,))) for item in profile.exits or ())
    profile = replace(profile, exits=ramps)
    assert laws.expected_ms(profile, 0, 2, 2, 20, {1: 0.75}) == pytest.approx(0.5 + 3 + 1 + 2.5)


def test_cells_that_were_not_measured_are_passed_over_below_the_batch_and_forbidden_at_it() -> None:
    some = replace(
        PROFILE, latency_ms=(((2.0,), (5.0,)), ((None,), (5.0,)), ((2.0,), (None,)), ((2.0,), (5.0,)))
    )
    assert laws.expected_ms(some, 0, 2, 4, 20, {1: 0.5}) == pytest.approx(0.5 + 5 + 4 + 5)
    assert laws.expected_ms(some, 0, 3, 4, 20, {1: 0.5}) is None
    ramps = tuple(replace(item, ramp_ms=((1.0,), (None,))) for item in PROFILE.exits or ())
    no_ramp = replace(PROFILE, exits=ramps)
    assert laws.exec_ms(no_ramp, 0, 2, 4, 20) == 10.5
    assert laws.exec_ms(no_ramp, 0, 2, 4, 20, (1,)) is None


def test_ramps_in_use_take_memory() -> None:
    assert [laws.memory_mb(PROFILE, 0, 4, 1, exits) for exits in ((), (1,), (1, 3))] == [100, 103, 108]


def test_where_nobody_leaves_an_exit_costs_its_ramp_and_nothing_else_changes() -> None:
    hard = replace(PROFILE, exits=tuple(replace(item, survival=1.0) for item in PROFILE.exits or ()))
    exits = {1: 1.0, 3: 1.0}
    assert laws.expected_ms(hard, 0, 4, 4, 20, exits) == laws.exec_ms(hard, 0, 4, 4, 20, (1, 3)) == 28.5


MUTATIONS: dict[str, tuple[Callable[[Plan], Plan], set[tuple[str, str]]]] = {
    "an exit at the stage's start": (
        lambda plan: stage(plan, 1, exits=(1, 3)), {("stage", "stages[1] (rest)")}
    ),
    "an exit behind the stage": (lambda plan: stage(plan, 0, exits=(3,)), {("stage", "stages[0] (first)")}),
    "no such exit": (lambda plan: stage(plan, 1, exits=(2,)), {("stage", "stages[1] (rest)")}),
    "an exit twice": (lambda plan: stage(plan, 1, exits=(3, 3)), {("stage", "stages[1] (rest)")}),
    "exec_ms without its ramp": (
        lambda plan: stage(plan, 1, exec_ms=15.5), {("stage", "stages[1] (rest)")}
    ),
    "no expected_ms": (lambda plan: stage(plan, 1, expected_ms=None), {("stage", "stages[1] (rest)")}),
    "expected_ms too low": (lambda plan: stage(plan, 1, expected_ms=17.0), {("stage", "stages[1] (rest)")}),
    "expected_ms too high": (lambda plan: stage(plan, 1, expected_ms=19.5), {("stage", "stages[1] (rest)")}),
    "the route's expected_ms too low": (
        lambda plan: route(plan, 0, expected_ms=17.0), {("time", "routes[0] (early)")}
    ),
    "the route's expected_ms too high": (
        lambda plan: route(plan, 1, expected_ms=18.0), {("time", "routes[1] (late)")}
    ),
    "worst_ms as if somebody left": (
        lambda plan: route(plan, 0, worst_ms=53.2), {("time", "routes[0] (early)")}
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_broken_plan_is_told_by_law_and_place(name: str) -> None:
    plan, workload = split()
    change, expected = MUTATIONS[name]
    assert expected <= found(change(plan), workload)


def test_survivals_that_do_not_fit_the_profile_break_a_law() -> None:
    plan, workload = split()
    odd = replace(workload.fragments[0], survival=(0.5,))
    assert ("routes", "fragment early") in found(
        plan, replace(workload, fragments=(odd, workload.fragments[1]))
    )


def test_the_budget_has_to_hold_for_those_who_never_leave() -> None:
    plan, workload = split()
    tight = replace(workload.fragments[0], budget_ms=55.0)
    assert found(plan, replace(workload, fragments=(tight, workload.fragments[1]))) == {
        ("time", "routes[0] (early)")
    }
