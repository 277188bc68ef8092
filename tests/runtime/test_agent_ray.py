"""Workers as Ray actors: on several nodes, each holding its fraction, and the guarantees are the same."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.cluster import (
    REPOSITORY,
    TINY,
    Cluster,
    Load,
    alive,
    assignment_of,
    client_of,
    cluster_in,
    get,
    ready,
    route,
    stage,
    wait_for,
)

if importlib.util.find_spec("ray") is None:
    pytest.skip("Ray is not installed (regraft[ray])", allow_module_level=True)


class RayNodes:
    """Two Ray nodes of one CPU each, on this machine."""

    def __init__(self, directory: Path) -> None:
        with (directory / "ray.log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.runtime.ray_cluster", "2"],
                cwd=REPOSITORY,
                env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        first = self._line()
        self.address = first["address"]

    def state(self, question: str = "state") -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(question + "\n")
        self._process.stdin.flush()
        return self._line()

    def close(self) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
        try:
            self._process.wait(20)
        finally:
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()

    def _line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the Ray cluster has died"
        return json.loads(line)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayNodes]:
    found = RayNodes(tmp_path_factory.mktemp("ray"))
    yield found
    found.close()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with cluster_in(tmp_path) as cluster:
        yield cluster


@pytest.mark.slow
def test_a_plan_is_served_by_actors_on_several_nodes(nodes: RayNodes, cluster: Cluster) -> None:
    agent = cluster.agent("farm", 0, f"--ray={nodes.address}")
    agent.listening()
    wait_for(lambda: "farm" in cluster.service.nodes, what="registered agent")
    gpus = [gpu["id"] for gpu in cluster.service.nodes["farm"]["gpus"]]
    assert len(gpus) == 2
    assert len({gpu.rsplit("-cpu-", 1)[0] for gpu in gpus}) == 2

    # A stage on each node, a second instance of the later one beside the first stage.
    homes = {("a", 0): gpus[0], ("b", 0): gpus[1], ("b", 1): gpus[0]}
    stages = [stage("a", TINY, 0, 1, share=25), stage("b", TINY, 1, 3, share=50, instances=2)]
    routes = [route("phone-0", TINY, 0, ["a", "b"]), route("phone-1", TINY, 1, ["b"])]
    assignment = assignment_of(1, stages, routes, nodes=lambda s, i: homes[s, i])
    cluster.service.assign(farm=assignment)
    gateway = cluster.gateway(agent)
    wait_for(lambda: cluster.serving(1, "farm") and ready(gateway), what="workers as actors", timeout_s=120)
    # The actors hold 25, 50 and 50 percent of two CPUs.
    wait_for(lambda: nodes.state()["free_cpus"] == pytest.approx(0.75), what="fractions held")
    [generation] = get(f"{agent.url}/table")[1]["generations"]
    endpoints = [endpoint for worker in generation["workers"] for endpoint in worker["endpoints"]]
    assert len(endpoints) == 3
    assert all(endpoint.startswith("tcp:") for endpoint in endpoints)

    # One worker is killed under load: it is restarted, and no request is lost.
    load = Load(gateway, [client_of(each) for each in routes], seconds=3)
    victim = worker(cluster, "b", 1)
    os.kill(victim["pid"], signal.SIGKILL)
    wait_for(
        lambda: (
            worker(cluster, "b", 1)["restarts"] == 1
            and worker(cluster, "b", 1)["state"] == "ready"
            and worker(cluster, "b", 1)["pid"] != victim["pid"]
        ),
        what="restarted worker",
    )
    totals = load.result()
    assert totals["answered"] == totals["sent"] > 150
    assert totals["wrong"] == 0

    # An agent that is told to end lets go of everything.
    pids = [each["pid"] for each in cluster.service.status("farm")["workers"]]
    assert agent.stop() == 0
    wait_for(lambda: not any(alive(pid) for pid in pids), what="end of the workers")
    wait_for(lambda: nodes.state()["free_cpus"] == pytest.approx(2.0), what="CPUs given back")


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nonsense"])
def test_a_cluster_that_is_not_there_is_named(cluster: Cluster, address: str) -> None:
    agent = cluster.agent("farm", 0, f"--ray={address}")
    assert agent.process.wait(60) == 2
    assert f"--ray {address}: " in agent.log.read_text()


def worker(cluster: Cluster, name: str, instance: int) -> dict[str, Any]:
    """What the agent reports of one instance."""
    found: dict[str, Any] = next(
        each
        for each in cluster.service.status("farm")["workers"]
        if (each["stage"], each["instance"]) == (name, instance)
    )
    return found
