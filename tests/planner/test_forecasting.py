"""Survival expected from what was observed, and when it is time to plan anew."""

from __future__ import annotations

import pytest

from planner.forecasting import Window, drifted, forecast, with_survival
from planner.planning import make_plan
from planner.problem import PlanSettings
from planner.workload import Fragment, Workload
from tests.exits import with_exits
from tests.profiles import make_profile


def test_survival_is_what_did_not_leave_by_an_exit_or_one_before_it() -> None:
    window = Window(answered=200, left={3: 50, 5: 100})
    assert window.survival([3, 5]) == (0.75, 0.25)
    assert window.survival([2, 3, 5]) == (1.0, 0.75, 0.25)


def test_a_window_that_saw_too_little_is_passed_over() -> None:
    windows = [Window(answered=1000, left={3: 500}), Window(answered=5, left={3: 5})]
    assert forecast(windows, [3], method="last") == (0.5,)
    assert forecast(windows[1:], [3]) is None


def test_the_mean_weighs_windows_by_what_they_saw() -> None:
    windows = [Window(answered=300, left={3: 300}), Window(answered=100, left={})]
    assert forecast(windows, [3], method="mean") == (0.25,)


def test_a_forecast_never_rises_from_exit_to_exit_and_stays_a_fraction() -> None:
    windows = [Window(answered=100, left={3: 100, 5: 20})] * 3
    found = forecast(windows, [3, 5])
    assert found == (0.0, 0.0)


@pytest.mark.parametrize(
    ("planned", "expected", "answered", "drift"),
    [
        ((0.5, 0.2), (0.5, 0.2), 1000, False),
        ((0.5, 0.2), (0.53, 0.2), 100_000, False),  # not worth a plan
        ((0.5, 0.2), (0.6, 0.2), 100_000, True),
        ((0.5, 0.2), (0.6, 0.2), 40, False),  # chance alone does as much
        ((0.5, 0.2), (0.5, 0.4), 1000, True),
    ],
)
def test_drift_is_more_than_chance_and_worth_a_plan(
    planned: tuple[float, ...], expected: tuple[float, ...], answered: int, drift: bool
) -> None:
    assert drifted(planned, expected, answered) is drift


def test_after_a_drift_the_plan_is_made_for_what_is_expected() -> None:
    profile = with_exits(make_profile(layers=8, seed=5), (0.5, 0.25))
    fragment = Fragment(id="f", model="net", start=0, budget_ms=200.0, rate_rps=2000.0)
    workload = Workload(fragments=(fragment,))
    layers = [item.layer for item in profile.exits or ()]
    windows = [Window(answered=1000, left={layers[0]: 100, layers[1]: 100})] * 4
    expected = forecast(windows, layers)
    assert expected is not None
    assert drifted((0.5, 0.25), expected, 4000)
    harder = with_survival(workload, "net", expected)
    settings = PlanSettings(time_limit_s=2.0)
    before, after = (
        make_plan(demand, [profile], strategy="graft", settings=settings) for demand in (workload, harder)
    )
    assert after.objective.share > before.objective.share
