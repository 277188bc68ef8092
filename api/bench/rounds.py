"""Loads and rehearsals by turns, each load laid beside what the rehearsals around it say of the machine.

A rehearsal is a short load of other requests at the planned rates: what stages take in it, they take in the
loads before and after it, as long as the machine keeps its speed. Single requests would not say it: on a
machine that has nothing else to do every one of them finds a processor that was asleep.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from api.bench import comparing, driving
from api.bench.quiet import Others
from api.bench.speed import Rehearsed, Speed, waver
from api.processes import Family
from planner.arrivals import Arrivals
from planner.plan import Plan
from planner.profile import Profile
from planner.traces import Floats
from planner.workload import Workload

_REHEARSAL_S = 15.0
# So that its requests are not those of a load.
_OTHER_SEED = 7919


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """A load's result, and how long the yardstick took meanwhile."""

    result: dict[str, Any]
    yardstick_ms: float | None


class Rounds:
    """Sends a plan's requests to a gateway that serves it; `show` is told how far it is.

    `speed` measures the processor, where it is the one that serves.
    """

    def __init__(
        self,
        plan: Plan,
        workload: Workload,
        profiles: Sequence[Profile],
        *,
        members: Family,
        gateway: str,
        speed: Speed | None,
        show: Callable[[str], None],
    ) -> None:
        self._plan = plan
        self._workload = workload
        self._profiles = profiles
        self._members = members
        self._gateway = gateway
        self._speed = speed
        self._show = show
        self._sent = 0
        self.hop_ms = comparing.hop_ms(self._one_at_a_time())
        self._before: Rehearsal | None = None

    def run(self, kind: Arrivals, *, seconds: float, seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """One load; gives its result, and that laid beside the simulation."""
        before = self._before or self._rehearse(seconds, seed)
        others = Others()
        times = driving.schedule(self._plan, self._workload, kind, seconds=seconds, seed=seed)
        result = self._send(times, seconds, f"load of {seconds:.0f} s")
        busy_pct = round(others.busy_pct(), 1)
        yardstick = self._yardstick(result, seconds)
        after = self._rehearse(seconds, seed)
        self._before = after
        compared = comparing.compare(
            self._plan,
            self._workload,
            self._profiles,
            result,
            arrivals=kind.source or kind.kind,
            seconds=seconds,
            hop=self.hop_ms,
            seed=seed,
            rehearsed=Rehearsed(
                visits=comparing.batches([before.result, after.result]),
                then_ms=_mean([each.yardstick_ms for each in (before, after) if each.yardstick_ms]),
                now_ms=_mean([ms for _, ms in yardstick]),
            ),
            waver=waver(yardstick),
        )
        return result, {"others_busy_pct": busy_pct} | compared

    def _one_at_a_time(self) -> dict[str, Any]:
        times = driving.one_at_a_time(self._plan, self._workload)
        last_s = max((float(some[-1]) for some in times.values()), default=0.0)
        return self._send(times, last_s + 0.5, "single requests")

    def _rehearse(self, seconds: float, seed: int) -> Rehearsal:
        seconds = min(seconds, _REHEARSAL_S)
        times = driving.schedule(
            self._plan,
            self._workload,
            Arrivals(kind="poisson"),
            seconds=seconds,
            seed=_OTHER_SEED + seed + self._sent,
        )
        result = self._send(times, seconds, "rehearsal")
        return Rehearsal(
            result=result, yardstick_ms=_mean([ms for _, ms in self._yardstick(result, seconds)])
        )

    def _send(self, times: dict[str, Floats], seconds: float, what: str) -> dict[str, Any]:
        self._sent += 1
        return driving.send(
            self._members,
            self._gateway,
            self._workload,
            times,
            seconds=seconds,
            name=f"load-{self._sent}",
            show=lambda text: self._show(f"{what}: {text}"),
        )

    def _yardstick(self, result: dict[str, Any], seconds: float) -> list[tuple[float, float]]:
        began_s = float(result["began_s"])
        return self._speed.between(began_s, began_s + seconds) if self._speed is not None else []


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None
