"""A worker's memory is its layers', not the model's: `python -m benchmarks.worker_memory`.

Starts an agent with one worker for each range of layers, sends each some requests, and reads from the kernel
what it holds: RSS counts every page it can see, PSS divides pages that processes share (torch's libraries,
the nursery's modules) among them, USS is what would be freed if it ended.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from pathlib import Path

import psutil
import torch

from runtime.load_client import GatewayClient, Reply
from runtime.models import open_chain
from tests.runtime.cluster import Process, assignment_of, cluster_in, ready, route, stage, wait_for

REQUESTS = 8


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="vgg11")
    model = parser.parse_args().model
    torch.set_num_threads(1)
    depth = open_chain(model).depth
    starts = {"whole": 0, "half": depth // 2, "last two": depth - 2, "last": depth - 1}
    stages = [stage(name, model, start, depth, batch=1) for name, start in starts.items()]
    routes = [route(name, model, start, [name], budget_ms=60_000.0) for name, start in starts.items()]
    with tempfile.TemporaryDirectory() as directory, cluster_in(Path(directory)) as cluster:
        cluster.service.assign(node_a=assignment_of(1, stages, routes))
        gateway = cluster.gateway(cluster.agent())
        wait_for(lambda: ready(gateway), what="routed generation", timeout_s=300)
        wait_for(lambda: cluster.serving(1), what="report")
        pids = {worker["stage"]: worker["pid"] for worker in cluster.service.status("node-a")["workers"]}
        for name, start in starts.items():
            asyncio.run(_send(gateway, model, start, name))
        print(f"| {model} | layers | their weights | RSS | PSS | USS |\n|---|---|---|---|---|---|")
        weights_mb = open_chain(model).weight_mb
        for name, start in starts.items():
            memory = psutil.Process(pids[name]).memory_full_info()
            sizes = " | ".join(f"{size / 2**20:.0f} MiB" for size in (memory.rss, memory.pss, memory.uss))
            print(f"| {name} | [{start}, {depth}) | {sum(weights_mb[start:]):.0f} MiB | {sizes} |")


async def _send(gateway: Process, model: str, start: int, fragment: str) -> None:
    client = GatewayClient(gateway.url)
    await client.open(1)
    tensor = open_chain(model).example(1, cut=start).numpy()
    name = f"{model}@{start}" if start else model
    request = client.request(name, tensor, {"fragment": fragment, "budget_ms": 60_000.0})
    for _ in range(REQUESTS):
        replied: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        client.send(request, replied.set_result)
        reply = await replied
        if reply.status != 200:
            raise RuntimeError(f"{reply.status}: {reply.problem()}")
    client.close()


if __name__ == "__main__":
    main()
