"""What gateway and worker cost beside the model they serve: `python -m benchmarks.data_plane`.

Four measurements, each against its yardstick in the same run and in turns with it, so that a disturbed
machine disturbs both:

    throughput   a full queue through gateway and worker, against a bare torch loop at the same batch
    light load   one request at a time, client included, against the bare forward pass (p50)
    two stages   a route of two stages, against the same layers in one (p50)
    null         a stage that computes next to nothing, 16 requests in flight, 600 KB and 8 KB tensors

The worker is pinned to the first core, and so is the bare loop; all else runs where it likes. `--output`
keeps the figures as JSON with what they were measured on.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import torch
import uvloop
from torch import nn

from runtime.load_client import GatewayClient, Reply
from runtime.models import open_chain
from tests.runtime.cluster import Process, assignment_of, cluster_in, ready, route, stage, wait_for

LARGE, SMALL = "benchmarks.data_plane:null_large", "benchmarks.data_plane:null_small"
BUDGET_MS = 60_000.0
ROUNDS = 3


class Null(nn.Module):
    """One small product of the first few numbers: next to nothing, whatever the tensor's size."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 8)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.linear(inputs.flatten(1)[:, :16])


def null_large() -> nn.Module:
    """Takes 602,112 bytes."""
    return _taking(3, 224, 224)


def null_small() -> nn.Module:
    """Takes 8,192 bytes."""
    return _taking(2, 32, 32)


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="resnet18", help="for throughput and light load")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument(
        "--seconds", type=float, default=3.0, help="of each of three rounds of each measurement"
    )
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as directory, cluster_in(Path(directory)) as cluster:
        gateway = _serve(cluster, options.model, options.batch)
        figures = {
            "machine": {
                "processor": platform.processor(),
                "cores": os.cpu_count(),
                "torch": torch.__version__,
            },
            "load_average_before": os.getloadavg()[0],
            "null_600_kb": _null(gateway, LARGE, options.seconds),
            "null_8_kb": _null(gateway, SMALL, options.seconds),
            "throughput": _throughput(gateway, options.model, options.batch, options.seconds),
            "light_load": _light_load(gateway, options.model, options.seconds),
            "load_average_after": os.getloadavg()[0],
        }
    print(json.dumps(figures, indent=1))
    if options.output is not None:
        options.output.write_text(json.dumps(figures, indent=1) + "\n")


def _serve(cluster: Any, model: str, batch: int) -> Process:
    depth = open_chain(model).depth
    middle = depth // 2
    stages = [
        stage("large", LARGE, 0, 1, batch=16),
        stage("small", SMALL, 0, 1, batch=16),
        stage("whole", model, 0, depth, batch=batch),
        stage("first", model, 0, middle, batch=batch),
        stage("second", model, middle, depth, batch=batch),
    ]
    routes = [
        route("large", LARGE, 0, ["large"], budget_ms=BUDGET_MS),
        route("small", SMALL, 0, ["small"], budget_ms=BUDGET_MS),
        route("whole", model, 0, ["whole"], budget_ms=BUDGET_MS),
        route("split", model, 0, ["first", "second"], budget_ms=BUDGET_MS),
    ]
    cluster.service.assign(node_a=assignment_of(1, stages, routes))
    gateway: Process = cluster.gateway(cluster.agent())
    wait_for(lambda: ready(gateway), what="routed generation", timeout_s=180)
    return gateway


def _null(gateway: Process, model: str, seconds: float) -> dict[str, float]:
    before, own = _cpu_s(gateway.process.pid), time.process_time()
    rounds = [_drive(gateway, model, None, in_flight=16, seconds=seconds) for _ in range(ROUNDS)]
    spent, own = _cpu_s(gateway.process.pid) - before, time.process_time() - own
    # The processor's time says what a request costs, also on a machine that does other things.
    requests = sum(map(len, rounds)) * (seconds + 0.3) / seconds
    return {
        "gateway_cpu_us": round(spent / requests * 1e6, 1),
        "client_cpu_us": round(own / requests * 1e6, 1),
        "requests_per_s": round(statistics.median(len(r) / seconds for r in rounds), 1),
        "p50_ms": round(statistics.median(latency for r in rounds for latency, _ in r), 3),
        "copied_bytes": statistics.median(copied for r in rounds for _, copied in r),
    }


def _throughput(gateway: Process, model: str, batch: int, seconds: float) -> dict[str, float]:
    """Samples a second, in turns: bare, served, bare, served, …; the ratio is the median of neighbours'."""
    bare, served = [], []
    for _ in range(ROUNDS):
        bare.append(_bare(model, batch, seconds)[0])
        replies = _drive(gateway, model, "whole", in_flight=3 * batch, seconds=seconds)
        served.append(len(replies) / seconds)
    return {
        "batch": batch,
        "bare_per_s": round(statistics.median(bare), 2),
        "served_per_s": round(statistics.median(served), 2),
        "served_to_bare": round(statistics.median(s / b for s, b in zip(served, bare, strict=True)), 3),
    }


def _light_load(gateway: Process, model: str, seconds: float) -> dict[str, float]:
    bare, whole, split = [], [], []
    for _ in range(ROUNDS):
        bare.append(_bare(model, 1, seconds)[1])
        for name, into in (("whole", whole), ("split", split)):
            replies = _drive(gateway, model, name, in_flight=1, seconds=seconds)
            into.append(statistics.median(latency for latency, _ in replies))
    return {
        "bare_p50_ms": round(statistics.median(bare), 3),
        "served_p50_ms": round(statistics.median(whole), 3),
        "overhead_ms": round(statistics.median(w - b for w, b in zip(whole, bare, strict=True)), 3),
        "two_stages_p50_ms": round(statistics.median(split), 3),
        "second_stage_ms": round(statistics.median(s - w for s, w in zip(split, whole, strict=True)), 3),
    }


def _bare(model: str, batch: int, seconds: float) -> tuple[float, float]:
    """Samples a second, and the p50 of a forward pass in ms, on the worker's core with one thread."""
    chain = open_chain(model)
    module = chain.fragment(0, chain.depth)
    inputs = chain.example(batch)
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    times = []
    try:
        with torch.inference_mode():
            for _ in range(3):
                module(inputs)
            end = time.perf_counter() + seconds
            while (began := time.perf_counter()) < end:
                module(inputs)
                times.append(time.perf_counter() - began)
    finally:
        os.sched_setaffinity(0, cores)
    return batch * len(times) / sum(times), statistics.median(times) * 1000


def _drive(
    gateway: Process, model: str, fragment: str | None, *, in_flight: int, seconds: float
) -> list[tuple[float, float]]:
    """(latency in ms, bytes copied) of each answer that came while `in_flight` requests were kept going."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_keep_going(gateway.url, model, fragment, in_flight, seconds))


async def _keep_going(
    url: str, model: str, fragment: str | None, in_flight: int, seconds: float
) -> list[tuple[float, float]]:
    client = GatewayClient(url)
    await client.open(in_flight)
    parameters: dict[str, Any] = {"budget_ms": BUDGET_MS}
    if fragment is not None:
        parameters["fragment"] = fragment
    request = client.request(model, open_chain(model).example(1).numpy(), parameters)
    results: list[tuple[float, float]] = []
    begin = time.monotonic() + 0.3  # what comes before is warm-up
    end = begin + seconds

    def send() -> None:
        sent = time.monotonic()

        def replied(reply: Reply) -> None:
            if reply.status != 200:
                raise RuntimeError(f"{reply.status}: {reply.problem()}")
            if begin <= reply.at < end:
                copied = reply.answer()[0]["parameters"]["copied_bytes"]
                results.append(((reply.at - sent) * 1000, copied))
            if reply.at < end:
                send()

        client.send(request, replied)

    for _ in range(in_flight):
        send()
    await asyncio.sleep(end - time.monotonic())
    while client.outstanding:
        await asyncio.sleep(0.01)
    client.close()
    return results


def _cpu_s(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def _taking(*shape: int) -> nn.Module:
    model = Null()
    model.example_input = shape  # type: ignore[assignment]
    return model


if __name__ == "__main__":
    main()
