"""What a simulation saw: one run, and several runs with confidence intervals.

*On time* means answered within the fragment's budget, counted from the request's arrival; a dropped request
is not on time. Percentiles and waits are those of answered requests, so read them beside `dropped`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True, slots=True)
class FragmentResult:
    """One fragment's requests in one run; times in ms, None where nothing was answered."""

    fragment: str
    budget_ms: float
    requests: int
    on_time: int
    dropped: int
    p50_ms: float | None
    p99_ms: float | None
    p999_ms: float | None
    mean_wait_ms: float | None
    p99_wait_ms: float | None

    @property
    def on_time_fraction(self) -> float | None:
        """None where there were no requests."""
        return self.on_time / self.requests if self.requests else None


@dataclass(frozen=True, kw_only=True, slots=True)
class StageResult:
    """One stage in one run: `requests` reached it, `dropped` of them were not run; waits are per request.

    `utilisation` is the part of the time its instances were busy, `mean_batch` the requests in a batch.
    """

    stage: str
    requests: int
    dropped: int
    batches: int
    mean_batch: float | None
    utilisation: float
    mean_wait_ms: float | None
    p99_wait_ms: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class SimulationResult:
    """One run: the fragments in the workload's order, the stages in the order of their first layer."""

    arrivals: str
    seconds: float
    seed: int
    fragments: tuple[FragmentResult, ...]
    stages: tuple[StageResult, ...]

    @property
    def requests(self) -> int:
        return sum(fragment.requests for fragment in self.fragments)

    @property
    def on_time_fraction(self) -> float:
        """Of all requests; 1 where there were none."""
        requests = self.requests
        return sum(fragment.on_time for fragment in self.fragments) / requests if requests else 1.0

    @property
    def least_on_time_fraction(self) -> float:
        """That of the fragment which fares worst; 1 where there were no requests."""
        return min(
            (part for fragment in self.fragments if (part := fragment.on_time_fraction) is not None),
            default=1.0,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A mean over runs with its 95 % confidence interval (Student's t); no interval for a single run."""

    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class SimulationSummary:
    """Several runs of one plan that differ by their seed."""

    results: tuple[SimulationResult, ...]

    def on_time(self) -> Estimate:
        """The part of all requests that were on time."""
        return _fraction([result.on_time_fraction for result in self.results])

    def least_on_time(self) -> Estimate:
        """The part on time of the fragment that fares worst in each run."""
        return _fraction([result.least_on_time_fraction for result in self.results])

    def to_json(self) -> dict[str, Any]:
        """`regraft.simulation/v1`."""
        first = self.results[0]
        return {
            "format": "regraft.simulation/v1",
            "arrivals": first.arrivals,
            "seconds": first.seconds,
            "seeds": [result.seed for result in self.results],
            "confidence": CONFIDENCE,
            "requests": sum(result.requests for result in self.results),
            "on_time": asdict(self.on_time()),
            "least_on_time": asdict(self.least_on_time()),
            "fragments": [
                self._fragment(position, fragment) for position, fragment in enumerate(first.fragments)
            ],
            "stages": [self._stage(position, stage) for position, stage in enumerate(first.stages)],
        }

    def _fragment(self, position: int, first: FragmentResult) -> dict[str, Any]:
        runs = [result.fragments[position] for result in self.results]
        named = ("p50_ms", "p99_ms", "p999_ms", "mean_wait_ms", "p99_wait_ms")
        return {
            "fragment": first.fragment,
            "budget_ms": first.budget_ms,
            "requests": sum(run.requests for run in runs),
            "dropped": sum(run.dropped for run in runs),
            "on_time": _optional([run.on_time_fraction for run in runs], _fraction),
            **{name: _optional([getattr(run, name) for run in runs], _estimate) for name in named},
        }

    def _stage(self, position: int, first: StageResult) -> dict[str, Any]:
        runs = [result.stages[position] for result in self.results]
        named = ("mean_batch", "mean_wait_ms", "p99_wait_ms")
        return {
            "stage": first.stage,
            "requests": sum(run.requests for run in runs),
            "dropped": sum(run.dropped for run in runs),
            "batches": sum(run.batches for run in runs),
            "utilisation": asdict(_fraction([run.utilisation for run in runs])),
            **{name: _optional([getattr(run, name) for run in runs], _estimate) for name in named},
        }


def _optional(
    values: Sequence[float | None], estimate: Callable[[list[float]], Estimate]
) -> dict[str, Any] | None:
    """The estimate from the runs that have a value; None where none has."""
    known = [value for value in values if value is not None]
    return asdict(estimate(known)) if known else None


def _estimate(values: Sequence[float]) -> Estimate:
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return Estimate(mean=mean, low=None, high=None)
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * error
    return Estimate(mean=mean, low=mean - reach, high=mean + reach)


def _fraction(values: Sequence[float]) -> Estimate:
    """An estimate of what lies between 0 and 1."""
    found = _estimate(values)
    if found.low is None or found.high is None:
        return found
    return Estimate(mean=found.mean, low=max(0.0, found.low), high=min(1.0, found.high))
