"""How much of the processor others used while something was measured: a figure is worth what that leaves."""

from __future__ import annotations

import contextlib
import resource
import time

import psutil


class Others:
    """From its making on: what this machine's cores did that neither this process nor its family did."""

    def __init__(self) -> None:
        self._at_s = time.monotonic()
        self._busy_s = _busy_s()
        self._ours_s = _ours_s()

    def busy_pct(self) -> float:
        """In percent of all cores, since this was made; at least 0."""
        whole_s = (time.monotonic() - self._at_s) * (psutil.cpu_count() or 1)
        others_s = (_busy_s() - self._busy_s) - (_ours_s() - self._ours_s)
        return 100.0 * max(0.0, others_s) / whole_s


def _busy_s() -> float:
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0))


def _ours_s() -> float:
    """Of this process, of what it has waited for, and of what lives below it."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    total = sum(usage.ru_utime + usage.ru_stime for usage in spent)
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total
