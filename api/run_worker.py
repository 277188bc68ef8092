"""Takes queued runs, has each solved by a child process, and keeps its lease until it has ended.

Everything a worker writes about a run carries the run's fence, so a worker that was thought dead and comes
back changes nothing (`LeaseLostError`): it kills its child and looks for other work.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import socket
import time
from typing import Any

from api import packing
from api.database import Database
from api.errors import ServiceError
from api.logs import logger
from api.repositories.runs import Event, LeaseLostError, State
from api.run_process import SolveProcess
from api.settings import Settings
from api.tables import RunRow
from api.watch import Bell, heard
from planner import formats
from planner.plan import Plan

_log = logger("regraft.runs")

IDLE_S = 1.0  # how often an idle worker looks for runs that other processes queued
FLUSH_S = 0.25  # how often progress is written


class RunWorker:
    """Solves one run at a time. Several may share a database, in one process or many."""

    def __init__(self, database: Database, settings: Settings, *, queued: Bell, told: Bell) -> None:
        self._database = database
        self._settings = settings
        self._queued = queued
        self._told = told
        self._owner = f"{socket.gethostname()[:100]}:{os.getpid()}:{secrets.token_hex(4)}"

    async def work(self) -> None:
        """Take runs until cancelled; the run in hand then goes back into the queue."""
        while True:
            ticket = self._queued.ticket()
            try:
                run = await asyncio.to_thread(self._claim)
            except ServiceError as error:
                _log.warning("no run can be taken", detail=error.detail)
                run = None
            if run is None:
                await heard(ticket, IDLE_S)
                continue
            try:
                await _Execution(self._database, self._settings, self._told, run).execute()
            except LeaseLostError:
                _log.warning("run was lost to another process", run=run.id)
            except ServiceError as error:
                # Its lease lapses, and it is taken up again.
                _log.warning("run was dropped", run=run.id, detail=error.detail)
            except Exception:
                _log.error("run was dropped", run=run.id, exc_info=True)

    def _claim(self) -> RunRow | None:
        with self._database.writing() as store:
            return store.runs.claim(owner=self._owner, lease_ms=int(self._settings.run_lease_s * 1000))


class _Execution:
    """One run in one worker's hands."""

    def __init__(self, database: Database, settings: Settings, told: Bell, run: RunRow) -> None:
        self._database = database
        self._settings = settings
        self._told = told
        self._run = run
        self._renewed_s = time.monotonic()
        self._events: list[Event] = []
        self._result: dict[str, Any] | None = None
        self._stopping_s: float | None = None

    async def execute(self) -> None:
        """Solve the run to its end. Raises LeaseLostError; when cancelled, the run is released."""
        self._told.ring()
        process: SolveProcess | None = None
        try:
            process = await SolveProcess.start(
                await asyncio.to_thread(self._job), memory_mb=self._settings.run_memory_mb
            )
            _log.info("run begun", run=self._run.id, strategy=self._run.strategy, child=process.pid)
            await self._supervise(process)
        except asyncio.CancelledError:
            with contextlib.suppress(ServiceError):
                await asyncio.shield(asyncio.to_thread(self._release))
            raise
        finally:
            if process is not None:
                await asyncio.shield(process.kill())
            self._told.ring()

    async def _supervise(self, process: SolveProcess) -> None:
        hearing = asyncio.create_task(self._hear(process))
        limit_s = float(self._run.settings["time_limit_s"]) + self._settings.overtime_s
        ends_s = time.monotonic() + limit_s
        try:
            while True:
                done, _ = await asyncio.wait([hearing], timeout=self._pause_s())
                if done:
                    break
                wanted = await self._renew()
                now = time.monotonic()
                if wanted == "cancel":
                    return await self._finish("cancelled")
                if wanted == "stop" and self._stopping_s is None:
                    self._stopping_s = now
                    process.stop(self._settings.stop_grace_s)
                if self._stopping_s is not None and now - self._stopping_s > self._settings.stop_grace_s:
                    return await self._finish("stopped")
                limit_mb, resident_mb = self._settings.run_memory_mb, process.resident_mb()
                if limit_mb and resident_mb > limit_mb:
                    return await self._out_of_memory(f"it had taken {resident_mb:.0f} MB")
                if now > ends_s:
                    detail = f"the solve did not end within {limit_s:g} s and was killed"
                    return await self._finish("failed", failure={"code": "overtime", "detail": detail})
        finally:
            hearing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await hearing
        await self._conclude(process)

    async def _conclude(self, process: SolveProcess) -> None:
        """The child has ended: by a plan, with a reason, or without a word."""
        result = self._result
        if result is None:
            fate = await process.fate()
            if self._settings.run_memory_mb and process.was_refused_memory():
                await self._out_of_memory(fate)
            else:
                await self._lost(fate)
        elif result["kind"] == "plan":
            await self._finish("succeeded" if self._stopping_s is None else "stopped", result=result)
        else:
            await self._finish(result["state"], failure=result["failure"])

    async def _out_of_memory(self, how: str) -> None:
        limit_mb = self._settings.run_memory_mb
        detail = f"the solve needed more memory than the {limit_mb} MB it may have: {how}"
        await self._finish("failed", failure={"code": "out_of_memory", "detail": detail})

    async def _hear(self, process: SolveProcess) -> None:
        async for message in process.messages():
            if message.get("kind") == "progress":
                data = {name: message.get(name) for name in ("t", "phase", "objective", "bound", "gap")}
                self._events.append(Event(kind="progress", data=data))
            elif message.get("kind") in ("plan", "failure"):
                self._result = message

    def _pause_s(self) -> float:
        return FLUSH_S if self._events else min(FLUSH_S * 2, self._settings.run_heartbeat_s)

    async def _renew(self) -> str | None:
        """Write progress and renew the lease when either is due; says what is wanted of the run."""
        due = time.monotonic() - self._renewed_s >= self._settings.run_heartbeat_s
        if not (self._events or due):
            return None
        events, self._events = self._events, []
        try:
            wanted = await asyncio.to_thread(self._write_renewal, events)
        except LeaseLostError:
            raise
        except ServiceError:
            self._events = events + self._events
            if time.monotonic() - self._renewed_s > self._settings.run_lease_s:
                raise  # others may have it by now
            return None
        self._renewed_s = time.monotonic()
        if events:
            self._told.ring()
        return wanted

    def _write_renewal(self, events: list[Event]) -> str | None:
        with self._database.writing() as store:
            lease_ms = int(self._settings.run_lease_s * 1000)
            return store.runs.renew(self._run.id, self._run.fence, lease_ms=lease_ms, events=events)

    async def _finish(
        self, state: State, *, result: dict[str, Any] | None = None, failure: dict[str, Any] | None = None
    ) -> None:
        """Write the end, and go on trying while the database does not answer: the work is done."""
        plan = None
        if result is not None:
            text = json.dumps(result["plan"]).encode()
            plan = await asyncio.to_thread(formats.parse, Plan, text, source="the solve's plan")
        while True:
            try:
                await asyncio.to_thread(self._write_end, state, plan, failure)
                break
            except LeaseLostError:
                raise
            except ServiceError as error:
                _log.warning("the run's end cannot be written", run=self._run.id, detail=error.detail)
                await asyncio.sleep(IDLE_S)
        _log.info("run ended", run=self._run.id, state=state)

    def _write_end(self, state: State, plan: Plan | None, failure: dict[str, Any] | None) -> None:
        run = self._run
        body = digest = None
        if plan is not None:
            body, digest = packing.pack(plan), formats.digest(plan)
        with self._database.writing() as store:
            plan_id = None
            if plan is not None and body is not None and digest is not None:
                plan_id = store.plans.add(
                    plan,
                    digest=digest,
                    run_id=run.id,
                    workload_id=run.workload_id,
                    profiles=run.profiles,
                    body=body,
                ).id
            store.runs.finish(
                run.id, run.fence, state=state, plan_id=plan_id, failure=failure, events=self._events
            )

    async def _lost(self, fate: str) -> None:
        with contextlib.suppress(ServiceError):
            await asyncio.to_thread(self._write_lost, fate)
        _log.warning("run lost its process", run=self._run.id, fate=fate)

    def _write_lost(self, fate: str) -> None:
        with self._database.writing() as store:
            store.runs.lose(self._run.id, self._run.fence, attempts=self._settings.run_attempts, fate=fate)

    def _release(self) -> None:
        with self._database.writing() as store:
            store.runs.release(self._run.id, self._run.fence)

    def _job(self) -> bytes:
        """The job as one line: the stored documents are JSON already."""
        run = self._run
        with self._database.reading() as store:
            workload = store.documents.workload(run.workload_id, body=True).body
            profiles = [store.documents.profile(name, body=True).body for name in run.profiles]
        head = json.dumps({"strategy": run.strategy, "settings": run.settings})[:-1].encode()
        listed = b",".join(packing.unpack_bytes(body) for body in profiles)
        return head + b', "workload": ' + packing.unpack_bytes(workload) + b', "profiles": [' + listed + b"]}"
