"""Two machines serve one plan: the guarantees are those of one machine.

The machines are agents on two loopback addresses whose workers listen on TCP alone. Where the kernel lets
us, the second has a clock of its own, a day ahead.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.cluster import (
    SLOW,
    TINY,
    Cluster,
    Load,
    Process,
    assignment_of,
    client_of,
    cluster_in,
    get,
    ready,
    route,
    stage,
    wait_for,
)

OTHER_CLOCK = ("unshare", "--time", "--monotonic=86400", "--fork", "--kill-child")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with cluster_in(tmp_path) as cluster:
        yield cluster


def other_clock() -> tuple[str, ...]:
    """The command that gives a process a clock of its own; none where that is not allowed."""
    try:
        done = subprocess.run([*OTHER_CLOCK, "true"], capture_output=True, check=False)
    except OSError:
        return ()
    return OTHER_CLOCK if done.returncode == 0 else ()


def two_machines(cluster: Cluster, *, prefix: tuple[str, ...] = ()) -> tuple[Process, Process, Process]:
    first = cluster.agent("node-a", 2, "--tcp-only")
    second = cluster.agent("node-b", 2, "--tcp-only", "--host=127.0.0.2", prefix=prefix)
    return first, second, cluster.gateway(first, second)


def deploy(
    cluster: Cluster, generation: int, stages: list[dict[str, Any]], routes: list[dict[str, Any]]
) -> None:
    """Every stage's even instances on the first machine, odd ones on the second; stage n on its core n."""
    names = [each["id"] for each in stages]

    def home(of: str) -> Any:
        return lambda name, instance: (
            f"{of}/cpu-{names.index(name)}" if of == ("node-a", "node-b")[instance % 2] else None
        )

    cluster.service.assign(
        node_a=assignment_of(generation, stages, routes, nodes=home("node-a")),
        node_b=assignment_of(generation, stages, routes, nodes=home("node-b")),
    )


def pids(cluster: Cluster, node: str) -> set[int]:
    return {worker["pid"] for worker in cluster.service.status(node)["workers"]}


@pytest.mark.slow
def test_a_machine_is_lost_and_a_plan_is_changed_under_load(cluster: Cluster) -> None:
    first, second, gateway = two_machines(cluster)
    stages = [stage("s0", TINY, 0, 1, instances=2), stage("s1", TINY, 1, 3, instances=2)]
    routes = [route("phone-0", TINY, 0, ["s0", "s1"]), route("phone-1", TINY, 1, ["s1"])]
    deploy(cluster, 1, stages, routes)
    wait_for(lambda: ready(gateway), what="routed generation")
    tables = [get(f"{agent.url}/table")[1]["generations"][0]["workers"] for agent in (first, second)]
    hosts = [
        {endpoint.split(":")[1] for worker in workers for endpoint in worker["endpoints"]}
        for workers in tables
    ]
    assert hosts == [{"127.0.0.1"}, {"127.0.0.2"}]

    # Another share is another worker on either machine, beside the old one.
    load = Load(gateway, [client_of(each) for each in routes], seconds=6)
    before = pids(cluster, "node-a") | pids(cluster, "node-b")
    deploy(cluster, 2, [{**each, "share": 50} for each in stages], routes)
    wait_for(lambda: cluster.serving(2, "node-a") and cluster.serving(2, "node-b"), what="generation 2 alone")
    assert not before & (pids(cluster, "node-a") | pids(cluster, "node-b"))
    totals = load.result()
    assert totals["answered"] == totals["sent"] > 300
    assert totals["wrong"] == 0

    # One machine is gone at once, with all that it was given: the other has both stages.
    load = Load(gateway, [client_of(each) for each in routes], seconds=3)
    wait_for(lambda: second.process.poll() is None, what="load")
    assert second.stop(signal.SIGKILL) == -signal.SIGKILL
    totals = load.result()
    assert totals["answered"] == totals["sent"] > 150, totals["complaints"]
    assert totals["wrong"] == 0


def test_deadlines_hold_on_a_machine_with_another_clock(cluster: Cluster) -> None:
    prefix = other_clock()
    if not prefix:
        pytest.skip("no time namespaces here (they take root and Linux 5.6)")
    _, second, gateway = two_machines(cluster, prefix=prefix)
    # Both stages' work is on the second machine; a batch there takes 30 ms.
    stages = [stage("slow", SLOW, 0, 3, batch=1)]
    routes = [route("patient", SLOW, 0, ["slow"]), route("hasty", SLOW, 0, ["slow"])]
    cluster.service.assign(
        node_a=assignment_of(1, stages, routes, nodes=lambda *_: None),
        node_b=assignment_of(1, stages, routes, nodes=lambda *_: "node-b/cpu-0"),
    )
    wait_for(lambda: ready(gateway), what="routed generation")
    assert second.listening().startswith("http://127.0.0.2:")
    patient = {**client_of(routes[0], rate_rps=10), "budget_ms": 20_000.0}
    # Twice what the stage can do, with room for two in the queue: a clock a day off would drop all, or none.
    hasty = {**client_of(routes[1], rate_rps=50), "budget_ms": 100.0}
    result = Load(gateway, [patient, hasty], seconds=3).detail()
    served, dropped = result["clients"]
    assert served["answered"] == served["sent"] >= 29
    assert dropped["dropped"] > 0.1 * dropped["sent"]
    assert dropped["answered"] > 0.1 * dropped["sent"]
    # Whoever started it passes no other signal on.
    second.stop(signal.SIGKILL)
