"""Nodes and the current generation at hand, for the many agents that ask again and again.

Both are read from the database when the watch sees that they changed, not when somebody asks, and only those
who are concerned are woken: all by a new generation, one by a registration of its own node. Statuses are
written by groups: whatever came in while the last group was being written is the next one, so that
thousands of agents cost a few transactions a second; an agent is answered when its own has been committed.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import defaultdict

from api import views
from api.database import Database
from api.deploying import Assignment, AssignmentBook, Resolved, resolve
from api.errors import NotFoundError, ServiceError
from api.logs import logger
from api.repositories.nodes import Report
from api.settings import Settings
from api.watch import Bell, Watch, heard

# The ETag of an assignment: its generation, and a digest of the node's part.
_TAG = re.compile(r'"([0-9]{1,15})-[0-9a-f]{16}"')

_log = logger("regraft.service")


class Roster:
    """Assignments and statuses of the nodes. One for a process."""

    def __init__(self, database: Database, settings: Settings, watch: Watch) -> None:
        self._database = database
        self._settings = settings
        self._watch = watch
        empty = Resolved(generation=0, deployment_id="", plan_id=None, stages=[], routes=[], workers=[])
        self._book = AssignmentBook(empty)
        self._gpus: dict[str, tuple[str, ...]] = {}
        self._gpus_of = (0, 0)  # the registrations that were known when all of them were read
        self._bells: defaultdict[str, Bell] = defaultdict(Bell)
        self._reading = asyncio.Lock()
        self._waiting: dict[str, tuple[Report, asyncio.Future[bool]]] = {}
        self._writing: asyncio.Task[None] | None = None

    async def assignment(self, node_id: str, *, known: str | None, wait_s: float) -> tuple[Assignment, bool]:
        """The node's assignment, and whether it is news to whoever knows the ETags `known` (If-None-Match).

        Waits `wait_s` seconds for news. Raises NotFoundError.
        """
        ends_s = time.monotonic() + wait_s
        at_once = known is None or wait_s == 0
        if at_once:
            await self._watch.look()  # who does not wait wants what is true now
        while True:
            ticket = self._bells[node_id].ticket()
            gpus = self._gpus.get(node_id)
            if gpus is None or at_once:
                try:
                    gpus = await self._gpus_of_node(node_id)
                except NotFoundError:
                    self._bells.pop(node_id, None)
                    raise
            found = (await self.book()).assignment(gpus)
            if known is None or not matches(known, found.etag):
                if at_once or known is None or newest(known) <= self._book.resolved.generation:
                    return found, True
                # Another process of the service told it of a generation that this one has not seen yet.
                await self._watch.look()
                at_once = True
                continue
            left_s = ends_s - time.monotonic()
            if left_s <= 0 or self._watch.closing:
                return found, False
            await heard(ticket, left_s)

    async def follow(self) -> None:
        """Wake those whom news concern, until cancelled."""
        while True:
            ticket, began_s = self._watch.news.ticket(), time.monotonic()
            try:
                for node_id in await self._concerned():
                    self._bells[node_id].ring()
            except ServiceError as error:
                _log.warning("news cannot be read", detail=error.detail)
                await heard(ticket, self._settings.watch_interval_s)
                continue
            await ticket
            if self._watch.generation == self._book.resolved.generation and not self._watch.closing:
                # Nodes that come one after the other are told of together.
                pause_s = self._settings.watch_interval_s - (time.monotonic() - began_s)
                await heard(self._watch.news.ticket(), pause_s)

    async def _concerned(self) -> list[str]:
        """Read what is new; gives the nodes that it is news for."""
        registrations, generation = self._watch.registrations, self._book.resolved.generation
        changed = []
        if registrations != self._gpus_of:
            gpus = await asyncio.to_thread(self._read_all_gpus)
            changed = [node_id for node_id, listed in gpus.items() if listed != self._gpus.get(node_id)]
            self._gpus, self._gpus_of = gpus, registrations
        if (await self.book()).resolved.generation != generation or self._watch.closing:
            return list(self._bells)
        return [node_id for node_id in changed if node_id in self._bells]

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
        before = self._gpus_of
        found = await asyncio.to_thread(self._read_gpus, node_id)
        if self._gpus_of == before:  # otherwise all were read meanwhile, perhaps later than this one
            self._gpus[node_id] = found
        return found

    def _read_all_gpus(self) -> dict[str, tuple[str, ...]]:
        with self._database.reading() as store:
            return store.nodes.gpus()

    def _read_gpus(self, node_id: str) -> tuple[str, ...]:
        with self._database.reading() as store:
            return tuple(gpu["id"] for gpu in store.nodes.node(node_id).gpus)


def report_of(node_id: str, status: views.ReportStatus) -> Report:
    """A status as it is stored."""
    return Report(
        node_id=node_id,
        generation=status.generation,
        workers=[worker.model_dump() for worker in status.workers],
        exits=[gateway.model_dump() for gateway in status.exits],
    )


def matches(header: str, etag: str) -> bool:
    """Whether an If-None-Match header names this ETag (weakly, as RFC 9110 says for GET)."""
    return header.strip() == "*" or any(tag.strip().removeprefix("W/") == etag for tag in header.split(","))


def newest(header: str) -> int:
    """The newest generation that an If-None-Match header names; 0 where it names none of ours."""
    return max((int(found) for found in _TAG.findall(header)), default=0)


def _copy(done: asyncio.Future[bool], other: asyncio.Future[bool]) -> None:
    if other.done():
        return
    error = done.exception()
    if error is None:
        other.set_result(done.result())
    else:
        other.set_exception(error)
