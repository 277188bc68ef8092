"""The load generator: sends a plan's requests to a gateway as its phones would, and keeps the score.

Each client is a phone: it has run layers [0, start) of its model itself, beforehand, and sends the tensor
of its cut at its rate, whether or not earlier answers have come (open loop): a gateway that falls behind
is not given a pause. Latency is measured from the moment a request is sent to its whole answer being
here; `gateway_…` figures are the gateway's own, from arrival to answer.
"""

from __future__ import annotations

import asyncio
import gc
import json
import math
import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import uvloop
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from planner.errors import Complaint, InputError
from planner.formats import read_bytes, write_bytes
from runtime.load_client import GatewayClient, Reply
from runtime.memory import settle

if TYPE_CHECKING:
    import numpy as np

# Answers that are not there this long after the last deadline will not come.
_PATIENCE_S = 5.0
# Distinct inputs for each model and start: enough to notice answers that are mixed up.
_INPUTS = 2


class Client(BaseModel):
    """One phone (or several that are alike): what it sends, how often, and what it was promised."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    fragment: str
    model: str
    start: Annotated[int, Field(ge=0)]
    rate_rps: Annotated[float, Field(gt=0, le=1e6)]
    budget_ms: Annotated[float, Field(gt=0, le=1e9)]
    # When to send, in seconds from the start; the rate is only told then.
    times_s: Annotated[list[float], Field(max_length=10_000_000)] | None = None

    @field_validator("times_s")
    @classmethod
    def _in_order(cls, times_s: list[float] | None) -> list[float] | None:
        if times_s is not None and (sorted(times_s) != times_s or not all(0 <= t < 1e6 for t in times_s)):
            raise ValueError("expected times from 0 on, in order")
        return times_s


class LoadSpec(BaseModel):
    """What to send."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    gateway: str
    seconds: Annotated[float, Field(gt=0, le=1e6)]
    clients: Annotated[list[Client], Field(min_length=1)]
    seed: int = 0
    arrivals: Literal["paced", "poisson"] = "paced"
    check: bool = True
    model_seed: int = 0
    records: bool = False


@dataclass(frozen=True, slots=True)
class Sample:
    """What a client sends: the tensor of its cut [1, …], and the whole model's answer to the same image."""

    tensor: np.ndarray[Any, Any]
    expected: np.ndarray[Any, Any] | None


@dataclass(slots=True)
class Score:
    """How one client's promise was kept."""

    client: Client
    sent: int = 0
    dropped: int = 0
    refused: int = 0
    errors: int = 0
    wrong: int = 0
    max_abs_error: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)
    gateway_ms: list[float] = field(default_factory=list)
    stages: dict[str, list[float]] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    # Of each request, when wanted: second of sending, status, ms here, ms in the gateway, and its stages.
    records: list[list[Any]] | None = None

    def result(self) -> dict[str, Any]:
        """As it stands in the result file."""
        budget_ms = self.client.budget_ms
        on_time = sum(latency <= budget_ms for latency in self.latencies_ms)
        return {
            **self.client.model_dump(exclude={"times_s"}),
            "sent": self.sent,
            "answered": len(self.latencies_ms),
            "on_time": on_time,
            "on_time_fraction": on_time / self.sent if self.sent else None,
            "gateway_on_time": sum(total <= budget_ms for total in self.gateway_ms),
            "dropped": self.dropped,
            "refused": self.refused,
            "errors": self.errors,
            "wrong": self.wrong,
            "max_abs_error": self.max_abs_error,
            "p50_ms": percentile(self.latencies_ms, 50),
            "p99_ms": percentile(self.latencies_ms, 99),
            "gateway_p50_ms": percentile(self.gateway_ms, 50),
            "gateway_p99_ms": percentile(self.gateway_ms, 99),
            "stages": [
                {
                    "stage": stage,
                    "requests": int(count),
                    "queue_ms": round(queue_ms / count, 3),
                    "exec_ms": round(exec_ms / count, 3),
                    "batch": round(batch / count, 2),
                }
                for stage, (count, queue_ms, exec_ms, batch) in self.stages.items()
            ],
            "complaints": self.complaints,
            **({} if self.records is None else {"records": self.records}),
        }


def run_load(spec_file: Path, output: Path) -> None:
    """Read what to send, send it, write the result. Raises InputError, ModelError."""
    spec = parse_spec(read_bytes(spec_file), source=str(spec_file))
    # A gateway that is not there is found before torch is loaded.
    asyncio.run(_reach(spec.gateway))
    samples = prepare(spec)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        result = runner.run(drive(spec, samples))
    write_bytes((json.dumps(result, indent=1) + "\n").encode(), output)


def parse_spec(content: bytes, *, source: str) -> LoadSpec:
    """Read a load specification. Raises InputError with all complaints."""
    try:
        return LoadSpec.model_validate_json(content)
    except ValidationError as error:
        complaints = [
            Complaint(place=".".join(map(str, item["loc"])) or "file", problem=item["msg"])
            for item in error.errors(include_url=False)
        ]
        raise InputError(source, complaints) from None


def prepare(spec: LoadSpec) -> dict[tuple[str, int], list[Sample]]:
    """The phones' own part: for each model and start, tensors to send and the answers to expect."""
    import torch

    from runtime.models import open_chain

    starts: dict[str, set[int]] = {}
    for client in spec.clients:
        starts.setdefault(client.model, set()).add(client.start)
    samples: dict[tuple[str, int], list[Sample]] = {}
    for model, cuts in sorted(starts.items()):
        chain = open_chain(model, seed=spec.model_seed)
        if max(cuts) >= chain.depth:
            complaint = Complaint(
                place="clients",
                problem=f"start {max(cuts)} of {model}",
                cure=f"it has layers 0 to {chain.depth - 1}",
            )
            raise InputError("load", [complaint])
        with torch.inference_mode():
            tensor = chain.example(_INPUTS, seed=spec.seed)
            expected = chain.fragment(0, chain.depth)(tensor).numpy() if spec.check else None
            reached = 0
            for cut in sorted(cuts):
                if cut > reached:
                    tensor = chain.fragment(reached, cut)(tensor)
                    reached = cut
                data = tensor.contiguous().numpy()
                samples[(model, cut)] = [
                    Sample(data[i : i + 1].copy(), expected[i : i + 1] if expected is not None else None)
                    for i in range(_INPUTS)
                ]
    return samples


async def drive(spec: LoadSpec, samples: dict[tuple[str, int], list[Sample]]) -> dict[str, Any]:
    """Send everything, wait for the answers, and give the result."""
    # What is sent after a pause of the collector's is sent all at once, and that is not what was asked for.
    settle()
    try:
        return await _drive(spec, samples)
    finally:
        gc.unfreeze()


async def _drive(spec: LoadSpec, samples: dict[tuple[str, int], list[Sample]]) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    scores = [Score(client, records=[] if spec.records else None) for client in spec.clients]
    gateway = GatewayClient(spec.gateway)
    await gateway.open(min(64, len(spec.clients)))
    begin, begin_at = loop.time() + 0.05, time.monotonic() + 0.05
    end = begin + spec.seconds
    phones = [
        _Phone(score, samples[(score.client.model, score.client.start)], gateway, begin, end, spec, index)
        for index, score in enumerate(scores)
    ]
    for phone in phones:
        phone.begin(begin_at)
    await asyncio.sleep(end - loop.time())
    deadline = end + max(client.budget_ms for client in spec.clients) / 1000 + _PATIENCE_S
    while gateway.outstanding and loop.time() < deadline:
        await asyncio.sleep(0.02)
    gateway.close()
    for score in scores:  # whatever has not been answered by now
        score.errors = score.sent - len(score.latencies_ms) - score.dropped - score.refused
    results = [score.result() for score in scores]
    summed = ("sent", "answered", "on_time", "gateway_on_time", "dropped", "refused", "errors", "wrong")
    totals: dict[str, Any] = {name: sum(result[name] for result in results) for name in summed}
    totals["on_time_fraction"] = totals["on_time"] / totals["sent"] if totals["sent"] else None
    totals["max_abs_error"] = max(result["max_abs_error"] for result in results)
    everything = [latency for score in scores for latency in score.latencies_ms]
    totals["p50_ms"], totals["p99_ms"] = percentile(everything, 50), percentile(everything, 99)
    return {
        "format": "regraft.load-result/v1",
        "gateway": spec.gateway,
        "seconds": spec.seconds,
        "arrivals": spec.arrivals,
        # By the monotonic clock, for whoever looks at the same machine meanwhile.
        "began_s": begin_at,
        "totals": totals,
        "clients": results,
    }


async def _reach(url: str) -> None:
    gateway = GatewayClient(url)
    await gateway.open(1)
    gateway.close()


class _Phone:
    """Sends one client's requests at their times."""

    def __init__(
        self,
        score: Score,
        samples: list[Sample],
        gateway: GatewayClient,
        begin: float,
        end: float,
        spec: LoadSpec,
        index: int,
    ) -> None:
        self._score = score
        self._samples = samples
        self._gateway = gateway
        self._begin = begin
        self._begin_at = 0.0
        self._end = end
        self._poisson = spec.arrivals == "poisson"
        self._random = random.Random(f"{spec.seed}/{index}")
        self._gap_s = 1.0 / score.client.rate_rps
        client = score.client
        self._times = iter(client.times_s) if client.times_s is not None else None
        self._next = begin + (self._random.random() * self._gap_s if not self._poisson else self._pause())
        if self._times is not None:
            self._next = begin + next(self._times, math.inf)
        name = f"{client.model}@{client.start}" if client.start else client.model
        self._requests = [
            gateway.request(name, s.tensor, {"fragment": client.fragment, "budget_ms": client.budget_ms})
            for s in samples
        ]

    def begin(self, begin_at: float) -> None:
        """Start; `begin_at` is the beginning by the monotonic clock, finer than the loop's own."""
        self._begin_at = begin_at
        self._schedule()

    def _schedule(self) -> None:
        if self._next < self._end:
            asyncio.get_running_loop().call_at(self._next, self._send)

    def _send(self) -> None:
        number = self._score.sent % len(self._requests)
        sent = time.monotonic()
        self._score.sent += 1
        self._gateway.send(self._requests[number], lambda reply: self._replied(reply, number, sent))
        if self._times is not None:
            self._next = self._begin + next(self._times, math.inf)
        else:
            self._next += self._pause() if self._poisson else self._gap_s
        self._schedule()

    def _pause(self) -> float:
        return self._random.expovariate(1.0 / self._gap_s)

    def _replied(self, reply: Reply, number: int, sent: float) -> None:
        score = self._score
        if reply.status == 504:
            score.dropped += 1
        elif reply.status in (429, 503):
            score.refused += 1
        elif reply.status == 200:
            score.latencies_ms.append((reply.at - sent) * 1000)
            self._check(reply, number, sent)
        if reply.status != 200:
            self._record(reply, sent, None, [])
            if len(score.complaints) < 3:
                score.complaints.append(f"{reply.status}: {reply.problem()}")

    def _record(self, reply: Reply, sent: float, gateway_ms: float | None, stages: list[Any]) -> None:
        if self._score.records is not None:
            latency_ms = round((reply.at - sent) * 1000, 3)
            at_s = round(sent - self._begin_at, 6)
            self._score.records.append([at_s, reply.status, latency_ms, gateway_ms, stages])

    def _check(self, reply: Reply, number: int, sent: float) -> None:
        import numpy as np

        head, output = reply.answer()
        parameters = head["parameters"]
        self._score.gateway_ms.append(parameters["total_ms"])
        stages = json.loads(parameters["stages"])
        told = [[stage["stage"], stage["queue_ms"], stage["exec_ms"], stage["batch"]] for stage in stages]
        self._record(reply, sent, parameters["total_ms"], told)
        for stage in stages:
            sums = self._score.stages.setdefault(stage["stage"], [0.0, 0.0, 0.0, 0.0])
            for place, value in enumerate((1, stage["queue_ms"], stage["exec_ms"], stage["batch"])):
                sums[place] += value
        expected = self._samples[number].expected
        if expected is None:
            return
        if output.shape != expected.shape:
            self._score.wrong += 1
            return
        error = float(np.abs(output - expected).max())
        self._score.max_abs_error = max(self._score.max_abs_error, error)
        # The tolerance is relative to the answer's own size: logits of a wide model are large.
        if not np.allclose(output, expected, rtol=1e-3, atol=1e-4 * max(1.0, float(np.abs(expected).max()))):
            self._score.wrong += 1


def percentile(values: list[float], percent: float) -> float | None:
    """The nearest-rank percentile; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    return round(ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)], 3)
