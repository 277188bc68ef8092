"""One worker process as its agent sees it: started, watched, restarted when it dies, drained."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import structlog

from runtime.agent_devices import Device
from runtime.agent_nursery import Hatchling, Nursery
from runtime.errors import ServingError
from runtime.reconcile import Post, Signature
from runtime.worker_spec import WorkerSpec

if TYPE_CHECKING:
    from runtime.agent_ray import RayHatchling, RayNursery

State = Literal["starting", "ready", "draining", "failed"]

# A worker that dies again and again is restarted ever more rarely.
_BACK_OFF_S = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
# Waiting for a worker that hangs is for more than so many of its longest batches.
_BATCHES = 20
# One that has lived this long is well again.
_WELL_AFTER_S = 60.0

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True, slots=True)
class Nest:
    """What all workers of an agent have in common.

    `directory` is where their unix sockets are, if they have any; `address` the host on which they listen to
    other machines, if any; `starts` bounds how many start at once; `drain_s` is how long one may take to
    finish what it has, and after `hung_after_s` without a word one that is ready counts as hung.
    """

    agent: str
    session: str
    nursery: Nursery | RayNursery
    directory: Path
    address: str | None
    unix: bool
    starts: asyncio.Semaphore
    serials: itertools.count[int]
    seed: int = 0
    drain_s: float = 30.0
    hung_after_s: float = 10.0


class SupervisedWorker:
    """Keeps one worker of this signature running until it is drained.

    Its `key` names the process: after a restart it is another. `posts` are what it stands for, by
    generation. `changed` is called whenever something about it has. `beside` says that others serve while it
    is first started.
    """

    def __init__(
        self,
        nest: Nest,
        signature: Signature,
        device: Device | None,
        changed: Callable[[], None],
        *,
        beside: bool = False,
    ) -> None:
        self.signature = signature
        self.device = device
        self.posts: dict[int, Post] = {}
        self.key = ""
        self.state: State = "starting"
        self.pid = 0
        self.restarts = 0
        self.detail = ""
        self.endpoints: list[str] = []
        self.facts: dict[str, Any] = {}
        self._nest = nest
        self._beside = beside
        self._changed = changed
        self._process: Hatchling | RayHatchling | None = None
        self._stopping = False
        self._task = asyncio.get_running_loop().create_task(self._supervise())

    @property
    def stopping(self) -> bool:
        """Whether it was told to end."""
        return self._stopping

    def status(self, generation: int) -> dict[str, Any]:
        """As it is reported to the service."""
        post = self.posts[generation]
        return {
            "generation": generation,
            "stage": post.stage,
            "instance": post.instance,
            "gpu": self.signature.gpu,
            "state": self.state,
            "pid": self.pid or None,
            "restarts": self.restarts,
            "share_pct": self.signature.share,
            "effective_share_pct": self.facts.get("effective_share_pct"),
            "enforced_by": self.facts.get("enforced_by"),
            "detail": self.detail,
        }

    async def drain(self) -> None:
        """Let it finish what it has, then end it. Returns when it is gone."""
        if not self._stopping:
            self._stopping = True
            process = self._process
            if self.state == "ready" and process is not None:
                self.state = "draining"
                self._changed()
                process.signal(signal.SIGTERM)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._nest.drain_s):
                        await process.wait()
        await self.kill()

    async def kill(self) -> None:
        """End it now."""
        self._stopping = True
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _supervise(self) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            began = loop.time()
            try:
                await self._live()
            finally:
                await self._bury()
            if self._stopping:
                return
            failures = 1 if loop.time() - began > _WELL_AFTER_S else failures + 1
            self.restarts += 1
            self.state = "failed"
            self._changed()
            delay_s = _BACK_OFF_S[min(failures - 1, len(_BACK_OFF_S) - 1)]
            log.warning("worker died", worker=self.key, detail=self.detail, restart_in_s=delay_s)
            await asyncio.sleep(delay_s)

    async def _live(self) -> None:
        """Start a process and follow it to its end."""
        if self.device is None:
            self.detail = f"this node has no device {self.signature.gpu!r}"
            return
        async with self._nest.starts:
            self.state, self.detail = "starting", ""
            self._changed()
            try:
                process = await self._start(self.device)
            except ServingError as error:
                self.detail = str(error)
                return
            started = False
            while not started and (line := await process.lines.readline()):
                started = self._heard(line)
        try:
            while line := await asyncio.wait_for(process.lines.readline(), self._patience_s()):
                self._heard(line)
        except TimeoutError:
            self.detail = f"hung: said nothing for {self._patience_s():g} s"
            return
        status = await process.wait()
        if not self.detail:
            self.detail = f"killed by signal {-status}" if status < 0 else f"ended with status {status}"

    def _patience_s(self) -> float:
        """A worker reports every second, but not in the middle of a batch."""
        longest_ms = max(self.facts.get("exec_ms", {}).values(), default=0.0)
        return max(self._nest.hung_after_s, _BATCHES * longest_ms / 1000.0)

    async def _start(self, device: Device) -> Hatchling | RayHatchling:
        nest, signature = self._nest, self.signature
        serial = next(nest.serials)
        self.key = f"{nest.agent}-{nest.session}-{serial}"
        endpoints = [f"unix:{nest.directory / f'{serial}.sock'}"] if nest.unix else []
        if (address := device.address or nest.address) is not None:
            endpoints.append(f"tcp:{address}:0")
        spec = WorkerSpec(
            key=self.key,
            model=signature.model,
            start=signature.start,
            end=signature.end,
            batch=signature.batch,
            share=signature.share,
            core=device.core,
            device=device.uuid or "cpu",
            gpu=device.id,
            memory_mb=signature.memory_mb,
            exits=signature.exits,
            endpoints=tuple(endpoints),
            seed=nest.seed,
            parent=os.getpid(),
            # One that died is missed: it hurries.
            stand_back=self._beside and not self.restarts,
        )
        process = await nest.nursery.hatch(spec)
        self._process = process
        self.pid = process.pid
        return process

    def _heard(self, line: bytes) -> bool:
        """Take in what the worker says; whether it says that it is ready."""
        message = json.loads(line)
        match message.pop("event"):
            case "ready":
                self.endpoints = message["endpoints"]
                self.facts.update(message)
                self.state, self.detail = "ready", ""
                self._changed()
                return True
            case "report":
                self.facts.update(message)
            case "fatal":
                self.detail = message["error"]
        return False

    async def _bury(self) -> None:
        """Whatever ended it, leave no process and no socket."""
        process, self._process, self.pid = self._process, None, 0
        if process is not None:
            process.signal(signal.SIGKILL)
            await process.wait()
        for endpoint in self.endpoints:
            if endpoint.startswith("unix:"):
                Path(endpoint.removeprefix("unix:")).unlink(missing_ok=True)
        self.endpoints = []
