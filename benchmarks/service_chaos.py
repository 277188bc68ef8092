"""Kill everything at random moments, then count: `python -m benchmarks.service_chaos --seconds 300`.

Two processes of the service answer requests, two others are run workers (`--run-workers 2`); with
`--database postgresql` the server is one of the benchmark's own. While clients submit, stop and cancel runs,
follow their events, deploy and roll back, and agents poll and report, one of these is ended by SIGKILL every
few seconds and started again: a service, a run worker, a solve, the whole of PostgreSQL, one of its backends.
Clients do what any should: they repeat what was not answered, with the same Idempotency-Key.

Afterwards every accepted run must have exactly one final state, every plan its run, every generation its
whole deployment, and every repeated request its first answer (`benchmarks.service_census`). `--seed` fixes
who is killed, when, and what the clients do; how far they get depends on the machine.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from api.client_core import EventReader
from api.repositories.runs import FINAL
from benchmarks.service_census import Asked, census
from benchmarks.service_common import KINDS, PostgresServer, database_of, key_for, machine, written
from planner import formats
from planner.planning import make_plan
from tests.api.process import ServiceProcess
from tests.api.service import PROFILE, WORKLOAD

QUICK = {
    "REGRAFT_RUN_LEASE_S": "3",
    "REGRAFT_RUN_HEARTBEAT_S": "0.3",
    "REGRAFT_STOP_GRACE_S": "3",
    "REGRAFT_RUN_ATTEMPTS": "4",
}
STRATEGIES = ("gslice", "gslice+", "graft", "optimal")
AT_MOST_WAITING = 12


class Member:
    """A process of the service that is started again whenever it was killed."""

    def __init__(self, folder: Path, url: str, run_workers: int) -> None:
        folder.mkdir()
        self._folder, self._url, self._run_workers = folder, url, run_workers
        self.process: ServiceProcess | None = None

    @property
    def up(self) -> bool:
        return self.process is not None

    def start(self) -> None:
        """Start it, again and again while it cannot come up (as when PostgreSQL is down)."""
        while self.process is None:
            with suppress(AssertionError):
                workers = str(self._run_workers)
                self.process = ServiceProcess(self._folder, self._url, "--run-workers", workers, **QUICK)

    def kill(self) -> None:
        """SIGKILL."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()

    def solves(self) -> list[psutil.Process]:
        """Its children that solve something now."""
        if self.process is None:
            return []
        with suppress(psutil.NoSuchProcess):
            return psutil.Process(self.process.process.pid).children()
        return []


@dataclass
class System:
    """What runs, what was asked of it, and what went wrong so far."""

    services: list[Member]
    workers: list[Member]
    postgres: PostgresServer | None
    key: str
    rng: random.Random
    at_most_waiting: int = AT_MOST_WAITING
    ended: threading.Event = field(default_factory=threading.Event)
    asked: Asked = field(default_factory=Asked)
    kills: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    restarting: list[threading.Thread] = field(default_factory=list)

    def request(self, http: httpx.Client, method: str, path: str, **more: Any) -> httpx.Response:
        """Ask one service after the other until one answers for good."""
        headers = {"Authorization": f"Bearer {self.key}", **more.pop("headers", {})}
        deadline_s = time.monotonic() + 120
        while time.monotonic() < deadline_s:
            up = [member.process for member in self.services if member.process is not None]
            if up:
                address = random.choice(up).address
                try:
                    response = http.request(method, f"{address}{path}", headers=headers, **more)
                except httpx.TransportError:
                    pass
                else:
                    if response.status_code == 500:
                        self.problems.append(f"{method} {path}: 500 {response.text[:200]}")
                    if response.status_code not in (429, 500, 503):
                        return response
            time.sleep(0.1)
        raise TimeoutError(f"{method} {path} was not answered")

    def post(self, http: httpx.Client, path: str, body: dict[str, Any] | None) -> httpx.Response:
        """A POST with an Idempotency-Key; what was answered is kept, to be asked for again in the end."""
        key = f"chaos-{self.asked.next_number()}"
        response = self.request(http, "POST", path, json=body, headers={"Idempotency-Key": key})
        if response.status_code < 300:
            self.asked.answers[key] = (path, body, response.status_code, response.content)
        return response


# Who asks


def submit(system: System, http: httpx.Client, rng: random.Random) -> None:
    """Submit a run; now and then end one."""
    waiting = sum(not state for state in list(system.asked.runs.values()))
    if waiting < system.at_most_waiting:
        body = {
            "workload": formats.digest(WORKLOAD),
            "profiles": [formats.digest(PROFILE)],
            "strategy": rng.choice(STRATEGIES),
            "time_limit_s": 5.0,
            "threads": 1,
            "seed": rng.randrange(1000),
        }
        answer = system.post(http, "/v1/plan-runs", body)
        if answer.status_code == 202:
            system.asked.runs.setdefault(answer.json()["id"], "")
        else:
            system.problems.append(f"a run was refused: {answer.text[:200]}")
    if system.asked.runs and rng.random() < 0.2:
        run = rng.choice(list(system.asked.runs))
        system.post(http, f"/v1/plan-runs/{run}/{rng.choice(['stop', 'cancel'])}", None)
    time.sleep(rng.uniform(0.2, 0.8))


def look(system: System, http: httpx.Client, rng: random.Random) -> None:
    """Look at every run that had not ended: a final state that changes is a problem."""
    for run, state in list(system.asked.runs.items()):
        if state and rng.random() > 0.1:
            continue
        found = system.request(http, "GET", f"/v1/plan-runs/{run}").json()["state"]
        if state and found != state:
            system.problems.append(f"{run} was {state} and is {found}")
        if found in FINAL:
            system.asked.runs[run] = found
    time.sleep(0.3)


def follow(system: System, http: httpx.Client, rng: random.Random) -> None:
    """Follow a run's events, resumed wherever the stream breaks: none is missing, none comes twice."""
    runs = [run for run, state in system.asked.runs.items() if not state]
    if not runs:
        time.sleep(0.2)
        return
    run, last = rng.choice(runs), 0
    while not system.ended.is_set():
        reader = EventReader(last=last)
        up = [member.process for member in system.services if member.process is not None]
        headers = {"Authorization": f"Bearer {system.key}"} | ({"Last-Event-ID": str(last)} if last else {})
        try:
            url = f"{rng.choice(up).address}/v1/plan-runs/{run}/events"
            with http.stream("GET", url, headers=headers) as stream:
                for line in stream.iter_lines() if stream.status_code == 200 else []:
                    for event in reader.read(line):
                        if event.seq != last + 1:
                            system.problems.append(f"{run}: event {event.seq} came after {last}")
                        last = event.seq
                        if event.data.get("state") in FINAL:
                            return
                    if system.ended.is_set():
                        return
        except (httpx.TransportError, IndexError):
            pass
        time.sleep(0.1)


def deploy(system: System, http: httpx.Client, rng: random.Random) -> None:
    """Deploy a plan or roll back; losing to another deployment is an answer too."""
    if system.asked.generations and rng.random() < 0.3:
        body = {"generation": rng.choice(list(system.asked.generations))}
        answer = system.post(http, "/v1/deployments/rollback", body)
    else:
        answer = system.post(http, "/v1/deployments", {"plan": rng.choice(system.asked.plans)})
    if answer.status_code == 201:
        system.asked.generations[answer.json()["generation"]] = answer.json()
    elif answer.json()["code"] not in ("generation_moved", "does_not_fit"):
        system.problems.append(f"a deployment was refused: {answer.text[:200]}")
    time.sleep(rng.uniform(0.3, 1.0))


def agent(number: int) -> Callable[[System, httpx.Client, random.Random], None]:
    """An agent: its generation never goes back, and one generation is one assignment."""
    state: dict[str, Any] = {"generation": 0, "etag": '"none"', "node": "", "seen": {}}
    gpus = [{"id": f"node-{number}/cpu-{gpu}", "type": "cpu", "memory_mb": 64000.0} for gpu in range(4)]

    def act(system: System, http: httpx.Client, _: random.Random) -> None:
        if not state["node"]:
            body = {"name": f"node-{number}", "address": "http://127.0.0.1:9100", "gpus": gpus}
            state["node"] = system.post(http, "/v1/nodes", body).json()["id"]
        path = f"/v1/nodes/{state['node']}"
        headers = {"If-None-Match": state["etag"]}
        answer = system.request(http, "GET", f"{path}/assignment?wait=1", headers=headers)
        if answer.status_code == 200:
            document = answer.json()
            generation = document["generation"]
            if generation < state["generation"]:
                system.problems.append(f"generation {generation} came after {state['generation']}")
            known = state["seen"].setdefault(generation, answer.content)
            if known != answer.content:
                system.problems.append(f"generation {generation} has two assignments for one node")
            state.update(generation=generation, etag=answer.headers["etag"])
        report = {"generation": state["generation"], "workers": []}
        system.request(http, "PUT", f"{path}/status", json=report)

    return act


# Who kills


def kill(system: System, what: str) -> bool:
    """End one of these by SIGKILL and have it started again; false where there is none now."""
    rng = system.rng
    down_s = rng.uniform(0.0, 1.5)
    if what in ("service", "run worker"):
        members = system.services if what == "service" else system.workers
        victims = [member for member in members if member.up]
        if len(victims) < (2 if len(members) > 1 else 1):
            return False  # somebody should be there to be asked
        victim = rng.choice(victims)
        victim.kill()
        _later(system, down_s, victim.start)
        return True
    if what == "solve":
        solves = [solve for member in [*system.services, *system.workers] for solve in member.solves()]
        if not solves:
            return False
        with suppress(psutil.NoSuchProcess):
            rng.choice(solves).kill()
            return True
        return False
    if system.postgres is None:
        return False
    if what == "backend":
        with suppress(psutil.NoSuchProcess):
            return system.postgres.kill_one_backend(rng.randrange(100))
        return False
    if any(thread.name == "postgresql" and thread.is_alive() for thread in system.restarting):
        return False
    system.postgres.kill()
    _later(system, down_s, _until_it_works(system.postgres.start), name="postgresql")
    return True


def _until_it_works(start: Callable[[], None]) -> Callable[[], None]:
    def trying() -> None:
        # What the killed server left behind may take a moment to go.
        for _ in range(30):
            try:
                start()
            except Exception:
                time.sleep(0.5)
            else:
                return
        start()

    return trying


def _later(system: System, down_s: float, start: Callable[[], None], name: str = "service") -> None:
    def restart() -> None:
        time.sleep(down_s)
        start()

    thread = threading.Thread(target=restart, name=name)
    thread.start()
    system.restarting.append(thread)


def havoc(system: System, seconds: float, every_s: float) -> None:
    """Kill in turns, in an order and at moments that the seed decides."""
    kinds = ["service", "run worker", "solve"] + (["postgresql", "backend"] if system.postgres else [])
    ends_s = time.monotonic() + seconds
    for _ in itertools.count():
        for what in system.rng.sample(kinds, len(kinds)):
            moment_s = time.monotonic() + system.rng.uniform(0.5, 1.5) * every_s
            time.sleep(max(0.0, min(moment_s, ends_s) - time.monotonic()))
            tried_until_s = min(time.monotonic() + every_s, ends_s)
            while not (done := kill(system, what)) and time.monotonic() < tried_until_s:
                time.sleep(0.05)
            system.kills[what] += done
            if time.monotonic() >= ends_s:
                return


# All of it


@contextmanager
def system_of(kind: str, services: int, workers: int, seed: int) -> Iterator[System]:
    """The system, up, with its documents stored."""
    with database_of(kind) as (folder, url, postgres):
        members = [Member(folder / f"service-{number}", url, 0) for number in range(services)]
        solvers = [Member(folder / f"worker-{number}", url, 2) for number in range(workers)]
        system = System(members, solvers, postgres, key_for(url), random.Random(seed))
        try:
            for member in [*members, *solvers]:
                member.start()
            with httpx.Client(timeout=15) as http:
                system.post(http, "/v1/workloads", formats.to_json(WORKLOAD))
                system.post(http, "/v1/profiles", formats.to_json(PROFILE))
                for strategy in ("gslice", "graft"):
                    plan = formats.to_json(make_plan(WORKLOAD, [PROFILE], strategy=strategy))
                    system.asked.plans.append(system.post(http, "/v1/plans", plan).json()["id"])
            yield system
        finally:
            for thread in system.restarting:
                thread.join()
            for member in [*members, *solvers]:
                member.kill()


def chaos(
    kind: str,
    *,
    seconds: float,
    seed: int,
    every_s: float,
    services: int,
    workers: int,
    at_least: int = 0,
    at_most_waiting: int = AT_MOST_WAITING,
) -> System:
    """Havoc for so long, then quiet, then the census; `problems` says what is wrong.

    Clients submit no run while `at_most_waiting` have not ended, since all are waited for in the quiet.
    On a slow machine little may have been asked in that time: the quiet begins when there are `at_least` runs
    and generations, or after a minute more.
    """
    with system_of(kind, services, workers, seed) as system:
        system.at_most_waiting = at_most_waiting
        acts = [submit, submit, look, follow, follow, deploy, deploy, agent(0), agent(1)]

        def play(act: Callable[[System, httpx.Client, random.Random], None], number: int) -> None:
            rng = random.Random(seed * 1000 + number)
            with httpx.Client(timeout=15) as http:
                while not system.ended.is_set():
                    try:
                        act(system, http, rng)
                    except Exception as error:
                        system.problems.append(f"{getattr(act, '__name__', act)}: {error!r}")
                        return

        actors = [
            threading.Thread(target=play, args=(act, number), daemon=True) for number, act in enumerate(acts)
        ]
        for actor in actors:
            actor.start()
        havoc(system, seconds, every_s)
        for thread in system.restarting:
            thread.join()
        ends_s = time.monotonic() + 60
        while min(len(system.asked.runs), len(system.asked.generations)) < at_least:
            if time.monotonic() > ends_s:
                break
            time.sleep(0.1)
        system.ended.set()
        for actor in actors:
            actor.join(150)
            if actor.is_alive():
                system.problems.append("a client still waits for an answer")
        with httpx.Client(timeout=30) as http:
            system.problems += census(system.asked, lambda *args, **more: system.request(http, *args, **more))
    return system


def main() -> int:
    """Make chaos, print, and judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every-s", type=float, default=3.0, help="seconds between two kills, on average")
    parser.add_argument("--services", type=int, default=2)
    parser.add_argument(
        "--workers", type=int, default=2, help="processes that solve, two runs at a time each"
    )
    parser.add_argument("--database", choices=KINDS, default="postgresql")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    system = chaos(
        options.database,
        seconds=options.seconds,
        seed=options.seed,
        every_s=options.every_s,
        services=options.services,
        workers=options.workers,
    )
    figures = {
        "database": options.database,
        "seconds": options.seconds,
        "seed": options.seed,
        "kills": dict(system.kills),
        **system.asked.counts(),
        **machine(),
        "problems": system.problems,
    }
    print(json.dumps(figures, indent=1))
    written(options.output, figures)
    return 1 if system.problems else 0


if __name__ == "__main__":
    sys.exit(main())
