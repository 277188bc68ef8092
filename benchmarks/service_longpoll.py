"""How fast agents see a new generation: `python -m benchmarks.service_longpoll --agents 2000`.

One service, over SQLite unless `--database postgresql`. Every agent is a registered node with one GPU: it
long-polls its assignment on one connection and reports its status every `--heartbeat-s` on another, as the
agents of `runtime` do. Then plans are deployed, in turns. An agent has seen a generation when the whole of
its assignment has arrived; the clock starts when the deployment is answered, which is after it was committed.

The agents run in one process beside the service, on the same cores. Exit code 1 unless 99 % saw every
generation within 2 s, and every node is live at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from api.client import Client
from benchmarks.service_common import KINDS, Connection, database_of, key_for, machine, quantile, written
from planner.planning import make_plan
from tests.api.process import ServiceProcess
from tests.profiles import make_profile, make_workload

WITHIN_S, SHARE = 2.0, 0.99
SETTLE_S = 5.0


@dataclass
class Crowd:
    """What all agents have seen together."""

    seen_s: dict[int, dict[int, float]] = field(default_factory=dict)  # generation → agent → when
    answers: Counter[str] = field(default_factory=Counter)
    status_s: list[float] = field(default_factory=list)


class Agent:
    """A node as its agent makes it look to the service."""

    def __init__(self, number: int, address: str, key: str, crowd: Crowd, heartbeat_s: float) -> None:
        self._number = number
        self._polling, self._reporting = Connection(address, key), Connection(address, key)
        self._crowd = crowd
        self._heartbeat_s = heartbeat_s
        self._generation = 0
        self._node = ""

    async def register(self) -> None:
        """Register the node."""
        gpu = {"id": f"node-{self._number}/cpu-0", "type": "cpu", "memory_mb": 64000.0}
        body = {"name": f"node-{self._number}", "address": "http://127.0.0.1:9100", "gpus": [gpu]}
        status, _, content = await self._reporting.request("POST", "/v1/nodes", json.dumps(body).encode())
        assert status in (200, 201), content
        self._node = json.loads(content)["id"]

    async def poll(self) -> None:
        """Long-poll until cancelled."""
        etag = '"none"'
        while True:
            path = f"/v1/nodes/{self._node}/assignment?wait=30"
            try:
                status, headers, _ = await self._polling.request("GET", path, If_None_Match=etag)
            except ConnectionError:
                self._crowd.answers["poll lost"] += 1
                await asyncio.sleep(0.5)
                continue
            self._crowd.answers[f"poll {status}"] += 1
            if status == 200:
                etag = headers["etag"]
                self._generation = int(etag.strip('"').split("-")[0])
                self._crowd.seen_s.setdefault(self._generation, {})[self._number] = time.monotonic()
            elif status != 304:
                await asyncio.sleep(float(headers.get("retry-after", "1")))

    async def report(self) -> None:
        """Report the status until cancelled."""
        await asyncio.sleep(self._heartbeat_s * (self._number % 100) / 100)
        while True:
            began = time.monotonic()
            body = json.dumps({"generation": self._generation, "workers": []}).encode()
            try:
                status, _, _ = await self._reporting.request("PUT", f"/v1/nodes/{self._node}/status", body)
                self._crowd.answers[f"status {status}"] += 1
            except ConnectionError:
                self._crowd.answers["status lost"] += 1
            took_s = time.monotonic() - began
            self._crowd.status_s.append(took_s)
            await asyncio.sleep(max(0.0, self._heartbeat_s - took_s))


async def measure(options: argparse.Namespace, service: ServiceProcess, key: str) -> dict[str, object]:
    """Let the agents come, deploy, and say when they saw it."""
    crowd = Crowd()
    agents = [
        Agent(number, service.address, key, crowd, options.heartbeat_s) for number in range(options.agents)
    ]
    for begin in range(0, len(agents), 50):
        await asyncio.gather(*(agent.register() for agent in agents[begin : begin + 50]))
    tasks = [asyncio.create_task(act()) for agent in agents for act in (agent.poll, agent.report)]
    generations = []
    process = psutil.Process(service.process.pid)
    with Client(service.address, key) as client:
        plans = await asyncio.to_thread(store_plans, client, options.fragments)
        while len(crowd.seen_s.get(0, {})) < len(agents):
            await asyncio.sleep(0.1)
        for number in range(options.generations):
            await asyncio.sleep(SETTLE_S)
            began, cpu = time.monotonic(), sum(process.cpu_times()[:2])
            deployed = await asyncio.to_thread(client.deploy, plans[number % len(plans)])
            answered = time.monotonic()
            while len(crowd.seen_s.get(deployed.generation, {})) < len(agents):
                if time.monotonic() - answered > 30:
                    break
                await asyncio.sleep(0.05)
            seen = crowd.seen_s.get(deployed.generation, {})
            # Whoever has not seen it after half a minute counts with that.
            delays = [max(0.0, seen.get(agent, answered + 30) - answered) for agent in range(len(agents))]
            row = {
                "generation": deployed.generation,
                "deploy_s": round(answered - began, 3),
                "p50_s": round(quantile(delays, 0.5), 3),
                "p99_s": round(quantile(delays, 0.99), 3),
                "max_s": round(max(delays), 3),
                "within_2s": sum(delay <= WITHIN_S for delay in delays) / len(delays),
                "service_cpu_s": round(sum(process.cpu_times()[:2]) - cpu, 2),
            }
            generations.append(row)
            print(row, flush=True)
        live = Counter(node.lease for node in await asyncio.to_thread(client.nodes))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return {
        "generations": generations,
        "nodes": dict(live),
        "answers": dict(crowd.answers),
        "status_p50_s": round(quantile(crowd.status_s, 0.5), 3),
        "status_p99_s": round(quantile(crowd.status_s, 0.99), 3),
        "service_rss_mb": round(process.memory_info().rss / 1e6),
    }


def store_plans(client: Client, fragments: int) -> list[str]:
    """Two plans to deploy in turns."""
    profile = make_profile("net", "cpu", memory=True)
    ids = []
    for seed in (0, 1):
        workload = make_workload([profile], fragments=fragments, seed=seed)
        client.create_workload(workload)
        client.create_profile(profile)
        ids.append(client.create_plan(make_plan(workload, [profile], strategy="gslice+")).id)
    return ids


def main() -> int:
    """Measure, print, and judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agents", type=int, default=2000)
    parser.add_argument("--generations", type=int, default=5)
    parser.add_argument("--fragments", type=int, default=50, help="of the plans that are deployed")
    parser.add_argument("--heartbeat-s", type=float, default=3.0)
    parser.add_argument("--database", choices=KINDS, default="sqlite")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    with database_of(options.database) as (folder, url, _):
        key = key_for(url)
        service = ServiceProcess(folder, url)
        try:
            figures = asyncio.run(measure(options, service, key))
        finally:
            service.terminate()
    figures |= {"agents": options.agents, "database": options.database, **machine()}
    print(json.dumps({name: value for name, value in figures.items() if name != "generations"}, indent=1))
    written(options.output, figures)
    kept = all(row["within_2s"] >= SHARE for row in figures["generations"])
    return 0 if kept and figures["nodes"] == {"live": options.agents} else 1


if __name__ == "__main__":
    sys.exit(main())
