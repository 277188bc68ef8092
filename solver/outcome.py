"""How a solve ended and how it is going: status, limit and detail are three separate things.

*Status* says what is known of the answer, *limit* which limit ended the search early (none when it ran to
its end), and *detail* is for people. Both bounds are always reported, whatever the status.
"""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum


class Status(Enum):
    """What is known of the answer."""

    OPTIMAL = "optimal"  # nothing is better, within the tolerance asked for
    FEASIBLE = "feasible"  # an answer, not proven to be the best
    INFEASIBLE = "infeasible"  # proven: there is none
    UNKNOWN = "unknown"  # no answer was found and none was ruled out


class Limit(Enum):
    """Which limit ended the search before its end."""

    TIME = "time"  # the time limit passed
    GAP = "gap"  # the gap asked for was reached
    STOPPED = "stopped"  # the caller said stop; the best so far is kept
    SIZE = "size"  # the program is too large for the part of the search that was left out
    MEMORY = "memory"  # more memory than allowed was in use; the best so far is kept
    ROUNDS = "rounds"  # the search ran out of ideas before the gap was closed


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a search ended. No answer of the program costs less than `lower_bound`."""

    status: Status
    limit: Limit | None
    detail: str
    objective: float
    lower_bound: float

    @property
    def gap(self) -> float:
        """(objective − lower_bound) / objective."""
        return relative_gap(self.objective, self.lower_bound)


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """Where a search is, `t_s` seconds after its start. `objective` is infinite before there is an answer."""

    t_s: float
    phase: str
    objective: float
    lower_bound: float

    @property
    def gap(self) -> float:
        """(objective − lower_bound) / objective; 1 before there is an answer."""
        return relative_gap(self.objective, self.lower_bound)


Report = Callable[[Progress], None]

# How often a watch looks at the memory in use.
MEMORY_EVERY_S = 0.05


def relative_gap(objective: float, lower_bound: float) -> float:
    """(objective − lower_bound) / objective, 0 where the objective is 0, 1 where it is infinite."""
    if not math.isfinite(objective):
        return 1.0
    return max(0.0, (objective - lower_bound) / objective) if objective > 0 else 0.0


def resident_mb() -> float:
    """Megabytes that this process has in memory; where the system does not say, the most it ever had."""
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * resource.getpagesize() / 1e6
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


class Watch:
    """The search's clock, its best bounds so far, and whoever wants to hear of them.

    `update` is cheap and may be called often: it reports an improvement at once and otherwise at most
    every `interval_s`. `should_stop` is asked whenever `limit` is read, and what this process has resident is
    held against `memory_limit_mb` (0: no limit) now and then.
    """

    def __init__(
        self,
        *,
        time_limit_s: float = math.inf,
        gap: float = 0.0,
        report: Report | None = None,
        should_stop: Callable[[], bool] | None = None,
        memory_limit_mb: int = 0,
        interval_s: float = 0.5,
    ) -> None:
        self.started = time.perf_counter()
        self.time_limit_s = time_limit_s
        self.gap = gap
        self.objective = math.inf
        self.lower_bound = 0.0
        self._phase = "start"
        self._report = report
        self._should_stop = should_stop
        self._interval_s = interval_s
        self._last_report_s = -math.inf
        self.memory_limit_mb = memory_limit_mb
        self._memory_read_s = -math.inf
        self._ended: Limit | None = None

    @property
    def elapsed_s(self) -> float:
        return time.perf_counter() - self.started

    @property
    def remaining_s(self) -> float:
        return self.time_limit_s - self.elapsed_s

    @property
    def closed(self) -> bool:
        """The bounds are as near to one another as was asked for."""
        return relative_gap(self.objective, self.lower_bound) <= max(self.gap, 1e-9)

    @property
    def limit(self) -> Limit | None:
        """The limit that has been hit, if any; a stop stays a stop."""
        if self._ended is None and self._should_stop is not None and self._should_stop():
            self._ended = Limit.STOPPED
        now = self.elapsed_s
        if self._ended is None and self.memory_limit_mb and now - self._memory_read_s > MEMORY_EVERY_S:
            self._memory_read_s = now
            if resident_mb() > self.memory_limit_mb:
                self._ended = Limit.MEMORY
        if self._ended is not None:
            return self._ended
        return Limit.TIME if now >= self.time_limit_s else None

    @property
    def over(self) -> bool:
        """Nothing is left to do, or no time to do it."""
        return self.closed or self.limit is not None

    def update(
        self, *, phase: str | None = None, objective: float = math.inf, lower_bound: float = 0.0
    ) -> None:
        """Note better bounds, and tell the listener."""
        better = (
            objective < self.objective or lower_bound > self.lower_bound or phase not in (None, self._phase)
        )
        self._phase = phase or self._phase
        self.objective = min(self.objective, objective)
        self.lower_bound = min(max(self.lower_bound, lower_bound), self.objective)
        now = self.elapsed_s
        if self._report is not None and (better or now - self._last_report_s >= self._interval_s):
            self._last_report_s = now
            self._report(
                Progress(t_s=now, phase=self._phase, objective=self.objective, lower_bound=self.lower_bound)
            )


def outcome_of(watch: Watch | None) -> Outcome:
    """How a search ended that was left behind in the middle, or (None) never began."""
    if watch is None or not math.isfinite(watch.objective):
        status, objective = Status.UNKNOWN, math.inf
        detail = "no answer was found in time"
    else:
        status = Status.OPTIMAL if watch.closed and watch.gap == 0 else Status.FEASIBLE
        objective = watch.objective
        detail = "the search was ended in the middle; the best answer so far is kept"
    limit = Limit.TIME if watch is None else watch.limit or Limit.TIME
    bound = 0.0 if watch is None else watch.lower_bound
    return Outcome(status=status, limit=limit, detail=detail, objective=objective, lower_bound=bound)
