"""Standing back: what only prepares to serve takes little of a processor from what serves on it.

A new generation's workers start on the cores that the old one's serve from, and whatever they took would
break its promises. So what starts beside others that serve (a worker that loads or warms up, and the process
that opens its model) has a tenth of their weight: enough to become ready beside a core that is never idle. A
worker in a control group has it by the group's weight (`Share.stand_back`), whatever else by its nice value,
where that can be taken back. What starts where nothing serves, or in the place of one that died, hurries.

What is timed meanwhile is not what it takes later: `Undisturbed` leaves out the time in which others ran.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import resource
import time
from pathlib import Path

# The weight of this nice value is a tenth of that of nice 0.
_STEPS = 10
_CAP_SYS_NICE = 23
# The shortest turn that the kernel grants.
_TURN_NS = 100_000

# The nice value to come back to, inherited by forks; None while nobody has stood back.
_before: int | None = None


def stand_back() -> None:
    """Let others go first, if it can be taken back; harmless when called again."""
    global _before
    before = os.getpriority(os.PRIO_PROCESS, 0)
    if _before is None and _may_return_to(before):
        _before = before
        os.setpriority(os.PRIO_PROCESS, 0, min(19, before + _STEPS))
    _weigh_session(_STEPS)


def come_forward() -> None:
    """Take it back, in this process; harmless where nobody has stood back."""
    global _before
    if _before is not None:
        os.setpriority(os.PRIO_PROCESS, 0, _before)
        _before = None
        _weigh_session(0)


def take_short_turns() -> None:
    """Ask the kernel for short turns on the processor (Linux 6.12 and later); elsewhere nothing happens.

    Workers that share a core wake up for a layer each. With turns of the usual length one that wakes up
    waits until another's is over, up to a tick of the kernel's clock (4 ms), and so answers late. Who has a
    core to itself would only interrupt those that bring it work.
    """
    number = {"x86_64": 314, "aarch64": 274}.get(platform.machine())
    if number is None:
        return
    wanted = _SchedAttr(
        size=ctypes.sizeof(_SchedAttr),
        sched_nice=os.getpriority(os.PRIO_PROCESS, 0),
        sched_runtime=_TURN_NS,
    )
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).syscall(number, 0, ctypes.byref(wanted), 0)


class _SchedAttr(ctypes.Structure):
    """The kernel's struct sched_attr, for its usual policy (0)."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("sched_policy", ctypes.c_uint32),
        ("sched_flags", ctypes.c_uint64),
        ("sched_nice", ctypes.c_int32),
        ("sched_priority", ctypes.c_uint32),
        ("sched_runtime", ctypes.c_uint64),
        ("sched_deadline", ctypes.c_uint64),
        ("sched_period", ctypes.c_uint64),
    )


def _weigh_session(nice: int) -> None:
    """Where sessions are scheduled as groups, nice values count within one; others see the session's own."""
    if os.getsid(0) == os.getpid():
        with contextlib.suppress(OSError):
            Path("/proc/self/autogroup").write_text(str(nice))


class Undisturbed:
    """Times work of the calling thread on a processor that it is held to a share of, from its making on."""

    def __init__(self, share_pct: float) -> None:
        self._share_pct = share_pct
        self._began_s = time.monotonic()
        self._processor_s = time.thread_time()
        self._waited_s = _waited_s()

    def elapsed_ms(self) -> float:
        """What it would have taken had nobody else run here.

        At most what the clock says; at least what its processor time takes at the share; and between these,
        the clock without the time in which it could have run, but others did.
        """
        passed_s = time.monotonic() - self._began_s
        processor_s = time.thread_time() - self._processor_s
        own_s = passed_s - (_waited_s() - self._waited_s)
        return 1000 * min(passed_s, max(own_s, processor_s * 100 / self._share_pct))


def _may_return_to(nice: int) -> bool:
    """Whether this process may lower its nice value to this again."""
    if resource.getrlimit(resource.RLIMIT_NICE)[0] >= 20 - nice:
        return True
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return False
    held = [int(line.split()[1], 16) for line in lines if line.startswith("CapEff:")]
    return bool(held) and bool(held[0] >> _CAP_SYS_NICE & 1)


def _waited_s() -> float:
    """Seconds in which this thread could have run and did not; 0 where the kernel does not count them."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0
