"""Why a fragment cannot be planned, and the smallest changes that would help.

`budget_too_small`: even the fastest way takes longer than the budget. `detail` says how long it takes
(`least_possible_ms`) and which way that is, and under `would_help` each change that alone would be enough,
and is the smallest of its kind:

    budget_ms   this budget
    start       the phone runs the layers up to here itself (the earliest such cut, within the same budget)
    share_pct   all layers measured at this share, in whole percent, if their time falls in proportion (a
                stage's overhead does not): no GPU does better, so it takes at least this much. Only where
                the profiles stop short of the whole GPU; of several types that of `share_gpu`
    queueing    a laxer law under which the budget is enough

`not_measured`: some layer on the way was measured at no batch and share; `detail` names the layers, and
under `would_help` what to measure, and the first cut after them.

A lower rate is never among the changes: what a stage cannot carry, more instances can, so a rate makes a
plan dear but not impossible. (That instances find no place on the GPUs is another matter, see
`planner.errors.DoesNotFitError`.)
"""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from planner.menu import EPSILON, Floats, Menu
from planner.plan import Unplanned
from planner.queueing import QUEUEING_LAWS
from planner.workload import Fragment


def why_not(fragment: Fragment, menu: Menu) -> Unplanned | None:
    """None when some route serves the fragment within its budget; otherwise the reason it has none."""
    least = float(menu.least_time_ms[fragment.start])
    if math.isinf(least):
        return Unplanned(fragment=fragment.id, reason="not_measured", detail=_not_measured(fragment, menu))
    if least > fragment.budget_ms * (1 + EPSILON):
        return Unplanned(
            fragment=fragment.id, reason="budget_too_small", detail=_too_small(fragment, menu, least)
        )
    return None


def _not_measured(fragment: Fragment, menu: Menu) -> dict[str, Any]:
    missing = [
        layer for layer in range(fragment.start, menu.depth) if np.isnan(menu.exec_ms(layer, layer + 1)).all()
    ]
    help_: dict[str, Any] = {"measure_layers": missing}
    if missing[-1] + 1 < menu.depth:
        help_["start"] = missing[-1] + 1
    return {"start": fragment.start, "depth": menu.depth, "layers": missing, "would_help": help_}


def _too_small(fragment: Fragment, menu: Menu, least_ms: float) -> dict[str, Any]:
    help_: dict[str, Any] = {"budget_ms": least_ms}
    enough = np.flatnonzero(menu.least_time_ms[fragment.start : menu.depth] <= fragment.budget_ms)
    if len(enough):
        help_["start"] = fragment.start + int(enough[0])
    if needed := _larger_shares(menu).needed(fragment.start, fragment.budget_ms):
        help_["share_pct"], gpu = needed
        if len({column.gpu for column in menu.columns}) > 1:
            help_["share_gpu"] = gpu
    # Time is the law's factor times the executions, so what another law asks follows by its factor.
    executions = least_ms / menu.law.time_per_exec
    laxer = [
        law.name
        for law in QUEUEING_LAWS.values()
        if law.time_per_exec * executions <= fragment.budget_ms * (1 + EPSILON)
    ]
    if laxer:
        help_["queueing"] = laxer[0]
    return {
        "budget_ms": fragment.budget_ms,
        "least_possible_ms": least_ms,
        "short_by_ms": least_ms - fragment.budget_ms,
        "fastest_way": _fastest_way(fragment.start, menu),
        "queueing": menu.law.name,
        "would_help": help_,
    }


class _LargerShares:
    """How fast a model would be with shares beyond those measured, if time falls in proportion."""

    def __init__(self, menu: Menu) -> None:
        self._depth = menu.depth
        self._factor = menu.law.time_per_exec
        self._known_ms = []  # for every start the least time of a stage to each later cut point
        for start in range(menu.depth):
            time_ms = menu.exec_ms_to(start, np.arange(start + 1, menu.depth + 1)) * menu.time_per_exec
            self._known_ms.append(np.nan_to_num(time_ms, nan=math.inf).min(axis=1))
        layers = np.array([menu.layer_ms(layer) for layer in range(menu.depth)])
        in_stages = np.array([menu.exec_ms(layer, layer + 1) for layer in range(menu.depth)])
        overheads = np.nan_to_num(in_stages - layers, nan=0.0).max(axis=0)
        shares = np.array([float(column.share) for column in menu.columns])
        # For every GPU type its largest share, its overhead, and each batch's layers at a share of 1 percent.
        self._types: dict[str, tuple[float, float, Floats]] = {}
        for gpu in dict.fromkeys(column.gpu for column in menu.columns):
            mine = np.array([column.gpu == gpu for column in menu.columns])
            by_batch = []
            for batch in np.unique(menu.batches[mine]):
                work = np.full(menu.depth, math.inf)
                # From the largest share at which each layer was measured.
                for column in sorted(np.flatnonzero(mine & (menu.batches == batch)), key=shares.__getitem__):
                    known = ~np.isnan(layers[:, column])
                    work[known] = layers[known, column] * shares[column]
                by_batch.append(work)
            self._types[gpu] = (
                float(shares[mine].max()),
                float(overheads[mine].max()),
                np.array(by_batch).T,
            )
        self._least: dict[tuple[str, int], Floats] = {}

    def needed(self, start: int, budget_ms: float) -> tuple[int, str] | None:
        """The least whole share that is enough for this budget, and of which GPU type; None if none is."""
        found, allowed_ms = [], budget_ms * (1 + EPSILON)
        for gpu, (greatest, _, _) in self._types.items():
            shares = range(math.floor(greatest) + 1, 101)
            enough = bisect_left(
                shares, True, key=lambda share: self._time_ms(gpu, share, start) <= allowed_ms
            )
            if enough < len(shares):
                found.append((shares[enough], gpu))
        return min(found, key=lambda pair: pair[0], default=None)

    def _time_ms(self, gpu: str, share: int, start: int) -> float:
        """The least time of a route from here, with this share of one type beside all that was measured."""
        if (gpu, share) not in self._least:
            _, overhead, work = self._types[gpu]
            sums = np.vstack([np.zeros(work.shape[1]), np.where(np.isinf(work), 0.0, work).cumsum(axis=0)])
            missing = np.vstack([np.zeros(work.shape[1]), np.isinf(work).cumsum(axis=0)])
            least = np.zeros(self._depth + 1)
            for first in range(self._depth - 1, -1, -1):
                exec_ms = overhead + (sums[first + 1 :] - sums[first]) / share
                exec_ms[missing[first + 1 :] > missing[first]] = math.inf
                time_ms = np.minimum(self._known_ms[first], self._factor * exec_ms.min(axis=1))
                least[first] = (time_ms + least[first + 1 :]).min()
            self._least[gpu, share] = least
        return float(self._least[gpu, share][start])


def _larger_shares(menu: Menu) -> _LargerShares:
    """That of a menu, kept as long as the menu lives: there may be many fragments to explain."""
    if menu not in _KEPT:
        _KEPT[menu] = _LargerShares(menu)
    return _KEPT[menu]


_KEPT: WeakKeyDictionary[Menu, _LargerShares] = WeakKeyDictionary()


def _fastest_way(start: int, menu: Menu) -> list[dict[str, Any]]:
    """The stages of the fastest route from a cut point to the end."""
    stages = []
    while start < menu.depth:
        ends = range(start + 1, menu.depth + 1)
        end = min(
            ends, key=lambda end: menu.options(start, end).least_time_ms + float(menu.least_time_ms[end])
        )
        options = menu.options(start, end)
        column = menu.columns[options.column[int(options.time_ms.argmin())]]
        stages.append(
            {
                "start": start,
                "end": end,
                "gpu": column.gpu,
                "batch": column.batch,
                "share": column.share,
                "time_ms": options.least_time_ms,
            }
        )
        start = end
    return stages
