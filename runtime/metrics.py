"""Metrics for Prometheus, counted as cheaply as can be and rendered when somebody asks.

The counters of the hot path are plain numbers of the objects that they are about; a collector reads them
when the metrics are scraped. Names are stable; docs/runtime.md lists them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0)
_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)


class Distribution:
    """A histogram that costs a fraction of a microsecond an observation."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    @classmethod
    def of_seconds(cls) -> Distribution:
        """For times."""
        return cls(_SECONDS)

    @classmethod
    def of_batches(cls) -> Distribution:
        """For batch sizes."""
        return cls(_BATCHES)

    def observe(self, value: float) -> None:
        """Count one."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def add_to(self, family: HistogramMetricFamily, labels: list[str]) -> None:
        """Put it into a metric, with these labels."""
        running = 0
        buckets = []
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            running += count
            buckets.append(("+Inf" if bound == float("inf") else f"{bound:g}", running))
        family.add_metric(labels, buckets=buckets, sum_value=self.total)


CONTENT_TYPE = b"text/plain; version=1.0.0; charset=utf-8"


class Metrics(Collector):
    """Renders what `read` yields."""

    def __init__(self, read: Callable[[], Iterable[Metric]]) -> None:
        self._read = read
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """For the registry."""
        return self._read()

    def render(self) -> bytes:
        """In Prometheus's text format."""
        return generate_latest(self._registry)
