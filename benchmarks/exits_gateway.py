"""Plans with exits served for benchmarks: real agent, workers and gateway, on inputs of a given hardness.

The worker's device is one core, pinned; client and gateway have another. Inputs are real digits that the
model was not trained with, and blends of two of them, which are harder; an evaluation offline says by which
exit each leaves. Of these a stream is drawn so that given parts of it go on past the exits. Every answer is
compared with the one that this input gets offline.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import uvloop

from benchmarks.exits_planned import retold
from planner import formats
from planner.arrivals import arrivals_of
from planner.plan import Plan
from planner.profile import Profile
from planner.simulation import simulate
from planner.simulation_queue import SimulationSettings
from planner.workload import Fragment, Workload
from runtime.exit_training import NEVER, Opinions, Samples
from runtime.load_client import GatewayClient, Reply
from runtime.models import Chain
from runtime.ramps import Ramps
from tests.runtime.cluster import Cluster, assignment_of, cluster_in, wait_for

PHONE = "phone"
# A rate is carried if this part of its requests is answered in time.
ON_TIME = 0.99
# Rates tried one after the other are so much apart, and each is sent for so long.
STEP, SECONDS = 1.08, 2.5
# What is said of an input close to a threshold may differ from batch to batch.
MARGIN = 1e-3


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool:
    """Inputs by where they leave: `kinds[k]` are the rows that pass k exits; `labels` are their answers."""

    inputs: np.ndarray[Any, Any]
    labels: list[int]
    kinds: tuple[list[int], ...]

    def stream(self, survival: Sequence[float], count: int, seed: int) -> list[int]:
        """Rows, of which these fractions go on past the exits."""
        rng = np.random.default_rng(seed)
        passing = np.array([1.0, *survival]) - np.array([*survival, 0.0])
        kinds = rng.choice(len(self.kinds), size=count, p=np.clip(passing, 0, 1) / passing.sum())
        return [int(rng.choice(self.kinds[kind])) for kind in kinds]


def pool_of(chain: Chain, ramps: Ramps, rest: Samples, opinions: Any) -> Pool:
    """Digits and blends of digits, sorted by what they do offline, each evaluated alone."""
    rng = np.random.default_rng(0)
    pairs = rng.integers(0, len(rest.inputs), size=(600, 2))
    part = torch.from_numpy(rng.uniform(0.35, 0.65, size=(600, 1, 1, 1)).astype(np.float32))
    blends = part * rest.inputs[pairs[:, 0]] + (1 - part) * rest.inputs[pairs[:, 1]]
    inputs = torch.cat([rest.inputs, blends])
    labels = torch.cat([rest.labels, rest.labels[pairs[:, 0]]])
    found: Opinions = opinions(chain, ramps, Samples(inputs=inputs, labels=labels))
    leaving = found.leaving(ramps.thresholds)
    thresholds = torch.tensor([min(one, NEVER) for one in ramps.thresholds]).view(-1, 1)
    clear = ((found.sure - thresholds).abs() > MARGIN).all(dim=0)
    answers = found.answers.gather(0, leaving.view(1, -1))[0].tolist()
    kinds = tuple(
        torch.nonzero(clear & (leaving == kind)).view(-1).tolist() for kind in range(len(ramps.layers) + 1)
    )
    return Pool(inputs=inputs.numpy(), labels=[int(one) for one in answers], kinds=kinds)


@dataclass(frozen=True, slots=True)
class Counted:
    """What became of the requests of one rate."""

    sent: int
    on_time: int
    wrong: int

    @property
    def part(self) -> float:
        return self.on_time / self.sent if self.sent else 0.0


class Served:
    """A running system that serves one plan after another."""

    def __init__(self, cluster: Cluster, model: str, pool: Pool) -> None:
        self._cluster = cluster
        self._model = model
        self._pool = pool
        self._generation = 0
        # The worker's core is the last one; whoever asks and answers has the first.
        cores = os.sched_getaffinity(0)
        self._agent = cluster.agent("node-a", 0, f"--gpu=node-a/cpu-0:cpu:4000:{max(cores)}")
        self._agent.listening()
        os.sched_setaffinity(0, {min(cores)})
        self._gateway = cluster.gateway(self._agent)

    def deploy(self, plan: Plan, budget_ms: float) -> None:
        """Route this plan of one fragment."""
        self._generation += 1
        written = formats.to_json(plan)
        routes = [
            {**one, "model": self._model, "start": 0, "budget_ms": budget_ms, "rate_rps": 1.0}
            for one in written["routes"]
        ]
        self._cluster.service.assign(node_a=assignment_of(self._generation, written["stages"], routes))
        wait_for(lambda: self._cluster.serving(self._generation), what="workers")
        routed = f"regraft_gateway_generation {float(self._generation)}"
        wait_for(lambda: routed in metrics(self._gateway.listening()), what="routing")

    def send(self, rate_rps: float, survival: Sequence[float], budget_ms: float, seed: int) -> Counted:
        """Poisson arrivals at this rate, of inputs of this hardness."""
        rows = self._pool.stream(survival, int(rate_rps * SECONDS), seed)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(self._sent(rate_rps, rows, budget_ms, seed))

    async def _sent(self, rate_rps: float, rows: list[int], budget_ms: float, seed: int) -> Counted:
        loop = asyncio.get_running_loop()
        client = GatewayClient(self._gateway.listening())
        await client.open(64)
        ready = {
            row: client.request(self._model, self._pool.inputs[row : row + 1], {"budget_ms": budget_ms})
            for row in set(rows)
        }
        times = np.cumsum(np.random.default_rng(seed).exponential(1 / rate_rps, len(rows))).tolist()
        on_time = wrong = 0

        def replied(reply: Reply, row: int, sent: float) -> None:
            nonlocal on_time, wrong
            if reply.status == 200:
                on_time += (reply.at - sent) * 1000 <= budget_ms
                wrong += int(reply.answer()[1].argmax()) != self._pool.labels[row]

        def send(row: int) -> None:
            sent = time.monotonic()
            client.send(ready[row], lambda reply: replied(reply, row, sent))

        begin = loop.time() + 0.05
        for at, row in zip(times, rows, strict=True):
            loop.call_at(begin + at, send, row)
        await asyncio.sleep(begin - loop.time() + times[-1])
        deadline = loop.time() + budget_ms / 1000 + 1.0
        while client.outstanding and loop.time() < deadline:
            await asyncio.sleep(0.02)
        client.close()
        return Counted(len(rows), on_time, wrong)

    def goodput(
        self, first_rps: float, survival: Sequence[float], budget_ms: float, *, tries: int = 5
    ) -> tuple[float, int]:
        """The largest rate of a ladder of which ON_TIME are on time, from here; and the wrong answers."""
        self.send(0.5 * first_rps, survival, budget_ms, 99)  # estimates of batches settle
        rate, best, wrong, up = first_rps, 0.0, 0, None
        for number in range(tries):
            found = self.send(rate, survival, budget_ms, number)
            wrong += found.wrong
            carried = found.part >= ON_TIME
            best = max(best, rate) if carried else best
            if up is not None and carried != up:
                break
            up = carried
            rate *= STEP if carried else 1 / STEP
        return best, wrong


def metrics(url: str) -> str:
    import urllib.request

    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as response:
        return str(response.read().decode())


@contextmanager
def serving(directory: Path, model: str, pool: Pool) -> Iterator[Served]:
    """The system; this process is on the first core until it ends."""
    before = os.sched_getaffinity(0)
    try:
        with cluster_in(directory) as cluster:
            yield Served(cluster, model, pool)
    finally:
        os.sched_setaffinity(0, before)


def simulated(
    plan: Plan, profile: Profile, survival: Sequence[float], rate_rps: float, budget_ms: float, model: str
) -> float:
    """The part on time of 20 simulated seconds of the same arrivals, with the true survival."""
    own = tuple(survival) if profile.exits is not None else None
    fragment = Fragment(id=PHONE, model=model, start=0, budget_ms=budget_ms, rate_rps=rate_rps, survival=own)
    workload = Workload(fragments=(fragment,))
    found = simulate(
        retold(plan, workload, profile),
        workload,
        [profile],
        arrivals=arrivals_of("poisson"),
        seconds=20.0,
        settings=SimulationSettings(batch_time="between"),
    )
    [result] = found.fragments
    return result.on_time_fraction or 0.0


def simulated_goodput(
    plan: Plan, profile: Profile, survival: Sequence[float], budget_ms: float, model: str, around_rps: float
) -> float:
    """The largest rate of which ON_TIME are on time in the simulation, to 2 %."""
    low, high = 0.0, around_rps
    while simulated(plan, profile, survival, high, budget_ms, model) >= ON_TIME:
        low, high = high, high * 1.5
    low = low or around_rps / 10
    while high > 1.02 * low:
        middle = (low * high) ** 0.5
        if simulated(plan, profile, survival, middle, budget_ms, model) >= ON_TIME:
            low = middle
        else:
            high = middle
    return low
