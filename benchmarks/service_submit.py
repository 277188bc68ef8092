"""Plan submissions at a steady rate: `python -m benchmarks.service_submit --rate-rps 100 --seconds 60`.

One service, over SQLite unless `--database postgresql`, with one run worker that solves meanwhile, unless
`--run-workers` says otherwise. Requests leave on time whether or not earlier ones were answered, each with an
Idempotency-Key; every tenth is sent a second time. Afterwards the list of runs is read to its end: every run
that was accepted must be in it once, and nothing else. Exit code 1 if one is lost, doubled or refused.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil

from api.client import Client
from benchmarks.service_common import KINDS, Connection, database_of, key_for, machine, quantile, written
from tests.api.process import ServiceProcess
from tests.api.service import PROFILE, WORKLOAD

REPEATED_EVERY = 10


class Submitter:
    """Sends submissions over connections that are free, opening another where none is."""

    def __init__(self, address: str, key: str, body: dict[str, Any]) -> None:
        self._address, self._key, self._body = address, key, body
        self._free: list[Connection] = []
        self.accepted: dict[int, str] = {}
        self.repeated: dict[int, str] = {}
        self.statuses: Counter[str] = Counter()
        self.seconds: list[float] = []

    async def submit(self, number: int, accepted: dict[int, str]) -> None:
        """Submit one run."""
        connection = self._free.pop() if self._free else Connection(self._address, self._key)
        body = json.dumps({**self._body, "seed": number}).encode()
        began_s = time.monotonic()
        try:
            status, _, content = await connection.request(
                "POST", "/v1/plan-runs", body, Idempotency_Key=f"submission-{number}"
            )
        except ConnectionError:
            self.statuses["lost"] += 1
            return
        self.seconds.append(time.monotonic() - began_s)
        self.statuses[str(status)] += 1
        if status == 202:
            accepted[number] = json.loads(content)["id"]
        self._free.append(connection)

    async def keep(self, rate_rps: float, seconds: float) -> float:
        """Submit at the rate; gives how late the last one left, in seconds."""
        began_s, tasks, late_s = time.monotonic(), [], 0.0
        for number in range(round(rate_rps * seconds)):
            late_s = time.monotonic() - began_s - number / rate_rps
            if late_s < 0:
                await asyncio.sleep(-late_s)
            tasks.append(asyncio.create_task(self.submit(number, self.accepted)))
            if number % REPEATED_EVERY == 0 and number >= REPEATED_EVERY:
                tasks.append(asyncio.create_task(self.submit(number - REPEATED_EVERY, self.repeated)))
        await asyncio.gather(*tasks)
        return max(0.0, late_s)


def measure(options: argparse.Namespace, service: ServiceProcess, key: str) -> dict[str, Any]:
    """Submit, then count what is there."""
    with Client(service.address, key) as client:
        workload, profile = client.create_workload(WORKLOAD), client.create_profile(PROFILE)
        body = {"workload": workload, "profiles": [profile], "strategy": "gslice"}
        submitter = Submitter(service.address, key, body)
        process = psutil.Process(service.process.pid)
        cpu_s = sum(process.cpu_times()[:2])
        late_s = asyncio.run(submitter.keep(options.rate_rps, options.seconds))
        cpu_s = sum(process.cpu_times()[:2]) - cpu_s
        runs = client.runs()
    accepted = list(submitter.accepted.values())
    stored = Counter(run.id for run in runs)
    return {
        "sent": round(options.rate_rps * options.seconds),
        "accepted": len(accepted),
        "stored": len(runs),
        "lost": len(set(accepted) - stored.keys()),
        "doubled": len(stored.keys() - set(accepted)) + (len(accepted) - len(set(accepted))),
        "repeated": len(submitter.repeated),
        "repeated_as_another": sum(
            submitter.accepted.get(number) != run for number, run in submitter.repeated.items()
        ),
        "solved_meanwhile": sum(run.state == "succeeded" for run in runs),
        "answers": dict(submitter.statuses),
        "p50_s": round(quantile(submitter.seconds, 0.5), 4),
        "p99_s": round(quantile(submitter.seconds, 0.99), 4),
        "max_s": round(max(submitter.seconds), 4),
        "sender_late_s": round(late_s, 3),
        "service_cpu_ms_each": round(1000 * cpu_s / len(submitter.seconds), 2),
    }


def main() -> int:
    """Measure, print, and judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate-rps", type=float, default=100.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--run-workers", type=int, default=1)
    parser.add_argument("--database", choices=KINDS, default="sqlite")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    with database_of(options.database) as (folder, url, _):
        key = key_for(url)
        service = ServiceProcess(folder, url, "--run-workers", str(options.run_workers))
        try:
            figures = measure(options, service, key)
        finally:
            service.terminate()
    figures |= {"database": options.database, **machine()}
    print(json.dumps(figures, indent=1))
    written(options.output, figures)
    bad = ("lost", "doubled", "repeated_as_another")
    return 0 if figures["accepted"] == figures["sent"] and not any(figures[name] for name in bad) else 1


if __name__ == "__main__":
    sys.exit(main())
