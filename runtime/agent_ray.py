"""Workers as Ray actors: for users who have a Ray cluster, and want its machines to serve a plan.

One agent speaks for the whole cluster. Its devices are the GPUs (or cores) of all nodes, and a worker is what
it is elsewhere, a process of its own (`python -m runtime.worker`), but its parent is an actor on the node of
its device. The actor holds the share as a fraction of Ray's resource, so that what else runs in the cluster
and the plan's workers do not take the same GPU; the share itself is enforced by the worker, as always, since
Ray only counts. An actor that dies takes its worker with it, and the agent's end takes all of them.

Which of a node's GPUs an actor gets is for Ray to say: the plan's choice among them is not kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from dataclasses import asdict, replace
from typing import Any

from runtime.agent_devices import Device, discover
from runtime.errors import ServingError
from runtime.worker_spec import WorkerSpec

# An actor for which there is no room waits for ever; a worker is not that patient.
PLACED_WITHIN_S = 60.0


def connect(address: str) -> Any:
    """Join a Ray cluster (`auto`, or HOST:PORT of its head). Raises ServingError where there is none."""
    try:
        import ray
    except ImportError:
        raise ServingError("Ray is not installed here: pip install 'regraft[ray]'") from None
    _reach(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", include_dashboard=False)
    except Exception as error:  # it raises ConnectionError, RuntimeError, ValueError, and more
        raise ServingError(f"--ray {address}: {str(error).strip().splitlines()[0]}") from None
    return ray


def _reach(address: str) -> None:
    """Ray itself tries for minutes where nobody listens."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if address == "auto":
        return
    if not host or not port.isdecimal():
        raise ServingError(f"--ray {address}: expected auto, or HOST:PORT of the cluster's head")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, OverflowError) as error:
        raise ServingError(f"--ray {address}: {error}") from None


def devices_of(ray: Any, name: str) -> list[Device]:
    """Every GPU of every node, or the cores of nodes without; each knows its Ray node and its address."""
    found: list[Device] = []
    for node in sorted(ray.nodes(), key=lambda node: str(node["NodeID"])):
        if not node["Alive"]:
            continue
        identity, resources = str(node["NodeID"]), node["Resources"]
        prefix = f"{name}/{identity[:8]}"
        address = str(node["NodeManagerAddress"])
        cores, gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
        if gpus:
            # What they are only the node itself can say.
            look = ray.remote(discover).options(num_cpus=0, scheduling_strategy=_on(identity))
            seen = [device for device in ray.get(look.remote(prefix, [])) if device.uuid]
            found += [replace(device, address=address, ray_node=identity) for device in seen[:gpus]]
            continue
        each_mb = resources.get("memory", 0) / 2**20 / max(1, cores)
        found += [
            Device(
                id=f"{prefix}-cpu-{core}", type="cpu", memory_mb=each_mb, address=address, ray_node=identity
            )
            for core in range(cores)
        ]
    if not found:
        raise ServingError("the Ray cluster has neither GPUs nor CPUs to offer")
    return found


class WorkerHost:
    """The actor: one worker process, and what it says."""

    async def start(self, spec: dict[str, Any]) -> int:
        """Start the worker; its process number."""
        spec["parent"] = os.getpid()
        if spec["device"] != "cpu":
            spec["device"] = os.environ["CUDA_VISIBLE_DEVICES"]  # Ray's choice for this actor
        # Not a thread's child but the event loop's, which lives as long as the actor.
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "runtime.worker", json.dumps(spec)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            limit=1 << 20,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)},
        )
        return self._process.pid

    async def read(self) -> bytes:
        """The next line it says; empty when it has ended."""
        assert self._process.stdout is not None
        return await self._process.stdout.readline()

    async def wait(self) -> int:
        """Its exit status; negative is the signal that killed it."""
        return await self._process.wait()

    async def signal(self, number: int) -> None:
        """Send it a signal, if it still lives."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)


class RayHatchling:
    """A worker in the cluster, as `agent_nursery.Hatchling` is one on this machine."""

    def __init__(self, ray: Any, host: Any, pid: int) -> None:
        self.pid = pid
        self.lines = asyncio.StreamReader(limit=1 << 20)
        self.status: int | None = None
        self._ray = ray
        self._host = host
        self._ended = asyncio.Event()
        self._following = asyncio.get_running_loop().create_task(self._follow())

    def signal(self, number: int) -> None:
        """Send a signal, if it still lives."""
        if self.status is None:
            self._host.signal.remote(number)

    async def wait(self) -> int:
        """Its exit status; negative is the signal that killed it."""
        await self._ended.wait()
        assert self.status is not None
        return self.status

    async def _follow(self) -> None:
        try:
            while line := await self._host.read.remote():
                self.lines.feed_data(line)
            self.status = int(await self._host.wait.remote())
        except self._ray.exceptions.RayError:  # the actor is gone, or its node, and the worker with it
            self.status = -signal.SIGKILL
        self.lines.feed_eof()
        self._ended.set()
        with contextlib.suppress(self._ray.exceptions.RayError):
            self._ray.kill(self._host)


class RayNursery:
    """Starts workers as actors, each on the node of its device."""

    def __init__(self, ray: Any, devices: list[Device]) -> None:
        self._ray = ray
        self._nodes = {device.id: device.ray_node for device in devices}
        self._host = ray.remote(WorkerHost)

    def warm_up(self) -> None:
        """Nothing: a worker in the cluster imports what it needs by itself."""

    async def hatch(self, spec: WorkerSpec) -> RayHatchling:
        """A worker of this specification. Raises ServingError where Ray finds no room for it, or fails."""
        node = self._nodes[spec.gpu]
        fraction = spec.share / 100
        resources = {"num_cpus": fraction} if spec.device == "cpu" else {"num_cpus": 0, "num_gpus": fraction}
        host = self._host.options(
            **resources, scheduling_strategy=_on(str(node)), max_restarts=0, max_concurrency=8
        ).remote()
        try:
            async with asyncio.timeout(PLACED_WITHIN_S):
                pid = await host.start.remote(asdict(spec))
            return RayHatchling(self._ray, host, pid)
        except TimeoutError:
            problem = f"found no room for {fraction:g} of a device within {PLACED_WITHIN_S:g} s"
        except self._ray.exceptions.RayError as error:
            problem = f"could not start the worker: {str(error).strip().splitlines()[-1]}"
        with contextlib.suppress(self._ray.exceptions.RayError):
            self._ray.kill(host)
        raise ServingError(f"Ray {problem} (node {node})")

    def close(self) -> None:
        """Leave the cluster; actors that are left end."""
        self._ray.shutdown()


def _on(node: str) -> Any:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node, soft=False)
