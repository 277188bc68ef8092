"""Plan runs: their states, leases and events.

    queued ──claim──▶ running ──finish──▶ succeeded | failed | infeasible | stopped | cancelled
      ▲                  │
      └──release, reap───┘        (the service stops; the lease lapses)

Every change compares before it sets: the state, and for whoever runs the run its fence, which grows each
time the run is claimed. A process that lost its lease and comes back finds its fence too old
(`LeaseLostError`), so no run ends twice. Final states are final.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from api.errors import ConflictError, NotFoundError
from api.repositories.paging import Slice, slice_by_time
from api.repositories.statements import now_ms
from api.tables import ComparisonRow, RunEventRow, RunRow, new_id

State = Literal["queued", "running", "succeeded", "failed", "infeasible", "stopped", "cancelled"]
FINAL: frozenset[str] = frozenset({"succeeded", "failed", "infeasible", "stopped", "cancelled"})
Wish = Literal["stop", "cancel"]


class LeaseLostError(ConflictError):
    """Another process has taken this run, or it has ended; what this one computed is not wanted."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened to a run: `state` or `progress`, with what the stream shows."""

    kind: Literal["state", "progress"]
    data: dict[str, Any]


class Runs:
    """Plan runs, comparisons of them, and their events."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def submit(
        self,
        *,
        workload_id: str,
        profiles: Sequence[str],
        strategy: str,
        settings: dict[str, Any],
        submitted_by: str | None,
        comparison_id: str | None = None,
    ) -> RunRow:
        """A new run, queued."""
        run = RunRow(
            id=new_id("run"),
            created_ms=self._now(),
            workload_id=workload_id,
            profiles=list(profiles),
            comparison_id=comparison_id,
            strategy=strategy,
            settings=settings,
            submitted_by=submitted_by,
            state="queued",
            attempts=0,
            fence=0,
        )
        self._session.add(run)
        self._session.flush()
        self._tell(run.id, [_state("queued")])
        return run

    def compare(self, *, workload_id: str, profiles: Sequence[str]) -> ComparisonRow:
        """A new comparison; its runs are submitted with its id."""
        row = ComparisonRow(
            id=new_id("comparison"), created_ms=self._now(), workload_id=workload_id, profiles=list(profiles)
        )
        self._session.add(row)
        self._session.flush()
        return row

    def run(self, run_id: str) -> RunRow:
        """The run of this id. Raises NotFoundError."""
        row = self._session.get(RunRow, run_id)
        if row is None:
            raise NotFoundError(f"there is no plan run {run_id!r}")
        return row

    def runs(
        self, *, state: str | None, workload_id: str | None, cursor: str | None, limit: int
    ) -> Slice[RunRow]:
        """Runs, newest first; in one state or of one workload where given."""
        query = select(RunRow)
        if state is not None:
            query = query.where(RunRow.state == state)
        if workload_id is not None:
            query = query.where(RunRow.workload_id == workload_id)
        return slice_by_time(self._session, query, RunRow, cursor=cursor, limit=limit)

    def comparison(self, comparison_id: str) -> tuple[ComparisonRow, list[RunRow]]:
        """The comparison of this id and its runs, in the order given. Raises NotFoundError."""
        row = self._session.get(ComparisonRow, comparison_id)
        if row is None:
            raise NotFoundError(f"there is no comparison {comparison_id!r}")
        runs = (
            select(RunRow).where(RunRow.comparison_id == comparison_id).order_by(RunRow.created_ms, RunRow.id)
        )
        return row, list(self._session.scalars(runs))

    def comparisons(self, *, cursor: str | None, limit: int) -> Slice[ComparisonRow]:
        """Comparisons, newest first."""
        return slice_by_time(self._session, select(ComparisonRow), ComparisonRow, cursor=cursor, limit=limit)

    def ask(self, run_id: str, wish: Wish) -> RunRow:
        """Ask a run to stop or to be cancelled.

        A queued run ends at once; a running one is ended by its process; an ended one stays as it is. A
        cancellation replaces an earlier wish to stop, never the other way round.
        """
        final: State = "stopped" if wish == "stop" else "cancelled"
        ended = self._session.execute(
            update(RunRow)
            .where(RunRow.id == run_id, RunRow.state == "queued")
            .values(state=final, finished_ms=now_ms(), wanted=wish)
            .returning(RunRow.id)
        ).first()
        if ended is not None:
            self._tell(run_id, [_state(final)])
        else:
            asked = update(RunRow).where(RunRow.id == run_id, RunRow.state == "running")
            if wish == "stop":
                asked = asked.where(RunRow.wanted.is_(None))
            self._session.execute(asked.values(wanted=wish))
        self._session.expire_all()
        return self.run(run_id)

    def claim(self, *, owner: str, lease_ms: int) -> RunRow | None:
        """Take the oldest queued run, or None. It is the owner's until its lease lapses."""
        oldest = (
            select(RunRow.id)
            .where(RunRow.state == "queued")
            .order_by(RunRow.created_ms, RunRow.id)
            .limit(1)
            .with_for_update(skip_locked=True)  # PostgreSQL: pass over what others are taking just now
        )
        run_id = self._session.scalar(oldest)
        if run_id is None:
            return None
        taken = self._session.execute(
            update(RunRow)
            .where(RunRow.id == run_id, RunRow.state == "queued")
            .values(
                state="running",
                wanted=None,
                fence=RunRow.fence + 1,
                attempts=RunRow.attempts + 1,
                lease_owner=owner,
                lease_until_ms=now_ms() + lease_ms,
                started_ms=func.coalesce(RunRow.started_ms, now_ms()),
            )
            .returning(RunRow.attempts)
        ).scalar()
        if taken is None:
            return None
        self._tell(run_id, [_state("running", attempt=taken)])
        return self.run(run_id)

    def renew(self, run_id: str, fence: int, *, lease_ms: int, events: Sequence[Event] = ()) -> Wish | None:
        """Hold on to a run and record its progress; says what a user asks of it. Raises LeaseLostError."""
        values: dict[str, Any] = {"lease_until_ms": now_ms() + lease_ms}
        progress = [event.data for event in events if event.kind == "progress"]
        if progress:
            values["progress"] = progress[-1]
        wanted = self._change(run_id, fence, values, RunRow.wanted)
        self._tell(run_id, events)
        return wanted  # type: ignore[no-any-return]

    def finish(
        self,
        run_id: str,
        fence: int,
        *,
        state: State,
        plan_id: str | None = None,
        failure: dict[str, Any] | None = None,
        events: Sequence[Event] = (),
    ) -> None:
        """End a run. Raises LeaseLostError where it is no longer this owner's to end."""
        self._change(run_id, fence, _ending(state) | {"plan_id": plan_id, "failure": failure}, RunRow.id)
        self._tell(run_id, [*events, _state(state, plan=plan_id, failure=failure)])

    def release(self, run_id: str, fence: int) -> None:
        """Put a run back into the queue, as if it had not been taken. Raises LeaseLostError."""
        values = {
            "state": "queued",
            "lease_owner": None,
            "lease_until_ms": None,
            "attempts": RunRow.attempts - 1,
        }
        self._change(run_id, fence, values, RunRow.id)
        self._tell(run_id, [_state("queued", reason="the service was stopped")])

    def lose(self, run_id: str, fence: int, *, attempts: int, fate: str) -> None:
        """The run's process died: queue it again or end it, as `reap` would. Raises LeaseLostError."""
        self._change(run_id, fence, {"lease_until_ms": now_ms()}, RunRow.id)
        self._session.expire_all()
        self._begin_again(self.run(run_id), attempts=attempts, fate=fate)

    def reap(self, *, attempts: int) -> list[str]:
        """End or queue again every run whose lease has lapsed; gives their ids.

        What was asked of it meanwhile is done; otherwise it is begun again, `attempts` times in all.
        """
        lapsed = select(RunRow).where(RunRow.state == "running", RunRow.lease_until_ms < now_ms())
        runs = list(self._session.scalars(lapsed.with_for_update(skip_locked=True)))
        for run in runs:
            self._begin_again(run, attempts=attempts, fate="the process that solved it went silent")
        return [run.id for run in runs]

    def _begin_again(self, run: RunRow, *, attempts: int, fate: str) -> None:
        """Queue a run again, or end it. The row is locked: PostgreSQL by the query, SQLite altogether."""
        state: State = "queued"
        failure: dict[str, Any] | None = None
        if run.wanted is not None:
            state = "stopped" if run.wanted == "stop" else "cancelled"
        elif run.attempts >= attempts:
            state = "failed"
            failure = {"code": "process_lost", "detail": f"{fate}; it was begun {run.attempts} times"}
        if state == "queued":
            values: dict[str, Any] = {"state": state, "lease_owner": None, "lease_until_ms": None}
        else:
            values = _ending(state) | {"failure": failure}
        self._change(run.id, run.fence, values, RunRow.id)
        self._tell(run.id, [_state(state, reason=fate, failure=failure)])

    def events(self, run_id: str, *, after: int, limit: int) -> list[RunEventRow]:
        """The run's events after number `after`, oldest first."""
        query = select(RunEventRow).where(RunEventRow.run_id == run_id, RunEventRow.seq > after)
        return list(self._session.scalars(query.order_by(RunEventRow.seq).limit(limit)))

    def counts(self) -> dict[str, int]:
        """How many runs are in each state that has any."""
        query = select(RunRow.state, func.count()).group_by(RunRow.state)
        return dict(self._session.execute(query).all())

    def _change(self, run_id: str, fence: int, values: dict[str, Any], answer: Any) -> Any:
        row = self._session.execute(
            update(RunRow)
            .where(RunRow.id == run_id, RunRow.fence == fence, RunRow.state == "running")
            .values(values)
            .returning(answer)
        ).first()
        if row is None:
            raise LeaseLostError(f"{run_id} is no longer held by this process")
        return row[0]

    def _tell(self, run_id: str, events: Sequence[Event]) -> None:
        """Append events. The run's row was changed before in this transaction, so nobody counts beside us."""
        if not events:
            return
        last = select(func.coalesce(func.max(RunEventRow.seq), 0)).where(RunEventRow.run_id == run_id)
        seq, now = self._session.scalar(last) or 0, self._now()
        for number, event in enumerate(events, start=seq + 1):
            row = RunEventRow(run_id=run_id, seq=number, at_ms=now, kind=event.kind, data=event.data)
            self._session.add(row)
        self._session.flush()

    def _now(self) -> int:
        return self._session.execute(select(now_ms())).scalar_one()


def _state(state: State, **more: Any) -> Event:
    data = {"state": state} | {name: value for name, value in more.items() if value is not None}
    return Event(kind="state", data=data)


def _ending(state: State) -> dict[str, Any]:
    return {"state": state, "finished_ms": now_ms(), "lease_owner": None, "lease_until_ms": None}
