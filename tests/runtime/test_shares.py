"""A share of a core is held for real, read back, changed, and given back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runtime import cgroups, mps, shares
from runtime.cgroups import Hierarchy
from runtime.errors import MpsError, ShareError
from runtime.shares import PausedShare, hold, remove_stale

HAS_QUOTAS = bool(cgroups.hierarchies())
needs_quotas = pytest.mark.skipif(
    not HAS_QUOTAS, reason=f"no CPU quota can be set here: {cgroups.why_no_quota()}"
)

# Works for `processor` seconds of processor time in batches of a few milliseconds, as a worker does.
WORK = """
import contextlib, json, os, sys, time
from runtime.shares import hold

share_pct, kind, processor = float(sys.argv[1]), sys.argv[2], float(sys.argv[3])
share = hold(share_pct, core=int(sys.argv[4]), by=kind)
# Others on this machine must not decide what is measured: go before them where that is allowed.
with contextlib.suppress(OSError):
    os.nice(-20)
if kind == "cgroup":
    for name, weight in (("cpu.shares", "262144"), ("cpu.weight", "10000")):
        if (share._group.path / name).exists():
            (share._group.path / name).write_text(weight)

def work(processor):
    began, at = time.monotonic(), time.process_time()
    while time.process_time() - at < processor:
        batch, batch_at = time.process_time(), time.monotonic()
        while time.process_time() - batch < 0.005:
            pass
        share.pace(time.monotonic() - batch_at)
    return (time.process_time() - at) / (time.monotonic() - began)

first = work(processor)
share.change(100)
second = work(processor)
print(json.dumps({"by": share.enforced_by, "used": first, "used_at_100": second}))
"""


def used(share_pct: float, kind: str) -> dict[str, float]:
    """The fraction of a core that a process gets at a share, and right after its share became 100."""
    core = max(os.sched_getaffinity(0))
    done = subprocess.run(
        [sys.executable, "-c", WORK, str(share_pct), kind, "0.4", str(core)],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("kind", [pytest.param("cgroup", marks=needs_quotas), "pause"])
def test_a_quarter_of_a_core_takes_four_times_as_long(kind: str) -> None:
    # By processor time against the clock, best of a few: other processes can only make either slower.
    ratios = []
    for _ in range(4):
        result = used(25, kind)
        ratios.append(result["used_at_100"] / result["used"])
        if 3.0 < ratios[-1] < 5.5:
            return
    pytest.fail(f"100 % was faster than 25 % by {ratios}")


@pytest.mark.parametrize("kind", [pytest.param("cgroup", marks=needs_quotas), "pause"])
def test_nobody_gets_more_than_his_share(kind: str) -> None:
    # However busy the machine is: more than the share, but for a tick at either end, is wrong.
    assert used(20, kind)["used"] < 0.25


@needs_quotas
def test_a_quota_is_read_back_from_the_kernel_and_gone_afterwards() -> None:
    program = """
from pathlib import Path
from runtime.shares import hold
share = hold(12.5)
group = share._group.path
print(share.enforced_by, share.effective_pct(), group)
share.change(60)
print(share.effective_pct())
for line in Path("/proc/self/cgroup").read_text().splitlines():
    if group.name in line: print("inside")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    first, second, third = done.stdout.splitlines()
    kind, effective, group = first.split()
    assert kind in ("cgroup-v1", "cgroup-v2")
    assert float(effective) == 12.5
    assert float(second) == 60.0
    assert third == "inside"
    # Given back at exit although nobody called close.
    assert not Path(group).exists()


@needs_quotas
def test_a_pinned_process_with_all_of_its_core_has_no_quota_to_stall_it() -> None:
    program = """
import os
from runtime.shares import hold
share = hold(100, core=max(os.sched_getaffinity(0)), by="cgroup")
group = share._group
file = group.path / ("cpu.max" if group.version == 2 else "cpu.cfs_quota_us")
quota = lambda: file.read_text().split()[0]
print(quota(), share.effective_pct())
share.change(40)
print(quota(), share.effective_pct())
share.change(100)
print(quota(), share.effective_pct())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [quota in ("-1", "max") for quota, _ in lines] == [True, False, True]
    assert [float(effective) for _, effective in lines] == [100.0, 40.0, 100.0]


@needs_quotas
def test_what_a_killed_process_leaves_is_removed_and_what_runs_is_not() -> None:
    program = """
import sys, time
from runtime.shares import hold
print(hold(50, by="cgroup")._group.path, flush=True)
time.sleep(60)
"""
    with (
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as killed,
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as running,
    ):
        assert killed.stdout is not None
        assert running.stdout is not None
        left, kept = (Path(process.stdout.readline().strip()) for process in (killed, running))
        killed.kill()
        killed.wait()
        # The kernel takes a moment to see that the group is empty.
        until = time.monotonic() + 10
        while left.exists() and time.monotonic() < until:
            removed = remove_stale(shares.PREFIX)
            assert kept.name not in removed
        assert not left.exists()
        assert kept.exists()
        running.kill()
        running.wait()
    remove_stale(shares.PREFIX)


@needs_quotas
def test_small_shares_get_a_longer_period_since_a_quota_has_a_least_size() -> None:
    program = "from runtime.shares import hold; print(hold(0.25, by='cgroup').effective_pct())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert float(done.stdout) == 0.25


def test_pausing_makes_up_for_sleeps_that_were_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])

    def oversleep(seconds: float) -> None:
        clock[0] += seconds + 0.004

    monkeypatch.setattr(time, "sleep", oversleep)
    share = PausedShare(50)
    for _ in range(100):
        clock[0] += 0.01
        share.pace(0.01)
    assert share.effective_pct() == pytest.approx(50, abs=0.5)


def test_idle_time_buys_nothing_under_pausing(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    share = PausedShare(25)
    share.pace(0.0)
    share.pace(0.01)
    assert slept == [pytest.approx(0.03)]


def test_a_version_2_group_is_limited_by_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory stands in for a delegated cgroup 2 hierarchy, which few test machines have."""
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu memory\n")
    (tmp_path / "cgroup.subtree_control").write_text("memory\n")
    (tmp_path / "cgroup.procs").write_text("")
    monkeypatch.setenv("REGRAFT_CGROUP", str(tmp_path))
    assert cgroups.hierarchies()[0] == Hierarchy(version=2, parent=tmp_path)
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+cpu"
    share = hold(5)
    try:
        (group,) = tmp_path.glob(f"{shares.PREFIX}*")
        assert share.enforced_by == "cgroup-v2"
        assert (group / "cpu.max").read_text() == "5000 100000"
        assert (group / "cgroup.procs").read_text() == str(os.getpid())
        share.change(40)
        assert (group / "cpu.max").read_text() == "40000 100000"
        assert share.effective_pct() == 40.0
    finally:
        share.close()


def delegated_group() -> tuple[Path, str]:
    """A fresh group of version 2 and a controller it has, whichever that is; skips where there is none."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        if after.split()[0] != "cgroup2":
            continue
        top = Path(before.split()[4])
        try:
            controller = (top / "cgroup.controllers").read_text().split()[-1]
            (top / "cgroup.subtree_control").write_text(f"+{controller}")
            group = top / f"{shares.PREFIX}test-{os.getpid()}" / "unit"
            group.parent.mkdir()
            (group.parent / "cgroup.subtree_control").write_text(f"+{controller}")
            group.mkdir()
        except (OSError, IndexError) as error:
            pytest.skip(f"no group of version 2 can be delegated here: {error}")
        return group, controller
    pytest.skip("no cgroup file system of version 2 is mounted")


def test_an_agent_steps_aside_so_that_its_group_may_have_groups_with_quotas() -> None:
    group, controller = delegated_group()
    program = f"""
import os, subprocess
from pathlib import Path
from runtime.cgroups import make_room
group = Path({str(group)!r})
(group / "cgroup.procs").write_text(str(os.getpid()))
with subprocess.Popen(["sleep", "60"]) as other:
    print(make_room({controller!r}), sorted(path.name for path in group.iterdir() if path.is_dir()))
    other.kill()
print(make_room({controller!r}), make_room({controller!r}))
print(Path("/proc/self/cgroup").read_text().split("::")[1].split("/")[-1].strip())
print((group / "cgroup.subtree_control").read_text().strip())
"""
    try:
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    finally:
        for path in (group / cgroups.LEAF, group, group.parent):
            if path.exists():
                path.rmdir()
    beside, alone, own, given = done.stdout.splitlines()
    # Beside another process in the group it cannot be done, and nothing is left of the attempt.
    assert beside == "False []"
    assert alone == "True False"
    assert own == cgroups.LEAF
    assert given == controller


def test_without_a_cgroup_it_pauses_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroups, "_mounts", lambda *_: [])
    monkeypatch.setenv("REGRAFT_CGROUP", str(tmp_path / "nowhere"))
    assert hold(30).enforced_by == "pause"
    assert "nowhere does not exist" in cgroups.why_no_quota()
    with pytest.raises(ShareError, match="nowhere does not exist"):
        hold(30, by="cgroup")


@pytest.mark.parametrize("share_pct", [0, -5, 100.5, float("nan")])
def test_a_share_outside_its_range_is_refused(share_pct: float) -> None:
    with pytest.raises(ShareError, match="at most 100"):
        hold(share_pct)
    with pytest.raises(MpsError, match="at most 100"):
        shares.mps_environment(share_pct)


def test_a_core_that_may_not_be_used_is_refused_with_those_that_may() -> None:
    with pytest.raises(ShareError, match="may run on"):
        hold(50, core=4096, by="none")


def test_a_process_is_pinned_to_its_core() -> None:
    program = (
        "import os; from runtime.shares import hold\n"
        "core = max(os.sched_getaffinity(0)); hold(50, core=core, by='none')\n"
        "assert os.sched_getaffinity(0) == {core}"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_environment_chooses_the_kind_and_nonsense_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGRAFT_SHARES", "pause")
    assert hold(50).enforced_by == "pause"
    monkeypatch.setenv("REGRAFT_SHARES", "sometimes")
    with pytest.raises(ShareError, match="expected auto, cgroup, pause or none"):
        hold(50)


def test_a_gpu_workers_environment_holds_its_share_and_its_memory() -> None:
    assert shares.mps_environment(25, 2048) == {
        "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": "25",
        "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT": "0=2048M",
    }
    assert shares.mps_environment(12.5) == {"CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": "12.5"}


def test_without_mps_a_gpu_worker_pauses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("CUDA_MPS_ACTIVE_THREAD_PERCENTAGE", "25")
    assert hold(25, device="cuda").enforced_by == "pause"


class TestMpsDaemon:
    """The control daemon's protocol, spoken by a small program of that name."""

    @pytest.fixture
    def control(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        pipes, log = tmp_path / "pipes", tmp_path / "asked"
        program = tmp_path / "bin" / mps.CONTROL
        program.parent.mkdir()
        program.write_text(
            "#!/bin/sh\n"
            f'if [ "$1" = -d ]; then mkdir -p {pipes}; touch {pipes}/control; exit; fi\n'
            f"read question; echo $question >> {log}\n"
            "case $question in\n"
            "get_server_list) printf '4711\\n4712\\n';;\n"
            "get_default_active_thread_percentage) echo 80.0;;\n"
            f"quit) rm {pipes}/control;;\n"
            "*) echo 'what?' >&2; exit 1;;\n"
            "esac\n"
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
        monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(pipes))
        monkeypatch.setenv("CUDA_MPS_LOG_DIRECTORY", str(tmp_path / "log"))
        return log

    def test_it_is_started_asked_and_stopped(self, control: Path) -> None:
        before = mps.probe()
        assert (before.installed, before.running) == (True, False)
        assert "-d" in before.problem
        assert not control.exists()  # a daemon that is not there is not asked
        daemon = mps.start()
        assert daemon.running
        assert daemon.servers == (4711, 4712)
        assert daemon.default_pct == 80.0
        mps.stop()
        assert not mps.probe().running

    @pytest.mark.usefixtures("control")
    def test_a_worker_under_it_is_held_by_mps_and_cannot_change(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        mps.start()
        monkeypatch.setenv("CUDA_MPS_ACTIVE_THREAD_PERCENTAGE", "25")
        share = hold(25, device="cuda")
        assert share.enforced_by == "mps"
        with pytest.raises(ShareError, match="start a new process"):
            share.change(50)

    def test_where_it_is_missing_the_error_says_what_to_install(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", "/nonexistent")
        assert not mps.probe().installed
        with pytest.raises(MpsError, match="NVIDIA driver"):
            mps.start()


@pytest.mark.gpu
def test_mps_gives_a_process_the_multiprocessors_of_its_share() -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU here")
    if not mps.probe().installed:
        pytest.skip(mps.probe().problem)
    started = not mps.probe().running
    mps.start()
    program = (
        "import torch; from runtime.shares import hold\n"
        "torch.zeros(1, device='cuda'); share = hold(25, device='cuda')\n"
        "print(share.enforced_by, share.effective_pct())"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, **shares.mps_environment(25, 4096)},
            capture_output=True,
            text=True,
            check=True,
        )
    finally:
        if started:
            mps.stop()
    kind, effective = done.stdout.split()
    assert kind == "mps"
    assert float(effective) == pytest.approx(25, abs=4)
