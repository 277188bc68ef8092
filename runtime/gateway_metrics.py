"""What a gateway tells Prometheus."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from runtime.gateway import Gateway
from runtime.inference_protocol import joined_name
from runtime.transport_arena import Arena

_STAGE = ["model", "start", "end", "batch", "share_pct", "gpu", "exits"]


def gateway_metrics(gateway: Gateway, arena: Arena) -> Iterable[Metric]:
    """All of it, as it is now."""
    yield GaugeMetricFamily(
        "regraft_gateway_generation",
        "The generation that is routed; 0 before the first.",
        value=gateway.active.generation if gateway.active is not None else 0,
    )
    yield GaugeMetricFamily(
        "regraft_gateway_in_flight", "Requests accepted and not answered yet.", value=gateway.in_flight
    )
    yield GaugeMetricFamily(
        "regraft_gateway_arena_used_bytes", "Shared memory that tensors occupy.", value=arena.used
    )
    requests = CounterMetricFamily(
        "regraft_gateway_requests", "Requests by the HTTP status of their answer.", labels=["status"]
    )
    for status, count in sorted(gateway.tally.statuses.items()):
        requests.add_metric([str(status)], count)
    yield requests
    answered = CounterMetricFamily(
        "regraft_gateway_answered", "Requests answered, by fragment.", labels=["fragment"]
    )
    on_time = CounterMetricFamily(
        "regraft_gateway_on_time", "Requests answered within their budget, by fragment.", labels=["fragment"]
    )
    dropped = CounterMetricFamily(
        "regraft_gateway_dropped", "Requests dropped, too late, by fragment.", labels=["fragment"]
    )
    failed = CounterMetricFamily(
        "regraft_gateway_failed", "Requests that a stage failed on, by fragment.", labels=["fragment"]
    )
    refused = CounterMetricFamily(
        "regraft_gateway_refused", "Requests refused, the queue being full, by fragment.", labels=["fragment"]
    )
    tally = gateway.tally
    families = (
        (answered, tally.answered),
        (on_time, tally.on_time),
        (dropped, tally.dropped),
        (failed, tally.failed),
        (refused, tally.refused),
    )
    fragments = sorted({fragment for _, counts in families for fragment in counts})
    for family, counts in families:
        for fragment in fragments:
            family.add_metric([fragment], counts[fragment])
        yield family
    promised = GaugeMetricFamily(
        "regraft_gateway_planned_rps", "Requests a second that the routed plan is for.", labels=["fragment"]
    )
    for fragment, rate_rps in sorted(planned_rates(gateway).items()):
        promised.add_metric([fragment], rate_rps)
    yield promised
    left = CounterMetricFamily(
        "regraft_gateway_left",
        "Requests answered by an exit, by fragment and the exit's layer.",
        labels=["fragment", "exit"],
    )
    for (fragment, layer), count in sorted(tally.left.items()):
        left.add_metric([fragment, str(layer)], count)
    yield left
    lost = CounterMetricFamily(
        "regraft_gateway_lost",
        "Requests dropped or failed, by fragment and the layer of the last exit that they went on past.",
        labels=["fragment", "exit"],
    )
    for (fragment, layer), count in sorted(tally.lost.items()):
        lost.add_metric([fragment, str(layer)], count)
    yield lost
    seconds = HistogramMetricFamily(
        "regraft_gateway_request_seconds", "From a request's arrival to its answer.", labels=["name"]
    )
    for (model, start), distribution in sorted(gateway.tally.seconds.items()):
        distribution.add_to(seconds, [joined_name(model, start)])
    yield seconds
    yield from _stages(gateway)


def planned_rates(gateway: Gateway) -> dict[str, float]:
    """What each fragment of the routed generation may send, in requests a second."""
    if gateway.active is None:
        return {}
    return {route.fragment: route.rate_rps for route in gateway.active.routes}


def _stages(gateway: Gateway) -> Iterable[Metric]:
    waits = HistogramMetricFamily("regraft_stage_wait_seconds", "Waiting before a stage.", labels=_STAGE)
    execs = HistogramMetricFamily("regraft_stage_exec_seconds", "Execution of a batch.", labels=_STAGE)
    batches = HistogramMetricFamily("regraft_stage_batch_samples", "Samples in a batch.", labels=_STAGE)
    queued = GaugeMetricFamily("regraft_stage_queued_samples", "Samples that wait.", labels=_STAGE)
    workers = GaugeMetricFamily("regraft_stage_workers", "Workers connected.", labels=_STAGE)
    dropped = CounterMetricFamily("regraft_stage_dropped", "Dropped: too late.", labels=_STAGE)
    failed = CounterMetricFamily("regraft_stage_failed", "The stage raised, or died.", labels=_STAGE)
    for kind, pool in sorted(gateway.pools.items()):
        labels = [f"{value:g}" if isinstance(value, float) else str(value) for value in kind[:-1]]
        labels.append(",".join(str(layer) for layer in kind.exits))
        pool.waits.add_to(waits, labels)
        pool.execs.add_to(execs, labels)
        pool.batches.add_to(batches, labels)
        queued.add_metric(labels, pool.backlog.samples)
        workers.add_metric(labels, len(pool.members))
        dropped.add_metric(labels, pool.dropped)
        failed.add_metric(labels, pool.failed)
    yield from (waits, execs, batches, queued, workers, dropped, failed)
