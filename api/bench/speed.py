"""How fast this machine's processor is while something is measured on it.

By rehearsals, other loads shortly before and after, in which each stage's layers feel what they feel of it;
and from these on by a yardstick (`python -m runtime.yardstick`, a third of a percent of a core), of which
profiles say how long it took when they were measured (`measured.yardstick_ms`). Neither knows anything of
the requests that are simulated.
"""

from __future__ import annotations

import contextlib
import math
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from planner.plan import Plan
from planner.profile import Profile
from planner.simulation_queue import SimulationSettings
from planner.simulation_server import server_of

_EVERY_S = 0.1
# So many are one: single ones are disturbed now and then.
_TOGETHER = 5
# What fewer batches took is chance.
_LEAST_VISITS = 10
_MOST_POINTS = 400


class Speed:
    """Measures from its making on, in a process of its own; `close` ends it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "runtime.yardstick", f"{_EVERY_S}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._seen: list[tuple[float, float]] = []
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def between(self, began_s: float, ended_s: float) -> list[tuple[float, float]]:
        """How long the yardstick took from one moment of the monotonic clock to another, each half second.

        As (seconds from the first moment, ms), in order.
        """
        seen = [(at_s - began_s, ms) for at_s, ms in list(self._seen) if began_s <= at_s < ended_s]
        groups = [seen[at : at + _TOGETHER] for at in range(0, len(seen), _TOGETHER)]
        return [(group[0][0], statistics.median(ms for _, ms in group)) for group in groups]

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        self._thread.join()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with contextlib.suppress(ValueError):
                self._seen.append((time.monotonic(), float(line)))


def waver(yardstick: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """From how many ms on executions take how many times as long as on average, by `Speed.between`."""
    mean_ms = statistics.fmean(ms for _, ms in yardstick) if yardstick else 1.0
    return [(round(1000 * at_s, 1), round(ms / mean_ms, 4)) for at_s, ms in yardstick]


@dataclass(frozen=True, kw_only=True)
class Rehearsed:
    """What executions took in other loads, shortly before and after the one that is simulated.

    `visits` are a stage's (ms, batch), each batch once; the yardstick took `then_ms` meanwhile and takes
    `now_ms` now, None where nobody knows.
    """

    visits: Mapping[str, Sequence[tuple[float, int]]]
    then_ms: float | None = None
    now_ms: float | None = None

    def slowness(
        self, plan: Plan, profiles: Sequence[Profile], beside: Mapping[str, float]
    ) -> dict[str, float]:
        """By stage, how many times as long as simulated executions take now; without what is not known.

        Simulated beside neighbours that are busy for that part of the time (`planner.simulation_queue`).
        No yardstick is slowed down just as a stage's layers are, but they are; from then to now the yardstick
        tells. Where a stage had too few batches, or has exits, by which some of a batch leave, it tells all
        since the profile was measured.
        """
        known = {(profile.model, profile.gpu): profile for profile in profiles}
        since = self.now_ms / self.then_ms if self.now_ms and self.then_ms else 1.0
        rehearsed = self._beside_simulated(plan, profiles, beside)
        found = {}
        for stage in plan.stages:
            profiled_ms = known[stage.model, stage.gpu].measured.get("yardstick_ms")
            if stage.id in rehearsed:
                took_ms, simulated_ms = (math.fsum(each) for each in zip(*rehearsed[stage.id], strict=True))
                found[stage.id] = since * took_ms / simulated_ms
            elif self.now_ms and isinstance(profiled_ms, int | float) and profiled_ms > 0:
                found[stage.id] = self.now_ms / profiled_ms
        return found

    def scatter(
        self, plan: Plan, profiles: Sequence[Profile], beside: Mapping[str, float]
    ) -> dict[str, list[tuple[float, float]]]:
        """By stage, how executions lie around their mean: (fraction of all, factor), as far as is known."""
        found = {}
        for stage, pairs in self._beside_simulated(plan, profiles, beside).items():
            factors = np.array([ms / expected_ms for ms, expected_ms in pairs])
            factors /= factors.mean()
            at = np.linspace(0.0, 1.0, min(_MOST_POINTS, len(factors)))
            found[stage] = list(zip(at.tolist(), np.quantile(factors, at).tolist(), strict=True))
        return found

    def _beside_simulated(
        self, plan: Plan, profiles: Sequence[Profile], beside: Mapping[str, float]
    ) -> dict[str, list[tuple[float, float]]]:
        """By stage with batches enough, what each took and what it would take as profiled."""
        known = {(profile.model, profile.gpu): profile for profile in profiles}
        settings = SimulationSettings(batch_time="between", beside=beside)
        found = {}
        for stage in plan.stages:
            # A request larger than a stage's batch is run in several.
            visits = [visit for visit in self.visits.get(stage.id, ()) if visit[1] <= stage.batch]
            if len(visits) >= _LEAST_VISITS and not stage.exits:
                expected_ms = server_of(stage, known[stage.model, stage.gpu], settings).exec_ms
                found[stage.id] = [(ms, expected_ms[batch]) for ms, batch in visits]
        return found
