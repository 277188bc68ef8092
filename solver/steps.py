"""Numbers that are whole multiples of a step: prices, so that bounds may be rounded up; sometimes loads."""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

# A bound is a sum of doubles: it exceeds a multiple only when by more than this part of a step and of itself.
SLACK = 1e-6
ROUNDING = 1e-9
# A step finer than this part of the least number gains nothing, and is likelier rounding than intention.
FINEST = 1e-3


def common_step(numbers: Iterable[float]) -> float:
    """The greatest common divisor of the numbers, taken as exact decimals; 0 when too fine to matter."""
    values = sorted({round(float(number), 9) for number in numbers if math.isfinite(number) and number > 0})
    if not values:
        return 0.0
    step = Fraction(str(values[0]))
    for value in values[1:]:
        number = Fraction(str(value))
        step = Fraction(
            math.gcd(step.numerator * number.denominator, number.numerator * step.denominator),
            step.denominator * number.denominator,
        )
    return float(step) if float(step) >= FINEST * values[0] else 0.0


def round_up(bound: float, step: float) -> float:
    """The least multiple of `step` that is not below `bound` (the bound itself where the step is 0)."""
    return math.ceil(bound * (1 - ROUNDING) / step - SLACK) * step if step > 0 else bound


def round_down(room: NDArray[np.float64], step: float) -> NDArray[np.float64]:
    """The greatest multiples of `step` that are not above `room` (`room` itself where the step is 0)."""
    return np.floor(room / step + SLACK) * step if step > 0 else room


def below(cost: float, step: float) -> float:
    """The most that anything cheaper than this costs; where prices share no step, a little less than it."""
    return cost - step if step > 0 else cost * (1 - 1e-6)
