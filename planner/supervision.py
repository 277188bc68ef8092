"""A search that is watched: it reports at least every second, and ends when it has to, listening or not.

The search works in a thread of its own. The calling thread hands its reports on (a listener is never called
from anywhere else), repeats the last one where there is nothing new, and looks at the clock, at the caller's
wish to stop and at the memory in use. A search that does not end soon after it was told to is left behind,
and its best draft so far is taken: much of what takes long happens in libraries that cannot be interrupted.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from planner.problem import PlanSettings, Progress, ProgressReport
from solver.outcome import Limit, resident_mb

Answer = TypeVar("Answer")

# How often the clock and the caller are looked at, and how long a listener goes without a report.
POLL_S, QUIET_S = 0.05, 0.5
# How long a search may go on after its time, or after it was told to stop, before it is left behind.
PATIENCE_S = 0.3


@dataclass(frozen=True, kw_only=True)
class Supervised(Generic[Answer]):
    """What the search gave (None where it was left behind), and the limit that ended it early."""

    answer: Answer | None
    limit: Limit | None


def supervise(
    search: Callable[[PlanSettings, ProgressReport], Answer],
    settings: PlanSettings,
    progress: ProgressReport,
) -> Supervised[Answer]:
    """Run `search` with settings whose `should_stop` speaks for every limit; raises what the search raises.

    Out of memory counts as a limit: the search is given up, and its best so far is for the caller to take.
    """
    started = time.perf_counter()
    reports: deque[Progress] = deque()
    news, stop = threading.Event(), threading.Event()
    answers: list[Answer] = []
    errors: list[BaseException] = []

    def tell(report: Progress) -> None:
        reports.append(report)
        news.set()

    def work() -> None:
        try:
            answers.append(search(replace(settings, should_stop=stop.is_set), tell))
        except BaseException as error:  # handed to the calling thread
            errors.append(error)
        finally:
            news.set()

    thread = threading.Thread(target=work, name="search", daemon=True)
    thread.start()
    last, last_s = Progress(t_s=0.0, phase="start"), started
    limit: Limit | None = None
    told_s = 0.0
    try:
        while thread.is_alive():
            news.wait(POLL_S)
            news.clear()
            while reports:
                last, last_s = reports.popleft(), time.perf_counter()
                progress(last)
            now = time.perf_counter()
            if now - last_s >= QUIET_S:
                last, last_s = replace(last, t_s=last.t_s + now - last_s), now
                progress(last)
            if limit is None and (limit := _limit(settings, now)) is not None:
                told_s = now
                # Of the time the search knows itself, and can say so; everything else it is told.
                if limit is not Limit.TIME:
                    stop.set()
            if limit is not None and now - told_s > PATIENCE_S:
                return Supervised(answer=None, limit=limit)
    finally:
        stop.set()
    while reports:
        progress(reports.popleft())
    if errors:
        if isinstance(errors[0], MemoryError):
            return Supervised(answer=None, limit=Limit.MEMORY)
        raise errors[0]
    return Supervised(answer=answers[0], limit=limit)


def _limit(settings: PlanSettings, now: float) -> Limit | None:
    """The limit that says stop now, if one does."""
    if settings.stopped:
        return Limit.STOPPED
    if settings.memory_limit_mb and resident_mb() > settings.memory_limit_mb:
        return Limit.MEMORY
    return Limit.TIME if now >= settings.deadline_s else None
