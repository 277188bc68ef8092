"""One stage's queue: which requests a free instance runs, when, and which are dropped.

Times are in ms from the start of the simulation.
"""

from __future__ import annotations

import bisect
import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from planner.simulation_exits import Leaving
from planner.traces import Floats

# A deadline met to a nanosecond is met: sums of doubles are no more exact.
SLACK_MS = 1e-6

# A request on its way into a queue: when it is there, when this stage must have answered it, its number.
Arrival = tuple[float, float, int]

# A request in a queue: its urgency (least first), when this stage must have answered it, its place in the
# order of arrival.
_Queued = tuple[float, float, int]


@dataclass(frozen=True, kw_only=True)
class SimulationSettings:
    """How workers behave and what surrounds them; the defaults are the runtime's rules on an ideal machine.

    - `order`: which requests a free worker takes first. `deadline`: the most urgent, and where the whole
      batch would make the most urgent late, a smaller batch first if everybody is then on time, else without
      the most urgent. `arrival`: first come, first served, and no such care.
    - `drop`: whether a request that would be late even in a batch of its own is left out (and counted as not
      on time) instead of run.
    - `batch_time`: how long a batch takes that is smaller than the stage's. `taken`: the exec_ms of the
      smallest batch in the profile that holds it, `full`: the stage's exec_ms, whatever it holds, `between`:
      as interpolated between the profile's batches, which is nearest to what workers do.
    - `rested`: whether a batch is sooner done when its worker had nothing to do before, as the profile says
      (`measured.rested_ms`): an unused quota of a processor is there at once.
    - `beside`: the part of the time for which a worker's neighbours on its device are busy, 0 to 1; of all
      stages, or by stage. By as much of what the profile says (`measured.neighbour.slower_pct`, beside one
      that is always busy) an execution is slower.
    - `slowness`: how many times as long executions take as the profile says, since the machine is slower now
      (below 1: faster); of all stages, or by stage.
    - `waver`: how that changes with time, of all stages alike: (from how many ms on, how many times as long),
      in order. Slow moments that come to all stages at once make long queues; as many spread evenly do not.
    - `scatter`: whether execution times scatter as the profile says (`measured.spread`,
      `measured.neighbour.spread` and `measured.beyond_layers_spread_ms`, or where it has none
      `measured.scatter_pct`).
    - `seen`: how a stage's times lie around their mean where that was seen, by stage: points of a
      distribution's inverse, (fraction of all cases, factor). It counts instead of what the profile says.
    - `network_ms`: from a request's arrival to its first queue. `copy_ms`: from one stage to the next queue.
    - `exec_cv`: standard deviation over mean of execution times (log-normal around the profile's).
    """

    order: Literal["deadline", "arrival"] = "deadline"
    drop: bool = True
    batch_time: Literal["taken", "full", "between"] = "taken"
    rested: bool = False
    beside: float | Mapping[str, float] = 0.0
    slowness: float | Mapping[str, float] = 1.0
    waver: Sequence[tuple[float, float]] = ()
    scatter: bool = False
    seen: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)
    network_ms: float = 0.0
    copy_ms: float = 0.0
    exec_cv: float = 0.0

    def beside_of(self, stage: str) -> float:
        """`beside` of the stage of this id."""
        return self.beside if isinstance(self.beside, int | float) else self.beside.get(stage, 0.0)

    def slowness_of(self, stage: str) -> float:
        """`slowness` of the stage of this id."""
        return self.slowness if isinstance(self.slowness, int | float) else self.slowness.get(stage, 1.0)


@dataclass(frozen=True, kw_only=True)
class Spread:
    """How execution times lie around their mean: in `part` of all cases as `beside`, else as `alone`.

    Both are points of a distribution's inverse: (fraction of all cases, factor), growing in both. What the
    way into a stage takes varies, however long the stage is: `around_ms`, (fraction, ms), comes on top.
    """

    alone: tuple[tuple[float, float], ...]
    beside: tuple[tuple[float, float], ...] = ()
    part: float = 0.0
    around_ms: tuple[tuple[float, float], ...] = ()

    def draw(self, random: np.random.Generator, count: int) -> Floats:
        """So many factors."""
        which, at = random.random(count), random.random(count)
        factors = _at(self.alone, at)
        return np.where(which < self.part, _at(self.beside, at), factors) if self.beside else factors

    def draw_around_ms(self, random: np.random.Generator, count: int) -> Floats:
        """So many times that come on top; 0 on average."""
        if not self.around_ms:
            return np.zeros(count)
        return _at(self.around_ms, random.random(count))


@dataclass(frozen=True, kw_only=True, eq=False)
class Server:
    """A stage as a queue sees it: `exec_ms[n]` is how long a batch of n takes (n = 0 … batch), on average.

    `exec_cv` is the deviation of its execution times over their mean, besides the settings' own; `spread` is
    how they lie around it, where that is known.

    A batch that begins t ms after its worker's last one ended takes min(t, `rested_ms[n]`) less.
    """

    exec_ms: list[float]
    batch: int
    instances: int
    rested_ms: list[float] | None = None
    leaving: Leaving | None = None
    exec_cv: float = 0.0
    spread: Spread | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Served:
    """What a stage did: number, wait and end of every request it ran, whether it left, and its batches.

    It received `received` requests and dropped `dropped` of them.
    """

    request: NDArray[np.intp]
    wait_ms: Floats
    end_ms: Floats
    batches: int
    busy_ms: float
    dropped: int
    received: int
    left: NDArray[np.bool_]


def serve(
    server: Server,
    arriving: list[Arrival],
    settings: SimulationSettings,
    random: np.random.Generator,
) -> Served:
    """One stage's queue: `arriving` are (when, deadline of this stage's answer, request)."""
    arriving.sort()
    by_deadline = settings.order == "deadline"
    free = [0.0] * server.instances  # a heap: when each instance is free again
    queue: list[_Queued] = []  # a heap by urgency; the last is the place in `arriving`
    noise = _Noise(math.hypot(settings.exec_cv, server.exec_cv), server.spread, random)
    taken, waits, ends, left = [], [], [], []
    batches, busy, dropped, position, total, now = 0, 0.0, 0, 0, len(arriving), 0.0
    changes, slower = [at for at, _ in settings.waver], [1.0, *(times for _, times in settings.waver)]
    while queue or position < total:
        now = max(now, free[0]) if queue else max(free[0], arriving[position][0])
        while position < total and arriving[position][0] <= now:
            when, deadline, _ = arriving[position]
            heapq.heappush(queue, (deadline if by_deadline else when, deadline, position))
            position += 1
        chosen, late = _take(queue, server, now, settings)
        dropped += late
        if not chosen:
            continue
        requests = [arriving[place][2] for _, _, place in chosen]
        factor = noise.next(server.exec_ms[len(chosen)]) * slower[bisect.bisect_right(changes, now)]
        if server.leaving is None:
            duration = server.exec_ms[len(chosen)] * factor
            took, gone = [duration] * len(chosen), [False] * len(chosen)
        else:
            duration, took, gone = server.leaving.run(requests, factor)
        if server.rested_ms is not None:
            sooner = min(now - free[0], server.rested_ms[len(chosen)])
            duration -= sooner
            took = [max(0.0, span - sooner) for span in took]
        heapq.heapreplace(free, now + duration)
        batches += 1
        busy += duration
        for (_, _, place), request, span, leaves in zip(chosen, requests, took, gone, strict=True):
            taken.append(request)
            waits.append(now - arriving[place][0])
            ends.append(now + span)
            left.append(leaves)
    return Served(
        request=np.array(taken, dtype=np.intp),
        wait_ms=np.array(waits, dtype=np.float64),
        end_ms=np.array(ends, dtype=np.float64),
        batches=batches,
        busy_ms=busy,
        dropped=dropped,
        received=total,
        left=np.array(left, dtype=np.bool_),
    )


def _take(
    queue: list[_Queued], server: Server, now: float, settings: SimulationSettings
) -> tuple[list[_Queued], int]:
    """The batch to run now, most urgent first, and how many were dropped instead."""
    chosen: list[_Queued] = []
    dropped, exec_ms, drop = 0, server.exec_ms, settings.drop
    hopeless = now + exec_ms[1] - SLACK_MS
    while queue and len(chosen) < server.batch:
        entry = heapq.heappop(queue)
        if drop and entry[1] < hopeless:
            dropped += 1
        else:
            chosen.append(entry)
    if drop and settings.order == "deadline":
        while len(chosen) > 1 and now + exec_ms[len(chosen)] - SLACK_MS > chosen[0][1]:
            split = _split(chosen, exec_ms, now)
            if split:
                for entry in chosen[split:]:
                    heapq.heappush(queue, entry)
                return chosen[:split], dropped
            del chosen[0]
            dropped += 1
    return chosen, dropped


def _split(chosen: Sequence[_Queued], exec_ms: Sequence[float], now: float) -> int:
    """How many of the most urgent can run now, and the others after them, all on time; 0 if none can."""
    for split in range(len(chosen) - 1, 0, -1):
        first = now + exec_ms[split]
        second = first + exec_ms[len(chosen) - split]
        if first - SLACK_MS <= chosen[0][1] and second - SLACK_MS <= chosen[split][1]:
            return split
    return 0


class _Noise:
    """Factors, drawn a thousand at a time: log-normal, of mean 1 and this deviation, times a spread's."""

    def __init__(self, cv: float, spread: Spread | None, random: np.random.Generator) -> None:
        self._sigma = math.sqrt(math.log1p(cv * cv))
        self._spread = spread
        self._random = random
        self._drawn: list[tuple[float, float]] = []

    def next(self, exec_ms: float) -> float:
        """How many times as long as on average, which is `exec_ms`."""
        if self._sigma == 0 and self._spread is None:
            return 1.0
        if not self._drawn:
            factors = self._random.lognormal(-(self._sigma**2) / 2, self._sigma, 1000)
            around_ms = np.zeros(1000)
            if self._spread is not None:
                factors *= self._spread.draw(self._random, 1000)
                around_ms = self._spread.draw_around_ms(self._random, 1000)
            self._drawn = list(zip(factors.tolist(), around_ms.tolist(), strict=True))
        factor, more_ms = self._drawn.pop()
        return max(0.0, factor + more_ms / exec_ms) if exec_ms > 0 else factor


def _at(points: Sequence[tuple[float, float]], fractions: Floats) -> Floats:
    known, factors = zip(*points, strict=True)
    found: Floats = np.interp(fractions, known, factors)
    return found
