"""An agent, its workers and a gateway through what happens to machines: deaths, outages, restarts."""

from __future__ import annotations

import os
import signal
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.runtime.cluster import (
    SLOW,
    TINY,
    Cluster,
    Load,
    Process,
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


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with cluster_in(tmp_path) as cluster:
        yield cluster


ROUTES = [route("phone-0", TINY, 0, ["s0", "s1"]), route("phone-1", TINY, 1, ["s1"])]
STAGES = [stage("s0", TINY, 0, 1, share=50), stage("s1", TINY, 1, 3, share=50)]


def serving(cluster: Cluster, assignment: dict[str, Any] | None = None) -> tuple[Process, Process]:
    """An agent and a gateway that serve this, or two stages."""
    assignment = assignment or assignment_of(1, STAGES, ROUTES)
    cluster.service.assign(node_a=assignment)
    agent = cluster.agent()
    gateway = cluster.gateway(agent)
    wait_for(lambda: ready(gateway), what="routed generation")
    wait_for(lambda: cluster.serving(assignment["generation"]), what="report")
    return agent, gateway


def workers(cluster: Cluster, node: str = "node-a") -> dict[tuple[str, int], dict[str, Any]]:
    """What the node reports, by stage and instance."""
    return {(w["stage"], w["instance"]): w for w in cluster.service.status(node)["workers"]}


def metrics_of(address: str) -> str:
    """Metrics of an agent or a gateway, as Prometheus reads them."""
    with urllib.request.urlopen(f"{address}/metrics", timeout=10) as response:
        text: str = response.read().decode()
        return text


def answered(gateway: str) -> float:
    """Requests that a gateway has answered."""
    families = text_string_to_metric_families(metrics_of(gateway))
    samples = (sample for family in families for sample in family.samples)
    return sum(sample.value for sample in samples if sample.name == "regraft_gateway_answered_total")


def test_a_machine_offers_its_devices_and_reports_what_really_runs(cluster: Cluster) -> None:
    serving(cluster)
    node = cluster.service.nodes["node-a"]
    assert node["gpus"] == [{"id": "node-a/cpu-0", "type": "cpu", "memory_mb": 4000.0}]
    assert get(f"{node['address']}/livez") == (200, {"agent": "node-a"})
    assert cluster.service.keys == {"Bearer key-of-the-test"}
    for worker in workers(cluster).values():
        assert worker["gpu"] == "node-a/cpu-0"
        assert worker["share_pct"] == 50
        assert worker["effective_share_pct"] == pytest.approx(50, abs=2)
        assert worker["enforced_by"] in ("cgroup-v1", "cgroup-v2", "pause")
        assert alive(worker["pid"])
    address = node["address"]
    # A worker's first report comes a second after its start.
    wait_for(lambda: metrics_of(address).count("\nregraft_worker_used_share_pct{") == 2, what="reports")
    text = metrics_of(address)
    assert 'regraft_device_allocated_share_pct{gpu="node-a/cpu-0"} 100.0' in text
    assert 'regraft_agent_workers{state="ready"} 2.0' in text
    told = {
        (sample.name, sample.labels.get("stage")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    for name in ("s0", "s1"):
        assert 0 <= told["regraft_worker_used_share_pct", name] < 100
        assert 10 << 20 < told["regraft_worker_memory_bytes", name] < 1 << 30
    assert 'regraft_worker_share_pct{gpu="node-a/cpu-0",stage="s0",stage_instance="0"} 50.0' in text


def test_a_worker_killed_under_load_costs_no_request(cluster: Cluster) -> None:
    _, gateway = serving(cluster)
    load = Load(gateway, [client_of(each) for each in ROUTES], seconds=4)
    time.sleep(1)
    victim = workers(cluster)["s1", 0]["pid"]
    os.kill(victim, signal.SIGKILL)
    killed = time.monotonic()
    wait_for(lambda: workers(cluster)["s1", 0]["pid"] != victim, what="notice of the death", timeout_s=10)
    assert time.monotonic() - killed < 5  # within 1 s on a machine that does nothing else
    wait_for(lambda: cluster.serving(1), what="new worker")
    assert workers(cluster)["s1", 0]["restarts"] == 1
    totals = load.result()
    assert totals["answered"] == totals["sent"] > 300, totals
    assert totals["wrong"] == 0


def test_a_worker_that_hangs_is_restarted(cluster: Cluster) -> None:
    cluster.service.assign(node_a=assignment_of(1, STAGES, ROUTES))
    agent = cluster.agent("node-a", 1, "--hung-after-s=2")
    wait_for(lambda: cluster.serving(1), what="report")
    victim = workers(cluster)["s1", 0]["pid"]
    os.kill(victim, signal.SIGSTOP)
    wait_for(lambda: "hung: said nothing for 2 s" in agent.log.read_text(), what="notice", timeout_s=20)
    wait_for(lambda: workers(cluster)["s1", 0]["pid"] not in (None, victim), what="new worker")
    wait_for(lambda: cluster.serving(1), what="report")
    assert workers(cluster)["s1", 0]["restarts"] == 1
    assert workers(cluster)["s0", 0]["restarts"] == 0


def test_what_a_killed_worker_had_goes_to_another_while_it_can_be_on_time(cluster: Cluster) -> None:
    stages = [stage("s", SLOW, 0, 3, batch=2, share=50, instances=2)]
    assignment = assignment_of(1, stages, [route("phone-0", SLOW, 0, ["s"])])
    agent, gateway = serving(cluster, assignment)
    # Two a batch of 30 ms on each of two: fast enough for one of them alone, too fast to be idle.
    load = Load(gateway, [client_of(assignment["routes"][0], rate_rps=40)], seconds=3)
    time.sleep(1)
    victim = workers(cluster)["s", 0]["pid"]
    os.kill(victim, signal.SIGKILL)
    # The agent sees it at once; the gateway too, and it has another to go to.
    wait_for(lambda: "worker died" in agent.log.read_text(), what="notice of the death", timeout_s=10)
    totals = load.result()
    assert totals["answered"] == totals["sent"] > 100, totals
    assert totals["wrong"] == 0


def test_an_agent_killed_leaves_nothing_behind_and_comes_back_without_the_service(cluster: Cluster) -> None:
    agent, gateway = serving(cluster)
    pids = [worker["pid"] for worker in workers(cluster).values()]
    port = agent.url.rsplit(":", 1)[1]
    agent.stop(signal.SIGKILL)
    wait_for(lambda: not any(map(alive, pids)), what="end of the workers", timeout_s=10)
    cluster.service.stop()
    cluster.agent("node-a", 1, f"--port={port}")
    wait_for(lambda: ready(gateway), what="routed generation")
    totals = Load(gateway, [client_of(each) for each in ROUTES], seconds=1).result()
    assert totals["answered"] == totals["sent"] > 50
    cluster.service.statuses.clear()
    cluster.service.start()
    wait_for(lambda: cluster.serving(1), what="report once the service is back")


def test_an_agent_goes_on_while_the_service_is_away(cluster: Cluster) -> None:
    _, gateway = serving(cluster)
    load = Load(gateway, [client_of(each) for each in ROUTES], seconds=3)
    cluster.service.stop()
    time.sleep(1.5)
    cluster.service.statuses.clear()
    cluster.service.start()
    totals = load.result()
    assert totals["answered"] == totals["sent"] > 200
    wait_for(lambda: cluster.serving(1), what="report once the service is back")


def test_told_to_stop_an_agent_lets_requests_out_and_leaves_nothing_behind(cluster: Cluster) -> None:
    assignment = assignment_of(1, [stage("s", SLOW, 0, 3, batch=1)], [route("phone-0", SLOW, 0, ["s"])])
    agent, gateway = serving(cluster, assignment)
    [pid] = [worker["pid"] for worker in workers(cluster).values()]
    load = Load(gateway, [client_of(assignment["routes"][0], rate_rps=20)], seconds=2)
    wait_for(lambda: answered(gateway.url) >= 5, what="answers")
    assert agent.stop() == 0
    assert not alive(pid)
    totals = load.result()
    # What was accepted is answered; what came later was refused, and not lost in silence.
    assert totals["answered"] >= 5
    assert totals["errors"] == 0, totals
    assert totals["sent"] == totals["answered"] + totals["dropped"] + totals["refused"]


def test_a_wrong_key_is_said_at_the_start(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGRAFT_KEY", "ignored: the file counts")
    key = cluster.directory / "key"
    key.write_text("wrong\n")
    agent = cluster.agent("node-a", 1, f"--key-file={key}")
    assert agent.process.wait(60) == 2
    assert "401: no such key" in agent.log.read_text()


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        ("--gpu=node-a/cpu-0", "expected id:type:memory_mb"),
        ("--gpu=node-a/cpu-0:cpu:4000", "the same id is given twice"),
        ("--key-file=/nonexistent/key", "/nonexistent/key"),
    ],
)
def test_wrong_options_are_refused(cluster: Cluster, option: str, complaint: str) -> None:
    agent = cluster.agent("node-a", 1, option)
    assert agent.process.wait(60) == 2
    assert complaint in agent.log.read_text()


def test_two_agents_cannot_share_a_state_directory(cluster: Cluster) -> None:
    cluster.agent().listening()
    second = cluster.agent()
    assert second.process.wait(60) == 2
    assert "another agent uses" in second.log.read_text()
