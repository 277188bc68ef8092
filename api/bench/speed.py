"""How fast this machine's processor is while something is measured on it.

By a yardstick (`python -m runtime.yardstick`, a third of a percent of a core): profiles say how long it took
when they were measured (`measured.yardstick_ms`). It knows nothing of the requests.
"""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

from planner.profile import Profile

_EVERY_S = 0.1
# So many are one: single ones are disturbed now and then.
_TOGETHER = 5


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


def slowness(profiles: Sequence[Profile], yardstick_ms: float | None) -> dict[str, float]:
    """By model, how many times as long as profiled executions take now; without what is not known."""
    found = {}
    for profile in profiles:
        profiled_ms = profile.measured.get("yardstick_ms")
        if yardstick_ms and isinstance(profiled_ms, int | float) and profiled_ms > 0:
            found[profile.model] = yardstick_ms / profiled_ms
    return found
