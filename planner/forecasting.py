"""What fraction of inputs will go on past each exit, from what was observed; and when to plan anew for it.

Observations are counts in windows of equal length: how many requests answered, and how many of them left
by each exit. The forecast for the next window is `last` (as the last window that saw enough), `mean` (of
the last few, by their counts) or `arima` (statsmodels; as `last` before there are windows enough).
benchmarks/exits_forecast.py compares them; the default is what it found best.

Not every exit is seen: a plan may leave some out of use, and what would have left there leaves later or not
at all. `pooled` takes each exit from the fragments on whose way it is in use, and puts the others in between:
inputs that have become harder (or easier) have done so in order, so that what went on past an exit between
two that were seen lies between what goes on past those, in the proportion it was planned with (our
reconstruction).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from planner.workload import Fragment, Workload

Method = Literal["last", "mean", "arima"]

# A model, and the survival of a fragment's own, if it has one.
Kind = tuple[str, tuple[float, ...] | None]

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
    """Requests answered in one window, and how many of them left by each exit, by layer.

    Fractions of requests are possible where several fragments were taken together (`pooled`).
    """

    answered: int
    left: Mapping[int, float]

    def survival(self, layers: Sequence[int]) -> tuple[float, ...]:
        """The fraction that went on past each exit, exits by rising layer."""
        gone, found = 0.0, []
        for layer in layers:
            gone += self.left.get(layer, 0)
            found.append(max(0.0, 1.0 - gone / self.answered) if self.answered else 1.0)
        return tuple(found)


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What was counted of one fragment in one window; `exits` are those in use on all of its routes.

    `lost` were dropped or failed after they had gone on past an exit, by the layer of the last one.
    """

    start: int
    exits: frozenset[int]
    answered: int
    left: Mapping[int, int]
    lost: Mapping[int, int]

    def asked(self, layer: int) -> int:
        """Requests of which it is known whether they go on past this exit."""
        return self.answered + sum(count for at, count in self.lost.items() if at >= layer)


def pooled(seen: Sequence[Seen], layers: Sequence[int], planned: Sequence[float]) -> Window:
    """Fragments that were planned with the same survival, as one window in which every exit is in use.

    `answered` is how many the least seen of its exits rests on; 0 where none was seen by enough requests.
    A fragment that enters behind an exit tells who goes on of those that came so far: before it, as seen of
    others in this window, or as planned.
    """
    found: dict[int, float] = {}
    counts: list[int] = []
    for layer in layers:
        asked = [one for one in seen if layer in one.exits and one.start < layer]
        answered = sum(one.asked(layer) for one in asked)
        if answered < LEAST_ANSWERED:
            continue
        so_far = completed(layers, planned, found) if found else tuple(planned)
        staying = 0.0
        for one in asked:
            before = [fraction for at, fraction in zip(layers, so_far, strict=True) if at <= one.start]
            gone = sum(count for at, count in one.left.items() if at <= layer)
            staying += (before[-1] if before else 1.0) * max(0, one.asked(layer) - gone)
        found[layer] = staying / answered
        counts.append(answered)
    if not found:
        return Window(answered=0, left={})
    answered, here, left = min(counts), 1.0, {}
    for layer, fraction in zip(layers, completed(layers, planned, found), strict=True):
        left[layer], here = answered * (here - fraction), fraction
    return Window(answered=answered, left=left)


def completed(
    layers: Sequence[int], planned: Sequence[float], found: Mapping[int, float]
) -> tuple[float, ...]:
    """The survival past every exit, where it was found for some of them and planned for all."""
    points = {0.0: 0.0, 1.0: 1.0}
    points |= {before: found[layer] for layer, before in zip(layers, planned, strict=True) if layer in found}
    places = sorted(points)
    between = np.interp(planned, places, [points[place] for place in places])
    exact = [found.get(layer, value) for layer, value in zip(layers, between.tolist(), strict=True)]
    return tuple(np.minimum.accumulate(np.clip(exact, 0.0, 1.0)).tolist())


def forecast(
    windows: Sequence[Window], layers: Sequence[int], *, method: Method = DEFAULT
) -> tuple[float, ...] | None:
    """The survival past each exit in the next window; None while no window saw enough."""
    enough = _enough(windows)
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


def rests_on(windows: Sequence[Window], *, method: Method = DEFAULT) -> int:
    """How many requests the forecast of `forecast` rests on."""
    enough = _enough(windows)
    single = method == "last" or (method == "arima" and len(enough) < LEAST_WINDOWS)
    return sum(window.answered for window in enough[-1 if single else -MEAN_WINDOWS :])


def drifted(
    planned: Sequence[float], expected: Sequence[float], answered: int, *, tolerance: float = TOLERANCE
) -> bool:
    """Whether what is expected is so far from what was planned with that another plan is called for.

    `answered` is how many requests the forecast rests on: what chance alone explains is no drift, nor what
    `tolerance` allows.
    """
    for before, now in zip(planned, expected, strict=True):
        noise = math.sqrt(max(now * (1 - now), 1e-4) / max(1, answered))
        if abs(now - before) > max(tolerance, STANDARD_ERRORS * noise):
            return True
    return False


def with_survival(workload: Workload, model: str, survival: Sequence[float]) -> Workload:
    """The workload in which all fragments of a model have this survival."""
    kinds = {kind_of(fragment) for fragment in workload.fragments if fragment.model == model}
    return with_survivals(workload, dict.fromkeys(kinds, tuple(survival)))


def with_survivals(workload: Workload, survivals: Mapping[Kind, Sequence[float]]) -> Workload:
    """The workload in which fragments of these kinds have these survivals."""

    def changed(fragment: Fragment) -> Fragment:
        found = survivals.get(kind_of(fragment))
        return fragment if found is None else replace(fragment, survival=tuple(found))

    return replace(workload, fragments=tuple(changed(fragment) for fragment in workload.fragments))


def kind_of(fragment: Fragment) -> Kind:
    """What fragments have in common that were planned with the same survival."""
    return fragment.model, fragment.survival


def _enough(windows: Sequence[Window]) -> list[Window]:
    return [window for window in windows if window.answered >= LEAST_ANSWERED]


def _arima(series: np.ndarray) -> float:
    """One step ahead by ARIMA(1, 1, 1); the last value where the series is constant or cannot be fitted."""
    from statsmodels.tsa.arima.model import ARIMA

    if np.ptp(series) < 1e-9:
        return float(series[-1])
    with warnings.catch_warnings():
        # Its warnings say that a fit is poor; a poor forecast shows in the benchmark.
        warnings.simplefilter("ignore")
        try:
            found = float(ARIMA(series, order=(1, 1, 1)).fit().forecast(1)[0])
        except (np.linalg.LinAlgError, ValueError):
            found = math.nan
        return found if math.isfinite(found) else float(series[-1])
