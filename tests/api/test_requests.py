"""What is refused, and how: every error is a problem document with a stable code."""

from __future__ import annotations

import json
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api import views
from api.settings import Settings
from tests.api.service import PROFILE_BODY, WORKLOAD_BODY, RunningService

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def service(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """One service for all that only refuses."""
    path = tmp_path_factory.mktemp("requests") / "regraft.sqlite"
    shutil.copy(sqlite_template, path)
    running = RunningService(Settings(database=f"sqlite:///{path}", run_workers=0))
    yield running
    running.stop()


def problem(response: httpx.Response, status: int, code: str) -> views.Problem:
    """The problem document, checked."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    found = views.Problem.model_validate_json(response.content)
    assert (found.status, found.code) == (status, code)
    assert found.title
    assert found.detail
    return found


def test_a_path_or_method_that_is_not_there(service: RunningService) -> None:
    http = service.http()
    problem(http.get("/v1/nothing"), 404, "not_found")
    problem(http.get("/nothing"), 404, "not_found")
    refused = http.delete("/v1/workloads")
    problem(refused, 405, "method_not_allowed")
    assert refused.headers["allow"] == "GET, POST"


def test_only_the_probes_and_the_description_need_no_key(service: RunningService) -> None:
    bare = httpx.Client(base_url=service.address)
    for path in ("/livez", "/readyz", "/openapi.json", "/docs"):
        assert bare.get(path).status_code == 200
    described = bare.get("/openapi.json").json()
    for path, methods in described["paths"].items():
        for method in methods:
            if path in ("/livez", "/readyz"):
                continue
            response = bare.request(method, path.replace("{", "").replace("}", ""))
            problem(response, 401, "unauthorized")
            assert response.headers["www-authenticate"].startswith("Bearer")
    bare.close()


@pytest.mark.parametrize(
    "header",
    ["", "Basic x", "Bearer", "Bearer x", "Bearer rg_00000000_x", "Bearer rg_\u00e9_x", "Bearer a b"],
)
def test_a_false_key_is_refused(service: RunningService, header: str) -> None:
    response = httpx.get(f"{service.address}/v1/plans", headers={"Authorization": header.encode("latin-1")})
    problem(response, 401, "unauthorized")


def test_a_key_does_what_its_scopes_allow_and_nothing_else(service: RunningService) -> None:
    needs = {
        "read": [
            ("GET", "/v1/workloads"),
            ("GET", "/v1/nodes"),
            ("GET", "/v1/deployments"),
            ("GET", "/metrics"),
        ],
        "plan": [("POST", "/v1/workloads"), ("POST", "/v1/plan-runs"), ("POST", "/v1/comparisons")],
        "deploy": [("POST", "/v1/deployments"), ("POST", "/v1/deployments/rollback"), ("GET", "/v1/audit")],
        "agent": [("POST", "/v1/nodes"), ("GET", "/v1/nodes/x/assignment"), ("PUT", "/v1/nodes/x/status")],
    }
    for held in needs:
        http = service.http(held)
        for scope, requests in needs.items():
            for method, path in requests:
                body = {"content": b"{}", "headers": JSON} if method != "GET" else {}
                response = http.request(method, path, **body)
                if scope == held:
                    assert response.status_code not in (401, 403), (held, path)
                else:
                    assert problem(response, 403, "scope_missing").model_extra == {"scope": scope}


def test_a_revoked_key_stops_working(start_service: Callable[..., RunningService]) -> None:
    service = start_service(key_recheck_s=0.2)
    http = service.http("read")
    assert http.get("/v1/plans").status_code == 200
    with service.database.writing() as store:
        assert len(store.keys.revoke("test read")) == 1
    deadline = time.monotonic() + 10
    while http.get("/v1/plans").status_code == 200:
        assert time.monotonic() < deadline, "the revoked key still works"
        time.sleep(0.05)
    problem(http.get("/v1/plans"), 401, "unauthorized")


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b"", "file"),
        (b"   ", "file"),
        (b"{", "file"),
        (b"[]", "file"),
        (b"\xff\xfe{\x00}\x00", "file"),
        (WORKLOAD_BODY.decode().encode("utf-16"), "file"),
        (WORKLOAD_BODY.decode().encode("utf-32"), "file"),
        (b"[" * 100_000, "file"),
        (b'{"a":' * 50_000, "file"),
        (WORKLOAD_BODY.replace(b'"budget_ms": 80.0', b'"budget_ms": NaN'), "fragments[0].budget_ms"),
        (WORKLOAD_BODY.replace(b'"budget_ms": 80.0', b'"budget_ms": 1e999'), "fragments[0].budget_ms"),
        (WORKLOAD_BODY.replace(b'"budget_ms": 80.0', b'"budget_ms": -1'), "fragments[0].budget_ms"),
        (WORKLOAD_BODY.replace(b'"start": 1', b'"start": 10e80'), "fragments[1].start"),
        (WORKLOAD_BODY.replace(b"phone-1", b"phone-0"), "fragments[1].id"),
        (WORKLOAD_BODY.replace(b"workload/v1", b"workload/v9"), "format"),
        (PROFILE_BODY, "format"),
    ],
)
def test_a_workload_that_cannot_be_one_is_refused_with_its_place(
    service: RunningService, body: bytes, place: str
) -> None:
    http = service.http()
    response = http.post("/v1/workloads", content=body, headers=JSON)
    contradictory = b"phone-1" not in body and b"phone-2" in body
    found = problem(response, *((409, "contradictory") if contradictory else (422, "invalid_input")))
    assert place in [item.place for item in found.errors]
    assert http.get("/v1/workloads").json()["items"] == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"[]",
        b"null",
        b"[" * 100_000,
        b'{"plan": NaN}',
        b'{"plan": "\xff"}',
        b'{"plan": 7}',
        b'{"plan": "\\u0000"}',
        b'{"plan": "x", "also": 1}',
        b'{"plan": "x", "expected_generation": "1"}',
        b'{"plan": "x", "expected_generation": 1e400}',
        b'{"plan": "x", "expected_generation": ' + b"9" * 5000 + b"}",
        '{"plan": "x"}'.encode("utf-16"),
    ],
)
def test_a_request_that_cannot_be_one_is_refused(service: RunningService, body: bytes) -> None:
    found = problem(service.http().post("/v1/deployments", content=body, headers=JSON), 422, "invalid_input")
    assert found.errors


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Type": "application/json; charset=latin-1"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
        {},
    ],
)
def test_a_body_of_another_type_is_refused(service: RunningService, headers: dict[str, str]) -> None:
    response = service.http().post("/v1/workloads", content=WORKLOAD_BODY, headers=headers)
    problem(response, 415, "unsupported_media_type")


def test_large_bodies_are_refused_whether_or_not_they_say_their_size(
    start_service: Callable[..., RunningService],
) -> None:
    service = start_service(max_document_mb=0.1, max_body_kb=1)
    http = service.http()
    body = b'{"plan": "' + b"x" * 200_000 + b'"}'
    for path in ("/v1/workloads", "/v1/deployments"):
        problem(http.post(path, content=body, headers=JSON), 413, "too_large")
        problem(
            http.post(path, content=iter([body[:150_000], body[150_000:]]), headers=JSON), 413, "too_large"
        )
    problem(http.post("/v1/deployments", content=body[:2_000], headers=JSON), 413, "too_large")
    problem(http.post("/v1/workloads", content=body[:2_000], headers=JSON), 422, "invalid_input")


def test_a_hundred_megabytes_are_refused_before_they_are_sent(service: RunningService) -> None:
    key = service.key("plan")
    host, port = service.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        head = (
            f"POST /v1/workloads HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
            "Content-Type: application/json\r\nContent-Length: 100000000\r\n\r\n"
        )
        connection.sendall(head.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


def test_a_client_that_sends_too_slowly_is_sent_away_and_harms_nobody(
    start_service: Callable[..., RunningService],
) -> None:
    service = start_service(body_timeout_s=0.5)
    http = service.http()
    host, port = service.address.removeprefix("http://").split(":")
    key = service.key("plan")
    connections = []
    for _ in range(60):
        connection = socket.create_connection((host, int(port)), timeout=20)
        head = (
            f"POST /v1/workloads HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
            "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
        )
        connection.sendall(head.encode())
        connections.append(connection)
    assert http.get("/v1/plans").status_code == 200
    for connection in connections:
        assert connection.recv(100).startswith(b"HTTP/1.1 408 ")
        connection.close()


def test_a_defect_is_a_problem_too_and_tells_nothing_of_the_inside(
    service: RunningService, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("the inside")

    monkeypatch.setattr("api.presenting.plan", broken)
    monkeypatch.setattr("api.repositories.plans.Plans.plan", broken)
    response = service.http().get("/v1/plans/x")
    assert "the inside" not in response.text
    problem(response, 500, "internal_error")
    logged = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{")]
    assert any("the inside" in line.get("exception", "") for line in logged)
