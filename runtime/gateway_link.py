"""The gateway's end of the connection to one worker."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any, NamedTuple, cast

from runtime.eager import EagerWriter
from runtime.gateway_pool import Job, Pool
from runtime.transport import Decoder, ForeignPeerError, Message, clock_ns, encode, machine
from runtime.transport_arena import INLINE_BYTES, Arena, Tensor

# The clock of another machine is read this many times before anything is sent there.
_PINGS = 5
_NS_PER_MS = 1_000_000


class Sent(NamedTuple):
    """What a worker was sent: it may read `given` and write `output` until it has answered."""

    job: Job
    given: Tensor
    output: Tensor | None


class Link(asyncio.BufferedProtocol):
    """Sends jobs, takes answers. `on_ready` is called once it can be used, `on_lost` when it is gone."""

    def __init__(
        self,
        gateway: str,
        arena: Arena | None,
        on_ready: Callable[[Link], None],
        on_lost: Callable[[Link], None],
    ) -> None:
        self.hello: dict[str, Any] = {}
        self.pool: Pool | None = None
        self.outstanding: dict[int, Sent] = {}
        self.draining = False
        # When it will have run what it runs now, as far as can be told.
        self.free_ns = 0
        self._gateway = gateway
        self._arena = arena
        self._on_ready = on_ready
        self._on_lost = on_lost
        self._decoder = Decoder()
        self._transport: asyncio.Transport | None = None
        self._writer: EagerWriter | None = None
        self._waiting: set[int] = set()
        self._pings = 0
        self._clock_offset_ns = 0
        self._best_round_trip_ns = 1 << 62

    async def open(self, endpoint: str) -> None:
        """Connect to `unix:PATH`, and share the arena; or to `tcp:HOST:PORT`. Raises OSError."""
        loop = asyncio.get_running_loop()
        kind, _, address = endpoint.partition(":")
        hello = {"gateway": self._gateway, "machine": machine(), "arena": 0}
        if kind == "tcp":
            host, _, port = address.rpartition(":")
            await loop.create_connection(lambda: self, host, int(port))
        else:
            connection = socket.socket(socket.AF_UNIX)
            connection.setblocking(False)
            try:
                await loop.sock_connect(connection, address)
            except BaseException:
                connection.close()
                raise
            if self._arena is not None:
                # A greeting is small, and the socket new: it fits.
                greeting = b"".join(encode(["hello", {**hello, "arena": self._arena.size}]))
                socket.send_fds(connection, [greeting], [self._arena.descriptor])
            await loop.create_unix_connection(lambda: self, sock=connection)
        if kind == "tcp":
            self._arena = None
        if self._arena is None and self._transport is not None:
            self._transport.writelines(encode(["hello", hello]))

    @property
    def takes_work(self) -> bool:
        """Whether it may be given something: connected, and not draining beside others who could take it."""
        if self._transport is None or self.pool is None:
            return False
        return not self.draining or self.pool.leaving

    @property
    def dispensable(self) -> bool:
        """Whether nothing is lost by hanging up: it has nothing to do, and nothing will need it."""
        if self.outstanding:
            return False
        return self.pool is None or not self.pool.claims or (self.draining and not self.pool.leaving)

    @property
    def waiting_samples(self) -> int:
        """Samples that were sent ahead and have not been started, as far as is known here."""
        return sum(self.outstanding[identity].job.samples for identity in self._waiting)

    def run(self, jobs: list[Job]) -> None:
        """Send a batch, or a part of the next one."""
        assert self._writer is not None
        assert self.pool is not None
        if self.outstanding:
            self._waiting.update(job.id for job in jobs)
        else:
            self._started(sum(job.samples for job in jobs))
        items = []
        beside = []
        for job in jobs:
            output = self._place(job)
            given = job.tensor
            self.outstanding[job.id] = Sent(job, given, output)
            job.attempts += 1
            input_at = given.offset if self._arena is not None else -1
            if input_at < 0:
                beside.append(given.data)
            deadline_ns = job.stage_deadline_ns() + self._clock_offset_ns
            output_at = output.offset if output is not None else -1
            items.append([job.id, job.samples, deadline_ns, len(given.data), input_at, output_at])
        self._writer.write(encode(["run", items], beside))

    def close(self) -> None:
        """Hang up; what was outstanding is given to others."""
        if self._transport is not None:
            self._transport.close()

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._writer = EagerWriter(self._transport)
        connection = transport.get_extra_info("socket")
        if connection is not None and connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connection_lost(self, _exc: Exception | None) -> None:
        self._transport = None
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        jobs = [sent.job for sent in self.outstanding.values()]
        self.outstanding.clear()
        self._waiting.clear()
        if self.pool is not None:
            self.pool.members.remove(self)
        self._on_lost(self)
        for job in jobs:
            job.try_again()

    def get_buffer(self, _sizehint: int) -> memoryview:
        return self._decoder.space()

    def buffer_updated(self, nbytes: int) -> None:
        try:
            messages = self._decoder.received(nbytes)
        except ForeignPeerError:
            self.close()
            return
        for message in messages:
            self._handle(message)

    def _handle(self, message: Message) -> None:
        kind, *rest = message.header
        if kind == "done":
            self._done(rest[0], rest[1], rest[2], message.payload)
        elif kind == "late":
            for sent in self._settle(rest):
                sent.job.too_late()
        elif kind == "failed":
            for sent in self._settle(rest[1:]):
                sent.job.failed(rest[0])
        elif kind == "hello":
            self._greeted(rest[0])
        elif kind == "drain":
            self.draining = True
        elif kind == "pong":
            self._pong(rest[0], rest[1])
        if self.pool is not None:
            self.pool.dispatch()
            if self.draining and self.dispensable:
                self.close()

    def _done(self, items: list[list[int]], exec_ms: float, batch: int, payload: memoryview) -> None:
        pool = self.pool
        assert pool is not None
        now_ns = clock_ns()
        pool.estimate.record(batch, exec_ms, now_ns)
        pool.execs.observe(exec_ms / 1000)
        pool.batches.observe(batch)
        settled = self._settle([item[0] for item in items])
        # What was sent ahead runs now.
        self._waiting.clear()
        if self.outstanding:
            self._started(sum(sent.job.samples for sent in self.outstanding.values()))
        # The worker first, then the clients: it is free and they are many.
        pool.dispatch()
        position = 0
        for sent, (_, _, length, place, copied) in zip(settled, items, strict=True):
            job = sent.job
            job.copied += copied
            if place and sent.output is not None:
                output = sent.output
            else:
                output = Tensor(payload[position : position + length])
                position += length
                job.copied += length
            job.advance(output, exec_ms, batch, now_ns)

    def _place(self, job: Job) -> Tensor | None:
        """Put what is to be read into the arena, if it is not there yet, and make room for the answer."""
        arena, pool = self._arena, self.pool
        if arena is None or pool is None:
            return None
        size = len(job.tensor.data)
        if job.tensor.offset < 0 and size >= INLINE_BYTES:
            moved = arena.allocate(size)
            if moved is not None:
                moved.data[:] = job.tensor.data
                job.tensor = moved
                job.copied += size
        answer_size = job.samples * pool.output_bytes
        return arena.allocate(answer_size) if answer_size >= INLINE_BYTES else None

    def _started(self, samples: int) -> None:
        assert self.pool is not None
        self.free_ns = clock_ns() + int(self.pool.estimate.ms(samples) * _NS_PER_MS)

    def _settle(self, identities: list[int]) -> list[Sent]:
        """These are answered."""
        self._waiting.difference_update(identities)
        return [self.outstanding.pop(identity) for identity in identities]

    def _greeted(self, hello: dict[str, Any]) -> None:
        self.hello = hello
        if hello["machine"] == machine():
            self._on_ready(self)
        elif self._transport is not None:
            self._transport.writelines(encode(["ping", clock_ns()]))

    def _pong(self, sent_ns: int, their_ns: int) -> None:
        """Their clock beside ours: as at the middle of the fastest round trip."""
        now_ns = clock_ns()
        if now_ns - sent_ns < self._best_round_trip_ns:
            self._best_round_trip_ns = now_ns - sent_ns
            self._clock_offset_ns = their_ns - (sent_ns + now_ns) // 2
        self._pings += 1
        if self._pings == _PINGS:
            self._on_ready(self)
        elif self._pings < _PINGS and self._transport is not None:
            self._transport.writelines(encode(["ping", now_ns]))
