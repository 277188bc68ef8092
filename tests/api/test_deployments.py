"""Deployments and nodes: generations, assignments by long poll, leases, and what does not run."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import httpx
import pytest

from api import packing
from api.client import Client, ProblemError
from planner import formats
from planner.planning import make_plan
from planner.workload import Fragment, Workload
from tests.api.service import PROFILE, RunningService

NO_SOLVER = {"run_workers": 0}
SMALL = Workload(
    fragments=tuple(
        Fragment(id=f"phone-{n}", model="net", start=n, budget_ms=100.0, rate_rps=20.0) for n in range(3)
    )
)


def add_plan(service: RunningService, strategy: str = "gslice", workload: Workload = SMALL) -> str:
    """A plan as a run would have stored it; gives its id."""
    plan = make_plan(workload, [PROFILE], strategy=strategy)
    with service.database.writing() as store:
        workload_id, profile_id = formats.digest(workload), formats.digest(PROFILE)
        store.documents.add_workload(workload_id, workload, packing.pack(workload))
        store.documents.add_profile(profile_id, PROFILE, packing.pack(PROFILE))
        run = store.runs.submit(
            workload_id=workload_id, profiles=[profile_id], strategy=strategy, settings={}, submitted_by=None
        )
        return store.plans.add(
            plan,
            digest=formats.digest(plan),
            run_id=run.id,
            workload_id=workload_id,
            profiles=[profile_id],
            body=packing.pack(plan),
        ).id


def register(http: httpx.Client, name: str = "node-a", gpus: int = 4, memory_mb: float = 8000.0) -> str:
    """Register a node as an agent does; gives its id."""
    listed = [{"id": f"{name}/cpu-{n}", "type": "cpu", "memory_mb": memory_mb} for n in range(gpus)]
    response = http.post("/v1/nodes", json={"name": name, "address": "http://127.0.0.1:9100", "gpus": listed})
    assert response.status_code in (200, 201), response.text
    return str(response.json()["id"])


def report(
    http: httpx.Client,
    node: str,
    document: dict[str, Any],
    state: str = "ready",
    exits: Sequence[dict[str, Any]] = (),
) -> None:
    """Say that a node runs its part of an assignment, and what gateways counted at exits."""
    workers = [
        {
            "generation": document["generation"],
            "stage": worker["stage"],
            "instance": worker["instance"],
            "gpu": worker["gpu"],
            "state": state,
            "pid": 4711,
            "restarts": 0,
            "share_pct": 25,
            "effective_share_pct": 25.0,
            "enforced_by": "cgroup-v2",
            "detail": "",
        }
        for worker in document["workers"]
    ]
    status = {"generation": document["generation"], "workers": workers, "exits": list(exits)}
    response = http.put(f"/v1/nodes/{node}/status", json=status)
    assert response.status_code == 204, response.text


@pytest.fixture
def quiet(start_service: Callable[..., RunningService]) -> RunningService:
    """A service that solves nothing."""
    return start_service(**NO_SOLVER)


def test_before_the_first_deployment_a_node_gets_generation_zero(quiet: RunningService) -> None:
    http = quiet.http("agent")
    document = http.get(f"/v1/nodes/{register(http)}/assignment").json()
    assert document["format"] == "regraft.assignment/v1"
    assert document["generation"] == 0
    assert document["stages"] == document["routes"] == document["workers"] == []
    assert quiet.client().deployment() is None


def test_a_deployed_plan_reaches_its_node_whole(quiet: RunningService) -> None:
    http, client = quiet.http("agent"), quiet.client()
    node = register(http)
    plan_id = add_plan(quiet)
    plan = client.plan(plan_id)
    deployed = client.deploy(plan_id)
    assert (deployed.generation, deployed.plan, deployed.current) == (1, plan_id, True)
    document = http.get(f"/v1/nodes/{node}/assignment").json()
    assert (document["generation"], document["plan"], document["deployment"]) == (1, plan_id, deployed.id)
    assert document["stages"] == formats.to_json(plan)["stages"]
    wanted = {(stage.id, n) for stage in plan.stages for n in range(stage.instances)}
    assert {(worker["stage"], worker["instance"]) for worker in document["workers"]} == wanted
    assert all(worker["memory_mb"] > 0 for worker in document["workers"])
    by_fragment = {fragment.id: fragment for fragment in SMALL.fragments}
    for route in document["routes"]:
        fragment = by_fragment[route["fragment"]]
        assert (route["model"], route["start"]) == (fragment.model, fragment.start)
        assert (route["budget_ms"], route["rate_rps"]) == (fragment.budget_ms, fragment.load_rps)


def test_each_node_gets_its_own_part(quiet: RunningService) -> None:
    http, client = quiet.http("agent"), quiet.client()
    nodes = [register(http, name, gpus=1) for name in ("node-a", "node-b")]
    heavy = Workload(
        fragments=tuple(
            Fragment(id=f"p{n}", model="net", start=n, budget_ms=100.0, rate_rps=60.0) for n in range(3)
        )
    )
    plan = add_plan(quiet, workload=heavy)
    deployed = client.deploy(plan)
    parts = [http.get(f"/v1/nodes/{node}/assignment").json()["workers"] for node in nodes]
    assert all(parts)
    assert sum(map(len, parts)) == deployed.instances
    for name, part in zip(("node-a", "node-b"), parts, strict=True):
        assert {worker["gpu"] for worker in part} == {f"{name}/cpu-0"}


def test_a_plan_that_does_not_fit_is_refused_with_what_is_short(quiet: RunningService) -> None:
    http, client = quiet.http("agent"), quiet.client()
    plan = add_plan(quiet)
    for prepare in (lambda: None, lambda: register(http, gpus=1, memory_mb=1.0)):
        prepare()
        with pytest.raises(ProblemError) as refused:
            client.deploy(plan)
        assert (refused.value.problem.status, refused.value.problem.code) == (409, "does_not_fit")
    missing = (refused.value.problem.model_extra or {})["missing"]
    assert {"stage", "share_pct", "memory_mb"} <= missing[0].keys()
    assert client.deployment() is None


def test_a_long_poll_is_answered_when_a_generation_comes(quiet: RunningService) -> None:
    http, client = quiet.http("agent"), quiet.client()
    node = register(http)
    first = http.get(f"/v1/nodes/{node}/assignment")
    answers: list[httpx.Response] = []

    def poll() -> None:
        headers = {"If-None-Match": first.headers["etag"]}
        answers.append(http.get(f"/v1/nodes/{node}/assignment?wait=20", headers=headers))

    thread = threading.Thread(target=poll)
    thread.start()
    time.sleep(0.3)
    assert not answers
    plan = add_plan(quiet)
    began = time.monotonic()
    client.deploy(plan)
    thread.join(15)
    assert time.monotonic() - began < 10
    assert answers[0].status_code == 200
    assert answers[0].json()["generation"] == 1
    assert answers[0].headers["etag"] != first.headers["etag"]


def test_a_long_poll_without_news_ends_in_304(quiet: RunningService) -> None:
    http = quiet.http("agent")
    path = f"/v1/nodes/{register(http)}/assignment"
    etag = http.get(path).headers["etag"]
    began = time.monotonic()
    unchanged = http.get(path, params={"wait": "0.5"}, headers={"If-None-Match": etag})
    assert 0.4 < time.monotonic() - began < 10
    assert (unchanged.status_code, unchanged.content, unchanged.headers["etag"]) == (304, b"", etag)
    for named in (f'W/{etag}, "other"', f'"other", {etag}', "*"):
        assert http.get(path, headers={"If-None-Match": named}).status_code == 304
    assert http.get(path, headers={"If-None-Match": '"other"'}).status_code == 200


def test_a_node_that_changes_its_gpus_gets_another_assignment_in_the_same_generation(
    quiet: RunningService,
) -> None:
    http, client = quiet.http("agent"), quiet.client()
    node = register(http, gpus=4)
    client.deploy(add_plan(quiet))
    before = http.get(f"/v1/nodes/{node}/assignment")
    assert register(http, gpus=0) == node
    after = http.get(
        f"/v1/nodes/{node}/assignment?wait=10", headers={"If-None-Match": before.headers["etag"]}
    )
    assert (after.status_code, after.json()["workers"]) == (200, [])


def test_rolling_back_is_a_new_generation_of_the_old_plan(quiet: RunningService) -> None:
    http, client = quiet.http("agent"), quiet.client()
    register(http)
    with pytest.raises(ProblemError, match="none before it"):
        client.roll_back()
    first, second = add_plan(quiet, "gslice"), add_plan(quiet, "graft")
    client.deploy(first)
    client.deploy(second)
    back = client.roll_back()
    assert (back.generation, back.plan, back.rollback_of) == (3, first, 1)
    assert client.roll_back(2).plan == second
    assert [item.generation for item in client.deployments()] == [4, 3, 2, 1]
    assert [item.current for item in client.deployments()] == [True, False, False, False]
    with pytest.raises(ProblemError, match="no generation 9"):
        client.roll_back(9)


def test_whoever_expects_another_generation_is_refused(quiet: RunningService) -> None:
    http, client = quiet.http("agent"), quiet.client()
    register(http)
    plan = add_plan(quiet)
    assert client.deploy(plan, expected_generation=0).generation == 1
    with pytest.raises(ProblemError) as refused:
        client.deploy(plan, expected_generation=0)
    assert refused.value.problem.code == "generation_moved"
    current = client.deployment()
    assert current is not None
    assert current.generation == 1


def test_what_does_not_run_is_said_with_its_reason(start_service: Callable[..., RunningService]) -> None:
    service = start_service(**NO_SOLVER, node_lease_s=1.0)
    http, client = service.http("agent"), service.client()
    node = register(http)
    client.deploy(add_plan(service))
    document = http.get(f"/v1/nodes/{node}/assignment").json()

    def reasons() -> set[str]:
        current = client.deployment()
        assert current is not None
        assert all(item.node == "node-a" for item in current.not_running)
        (shown,) = client.nodes()
        assert shown.not_running == current.not_running
        assert shown.assigned == len(document["workers"])
        return {item.reason for item in current.not_running}

    assert reasons() == {"not_reported"}
    for state in ("starting", "failed"):
        report(http, node, document, state)
        assert reasons() == {state}
    report(http, node, document)
    assert reasons() == set()
    assert client.nodes()[0].lease == "live"
    deadline = time.monotonic() + 10
    while client.nodes()[0].lease == "live":
        assert time.monotonic() < deadline, "a node that is gone was not seen"
        time.sleep(0.1)
    assert reasons() == {"node_gone"}
    report(http, node, document)
    assert reasons() == set()


def test_nodes_are_listed_page_by_page(quiet: RunningService) -> None:
    http = quiet.http()
    names = [f"node-{number}" for number in range(5)]
    for name in names:
        register(http, name, gpus=1)
    seen, cursor = [], ""
    for _ in names:
        page = http.get(f"/v1/nodes?limit=2{cursor}").json()
        seen += [node["name"] for node in page["items"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert seen == names[::-1]


def test_a_worker_with_much_to_say_does_not_cost_its_node_the_lease(quiet: RunningService) -> None:
    http = quiet.http()
    node = register(http)
    worker = {
        "generation": 0,
        "stage": "s",
        "instance": 0,
        "gpu": "g",
        "state": "failed",
        "detail": "x" * 9000,
    }
    workers = [{**worker, "instance": number} for number in range(100)]
    answer = http.put(f"/v1/nodes/{node}/status", json={"generation": 0, "workers": workers})
    assert answer.status_code == 204
    kept = http.get(f"/v1/nodes/{node}").json()["workers"]
    assert [worker["detail"] for worker in kept] == ["x" * 2000] * 100


def test_a_node_that_was_never_registered_is_told_so(quiet: RunningService) -> None:
    http = quiet.http("agent")
    for response in (
        http.get("/v1/nodes/x/assignment?wait=5"),
        http.put("/v1/nodes/x/status", json={"generation": 0, "workers": []}),
    ):
        assert response.status_code == 404
        assert "register it first" in response.json()["detail"]


def test_stopping_the_service_answers_everybody_who_waits(
    start_service: Callable[..., RunningService],
) -> None:
    service = start_service(**NO_SOLVER)
    http = service.http("agent")
    path = f"/v1/nodes/{register(http)}/assignment"
    etag = http.get(path).headers["etag"]
    answers: list[httpx.Response] = []
    thread = threading.Thread(
        target=lambda: answers.append(http.get(f"{path}?wait=30", headers={"If-None-Match": etag}))
    )
    thread.start()
    time.sleep(0.5)
    service.service.watch.close_from_thread()
    thread.join(10)
    assert [answer.status_code for answer in answers] == [304]


def test_a_request_that_is_not_complete_when_the_service_ends_is_told_so(
    start_service: Callable[..., RunningService],
) -> None:
    service = start_service(**NO_SOLVER, shutdown_grace_s=1.0)
    host, port = service.address.removeprefix("http://").split(":")
    head = f"POST /v1/nodes HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {service.key('agent')}\r\n"
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(f"{head}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{".encode())
        time.sleep(0.2)
        service.stop()
        said = b"".join(iter(lambda: connection.recv(65536), b""))
    assert said.startswith(b"HTTP/1.1 503 ")
    assert json.loads(said.partition(b"\r\n\r\n")[2])["code"] == "unavailable"


def test_another_process_of_the_service_sees_the_new_generation(
    start_service: Callable[..., RunningService], database_url: str
) -> None:
    one, other = (start_service(database=database_url, **NO_SOLVER) for _ in range(2))
    http = one.http("agent")
    node = register(http)
    etag = http.get(f"/v1/nodes/{node}/assignment").headers["etag"]
    answers: list[httpx.Response] = []
    thread = threading.Thread(
        target=lambda: answers.append(
            http.get(f"/v1/nodes/{node}/assignment?wait=20", headers={"If-None-Match": etag})
        )
    )
    thread.start()
    other.client().deploy(add_plan(other))
    thread.join(15)
    assert answers[0].json()["generation"] == 1


def test_who_deployed_what_is_in_the_audit_log(quiet: RunningService) -> None:
    register(quiet.http("agent"))
    client: Client = quiet.client("read", "deploy")
    plan = add_plan(quiet)
    client.deploy(plan)
    client.roll_back(1)
    entries = quiet.http("deploy").get("/v1/audit").json()["items"]
    told = [(entry["key"], entry["action"], entry["target"]) for entry in entries if entry["key"]]
    assert told == [("test read+deploy", "rollback", "2"), ("test read+deploy", "deploy", "1")]
    assert [entry["detail"]["plan"] for entry in entries if entry["key"]] == [plan, plan]


def test_who_knows_a_newer_generation_from_another_process_never_gets_an_older_one(
    start_service: Callable[..., RunningService], database_url: str
) -> None:
    ahead, behind = (
        start_service(database=database_url, **NO_SOLVER, watch_interval_s=seconds) for seconds in (0.1, 30.0)
    )
    agents = ahead.http("agent"), behind.http("agent")
    node = register(agents[0])
    path = f"/v1/nodes/{node}/assignment?wait=0.3"
    assert agents[1].get(path).json()["generation"] == 0
    ahead.client().deploy(add_plan(ahead))
    told = agents[0].get(path)
    assert told.json()["generation"] == 1
    unchanged = agents[1].get(path, headers={"If-None-Match": told.headers["etag"]})
    assert (unchanged.status_code, unchanged.headers["etag"]) == (304, told.headers["etag"])
    # One that is not there at all, as after a restore from a backup, is answered with what is.
    unknown = '"9-0123456789abcdef"'
    assert agents[1].get(path, headers={"If-None-Match": unknown}).json()["generation"] == 1


def test_many_gpus_that_are_too_small_do_not_hide_those_that_would_do(quiet: RunningService) -> None:
    http, client = quiet.http("agent"), quiet.client()
    register(http, "node-a", gpus=40, memory_mb=1.0)
    with pytest.raises(ProblemError, match="find no place"):
        client.deploy(add_plan(quiet))
    register(http, "node-b", gpus=40, memory_mb=8000.0)
    deployed = client.deploy(add_plan(quiet))
    current = client.deployment()
    assert current is not None
    assert {worker.gpu.split("/")[0] for worker in current.workers} == {"node-b"}
    assert deployed.gpus <= deployed.instances
