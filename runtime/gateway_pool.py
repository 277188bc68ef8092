"""Queues in front of workers: one pool for each kind of stage, with every worker of that kind as a member.

The queue is here and not in the workers, so that what waits can go to whichever worker is free first, and
elsewhere when one dies. A worker that is free gets up to a batch at once. A busy one gets up to a batch
ahead, so that it need not wait for us between two batches, but only where nobody else could have run it
sooner: when it is alone, or will be free in a moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from runtime.batching import Backlog, ExecEstimate
from runtime.errors import QueueFullError, RequestError, StageFailedError, TooLateError
from runtime.inference_protocol import StageTime, TensorType
from runtime.metrics import Distribution
from runtime.transport import clock_ns
from runtime.transport_arena import Tensor

if TYPE_CHECKING:
    from runtime.gateway_link import Link

# A request whose workers die under it may be what kills them: it is not tried for ever.
MAX_ATTEMPTS = 3

# How long before a worker becomes free it may be sent its next batch though it is not alone. More than the
# way there and back, less than most batches take.
AHEAD_NS = 2_000_000

_NS_PER_MS = 1_000_000


class StageKind(NamedTuple):
    """What makes workers interchangeable: the same layers, batch, share and GPU type."""

    model: str
    start: int
    end: int
    batch: int
    share: float
    gpu: str


class Hop(NamedTuple):
    """A stage on a route: its name in the plan, and the pool that runs it."""

    stage: str
    pool: Pool


@dataclass(slots=True, eq=False)
class Job:
    """One request on its way through its stages.

    `tensor` is what the next stage reads, and in the end the answer; `copied` counts the bytes that were
    copied for it so far. `finish` is called once, with the error where there is one. `gone` says whether
    its sender has hung up. Times are of this machine's monotonic clock.
    """

    id: int
    samples: int
    tensor: Tensor
    arrived_ns: int
    deadline_ns: int
    hops: tuple[Hop, ...]
    finish: Callable[[Job, RequestError | None], None]
    gone: Callable[[], bool]
    copied: int = 0
    position: int = 0
    queued_ns: int = 0
    attempts: int = 0
    times: list[StageTime] = field(default_factory=list)

    def enter(self) -> None:
        """Queue for the stage at `position`."""
        self.queued_ns = clock_ns()
        self.hops[self.position].pool.put(self)

    def advance(self, output: Tensor, exec_ms: float, batch: int, now_ns: int) -> None:
        """The stage at `position` has answered."""
        hop = self.hops[self.position]
        waited_ms = max(0.0, (now_ns - self.queued_ns) / _NS_PER_MS - exec_ms)
        hop.pool.waits.observe(waited_ms / 1000)
        self.times.append(StageTime(hop.stage, waited_ms, exec_ms, batch))
        self.tensor = output
        self.position += 1
        self.attempts = 0
        if self.position == len(self.hops):
            self.finish(self, None)
        else:
            self.enter()

    def stage_deadline_ns(self) -> int:
        """When the stage at `position` must have answered, for the later ones to be on time."""
        later_ms = 0.0
        for hop in self.hops[self.position + 1 :]:
            later_ms += hop.pool.estimate.least_ms(self.samples)
        return self.deadline_ns - int(later_ms * _NS_PER_MS)

    def too_late(self) -> None:
        """Dropped."""
        hop = self.hops[self.position]
        hop.pool.dropped += 1
        budget_ms = (self.deadline_ns - self.arrived_ns) / _NS_PER_MS
        spent_ms = (clock_ns() - self.arrived_ns) / _NS_PER_MS
        message = f"dropped before stage {hop.stage}: {spent_ms:.1f} of {budget_ms:.1f} ms were spent waiting"
        self.finish(self, TooLateError(message))

    def failed(self, problem: str) -> None:
        """The stage at `position` cannot answer it."""
        hop = self.hops[self.position]
        hop.pool.failed += 1
        self.finish(self, StageFailedError(f"stage {hop.stage}: {problem}"))

    def try_again(self) -> None:
        """The worker that had it is gone."""
        if self.attempts >= MAX_ATTEMPTS:
            self.failed(f"{self.attempts} workers died of this request")
        else:
            self.hops[self.position].pool.put(self)


class Pool:
    """The queue of one kind of stage, and the workers that empty it."""

    def __init__(self, kind: StageKind, queue_limit: int) -> None:
        self.kind = kind
        self.members: list[Link] = []
        self.backlog: Backlog[Job] = Backlog()
        self.estimate = ExecEstimate()
        # Requests on their way to this pool or in it: while there are any, its last worker must stay.
        self.claims = 0
        # Whether some agent keeps a worker of this kind, though it may be restarting it just now.
        self.expected = True
        # What its workers take and give, as the first of them said.
        self.types: tuple[TensorType, TensorType] | None = None
        self.output_bytes = 0
        # For the metrics.
        self.waits = Distribution.of_seconds()
        self.execs = Distribution.of_seconds()
        self.batches = Distribution.of_batches()
        self.dropped = 0
        self.failed = 0
        self._queue_limit = queue_limit
        self._dispatching = False

    @property
    def leaving(self) -> bool:
        """Whether it has workers, and all of them want to stop."""
        return bool(self.members) and all(member.draining for member in self.members)

    @property
    def closed(self) -> bool:
        """Whether requests that come now would not be served: its workers stop, or are gone for good."""
        return self.leaving if self.members else not self.expected

    def join(self, member: Link) -> None:
        """A worker of this kind is there."""
        hello = member.hello
        for samples, exec_ms in hello["exec_ms"]:
            self.estimate.record(samples, exec_ms, clock_ns())
        (given, given_shape), (answered, answered_shape) = hello["input"], hello["output"]
        self.types = (TensorType(given, tuple(given_shape)), TensorType(answered, tuple(answered_shape)))
        self.output_bytes = hello["output_bytes"]
        member.pool = self
        self.members.append(member)
        self.dispatch()

    def check_room(self, samples: int) -> None:
        """Raises QueueFullError when a request of `samples` does not fit. Empty queues take any."""
        if self.backlog.samples and self.backlog.samples + samples > self._queue_limit:
            kind = self.kind
            raise QueueFullError(
                f"{self.backlog.samples} samples are queued for {kind.model}[{kind.start}:{kind.end}]; "
                f"at most {self._queue_limit} may be"
            )

    def put(self, job: Job) -> None:
        """Queue a job, and run it if a worker is free, once what came together with it is queued as well.

        What the event loop has read in one go is then one message to a worker and one batch, not many.
        """
        self.backlog.put(job, deadline_ns=job.stage_deadline_ns(), samples=job.samples)
        if not self._dispatching:
            self._dispatching = True
            asyncio.get_running_loop().call_soon(self._dispatch_queued)

    def dispatch(self) -> None:
        """Give what is queued to whoever is free, or nearly."""
        if not len(self.backlog):
            return
        active = [member for member in self.members if member.takes_work]
        for member in active:
            if not member.outstanding:
                self._send(member, self.kind.batch)
                if not len(self.backlog):
                    return
        if not active:
            return
        soonest = min(active, key=lambda member: member.free_ns)
        if len(active) == 1 or soonest.free_ns - clock_ns() < AHEAD_NS:
            room = self.kind.batch - soonest.waiting_samples
            if room > 0:
                self._send(soonest, room)

    def drop_late(self, now_ns: int) -> None:
        """Answer those who can no longer be on time, also while nobody is free."""
        for job in self.backlog.drop_late(now_ns, self.estimate):
            job.too_late()

    def drop_gone(self) -> None:
        """Forget those whose sender has hung up."""
        for job in self.backlog.remove(lambda job: job.gone()):
            job.finish(job, StageFailedError("its sender has hung up"))

    def _dispatch_queued(self) -> None:
        self._dispatching = False
        self.dispatch()

    def _send(self, member: Link, room: int) -> None:
        taken = self.backlog.take(room, clock_ns(), self.estimate)
        if taken.batch:
            # The one that was given work goes to the end: the others have rested longer.
            self.members.remove(member)
            self.members.append(member)
            member.run(taken.batch)
        for job in taken.late:
            job.too_late()
