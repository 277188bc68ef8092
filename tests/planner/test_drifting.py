"""What exits saw is laid beside what the plan was made for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from planner.drifting import Counted, exits_in_use, forecast_workload, outlooks
from planner.forecasting import Seen, Window, completed, forecast, pooled, rests_on
from planner.plan import Objective, Plan, Route, Stage
from planner.workload import Fragment, Workload
from tests.exits import with_exits
from tests.profiles import make_profile

PROFILE = with_exits(make_profile(layers=8, batches=(1,), shares=(100,)), (0.5, 0.25), layers=(2, 5))
FRAGMENT = Fragment(id="a", model="net", start=0, budget_ms=90.0, rate_rps=9.0)


def plan_of(fragments: dict[str, tuple[int, ...]]) -> Plan:
    """Every fragment on a stage of its own, with these exits in use."""
    stages = tuple(
        Stage(
            id=name, model="net", gpu="v100", start=0, end=8, batch=1, share=100, instances=1, exec_ms=1.0,
            exits=exits,
        )
        for name, exits in fragments.items()
    )  # fmt: skip
    routes = tuple(Route(fragment=name, fraction=1.0, stages=(name,), worst_ms=2.0) for name in fragments)
    return Plan(
        strategy="s", status="feasible", objective=Objective(share=100.0), stages=stages, routes=routes
    )


def counted(
    exits: tuple[int, ...], answered: int, left: dict[int, int], lost: dict[int, int] | None = None
) -> Counted:
    return Counted(exits=frozenset(exits), answered=answered, left=left, lost=lost or {})


def test_an_exit_out_of_use_is_put_between_those_that_were_seen() -> None:
    assert completed([2, 5, 7], [0.8, 0.4, 0.2], {2: 0.9, 7: 0.6}) == pytest.approx((0.9, 0.7, 0.6))
    assert completed([2, 5], [0.5, 0.25], {5: 0.5}) == pytest.approx((0.5 + 0.5 * (0.25 / 0.75), 0.5))
    assert completed([2, 5], [0.5, 0.0], {5: 0.3}) == pytest.approx((0.65, 0.3))
    assert completed([2, 5], [1.0, 1.0], {2: 0.7}) == pytest.approx((0.7, 0.7))


def test_who_was_late_behind_an_exit_has_gone_on_past_it() -> None:
    seen = Seen(start=0, exits=frozenset({2, 5}), answered=600, left={2: 500, 5: 50}, lost={2: 400, 5: 100})
    window = pooled([seen], [2, 5], [0.5, 0.25])
    # 1,100 were asked at the first exit; of 700 it is known what they do at the second.
    assert window.survival([2, 5]) == pytest.approx((600 / 1100, 150 / 700))
    assert window.answered == 700


def test_who_enters_behind_an_exit_tells_of_those_that_came_so_far() -> None:
    early = Seen(start=0, exits=frozenset({2}), answered=1000, left={2: 600}, lost={})
    late = Seen(start=3, exits=frozenset({5}), answered=1000, left={5: 500}, lost={})
    assert pooled([early, late], [2, 5], [0.5, 0.25]).survival([2, 5]) == pytest.approx((0.4, 0.2))
    assert pooled([late], [2, 5], [0.5, 0.25]).survival([2, 5]) == pytest.approx((0.5, 0.25))


def test_exits_that_too_few_came_to_are_not_seen() -> None:
    few = Seen(start=0, exits=frozenset({2}), answered=10, left={2: 10}, lost={})
    assert pooled([few], [2, 5], [0.5, 0.25]) == Window(answered=0, left={})
    assert forecast([pooled([few], [2, 5], [0.5, 0.25])], [2, 5]) is None


def test_a_forecast_from_the_last_window_rests_on_that_window_alone() -> None:
    windows = [Window(answered=100 * n, left={}) for n in range(1, 7)]
    assert rests_on(windows, method="last") == 600
    assert rests_on(windows, method="mean") == 600 + 500 + 400 + 300
    assert rests_on(windows) == 600  # too few for ARIMA


def test_exits_count_that_are_in_use_on_every_route_of_a_fragment() -> None:
    plan = plan_of({"a": (2, 5), "b": (5,)})
    split = replace(plan, routes=(*plan.routes, replace(plan.routes[1], fragment="a", fraction=0.5)))
    assert exits_in_use(plan) == {"a": frozenset({2, 5}), "b": frozenset({5})}
    assert exits_in_use(split)["a"] == frozenset({5})


def test_fragments_planned_alike_are_seen_together_and_others_apart() -> None:
    easy = replace(FRAGMENT, id="easy", survival=(0.2, 0.1))
    workload = Workload(fragments=(FRAGMENT, replace(FRAGMENT, id="b"), easy, replace(FRAGMENT, id="hidden")))
    plan = plan_of({"a": (2, 5), "b": (5,), "easy": (2, 5), "hidden": ()})
    window = {
        "a": counted((2, 5), 1000, {2: 200, 5: 200}),
        "b": counted((5,), 1000, {5: 400}),
        "easy": counted((2, 5), 1000, {2: 800, 5: 100}),
        "hidden": counted((), 1000, {}),
    }
    hard, unchanged = outlooks(plan, workload, [PROFILE], [window] * 2)
    assert (hard.fragments, hard.own, hard.answered, hard.drifted) == (2, False, 4000, True)
    assert hard.expected == pytest.approx((0.8, 0.6))
    assert hard.difference == pytest.approx(0.35)
    assert hard.harder
    assert (unchanged.planned, unchanged.own, unchanged.drifted) == ((0.2, 0.1), True, False)
    assert not unchanged.harder
    made = forecast_workload(workload, [hard, unchanged])
    assert [item.survival for item in made.fragments] == [(0.8, 0.6), (0.8, 0.6), (0.2, 0.1), (0.8, 0.6)]


def test_a_window_counts_by_the_exits_that_were_in_use_then() -> None:
    """Two windows of an earlier plan without the first exit, and the plan that has it."""
    workload = Workload(fragments=(FRAGMENT,))
    before = {"a": counted((5,), 1000, {5: 750})}
    [outlook] = outlooks(plan_of({"a": (2, 5)}), workload, [PROFILE], [before] * 3)
    assert outlook.expected == pytest.approx((0.5, 0.25))
    assert not outlook.drifted


def test_a_tolerance_of_ones_own() -> None:
    workload = Workload(fragments=(FRAGMENT,))
    window = {"a": counted((2, 5), 100_000, {2: 46_000, 5: 29_000})}
    [strict], [lax] = (
        outlooks(plan_of({"a": (2, 5)}), workload, [PROFILE], [window], tolerance=tolerance)
        for tolerance in (0.02, 0.05)
    )
    assert strict.drifted
    assert not lax.drifted
