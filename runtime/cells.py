"""Measured cells of a model, and the profile that is made of them.

* The mean over runs is used, not the median, so that the sum over a stage's layers is the mean of the stage.
* On a CPU a quota stops the process at any place, and which layer is hit is chance; that the whole takes
  1/share as long is not. So a cell's whole is divided among the layers by the processor time each takes
  at that batch, averaged over all shares.
* The whole is the processor time at that share, divided by the share that the kernel grants, and stretched
  as the clock says, up to 5 %. Whatever it took longer was the doing of processes that do not belong to
  the plan: `measured` says how many cells were disturbed so, and by how much at most.
* A larger batch is never faster. Where a layer really is (torch has other kernels for a single sample than
  for two), the larger batch is given the smaller one's time, since a worker may have to run the smaller
  one. `measured` says how many layers that are, and by how much at most.
* What noise broke is mended by isotonic regression: more share is never slower, a larger batch never
  faster. `measured` says how many cells that changed, and by how much at most.
* A processor whose speed wavers (`runtime.yardstick`) is taken to have been as fast in all cells as it was
  in the middle of them (`measured.yardstick_ms`).
* How single runs lie around their mean is kept as a distribution (`measured.spread`), of all cells together.

All of this is our reconstruction.
"""

from __future__ import annotations

import datetime
import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import numpy as np
from scipy.optimize import isotonic_regression

from planner.profile import Profile

IDENTITY = ("device", "driver", "torch")
MOST_STRETCH_PCT = 5.0
# What two batches of one layer differ by, over all shares, is no noise any more.
_REALLY_FASTER_PCT = 5.0
_SPREAD_AT = (0, 1, 5, 10, 25, 50, 75, 90, 95, 98, 99, 99.5, 100)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One measured cell: milliseconds of whole runs and of their layers, at a batch and share.

    `scatter_pct` is how runs differ, by processor time on a CPU: standard deviation over mean; `factors` are
    the runs themselves over their mean. `yardstick_ms` is how fast the processor was (`runtime.yardstick`).
    """

    batch: int
    share: float
    runs: int
    total_ms: float
    interval_pct: float
    layer_ms: tuple[float, ...]
    processor_ms: tuple[float, ...]
    effective_pct: float
    scatter_pct: float = 0.0
    factors: tuple[float, ...] = ()
    yardstick_ms: float = 0.0


def profile_of(
    model: str,
    gpu_type: str,
    batches: Sequence[int],
    shares: Sequence[float],
    opened: dict[str, Any],
    whole: dict[str, Any],
    cells: Mapping[tuple[int, float], Cell],
) -> Profile:
    yardstick_ms = statistics.median(cell.yardstick_ms for cell in cells.values())
    cells = {key: as_fast(cell, yardstick_ms) for key, cell in cells.items()}
    on_cpu = opened["enforced_by"] in ("cgroup-v1", "cgroup-v2", "pause", "none") and not opened["driver"]
    raw = np.array(
        [[_layer_ms(cells, batch, share, shares, on_cpu) for share in shares] for batch in batches]
    )  # [batch][share][layer]
    raised, faster_pct = _never_faster(raw, np.array(shares, dtype=np.float64))
    smooth = monotone(raised)
    change_pct = 100.0 * np.abs(smooth.sum(axis=2) / raised.sum(axis=2) - 1.0)
    disturbed_pct = [_disturbed_pct(cell) if on_cpu else 0.0 for cell in cells.values()]
    # On a CPU what a stage does beyond its layers is under the share as well; the least has the most of it.
    beyond_ms = max(0.0, whole["handling_ms"] + whole["beyond_layers_ms"])
    beyond_ms *= 100.0 / min(shares) if on_cpu else 1.0
    return Profile(
        model=model,
        gpu=gpu_type,
        layers=tuple(opened["layers"]),
        batches=tuple(batches),
        shares=tuple(int(share) if float(share).is_integer() else float(share) for share in shares),
        latency_ms=tuple(
            tuple(
                tuple(round(float(value), 6) for value in smooth[batch, :, layer])
                for batch in range(len(batches))
            )
            for layer in range(smooth.shape[2])
        ),
        stage_overhead_ms=round(beyond_ms, 6),
        cut_bytes=tuple(opened["cut_bytes"]),
        weight_mb=tuple(round(size, 6) for size in opened["weight_mb"]),
        activation_mb=tuple(round(size, 6) for size in opened["activation_mb"]),
        context_mb=round(max(opened["context_mb"], whole["context_mb"]), 1),
        measured={
            **{field: opened[field] for field in IDENTITY},
            "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "runs": min(cell.runs for cell in cells.values()),
            "enforced_by": opened["enforced_by"],
            **({} if on_cpu else {"tf32": opened["tf32"], "cuda_graphs": whole["captured"]}),
            **({"yardstick_ms": round(yardstick_ms, 6)} if yardstick_ms else {}),
            "interval_pct": round(max(cell.interval_pct for cell in cells.values()), 2),
            "scatter_pct": round(_scatter_pct(cells.values()), 2),
            **spread_of(cells.values()),
            "disturbed_cells": sum(1 for pct in disturbed_pct if pct > MOST_STRETCH_PCT),
            "disturbed_pct": round(max(disturbed_pct), 1),
            "beyond_layers_ms": round(whole["beyond_layers_ms"], 6),
            "beyond_layers_error_ms": round(whole["beyond_layers_error_ms"], 6),
            **_around_of(whole.get("beyond_layers_around_ms", ())),
            "additivity_error_pct": round(whole["additivity_error_pct"], 2),
            "faster_batches": int((faster_pct > 0).sum()),
            "faster_batches_pct": round(float(faster_pct.max(initial=0.0)), 1),
            "smoothed_cells": int((change_pct > 0.01).sum()),
            "smoothed_by_pct": round(float(change_pct.max()), 2),
            **(_effective(cells, shares) if not on_cpu else {}),
            "regraft": version("regraft"),
        },
    )


def as_fast(cell: Cell, yardstick_ms: float) -> Cell:
    """The cell had the processor been that fast; as it is where nobody knows how fast it was."""
    if not cell.yardstick_ms or not yardstick_ms:
        return cell
    scale = yardstick_ms / cell.yardstick_ms
    return replace(
        cell,
        total_ms=scale * cell.total_ms,
        layer_ms=tuple(scale * ms for ms in cell.layer_ms),
        processor_ms=tuple(scale * ms for ms in cell.processor_ms),
        yardstick_ms=yardstick_ms,
    )


def slower_pct(alone: Cell, beside: Cell, *, on_cpu: bool) -> float:
    """How much longer a cell takes beside a neighbour, in percent.

    On a CPU, where processes take turns, it is the processor time that a neighbour lengthens (by what it does
    to the caches); on a GPU the time itself.
    """
    beside = as_fast(beside, alone.yardstick_ms)
    before, after = (sum(cell.processor_ms) if on_cpu else cell.total_ms for cell in (alone, beside))
    return 100.0 * (after / before - 1.0)


def spread_of(cells: Collection[Cell]) -> dict[str, Any]:
    """How runs lie around their cell's mean, as `spread`: percent of runs → factor."""
    factors = [
        # The mean of a few runs is too near to each of them.
        max(0.0, 1.0 + (factor - 1.0) * math.sqrt(len(cell.factors) / (len(cell.factors) - 1)))
        for cell in cells
        if len(cell.factors) > 1
        for factor in cell.factors
    ]
    if not factors:
        return {}
    return {"spread": _points_of(factors)}


def _around_of(around_ms: Sequence[float]) -> dict[str, Any]:
    """How single stages lie around their mean, whatever their length, as `beyond_layers_spread_ms`.

    Percent of runs → milliseconds of the processor. It is what a rest and a first layer do, and of a short
    stage at a small share much more than how whole runs scatter.
    """
    return {"beyond_layers_spread_ms": _points_of(around_ms)} if len(around_ms) > 1 else {}


def _points_of(values: Sequence[float]) -> dict[str, float]:
    """The distribution's inverse at some percents."""
    found = np.quantile(values, np.array(_SPREAD_AT) / 100.0)
    return {f"{at:g}": round(float(value), 4) for at, value in zip(_SPREAD_AT, found, strict=True)}


def _scatter_pct(cells: Collection[Cell]) -> float:
    """How runs of one cell differ, over all cells: standard deviation over mean."""
    degrees = sum(cell.runs - 1 for cell in cells)
    return (
        math.sqrt(sum((cell.runs - 1) * cell.scatter_pct**2 for cell in cells) / degrees) if degrees else 0.0
    )


def _effective(cells: Mapping[tuple[int, float], Cell], shares: Sequence[float]) -> dict[str, Any]:
    """What really held at each share, as read back from the device."""
    read = {share: [cell.effective_pct for cell in cells.values() if cell.share == share] for share in shares}
    return {"effective_pct": {f"{share:g}": round(max(found), 1) for share, found in read.items()}}


def _layer_ms(
    cells: Mapping[tuple[int, float], Cell], batch: int, share: float, shares: Sequence[float], on_cpu: bool
) -> list[float]:
    cell = cells[batch, share]
    if not on_cpu:
        return list(cell.layer_ms)
    weights = np.zeros(len(cell.layer_ms))
    for other in shares:
        weights += cells[batch, other].runs * np.array(cells[batch, other].processor_ms)
    return list(_undisturbed_ms(cell) * weights / weights.sum())


def _undisturbed_ms(cell: Cell) -> float:
    """A CPU cell's whole without what other processes did to it."""
    granted_ms = sum(cell.processor_ms) * 100.0 / cell.effective_pct
    return min(max(cell.total_ms, granted_ms), granted_ms * (1.0 + MOST_STRETCH_PCT / 100.0))


def _disturbed_pct(cell: Cell) -> float:
    """How much longer a CPU cell took than its processor time at its share."""
    granted_ms = sum(cell.processor_ms) * 100.0 / cell.effective_pct
    return max(0.0, 100.0 * (cell.total_ms / granted_ms - 1.0))


def _never_faster(
    raw: np.ndarray[Any, Any], shares: np.ndarray[Any, Any]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """[batch][share][layer] with larger batches raised where they really are faster; [layer], by what %.

    Really: over all shares together, which noise is not.
    """
    raised = raw.copy()
    faster_pct = np.zeros(raw.shape[2])
    for batch in range(1, raw.shape[0]):
        # The same work at every share: the median of it is what a layer takes, of a whole device.
        before, here = (np.median(raised[which] * shares[:, None], axis=0) for which in (batch - 1, batch))
        pct = 100.0 * (before / np.maximum(here, 1e-12) - 1.0)
        really = pct > _REALLY_FASTER_PCT
        faster_pct = np.maximum(faster_pct, np.where(really, pct, 0.0))
        raised[batch][:, really] = np.maximum(raised[batch], raised[batch - 1])[:, really]
    return raised, faster_pct


def monotone(raw: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The nearest [batch][share][layer] that grows with the batch and falls with the share."""
    smooth = raw.copy()
    batches, shares, layers = raw.shape
    for _ in range(100):
        before = smooth.copy()
        for layer in range(layers):
            for batch in range(batches):
                smooth[batch, :, layer] = isotonic_regression(smooth[batch, :, layer], increasing=False).x
            for share in range(shares):
                smooth[:, share, layer] = isotonic_regression(smooth[:, share, layer]).x
        if np.allclose(before, smooth, rtol=1e-9, atol=0.0):
            break
    return smooth
