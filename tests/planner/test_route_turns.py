"""Program 5.3 by turns: which step of the price is asked for, and until when."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from planner.route_turns import RouteTurns
from solver.outcome import Watch
from solver.route_choice import Choice

STEP = 5.0


def stepping(took_s: list[float], part: float) -> list[float]:
    """The goals asked for from a bound of 100 on, of which each takes so long and is ruled out, within a part
    of a second."""
    turns: Any = object.__new__(RouteTurns)
    turns.watch, turns.bound = Watch(time_limit_s=1.0), SimpleNamespace(step=STEP, value=100.0)
    turns.watch.update(objective=500.0, lower_bound=100.0)
    turns._decided = set()
    goals: list[float] = []

    def learn(_: Choice, goal: float) -> bool:
        turns.watch.update(lower_bound=goal + STEP / 2)
        return True

    def decide(goal: float, _: Watch, *, time_limit_s: float) -> Choice:
        assert 0 < time_limit_s <= part
        goals.append(goal)
        time.sleep(took_s[len(goals) - 1])
        return Choice(paths=(), lower_bound=float("inf"))

    turns._learn = learn
    turns._step_up("branching", decide, part)
    return goals


@pytest.mark.parametrize(
    ("took_s", "part", "goals"),
    [
        # After the second there is less time left than it took.
        ([0.01, 0.55, 0.01], 1.0, [102.5, 107.5]),
        # Then none at all.
        ([0.01, 0.06, 0.3], 0.2, [102.5, 107.5, 112.5]),
    ],
)
def test_no_step_is_begun_for_which_there_is_less_time_than_the_last_one_took(
    took_s: list[float], part: float, goals: list[float]
) -> None:
    assert stepping(took_s, part) == goals
