"""The gateway: follows the agents' routing tables, and takes requests along the routed generation's stages.

It needs no service: agents are long-polled for what runs where. A new generation is routed once every one
of its instances is connected; requests that were accepted before stay on the generation they began in,
and the connections that only it needs are closed when the last of them is answered. A worker that loses
all its connections while it drains ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from runtime.errors import (
    BadRequestError,
    NotServingError,
    QueueFullError,
    RequestError,
    TooLateError,
    UnknownFragmentError,
)
from runtime.gateway_link import Link
from runtime.gateway_pool import Job, Pool, StageKind
from runtime.gateway_routing import Route, Router, kind_of, routes_of
from runtime.inference_protocol import Answer, InferRequest, TensorType, joined_name, split_name
from runtime.metrics import Distribution
from runtime.transport import clock_ns, machine
from runtime.transport_arena import Arena

Done = Callable[[Answer | RequestError], None]

_SWEEP_S = 0.02
_RECONNECT_S = 0.2


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """A worker as its agent lists it: where it listens, and its (stage, instance) by generation."""

    endpoint: str
    draining: bool
    by_generation: dict[int, tuple[str, int]]


@dataclass(slots=True)
class Tally:
    """What became of the requests so far: by HTTP status, fragment and exit, and how long they took by entry.

    A fragment's requests are answered, dropped (they could not be on time), failed, or refused before they
    were queued; `on_time` are those of the answered that were within their budget. `left` were answered by an
    exit; `lost` were dropped or failed after they had gone on past one.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    on_time: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    left: Counter[tuple[str, int]] = field(default_factory=Counter)
    lost: Counter[tuple[str, int]] = field(default_factory=Counter)
    seconds: dict[tuple[str, int], Distribution] = field(default_factory=dict)

    def answer(self, route: Route, total_ms: float, budget_ms: float) -> None:
        """A request was answered."""
        self.statuses[200] += 1
        self.answered[route.fragment] += 1
        self.on_time[route.fragment] += total_ms <= budget_ms
        entry = (route.model, route.start)
        if entry not in self.seconds:
            self.seconds[entry] = Distribution.of_seconds()
        self.seconds[entry].observe(total_ms / 1000)

    def fail(self, route: Route, error: RequestError) -> None:
        """A request that was queued is not answered."""
        self.statuses[error.status] += 1
        (self.dropped if isinstance(error, TooLateError) else self.failed)[route.fragment] += 1


class Gateway:
    """Routes, queues and connections. All of it runs in one event loop.

    `queue_limit` is the samples that one queue holds, and so the most that one request may have.
    """

    def __init__(
        self,
        *,
        queue_limit: int = 256,
        arena: Arena | None = None,
        on_routed: Callable[[int], None] | None = None,
    ) -> None:
        self.id = uuid.uuid4().hex[:12]
        self.pools: dict[StageKind, Pool] = {}
        self.active: Router | None = None
        self.tally = Tally()
        self.queue_limit = queue_limit
        self._arena = arena
        self._on_routed = on_routed
        self._tables: dict[str, dict[str, Any]] = {}
        self._listed: dict[str, Listed] = {}
        self._instances: dict[str, Link] = {}
        self._connecting: dict[str, asyncio.Task[None]] = {}
        self._in_flight: Counter[int] = Counter()
        self._next_id = 0
        self._sweeper: asyncio.Task[None] | None = None
        self._closed = False
        self._stopping = False

    def start(self) -> None:
        """Begin to watch the queues."""
        self._sweeper = asyncio.get_running_loop().create_task(self._sweep())

    def stop_taking(self) -> None:
        """From now on nothing is ready, and new requests are to be refused; those accepted go on."""
        self._stopping = True

    def check_taking(self) -> None:
        """Raises NotServingError once this gateway is to stop. For the fronts, before they submit."""
        if self._stopping:
            raise NotServingError("this gateway is stopping; ask another, or try again later")

    async def close(self) -> None:
        """Hang up everywhere."""
        self._closed = True
        tasks = [task for task in (self._sweeper, *self._connecting.values()) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for instance in list(self._instances.values()):
            instance.close()
        await asyncio.sleep(0)

    @property
    def ready(self) -> bool:
        """Whether a generation is routed, each of its stages has a worker, and requests are still taken."""
        return (
            not self._stopping
            and self.active is not None
            and all(
                hop.pool.members and not hop.pool.closed for route in self.active.routes for hop in route.hops
            )
        )

    @property
    def in_flight(self) -> int:
        """Requests accepted and not answered yet."""
        return self._in_flight.total()

    def submit(self, name: str, request: InferRequest, done: Done, gone: Callable[[], bool]) -> None:
        """Take a request along its route; `done` is called once, later or at once.

        `gone` says whether the sender has hung up: then the request need not be run any more.
        Raises RequestError where it is not even accepted.
        """
        arrived_ns = clock_ns()
        route, router = self._route(name, request.fragment)
        first, last = self._types(route)
        if request.datatype != first.datatype or request.shape[1:] != first.shape:
            raise BadRequestError(
                f"{name} takes {first.datatype} {[-1, *first.shape]}; "
                f"this is {request.datatype} {list(request.shape)}"
            )
        samples = request.shape[0]
        if samples > self.queue_limit:
            raise BadRequestError(f"{samples} samples in one request; at most {self.queue_limit} are taken")
        try:
            route.hops[0].pool.check_room(samples)
        except QueueFullError:
            self.tally.refused[route.fragment] += 1
            raise
        budget_ms = route.budget_ms if request.budget_ms is None else request.budget_ms
        self._next_id += 1
        generation = router.generation

        def finish(job: Job, error: RequestError | None) -> None:
            for hop in job.hops:
                hop.pool.claims -= 1
            self._in_flight[generation] -= 1
            if error is not None:
                self.tally.fail(route, error)
                passed = [layer for hop in job.hops[: job.position] for layer in hop.pool.kind.exits]
                if passed:
                    router.exits.lost[route.fragment, max(passed)] += 1
                    self.tally.lost[route.fragment, max(passed)] += 1
                done(error)
            else:
                router.exits.answered[route.fragment] += 1
                if job.left is not None:
                    router.exits.left[route.fragment, job.left] += 1
                    self.tally.left[route.fragment, job.left] += 1
                total_ms = (clock_ns() - arrived_ns) / 1e6
                self.tally.answer(route, total_ms, budget_ms)
                shape = (samples, *last.shape)
                done(
                    Answer(
                        datatype=last.datatype,
                        shape=shape,
                        tensor=job.tensor.data,
                        fragment=route.fragment,
                        generation=generation,
                        total_ms=total_ms,
                        stages=tuple(job.times),
                        copied_bytes=job.copied,
                    )
                )
            if not self._in_flight[generation] and self.active is not router:
                self._retire()

        job = Job(
            id=self._next_id,
            samples=samples,
            tensor=request.tensor,
            arrived_ns=arrived_ns,
            deadline_ns=arrived_ns + int(budget_ms * 1e6),
            hops=route.hops,
            finish=finish,
            gone=gone,
            copied=request.copied,
        )
        self._in_flight[generation] += 1
        for hop in route.hops:
            hop.pool.claims += 1
        job.enter()

    def describe(self, name: str) -> tuple[TensorType, TensorType]:
        """What a model name takes and gives. Raises RequestError where it is not served."""
        routes = self._entry(name)
        return self._types(routes[0])

    def model_ready(self, name: str) -> bool:
        """Whether requests for that name are taken and every stage behind it has a worker.

        Raises UnknownFragmentError.
        """
        entry = self._entry(name)
        return not self._stopping and all(hop.pool.members for route in entry for hop in route.hops)

    def names(self) -> list[str]:
        """The model names served now."""
        if self.active is None:
            return []
        return sorted({joined_name(route.model, route.start) for route in self.active.routes})

    # the agents' side

    def update(self, agent: str, table: dict[str, Any]) -> None:
        """An agent's routing table has changed."""
        self._tables[agent] = table
        listed: dict[str, Listed] = {}
        for other in self._tables.values():
            for generation in other["generations"]:
                for worker in generation["workers"]:
                    if worker["state"] not in ("ready", "draining"):
                        continue
                    entry = listed.setdefault(
                        worker["key"],
                        Listed(
                            endpoint=_nearest(worker["endpoints"], other["machine"]),
                            draining=worker["state"] == "draining",
                            by_generation={},
                        ),
                    )
                    entry.by_generation[generation["generation"]] = (worker["stage"], worker["instance"])
        self._listed = listed
        self._expect()
        for key in listed:
            self._connect_soon(key, 0.0)
        self._activate()

    def _expect(self) -> None:
        """Note which pools have workers that are, or will be, there."""
        kinds: set[StageKind] = set()
        for table in self._tables.values():
            for document in table["generations"]:
                kept = {w["stage"] for w in document["workers"] if w["state"] != "draining"}
                kinds.update(kind_of(stage) for stage in document["stages"] if stage["id"] in kept)
        for kind, pool in self.pools.items():
            pool.expected = kind in kinds

    def _activate(self) -> None:
        """Route the newest generation that is whole, if it is newer than the one that is routed."""
        documents: dict[int, dict[str, Any]] = {}
        for table in self._tables.values():
            for document in table["generations"]:
                documents.setdefault(document["generation"], document)
        for number in sorted(documents, reverse=True):
            if self.active is not None and number <= self.active.generation:
                return
            if number > 0 and self._whole(documents[number]):
                routes = routes_of(documents[number], self.pools, self.queue_limit)
                self.active = Router(number, routes)
                self._retire()
                if self._on_routed is not None:
                    self._on_routed(number)
                return

    def _whole(self, document: dict[str, Any]) -> bool:
        """Whether every instance is connected; for one that was routed before, one of each stage will do."""
        connected = {
            listed.by_generation[document["generation"]]
            for key, listed in self._listed.items()
            if document["generation"] in listed.by_generation and key in self._instances
        }
        if document["routed"]:
            stages = {stage for stage, _ in connected}
            return all(stage["id"] in stages for stage in document["stages"])
        return all(
            (stage["id"], instance) in connected
            for stage in document["stages"]
            for instance in range(stage["instances"])
        )

    def _retire(self) -> None:
        """Hang up where only generations that are over were served."""
        assert self.active is not None
        for key, instance in list(self._instances.items()):
            if not self._needed(key) and not instance.outstanding:
                instance.close()
        live = {hop.pool.kind for route in self.active.routes for hop in route.hops}
        for kind, pool in list(self.pools.items()):
            if kind not in live and not pool.claims and not pool.members:
                del self.pools[kind]

    def _needed(self, key: str) -> bool:
        """Whether that worker serves the routed generation, a newer one, or requests of one that is over."""
        listed = self._listed.get(key)
        if listed is None:
            return False
        routed = self.active.generation if self.active is not None else 0
        return any(number >= routed or self._in_flight[number] for number in listed.by_generation)

    def _connect_soon(self, key: str, delay_s: float) -> None:
        if self._closed or key in self._instances or key in self._connecting or not self._needed(key):
            return
        if not self._listed[key].draining:
            self._connecting[key] = asyncio.get_running_loop().create_task(self._connect(key, delay_s))

    async def _connect(self, key: str, delay_s: float) -> None:
        """Connect to a worker, for as long as it is needed."""
        try:
            await asyncio.sleep(delay_s)
            while self._needed(key):
                greeted: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
                with contextlib.suppress(OSError):
                    await self._link(key, greeted).open(self._listed[key].endpoint)
                    if await greeted:
                        return
                await asyncio.sleep(_RECONNECT_S)
        finally:
            del self._connecting[key]

    def _link(self, key: str, greeted: asyncio.Future[bool]) -> Link:
        def ready(instance: Link) -> None:
            self._joined(key, instance)
            greeted.set_result(True)

        def lost(instance: Link) -> None:
            self._left(key, instance)
            if not greeted.done():
                greeted.set_result(False)

        return Link(self.id, self._arena, ready, lost)

    def _joined(self, key: str, instance: Link) -> None:
        hello = instance.hello
        gpu = self._gpu_type(key)
        if hello["key"] != key or gpu is None:  # another worker listens there now
            instance.close()
            return
        kind = StageKind(
            hello["model"],
            hello["start"],
            hello["end"],
            hello["batch"],
            float(hello["share"]),
            gpu,
            tuple(hello.get("exits", ())),
        )
        pool = self.pools.get(kind)
        if pool is None:
            pool = self.pools[kind] = Pool(kind, self.queue_limit)
        self._instances[key] = instance
        pool.join(instance)
        self._activate()

    def _left(self, key: str, instance: Link) -> None:
        if self._instances.get(key) is instance:
            del self._instances[key]
            # Still listed: its agent has not noticed yet, or it hung up on us. Try while it is needed.
            self._connect_soon(key, _RECONNECT_S)

    def _gpu_type(self, key: str) -> str | None:
        listed = self._listed.get(key)
        if listed is None:
            return None
        for table in self._tables.values():
            for document in table["generations"]:
                label = listed.by_generation.get(document["generation"])
                for stage in document["stages"]:
                    if label is not None and stage["id"] == label[0]:
                        return kind_of(stage).gpu
        return None

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_S)
            now_ns = clock_ns()
            for pool in list(self.pools.values()):
                if len(pool.backlog):
                    pool.drop_gone()
                    pool.drop_late(now_ns)

    # routes

    def _route(self, name: str, fragment: str | None) -> tuple[Route, Router]:
        router = self._router()
        model, start = _split(name)
        route = router.choose(model, start, fragment)
        if route.broken:
            stages = ", ".join(hop.stage for hop in route.hops if hop.pool.closed)
            raise NotServingError(f"{name}: no worker is left for stage {stages}")
        return route, router

    def _entry(self, name: str) -> list[Route]:
        return self._router().entry(*_split(name))

    def _router(self) -> Router:
        if self.active is None:
            raise NotServingError("no generation is routed yet: the agents' workers are not all ready")
        return self.active

    def _types(self, route: Route) -> tuple[TensorType, TensorType]:
        """What goes in and comes out, as the workers at both ends of the route say."""
        first, last = route.hops[0].pool, route.hops[-1].pool
        if first.types is None or last.types is None:
            raise NotServingError(f"{route.model}: a stage of its route has no worker")
        return first.types[0], last.types[1]


def _split(name: str) -> tuple[str, int]:
    parts = split_name(name)
    if parts is None:
        raise UnknownFragmentError(f"{name!r} is not served; a fragment is named model@start")
    return parts


def _nearest(endpoints: list[str], where: str) -> str:
    """A unix socket of this machine if there is one, else the network."""
    here = where == machine()
    for endpoint in endpoints:
        if here or not endpoint.startswith("unix:"):
            return endpoint
    return endpoints[0]
