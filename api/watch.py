"""News for requests that wait: a new generation, a node registered, an event of a run.

What happens in this process is told at once; what other processes write is noticed by one look at the
database every `watch_interval_s`, however many wait. A request that waits holds neither a thread nor a
connection: it sleeps on a future.
"""

from __future__ import annotations

import asyncio
import contextlib

from api.database import Database
from api.errors import ServiceError
from api.logs import logger

_log = logger("regraft.service")


class Bell:
    """Wakes everybody who waits. Belongs to one event loop; `ring_from_thread` may be called anywhere."""

    def __init__(self) -> None:
        self._next: asyncio.Future[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def ticket(self) -> asyncio.Future[None]:
        """A future that is done at the next ring. Take it, look, then wait: no ring is missed."""
        if self._next is None or self._next.done():
            self._loop = asyncio.get_running_loop()
            self._next = self._loop.create_future()
        return self._next

    def ring(self) -> None:
        """Wake everybody; from the event loop's thread."""
        if self._next is not None and not self._next.done():
            self._next.set_result(None)

    def ring_from_thread(self) -> None:
        """Wake everybody; from any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.ring)


async def heard(ticket: asyncio.Future[None], timeout_s: float) -> bool:
    """Wait for a ticket; says whether the bell rang in time."""
    done, _ = await asyncio.wait([ticket], timeout=max(0.0, timeout_s))
    return bool(done)


class Watch:
    """Looks for news in the database, again and again, and keeps the current generation at hand."""

    def __init__(self, database: Database, *, interval_s: float) -> None:
        self._database = database
        self._interval_s = interval_s
        self._look_now = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.generation = 0
        self.registrations: tuple[int, int] = (0, 0)
        self.news = Bell()  # a generation, a node, or the end of the service
        self.runs = Bell()  # an event of some run, or the end of the service
        self.closing = False

    async def run(self) -> None:
        """Look until cancelled; a database that does not answer is asked again."""
        self._loop = asyncio.get_running_loop()
        while True:
            # What is told while we look must be looked at again, so the wish is cleared before.
            self._look_now.clear()
            try:
                await self.look()
            except ServiceError as error:
                _log.warning("the database does not answer", detail=error.detail)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._look_now.wait(), self._interval_s)

    async def look(self) -> None:
        """Look once. What was committed before the call is known after it."""
        generation, registrations = await asyncio.to_thread(self._read)
        # Looks may overtake each other; both numbers only grow.
        if generation > self.generation or registrations > self.registrations:
            self.generation = max(generation, self.generation)
            self.registrations = max(registrations, self.registrations)
            self.news.ring()

    def look_from_thread(self) -> None:
        """Something was written here: look at once. From any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._look_now.set)

    def close_from_thread(self) -> None:
        """As `close`; from any thread, and from a signal handler."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.close)

    def close(self) -> None:
        """The service stops: everybody who waits is answered now."""
        self.closing = True
        self.news.ring()
        self.runs.ring()

    def _read(self) -> tuple[int, tuple[int, int]]:
        with self._database.reading() as store:
            return store.deployments.generation(), store.nodes.revision()
