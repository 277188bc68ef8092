"""Control groups with a CPU quota: where they can be made, one for a process, and what is left of them.

A quota is what a process cannot get around, not what makes it run evenly: the kernel charges time at its
timer tick (4 ms at 250 Hz) and lets a process run again at the next period, so a little work takes its time,
or many times that, by how it falls between the two. Workers run evenly by themselves (`runtime.pacing`). The
period is the kernel's usual 100 ms, and where the kernel can save up what was not used (`burst`), it may save
one period's: so the quota never stops who is even already. A quota cannot be below 1 ms, so the period grows
for shares below 1 %.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

PREFIX = "regraft-"
# Where an agent stands itself, so that its own group may have groups with quotas.
LEAF = f"{PREFIX}agent"
PERIOD_US = 100_000
MIN_QUOTA_US = 1_000


def remove_stale(prefix: str = PREFIX) -> list[str]:
    """Remove control groups that dead processes left behind; returns their names.

    A group with a process in it cannot be removed, so this is safe beside running workers.
    """
    removed = []
    for hierarchy in hierarchies():
        for group in hierarchy.parent.glob(f"{prefix}*"):
            with contextlib.suppress(OSError):
                group.rmdir()
                removed.append(group.name)
    return sorted(removed)


def make_room(controller: str = "cpu") -> bool:
    """Step aside into a leaf of this process's own group, where version 2 asks for that; whether it was done.

    A group of version 2 that gives a controller to groups below it may hold no process itself, unless it is
    the root of all. An agent with a group to itself (a systemd unit with `Delegate=yes`, a container) calls
    this before it starts others; where others are in the group already, or it is not ours to change,
    everything stays as it was.
    """
    for version, mount, root, own in _mounts(controller):
        group = mount / os.path.relpath(own, root)
        control, leaf = group / "cgroup.subtree_control", group / LEAF
        of_root = not (group / "cgroup.type").exists()
        if version == 1 or of_root or group.name.startswith(PREFIX):
            continue
        try:
            if controller in control.read_text().split():
                continue
            leaf.mkdir(exist_ok=True)
            (leaf / "cgroup.procs").write_text(str(os.getpid()))
        except OSError:
            continue
        try:
            control.write_text(f"+{controller}")
        except OSError:
            with contextlib.suppress(OSError):
                (group / "cgroup.procs").write_text(str(os.getpid()))
                leaf.rmdir()
            continue
        return True
    return False


@dataclass(frozen=True, kw_only=True)
class Hierarchy:
    """A place in the cgroup file system below which this process may make groups with a CPU quota."""

    version: Literal[1, 2]
    parent: Path


def hierarchies() -> list[Hierarchy]:
    """Where this process may set CPU quotas, best first; none where it may not.

    REGRAFT_CGROUP names a directory of a delegated hierarchy and is tried first.
    """
    return [found for found in _candidates() if _usable(found) is None]


def why_no_quota() -> str:
    """Why `hierarchies` is empty, place by place, for people; empty when it is not."""
    problems = []
    for candidate in _candidates():
        problem = _usable(candidate)
        if problem is None:
            return ""
        problems.append(problem)
    return "; ".join(problems) or "no cgroup file system with the cpu controller is mounted"


class Group:
    """A control group for one process, made, limited, entered and removed again."""

    def __init__(self, hierarchy: Hierarchy) -> None:
        self.version = hierarchy.version
        self._home = _own_group(hierarchy)
        self.path = hierarchy.parent / f"{PREFIX}{os.getpid()}-{time.monotonic_ns():x}"
        self.path.mkdir()

    def limit(self, share_pct: float | None) -> None:
        """Set the quota, or lift it (None); a running process feels it at once."""
        # What may be saved up must not be more than the quota at any moment.
        burst = self.path / ("cpu.max.burst" if self.version == 2 else "cpu.cfs_burst_us")
        if burst.exists():
            burst.write_text("0")
        if share_pct is None:
            if self.version == 2:
                (self.path / "cpu.max").write_text("max")
            else:
                (self.path / "cpu.cfs_quota_us").write_text("-1")
            return
        quota_us = max(MIN_QUOTA_US, round(PERIOD_US * share_pct / 100))
        period_us = round(quota_us * 100 / share_pct)
        if self.version == 2:
            (self.path / "cpu.max").write_text(f"{quota_us} {period_us}")
        else:
            # The kernel refuses a quota that is too small for the period it stands beside, so the quota is
            # lifted first.
            (self.path / "cpu.cfs_quota_us").write_text("-1")
            (self.path / "cpu.cfs_period_us").write_text(str(period_us))
            (self.path / "cpu.cfs_quota_us").write_text(str(quota_us))
        if burst.exists():
            burst.write_text(str(quota_us))

    def weigh(self, *, little: bool) -> None:
        """How much it counts beside others who want the processor as well: as they do, or little."""
        if self.version == 2:
            (self.path / "cpu.weight").write_text("10" if little else "100")
        else:
            (self.path / "cpu.shares").write_text("102" if little else "1024")

    def enter(self) -> None:
        """Move this process, with all its threads, into the group."""
        (self.path / "cgroup.procs").write_text(str(os.getpid()))

    def effective_pct(self) -> float:
        """Quota over period, in percent of a core, as the kernel has them."""
        if self.version == 2:
            quota, period = (self.path / "cpu.max").read_text().split()
        else:
            quota = (self.path / "cpu.cfs_quota_us").read_text().strip()
            period = (self.path / "cpu.cfs_period_us").read_text().strip()
        return 100.0 if quota in ("max", "-1") else 100.0 * int(quota) / int(period)

    def throttled(self) -> tuple[int, int]:
        """Periods so far, and those of them in which the process was stopped."""
        words = (self.path / "cpu.stat").read_text().split()
        stat = dict(zip(words[::2], words[1::2], strict=True))
        return int(stat["nr_periods"]), int(stat["nr_throttled"])

    def leave(self) -> None:
        """Go back to where the process was, and remove the group."""
        with contextlib.suppress(OSError):
            (self._home / "cgroup.procs").write_text(str(os.getpid()))
        with contextlib.suppress(OSError):
            self.path.rmdir()


def _candidates() -> list[Hierarchy]:
    found = []
    if given := os.environ.get("REGRAFT_CGROUP"):
        path = Path(given)
        version: Literal[1, 2] = 2 if (path / "cgroup.controllers").exists() else 1
        found.append(Hierarchy(version=version, parent=path))
    for version, mount, root, own in _mounts():
        relative = os.path.relpath(own, root)
        inside = mount if relative.startswith("..") else (mount / relative)
        # Groups are siblings of nobody: an agent's workers are its own group's children. A process that is
        # in a worker's group already makes the next one beside it, not below it.
        if inside.name.startswith(PREFIX):
            inside = inside.parent
        found.append(Hierarchy(version=version, parent=inside))
    return found


def _mounts(controller: str = "cpu") -> list[tuple[Literal[1, 2], Path, str, str]]:
    """(version, mount point, the hierarchy's root there, this process's group), for one controller.

    The hierarchy of version 2 is always among them: it says in a file which controllers it has.
    """
    own: dict[str, str] = {}
    try:
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            for name in controllers.split(","):
                own[name] = path
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return []
    found: list[tuple[Literal[1, 2], Path, str, str]] = []
    for line in mounts:
        before, _, after = line.partition(" - ")
        fields, (kind, _, options) = before.split(), after.split(" ", 2)
        root, mount = fields[3], Path(fields[4].replace("\\040", " "))
        if kind == "cgroup" and controller in options.split(",") and controller in own:
            found.append((1, mount, root, own[controller]))
        elif kind == "cgroup2" and "" in own:
            found.append((2, mount, root, own[""]))
    return found


def _usable(hierarchy: Hierarchy) -> str | None:
    """None when groups with a CPU quota can be made here; else why not."""
    parent = hierarchy.parent
    if not os.access(parent, os.W_OK):
        return f"{parent} is not writable" if parent.exists() else f"{parent} does not exist"
    if hierarchy.version == 1:
        # In the root group itself there is no quota file on some kernels; children have it.
        return None if (parent / "cgroup.procs").exists() else f"{parent} is no cgroup directory"
    try:
        if "cpu" not in (parent / "cgroup.controllers").read_text().split():
            return f"{parent} has no cpu controller"
        control = parent / "cgroup.subtree_control"
        if "cpu" not in control.read_text().split():
            control.write_text("+cpu")
    except OSError as error:
        return f"{parent}: the cpu controller cannot be given to groups below it ({error.strerror})"
    return None


def _own_group(hierarchy: Hierarchy) -> Path:
    """Where the process stands now in this hierarchy, to go back to."""
    for version, mount, root, own in _mounts():
        if version == hierarchy.version and hierarchy.parent.is_relative_to(mount):
            relative = os.path.relpath(own, root)
            home = mount if relative.startswith("..") else mount / relative
            # A share held before this one is gone when we come back.
            return home.parent if home.name.startswith(PREFIX) and home.name != LEAF else home
    return hierarchy.parent
