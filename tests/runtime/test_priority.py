"""What only prepares to serve stands back, and is timed as if it had not."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runtime import cgroups, priority
from runtime.priority import Undisturbed

needs_quotas = pytest.mark.skipif(
    not cgroups.hierarchies(), reason=f"no CPU quota can be set here: {cgroups.why_no_quota()}"
)


def run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, start_new_session=True
    )
    return done.stdout.strip()


def test_a_process_that_stood_back_comes_forward_to_where_it_was_and_so_does_its_fork() -> None:
    program = """
import os
from runtime import priority
nice = lambda: os.getpriority(os.PRIO_PROCESS, 0)
before = nice()
priority.stand_back(); priority.stand_back()
behind = nice()
child = os.fork()
if child == 0:
    priority.come_forward()
    os._exit(0 if nice() == before else 1)
_, status = os.waitpid(child, 0)
priority.come_forward()
print(before, behind, nice(), status)
"""
    before, behind, after, forked = map(int, run(program).split())
    assert after == before
    assert forked == 0
    # Where it could not be taken back it is not done.
    assert behind in (before, min(19, before + 10))


def test_where_it_could_not_be_taken_back_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (0, 0))
    monkeypatch.setattr(Path, "read_text", lambda _: "Name:\tpython\nCapEff:\t0000000000000000\n")
    monkeypatch.setattr(priority, "_weigh_session", lambda _: None)
    before = os.getpriority(os.PRIO_PROCESS, 0)
    priority.stand_back()
    assert os.getpriority(os.PRIO_PROCESS, 0) == before
    priority.come_forward()


@needs_quotas
def test_a_group_weighs_little_until_it_comes_forward() -> None:
    program = """
from runtime.shares import hold
share = hold(50, by="cgroup")
group = share._group
file = group.path / ("cpu.weight" if group.version == 2 else "cpu.shares")
usual = int(file.read_text()); share.stand_back(); little = int(file.read_text()); share.come_forward()
print(usual, little, int(file.read_text()))
"""
    usual, little, again = map(int, run(program).split())
    assert usual == again
    assert little == pytest.approx(usual / 10, abs=1)


def clocks(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """The clocks that are read, to be set by hand: of the wall, of the processor, and of waiting for it."""
    at = {"passed": 0.0, "processor": 0.0, "waited": 0.0}
    monkeypatch.setattr(time, "monotonic", lambda: at["passed"])
    monkeypatch.setattr(time, "thread_time", lambda: at["processor"])
    monkeypatch.setattr(priority, "_waited_s", lambda: at["waited"])
    return at


@pytest.mark.parametrize(
    ("share_pct", "passed", "processor", "waited", "expected_ms"),
    [
        (100, 1.0, 1.0, 0.0, 1000),  # alone
        (100, 3.0, 1.0, 2.0, 1000),  # two others took two seconds
        (50, 2.0, 1.0, 1.0, 2000),  # half of the core is its share: it waited for its quota
        (50, 6.0, 1.0, 5.0, 2000),  # for its quota and for others
        (100, 1.0, 0.0, 0.0, 1000),  # it slept: that is what it takes
        (100, 1.5, 0.0, 0.5, 1000),  # it slept, and waited for others after that
        (10, 1.0, 0.5, 0.5, 1000),  # a burst on a full quota: what the clock says
    ],
)
def test_what_others_took_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
    share_pct: float,
    passed: float,
    processor: float,
    waited: float,
    expected_ms: float,
) -> None:
    at = clocks(monkeypatch)
    timed = Undisturbed(share_pct)
    at.update(passed=passed, processor=processor, waited=waited)
    assert timed.elapsed_ms() == pytest.approx(expected_ms)


def test_waiting_is_read_from_the_kernel() -> None:
    assert priority._waited_s() >= 0.0
