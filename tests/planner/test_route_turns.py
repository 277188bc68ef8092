"""Program 5.3 by turns: which step of the price is asked for, and until when."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from planner.route_turns import RouteTurns
from solver.outcome import Watch
from solver.route_choice import Choice

STEP = 5.0


class Clock(Watch):
    """A watch whose time passes when it is told so."""

    now_s = 0.0

    @property
    def elapsed_s(self) -> float:
        return self.now_s


def stepping(took_s: list[float], part: float) -> list[float]:
    """The goals asked for from a bound of 100 on, of which each takes so long and is ruled out, within a part
    of 100 s."""
    turns: Any = object.__new__(RouteTurns)
    watch = turns.watch = Clock(time_limit_s=100.0)
    turns.bound, turns._decided = SimpleNamespace(step=STEP, value=100.0), set()
    watch.update(objective=500.0, lower_bound=100.0)
    goals: list[float] = []

    def learn(_: Choice, goal: float) -> bool:
        watch.update(lower_bound=goal + STEP / 2)
        return True

    def decide(goal: float, _: Watch, *, time_limit_s: float) -> Choice:
        assert time_limit_s == pytest.approx(100 * part - watch.now_s)
        watch.now_s += took_s[len(goals)]
        goals.append(goal)
        return Choice(paths=(), lower_bound=float("inf"))

    turns._learn = learn
    turns._step_up("branching", decide, part)
    return goals


@pytest.mark.parametrize(
    ("took_s", "part", "goals"),
    [
        # After the second there is less time left than it took.
        ([1.0, 55.0, 1.0], 1.0, [102.5, 107.5]),
        # There was enough for a third, and then none at all.
        ([1.0, 6.0, 13.0], 0.2, [102.5, 107.5, 112.5]),
    ],
)
def test_no_step_is_begun_for_which_there_is_less_time_than_the_last_one_took(
    took_s: list[float], part: float, goals: list[float]
) -> None:
    assert stepping(took_s, part) == goals


@pytest.mark.parametrize(("rounding", "ran"), [(True, []), (False, [(1e-4, False)])])
def test_a_relaxation_is_made_precise_even_where_that_cannot_raise_the_bound(
    rounding: bool, ran: list[tuple[float, bool]]
) -> None:
    """The nearer it is, the fewer stages are left to count or to divide."""
    turns: Any = object.__new__(RouteTurns)
    watch = turns.watch = Clock(time_limit_s=100.0)
    watch.update(objective=110.0, lower_bound=105.0)
    asked: list[tuple[float, bool]] = []

    def run(_: Watch, *, near: float, rounding: bool) -> None:
        asked.append((near, rounding))

    turns.bound = SimpleNamespace(
        step=STEP, value=103.0, relaxed=104.0, done=True, run=run, alive=None, use=None
    )
    turns.watch_for, turns.repairs = (lambda _: Watch()), SimpleNamespace()
    turns._companion, turns._few = None, True
    turns._bound(near=1e-4, rounding=rounding)
    assert asked == ran
