"""An Idempotency-Key: the same request is done once and answered the same."""

from __future__ import annotations

import threading
from collections.abc import Callable

import httpx
import pytest

from tests.api.service import PROFILE_BODY, WORKLOAD_BODY, RunningService
from tests.api.test_deployments import add_plan, register

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def service(start_service: Callable[..., RunningService]) -> RunningService:
    """A service that solves nothing."""
    return start_service(run_workers=0)


def run_body(http: httpx.Client, **changes: object) -> dict[str, object]:
    """A run to submit."""
    workload = http.post("/v1/workloads", content=WORKLOAD_BODY, headers=JSON).json()["id"]
    profile = http.post("/v1/profiles", content=PROFILE_BODY, headers=JSON).json()["id"]
    return {"workload": workload, "profiles": [profile], "strategy": "graft", **changes}


def test_the_same_key_and_body_is_done_once(service: RunningService) -> None:
    http = service.http()
    body, headers = run_body(http), {"Idempotency-Key": "a"}
    first = http.post("/v1/plan-runs", json=body, headers=headers)
    again = http.post("/v1/plan-runs", json=body, headers=headers)
    assert (first.status_code, again.status_code) == (202, 202)
    assert (again.content, again.headers["location"]) == (first.content, first.headers["location"])
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert len(http.get("/v1/plan-runs").json()["items"]) == 1


def test_the_same_key_with_another_body_or_path_is_refused(service: RunningService) -> None:
    http = service.http()
    headers = {"Idempotency-Key": "a"}
    assert http.post("/v1/plan-runs", json=run_body(http), headers=headers).status_code == 202
    for refused in (
        http.post("/v1/plan-runs", json=run_body(http, seed=1), headers=headers),
        http.post("/v1/workloads", content=WORKLOAD_BODY, headers={**JSON, **headers}),
    ):
        assert (refused.status_code, refused.json()["code"]) == (422, "idempotency_key_reused")
    assert len(http.get("/v1/plan-runs").json()["items"]) == 1


def test_another_callers_key_is_another_key(service: RunningService) -> None:
    headers = {"Idempotency-Key": "a"}
    for _ in range(2):
        http = service.http()
        assert http.post("/v1/plan-runs", json=run_body(http), headers=headers).status_code == 202
    assert len(http.get("/v1/plan-runs").json()["items"]) == 2


def test_a_refused_request_may_be_mended_and_sent_again(service: RunningService) -> None:
    http = service.http()
    headers = {"Idempotency-Key": "a"}
    wrong = run_body(http, strategy="magic")
    assert http.post("/v1/plan-runs", json=wrong, headers=headers).status_code == 422
    assert http.post("/v1/plan-runs", json=run_body(http), headers=headers).status_code == 202


def test_the_same_request_many_times_at_once_is_done_once(
    start_service: Callable[..., RunningService], database_url: str
) -> None:
    service = start_service(database=database_url, run_workers=0)
    http = service.http()
    body = run_body(http)
    answers: list[httpx.Response] = []

    def submit() -> None:
        answers.append(http.post("/v1/plan-runs", json=body, headers={"Idempotency-Key": "a"}))

    threads = [threading.Thread(target=submit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.content for answer in answers}) == 1
    assert len(http.get("/v1/plan-runs").json()["items"]) == 1


def test_a_deployment_is_made_once(service: RunningService) -> None:
    http = service.http()
    register(http)
    plan = add_plan(service)
    for path, body in (
        ("/v1/deployments", {"plan": plan, "expected_generation": 0}),
        ("/v1/deployments/rollback", {"generation": 1}),
    ):
        answers = [http.post(path, json=body, headers={"Idempotency-Key": path}) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [201, 201, 201]
        assert len({answer.content for answer in answers}) == 1
    assert http.get("/v1/deployments/current").json()["generation"] == 2


@pytest.mark.parametrize("key", ["", "a b", "\u00e9", "x" * 201])
def test_a_key_that_is_none_is_refused(service: RunningService, key: str) -> None:
    headers = {"Idempotency-Key": key.encode("latin-1"), **JSON}
    refused = service.http().post("/v1/workloads", content=WORKLOAD_BODY, headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_input")


def test_the_same_document_has_the_same_id_without_any_key(service: RunningService) -> None:
    http = service.http()
    first = http.post("/v1/workloads", content=WORKLOAD_BODY, headers=JSON)
    spaced = WORKLOAD_BODY.replace(b",", b" ,\n")
    again = http.post("/v1/workloads", content=spaced, headers=JSON)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert first.headers["location"] == again.headers["location"] == f"/v1/workloads/{first.json()['id']}"
