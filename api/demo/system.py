"""The running system as a user has it: processes, the service's client, the gateway's address."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from api.client import Client
from api.processes import Family, ProcessError, output_of
from api.views import Run
from planner.plan import Plan
from planner.problem import Progress
from planner.profile import Profile
from planner.workload import Workload


@dataclass(frozen=True, kw_only=True)
class System:
    """A service, one agent and one gateway on loopback ports."""

    members: Family
    folder: Path
    client: Client
    service: str
    agent: str
    gateway: str


@contextmanager
def start(members: Family, folder: Path) -> Iterator[System]:
    """Database, keys, service, agent and gateway, by the commands an operator would give.

    At the end of the block the client's connections are closed; the processes end with their family.
    """
    database = f"sqlite:///{(folder / 'regraft.sqlite').absolute()}"
    output_of("db", "upgrade", "--database", database)
    keys = {
        name: output_of("keys", "create", "--database", database, "--name", name, "--scopes", scopes).strip()
        for name, scopes in (("demo", "read,plan,deploy"), ("agent", "agent"))
    }
    # Readable by this user alone, for trying the API by hand while `make serve` runs.
    key_file = folder / "demo.key"
    key_file.touch(mode=0o600)
    key_file.write_text(keys["demo"] + "\n")
    # The service is told where the gateway will be, so that its pages show what the gateway observes.
    gateway_port = _free_port()
    service = _listen(
        members,
        folder,
        "service",
        ["serve", "--database", database],
        REGRAFT_GATEWAYS=f"http://127.0.0.1:{gateway_port}",
    )
    agent = _listen(
        members,
        folder,
        "agent",
        ["agent", "--service", service, "--name", "node-a", "--state-dir", str(folder / "agent")],
        REGRAFT_KEY=keys["agent"],
    )
    gateway = _listen(members, folder, "gateway", ["gateway", "--agent", agent], port=gateway_port)
    with Client(service, keys["demo"]) as client:
        _until(members, "the agent registers", lambda: bool(client.nodes()), timeout_s=30)
        yield System(
            members=members, folder=folder, client=client, service=service, agent=agent, gateway=gateway
        )


def plan(
    system: System,
    workload: Workload,
    profiles: list[Profile],
    *,
    strategy: str,
    queueing: str,
    time_limit_s: float,
    seed: int,
    on_event: Callable[[Progress], None],
) -> tuple[str, Plan]:
    """Submit a run, watch it, and fetch its plan. The same content is stored once, however often sent."""
    client = system.client
    run: Run = client.submit_run(
        workload=client.create_workload(workload),
        profiles=[client.create_profile(profile) for profile in profiles],
        strategy=strategy,
        time_limit_s=time_limit_s,
        seed=seed,
        queueing=queueing,
    )
    run = client.wait_run(run.id, on_event=on_event)
    if run.plan is None:
        why = run.failure.detail if run.failure else "no reason given"
        raise ProcessError(f"the run with {strategy} ended as {run.state}: {why}")
    return run.plan, client.plan(run.plan)


def deploy(system: System, plan_id: str, show: Callable[[str], None]) -> dict[str, set[str]]:
    """Make the plan the one to run, and wait until every worker is up and the gateway routes to them.

    Gives, for every stage, how its workers say that they are held to their share.
    """
    generation = system.client.deploy(plan_id).generation

    def running() -> bool:
        status = system.client.deployment(generation)
        assert status is not None
        up = status.instances - len(status.not_running)
        show(f"generation {generation}: {up} of {status.instances} workers run")
        failed = [item for item in status.not_running if item.reason == "failed"]
        if failed:
            raise ProcessError(
                f"worker {failed[0].stage} #{failed[0].instance} failed; see {system.folder}/agent.log"
            )
        return not status.not_running

    _until(system.members, "all workers run", running, timeout_s=180)
    ready = f"{system.gateway}/v2/health/ready"
    _until(system.members, "the gateway is ready", lambda: httpx.get(ready).status_code == 200, timeout_s=30)
    held: dict[str, set[str]] = {}
    for node in system.client.nodes():
        for worker in node.workers:
            held.setdefault(worker.stage, set()).add(worker.enforced_by or "nothing")
    return held


def send_requests(
    system: System, workload: Workload, *, seconds: float, seed: int, show: Callable[[str], None]
) -> dict[str, Any]:
    """Every phone sends its requests at its rate, paced, for so many seconds; gives the load's result."""
    spec = {
        "gateway": system.gateway,
        "seconds": seconds,
        "seed": seed,
        "arrivals": "paced",
        "clients": [
            {
                "fragment": fragment.id,
                "model": fragment.model,
                "start": fragment.start,
                "rate_rps": fragment.load_rps,
                "budget_ms": fragment.budget_ms,
            }
            for fragment in workload.fragments
        ],
    }
    spec_file, result_file = system.folder / "load.json", system.folder / "load-result.json"
    spec_file.write_text(json.dumps(spec, indent=1))
    child = system.members.start("load", ["load", str(spec_file), "--output", str(result_file)])
    started = time.monotonic()
    while not child.finished():
        passed = time.monotonic() - started
        show(f"{passed:.0f} s: the phones' own layers first, then {seconds:g} s of requests")
        system.members.check()
        time.sleep(0.2)
    result: dict[str, Any] = json.loads(result_file.read_text())
    return result


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listen(
    members: Family, folder: Path, name: str, arguments: list[str], *, port: int = 0, **environment: str
) -> str:
    """Start a command that listens on this port, or on a free one; gives its address."""
    port_file = folder / f"{name}.port"
    listen = ["--port", str(port), "--port-file", str(port_file)]
    child = members.start(name, [*arguments, *listen], **environment)
    return f"http://127.0.0.1:{members.wait_for_port(child, port_file)}"


def _until(members: Family, what: str, true: Callable[[], bool], *, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        members.check()
        if time.monotonic() > deadline:
            raise ProcessError(f"waited {timeout_s:g} s in vain until {what}; logs are in {members.folder}")
        time.sleep(0.1)
