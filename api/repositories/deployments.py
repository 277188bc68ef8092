"""Deployments: the plan to run, generation after generation."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session, undefer

from api.errors import GenerationError, NotFoundError
from api.repositories.paging import Slice, slice_by_time
from api.repositories.statements import insert_new, now_ms
from api.tables import DeploymentRow, new_id


class Deployments:
    """Generations only grow: a deployment is appended after the one its maker saw, or not at all."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def append(
        self,
        *,
        after: int,
        plan_id: str,
        rollback_of: int | None,
        deployed_by: str | None,
        instances: int,
        gpus: int,
        body: bytes,
        on_drift: str | None = None,
    ) -> DeploymentRow:
        """Generation `after` + 1. Raises GenerationError where `after` is not the current one."""
        current = self.generation()
        values: dict[str, Any] = {
            "generation": after + 1,
            "id": new_id("deployment"),
            "created_ms": now_ms(),
            "plan_id": plan_id,
            "rollback_of": rollback_of,
            "deployed_by": deployed_by,
            "on_drift": on_drift,
            "instances": instances,
            "gpus": gpus,
            "body": body,
        }
        # On PostgreSQL another transaction may append after our look at the current generation.
        if current != after or not insert_new(self._session, DeploymentRow, values):
            raise GenerationError(
                f"generation {after} is not the current one any more; see what runs now, then deploy again"
            )
        return self.deployment(after + 1)

    def generation(self) -> int:
        """The current generation; 0 before the first deployment."""
        return self._session.scalar(select(func.max(DeploymentRow.generation))) or 0

    def deployment(self, generation: int, *, body: bool = False) -> DeploymentRow:
        """The deployment of this generation, with its body where asked for. Raises NotFoundError."""
        options = [undefer(DeploymentRow.body)] if body else []
        row = self._session.get(DeploymentRow, generation, options=options)
        if row is None:
            raise NotFoundError(f"there is no generation {generation}")
        return row

    def deployments(self, *, cursor: str | None, limit: int) -> Slice[DeploymentRow]:
        """Deployments, newest first."""
        return slice_by_time(self._session, select(DeploymentRow), DeploymentRow, cursor=cursor, limit=limit)
