"""What exits saw, window after window, and what was done where inputs had become easier or harder."""

from __future__ import annotations

from typing import Any, Literal

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session, undefer

from api.errors import NotFoundError
from api.repositories.paging import Slice, slice_by_time
from api.repositories.statements import insert_new, now_ms
from api.tables import DriftRow, ExitWindowRow, new_id

Mode = Literal["ignore", "propose", "apply"]
DriftState = Literal["planning", "proposed", "applied", "kept", "failed", "superseded"]


class Drifts:
    """Windows are numbered, and each is written once, by whichever process comes first."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def last_window(self, *, body: bool = False) -> ExitWindowRow | None:
        """The newest window, with its body where asked for."""
        query = select(ExitWindowRow).order_by(ExitWindowRow.number.desc()).limit(1)
        return self._session.scalar(query.options(undefer(ExitWindowRow.body)) if body else query)

    def last_judged(self, generation: int) -> ExitWindowRow | None:
        """The newest window of this generation after which it was said what to expect."""
        query = select(ExitWindowRow).where(
            ExitWindowRow.generation == generation, ExitWindowRow.outlook.is_not(None)
        )
        return self._session.scalar(query.order_by(ExitWindowRow.number.desc()).limit(1))

    def windows(self, *, limit: int) -> list[ExitWindowRow]:
        """The newest windows with their bodies, oldest first."""
        query = select(ExitWindowRow).order_by(ExitWindowRow.number.desc()).limit(limit)
        return list(self._session.scalars(query.options(undefer(ExitWindowRow.body))))[::-1]

    def add_window(self, *, number: int, generation: int, body: bytes, keep: int) -> bool:
        """Write window `number`, and forget all but the last `keep`; false where it was written before."""
        values: dict[str, Any] = {
            "number": number,
            "generation": generation,
            "ended_ms": now_ms(),
            "outlook": None,
            "body": body,
        }
        if not insert_new(self._session, ExitWindowRow, values):
            return False
        self._session.execute(delete(ExitWindowRow).where(ExitWindowRow.number <= number - keep))
        return True

    def tell(self, number: int, outlook: list[dict[str, Any]]) -> None:
        """Note what is expected since that window."""
        self._session.execute(
            update(ExitWindowRow).where(ExitWindowRow.number == number).values(outlook=outlook)
        )

    def add(
        self,
        *,
        generation: int,
        plan_id: str,
        workload_id: str,
        run_id: str,
        mode: Mode,
        outlook: list[dict[str, Any]],
    ) -> DriftRow:
        """A drift for which a run was submitted; what was proposed for this generation is superseded."""
        self._session.execute(
            update(DriftRow)
            .where(DriftRow.generation == generation, DriftRow.state == "proposed")
            .values(state="superseded")
            .execution_options(synchronize_session=False)
        )
        row = DriftRow(
            id=new_id("drift"),
            created_ms=self._session.execute(select(now_ms())).scalar_one(),
            generation=generation,
            plan_id=plan_id,
            workload_id=workload_id,
            run_id=run_id,
            mode=mode,
            state="planning",
            outlook=outlook,
        )
        self._session.add(row)
        self._session.flush()
        return row

    def change(
        self,
        drift_id: str,
        *,
        before: DriftState,
        state: DriftState,
        applied_as: int | None = None,
        detail: str | None = None,
    ) -> bool:
        """From one state to another; false where it is not in that state (any more)."""
        changed = self._session.execute(
            update(DriftRow)
            .where(DriftRow.id == drift_id, DriftRow.state == before)
            .values(state=state, applied_as=applied_as, detail=detail)
            .returning(DriftRow.id)
        ).first()
        self._session.expire_all()
        return changed is not None

    def drift(self, drift_id: str) -> DriftRow:
        """The drift of this id. Raises NotFoundError."""
        row = self._session.get(DriftRow, drift_id)
        if row is None:
            raise NotFoundError(f"there is no drift {drift_id!r}")
        return row

    def open(self) -> list[DriftRow]:
        """Those with which something may still happen, oldest first."""
        query = select(DriftRow).where(DriftRow.state.in_(("planning", "proposed")))
        return list(self._session.scalars(query.order_by(DriftRow.created_ms, DriftRow.id)))

    def last_of(self, generation: int) -> DriftRow | None:
        """The newest drift away from this generation's plan."""
        query = select(DriftRow).where(DriftRow.generation == generation)
        return self._session.scalar(query.order_by(DriftRow.created_ms.desc(), DriftRow.id.desc()).limit(1))

    def drifts(self, *, cursor: str | None, limit: int) -> Slice[DriftRow]:
        """Drifts, newest first."""
        return slice_by_time(self._session, select(DriftRow), DriftRow, cursor=cursor, limit=limit)

    def counts(self) -> dict[str, int]:
        """How many drifts are in each state that has any."""
        query = select(DriftRow.state, func.count()).group_by(DriftRow.state)
        return dict(self._session.execute(query).all())
