"""Stages behind an exit get their batches full again, if there is time.

What several batches have left over comes to the next stage in small parts. A free worker would take them as
they come, in small batches; a `Filling` holds them until a full batch is there, or until waiting any longer
could break a promise: when the most urgent could only just run in the batch after this one, or the oldest
has waited as long as a full batch takes, which is what law 2 allows for waiting.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from runtime.transport import clock_ns

if TYPE_CHECKING:
    from runtime.gateway_pool import Pool

_NS_PER_MS = 1_000_000


class Filling:
    """Whether a pool's backlog should wait, and a timer for when it has waited enough."""

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None
        # For the metrics: batches that went out full, and those that were not.
        self.full = 0
        self.flushed = 0

    def holds(self, pool: Pool) -> bool:
        """Whether to wait for more; the pool is asked to dispatch again in time."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if pool.backlog.samples >= pool.kind.batch:
            self.full += 1
            return False
        now_ns = clock_ns()
        flush_ns = self._flush_ns(pool)
        if now_ns >= flush_ns or pool.leaving:
            self.flushed += 1
            return False
        delay_s = (flush_ns - now_ns) / 1e9
        self._timer = asyncio.get_running_loop().call_later(delay_s, pool.dispatch)
        return True

    def _flush_ns(self, pool: Pool) -> int:
        exec_ns = int(pool.estimate.ms(pool.kind.batch) * _NS_PER_MS)
        oldest_ns = min(job.queued_ns for job in pool.backlog.items())
        return min(oldest_ns + exec_ns, pool.backlog.earliest_deadline_ns() - 2 * exec_ns)
