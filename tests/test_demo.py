"""`make serve`: the demo with one small model, kept running, used by hand, and ended by a signal."""

from __future__ import annotations

import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from planner import formats
from planner.workload import Workload

# The command as it is, with one small model in the place of its three.
PROGRAM = """
import dataclasses
from api.command_line import main
from api.demo import fleet
first = fleet.FLEETS[0]
fleet.FLEETS = (
    dataclasses.replace(
        first, model="shufflenet_v2_x0_5", phones=2, rate_rps=2.0, shares="50,100", seconds=2
    ),
)
main()
"""
MARK = "REGRAFT_DEMO_TEST"


class Demo:
    """A demo in a process of its own, and everything that it started."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.log = folder / "demo.log"
        self.state = folder / "state"
        self._mark = str(folder)
        command = [sys.executable, "-c", PROGRAM, "demo", "--state", str(self.state), *arguments]
        # Without what would have the demo look elsewhere.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("REGRAFT_")}
        with self.log.open("wb") as log:
            self.process = psutil.Popen(
                command,
                env={**inherited, MARK: self._mark},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait_for(self, what: str, true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 200
        while not true():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, f"waited in vain for {what}:\n{self.log.read_text()}"
            time.sleep(0.1)

    def family(self) -> list[psutil.Process]:
        """All processes that inherited this demo's environment, itself included."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == self._mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue  # it has just ended, or is somebody else's
        return found

    def assert_nothing_is_left(self) -> None:
        # What was killed takes a moment to be gone.
        _, alive = psutil.wait_procs(self.family(), timeout=1)
        assert alive == []

    def kill(self) -> None:
        for process in self.family():
            process.kill()
        self.process.wait(10)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Demo]]:
    started: list[Demo] = []

    def begin(*arguments: str) -> Demo:
        started.append(Demo(tmp_path, *arguments))
        return started[-1]

    yield begin
    for demo in started:
        demo.kill()


@pytest.mark.slow
def test_the_served_system_is_documented_answers_and_ends_with_all_its_processes(
    start: Callable[..., Demo],
) -> None:
    # What it judges by the clock is not the question here.
    demo = start("--serve", "--seconds", "1", "--time-limit", "5", "--measuring", "0.5", "--on-time", "0")
    demo.wait_for("the end of the demo's steps", lambda: "Ctrl-C ends it" in demo.log.read_text())
    demo.wait_for("the addresses", lambda: "/v2 " in demo.log.read_text())
    shown = demo.log.read_text()
    documentation, inference = (
        re.search(rf"^{name} +(http\S+)", shown, re.MULTILINE) for name in ("API documentation", "inference")
    )
    assert documentation is not None
    assert inference is not None
    (folder,) = demo.state.glob("run-*")

    with httpx.Client(timeout=30) as http:
        # The page of the API's documentation and all that it loads come from the service itself.
        page = http.get(documentation[1])
        assert page.status_code == 200
        loaded = re.findall(r"""(?:src|href)=["']([^"']+)["']""", page.text)
        assert any(address.endswith(".js") for address in loaded)
        assert "//" not in "".join(loaded), loaded
        assert [address for address in loaded if not http.get(page.url.join(address)).is_success] == []
        key = (folder / "demo.key").read_text().strip()
        plans = http.get(page.url.join("/v1/plans"), headers={"Authorization": f"Bearer {key}"})
        assert len(plans.json()["items"]) >= 1

        # An answer of the gateway, to what the first phone would send.
        fragment = formats.read(Workload, folder / "workload.json").fragments[0]
        address = f"{inference[1]}/models/{fragment.model}@{fragment.start}"
        (tensor,) = http.get(address).json()["inputs"]
        shape = [1, *tensor["shape"][1:]]
        numbers = [0.5] * math.prod(shape)
        sent = {"name": tensor["name"], "shape": shape, "datatype": tensor["datatype"], "data": numbers}
        answer = http.post(f"{address}/infer", json={"inputs": [sent]})
        assert answer.status_code == 200, answer.text
        (output,) = answer.json()["outputs"]
        assert output["shape"] == [1, 1000]
        assert all(math.isfinite(number) for number in output["data"])

    assert len(demo.family()) >= 4, "the demo, a service, an agent and a gateway"
    demo.process.send_signal(signal.SIGTERM)
    assert demo.process.wait(60) == 0, demo.log.read_text()
    demo.assert_nothing_is_left()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_in_the_middle_leaves_no_process_behind(start: Callable[..., Demo], name: str) -> None:
    demo = start()
    # The profiler has a child that measures.
    demo.wait_for("the measuring of a model", lambda: len(demo.family()) >= 3)
    demo.process.send_signal(signal.Signals[name])
    assert demo.process.wait(60) == 128 + signal.Signals[name]
    demo.assert_nothing_is_left()
