"""The agent, one a machine: keeps the machine running what the service assigned to it.

It makes before it breaks. A new generation's workers start beside the old one's, except those that are
the same and are taken over; the old generation's end once every gateway that asks here routes the new
one. The last assignment is kept in a file, so that a machine that starts while the service is away serves
what it served before.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import itertools
import json
import os
import tempfile
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from planner.formats import write_bytes
from runtime.agent_devices import Device
from runtime.agent_nursery import Nursery
from runtime.agent_workers import Nest, SupervisedWorker
from runtime.cgroups import make_room
from runtime.errors import ServiceError, ServingError
from runtime.exit_reports import exit_reports
from runtime.reconcile import Post, Signature, check_assignment, reconcile, wanted_posts
from runtime.service_client import Node, ServiceClient
from runtime.shares import remove_stale
from runtime.transport import machine

if TYPE_CHECKING:
    from runtime.agent_ray import RayNursery

# A gateway that has not asked for this long is not there any more, and nobody waits for its word.
GATEWAY_GONE_S = 60.0

_WAIT_S = 25.0
_SAVED = "assignment.json"

log = structlog.get_logger()


@dataclass(slots=True)
class Generation:
    """A deployed plan, as this machine runs its part."""

    document: dict[str, Any]
    wanted: dict[Post, Signature]
    routed: bool = False

    @property
    def number(self) -> int:
        """It only ever grows."""
        number: int = self.document["generation"]
        return number


@dataclass(slots=True)
class Gateway:
    """A gateway that asks here for its table: which generation it routes, and when it was heard last."""

    routes: int = 0
    heard: float = 0.0


@dataclass(slots=True)
class ExitCounts:
    """What a gateway has counted at exits since it routes that generation, by fragment; when it said so."""

    heard: float
    generation: int
    fragments: dict[str, Any]


@dataclass(kw_only=True, slots=True)
class AgentState:
    """What the agent knows: its generations, the workers that fill their posts, the gateways."""

    generations: dict[int, Generation] = field(default_factory=dict)
    workers: list[SupervisedWorker] = field(default_factory=list)
    gateways: dict[str, Gateway] = field(default_factory=dict)
    exits: dict[str, ExitCounts] = field(default_factory=dict)


class Agent:
    """Runs assignments. `changed` is set and replaced whenever the routing table has changed."""

    def __init__(
        self,
        *,
        name: str,
        devices: list[Device],
        directory: Path,
        worker_address: str | None = None,
        unix: bool = True,
        starts: int = 2,
        hung_after_s: float = 10.0,
        seed: int = 0,
        nursery: Nursery | RayNursery | None = None,
    ) -> None:
        self.name = name
        self.session = uuid.uuid4().hex[:8]
        self.devices = {device.id: device for device in devices}
        self.state = AgentState()
        self.version = 0
        self.draining = False
        self._directory = directory
        self._changed = asyncio.Event()
        self._departures: set[asyncio.Task[None]] = set()
        self._sockets, self._lock = _own_directory(name, directory)
        remove_stale()
        make_room()
        self._nursery = nursery or Nursery()
        self._nursery.warm_up()
        self._nest = Nest(
            agent=name,
            session=self.session,
            nursery=self._nursery,
            directory=self._sockets,
            address=worker_address,
            unix=unix,
            starts=asyncio.Semaphore(starts),
            hung_after_s=hung_after_s,
            serials=itertools.count(),
            seed=seed,
        )

    # assignments

    @property
    def newest(self) -> int:
        """The newest generation this machine was given; 0 before the first."""
        return max(self.state.generations, default=0)

    def restore(self) -> None:
        """Go on with the last assignment of an earlier life, if there is one."""
        path = self._directory / _SAVED
        try:
            saved = json.loads(path.read_bytes())
            self.accept(saved["assignment"], routed=saved["routed"] == saved["assignment"]["generation"])
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, ServiceError) as error:
            log.warning("the saved assignment cannot be used", file=str(path), error=str(error))

    def accept(self, document: Any, *, routed: bool = False) -> None:
        """Run this assignment beside the present one. Raises ServiceError for one that makes no sense.

        An older generation than the newest is refused; the same one again changes nothing.
        """
        document = check_assignment(document)
        number = document["generation"]
        state = self.state
        if number < self.newest:
            raise ServiceError(f"generation {number} is older than {self.newest}, which runs here: refused")
        present = state.generations.get(number)
        if number == 0 or self.draining or (present is not None and present.document == document):
            return
        wanted = wanted_posts(document)
        running = {str(index): w.signature for index, w in enumerate(state.workers) if not w.stopping}
        changes = reconcile(running, wanted)
        beside = any(worker.state == "ready" for worker in state.workers)
        for worker in state.workers:
            worker.posts.pop(number, None)
        for index, post in changes.kept.items():
            state.workers[int(index)].posts[number] = post
        for post, signature in changes.missing.items():
            device = self.devices.get(signature.gpu)
            worker = SupervisedWorker(self._nest, signature, device, self._touch, beside=beside)
            worker.posts[number] = post
            state.workers.append(worker)
        state.generations[number] = Generation(document=document, wanted=wanted, routed=routed)
        log.info("generation", generation=number, kept=len(changes.kept), started=len(changes.missing))
        self._save()
        self._touch()

    def gateway_asks(self, gateway: str) -> None:
        """A gateway asks for the table."""
        self.state.gateways.setdefault(gateway, Gateway()).heard = asyncio.get_running_loop().time()

    def gateway_routes(self, gateway: str, number: int) -> None:
        """A gateway says which generation it routes."""
        self.gateway_asks(gateway)
        self.state.gateways[gateway].routes = number
        generation = self.state.generations.get(number)
        if generation is not None and not generation.routed:
            generation.routed = True
            self._save()
        self._touch()

    def gateway_counts(self, gateway: str, generation: int, fragments: dict[str, Any]) -> None:
        """A gateway says what it has counted at exits (`runtime.gateway_exits`)."""
        now = asyncio.get_running_loop().time()
        self.state.exits[gateway] = ExitCounts(now, generation, fragments)
        for name, counts in list(self.state.exits.items()):
            if now - counts.heard > GATEWAY_GONE_S:
                del self.state.exits[name]

    def complete(self, number: int) -> bool:
        """Whether all of this machine's part of that generation is ready."""
        generation = self.state.generations[number]
        ready = {w.posts[number] for w in self.state.workers if number in w.posts and w.state == "ready"}
        return ready >= set(generation.wanted)

    def settle(self) -> None:
        """End the generations that nobody needs any more, and the workers that only they had."""
        over = self._over()
        for number in over:
            del self.state.generations[number]
        for worker in self.state.workers:
            for number in over:
                worker.posts.pop(number, None)
        newest = self.newest
        for worker in list(self.state.workers):
            abandoned = worker.state in ("starting", "failed") and newest not in worker.posts
            routed = any(
                number in self.state.generations and self.state.generations[number].routed
                for number in worker.posts
            )
            if not worker.posts or (abandoned and not routed):
                self.state.workers.remove(worker)
                task = asyncio.get_running_loop().create_task(worker.drain())
                self._departures.add(task)
                task.add_done_callback(self._departures.discard)

    def _over(self) -> list[int]:
        """Generations older than what every gateway routes; without gateways, than what is ready here."""
        now = asyncio.get_running_loop().time()
        present = [g for g in self.state.gateways.values() if now - g.heard < GATEWAY_GONE_S]
        if present:
            oldest_needed = min(gateway.routes for gateway in present)
        else:
            whole = [number for number in self.state.generations if self.complete(number)]
            oldest_needed = max(whole, default=0)
        return [number for number in self.state.generations if number < oldest_needed]

    def tick(self) -> None:
        """From time to time: a gateway that is gone says nothing."""
        if self._over():
            self._touch()

    async def close(self) -> None:
        """Drain all workers, and leave nothing behind."""
        self.draining = True
        self._touch()
        await asyncio.gather(*(worker.drain() for worker in self.state.workers), *self._departures)
        self.state.workers.clear()
        self._nursery.close()
        with contextlib.suppress(OSError):
            for path in self._sockets.iterdir():
                path.unlink()
            self._sockets.rmdir()
        os.close(self._lock)

    # what others read

    def table(self) -> dict[str, Any]:
        """What gateways route by."""
        return {
            "agent": self.name,
            "session": self.session,
            "machine": machine(),
            "generations": [
                {
                    "generation": number,
                    "routed": generation.routed,
                    "stages": generation.document["stages"],
                    "routes": generation.document["routes"],
                    "workers": [
                        {
                            "stage": worker.posts[number].stage,
                            "instance": worker.posts[number].instance,
                            "key": worker.key,
                            "endpoints": worker.endpoints,
                            "state": worker.state,
                        }
                        for worker in self.state.workers
                        if number in worker.posts
                    ],
                }
                for number, generation in sorted(self.state.generations.items())
            ],
        }

    def status(self) -> dict[str, Any]:
        """What is reported to the service: the newest generation of each worker, and what left by exits."""
        status: dict[str, Any] = {
            "generation": self.newest,
            "workers": [worker.status(max(worker.posts)) for worker in self.state.workers if worker.posts],
        }
        said = {gateway: (one.generation, one.fragments) for gateway, one in self.state.exits.items()}
        if exits := exit_reports(said):
            status["exits"] = exits
        return status

    async def wait_for_change(self, version: int, wait_s: float) -> None:
        """Until the table is newer than `version`, or `wait_s` have passed."""
        if self.version == version:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()

    def _touch(self) -> None:
        self.settle()
        self.version += 1
        self._changed.set()
        self._changed = asyncio.Event()

    def _save(self) -> None:
        generation = self.state.generations[self.newest]
        saved = {"assignment": generation.document, "routed": generation.number if generation.routed else 0}
        write_bytes(json.dumps(saved).encode(), self._directory / _SAVED)


class ServiceLoop:
    """Keeps an agent and the service in touch: registers, takes assignments, reports."""

    def __init__(self, agent: Agent, client: ServiceClient, address: str) -> None:
        self._agent = agent
        self._client = client
        self._address = address
        self._node: Node | None = None
        self._away = False

    async def register_first(self) -> None:
        """Register once, so that a wrong key or name is said at the start.

        A service that is away is no error: the agent tries on. Raises ServiceError for what will not mend.
        """
        try:
            await self._register()
        except ServiceError as error:
            if 400 <= error.status < 500 and not self._agent.newest:
                raise
            self._missed(error)

    async def run(self) -> None:
        """For ever."""
        await asyncio.gather(self._follow(), self._report())

    async def _follow(self) -> None:
        etag = ""
        while True:
            try:
                node = self._node or await self._register()
                assignment = await self._client.assignment(node.id, wait_s=_WAIT_S, etag=etag)
                self._answered()
                if assignment is not None:
                    etag = assignment.etag
                    self._take(assignment.document)
            except ServiceError as error:
                etag = ""
                self._missed(error)
                await asyncio.sleep(1.0)

    def _take(self, document: Any) -> None:
        try:
            self._agent.accept(document)
        except ServiceError as error:
            log.error("assignment refused", error=str(error))

    async def _report(self) -> None:
        while True:
            wait_s = self._node.heartbeat_s if self._node is not None else 1.0
            # Changes are reported at once, or nearly: many come together.
            await self._agent.wait_for_change(self._agent.version, wait_s)
            await asyncio.sleep(min(0.1, wait_s))
            if self._node is None:
                continue
            try:
                await self._client.report(self._node.id, self._agent.status())
                self._answered()
            except ServiceError as error:
                self._missed(error)
                await asyncio.sleep(1.0)

    async def _register(self) -> Node:
        offers = [device.offer() for device in self._agent.devices.values()]
        self._node = await self._client.register(self._agent.name, self._address, offers)
        return self._node

    def _missed(self, error: ServiceError) -> None:
        if error.status == 404:  # it has forgotten this node
            self._node = None
        if not self._away:
            log.warning("service away", error=str(error))
        self._away = True

    def _answered(self) -> None:
        if self._away:
            log.info("service back")
        self._away = False


def _own_directory(name: str, state: Path) -> tuple[Path, int]:
    """The directory of this agent's sockets, emptied of an earlier life's, and the lock that says it is ours.

    It is not in the state directory, since the path of a unix socket has at most 107 bytes.
    """
    state.mkdir(parents=True, exist_ok=True)
    lock = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise ServingError(f"another agent uses {state}; give each its own --state-dir") from None
    digest = hashlib.sha256(f"{name}\0{state.resolve()}".encode()).hexdigest()[:12]
    sockets = Path(tempfile.gettempdir()) / f"regraft-{os.getuid()}-{digest}"
    sockets.mkdir(mode=0o700, exist_ok=True)
    if sockets.stat().st_uid != os.getuid():
        raise ServingError(f"{sockets} belongs to somebody else")
    for path in sockets.iterdir():
        path.unlink()
    return sockets, lock
