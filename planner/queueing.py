"""How much time and headroom a plan leaves for waiting: the `--queueing` setting.

The laws of a plan (planner.laws) say that a request waits at most one execution and then runs in the
next: two times `exec_ms` a stage, with stages loaded up to their capacity. That is sound while at most
`batch` requests arrive within one execution. A stricter law plans with more time or less load; its plans
keep the plain laws too, so the verifier needs to know nothing of it. What each of them keeps and costs, and
where its figures come from: docs/queueing.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from planner.errors import Complaint, InputError
from planner.profile import Profile

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class QueueingLaw:
    """What a stage with `exec_ms` costs a route in time, and what load an instance may take.

    A stage may be bought with any of the `time_factors`: it then takes so many executions from a route's
    budget, each `latency_margin` times as long as measured. Its load is at most `max_utilisation` of its
    capacity, and for `poisson` arrivals at most what `poisson_utilisation` allows within that time, so that
    more time buys more load.
    """

    name: str
    time_factors: tuple[float, ...] = (2.0,)
    latency_margin: float = 1.0
    max_utilisation: float = 1.0
    arrivals: Literal["paced", "poisson"] = "paced"

    @property
    def time_per_exec(self) -> float:
        """The least milliseconds of a route's budget for each millisecond of a stage's `exec_ms`."""
        return min(self.time_factors) * self.latency_margin

    def beside(self, profiles: Sequence[Profile]) -> QueueingLaw:
        """This law for stages of these profiles: for Poisson arrivals with what neighbours cost them.

        A profile that was measured beside a neighbour (`measured.neighbour`) says how much slower a stage
        is then; law 1 knows its times alone. The law counts as if there were always one.
        """
        if self.arrivals != "poisson":
            return self
        slower_pct = max((_slower_pct(profile) for profile in profiles), default=0.0)
        return replace(self, latency_margin=self.latency_margin * (1.0 + slower_pct / 100.0))

    def load_per_capacity(self, time_factor: float, batch: Floats, fixed_part: Floats) -> Floats:
        """The part of its measured capacity that an instance bought with this factor may be loaded with.

        `batch` and `fixed_part` (see `poisson_utilisation`) are arrays over options, and so is the answer.
        """
        load = np.full(len(batch), self.max_utilisation / self.latency_margin)
        if self.arrivals == "poisson":
            load = load * poisson_utilisation(time_factor, batch, fixed_part)
        return load

    def most_load_per_capacity(self, batch: Floats) -> Floats:
        """At least `load_per_capacity`, whatever the factor and the fixed part: for bounds."""
        each = [
            self.load_per_capacity(factor, batch, np.full(len(batch), part))
            for factor in self.time_factors
            for part in _FIXED_PARTS
        ]
        most: Floats = np.max(each, axis=0)
        return most


def _slower_pct(profile: Profile) -> float:
    """How much slower a neighbour makes a stage at most, in percent; 0 where nobody has measured it."""
    neighbour = profile.measured.get("neighbour")
    measured = neighbour.get("slower_pct_by_batch") if isinstance(neighbour, dict) else None
    if not isinstance(measured, dict):
        return 0.0
    every = [pct for by_batch in measured.values() if isinstance(by_batch, dict) for pct in by_batch.values()]
    return max([0.0, *(float(pct) for pct in every if isinstance(pct, int | float))])


def poisson_utilisation(time_factor: float, batch: Floats, fixed_part: Floats) -> Floats:
    """The utilisation up to which one instance keeps 99.9 % of Poisson arrivals on time, on its own.

    On time is within `time_factor` (one of `UTILISATION`) executions of a full batch. `fixed_part` says how
    long smaller batches take: 1 means as long as a full one, 0 in proportion to their size; in between, a
    batch of one takes that part of a full one's time, and larger ones linearly more. Interpolated in a table
    of simulations (`benchmarks/queueing.py table`), linearly in the logarithm of the batch and in the fixed
    part, and held constant beyond its ends, where it is too low rather than too high.
    """
    table = UTILISATION[time_factor]
    row = np.log2(np.clip(batch, _BATCHES[0], _BATCHES[-1]))
    left = np.minimum(row.astype(np.intp), len(_BATCHES) - 2)
    upper = _between(table[left], fixed_part)
    return upper + (row - left) * (_between(table[left + 1], fixed_part) - upper)


def _between(rows: Floats, fixed_part: Floats) -> Floats:
    """Each row of the table at its own fixed part; the columns are equally far apart."""
    step = _FIXED_PARTS[0] - _FIXED_PARTS[1]
    place = (_FIXED_PARTS[0] - np.clip(fixed_part, _FIXED_PARTS[-1], _FIXED_PARTS[0])) / step
    left = np.minimum(place.astype(np.intp), len(_FIXED_PARTS) - 2)
    each = np.arange(len(rows))
    value: Floats = rows[each, left] + (place - left) * (rows[each, left + 1] - rows[each, left])
    return value


# Rows: batches. Columns: fixed parts. A batch of one is always full, so its row is constant.
_BATCHES = (1, 2, 4, 8, 16, 32)
_FIXED_PARTS = (1.0, 0.75, 0.5, 0.25)
UTILISATION = {
    2.0: np.array(
        [
            [0.045, 0.045, 0.045, 0.045],
            [0.094, 0.160, 0.313, 0.677],
            [0.186, 0.297, 0.446, 0.617],
            [0.340, 0.473, 0.598, 0.721],
            [0.510, 0.629, 0.713, 0.803],
            [0.649, 0.732, 0.779, 0.856],
        ]
    ),
    2.5: np.array(
        [
            [0.082, 0.082, 0.082, 0.082],
            [0.179, 0.305, 0.429, 0.749],
            [0.367, 0.493, 0.582, 0.700],
            [0.610, 0.681, 0.730, 0.799],
            [0.790, 0.812, 0.824, 0.868],
            [0.892, 0.883, 0.881, 0.908],
        ]
    ),
    3.0: np.array(
        [
            [0.171, 0.171, 0.171, 0.171],
            [0.331, 0.414, 0.520, 0.795],
            [0.554, 0.615, 0.676, 0.759],
            [0.758, 0.782, 0.804, 0.848],
            [0.882, 0.882, 0.881, 0.904],
            [0.941, 0.931, 0.922, 0.934],
        ]
    ),
}

PLAIN = QueueingLaw(name="plain")

QUEUEING_LAWS = {
    law.name: law
    for law in (
        PLAIN,
        # Headroom for machines whose speed wavers and for arrivals that are not metronomes.
        QueueingLaw(name="headroom", latency_margin=1.25, max_utilisation=0.75),
        # 99.9 % on time when requests come independently of each other.
        QueueingLaw(name="poisson", time_factors=tuple(UTILISATION), arrivals="poisson"),
    )
}


def queueing_law(name: str) -> QueueingLaw:
    """The law of this name; raises InputError with the known names."""
    try:
        return QUEUEING_LAWS[name]
    except KeyError:
        known = ", ".join(QUEUEING_LAWS)
        raise InputError(
            "settings", [Complaint(place="queueing", problem=f"is {name!r}", cure=f"one of {known}")]
        ) from None
