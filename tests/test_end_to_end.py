"""The whole path, real processes and a tiny model: measured, planned, stored, deployed, served, killed."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from api.demo import system as demo_system
from api.processes import Family, family, output_of
from planner import formats, laws
from planner.profile import Profile
from planner.workload import Fragment, Workload

MODEL = "tests.runtime.tiny_models:slow"


@pytest.fixture
def members(tmp_path: Path) -> Iterator[Family]:
    with family(tmp_path, {"REGRAFT_CACHE": str(tmp_path / "models")}) as started:
        yield started


@pytest.fixture
def profile(members: Family, tmp_path: Path) -> Profile:
    folder = tmp_path / "profiles"
    arguments = ["--batches", "1,2", "--shares", "50,100", "--seconds", "1", "--gpu", "cpu"]
    child = members.start("profile", ["profile", MODEL, "--output", str(folder), *arguments])
    child.process.wait(60)
    assert child.finished()
    (file,) = (path for path in folder.iterdir() if path.suffix == ".json" and "partial" not in path.name)
    return formats.read(Profile, file)


@pytest.fixture
def system(members: Family, tmp_path: Path) -> Iterator[demo_system.System]:
    with demo_system.start(members, tmp_path) as running:
        yield running


def workload_of(profile: Profile) -> Workload:
    fragments = [
        Fragment(id=f"phone-{start}-{n}", model=MODEL, start=start, budget_ms=2000.0, rate_rps=2.0)
        for start in range(profile.depth)
        for n in range(2)
    ]
    return Workload(fragments=tuple(fragments))


@pytest.mark.slow
def test_what_was_measured_and_planned_is_served_and_outlives_a_killed_service(
    members: Family, profile: Profile, system: demo_system.System, tmp_path: Path
) -> None:
    workload = workload_of(profile)
    plan_id, plan = demo_system.plan(
        system,
        workload,
        [profile],
        strategy="graft",
        queueing="headroom",
        time_limit_s=10,
        seed=0,
        on_event=lambda _: None,
    )
    assert laws.verify(plan, workload, [profile]).valid
    held = demo_system.deploy(system, plan_id, lambda _: None)
    assert set(held) == {stage.id for stage in plan.stages}
    assert "nothing" not in set().union(*held.values()), "every worker is held to its share"

    def load(seconds: float) -> dict[str, float]:
        result = demo_system.send_requests(system, workload, seconds=seconds, seed=0, show=lambda _: None)
        totals: dict[str, float] = result["totals"]
        return totals

    before = load(2)
    assert before["answered"] == before["sent"] > 0
    assert before["wrong"] == 0

    # The service dies without a word; requests go on being served by the last assignment.
    service = next(child for child in members.children if child.name == "service")
    os.kill(service.process.pid, signal.SIGKILL)
    service.process.wait()
    members.children.remove(service)
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{system.service}/livez")
    during = load(2)
    assert during["answered"] == during["sent"] > 0
    assert during["wrong"] == 0

    # It comes back on its old port, over its old database, and all is there.
    port = system.service.rsplit(":", 1)[1]
    database = f"sqlite:///{(tmp_path / 'regraft.sqlite').absolute()}"
    (tmp_path / "service.port").unlink()
    child = members.start(
        "service",
        ["serve", "--database", database, "--port", port, "--port-file", str(tmp_path / "service.port")],
    )
    members.wait_for_port(child, tmp_path / "service.port")
    client = system.client
    assert client.plan(plan_id) == plan
    assert client.workload(client.workloads()[0].id) == workload
    assert client.profile(client.profiles()[0].id) == profile
    assert [run.state for run in client.runs()] == ["succeeded"]
    deployment = client.deployment()
    assert deployment is not None
    assert (deployment.generation, deployment.plan) == (1, plan_id)

    # The agent finds it again, and what it says that it runs is what the plan wants.
    deadline = time.monotonic() + 30
    while client.deployment(1).not_running:  # type: ignore[union-attr]
        assert time.monotonic() < deadline, client.deployment(1)
        time.sleep(0.2)
    assert [node.lease for node in client.nodes()] == ["live"]

    # Rolled back to the same plan, it is a new generation, and no request is lost over the change.
    client.roll_back(1)
    changed = load(3)
    assert changed["answered"] == changed["sent"] > 0
    current = client.deployment()
    assert current is not None
    assert current.generation == 2


def test_bad_bodies_are_refused_with_place_and_cure_and_nothing_is_stored(
    members: Family, tmp_path: Path
) -> None:
    database = f"sqlite:///{(tmp_path / 'regraft.sqlite').absolute()}"
    output_of("db", "upgrade", "--database", database)
    key = output_of("keys", "create", "--database", database, "--name", "t", "--scopes", "read,plan").strip()
    port_file = tmp_path / "port"
    child = members.start(
        "service", ["serve", "--database", database, "--port", "0", "--port-file", str(port_file)]
    )
    address = f"http://127.0.0.1:{members.wait_for_port(child, port_file)}"
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    fragment = {"id": "a", "model": "m", "start": 0, "budget_ms": -1, "rate_rps": 1}
    body = {"format": "regraft.workload/v1", "fragments": [fragment]}
    with httpx.Client(base_url=address, headers=headers) as http:
        answer = http.post("/v1/workloads", content=json.dumps(body))
        assert answer.status_code == 422
        assert answer.headers["content-type"].startswith("application/problem+json")
        (complaint,) = answer.json()["errors"]
        assert complaint["place"] == "fragments[0].budget_ms"
        assert http.get("/v1/workloads").json()["items"] == []
        assert httpx.get(f"{address}/v1/workloads").status_code == 401
