"""The Python client: synchronous and asynchronous from one source, patient, and clear about problems."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.routing import compile_path

from api import client_core, client_twin, views
from api.async_client import AsyncClient
from api.client import Client, ProblemError, UnreachableError
from api.client_core import EventReader
from planner.planning import make_plan
from tests.api.service import ALL_SCOPES, PROFILE, WORKLOAD, RunningService

DESCRIBED: dict[str, Any] = json.loads((Path(__file__).parents[2] / "openapi.json").read_text())


def test_the_synchronous_client_is_made_from_the_asynchronous_one() -> None:
    made = client_twin.twin(client_twin.SOURCE.read_text())
    assert client_twin.TWIN.read_text() == made, "run `python -m api.client_twin`"


def test_both_clients_do_the_same(service: RunningService) -> None:
    key = service.key(*ALL_SCOPES)

    async def use() -> tuple[str, str, str]:
        async with AsyncClient(service.address, key) as client:
            workload, profile = await client.create_workload(WORKLOAD), await client.create_profile(PROFILE)
            run = await client.submit_run(workload=workload, profiles=[profile], strategy="gslice")
            run = await client.wait_run(run.id)
            assert (await client.plan(str(run.plan))).strategy == "gslice"
            assert len(await client.runs()) == 1
            return workload, profile, run.id

    workload, profile, run = asyncio.run(use())
    with Client(service.address, key) as client:
        assert (client.create_workload(WORKLOAD), client.create_profile(PROFILE)) == (workload, profile)
        assert client.run(run).state == "succeeded"


def test_the_client_has_every_operation_and_every_filter_of_the_description(service: RunningService) -> None:
    asked: set[tuple[str, str]] = set()
    named: dict[tuple[str, str], set[str]] = defaultdict(set)
    templates = {path: compile_path(path)[0] for path in DESCRIBED["paths"]}

    def note(request: httpx.Request) -> None:
        exact = [path for path in templates if path == request.url.path]
        (path,) = exact or [path for path, regex in templates.items() if regex.match(request.url.path)]
        asked.add((request.method.lower(), path))
        named[request.method.lower(), path] |= request.url.params.keys() | request.headers.keys()

    client = service.client()
    client._http.event_hooks = {"request": [note]}
    client.live()
    client.ready()
    workload, profile = client.create_workload(WORKLOAD), client.create_profile(PROFILE)
    assert (client.workload(workload), client.profile(profile)) == (WORKLOAD, PROFILE)
    assert [client.workload_info(workload)] == client.workloads()
    assert [client.profile_info(profile)] == client.profiles(model="net", gpu="cpu")
    gpu = views.GpuView(id="a/cpu-0", type="cpu", memory_mb=64000.0)
    assert client.derive_workload(workload, gpus=[gpu]).gpus == 1
    client.derive_profile(profile, cost_per_share=2.0)
    wanted = {"workload": workload, "profiles": [profile]}
    run = client.wait_run(client.submit_run(**wanted, strategy="gslice").id)
    assert [run] == client.runs(state="succeeded", workload=workload)
    assert client.stop_run(run.id) == client.cancel_run(run.id) == client.run(run.id)
    told = list(client.events(run.id, follow=False))
    assert list(client.events(run.id, after=1)) == told[1:]
    compared = client.wait_comparison(client.compare(**wanted, strategies=["gslice", "graft"]).id)
    assert [compared] == client.comparisons()
    differences = client.differences(compared.id, baseline="graft")
    assert differences.rows[0].difference == client.diff(*(str(row.plan) for row in compared.rows[::-1]))
    made = client.create_plan(make_plan(WORKLOAD, [PROFILE], strategy="graft"))
    assert client.plan_info(made.id) in client.plans(workload=workload, strategy="graft")
    assert client.plan(made.id).strategy == "graft"
    node = client.register_node(views.Register(name="a", address="http://127.0.0.1:9", gpus=[gpu]))
    gpus = [views.GpuView(id=f"a/cpu-{number}", type="cpu", memory_mb=64000.0) for number in range(8)]
    assert (
        client.register_node(views.Register(name="a", address="http://127.0.0.1:9", gpus=gpus)).id == node.id
    )
    client.deploy(made.id)
    client.roll_back(1, expected_generation=1)
    assert [item.generation for item in client.deployments()] == [2, 1]
    current = client.deployment()
    assert current is not None
    assert current == client.deployment(2)
    found = client.assignment(node.id)
    assert found is not None
    assert found[0]["generation"] == 2
    assert client.assignment(node.id, etag=found[1], wait_s=0.1) is None
    client.report_status(node.id, views.ReportStatus(generation=2, workers=[]))
    assert client.node(node.id).generation == client.nodes()[0].generation == 2
    assert client.exits().outlooks == client.drifts() == []
    with pytest.raises(ProblemError, match="there is no drift"):
        client.drift("drift_0")
    assert client.audit()[0].action == "rollback"
    assert "regraft_generation 2.0" in client.metrics()

    paging = {"cursor", "limit"}  # the client reads lists to their end
    for path, operations in DESCRIBED["paths"].items():
        for method, operation in operations.items():
            assert (method, path) in asked, f"no method of the client asks {method.upper()} {path}"
            optional = {item["name"] for item in operation.get("parameters", []) if item["in"] != "path"}
            assert optional - paging <= named[method, path], (method, path)


def test_lists_are_read_to_their_end(start_service: Callable[..., RunningService]) -> None:
    service = start_service(run_workers=0)
    client = service.client()
    workload, profile = client.create_workload(WORKLOAD), client.create_profile(PROFILE)
    ids = [client.submit_run(workload=workload, profiles=[profile], strategy="graft").id for _ in range(55)]
    assert [run.id for run in client.runs()] == ids[::-1]
    assert [run.id for run in client.runs(state="running")] == []


def test_a_problem_says_everything_in_its_message(service: RunningService) -> None:
    client = service.client("read")
    with pytest.raises(ProblemError, match=r"lacks a scope.*'plan'"):
        client.create_workload(WORKLOAD)
    with pytest.raises(ProblemError) as refused:
        service.client().submit_run(workload="w", profiles=["p"], strategy="graft")
    assert "profiles[0]: there is no profile 'p'" in str(refused.value)


def test_a_service_that_is_not_there_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_core, "FIRST_PAUSE_S", 0.001)
    with (
        Client("http://127.0.0.1:9", "key") as client,
        pytest.raises(UnreachableError, match=r"127\.0\.0\.1:9"),
    ):
        client.runs()


def test_an_answer_that_is_not_the_services_is_a_problem_too() -> None:
    request = httpx.Request("GET", "http://proxy/v1/plans")
    with pytest.raises(ProblemError, match="not the service's"):
        client_core.checked(httpx.Response(502, text="<html>Bad gateway</html>", request=request))


def test_event_streams_are_read_whatever_they_contain() -> None:
    reader = EventReader(last=3)
    lines = [": ping", "", "event: state", 'data: {"state":', 'data: "queued"}', "id: 4", "retry: 5", "", ""]
    events = [event for line in lines for event in reader.read(line)]
    assert [(event.seq, event.kind, event.data) for event in events] == [(4, "state", {"state": "queued"})]
    assert reader.last == 4
