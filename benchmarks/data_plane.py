"""What gateway and worker cost beside the model they serve: `python -m benchmarks.data_plane`.

Four measurements, each against its yardstick in the same run and in turns with it, so that a disturbed
machine disturbs both:

    null         a stage that computes next to nothing, 16 requests in flight, 600 KB and 8 KB tensors; with
                 `--peers VENV` (`benchmarks/peers/requirements.txt` installed there) other systems as well
    throughput   a full queue through gateway and worker, against a bare torch loop at the same batch
    light load   one request at a time, client included, against the bare forward pass (p50)
    two stages   a route of two stages, against the same layers in one (p50): of the model, and of two layers
                 that do little and hand on 600 KB, where chance hides less of it

The worker is pinned to the first core, and so is the bare loop, which has a process of its own; all else runs
where it likes, on two cores in all (`--cores`). Workers keep freed memory instead of giving it back to the
kernel (`runtime.memory`), and the loop that they are compared with does so, too; how fast a plain one is
is said beside it.

Prints a table; `--output` keeps the figures as JSON with what they were measured on.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import torch
import uvloop
from torch import nn

from benchmarks.data_plane_bare import Bare, bare_loop
from benchmarks.data_plane_peers import PEERS, raw_request, running, versions
from runtime.load_client import GatewayClient, Reply
from runtime.models import open_chain
from tests.runtime.cluster import Process, assignment_of, cluster_in, ready, route, stage, wait_for

LARGE, SMALL = "benchmarks.data_plane:null_large", "benchmarks.data_plane:null_small"
PAIR = "benchmarks.data_plane:light_pair"
BUDGET_MS = 60_000.0
ROUNDS = 3
# Of bare and served, one after the other: short ones, since a machine changes its mind within seconds.
TURNS = 5
IN_FLIGHT = 16
SIZES = {"600 KB": 3 * 224 * 224 * 4, "8 KB": 2 * 32 * 32 * 4}
# Reading an answer's JSON is work for the client: so it is done for a sample of the answers only.
_READ_EVERY = 64


class Seen(NamedTuple):
    """An answer: its latency, the bytes copied for it where that was read, and when it came."""

    latency_ms: float
    copied: float | None
    at: float


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


def light_pair() -> nn.Module:
    """Two layers that do little; 602,112 bytes go in, across and out."""
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1))
    model.example_input = (3, 224, 224)  # type: ignore[assignment]
    return model


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", default="resnet18", help="for throughput and light load, by comma")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--cores", type=int, default=2, help="everything runs on this many")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each round of each measurement")
    parser.add_argument("--peers", type=Path, help="the environment that the peers are installed in")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
    torch.set_num_threads(1)
    models = [name for name in options.models.split(",") if name]
    figures: dict[str, Any] = {"machine": _machine(), "load_average_before": os.getloadavg()[0], "null": {}}
    if options.peers is not None:
        figures["peers"] = versions(options.peers)
        for peer in PEERS:
            with running(peer, options.peers) as url:
                figures["null"][peer.name] = {
                    size: _null(url, raw_request(url, peer.path, bytes(length)), options.seconds)
                    for size, length in SIZES.items()
                }
    with tempfile.TemporaryDirectory() as directory, cluster_in(Path(directory)) as cluster:
        gateway = _serve(cluster, [PAIR, *models], options.batch)
        figures["null"]["Regraft"] = {
            size: _null(gateway.url, _request(gateway.url, model), options.seconds, gateway.process.pid)
            for size, model in zip(SIZES, (LARGE, SMALL), strict=True)
        }
        figures["pair"] = _light_load(gateway, None, PAIR, options.seconds)
        figures["models"] = {}
        for model in models:
            core = min(os.sched_getaffinity(0))
            with bare_loop(model, core, plain=True) as plain:
                plain_per_s = _rate(plain.run(options.batch, 2 * options.seconds), options.batch)
            with bare_loop(model, core) as bare:
                figures["models"][model] = {
                    "plain_per_s": round(plain_per_s, 2),
                    **_throughput(gateway, bare, model, options.batch, options.seconds),
                    **_light_load(gateway, bare, model, options.seconds),
                }
    figures["load_average_after"] = os.getloadavg()[0]
    print("\n".join(table_of(figures)))
    if options.output is not None:
        options.output.write_text(json.dumps(figures, indent=1) + "\n")


def table_of(figures: dict[str, Any]) -> Iterable[str]:
    """The figures as they stand in docs/runtime.md."""
    yield "| next to nothing, 16 in flight | 600 KB, requests/s | p50 ms | 8 KB, requests/s | p50 ms |"
    yield "|---|---|---|---|---|"
    for name, sizes in figures["null"].items():
        cells = (f"{sizes[size]['requests_per_s']:,.0f} | {sizes[size]['p50_ms']:.1f}" for size in SIZES)
        yield f"| {name} {figures.get('peers', {}).get(name.split()[0].lower(), '')} | {' | '.join(cells)} |"
    own = figures["null"]["Regraft"]
    copied = " and ".join(f"{own[size]['copied_bytes']:,.0f} ({size})" for size in SIZES)
    yield f"\nBytes copied a request by gateway and worker, in the middle: {copied}.\n"
    pair = figures["pair"]
    yield (
        f"Two light layers with 600 KB between them: {pair['served_p50_ms']:.2f} ms in one stage, "
        f"{pair['second_stage_ms']:+.2f} ms in two (p50).\n"
    )
    yield "| | bare, samples/s | plain | served | of bare | bare p50 | served p50 | over | second stage |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for model, each in figures["models"].items():
        yield (
            f"| {model}, batch {each['batch']} | {each['bare_per_s']:.1f} | ({each['plain_per_s']:.1f}) | "
            f"{each['served_per_s']:.1f} | "
            f"{each['served_to_bare']:.1%} | {each['bare_p50_ms']:.2f} ms | {each['served_p50_ms']:.2f} ms | "
            f"{each['overhead_ms']:+.2f} ms | {each['second_stage_ms']:+.2f} ms |"
        )
    machine = figures["machine"]
    yield (
        f"\n{machine['processor']}, {machine['cores']} cores, torch {machine['torch']}; load average "
        f"{figures['load_average_before']:.1f} before."
    )


def _machine() -> dict[str, Any]:
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "torch": torch.__version__,
    }


def _serve(cluster: Any, models: list[str], batch: int) -> Process:
    stages = [stage("large", LARGE, 0, 1, batch=IN_FLIGHT), stage("small", SMALL, 0, 1, batch=IN_FLIGHT)]
    routes = [
        route("large", LARGE, 0, ["large"], budget_ms=BUDGET_MS),
        route("small", SMALL, 0, ["small"], budget_ms=BUDGET_MS),
    ]
    for model in models:
        depth = open_chain(model).depth
        middle = depth // 2
        whole, split = f"{model}-whole", f"{model}-split"
        stages += [
            stage(whole, model, 0, depth, batch=batch),
            stage(f"{model}-first", model, 0, middle, batch=batch),
            stage(f"{model}-second", model, middle, depth, batch=batch),
        ]
        routes += [
            route(whole, model, 0, [whole], budget_ms=BUDGET_MS),
            route(split, model, 0, [f"{model}-first", f"{model}-second"], budget_ms=BUDGET_MS),
        ]
    cluster.service.assign(node_a=assignment_of(1, stages, routes))
    gateway: Process = cluster.gateway(cluster.agent())
    wait_for(lambda: ready(gateway), what="routed generation", timeout_s=180)
    return gateway


def _null(url: str, request: list[bytes], seconds: float, pid: int | None = None) -> dict[str, float]:
    """`pid` is the gateway's, whose processor time says what a request costs, also on a busy machine."""
    before, own = _cpu_s(pid), time.process_time()
    rounds = [_drive(url, request, in_flight=IN_FLIGHT, seconds=seconds) for _ in range(ROUNDS)]
    spent, own = _cpu_s(pid) - before, time.process_time() - own
    requests = sum(map(len, rounds)) * (seconds + 0.3) / seconds
    figures = {
        "client_cpu_us": round(own / requests * 1e6, 1),
        "requests_per_s": round(statistics.median(len(r) / seconds for r in rounds), 1),
        "p50_ms": round(statistics.median(latency for r in rounds for latency, _, _ in r), 3),
    }
    copied = [copied for r in rounds for _, copied, _ in r if copied is not None]
    if pid is not None:
        figures["gateway_cpu_us"] = round(spent / requests * 1e6, 1)
        figures["copied_bytes"] = statistics.median(copied)
    return figures


def _throughput(gateway: Process, bare: Bare, model: str, batch: int, seconds: float) -> dict[str, Any]:
    """Samples a second, in turns: bare, served, bare, …, bare.

    Each served round is laid beside the mean of the bare ones before and after it; the ratio is the median.
    """
    request = _request(gateway.url, model, f"{model}-whole")
    alone, served = [_rate(bare.run(batch, seconds), batch)], []
    for _ in range(TURNS):
        replies = _drive(gateway.url, request, in_flight=3 * batch, seconds=seconds)
        # From the first batch's answers to the last one's: how many batches end in `seconds` is chance.
        times = [seen.at for seen in replies]
        served.append((len(times) - batch) / (max(times) - min(times)))
        alone.append(_rate(bare.run(batch, seconds), batch))
    ratios = [2 * s / (a + b) for s, (a, b) in zip(served, itertools.pairwise(alone), strict=True)]
    return {
        "batch": batch,
        "bare_per_s": round(statistics.median(alone), 2),
        "served_per_s": round(statistics.median(served), 2),
        "served_to_bare": round(statistics.median(ratios), 4),
        "served_to_bare_of_each": [round(ratio, 4) for ratio in ratios],
    }


def _light_load(gateway: Process, bare: Bare | None, model: str, seconds: float) -> dict[str, float]:
    """One request at a time, in turns with the bare pass: p50 of each, and the median difference."""
    alone, whole, split = [], [], []
    for _ in range(TURNS):
        if bare is not None:
            alone.append(1000 * statistics.median(bare.run(1, seconds)))
        for name, into in (("whole", whole), ("split", split)):
            request = _request(gateway.url, model, f"{model}-{name}")
            replies = _drive(gateway.url, request, in_flight=1, seconds=seconds)
            into.append(statistics.median(latency for latency, _, _ in replies))
    figures = {
        "served_p50_ms": statistics.median(whole),
        "two_stages_p50_ms": statistics.median(split),
        "second_stage_ms": statistics.median(s - w for s, w in zip(split, whole, strict=True)),
    }
    if bare is not None:
        figures["bare_p50_ms"] = statistics.median(alone)
        figures["overhead_ms"] = statistics.median(w - b for w, b in zip(whole, alone, strict=True))
    return {name: round(value, 3) for name, value in figures.items()}


def _rate(times_s: list[float], batch: int) -> float:
    return batch * len(times_s) / sum(times_s)


def _request(url: str, model: str, fragment: str | None = None) -> list[bytes]:
    """An inference request to the gateway, ready to be sent any number of times."""
    parameters: dict[str, Any] = {"budget_ms": BUDGET_MS}
    if fragment is not None:
        parameters["fragment"] = fragment
    return GatewayClient(url).request(model, open_chain(model).example(1).numpy(), parameters)


def _drive(url: str, request: list[bytes], *, in_flight: int, seconds: float) -> list[Seen]:
    """Each answer that came while `in_flight` requests were kept going."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_keep_going(url, request, in_flight, seconds))


async def _keep_going(url: str, request: list[bytes], in_flight: int, seconds: float) -> list[Seen]:
    client = GatewayClient(url)
    await client.open(in_flight)
    results: list[Seen] = []
    begin = time.monotonic() + 0.3  # what comes before is warm-up
    end = begin + seconds

    def send() -> None:
        sent = time.monotonic()

        def replied(reply: Reply) -> None:
            if reply.status != 200:
                raise RuntimeError(f"{reply.status}: {reply.problem()}")
            if begin <= reply.at < end:
                results.append(Seen((reply.at - sent) * 1000, _copied(reply, len(results)), reply.at))
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


def _copied(reply: Reply, number: int) -> float | None:
    if number % _READ_EVERY or b"inference-header-content-length" not in reply.headers:
        return None
    return float(reply.answer()[0]["parameters"]["copied_bytes"])


def _cpu_s(pid: int | None) -> float:
    if pid is None:
        return 0.0
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def _taking(*shape: int) -> nn.Module:
    model = Null()
    model.example_input = shape  # type: ignore[assignment]
    return model


if __name__ == "__main__":
    main()
