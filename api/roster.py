"""Nodes and the current generation at hand, for the many agents that ask again and again.

Both are read from the database when the watch sees that they changed, not when somebody asks. Statuses are
written by groups: whatever came in while the last group was being written is the next one, so that
thousands of agents cost a few transactions a second; an agent is answered when its own has been committed.
"""

from __future__ import annotations

import asyncio
import time

from api.database import Database
from api.deploying import Assignment, AssignmentBook, Resolved, resolve
from api.errors import NotFoundError
from api.repositories.nodes import Report
from api.settings import Settings
from api.watch import Watch, heard


class Roster:
    """Assignments and statuses of the nodes. One for a process."""

    def __init__(self, database: Database, settings: Settings, watch: Watch) -> None:
        self._database = database
        self._settings = settings
        self._watch = watch
        empty = Resolved(generation=0, deployment_id="", plan_id=None, stages=[], routes=[], workers=[])
        self._book = AssignmentBook(empty)
        self._gpus: dict[str, tuple[str, ...]] = {}
        self._gpus_of = (0, 0)
        self._reading = asyncio.Lock()
        self._waiting: dict[str, tuple[Report, asyncio.Future[bool]]] = {}
        self._writing: asyncio.Task[None] | None = None

    async def assignment(self, node_id: str, *, known: str | None, wait_s: float) -> Assignment | None:
        """The node's assignment; None where it still has the ETag `known` after `wait_s` seconds.

        Raises NotFoundError.
        """
        ends_s = time.monotonic() + wait_s
        if known is None or wait_s == 0:
            await self._watch.look()  # who does not wait wants what is true now
        while True:
            ticket = self._watch.news.ticket()
            found = (await self.book()).assignment(await self._gpus_of_node(node_id))
            if known is None or not matches(known, found.etag):
                return found
            left_s = ends_s - time.monotonic()
            if left_s <= 0 or self._watch.closing:
                return None
            await heard(ticket, left_s)

    async def book(self) -> AssignmentBook:
        """The current generation's assignments."""
        if self._book.resolved.generation < self._watch.generation:
            async with self._reading:
                generation = self._watch.generation
                if self._book.resolved.generation < generation:
                    resolved = await asyncio.to_thread(resolve, self._database, generation)
                    self._book = AssignmentBook(resolved)
        return self._book

    async def report(self, report: Report) -> None:
        """Store a node's status and renew its lease. Raises NotFoundError, UnavailableError."""
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        overtaken = self._waiting.get(report.node_id)
        self._waiting[report.node_id] = (report, future)
        if overtaken is not None:
            future.add_done_callback(lambda done: _copy(done, overtaken[1]))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())
        if not await future:
            raise NotFoundError(f"there is no node {report.node_id!r}; register it first")

    async def _write(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting, {}
            try:
                known = await asyncio.to_thread(self._store, [report for report, _ in group.values()])
                for node_id, (_, future) in group.items():
                    if not future.done():
                        future.set_result(node_id in known)
            except Exception as error:
                for _, future in group.values():
                    if not future.done():
                        future.set_exception(error)

    def _store(self, reports: list[Report]) -> set[str]:
        with self._database.writing() as store:
            return store.nodes.report(reports, lease_ms=int(self._settings.node_lease_s * 1000))

    async def _gpus_of_node(self, node_id: str) -> tuple[str, ...]:
        if self._gpus_of != self._watch.registrations:
            self._gpus, self._gpus_of = {}, self._watch.registrations
        found = self._gpus.get(node_id)
        if found is None:
            found = await asyncio.to_thread(self._read_gpus, node_id)
            self._gpus[node_id] = found
        return found

    def _read_gpus(self, node_id: str) -> tuple[str, ...]:
        with self._database.reading() as store:
            return tuple(gpu["id"] for gpu in store.nodes.node(node_id).gpus)


def matches(header: str, etag: str) -> bool:
    """Whether an If-None-Match header names this ETag (weakly, as RFC 9110 says for GET)."""
    return header.strip() == "*" or any(tag.strip().removeprefix("W/") == etag for tag in header.split(","))


def _copy(done: asyncio.Future[bool], other: asyncio.Future[bool]) -> None:
    if other.done():
        return
    error = done.exception()
    if error is None:
        other.set_result(done.result())
    else:
        other.set_exception(error)
