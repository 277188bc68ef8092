"""What of a generation runs, and what does not: assignments laid beside what the nodes say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from api import views
from api.presenting import moment, moment_or_none
from api.settings import Settings
from api.tables import NodeRow, NodeStatusRow


def not_running(
    workers: Sequence[dict[str, Any]],
    *,
    generation: int,
    nodes: Sequence[NodeRow],
    statuses: dict[str, NodeStatusRow],
    now_ms: int,
) -> list[views.NotRunning]:
    """The instances of `workers` that no live node reports as ready in this generation, and why."""
    owners = {gpu["id"]: node for node in nodes for gpu in node.gpus}
    reported = {
        (worker["gpu"], worker["stage"], worker["instance"]): worker["state"]
        for status in statuses.values()
        for worker in status.workers
        if worker["generation"] == generation
    }
    missing = []
    for worker in workers:
        node = owners.get(worker["gpu"])
        if node is None:
            reason = "node_unknown"
        elif node.lease_until_ms <= now_ms:
            reason = "node_gone"
        else:
            reason = reported.get((worker["gpu"], worker["stage"], worker["instance"]), "not_reported")
        if reason != "ready":
            missing.append(
                views.NotRunning(
                    stage=worker["stage"],
                    instance=worker["instance"],
                    gpu=worker["gpu"],
                    node=node.name if node else None,
                    reason=reason,
                )
            )
    return missing


def node_view(
    node: NodeRow,
    status: NodeStatusRow | None,
    workers: Sequence[dict[str, Any]],
    *,
    generation: int,
    now_ms: int,
    settings: Settings,
) -> views.Node:
    """A node with its lease, what it says, and what of its part (`workers`) does not run."""
    statuses = {node.id: status} if status else {}
    return views.Node(
        id=node.id,
        name=node.name,
        address=node.address,
        gpus=node.gpus,
        lease="live" if node.lease_until_ms > now_ms else "gone",
        lease_s=settings.node_lease_s,
        heartbeat_s=settings.node_heartbeat_s,
        lease_until=moment(node.lease_until_ms),
        registered_at=moment(node.registered_ms),
        reported_at=moment_or_none(status.reported_ms if status else None),
        generation=status.generation if status else None,
        workers=status.workers if status else [],
        assigned=len(workers),
        not_running=not_running(
            workers, generation=generation, nodes=[node], statuses=statuses, now_ms=now_ms
        ),
    )
