"""Workers on a GPU: held by MPS, with the answers of the whole model. Skipped where there is no GPU."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime import mps
from tests.runtime.cluster import Cluster, Load, assignment_of, cluster_in, ready, route, stage, wait_for

pytestmark = pytest.mark.gpu

MODEL = "resnet18"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU here")
    if not mps.probe().installed:
        pytest.skip(mps.probe().problem)
    started = not mps.probe().running
    mps.start()
    try:
        with cluster_in(tmp_path) as cluster:
            yield cluster
    finally:
        if started:
            mps.stop()


def test_two_stages_side_by_side_hold_their_shares_and_answer_as_the_whole_model(cluster: Cluster) -> None:
    agent = cluster.agent("node-a", 0)
    gateway = cluster.gateway(agent)
    wait_for(lambda: "node-a" in cluster.service.nodes, what="registered agent")
    [gpu, *_] = (offer["id"] for offer in cluster.service.nodes["node-a"]["gpus"])
    stages = [stage("a", MODEL, 0, 4, share=25), stage("b", MODEL, 4, 10, share=50)]
    routes = [route("phone", MODEL, 0, ["a", "b"]), route("late", MODEL, 4, ["b"])]
    assignment = assignment_of(1, stages, routes, nodes=lambda *_: gpu)
    for worker in assignment["workers"]:
        worker["memory_mb"] = 4096.0
    cluster.service.assign(node_a=assignment)
    wait_for(lambda: cluster.serving(1), what="workers on the GPU", timeout_s=90)
    held = {worker["stage"]: worker for worker in cluster.service.status("node-a")["workers"]}
    for name, share in (("a", 25), ("b", 50)):
        assert held[name]["enforced_by"] == "mps"
        assert held[name]["effective_share_pct"] == pytest.approx(share, abs=4)
    wait_for(lambda: ready(gateway), what="routed generation")
    clients = [
        {"fragment": name, "model": MODEL, "start": start, "rate_rps": 20.0, "budget_ms": 2000.0}
        for name, start in (("phone", 0), ("late", 4))
    ]
    result = Load(gateway, clients, seconds=3).result()
    assert result["answered"] == result["sent"] > 100
    assert result["wrong"] == 0


def test_a_worker_that_needs_more_memory_than_it_was_given_fails_and_says_so(cluster: Cluster) -> None:
    cluster.agent("node-a", 0)
    wait_for(lambda: "node-a" in cluster.service.nodes, what="registered agent")
    [gpu, *_] = (offer["id"] for offer in cluster.service.nodes["node-a"]["gpus"])
    assignment = assignment_of(
        1, [stage("a", "vgg11", 0, 11, share=25)], [route("p", "vgg11", 0, ["a"])], nodes=lambda *_: gpu
    )
    # Its weights alone are 507 MB.
    assignment["workers"][0]["memory_mb"] = 300.0
    cluster.service.assign(node_a=assignment)

    def failed() -> bool:
        workers = cluster.service.status("node-a")["workers"]
        return bool(workers) and workers[0]["restarts"] > 0 and "memory" in workers[0]["detail"].lower()

    wait_for(failed, what="failed worker", timeout_s=60)
