"""What an agent tells Prometheus: of itself, its devices, and its workers, which report to it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from runtime.agent import Agent

# Not `instance`: Prometheus gives that name to whom it scrapes.
_WORKER = ["stage", "stage_instance", "gpu"]
# (the worker's own count, metric, what it is)
_COUNTS = (
    ("busy_s", "regraft_worker_busy_seconds", "Time spent running batches."),
    ("batches", "regraft_worker_batches", "Batches run."),
    ("samples", "regraft_worker_samples", "Samples run."),
    ("late", "regraft_worker_late", "Requests dropped by the worker: too late."),
    ("failed", "regraft_worker_failed", "Requests on which the model raised."),
)


def agent_metrics(agent: Agent) -> Iterable[Metric]:
    """All of it, as it is now. A worker's counts begin anew when it is restarted."""
    yield GaugeMetricFamily(
        "regraft_agent_generation", "The newest generation that was assigned.", value=agent.newest
    )
    allocated = GaugeMetricFamily(
        "regraft_device_allocated_share_pct", "Shares of the workers on a device.", labels=["gpu"]
    )
    for device in agent.devices:
        workers = [w for w in agent.state.workers if w.signature.gpu == device and w.state != "failed"]
        allocated.add_metric([device], sum(worker.signature.share for worker in workers))
    yield allocated
    used = GaugeMetricFamily(
        "regraft_device_used_share_pct", "What the workers on a device used of it lately.", labels=["gpu"]
    )
    for device in agent.devices:
        used.add_metric(
            [device],
            sum(
                worker.facts.get("used_share_pct", 0.0)
                for worker in agent.state.workers
                if worker.signature.gpu == device and worker.state in ("ready", "draining")
            ),
        )
    yield used
    states = GaugeMetricFamily("regraft_agent_workers", "Workers by state.", labels=["state"])
    for state in ("starting", "ready", "draining", "failed"):
        states.add_metric([state], sum(worker.state == state for worker in agent.state.workers))
    yield states
    share = GaugeMetricFamily("regraft_worker_share_pct", "The share it was given.", labels=_WORKER)
    effective = GaugeMetricFamily(
        "regraft_worker_effective_share_pct", "The share that really holds, read back.", labels=_WORKER
    )
    in_use = GaugeMetricFamily(
        "regraft_worker_used_share_pct", "What it used of its device in its last second.", labels=_WORKER
    )
    memory = GaugeMetricFamily(
        "regraft_worker_memory_bytes",
        "Its memory, what it shares with others divided among them (PSS).",
        labels=_WORKER,
    )
    restarts = CounterMetricFamily("regraft_worker_restarts", "Times it was restarted.", labels=_WORKER)
    counts = {name: CounterMetricFamily(metric, text, labels=_WORKER) for name, metric, text in _COUNTS}
    for worker in agent.state.workers:
        if not worker.posts:
            continue
        post = worker.posts[max(worker.posts)]
        labels = [post.stage, str(post.instance), worker.signature.gpu]
        share.add_metric(labels, worker.signature.share)
        restarts.add_metric(labels, worker.restarts)
        if (holds := worker.facts.get("effective_share_pct")) is not None:
            effective.add_metric(labels, holds)
        if (lately := worker.facts.get("used_share_pct")) is not None:
            in_use.add_metric(labels, lately)
        if (size := memory_bytes(worker.pid)) is not None:
            memory.add_metric(labels, size)
        for name, family in counts.items():
            family.add_metric(labels, worker.facts.get(name, 0))
    yield from (share, effective, in_use, memory, restarts, *counts.values())


def memory_bytes(pid: int) -> int | None:
    """A process's proportional set size; None where it cannot be read."""
    if not pid:
        return None
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return None
    sizes = [line.split()[1] for line in lines if line.startswith("Pss:")]
    return 1024 * int(sizes[0]) if sizes else None
