"""What fraction of inputs will go on past each exit, from what was observed; and when to plan anew for it.

Observations are counts in windows of equal length: how many requests answered, and how many of them left
by each exit. The forecast for the next window is `last` (as the last window that saw enough), `mean` (of
the last few, by their counts) or `arima` (statsmodels; as `last` before there are windows enough).
benchmarks/exits_forecast.py compares them; the default is what it found best.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from planner.workload import Workload

Method = Literal["last", "mean", "arima"]

DEFAULT: Method = "arima"

# Windows that `mean` averages, and whose answers a forecast is taken to rest on; the fewest for `arima`.
MEAN_WINDOWS = 4
LEAST_WINDOWS = 12
# A window with fewer answers says too little.
LEAST_ANSWERED = 30
# What survivals may differ by from those planned with: standard errors of what was counted, and at least.
STANDARD_ERRORS, TOLERANCE = 3.0, 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """Requests answered in one window, and how many of them left by each exit, by layer."""

    answered: int
    left: Mapping[int, int]

    def survival(self, layers: Sequence[int]) -> tuple[float, ...]:
        """The fraction that went on past each exit, exits by rising layer."""
        gone, found = 0, []
        for layer in layers:
            gone += self.left.get(layer, 0)
            found.append(max(0.0, 1.0 - gone / self.answered) if self.answered else 1.0)
        return tuple(found)


def forecast(
    windows: Sequence[Window], layers: Sequence[int], *, method: Method = DEFAULT
) -> tuple[float, ...] | None:
    """The survival past each exit in the next window; None while no window saw enough."""
    enough = [window for window in windows if window.answered >= LEAST_ANSWERED]
    if not enough:
        return None
    series = np.array([window.survival(layers) for window in enough])
    match method:
        case "arima" if len(series) >= LEAST_WINDOWS:
            found = np.array([_arima(column) for column in series.T])
        case "mean":
            counts = np.array([window.answered for window in enough[-MEAN_WINDOWS:]], dtype=np.float64)
            found = np.average(series[-MEAN_WINDOWS:], axis=0, weights=counts)
        case _:
            found = series[-1]
    return tuple(np.minimum.accumulate(np.clip(found, 0.0, 1.0)).tolist())


def drifted(planned: Sequence[float], expected: Sequence[float], answered: int) -> bool:
    """Whether what is expected is so far from what was planned with that another plan is called for.

    `answered` is how many requests the forecast rests on: what chance alone explains is no drift.
    """
    for before, now in zip(planned, expected, strict=True):
        noise = math.sqrt(max(now * (1 - now), 1e-4) / max(1, answered))
        if abs(now - before) > max(TOLERANCE, STANDARD_ERRORS * noise):
            return True
    return False


def with_survival(workload: Workload, model: str, survival: Sequence[float]) -> Workload:
    """The workload in which all fragments of a model have this survival."""
    return replace(
        workload,
        fragments=tuple(
            replace(fragment, survival=tuple(survival)) if fragment.model == model else fragment
            for fragment in workload.fragments
        ),
    )


def _arima(series: np.ndarray) -> float:
    """One step ahead by ARIMA(1, 1, 1); as the last value where the series is constant."""
    from statsmodels.tsa.arima.model import ARIMA

    if np.ptp(series) < 1e-9:
        return float(series[-1])
    with warnings.catch_warnings():
        # Its warnings say that a fit is poor; a poor forecast shows in the benchmark.
        warnings.simplefilter("ignore")
        fitted = ARIMA(series, order=(1, 1, 1)).fit()
        return float(fitted.forecast(1)[0])
