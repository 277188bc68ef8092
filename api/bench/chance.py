"""What chance leaves open of an observed quantile: its confidence interval by order statistics.

Of n independent times, the number below the true quantile is binomial, whatever their distribution; so two
of the ordered times enclose it with at least the wanted probability (the usual distribution-free interval).
Times of requests that queue depend on each other, and then it is somewhat too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import binom

CONFIDENCE = 0.95
# Where an interval has no end, as long as so many requests take is worth a try.
_FOR_A_START = 1000


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Both ends in ms; None where there are too few times for one."""

    low: float | None
    high: float | None

    def holds(self, value: float) -> bool:
        """Whether a value is not outside of it."""
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)

    def half_width_pct(self, around: float) -> float | None:
        """The further of its ends from a value, in percent of that; None where one is open."""
        if self.low is None or self.high is None or around <= 0:
            return None
        return 100.0 * max(self.high - around, around - self.low) / around


def quantile_interval(values: Sequence[float], part: float) -> Interval:
    """The confidence interval of a quantile (`part` 0 to 1) of what these times are drawn from."""
    ordered = sorted(values)
    count = len(ordered)
    outside = (1.0 - CONFIDENCE) / 2
    # Ranks from 1 on: fewer than `low` times below it, or more than `high` - 1, have 2.5 % of samples each.
    low = int(binom.ppf(outside, count, part)) if count else 0
    high = int(binom.ppf(1.0 - outside, count, part)) + 1
    return Interval(
        low=round(ordered[low - 1], 3) if low >= 1 else None,
        high=round(ordered[high - 1], 3) if high <= count else None,
    )


def around(intervals: Sequence[tuple[float | None, float | None]]) -> Interval:
    """From the lowest end to the highest; open where one of them is."""
    lows, highs = zip(*intervals, strict=True)
    return Interval(
        low=None if None in lows else min(lows),
        high=None if None in highs else max(highs),
    )


def seconds_wanted(
    interval: Interval, around: float | None, count: int, seconds: float, within_pct: float
) -> float | None:
    """How long a load must last for its p99 to be known to `within_pct`, by what is known after `seconds`.

    The width falls with the root of the number of requests. None where it is known well enough, and where
    nothing was answered. Where an end is open, as long as a thousand requests take, for a start.
    """
    if around is None or not count:
        return None
    width_pct = interval.half_width_pct(around)
    if width_pct is None:
        return float(math.ceil(seconds * max(2.0, _FOR_A_START / count)))
    if width_pct <= within_pct:
        return None
    return float(math.ceil(seconds * (width_pct / within_pct) ** 2))
