"""Kill the service, start it again: everything is there, and what was under way ends."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.database import Database
from api.keys import create_key
from api.repositories.runs import FINAL
from tests.api.process import ServiceProcess
from tests.api.service import ALL_SCOPES, PROFILE, WORKLOAD
from tests.api.test_deployments import register
from tests.api.test_runs import submit_hard

QUICK = {"REGRAFT_RUN_LEASE_S": "2", "REGRAFT_RUN_HEARTBEAT_S": "0.3"}


@pytest.fixture
def key(sqlite_url: str) -> str:
    """A key for everything."""
    database = Database(sqlite_url)
    with database.writing() as store:
        made = create_key(store, name="test", scopes=ALL_SCOPES)
    database.close()
    return made


@pytest.fixture
def started(tmp_path: Path, sqlite_url: str) -> Iterator[list[ServiceProcess]]:
    """Service processes; whatever a test left running is ended."""
    services = [ServiceProcess(tmp_path, sqlite_url, **QUICK)]
    yield services
    for service in services:
        if service.process.poll() is None:
            service.kill()


def solving(service: ServiceProcess) -> list[int]:
    """The solves that this service has started and that still run."""
    found = []
    for entry in os.listdir("/proc"):
        try:
            command = Path(f"/proc/{entry}/cmdline").read_bytes()
            parent = int(Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, IndexError, ValueError):
            continue
        if b"api.run_child" in command and parent == service.process.pid:
            found.append(int(entry))
    return found


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and was not yet buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_after_a_kill_everything_is_there_and_the_run_ends(
    started: list[ServiceProcess], key: str, tmp_path: Path, sqlite_url: str
) -> None:
    first = started[0]
    with first.client(key) as client:
        workload, profile = client.create_workload(WORKLOAD), client.create_profile(PROFILE)
        made = client.wait_run(client.submit_run(workload=workload, profiles=[profile], strategy="gslice").id)
        plan = client.plan(str(made.plan))
        with first.http(key) as http:
            node = register(http)
        deployed = client.deploy(str(made.plan))
        hard = submit_hard(client, seconds=3)
        waiting = client.submit_run(workload=workload, profiles=[profile], strategy="graft")
        deadline = time.monotonic() + 60
        while not (children := solving(first)):
            assert time.monotonic() < deadline
            time.sleep(0.02)
    first.kill()
    deadline = time.monotonic() + 20
    while any(alive(child) for child in children):
        assert time.monotonic() < deadline, "the solve outlived its service"
        time.sleep(0.05)

    second = ServiceProcess(tmp_path, sqlite_url, **QUICK)
    started.append(second)
    with second.client(key) as client:
        assert client.workload(workload) == WORKLOAD
        assert client.profile(profile) == PROFILE
        assert client.plan(str(made.plan)) == plan
        current = client.deployment()
        assert current is not None
        assert (current.generation, current.id) == (1, deployed.id)
        assert [item.id for item in client.nodes()] == [node]
        for run in (hard, waiting.id):
            ended = client.wait_run(run)
            assert ended.state == "succeeded", ended.failure
        history = [event.data["state"] for event in client.events(hard) if event.kind == "state"]
        assert history == ["queued", "running", "queued", "running", "succeeded"]
        with second.http(key) as http:
            assert register(http) == node  # its lease lapsed meanwhile
        assert client.deploy(str(ended.plan)).generation == 2


def test_sigterm_ends_the_service_in_good_order(started: list[ServiceProcess], key: str) -> None:
    service = started[0]
    with service.client(key) as client:
        run = submit_hard(client)
        while client.run(run).state not in {"running", *FINAL}:
            time.sleep(0.05)
        children = solving(service)
    assert service.terminate() == 0
    assert not any(alive(child) for child in children)
    assert "Traceback" not in service.log


def test_the_address_of_the_documentation_is_printed(started: list[ServiceProcess]) -> None:
    assert f"API documentation: {started[0].address}/docs" in started[0].log
