"""What is lost when plans are switched and workers are killed: `python -m benchmarks.disturbances`.

One core serves a model to phones that send at a fixed rate, whatever happens, and check every answer. Three
times the same load, at `--load` of what the weaker of two plans can take:

    quiet       nothing happens
    switching   every few seconds the next generation is deployed: two stages become one at another share,
                and back; no worker of the one can be used by the other
    killing     the second plan with two instances, on two cores; every few seconds one of them is killed
                (SIGKILL)

A promise is law 2's: twice the execution of each stage on the route, by a profile measured before, of the
plan that asks for more, plus `--allowance-ms` for the way from the client and back. Prints what was sent,
answered, late (or dropped), refused and lost, and how long a change took.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from planner import laws
from runtime.models import open_chain
from runtime.profiler import measure
from tests.runtime.cluster import (
    Cluster,
    Load,
    Process,
    assignment_of,
    cluster_in,
    get,
    ready,
    route,
    stage,
    wait_for,
)

CLIENTS = 8
BATCH = 4


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="resnet18:3x96x96")
    parser.add_argument("--load", type=float, default=0.7, help="of what the weaker plan can take")
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="of switching, and half as much of the others"
    )
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two disturbances")
    parser.add_argument("--allowance-ms", type=float, default=5.0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    plans = Plans(options.model, options.load, options.allowance_ms)
    print(
        f"{options.model}: {CLIENTS} phones, {plans.rate_rps:.1f} requests/s in all, {plans.budget_ms:.1f} ms"
    )
    print("\n| | sent | answered | on time | late | refused | lost | wrong | changes | each took, s |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name, seconds, run in (
        ("quiet", options.seconds / 2, quiet),
        ("switching plans", options.seconds, switching),
        ("killing workers", options.seconds / 2, killing),
    ):
        with tempfile.TemporaryDirectory() as directory, cluster_in(Path(directory)) as cluster:
            totals, took = run(cluster, plans, seconds, options.every)
        late = totals["sent"] - totals["on_time"] - totals["refused"] - totals["errors"]
        changes = f"{len(took)} | {statistics.median(took):.2f} (most {max(took):.2f})" if took else "0 | "
        counts = (totals["sent"], totals["answered"], f"{totals['on_time_fraction']:.3%}", late)
        faults = (totals["refused"], totals["errors"], totals["wrong"])
        print(f"| {name} | {' | '.join(map(str, (*counts, *faults)))} | {changes} |", flush=True)


class Plans:
    """Two plans for one core, and the promise that both of them make."""

    def __init__(self, model: str, load: float, allowance_ms: float) -> None:
        self.model = model
        chain = open_chain(model)
        self.depth, self.middle = chain.depth, chain.depth // 2
        first, second = _quick_ms(chain, 0, self.middle), _quick_ms(chain, self.middle, self.depth)
        # The two stages get their share of 90 percent by what they cost; the single one gets 80.
        self.shares = (round(90 * first / (first + second)), round(90 * second / (first + second)))
        self.share = 80
        profile = measure(
            chain,
            batches=(BATCH,),
            shares=sorted({*self.shares, self.share}),
            seconds_budget=12.0,
            core=min(os.sched_getaffinity(0)),
        )

        def exec_ms(start: int, end: int, share: float) -> float:
            found = laws.exec_ms(profile, start, end, BATCH, share)
            assert found is not None
            return found

        of_two = (exec_ms(0, self.middle, self.shares[0]), exec_ms(self.middle, self.depth, self.shares[1]))
        of_one = exec_ms(0, self.depth, self.share)
        self.rate_rps = load * BATCH * 1000 / max(*of_two, of_one)
        self.budget_ms = 2 * max(sum(of_two), of_one) + allowance_ms

    def generation(self, number: int) -> dict[str, Any]:
        """Odd ones are the two stages, even ones the single stage."""
        if number % 2 == 0:
            return assignment_of(number, [self._single(1)], self._routes(["whole"]))
        stages = [
            stage("first", self.model, 0, self.middle, batch=BATCH, share=self.shares[0]),
            stage("second", self.model, self.middle, self.depth, batch=BATCH, share=self.shares[1]),
        ]
        return assignment_of(number, stages, self._routes(["first", "second"]))

    def twofold(self) -> dict[str, Any]:
        """The single stage with an instance on each of two cores."""
        return assignment_of(
            2, [self._single(2)], self._routes(["whole"]), nodes=lambda _, instance: f"node-a/cpu-{instance}"
        )

    def clients(self) -> list[dict[str, Any]]:
        """What the phones send."""
        each = {"model": self.model, "start": 0, "budget_ms": self.budget_ms}
        rate_rps = self.rate_rps / CLIENTS
        return [{"fragment": f"phone-{k}", "rate_rps": rate_rps, **each} for k in range(CLIENTS)]

    def _single(self, instances: int) -> dict[str, Any]:
        return stage("whole", self.model, 0, self.depth, batch=BATCH, share=self.share, instances=instances)

    def _routes(self, stages: list[str]) -> list[dict[str, Any]]:
        return [
            route(client["fragment"], self.model, 0, stages, budget_ms=self.budget_ms)
            for client in self.clients()
        ]


Outcome = tuple[dict[str, Any], list[float]]


def quiet(cluster: Cluster, plans: Plans, seconds: float, _every: float) -> Outcome:
    """The yardstick."""
    gateway, _ = _serve(cluster, plans.generation(1))
    return Load(gateway, plans.clients(), seconds=seconds).result(), []


def switching(cluster: Cluster, plans: Plans, seconds: float, every: float) -> Outcome:
    """One generation after the other; each change takes from its deployment to the end of the old one."""
    gateway, _ = _serve(cluster, plans.generation(1))
    load = Load(gateway, plans.clients(), seconds=seconds)
    took = []
    for number in _while_loaded(seconds, every, first=2):
        deployed = time.monotonic()
        cluster.service.assign(node_a=plans.generation(number))
        _wait(lambda number=number: cluster.serving(number))
        took.append(time.monotonic() - deployed)
    return load.result(), took


def killing(cluster: Cluster, plans: Plans, seconds: float, every: float) -> Outcome:
    """One worker after the other; the times are from the kill to the agent's knowing of it."""
    gateway, agent = _serve(cluster, plans.twofold())
    load = Load(gateway, plans.clients(), seconds=seconds)
    chance = random.Random(0)
    took = []
    for _ in _while_loaded(seconds, every, first=0):
        victim = chance.choice(cluster.service.status("node-a")["workers"])
        listed = _keys(agent)
        os.kill(victim["pid"], signal.SIGKILL)
        killed = time.monotonic()
        _wait(lambda listed=listed: _keys(agent) != listed)
        took.append(time.monotonic() - killed)
        _wait(lambda: cluster.serving(2) and len(_keys(agent)) == 2)
    return load.result(), took


def _serve(cluster: Cluster, assignment: dict[str, Any]) -> tuple[Process, Process]:
    cluster.service.assign(node_a=assignment)
    agent = cluster.agent("node-a", 2)
    gateway = cluster.gateway(agent)
    wait_for(lambda: ready(gateway), what="routed generation", timeout_s=120)
    wait_for(lambda: cluster.serving(assignment["generation"]), what="report")
    return gateway, agent


def _while_loaded(seconds: float, every: float, *, first: int) -> Iterator[int]:
    """Numbers, `every` seconds apart, for as long as there is load enough to see what comes of it."""
    begin = time.monotonic()
    number = first
    while time.monotonic() - begin < seconds - 2 * every:
        time.sleep(every)
        yield number
        number += 1


def _keys(agent: Process) -> set[str]:
    """The workers that are ready."""
    _, table = get(f"{agent.url}/table")
    return {
        worker["key"]
        for generation in table["generations"]
        for worker in generation["workers"]
        if worker["state"] == "ready"
    }


def _wait(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError("it does not come")
        time.sleep(0.01)


def _quick_ms(chain: Any, start: int, end: int) -> float:
    """What a full batch takes on a whole core, about: to divide a core between two stages."""
    module, inputs = chain.fragment(start, end), chain.example(BATCH, cut=start)
    times = []
    with torch.inference_mode():
        for _ in range(13):
            began = time.perf_counter()
            module(inputs)
            times.append(time.perf_counter() - began)
    return 1000 * statistics.median(times[3:])


if __name__ == "__main__":
    main()
