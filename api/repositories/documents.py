"""Workloads and profiles, named by their content."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, undefer

from api.errors import NotFoundError
from api.repositories.paging import Slice, slice_by_time
from api.repositories.statements import insert_new, now_ms
from api.tables import ProfileRow, WorkloadRow
from planner import formats
from planner.profile import Profile
from planner.workload import Workload


class Documents:
    """Workloads and profiles. The same content is stored once; nothing here ever changes or goes."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add_workload(
        self,
        name: str,
        workload: Workload,
        body: bytes,
        *,
        derived_from: str | None = None,
        derivation: dict[str, Any] | None = None,
    ) -> bool:
        """Store a workload under its digest; says whether it was new. `body` is its packed JSON."""
        values: dict[str, Any] = {
            "id": name,
            "created_ms": now_ms(),
            "fragments": len(workload.fragments),
            "clients": sum(fragment.count for fragment in workload.fragments),
            "gpus": len(workload.gpus or ()),
            "models": sorted({fragment.model for fragment in workload.fragments}),
            "derived_from": derived_from,
            "derivation": derivation,
            "body": body,
        }
        return insert_new(self._session, WorkloadRow, values)

    def add_profile(self, name: str, profile: Profile, body: bytes) -> bool:
        """Store a profile under its digest; says whether it was new. `body` is its packed JSON."""
        values: dict[str, Any] = {
            "id": name,
            "created_ms": now_ms(),
            "model": profile.model,
            "gpu": profile.gpu,
            "layers": profile.depth,
            "batches": list(profile.batches),
            "shares": list(profile.shares),
            "measured": formats.to_json(profile)["measured"],
            "body": body,
        }
        return insert_new(self._session, ProfileRow, values)

    def workload(self, name: str, *, body: bool = False) -> WorkloadRow:
        """The workload of this id, with its body where asked for. Raises NotFoundError."""
        options = [undefer(WorkloadRow.body)] if body else []
        row = self._session.get(WorkloadRow, name, options=options)
        if row is None:
            raise NotFoundError(f"there is no workload {name!r}")
        return row

    def profile(self, name: str, *, body: bool = False) -> ProfileRow:
        """The profile of this id, with its body where asked for. Raises NotFoundError."""
        options = [undefer(ProfileRow.body)] if body else []
        row = self._session.get(ProfileRow, name, options=options)
        if row is None:
            raise NotFoundError(f"there is no profile {name!r}")
        return row

    def missing_profiles(self, names: Sequence[str]) -> list[str]:
        """Those of these ids that no profile has, in their order."""
        known = set(self._session.scalars(select(ProfileRow.id).where(ProfileRow.id.in_(names))))
        return [name for name in names if name not in known]

    def workloads(self, *, cursor: str | None, limit: int) -> Slice[WorkloadRow]:
        """Workloads, newest first."""
        return slice_by_time(self._session, select(WorkloadRow), WorkloadRow, cursor=cursor, limit=limit)

    def profiles(
        self, *, model: str | None, gpu: str | None, cursor: str | None, limit: int
    ) -> Slice[ProfileRow]:
        """Profiles, newest first, of one model or GPU type where given."""
        query = select(ProfileRow)
        if model is not None:
            query = query.where(ProfileRow.model == model)
        if gpu is not None:
            query = query.where(ProfileRow.gpu == gpu)
        return slice_by_time(self._session, query, ProfileRow, cursor=cursor, limit=limit)
