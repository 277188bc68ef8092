"""Which requests a free worker takes next, and which can no longer be on time.

The rules, shared by the gateway (which holds a queue for each kind of stage) and the worker (which holds
what the gateway sent ahead):

* A free worker takes what is queued, at once, up to its batch: it never waits for a batch to fill.
* The earliest deadline goes first. With at most one batch queued, as the planner's law 2 assumes, order
  does not matter; in a burst, it keeps more promises than first come, first served.
* A request that would be late even in a batch of its own is dropped, and its sender told.
* Where the full batch would make its most urgent member late, a smaller one goes first if those left
  behind can still be on time after it; if they cannot, the urgent one is dropped, for it costs only one.

A request of n samples takes n places. One larger than a batch runs alone, in several pieces.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

Item = TypeVar("Item")

_NS_PER_MS = 1_000_000


def sizes_up_to(batch: int) -> list[int]:
    """The batch sizes a worker makes itself ready for: one, the powers of two, and its own."""
    return sorted({1, batch, *(2**power for power in range(20) if 2**power < batch)})


class ExecEstimate:
    """How long a batch of n samples will take, in ms: from its last measurements, interpolated between sizes.

    `ms` is the median, `least_ms` the least. A request is dropped for what batches typically take where
    others wait for its place, and only for the least they take where nobody does. So one disturbed
    measurement drops nothing; and where all of them were disturbed, and nothing has been measured for a
    second since, every drop lowers the estimates a little, until a request gets through and is measured.
    """

    _WINDOW = 16
    _DOUBT = 0.95
    _STALE_NS = 1_000_000_000

    def __init__(self) -> None:
        self._measured: dict[int, deque[float]] = {}
        self._median: dict[int, float] = {}
        self._least: dict[int, float] = {}
        self._last_ns = 0

    def record(self, samples: int, exec_ms: float, now_ns: int) -> None:
        """A batch of `samples` took `exec_ms`."""
        window = self._measured.get(samples)
        if window is None:
            window = self._measured[samples] = deque(maxlen=self._WINDOW)
            # Kept sorted by batch size, for the interpolation.
            self._median = dict(sorted({**self._median, samples: exec_ms}.items()))
            self._least = dict(sorted({**self._least, samples: exec_ms}.items()))
        window.append(exec_ms)
        ordered = sorted(window)
        self._median[samples] = ordered[len(ordered) // 2]
        self._least[samples] = ordered[0]
        self._last_ns = now_ns

    def ms(self, samples: int) -> float:
        """What a batch of `samples` typically takes; 0 before anything was measured."""
        return _interpolated(self._median, samples)

    def least_ms(self, samples: int) -> float:
        """The least that a batch of `samples` takes; 0 before anything was measured."""
        return _interpolated(self._least, samples)

    def doubt(self, now_ns: int) -> None:
        """A request was dropped because of this estimate: if it is old, trust it a little less."""
        if now_ns - self._last_ns > self._STALE_NS:
            for table in (self._median, self._least):
                for size in table:
                    table[size] *= self._DOUBT

    def table(self) -> dict[int, float]:
        """What batches typically take, by the sizes that were measured."""
        return dict(self._median)


@dataclass(slots=True, order=True)
class Entry(Generic[Item]):
    """A queued request: `samples` places, wanted by `deadline_ns`; the earlier `order` breaks ties."""

    deadline_ns: int
    order: int
    samples: int = field(compare=False)
    item: Item = field(compare=False)


class Taken(NamedTuple, Generic[Item]):
    """What to run now, and what to drop."""

    batch: list[Item]
    late: list[Item]


class Backlog(Generic[Item]):
    """Queued requests, the most urgent first."""

    def __init__(self) -> None:
        self._heap: list[Entry[Item]] = []
        self._order = 0
        self.samples = 0

    def __len__(self) -> int:
        return len(self._heap)

    def items(self) -> list[Item]:
        """What is queued, in no order."""
        return [entry.item for entry in self._heap]

    def earliest_deadline_ns(self) -> int:
        """The deadline of the most urgent; there must be one."""
        return self._heap[0].deadline_ns

    def put(self, item: Item, *, deadline_ns: int, samples: int) -> None:
        """Queue a request."""
        self._order += 1
        heapq.heappush(self._heap, Entry(deadline_ns, self._order, samples, item))
        self.samples += samples

    def remove(self, unwanted: Callable[[Item], bool]) -> list[Item]:
        """Take requests out of the queue for which it is so. Rare, so it may be slow."""
        removed = [entry for entry in self._heap if unwanted(entry.item)]
        if removed:
            self._heap = [entry for entry in self._heap if not unwanted(entry.item)]
            heapq.heapify(self._heap)
            self.samples -= sum(entry.samples for entry in removed)
        return [entry.item for entry in removed]

    def drop_late(self, now_ns: int, estimate: ExecEstimate) -> list[Item]:
        """The requests at the head that would be late even if they ran alone, now."""
        late: list[Item] = []
        while self._heap and self._hopeless(self._heap[0], now_ns, estimate):
            late.append(self._pop().item)
            estimate.doubt(now_ns)
        return late

    def take(self, limit: int, now_ns: int, estimate: ExecEstimate) -> Taken[Item]:
        """The batch of at most `limit` samples to run now, and the requests to drop, by the rules above."""
        late: list[Item] = []
        chosen: list[Entry[Item]] = []
        samples = 0
        while self._heap:
            head = self._heap[0]
            if self._hopeless(head, now_ns, estimate):
                late.append(self._pop().item)
                estimate.doubt(now_ns)
            elif chosen and samples + head.samples > limit:
                break
            else:
                chosen.append(self._pop())
                samples += head.samples
        while len(chosen) > 1 and now_ns + estimate.ms(samples) * _NS_PER_MS > chosen[0].deadline_ns:
            split = self._split(chosen, now_ns, estimate)
            if split == 0:
                late.append(chosen[0].item)
                estimate.doubt(now_ns)
                samples -= chosen.pop(0).samples
                continue
            for entry in chosen[split:]:
                heapq.heappush(self._heap, entry)
                self.samples += entry.samples
            chosen = chosen[:split]
            break
        return Taken([entry.item for entry in chosen], late)

    def _pop(self) -> Entry[Item]:
        entry = heapq.heappop(self._heap)
        self.samples -= entry.samples
        return entry

    def _hopeless(self, entry: Entry[Item], now_ns: int, estimate: ExecEstimate) -> bool:
        exec_ms = estimate.ms(entry.samples) if len(self._heap) > 1 else estimate.least_ms(entry.samples)
        return now_ns + exec_ms * _NS_PER_MS > entry.deadline_ns

    def _split(self, chosen: list[Entry[Item]], now_ns: int, estimate: ExecEstimate) -> int:
        """How many of the most urgent can run now, so that the rest can run after them, all on time; or 0.

        `chosen` is sorted by deadline, so the first of either part is its most urgent.
        """
        sizes = [entry.samples for entry in chosen]
        for split in range(len(chosen) - 1, 0, -1):
            first_end_ns = now_ns + estimate.ms(sum(sizes[:split])) * _NS_PER_MS
            if first_end_ns > chosen[0].deadline_ns:
                continue
            if first_end_ns + estimate.ms(sum(sizes[split:])) * _NS_PER_MS <= chosen[split].deadline_ns:
                return split
        return 0


def _interpolated(table: dict[int, float], samples: int) -> float:
    known = table.get(samples)
    if known is not None:
        return known
    below: tuple[int, float] | None = None
    for size, exec_ms in table.items():
        if size > samples:
            if below is None:
                return exec_ms
            return below[1] + (exec_ms - below[1]) * (samples - below[0]) / (size - below[0])
        below = (size, exec_ms)
    # Beyond the largest batch measured: in pieces of that size.
    return below[1] * -(-samples // below[0]) if below else 0.0
