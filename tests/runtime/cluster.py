"""A small running system for tests: a service, agents with real workers, gateways.

The service is a stand-in that speaks docs/protocol.md over real HTTP: runtime may not import api. The real
one and the agent meet in a test of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from runtime.http_server import Exchange, HttpServer

TINY = "tests.runtime.tiny_models:tiny"
GATED = "tests.runtime.tiny_models:gated"
SLOW = "tests.runtime.tiny_models:slow"
CHOOSY = "tests.runtime.tiny_models:choosy"
IN_PLACE = "tests.runtime.tiny_models:in_place"

REPOSITORY = Path(__file__).parents[2]


class StandInService:
    """Hands out one assignment, and remembers what agents register and report."""

    def __init__(self) -> None:
        self.nodes: dict[str, dict[str, Any]] = {}
        self.statuses: dict[str, dict[str, Any]] = {}
        self.assignments: dict[str, dict[str, Any]] = {}
        self.keys: set[str] = set()
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._server: HttpServer | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._port = 0

    def start(self) -> None:
        if not self._thread.is_alive():
            self._thread.start()
        self._server = HttpServer(self._handle)
        self._await(self._server.start("127.0.0.1", self._port))
        self._port = self._server.port
        self.url = f"http://127.0.0.1:{self._port}"

    def stop(self) -> None:
        """Go away; `start` comes back on the same port."""
        if self._server is not None:
            self._await(self._server.stop(grace_s=0.2))
            self._server = None

    def close(self) -> None:
        self.stop()
        self._await(self._cancel_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def status(self, node: str) -> dict[str, Any]:
        """What a node reported last."""
        return self.statuses.get(node, {"generation": 0, "workers": []})

    def assign(self, **assignment_by_node: dict[str, Any]) -> None:
        """Deploy: the nodes' assignments, by name with _ for -."""
        self.assignments.update({name.replace("_", "-"): a for name, a in assignment_by_node.items()})

    def _await(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _cancel_all(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _handle(self, exchange: Exchange) -> None:
        self.keys.add(exchange.headers.get(b"authorization", b"").decode())
        if exchange.headers.get(b"authorization") == b"Bearer wrong":
            exchange.respond_json(
                401, {"title": "Unauthorized", "detail": "no such key", "code": "unauthorized"}
            )
            return
        match exchange.method, exchange.path.strip("/").split("/"):
            case "POST", ["v1", "nodes"]:
                node = json.loads(exchange.text)
                known = node["name"] in self.nodes
                self.nodes[node["name"]] = node
                answer = {"id": node["name"], "name": node["name"], "lease_s": 5, "heartbeat_s": 0.5}
                exchange.respond_json(200 if known else 201, answer)
            case "GET", ["v1", "nodes", name, "assignment"]:
                etag = exchange.headers.get(b"if-none-match")
                for _ in range(100):
                    assignment = self.assignments.get(name, assignment_of(0, [], []))
                    current = f'"{assignment["generation"]}"'.encode()
                    if current != etag:
                        exchange.respond_json(200, assignment, ((b"etag", current),))
                        return
                    await asyncio.sleep(0.02)
                exchange.respond(304, ((b"etag", current),))
            case "PUT", ["v1", "nodes", name, "status"]:
                self.statuses[name] = json.loads(exchange.text)
                exchange.respond(204, ())
            case _:
                exchange.respond_json(404, {"detail": exchange.path})


def stage(
    identity: str,
    model: str,
    start: int,
    end: int,
    *,
    batch: int = 4,
    share: float = 100,
    instances: int = 1,
) -> dict[str, Any]:
    """A plan's stage."""
    return {
        "id": identity,
        "model": model,
        "gpu": "cpu",
        "start": start,
        "end": end,
        "batch": batch,
        "share": share,
        "instances": instances,
        "exec_ms": 1.0,
    }


def route(
    fragment: str,
    model: str,
    start: int,
    stages: list[str],
    *,
    budget_ms: float = 5000.0,
    rate_rps: float = 10.0,
    fraction: float = 1.0,
) -> dict[str, Any]:
    """A plan's route, with what the assignment adds."""
    return {
        "fragment": fragment,
        "fraction": fraction,
        "stages": stages,
        "worst_ms": budget_ms,
        "model": model,
        "start": start,
        "budget_ms": budget_ms,
        "rate_rps": rate_rps,
    }


def assignment_of(
    generation: int,
    stages: list[dict[str, Any]],
    routes: list[dict[str, Any]],
    *,
    nodes: Callable[[str, int], str | None] = lambda _stage, _instance: "node-a/cpu-0",
) -> dict[str, Any]:
    """An assignment; `nodes` says on which of the node's devices an instance runs, None where elsewhere."""
    workers = [
        {"stage": s["id"], "instance": i, "gpu": gpu, "memory_mb": 512.0}
        for s in stages
        for i in range(s["instances"])
        if (gpu := nodes(s["id"], i)) is not None
    ]
    return {
        "format": "regraft.assignment/v1",
        "generation": generation,
        "deployment": f"d-{generation}",
        "plan": f"p-{generation}",
        "stages": stages,
        "routes": routes,
        "workers": workers,
    }


class Process:
    """A command of ours, running."""

    def __init__(
        self,
        command: str,
        arguments: list[str],
        directory: Path,
        name: str,
        prefix: tuple[str, ...] = (),
    ) -> None:
        self.port_file = directory / f"{name}.port"
        self.port_file.unlink(missing_ok=True)
        self.log = directory / f"{name}.log"
        code = f"import typer; from runtime import commands_serve; typer.run(commands_serve.{command})"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*prefix, sys.executable, "-c", code, *arguments, "--port-file", str(self.port_file)],
                cwd=REPOSITORY,
                env={**os.environ, "REGRAFT_KEY": "key-of-the-test"},
                stdout=log,
                stderr=log,
            )
        self.url = ""
        hosts = [option.removeprefix("--host=") for option in arguments if option.startswith("--host=")]
        self.host = hosts[0] if hosts else "127.0.0.1"

    def listening(self) -> str:
        """Its address, once it has one."""
        wait_for(lambda: self.port_file.exists() or self.process.poll() is not None, what="a port")
        assert self.port_file.exists(), self.log.read_text()
        self.url = f"http://{self.host}:{self.port_file.read_text().strip()}"
        return self.url

    def stop(self, number: int = signal.SIGTERM, timeout_s: float = 20.0) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout_s)


class Cluster:
    """One service, and whatever agents and gateways a test starts. All of it ends with the test."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.service = StandInService()
        self.service.start()
        self.processes: list[Process] = []
        self._count = 0

    def agent(
        self, name: str = "node-a", devices: int = 1, *options: str, prefix: tuple[str, ...] = ()
    ) -> Process:
        """An agent with so many cores as devices; `prefix` is a command that runs it."""
        gpus = [f"--gpu={name}/cpu-{k}:cpu:4000" for k in range(devices)]
        state = self.directory / f"state-{name}"
        return self._start(
            "agent",
            [f"--service={self.service.url}", f"--name={name}", f"--state-dir={state}", *gpus, *options],
            prefix,
        )

    def gateway(self, *agents: Process, options: tuple[str, ...] = ()) -> Process:
        return self._start(
            "gateway", [*(f"--agent={agent.listening()}" for agent in agents), "--port=0", *options]
        )

    def serving(self, generation: int, node: str = "node-a") -> bool:
        """Whether the node reports all its workers of that generation ready, and no others."""
        status = self.service.statuses.get(node)
        if status is None or status["generation"] != generation:
            return False
        return bool(status["workers"]) and all(
            worker["state"] == "ready" and worker["generation"] == generation for worker in status["workers"]
        )

    def close(self) -> None:
        for process in reversed(self.processes):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.stop()
            if process.process.poll() is None:
                process.process.kill()
                process.process.wait()
        self.service.close()

    def _start(self, command: str, arguments: list[str], prefix: tuple[str, ...] = ()) -> Process:
        self._count += 1
        process = Process(command, arguments, self.directory, f"{command}-{self._count}", prefix)
        self.processes.append(process)
        return process


@contextlib.contextmanager
def cluster_in(directory: Path) -> Iterator[Cluster]:
    cluster = Cluster(directory)
    try:
        yield cluster
    finally:
        cluster.close()


def wait_for(condition: Callable[[], Any], *, what: str, timeout_s: float = 60.0) -> None:
    """Until it is so."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"no {what} after {timeout_s:g} s")
        time.sleep(0.02)


def get(url: str) -> tuple[int, Any]:
    """Status and JSON."""
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return response.status, json.loads(response.read() or b"null")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read() or b"null")
    except OSError:
        return 0, None


def post_json(url: str, content: Any) -> tuple[int, Any]:
    """Status and JSON."""
    request = urllib.request.Request(url, json.dumps(content).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.loads(response.read() or b"null")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read() or b"null")


def ready(gateway: Process) -> bool:
    return get(f"{gateway.listening()}/v2/health/ready")[0] == 200


def answer_of(model: str, start: int, tensor: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """What layers [start, L) of a model answer, without any of the runtime in between."""
    return part_of(model, start, None, tensor)


def part_of(model: str, start: int, end: int | None, tensor: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """What layers [start, end) of a model answer, without any of the runtime in between."""
    import torch

    from runtime.models import open_chain

    chain = open_chain(model)
    with torch.inference_mode():
        module = chain.fragment(start, chain.depth if end is None else end)
        return module(torch.from_numpy(tensor.copy())).numpy()


def alive(pid: int) -> bool:
    """Whether a process runs (and is not a zombie)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


class Load:
    """Phones that send to a gateway while a test does something to it."""

    def __init__(self, gateway: Process, clients: list[dict[str, Any]], *, seconds: float) -> None:
        from runtime.load import drive, parse_spec, prepare

        content = {"gateway": gateway.listening(), "seconds": seconds, "clients": clients}
        spec = parse_spec(json.dumps(content).encode(), source="test")
        samples = prepare(spec)
        self._result: dict[str, Any] = {}
        self._thread = threading.Thread(target=lambda: self._result.update(asyncio.run(drive(spec, samples))))
        self._thread.start()

    def detail(self) -> dict[str, Any]:
        """The whole result, once all is sent and answered."""
        self._thread.join()
        return self._result

    def result(self) -> dict[str, Any]:
        """The totals, once all is sent and answered; complaints beside them."""
        self._thread.join()
        complaints = [text for client in self._result["clients"] for text in client["complaints"]]
        return {**self._result["totals"], "complaints": complaints}


def client_of(route: dict[str, Any], *, rate_rps: float = 40.0) -> dict[str, Any]:
    """A phone that sends to that route, patient enough for a worker to be restarted on a busy machine."""
    return {
        "fragment": route["fragment"],
        "model": route["model"],
        "start": route["start"],
        "rate_rps": rate_rps,
        "budget_ms": 30_000.0,
    }
