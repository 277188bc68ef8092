"""Bounds are rounded up to what prices can add up to, and never further."""

from __future__ import annotations

import numpy as np
import pytest

from solver.steps import common_step, round_down, round_up


@pytest.mark.parametrize(
    ("numbers", "step"),
    [
        ([5, 10, 100], 5.0),
        ([25, 50, 75], 25.0),
        ([12.5, 30.0], 2.5),
        ([0.4 * share for share in (5, 10, 15)] + [5.0], 1.0),
        ([3.0], 3.0),
        ([], 0.0),
        ([1.0, np.pi], 0.0),
    ],
)
def test_the_step_divides_every_number(numbers: list[float], step: float) -> None:
    assert common_step(numbers) == pytest.approx(step)


def test_a_bound_is_rounded_up_to_the_next_possible_price() -> None:
    assert round_up(151.0, 5.0) == 155.0


def test_rounding_noise_does_not_lift_a_bound_by_a_whole_step() -> None:
    assert round_up(155.0 + 1e-9, 5.0) == 155.0
    assert round_up(155_000_000.0 + 1e-4, 5.0) == 155_000_000.0


def test_without_a_step_a_bound_stays_what_it_is() -> None:
    assert round_up(151.3, 0.0) == 151.3


def test_room_is_rounded_down_to_what_loads_can_fill() -> None:
    assert round_down(np.array([155.0, 165.0, 180.0]), 30.0).tolist() == [150.0, 150.0, 180.0]
