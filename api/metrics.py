"""The service's metrics, in Prometheus' text format. Names are stable; docs/service.md lists them."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from api.database import Database

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)


class Metrics:
    """Counts requests as they are answered; reads the rest from the database when asked."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "regraft_http_requests",
            "Requests answered",
            ["method", "route", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "regraft_http_request_seconds",
            "Time to answer, long polls included",
            ["method", "route"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._runs = Gauge("regraft_plan_runs", "Plan runs in each state", ["state"], registry=self._registry)
        self._nodes = Gauge("regraft_nodes", "Nodes by their lease", ["lease"], registry=self._registry)
        self._generation = Gauge("regraft_generation", "The current generation", registry=self._registry)

    def answered(self, *, method: str, route: str, status: int, seconds: float) -> None:
        """A request was answered; `route` is its template, so that ids make no series of their own."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def render(self, database: Database) -> bytes:
        """All metrics. Raises UnavailableError."""
        with database.reading() as store:
            runs = store.runs.counts()
            live, total = len(store.nodes.live()), store.nodes.revision()[0]
            generation = store.deployments.generation()
        self._runs.clear()
        for state, count in runs.items():
            self._runs.labels(state).set(count)
        self._nodes.labels("live").set(live)
        self._nodes.labels("gone").set(total - live)
        self._generation.set(generation)
        return generate_latest(self._registry)
