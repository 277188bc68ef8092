"""From one deployed plan to the next, under load."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.runtime.cluster import (
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


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with cluster_in(tmp_path) as cluster:
        yield cluster


def workers(cluster: Cluster, node: str = "node-a") -> dict[tuple[str, int], dict[str, Any]]:
    return {(w["stage"], w["instance"]): w for w in cluster.service.status(node)["workers"]}


FIRST = assignment_of(
    1,
    [stage("s0", TINY, 0, 1, share=50), stage("s1", TINY, 1, 3, share=50)],
    [route("phone-0", TINY, 0, ["s0", "s1"]), route("phone-1", TINY, 1, ["s1"])],
)


def test_a_change_of_plan_under_load_costs_no_request(cluster: Cluster) -> None:
    cluster.service.assign(node_a=FIRST)
    agent = cluster.agent()
    gateway = cluster.gateway(agent)
    wait_for(lambda: ready(gateway), what="routed generation")
    wait_for(lambda: cluster.serving(1), what="report")
    before = workers(cluster)
    load = Load(gateway, [client_of(each) for each in FIRST["routes"]], seconds=6)
    time.sleep(1)
    # s0 becomes another stage at another share; s1 stays what it is, under another name; phone-1 moves.
    second = assignment_of(
        2,
        [stage("a", TINY, 0, 3, share=40), stage("b", TINY, 1, 3, share=50)],
        [route("phone-0", TINY, 0, ["a"]), route("phone-1", TINY, 1, ["b"])],
    )
    cluster.service.assign(node_a=second)
    wait_for(lambda: cluster.serving(2), what="second generation")
    after = workers(cluster)
    assert set(after) == {("a", 0), ("b", 0)}
    assert after["b", 0]["pid"] == before["s1", 0]["pid"]
    assert after["b", 0]["restarts"] == 0
    # It stood back while it started beside the others, and does so no more.
    nice = {psutil.Process(worker["pid"]).nice() for worker in after.values()}
    assert nice == {psutil.Process(agent.process.pid).nice()}
    wait_for(lambda: not alive(before["s0", 0]["pid"]), what="end of the old worker", timeout_s=20)
    # And back again: a roll back is a new generation too.
    cluster.service.assign(node_a={**FIRST, "generation": 3})
    wait_for(lambda: cluster.serving(3), what="third generation")
    totals = load.result()
    assert totals["answered"] == totals["sent"] > 400, totals
    assert totals["wrong"] == 0


def test_a_plan_that_cannot_start_leaves_the_old_one_serving(cluster: Cluster) -> None:
    cluster.service.assign(node_a=FIRST)
    agent = cluster.agent()
    gateway = cluster.gateway(agent)
    wait_for(lambda: ready(gateway), what="routed generation")
    broken = assignment_of(
        2,
        [stage("s", "tests.runtime.tiny_models:missing", 0, 1), stage("t", TINY, 0, 3)],
        [route("phone-0", TINY, 0, ["t"])],
    )
    cluster.service.assign(node_a=broken)
    wait_for(
        lambda: workers(cluster).get(("s", 0), {}).get("restarts", 0) >= 2,
        what="report of the failing worker",
    )
    failing = workers(cluster)["s", 0]
    assert failing["state"] in ("failed", "starting")
    wait_for(lambda: "missing" in workers(cluster)["s", 0]["detail"], what="reason")
    totals = Load(gateway, [client_of(each) for each in FIRST["routes"]], seconds=1).result()
    assert totals["answered"] == totals["sent"] > 50
    # The next one does not wait for the broken one, which goes without having been routed.
    cluster.service.assign(node_a={**FIRST, "generation": 3})
    wait_for(lambda: cluster.serving(3), what="third generation")
    assert {tuple(g["generation"] for g in get(f"{agent.url}/table")[1]["generations"])} == {(3,)}


def test_an_older_generation_is_refused(cluster: Cluster) -> None:
    cluster.service.assign(node_a={**FIRST, "generation": 5})
    agent = cluster.agent()
    wait_for(lambda: cluster.serving(5), what="generation 5")
    pids = {worker["pid"] for worker in workers(cluster).values()}
    cluster.service.assign(node_a={**FIRST, "generation": 4})
    wait_for(lambda: "older than 5" in agent.log.read_text(), what="refusal")
    time.sleep(0.5)
    assert cluster.serving(5)
    assert {worker["pid"] for worker in workers(cluster).values()} == pids


def test_a_device_that_is_not_there_is_reported_and_harms_no_other(cluster: Cluster) -> None:
    stages = [stage("s", TINY, 0, 3, instances=2)]
    cluster.service.assign(
        node_a=assignment_of(
            1,
            stages,
            [route("phone-0", TINY, 0, ["s"])],
            nodes=lambda _, instance: f"node-a/cpu-{instance * 7}",
        )
    )
    cluster.agent()
    wait_for(lambda: workers(cluster).get(("s", 0), {}).get("state") == "ready", what="first worker")
    wait_for(lambda: "no device 'node-a/cpu-7'" in workers(cluster)["s", 1]["detail"], what="report")


def test_two_machines_serve_one_plan_over_the_network(cluster: Cluster) -> None:
    stages = [stage("s0", TINY, 0, 1), stage("s1", TINY, 1, 3, instances=2)]
    routes = [route("phone-0", TINY, 0, ["s0", "s1"]), route("phone-1", TINY, 1, ["s1"])]
    homes = {("s0", 0): "node-a/cpu-0", ("s1", 0): "node-b/cpu-0", ("s1", 1): "node-a/cpu-0"}
    cluster.service.assign(
        **{
            f"node_{letter}": assignment_of(
                1,
                stages,
                routes,
                nodes=lambda s, i, prefix=f"node-{letter}": (
                    homes[s, i] if homes[s, i].startswith(prefix) else None
                ),
            )
            for letter in "ab"
        }
    )
    first = cluster.agent("node-a", 1, "--tcp-only")
    second = cluster.agent("node-b", 1, "--tcp-only", "--host=127.0.0.2")
    gateway = cluster.gateway(first, second)
    wait_for(lambda: ready(gateway), what="routed generation")
    endpoints = [
        endpoint
        for url in (first.url, second.url)
        for generation in get(f"{url}/table")[1]["generations"]
        for worker in generation["workers"]
        for endpoint in worker["endpoints"]
    ]
    assert {endpoint.rsplit(":", 1)[0] for endpoint in endpoints} == {"tcp:127.0.0.1", "tcp:127.0.0.2"}
    load = Load(gateway, [client_of(each) for each in routes], seconds=2)
    totals = load.result()
    assert totals["answered"] == totals["sent"] > 100
    assert totals["wrong"] == 0
