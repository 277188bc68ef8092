"""The synchronous client: every method is one request, with the service's types and problems.

Made from `api/async_client.py` by `python -m api.client_twin`; change that one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, TypeVar

import httpx
from pydantic import BaseModel

from api import views
from api.client_core import (
    RETRIED_STATUSES,
    RETRIES,
    ClientError,
    EventReader,
    ProblemError,
    UnreachableError,
    checked,
    headers_of,
    progress_of,
    retry_pause_s,
)
from api.repositories.runs import FINAL
from planner import formats
from planner.plan import Plan
from planner.problem import Progress
from planner.profile import Profile
from planner.workload import Workload

__all__ = ["Client", "ClientError", "ProblemError", "UnreachableError"]

View = TypeVar("View", bound=BaseModel)


class Client:
    """Talks to one service with one key.

    Every method raises ProblemError where the service refuses, and UnreachableError where it does not
    answer. Requests are repeated while the service restarts; a POST carries an Idempotency-Key, so that
    nothing is done twice.
    """

    def __init__(self, base_url: str, key: str, *, timeout_s: float = 60.0) -> None:
        self._timeout_s = timeout_s
        self._http = httpx.Client(
            base_url=base_url.rstrip("/"), headers={"Authorization": f"Bearer {key}"}, timeout=timeout_s
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    # Documents

    def create_workload(self, workload: Workload) -> str:
        """Store a workload; gives its id."""
        response = self._send("POST", "/v1/workloads", content=formats.dumps(workload))
        return views.WorkloadInfo.model_validate_json(response.content).id

    def create_profile(self, profile: Profile) -> str:
        """Store a profile; gives its id."""
        response = self._send("POST", "/v1/profiles", content=formats.dumps(profile))
        return views.ProfileInfo.model_validate_json(response.content).id

    def derive_workload(
        self,
        workload_id: str,
        *,
        clients: float = 1.0,
        budget: float = 1.0,
        rate: float = 1.0,
        models: Sequence[str] | None = None,
        gpus: Sequence[views.GpuView] | None = None,
    ) -> views.WorkloadInfo:
        """What if: a workload made from another, by factors of clients, budgets and rates, on other GPUs."""
        wanted = views.DeriveWorkload(
            clients=clients,
            budget=budget,
            rate=rate,
            models=None if models is None else list(models),
            gpus=None if gpus is None else list(gpus),
        )
        return self._ask("POST", f"/v1/workloads/{workload_id}/variants", views.WorkloadInfo, wanted)

    def derive_profile(self, profile_id: str, *, cost_per_share: float) -> views.ProfileInfo:
        """What if: the same GPU at another price."""
        wanted = views.DeriveProfile(cost_per_share=cost_per_share)
        return self._ask("POST", f"/v1/profiles/{profile_id}/variants", views.ProfileInfo, wanted)

    def workload(self, workload_id: str) -> Workload:
        """A workload."""
        response = self._send("GET", f"/v1/workloads/{workload_id}/document")
        return formats.parse(Workload, response.content, source=workload_id)

    def profile(self, profile_id: str) -> Profile:
        """A profile."""
        response = self._send("GET", f"/v1/profiles/{profile_id}/document")
        return formats.parse(Profile, response.content, source=profile_id)

    def workload_info(self, workload_id: str) -> views.WorkloadInfo:
        """A workload without its fragments."""
        return self._ask("GET", f"/v1/workloads/{workload_id}", views.WorkloadInfo)

    def profile_info(self, profile_id: str) -> views.ProfileInfo:
        """A profile without its latencies."""
        return self._ask("GET", f"/v1/profiles/{profile_id}", views.ProfileInfo)

    def workloads(self) -> list[views.WorkloadInfo]:
        """All workloads, newest first."""
        return self._list("/v1/workloads", views.WorkloadInfo)

    def profiles(self, *, model: str | None = None, gpu: str | None = None) -> list[views.ProfileInfo]:
        """All profiles, newest first; of one model or GPU type where given."""
        return self._list("/v1/profiles", views.ProfileInfo, model=model, gpu=gpu)

    # Runs

    def submit_run(
        self,
        *,
        workload: str,
        profiles: Sequence[str],
        strategy: str,
        time_limit_s: float = 60.0,
        gap: float = 0.0,
        seed: int = 0,
        threads: int = 2,
        infeasible: Literal["fail", "partial"] = "fail",
        queueing: str = "plain",
    ) -> views.Run:
        """Ask for a plan."""
        wanted = views.SubmitRun(
            workload=workload,
            profiles=list(profiles),
            strategy=strategy,
            time_limit_s=time_limit_s,
            gap=gap,
            seed=seed,
            threads=threads,
            infeasible=infeasible,
            queueing=queueing,
        )
        return self._ask("POST", "/v1/plan-runs", views.Run, wanted)

    def run(self, run_id: str) -> views.Run:
        """A run."""
        return self._ask("GET", f"/v1/plan-runs/{run_id}", views.Run)

    def runs(self, *, state: str | None = None, workload: str | None = None) -> list[views.Run]:
        """All runs, newest first; in one state or of one workload where given."""
        return self._list("/v1/plan-runs", views.Run, state=state, workload=workload)

    def stop_run(self, run_id: str) -> views.Run:
        """End a run and keep the best plan so far."""
        return self._ask("POST", f"/v1/plan-runs/{run_id}/stop", views.Run)

    def cancel_run(self, run_id: str) -> views.Run:
        """End a run and keep nothing."""
        return self._ask("POST", f"/v1/plan-runs/{run_id}/cancel", views.Run)

    def events(self, run_id: str, *, after: int = 0, follow: bool = True) -> Iterator[views.RunEvent]:
        """What happened and happens to a run, until it has ended; resumed where the connection breaks.

        Without `follow`, what happened so far.
        """
        params = {} if follow else {"follow": "false"}
        reader, failures = EventReader(last=after), 0
        while True:
            headers = {"Last-Event-ID": str(reader.last)} if reader.last else {}
            try:
                with self._http.stream(
                    "GET", f"/v1/plan-runs/{run_id}/events", params=params, headers=headers
                ) as response:
                    if response.status_code >= 400:
                        response.read()
                        if response.status_code not in RETRIED_STATUSES:
                            checked(response)
                    else:
                        for line in response.iter_lines():
                            for event in reader.read(line):
                                failures = 0
                                yield event
                                if event.kind == "state" and event.data["state"] in FINAL:
                                    return
                        if not follow:
                            return
            except httpx.TransportError as error:
                if failures >= RETRIES:
                    raise UnreachableError(
                        f"{self._http.base_url}: {error or type(error).__name__}"
                    ) from None
            reader = EventReader(last=reader.last)
            time.sleep(retry_pause_s(min(failures, RETRIES), None))
            failures += 1

    def wait_run(self, run_id: str, on_event: Callable[[Progress], None] | None = None) -> views.Run:
        """Wait until a run has ended; `on_event` gets its progress."""
        for event in self.events(run_id):
            progress = progress_of(event)
            if progress is not None and on_event is not None:
                on_event(progress)
        return self.run(run_id)

    # Plans and comparisons

    def create_plan(self, plan: Plan) -> views.PlanInfo:
        """Store a plan made elsewhere; its provenance names its workload and profiles."""
        response = self._send("POST", "/v1/plans", content=formats.dumps(plan))
        return views.PlanInfo.model_validate_json(response.content)

    def plan(self, plan_id: str) -> Plan:
        """A plan."""
        response = self._send("GET", f"/v1/plans/{plan_id}/document")
        return formats.parse(Plan, response.content, source=plan_id)

    def plan_info(self, plan_id: str) -> views.PlanInfo:
        """A plan without its stages and routes."""
        return self._ask("GET", f"/v1/plans/{plan_id}", views.PlanInfo)

    def plans(self, *, workload: str | None = None, strategy: str | None = None) -> list[views.PlanInfo]:
        """All plans, newest first; of one workload or strategy where given."""
        return self._list("/v1/plans", views.PlanInfo, workload=workload, strategy=strategy)

    def diff(self, before: str, after: str) -> views.PlanDiff:
        """What changes when plan `after` replaces plan `before`."""
        return self._ask("GET", f"/v1/plans/{after}/diff", views.PlanDiff, against=before)

    def compare(
        self,
        *,
        workload: str,
        profiles: Sequence[str],
        strategies: Sequence[str],
        time_limit_s: float = 60.0,
        gap: float = 0.0,
        seed: int = 0,
        threads: int = 2,
        infeasible: Literal["fail", "partial"] = "fail",
        queueing: str = "plain",
    ) -> views.Comparison:
        """Ask for plans by several strategies; `wait_comparison` waits for them."""
        wanted = views.SubmitComparison(
            workload=workload,
            profiles=list(profiles),
            strategies=list(strategies),
            time_limit_s=time_limit_s,
            gap=gap,
            seed=seed,
            threads=threads,
            infeasible=infeasible,
            queueing=queueing,
        )
        return self._ask("POST", "/v1/comparisons", views.Comparison, wanted)

    def comparison(self, comparison_id: str) -> views.Comparison:
        """A comparison."""
        return self._ask("GET", f"/v1/comparisons/{comparison_id}", views.Comparison)

    def comparisons(self) -> list[views.Comparison]:
        """All comparisons, newest first."""
        return self._list("/v1/comparisons", views.Comparison)

    def differences(self, comparison_id: str, *, baseline: str | None = None) -> views.ComparisonDifferences:
        """What changes between the plans of a comparison, each laid beside that of one strategy."""
        path = f"/v1/comparisons/{comparison_id}/differences"
        return self._ask("GET", path, views.ComparisonDifferences, baseline=baseline)

    def wait_comparison(
        self, comparison_id: str, on_event: Callable[[str, Progress], None] | None = None
    ) -> views.Comparison:
        """Wait until all runs of a comparison have ended; `on_event` gets strategy and progress."""
        for row in (self.comparison(comparison_id)).rows:
            for event in self.events(row.run):
                progress = progress_of(event)
                if progress is not None and on_event is not None:
                    on_event(row.strategy, progress)
        return self.comparison(comparison_id)

    # Deployments and nodes

    def deploy(
        self,
        plan_id: str,
        *,
        expected_generation: int | None = None,
        on_drift: views.OnDrift | None = None,
    ) -> views.Deployment:
        """Make a plan the one to run."""
        wanted = views.Deploy(plan=plan_id, expected_generation=expected_generation, on_drift=on_drift)
        return self._ask("POST", "/v1/deployments", views.Deployment, wanted)

    def roll_back(
        self,
        generation: int | None = None,
        *,
        expected_generation: int | None = None,
        on_drift: views.OnDrift | None = None,
    ) -> views.Deployment:
        """Run an earlier generation's plan again; without a number, the one before the current one."""
        wanted = views.Rollback(
            generation=generation, expected_generation=expected_generation, on_drift=on_drift
        )
        return self._ask("POST", "/v1/deployments/rollback", views.Deployment, wanted)

    def deployment(self, generation: int | None = None) -> views.DeploymentStatus | None:
        """A generation, or the current one (None before the first), and what of it does not run."""
        name = "current" if generation is None else str(generation)
        try:
            return self._ask("GET", f"/v1/deployments/{name}", views.DeploymentStatus)
        except ProblemError as error:
            if generation is None and error.problem.status == 404:
                return None
            raise

    def deployments(self) -> list[views.Deployment]:
        """All generations, newest first."""
        return self._list("/v1/deployments", views.Deployment)

    def exits(self) -> views.Exits:
        """What fraction of inputs goes on past each exit: as planned, as seen, and as expected."""
        return self._ask("GET", "/v1/exits", views.Exits)

    def drifts(self) -> list[views.Drift]:
        """All drifts, newest first: inputs had become easier or harder, and it was planned anew."""
        return self._list("/v1/drifts", views.Drift)

    def drift(self, drift_id: str) -> views.Drift:
        """A drift."""
        return self._ask("GET", f"/v1/drifts/{drift_id}", views.Drift)

    def nodes(self) -> list[views.Node]:
        """All nodes, with their leases, what they say that they run, and what does not."""
        return self._list("/v1/nodes", views.Node)

    def node(self, node_id: str) -> views.Node:
        """A node."""
        return self._ask("GET", f"/v1/nodes/{node_id}", views.Node)

    def register_node(self, node: views.Register) -> views.Node:
        """Register a machine; a name already known keeps its id."""
        return self._ask("POST", "/v1/nodes", views.Node, node)

    def assignment(
        self, node_id: str, *, etag: str | None = None, wait_s: float = 0.0
    ) -> tuple[dict[str, Any], str] | None:
        """What a node is to run (`regraft.assignment/v1`) and its ETag.

        None where it is still the one of `etag`, also after `wait_s` seconds.
        """
        headers = {} if etag is None else {"If-None-Match": etag}
        path = f"/v1/nodes/{node_id}/assignment"
        response = self._send("GET", path, headers=headers, patience_s=wait_s, wait=wait_s or None)
        return None if response.status_code == 304 else (response.json(), response.headers["ETag"])

    def report_status(self, node_id: str, status: views.ReportStatus) -> None:
        """Say what really runs on a node; renews its lease."""
        content = status.model_dump_json().encode()
        self._send("PUT", f"/v1/nodes/{node_id}/status", content=content)

    # The service itself

    def audit(self) -> list[views.AuditEntry]:
        """Who did what to which resource, newest first."""
        return self._list("/v1/audit", views.AuditEntry)

    def metrics(self) -> str:
        """Metrics, in Prometheus' text format."""
        return (self._send("GET", "/metrics")).text

    def live(self) -> None:
        """Returns where the process answers."""
        self._send("GET", "/livez")

    def ready(self) -> None:
        """Returns where the service and its database answer; ProblemError says what is amiss."""
        self._send("GET", "/readyz")

    # How

    def _ask(
        self, method: str, path: str, kind: type[View], body: BaseModel | None = None, **query: Any
    ) -> View:
        content = None if body is None else body.model_dump_json().encode()
        response = self._send(method, path, content=content, **query)
        return kind.model_validate_json(response.content)

    def _list(self, path: str, kind: type[View], **query: Any) -> list[View]:
        items: list[View] = []
        cursor: str | None = None
        while True:
            response = self._send("GET", path, cursor=cursor, **query)
            page = views.Page[kind].model_validate_json(response.content)  # type: ignore[valid-type]
            items += page.items
            cursor = page.next
            if cursor is None:
                return items

    def _send(
        self,
        method: str,
        path: str,
        *,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        patience_s: float = 0.0,
        **query: Any,
    ) -> httpx.Response:
        """`patience_s` is what the service may take beyond the usual time to answer."""
        headers = {**headers_of(method), **(headers or {})}
        if content is not None:
            headers["Content-Type"] = "application/json"
        params = {name: value for name, value in query.items() if value is not None}
        for attempt in range(RETRIES + 1):
            response = None
            try:
                response = self._http.request(
                    method,
                    path,
                    content=content,
                    params=params,
                    headers=headers,
                    timeout=self._timeout_s + patience_s,
                )
            except httpx.TransportError as error:
                if attempt == RETRIES:
                    raise UnreachableError(
                        f"{self._http.base_url}: {error or type(error).__name__}"
                    ) from None
            if response is not None and (response.status_code not in RETRIED_STATUSES or attempt == RETRIES):
                return checked(response)
            time.sleep(retry_pause_s(attempt, response))
        raise AssertionError("the last attempt returns or raises")
