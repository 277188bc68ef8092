"""Nodes: their GPUs, their leases, and what they say that they run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from api.errors import ConflictError, NotFoundError
from api.repositories.paging import Slice, slice_by_time
from api.repositories.statements import insert_new, insert_or_replace, insert_or_replace_all, now_ms
from api.tables import NodeGpuRow, NodeRow, NodeStatusRow, new_id


@dataclass(frozen=True, kw_only=True)
class Report:
    """A node's status, as it sent it."""

    node_id: str
    generation: int
    workers: list[dict[str, Any]]
    exits: list[dict[str, Any]] = field(default_factory=list)


class Nodes:
    """Machines with an agent. A node is live while its lease, renewed by every status, has not ended."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def register(
        self, *, name: str, address: str, gpus: list[dict[str, Any]], lease_ms: int
    ) -> tuple[NodeRow, bool]:
        """A node of this name, new or with its data replaced; says whether it is new.

        A GPU belongs to one node: a live node's is refused (ConflictError), one of a node that is gone
        moves to this one.
        """
        values: dict[str, Any] = {
            "id": new_id("node"),
            "name": name,
            "address": address,
            "gpus": gpus,
            "created_ms": now_ms(),
            "registered_ms": now_ms(),
            "lease_until_ms": now_ms() + lease_ms,
        }
        created = insert_new(self._session, NodeRow, values)
        if not created:
            kept = {key: values[key] for key in ("address", "gpus", "registered_ms", "lease_until_ms")}
            self._session.execute(update(NodeRow).where(NodeRow.name == name).values(kept))
        self._session.expire_all()
        node = self._session.scalars(select(NodeRow).where(NodeRow.name == name)).one()
        self._take_gpus(node, [gpu["id"] for gpu in gpus])
        return node, created

    def report(self, reports: Sequence[Report], *, lease_ms: int) -> set[str]:
        """Store statuses and renew their nodes' leases; gives the ids that are nodes."""
        now = self.now_ms()
        ids = [report.node_id for report in reports]
        renewed = (
            update(NodeRow)
            .where(NodeRow.id.in_(ids))
            .values(lease_until_ms=now + lease_ms)
            .execution_options(synchronize_session=False)
        )
        known = set(self._session.scalars(renewed.returning(NodeRow.id)))
        rows = [
            {
                "node_id": report.node_id,
                "reported_ms": now,
                "generation": report.generation,
                "workers": report.workers,
                "exits": report.exits or None,
            }
            for report in reports
            if report.node_id in known
        ]
        insert_or_replace_all(self._session, NodeStatusRow, rows)
        return known

    def node(self, node_id: str) -> NodeRow:
        """The node of this id. Raises NotFoundError."""
        row = self._session.get(NodeRow, node_id)
        if row is None:
            raise NotFoundError(f"there is no node {node_id!r}; register it first")
        return row

    def nodes(self) -> list[NodeRow]:
        """All nodes, by name."""
        return list(self._session.scalars(select(NodeRow).order_by(NodeRow.name)))

    def page(self, *, cursor: str | None, limit: int) -> Slice[NodeRow]:
        """Nodes, the last that registered for the first time first."""
        return slice_by_time(self._session, select(NodeRow), NodeRow, cursor=cursor, limit=limit)

    def live(self) -> list[NodeRow]:
        """The nodes whose lease has not ended, by name."""
        live = select(NodeRow).where(NodeRow.lease_until_ms > now_ms())
        return list(self._session.scalars(live.order_by(NodeRow.name)))

    def statuses(self, node_ids: Sequence[str] | None = None) -> dict[str, NodeStatusRow]:
        """What each node, or each of these, last said, by node id."""
        query = select(NodeStatusRow)
        if node_ids is not None:
            query = query.where(NodeStatusRow.node_id.in_(node_ids))
        return {row.node_id: row for row in self._session.scalars(query)}

    def exits(self) -> list[dict[str, Any]]:
        """What gateways have counted at exits since their starts, as the nodes last reported it."""
        found = self._session.scalars(select(NodeStatusRow.exits).where(NodeStatusRow.exits.is_not(None)))
        return [gateway for reported in found for gateway in reported or ()]

    def gpus(self) -> dict[str, tuple[str, ...]]:
        """The ids of every node's GPUs, by node id."""
        rows = self._session.execute(select(NodeRow.id, NodeRow.gpus))
        return {node_id: tuple(gpu["id"] for gpu in gpus) for node_id, gpus in rows}

    def revision(self) -> tuple[int, int]:
        """Grows whenever a node is registered: how many there are, and the sum of their times.

        The time of the last one would not do: another may be registered in the same millisecond.
        """
        times = func.coalesce(func.sum(NodeRow.registered_ms), 0)
        count, total = self._session.execute(select(func.count(), times)).one()
        return int(count), int(total)

    def now_ms(self) -> int:
        """The database's time, by which leases end."""
        return self._session.execute(select(now_ms())).scalar_one()

    def _take_gpus(self, node: NodeRow, wanted: list[str]) -> None:
        """Make the node the owner of these GPUs and of no others."""
        now = self.now_ms()
        self._session.execute(
            delete(NodeGpuRow).where(NodeGpuRow.node_id == node.id, NodeGpuRow.gpu_id.not_in(wanted))
        )
        owners = select(NodeGpuRow.gpu_id, NodeRow).join(NodeRow, NodeRow.id == NodeGpuRow.node_id)
        for gpu_id, owner in self._session.execute(owners.where(NodeGpuRow.gpu_id.in_(wanted))):
            if owner.id != node.id and owner.lease_until_ms > now:
                raise ConflictError(
                    f"the GPU {gpu_id!r} is node {owner.name!r}'s; a GPU's id is unique in the whole system"
                )
            if owner.id != node.id:
                owner.gpus = [gpu for gpu in owner.gpus if gpu["id"] != gpu_id]
                owner.registered_ms = now
        self._session.flush()
        for gpu_id in wanted:
            insert_or_replace(self._session, NodeGpuRow, {"gpu_id": gpu_id, "node_id": node.id})
