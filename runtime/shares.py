"""Holding a process to its share of a device, and reading back what really holds.

On a CPU 100 percent is one core, and a share is enforced by the first of these that works here:

    cgroup-v1, cgroup-v2   a control group of the process's own with a CPU quota: the kernel stops the process
                           when it has had its share of a period; within it the process runs evenly
                           (`runtime.pacing`) if `Share.begin` is called before each batch and `Share.step`
                           after each layer
    pause                  the process sleeps after each batch, for as long as makes its busy fraction the
                           share: `Share.pace` after each batch is part of the bargain

On an NVIDIA GPU it is `mps` (see `runtime.mps`): `mps_environment` must be in the environment before the
process starts CUDA. Without a running MPS daemon a GPU worker pauses, too.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import time
from typing import Literal

from runtime import mps
from runtime.cgroups import PREFIX, Group, hierarchies, remove_stale, why_no_quota
from runtime.errors import ShareError
from runtime.pacing import Pacer

EnforcedBy = Literal["cgroup-v1", "cgroup-v2", "pause", "mps", "none"]
Enforcement = Literal["auto", "cgroup", "pause", "none"]

__all__ = [
    "PREFIX",
    "CgroupShare",
    "Enforcement",
    "MpsShare",
    "PausedShare",
    "Share",
    "Use",
    "hold",
    "mps_environment",
    "remove_stale",
]

mps_environment = mps.environment


def hold(
    share_pct: float, *, core: int | None = None, device: str = "cpu", by: Enforcement | None = None
) -> Share:
    """Hold the current process to a share; call it before any heavy work, and before torch starts threads.

    `core` pins the process to one core. `by` asks for one kind of enforcement (default: REGRAFT_SHARES, or
    `auto`, the best there is). The share is given back by `Share.close`, and when the process ends;
    what a killed process leaves behind is removed by `remove_stale`.

    Raises ShareError for a share outside (0, 100], a core this process may not use, or a kind of
    enforcement asked for by name that this machine does not have.
    """
    if not 0 < share_pct <= 100:
        raise ShareError(f"a share of {share_pct:g} percent is none: expected more than 0, at most 100")
    by = by or _asked_for()
    if core is not None:
        _pin(core)
    if by == "none":
        return Share(share_pct, "none")
    if device.startswith("cuda"):
        if mps.held() is not None and by != "pause":
            return MpsShare(share_pct)
        return PausedShare(share_pct) if share_pct < 100 or by == "pause" else Share(share_pct, "none")
    if by == "pause":
        return PausedShare(share_pct)
    group, problem = _group_for(_quota_pct(share_pct, pinned=core is not None))
    if group is not None:
        return CgroupShare(share_pct, group, pinned=core is not None)
    if by == "cgroup":
        raise ShareError(f"no CPU quota can be set here: {problem}")
    return PausedShare(share_pct)


class Share:
    """The share a process is held to. This class itself enforces nothing (`none`): the whole of a device."""

    def __init__(self, share_pct: float, enforced_by: EnforcedBy) -> None:
        self.share_pct = share_pct
        self.enforced_by: EnforcedBy = enforced_by

    def effective_pct(self) -> float:
        """What really holds, read back from whoever enforces it, in percent of the device."""
        return 100.0

    def begin(self, worked_s: float = 0.0) -> None:
        """To be called before each batch; `worked_s` brings its first sleep forward by so much work."""

    def step(self, *, last: bool) -> None:
        """To be called after each layer of a batch; sleeps where the share is made even."""

    def pace(self, busy_seconds: float) -> None:
        """To be called after each batch with the time it took; sleeps where pausing is what enforces."""

    def change(self, share_pct: float) -> None:
        """Hold to another share from now on. Raises ShareError where a running process cannot change."""
        self.share_pct = share_pct

    def stand_back(self) -> None:
        """Let others who want the device go first, for as long as this process only prepares."""

    def come_forward(self) -> None:
        """Count as much as others again."""

    def close(self) -> None:
        """Give the share back; harmless when called again."""


class CgroupShare(Share):
    """A CPU quota, in a control group of the process's own, and even steps within it."""

    def __init__(self, share_pct: float, group: Group, *, pinned: bool = False) -> None:
        super().__init__(share_pct, "cgroup-v1" if group.version == 1 else "cgroup-v2")
        self._group = group
        self._pinned = pinned
        self._pacer = Pacer(share_pct)
        atexit.register(self.close)

    def effective_pct(self) -> float:
        """Quota over period, as the control group has them."""
        return self._group.effective_pct()

    def change(self, share_pct: float) -> None:
        """The kernel takes the new quota at once."""
        self._group.limit(_quota_pct(share_pct, pinned=self._pinned))
        self.share_pct = share_pct
        self._pacer = Pacer(share_pct)

    def begin(self, worked_s: float = 0.0) -> None:
        """What was not used while there was nothing to do is gone."""
        if self.share_pct < 100:
            self._pacer.begin(worked_s)

    def step(self, *, last: bool) -> None:
        """Sleep until the time that has passed is what the share allows for."""
        if self.share_pct < 100:
            self._pacer.step(last=last)

    def stand_back(self) -> None:
        """By the group's weight; without one, nothing is lost but time."""
        with contextlib.suppress(OSError):
            self._group.weigh(little=True)

    def come_forward(self) -> None:
        """The kernel's usual weight."""
        with contextlib.suppress(OSError):
            self._group.weigh(little=False)

    def throttled(self) -> tuple[int, int]:
        """Periods so far, and those of them in which the process was stopped."""
        return self._group.throttled()

    def close(self) -> None:
        """Leave the group and remove it."""
        atexit.unregister(self.close)
        self._group.leave()


class PausedShare(Share):
    """Sleeps between batches. Exact over a few batches; within one the process has the whole device."""

    # A sleep that lasted too long is made up for by the next, within reason: a process that was stopped
    # for a second may not work through the second after it.
    _MOST_CREDIT_S = 0.02

    def __init__(self, share_pct: float) -> None:
        super().__init__(share_pct, "pause")
        self._busy_s = 0.0
        self._slept_s = 0.0
        self._owed_s = 0.0

    def effective_pct(self) -> float:
        """The busy fraction so far; before the first batch, the share."""
        total_s = self._busy_s + self._slept_s
        return 100.0 * self._busy_s / total_s if total_s > 0 else self.share_pct

    def pace(self, busy_seconds: float) -> None:
        """Sleep for busy · (100 / share − 1), less what the last sleep was too long."""
        self._busy_s += busy_seconds
        self._owed_s += busy_seconds * (100.0 / self.share_pct - 1.0)
        if self._owed_s <= 0:
            return
        began = time.monotonic()
        time.sleep(self._owed_s)
        slept_s = time.monotonic() - began
        self._slept_s += slept_s
        self._owed_s = max(self._owed_s - slept_s, -self._MOST_CREDIT_S)

    def change(self, share_pct: float) -> None:
        """From the next batch on; what was measured so far is forgotten."""
        super().change(share_pct)
        self._busy_s = self._slept_s = self._owed_s = 0.0


class MpsShare(Share):
    """A percentage of a GPU's multiprocessors, held by NVIDIA MPS since CUDA started in this process."""

    def __init__(self, share_pct: float) -> None:
        super().__init__(share_pct, "mps")

    def effective_pct(self) -> float:
        """The multiprocessors this process may use, of those the GPU has (the driver says so)."""
        effective = mps.effective_pct()
        if effective is not None:
            return effective
        return mps.held() or 100.0

    def change(self, share_pct: float) -> None:
        """MPS fixes a process's percentage when CUDA starts."""
        raise ShareError(
            f"the MPS percentage of a running process cannot change (from {self.share_pct:g} to "
            f"{share_pct:g}): start a new process beside it"
        )


class Use:
    """How much of its device this process used, from one question to the next, in percent of the device.

    On a CPU that is its processor time. What a process has used of a GPU under MPS nobody tells, so there it
    is the fraction of the time in which it ran batches, of its share.
    """

    def __init__(self, *, on_cpu: bool) -> None:
        self._on_cpu = on_cpu
        self._at_s = time.monotonic()
        self._processor_s = time.process_time()
        self._busy_s = 0.0

    def since_last_pct(self, busy_s: float, effective_pct: float) -> float:
        """Since the last call; `busy_s` are the seconds it ran batches, since its start."""
        at_s, processor_s = time.monotonic(), time.process_time()
        passed_s = max(at_s - self._at_s, 1e-6)
        processor_pct = 100 * (processor_s - self._processor_s) / passed_s
        busy_pct = effective_pct * min(1.0, (busy_s - self._busy_s) / passed_s)
        self._at_s, self._processor_s, self._busy_s = at_s, processor_s, busy_s
        return processor_pct if self._on_cpu else busy_pct


def _quota_pct(share_pct: float, *, pinned: bool) -> float | None:
    """A process that is pinned cannot have more than its core: a quota of all of it could only stall it."""
    return None if pinned and share_pct >= 100 else share_pct


def _group_for(quota_pct: float | None) -> tuple[Group | None, str]:
    problems = []
    for hierarchy in hierarchies():
        # An agent that tidies up may remove a group between its making and our entering it.
        for _ in range(3):
            try:
                group = Group(hierarchy)
            except OSError as error:
                problems.append(f"{hierarchy.parent}: {error.strerror}")
                break
            try:
                group.limit(quota_pct)
                group.enter()
            except FileNotFoundError:
                continue
            except OSError as error:
                group.leave()
                problems.append(f"{group.path}: {error.strerror}")
                break
            return group, ""
    return None, "; ".join(problems) or why_no_quota()


def _asked_for() -> Enforcement:
    asked = os.environ.get("REGRAFT_SHARES", "auto")
    match asked:
        case "auto" | "cgroup" | "pause" | "none":
            return asked
    raise ShareError(f"REGRAFT_SHARES is {asked!r}: expected auto, cgroup, pause or none")


def _pin(core: int) -> None:
    allowed = os.sched_getaffinity(0)
    try:
        # Threads inherit the affinity of whoever starts them; those that run already are pinned one by one.
        for thread in threading.enumerate():
            if thread.native_id is not None:
                os.sched_setaffinity(thread.native_id, {core})
        os.sched_setaffinity(0, {core})
    except (OSError, ValueError, OverflowError):
        cores = ", ".join(str(number) for number in sorted(allowed))
        raise ShareError(f"core {core} cannot be used; this process may run on {cores}") from None
