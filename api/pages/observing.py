"""What the gateways have seen: latencies and times of stages, read from their Prometheus metrics.

The service is not on the way of a request, so it knows of none by itself. `REGRAFT_GATEWAYS` names the
gateways; they are asked when somebody looks, and their answers are kept for two seconds, so that many people
looking cost them nothing more.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import httpx
from prometheus_client.parser import text_string_to_metric_families

_KEPT_S = 2.0
_TIMEOUT_S = 1.5
# Shares used are taken over at least so long: a second of few requests says little.
_SPAN_S = 8.0
_MOST_BYTES = 64_000_000

# model, start, end, batch, gpu
StageKey = tuple[str, int, int, int, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Latency:
    """Observed from a request's arrival at the gateway to its answer."""

    p50_ms: float
    p99_ms: float
    count: int


@dataclass(frozen=True, kw_only=True)
class Observed:
    """What all gateways together have seen. Latencies by (model, start), counts by fragment."""

    gateways: int = 0
    silent: tuple[str, ...] = ()
    latency: dict[tuple[str, int], Latency] = field(default_factory=dict)
    answered: dict[str, int] = field(default_factory=dict)
    on_time: dict[str, int] = field(default_factory=dict)
    busy: dict[StageKey, float] = field(default_factory=dict)  # fraction of the time that a worker executes

    def on_time_fraction(self, fragment: str) -> float | None:
        """Answers within the budget; None before the first answer."""
        answered = self.answered.get(fragment, 0)
        return self.on_time.get(fragment, 0) / answered if answered else None


@dataclass
class _Sums:
    """The counters of one look at all gateways."""

    at_s: float
    buckets: defaultdict[tuple[str, int], defaultdict[float, float]]
    answered: defaultdict[str, float]
    on_time: defaultdict[str, float]
    exec_s: defaultdict[StageKey, float]
    workers: defaultdict[StageKey, float]


class Observatory:
    """Asks the gateways. One for a process."""

    def __init__(self, addresses: str) -> None:
        self._addresses = [address.strip().rstrip("/") for address in addresses.split(",") if address.strip()]
        self._looking = asyncio.Lock()
        self._last = Observed()
        self._looked_s = float("-inf")
        self._before: list[_Sums] = []

    async def look(self) -> Observed:
        """What they have seen, no older than two seconds; never raises."""
        if not self._addresses:
            return self._last
        async with self._looking:
            if time.monotonic() - self._looked_s >= _KEPT_S:
                async with httpx.AsyncClient(timeout=_TIMEOUT_S, follow_redirects=False) as client:
                    texts = await asyncio.gather(*(_text(client, name) for name in self._addresses))
                self._last = await asyncio.to_thread(self._read, texts)
                self._looked_s = time.monotonic()
        return self._last

    def _read(self, texts: Sequence[str | None]) -> Observed:
        silent = [name for name, text in zip(self._addresses, texts, strict=True) if text is None]
        sums = _sums(text for text in texts if text is not None)
        old = [before for before in self._before if sums.at_s - before.at_s >= _SPAN_S]
        self._before = [*old[-1:], *(before for before in self._before if before not in old), sums]
        return Observed(
            gateways=len(self._addresses) - len(silent),
            silent=tuple(silent),
            latency={
                key: Latency(
                    p50_ms=_quantile(buckets, 0.5),
                    p99_ms=_quantile(buckets, 0.99),
                    count=int(max(buckets.values())),
                )
                for key, buckets in sums.buckets.items()
                if buckets and max(buckets.values()) > 0
            },
            answered={name: int(value) for name, value in sums.answered.items()},
            on_time={name: int(value) for name, value in sums.on_time.items()},
            busy=_busy(self._before[0], sums),
        )


async def _text(client: httpx.AsyncClient, address: str) -> str | None:
    try:
        answer = await client.get(f"{address}/metrics")
    except (httpx.HTTPError, httpx.InvalidURL):
        return None
    return answer.text if answer.status_code == 200 and len(answer.content) <= _MOST_BYTES else None


def _sums(texts: Iterable[str]) -> _Sums:
    sums = _Sums(
        at_s=time.monotonic(),
        buckets=defaultdict(lambda: defaultdict(float)),
        answered=defaultdict(float),
        on_time=defaultdict(float),
        exec_s=defaultdict(float),
        workers=defaultdict(float),
    )
    for text in texts:
        try:
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    _add(sums, sample.name, sample.labels, sample.value)
        except ValueError:
            continue  # no metrics: something else answers at this address
    return sums


def _add(sums: _Sums, name: str, labels: dict[str, str], value: float) -> None:
    match name:
        case "regraft_gateway_request_seconds_bucket":
            model, _, start = labels["name"].rpartition("@")
            key = (model, int(start)) if model and start.isdigit() else (labels["name"], 0)
            sums.buckets[key][float(labels["le"])] += value
        case "regraft_gateway_answered_total":
            sums.answered[labels["fragment"]] += value
        case "regraft_gateway_on_time_total":
            sums.on_time[labels["fragment"]] += value
        case "regraft_stage_exec_seconds_sum":
            sums.exec_s[_stage(labels)] += value
        case "regraft_stage_workers":
            sums.workers[_stage(labels)] += value


def _stage(labels: dict[str, str]) -> StageKey:
    return labels["model"], int(labels["start"]), int(labels["end"]), int(labels["batch"]), labels["gpu"]


def _busy(before: _Sums, now: _Sums) -> dict[StageKey, float]:
    """Executing seconds a second and worker, since the earlier look."""
    passed_s = now.at_s - before.at_s
    if passed_s < 1:
        return {}
    return {
        key: min(1.0, max(0.0, value - before.exec_s[key]) / passed_s / workers)
        for key, value in now.exec_s.items()
        if (workers := now.workers.get(key, 0.0)) > 0 and key in before.exec_s
    }


def _quantile(buckets: dict[float, float], q: float) -> float:
    """Of a cumulative histogram in seconds, in ms; straight within a bucket, as Prometheus does."""
    bounds = sorted(buckets)
    wanted = q * buckets[bounds[-1]]
    lower, below = 0.0, 0.0
    for bound in bounds:
        count = buckets[bound]
        if count >= wanted:
            if bound == float("inf"):
                return 1000 * lower
            part = (wanted - below) / (count - below) if count > below else 1.0
            return 1000 * (lower + (bound - lower) * part)
        lower, below = bound, count
    return 1000 * lower
