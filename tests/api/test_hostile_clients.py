"""What hostile or clumsy clients send: refused by a problem, and nobody else suffers."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api import gate, views
from api.settings import Settings
from api.tables import new_id
from api.wire import MAX_HEAD_BYTES
from tests.api.conftest import copied
from tests.api.service import ALL_SCOPES, PROFILE, WORKLOAD, WORKLOAD_BODY, RunningService
from tests.api.test_deployments import add_plan, register

JSON = {"Content-Type": "application/json"}
JSON_HEAD = "Content-Type: application/json\r\n"


@pytest.fixture(scope="module")
def service(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """One service for all that only refuses."""
    path = tmp_path_factory.mktemp("hostile") / "regraft.sqlite"
    shutil.copy(sqlite_template, path)
    running = RunningService(Settings(database=f"sqlite:///{path}", run_workers=0, body_timeout_s=20.0))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def key(service: RunningService) -> str:
    """A key for everything."""
    return service.key(*ALL_SCOPES)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def stranger(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    """Who asks one service over an empty database of each kind, and changes nothing there."""
    with contextlib.ExitStack() as stack:
        if request.param == "sqlite":
            path = tmp_path_factory.mktemp("stranger") / "regraft.sqlite"
            url = f"sqlite:///{shutil.copy(request.getfixturevalue('sqlite_template'), path)}"
        else:
            names = ("postgres_server", "postgres_template")
            url = stack.enter_context(copied(*map(request.getfixturevalue, names)))
        running = RunningService(Settings(database=url, run_workers=0))
        stack.callback(running.stop)
        yield running.http()


def spoken(service: RunningService, *chunks: bytes, pause_s: float = 0.0) -> bytes:
    """What the service says on a bare connection until it closes it, or has nothing more to say."""
    host, port = service.address.removeprefix("http://").split(":")
    said = b""
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        try:
            for chunk in chunks:
                connection.sendall(chunk)
                time.sleep(pause_s)
            connection.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it was sent away before it had said all
        try:
            while part := connection.recv(65536):
                said += part
        except ConnectionResetError:
            pass
    return said


def problem(said: bytes | httpx.Response, status: int, code: str) -> views.Problem:
    """The problem document, checked."""
    if isinstance(said, httpx.Response):
        head, body, shown = said.headers.get("content-type", ""), said.content, said.status_code
    else:
        top, _, body = said.partition(b"\r\n\r\n")
        head, shown = top.decode("latin-1"), int(top.split()[1])
    assert shown == status, said
    assert "application/problem+json" in head
    found = views.Problem.model_validate_json(body)
    assert (found.status, found.code) == (status, code)
    return found


# The wire


@pytest.mark.parametrize(
    "chunk",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(50),  # TLS
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /livez HTTP/9.9\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n",
        b"POST /v1/plans HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        b"POST /v1/plans HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/plans HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_what_is_no_request_is_refused_with_a_problem(service: RunningService, chunk: bytes) -> None:
    problem(spoken(service, chunk), 400, "bad_request")


@pytest.mark.parametrize("pieces", [1, 100])
@pytest.mark.parametrize(
    "head",
    [
        b"GET /v1/plans?x=" + b"x" * (MAX_HEAD_BYTES + 1) + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nX: " + b"x" * (MAX_HEAD_BYTES + 1) + b"\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"X: 1234567890\r\n" * 4000 + b"\r\n",
    ],
    ids=["path", "header", "headers"],
)
def test_a_head_without_end_is_refused(service: RunningService, head: bytes, pieces: int) -> None:
    step = len(head) // pieces + 1
    chunks = [head[at : at + step] for at in range(0, len(head), step)]
    problem(spoken(service, *chunks, pause_s=0.0005), 431, "head_too_large")


def test_a_head_that_comes_too_slowly_is_refused_and_silence_is_closed(
    start_service: Callable[..., RunningService],
) -> None:
    service = start_service(run_workers=0, body_timeout_s=0.5)
    said = spoken(service, b"GET /livez HTTP/1.1\r\n", *[b"X: y\r\n"] * 20, pause_s=0.1)
    problem(said, 408, "head_timeout")
    host, port = service.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as silent:
        assert silent.recv(10) == b""


def test_a_large_body_does_not_count_for_the_head_of_the_next_request(
    service: RunningService, key: str
) -> None:
    body = b'{"format": "' + b"x" * 200_000 + b'"}'
    head = f"Host: x\r\nAuthorization: Bearer {key}\r\n"
    first = f"POST /v1/workloads HTTP/1.1\r\n{head}Content-Type: application/json\r\n"
    first += f"Content-Length: {len(body)}\r\n\r\n"
    chunks = (first.encode() + body, b"GET /livez HTTP/1.1\r\n", b"Host: x\r\n", b"\r\n")
    said = spoken(service, *chunks, pause_s=0.1)
    assert re.findall(rb"HTTP/1.1 ([0-9]+)", said) == [b"422", b"200"]


@pytest.mark.parametrize("name", ["Authorization", "Content-Type", "Idempotency-Key"])
def test_a_header_that_comes_twice_is_refused(service: RunningService, key: str, name: str) -> None:
    once = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", "Idempotency-Key": "a"}
    headers = [*once.items(), (name, once[name])]
    problem(httpx.post(f"{service.address}/v1/workloads", content=b"{}", headers=headers), 400, "bad_request")


def test_large_documents_take_turns_and_small_ones_pass(
    start_service: Callable[..., RunningService], monkeypatch: pytest.MonkeyPatch
) -> None:
    service = start_service(run_workers=0, large_documents=1)
    http, large = service.http(), WORKLOAD_BODY + b" " * 1_100_000
    host, port = service.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as first:
        head = f"POST /v1/workloads HTTP/1.1\r\nHost: x\r\n{JSON_HEAD}Content-Length: 2000000\r\n"
        first.sendall(f"{head}Authorization: {http.headers['authorization']}\r\n\r\n{{".encode())
        time.sleep(0.3)
        monkeypatch.setattr(gate, "TURN_WAIT_S", 0.2)
        refused = http.post("/v1/workloads", content=large, headers=JSON)
        problem(refused, 503, "unavailable")
        assert int(refused.headers["retry-after"]) >= 1
        assert http.post("/v1/workloads", content=WORKLOAD_BODY, headers=JSON).status_code == 201
    monkeypatch.setattr(gate, "TURN_WAIT_S", 20.0)
    assert http.post("/v1/workloads", content=large, headers=JSON).status_code == 200


def test_an_upgrade_is_not_made(service: RunningService) -> None:
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "x" * 24}
    answer = httpx.get(f"{service.address}/livez", headers={**upgrade, "Sec-WebSocket-Version": "13"})
    assert answer.status_code == 200


# Methods, paths, queries


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PATCH", "DELETE", "TRACE", "PUT", "PROPFIND"])
def test_a_method_that_is_not_there_is_refused_with_those_that_are(
    service: RunningService, key: str, method: str
) -> None:
    refused = httpx.request(
        method, f"{service.address}/v1/workloads", headers={"Authorization": f"Bearer {key}"}
    )
    assert refused.status_code == 405
    assert refused.headers["allow"] == "GET, POST"
    if method == "HEAD":
        assert refused.content == b""
    else:
        problem(refused, 405, "method_not_allowed")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/plans/",
        "/v1//plans",
        "/V1/plans",
        "/v1/plans/%2e%2e/workloads/x/y",
        "/v1/plans/x%2Fdocument%2Fy/z",
        "/v1/nodes/x/assignment/",
        "/docs/",
        "/docs/..%2f..%2fetc%2fpasswd",
    ],
)
def test_a_path_that_is_nearly_one_is_none_and_leads_nowhere_else(
    service: RunningService, key: str, path: str
) -> None:
    headers = {"Authorization": f"Bearer {key}", "Host": "evil.example"}
    refused = httpx.get(f"{service.address}{path}", headers=headers)
    assert "location" not in refused.headers
    problem(refused, 404, "not_found")


@pytest.mark.parametrize(
    "name", ["%00", "%ff", "x" * 2000, "%F0%9F%92%A9", "'%20OR%201=1", "sha256:", "null"]
)
@pytest.mark.parametrize("path", ["/v1/plans/{}", "/v1/nodes/{}/assignment", "/v1/plan-runs/{}/events"])
def test_a_name_that_nobody_has_is_not_found(stranger: httpx.Client, name: str, path: str) -> None:
    refused = stranger.get(path.format(name))
    assert refused.status_code in ({404, 422} if name == "%00" else {404}), refused.text
    problem(refused, refused.status_code, "not_found" if refused.status_code == 404 else "invalid_input")


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "limit=1e2",
        "limit=",
        "limit=0x10",
        "limit=99999999999999999999",
        "cursor=",
        "cursor=x",
        "cursor=1.",
        "cursor=.run_1",
        "cursor=1.run_1%0A",
        "cursor=-1.run_1",
        "cursor=1.run%001",
        "cursor=%D9%A1.run_1",
        "cursor=9999999999999999.run_1",
        "cursor=1.run_1'--",
        "state=RUNNING",
        "state=",
        "workload=" + "x" * 201,
    ],
)
def test_a_query_that_cannot_be_one_is_refused(service: RunningService, key: str, query: str) -> None:
    headers = {"Authorization": f"Bearer {key}"}
    refused = httpx.get(f"{service.address}/v1/plan-runs?{query}", headers=headers)
    assert problem(refused, 422, "invalid_input").errors


def test_a_cursor_that_was_tampered_with_shows_nothing_that_the_list_would_not(
    service: RunningService,
) -> None:
    client, http = service.client(), service.http()
    workload, profile = client.create_workload(WORKLOAD), client.create_profile(PROFILE)
    ids = [client.submit_run(workload=workload, profiles=[profile], strategy="graft").id for _ in range(5)]
    page = http.get("/v1/plan-runs?limit=2").json()
    moment, _, name = page["next"].partition(".")
    for cursor in (
        f"{moment}.zzz",
        f"{moment}.{name[:-1]}",
        "0.a",
        "999999999999999.a",
        f"{moment}.{workload}",
    ):
        found = http.get(f"/v1/plan-runs?cursor={cursor}")
        assert found.status_code == 200
        assert {item["id"] for item in found.json()["items"]} <= set(ids)
    elsewhere = http.get(f"/v1/workloads?cursor={page['next']}")
    assert elsewhere.status_code == 200
    assert len(elsewhere.json()["items"]) <= 1


@pytest.mark.parametrize("wait", ["nan", "inf", "-1", "-0.1", "3601", "999999", "", "x", "1e9", "%00"])
def test_a_wait_that_cannot_be_one_is_refused_at_once(service: RunningService, key: str, wait: str) -> None:
    http = httpx.Client(base_url=service.address, headers={"Authorization": f"Bearer {key}"}, timeout=10)
    with http:
        refused = http.get(f"/v1/nodes/{register(http)}/assignment?wait={wait}")
    assert problem(refused, 422, "invalid_input").errors[0].place == "query parameter wait"


# The agents' lane answers as the endpoints behind it do

LANE_AND_ENDPOINT = ("wait=0", "wait=0.0000000")


def both(http: httpx.Client, path: str, **headers: str) -> httpx.Response:
    """The answer, which is the same by the lane and by the endpoint."""
    lane, endpoint = (http.get(f"{path}?{query}", headers=headers) for query in LANE_AND_ENDPOINT)
    assert (lane.status_code, lane.content) == (endpoint.status_code, endpoint.content)
    for name in ("etag", "content-type", "content-length"):
        assert lane.headers.get(name) == endpoint.headers.get(name), name
    return lane


def test_an_assignment_is_the_same_by_the_lane_and_by_the_endpoint(
    start_service: Callable[..., RunningService],
) -> None:
    service = start_service(run_workers=0)
    http = service.http("agent")
    node = register(http)
    path = f"/v1/nodes/{node}/assignment"
    assert both(http, path).json()["generation"] == 0
    service.client().deploy(add_plan(service))
    whole = both(http, path)
    assert whole.json()["generation"] == 1
    etag = whole.headers["etag"]
    for known, status in (
        (etag, 304),
        (f"W/{etag}", 304),
        (f'"a",{etag} , "b"', 304),
        ("*", 304),
        (etag.strip('"'), 200),
        (etag.upper().replace("W/", ""), 304 if etag.upper() == etag else 200),
        ('""', 200),
        (",,,", 200),
        ("", 200),
        ('"' + "9" * 30 + '-0123456789abcdef"', 200),
    ):
        answer = both(http, path, **{"If-None-Match": known})
        assert (answer.status_code, answer.headers["etag"]) == (status, etag), known
        assert answer.content == (b"" if status == 304 else whole.content)
    problem(http.get(f"{path}?wait=0", headers={"If-None-Match": '"a"' * 400}), 422, "invalid_input")
    two = [("If-None-Match", '"other"'), ("If-None-Match", etag)]
    assert http.get(path, headers=two).status_code == 304
    problem(both(http, "/v1/nodes/node_x/assignment"), 404, "not_found")
    problem(both(service.http("read"), path), 403, "scope_missing")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"generation": 0, "workers": []}', 204),
        (b'{"generation": 0.0, "workers": []}', 204),
        (b' {"workers": [], "generation": 9007199254740991} ', 204),
        (b'{"generation": 9007199254740992, "workers": []}', 422),
        (b'{"generation": -1, "workers": []}', 422),
        (b'{"generation": true, "workers": []}', 422),
        (b'{"generation": NaN, "workers": []}', 422),
        (b'{"generation": "0", "workers": []}', 422),
        (b'{"generation": 0, "workers": [], "more": 1}', 422),
        (b'{"generation": 0, "workers": {}}', 422),
        (b'{"generation": 0, "workers": [{}]}', 422),
        (b'{"generation": 0}', 422),
        (b"", 422),
        (b"[", 422),
        (b"\xef\xbb\xbf{}", 422),
        (b"[" * 100_000, 422),
    ],
)
def test_a_status_is_taken_the_same_by_the_lane_and_by_the_endpoint(
    service: RunningService, key: str, body: bytes, status: int
) -> None:
    headers = {"Authorization": f"Bearer {key}", **JSON}
    with httpx.Client(base_url=service.address, headers=headers) as http:
        path = f"/v1/nodes/{register(http)}/status"
        lane, endpoint = http.put(path, content=body), http.put(f"{path}?endpoint", content=body)
        assert (lane.status_code, lane.content) == (endpoint.status_code, endpoint.content)
        assert lane.status_code == status
        as_text = http.put(path, content=body, headers={"Content-Type": "text/plain"})
        if body:
            problem(as_text, 415, "unsupported_media_type")


def test_metrics_count_agents_under_their_routes(service: RunningService, key: str) -> None:
    with httpx.Client(base_url=service.address, headers={"Authorization": f"Bearer {key}"}) as http:
        node = register(http)
        for query in LANE_AND_ENDPOINT:
            http.get(f"/v1/nodes/{node}/assignment?{query}")
        routes = {
            line.split('route="')[1].split('"')[0]
            for line in http.get("/metrics").text.splitlines()
            if "_total{" in line
        }
    assert [route for route in routes if "assignment" in route] == ["/v1/nodes/{node_id}/assignment"]
    assert not [route for route in routes if node in route]


def test_agents_of_one_key_do_not_use_up_each_others_rate(
    start_service: Callable[..., RunningService],
) -> None:
    service = start_service(run_workers=0, rate_rps=2)
    http = service.http("agent")
    with service.database.writing() as store:
        ids = [
            store.nodes.register(name=f"n{n}", address="http://x", gpus=[], lease_ms=60_000)[0].id
            for n in range(20)
        ]
    answers = [http.get(f"/v1/nodes/{node}/assignment").status_code for node in ids]
    assert answers == [200] * 20
    greedy = [http.get(f"/v1/nodes/{ids[0]}/assignment").status_code for _ in range(20)]
    assert 429 in greedy


# Bodies


@pytest.mark.parametrize(
    "gpus",
    [
        [{"id": "g", "type": "t", "memory_mb": 1.0}, {"id": "g", "type": "t", "memory_mb": 1.0}],
        [{"id": "g", "type": "t", "memory_mb": 1.0}, {"id": "g", "type": "u", "memory_mb": 2.0}],
    ],
)
def test_a_gpu_that_is_listed_twice_is_refused(service: RunningService, gpus: list[Any]) -> None:
    refused = service.http().post("/v1/nodes", json={"name": "n", "address": "a", "gpus": gpus})
    assert problem(refused, 409, "contradictory").errors[0].place == "gpus[1].id"


@pytest.mark.parametrize(
    "change",
    [
        {"clients": 0},
        {"clients": -1},
        {"budget": 1e7},
        {"rate": None},
        {"models": []},
        {"models": "net"},
        {"gpus": [{"id": "g", "type": "t", "memory_mb": 0}]},
        {"gpus": {}},
        {"unknown": 1},
    ],
)
def test_a_variant_that_cannot_be_one_is_refused(service: RunningService, change: dict[str, Any]) -> None:
    http = service.http()
    workload = http.post("/v1/workloads", content=WORKLOAD_BODY, headers=JSON).json()["id"]
    problem(http.post(f"/v1/workloads/{workload}/variants", json=change), 422, "invalid_input")
    raw = json.dumps({"budget": 1}).replace("1", "NaN")
    refused = http.post(f"/v1/workloads/{workload}/variants", content=raw.encode(), headers=JSON)
    problem(refused, 422, "invalid_input")


@pytest.mark.parametrize("change", [{"clients": 1e-300}, {"models": ["other"]}])
def test_a_variant_of_which_nothing_is_left_is_a_conflict(
    service: RunningService, change: dict[str, Any]
) -> None:
    http = service.http()
    workload = http.post("/v1/workloads", content=WORKLOAD_BODY, headers=JSON).json()["id"]
    problem(http.post(f"/v1/workloads/{workload}/variants", json=change), 409, "conflict")


def test_a_comparison_keeps_the_order_it_was_asked_in(service: RunningService) -> None:
    client = service.client()
    workload, profile = client.create_workload(WORKLOAD), client.create_profile(PROFILE)
    asked = ["static", "graft", "gslice", "optimal", "gslice", "graft", "nexus", "static+"]
    made = client.compare(workload=workload, profiles=[profile], strategies=asked)
    assert [row.strategy for row in client.comparison(made.id).rows] == asked


def test_ids_of_one_process_sort_by_their_age() -> None:
    ids = [new_id("run") for _ in range(5000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)


def test_an_idempotency_key_in_flight_answers_all_or_says_to_repeat(
    start_service: Callable[..., RunningService], database_url: str
) -> None:
    # A derivation reads, computes and then writes: its repetitions overlap in all three.
    services = [start_service(database=database_url, run_workers=0) for _ in range(2)]
    key = services[0].key(*ALL_SCOPES)
    headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": "k"}
    with httpx.Client(base_url=services[0].address, headers={"Authorization": f"Bearer {key}"}) as http:
        workload = http.post("/v1/workloads", content=WORKLOAD_BODY, headers=JSON).json()["id"]
    answers: list[httpx.Response] = []

    def derive(number: int) -> None:
        url = f"{services[number % 2].address}/v1/workloads/{workload}/variants"
        answers.append(httpx.post(url, json={"clients": 2}, headers=headers, timeout=30))

    threads = [threading.Thread(target=derive, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1


def test_a_client_that_does_not_read_its_answers_harms_nobody(service: RunningService, key: str) -> None:
    host, port = service.address.removeprefix("http://").split(":")
    request = f"GET /openapi.json HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
    connections = []
    for _ in range(20):
        connection = socket.create_connection((host, int(port)), timeout=10)
        connection.sendall(request * 100)
        connections.append(connection)
    assert httpx.get(f"{service.address}/livez", timeout=20).status_code == 200
    for connection in connections:
        connection.close()
    assert httpx.get(f"{service.address}/livez", timeout=20).status_code == 200


def test_one_idempotency_key_with_many_bodies_at_once_does_one_of_them(
    start_service: Callable[..., RunningService], database_url: str
) -> None:
    service = start_service(database=database_url, run_workers=0)
    http, client = service.http(), service.client()
    workload, profile = client.create_workload(WORKLOAD), client.create_profile(PROFILE)
    answers: list[httpx.Response] = []

    def submit(seed: int) -> None:
        body = {"workload": workload, "profiles": [profile], "strategy": "graft", "seed": seed}
        answers.append(http.post("/v1/plan-runs", json=body, headers={"Idempotency-Key": "one"}))

    threads = [threading.Thread(target=submit, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused = [answer for answer in answers if answer.status_code != 202]
    assert len(refused) == 7
    for answer in refused:
        problem(answer, 422, "idempotency_key_reused")
    assert len(client.runs()) == 1


def test_a_run_that_is_ended_says_where_it_is(service: RunningService) -> None:
    http, client = service.http(), service.client()
    workload, profile = client.create_workload(WORKLOAD), client.create_profile(PROFILE)
    run = client.submit_run(workload=workload, profiles=[profile], strategy="graft").id
    for act in ("stop", "cancel"):
        assert http.post(f"/v1/plan-runs/{run}/{act}").headers["location"] == f"/v1/plan-runs/{run}"
