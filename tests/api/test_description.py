"""openapi.json: up to date, whole, and true."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from api import documentation, examples
from planner import formats
from planner.profile import Profile
from planner.workload import Workload
from tests.api.service import ALL_SCOPES, PROFILE, WORKLOAD, RunningService
from tests.api.test_deployments import add_plan, register

# More of them find rarer things: REGRAFT_SCHEMATHESIS_EXAMPLES=50 takes minutes.
EXAMPLES = os.environ.get("REGRAFT_SCHEMATHESIS_EXAMPLES", "3")
SEED = os.environ.get("REGRAFT_SCHEMATHESIS_SEED", "1")
ROOT = Path(__file__).parents[2]
DESCRIBED: dict[str, Any] = json.loads((ROOT / "openapi.json").read_text())


def test_the_description_in_the_repository_is_up_to_date() -> None:
    assert (ROOT / "openapi.json").read_text() == documentation.text(), "run `python -m api.documentation`"


def test_every_operation_is_described_with_its_problems() -> None:
    for path, operations in DESCRIBED["paths"].items():
        for method, operation in operations.items():
            assert operation.get("description") or operation.get("summary"), (method, path)
            for status, answer in operation["responses"].items():
                if int(status) >= 400:
                    assert list(answer["content"]) == ["application/problem+json"], (method, path, status)
            if path.startswith("/v1"):
                assert operation["security"], (method, path)
                assert {"401", "403", "422", "429", "500", "503"} <= operation["responses"].keys(), (
                    method,
                    path,
                )


def test_media_types_say_nothing_that_this_version_of_openapi_does_not_know() -> None:
    assert DESCRIBED["openapi"].startswith("3.1.")
    known = {"schema", "example", "examples", "encoding"}
    for path, operations in DESCRIBED["paths"].items():
        for method, operation in operations.items():
            bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
            for media in (item for body in bodies for item in body.get("content", {}).values()):
                assert media.keys() <= known, (method, path)


def test_the_scope_that_an_operation_needs_is_described_and_asked_for(service: RunningService) -> None:
    callers = {scope: service.http(scope) for scope in ALL_SCOPES}
    for path, operations in DESCRIBED["paths"].items():
        for method, operation in operations.items():
            if not path.startswith("/v1"):
                continue
            (asked,) = operation["security"]
            (needed,) = asked["HTTPBearer"]
            assert f"`{needed}`" in operation["description"]
            url = path.replace("{generation}", "1")
            for scope, http in callers.items():
                status = http.request(method, url, params={"against": "x"}, json={}).status_code
                assert (status == 403) == (scope != needed), (method, path, scope, status)


def test_the_examples_sent_in_order_work(service: RunningService) -> None:
    http, schemas = service.http(), DESCRIBED["components"]["schemas"]

    def send(kind: str, path: str, method: str = "POST") -> dict[str, Any]:
        answer = http.request(method, path, json=schemas[kind]["examples"][0])
        assert answer.status_code in (201, 202, 204), (kind, answer.text)
        return dict(answer.json()) if answer.content else {}

    workload, profile = send("Workload", "/v1/workloads"), send("Profile", "/v1/profiles")
    send("NewPlan", "/v1/plans")
    send("DeriveWorkload", f"/v1/workloads/{workload['id']}/variants")
    send("DeriveProfile", f"/v1/profiles/{profile['id']}/variants")
    send("SubmitRun", "/v1/plan-runs")
    send("SubmitComparison", "/v1/comparisons")
    node = send("Register", "/v1/nodes")
    send("Deploy", "/v1/deployments")
    send("ReportStatus", f"/v1/nodes/{node['id']}/status", "PUT")
    assert http.get("/v1/deployments/current").json()["not_running"] != []
    assert send("Rollback", "/v1/deployments/rollback")["rollback_of"] == 1


def test_every_request_has_an_example() -> None:
    schemas = DESCRIBED["components"]["schemas"]
    for path, operations in DESCRIBED["paths"].items():
        for method, operation in operations.items():
            if "requestBody" in operation:
                reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
                assert schemas[reference.rsplit("/", 1)[1]]["examples"], (method, path)


def test_every_answer_has_an_example() -> None:
    schemas = DESCRIBED["components"]["schemas"]
    for path, operations in DESCRIBED["paths"].items():
        for method, operation in operations.items():
            for status, answer in operation["responses"].items():
                for media in answer.get("content", {}).values():
                    name = media["schema"].get("$ref", "").rsplit("/", 1)[-1]
                    if name.startswith("Page_"):  # a list of what has one
                        name = schemas[name]["properties"]["items"]["items"]["$ref"].rsplit("/", 1)[1]
                    trivial = name == "Alive" or path == "/metrics"
                    assert trivial or media.get("example") or schemas[name]["examples"], (
                        method,
                        path,
                        status,
                    )


@pytest.mark.parametrize("name", [*examples.ANSWERS, "Plan", "Problem"])
def test_the_examples_of_answers_are_ones(name: str) -> None:
    schemas = DESCRIBED["components"]["schemas"]
    (example,) = schemas[name]["examples"]
    wanted = {"$ref": f"#/components/schemas/{name}", "components": DESCRIBED["components"]}
    jsonschema_rs.Draft202012Validator(wanted).validate(example)
    assert example.keys() >= set(schemas[name]["required"])
    assert example.keys() <= schemas[name]["properties"].keys()


def test_the_examples_are_ones() -> None:
    workload = formats.parse(Workload, json.dumps(examples.WORKLOAD).encode(), source="example")
    profile = formats.parse(Profile, json.dumps(examples.PROFILE).encode(), source="example")
    assert workload.fragments[0].model == profile.model


def test_every_reference_leads_somewhere() -> None:
    def references(part: Any) -> set[str]:
        if isinstance(part, dict):
            found = {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
            return found.union(*map(references, part.values()))
        if isinstance(part, list):
            return set().union(*map(references, part))
        return set()

    for reference in references(DESCRIBED):
        _, _, kind, name = reference.split("/")
        assert name in DESCRIBED["components"][kind], reference


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_service_does_what_the_description_says(
    start_service: Callable[..., RunningService], tmp_path: Path
) -> None:
    service = start_service(run_workers=0, rate_rps=0, false_keys_rps=0, body_timeout_s=5)
    client, http = service.client(), service.http()
    workload, profile = client.create_workload(WORKLOAD), client.create_profile(PROFILE)
    run = client.submit_run(workload=workload, profiles=[profile], strategy="graft").id
    client.cancel_run(run)  # its event stream then has an end
    comparison = client.compare(workload=workload, profiles=[profile], strategies=["graft"]).id
    node, plan = register(http), add_plan(service)
    generation = client.deploy(plan).generation
    known = {
        "path.workload_id": workload,
        "path.profile_id": profile,
        "path.run_id": run,
        "path.comparison_id": comparison,
        "path.plan_id": plan,
        "path.node_id": node,
        "path.generation": generation,
        "query.against": plan,
    }
    lines = ["[parameters]", *(f"{json.dumps(name)} = {json.dumps(value)}" for name, value in known.items())]
    (tmp_path / "schemathesis.toml").write_text("\n".join(lines) + "\n")
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(tmp_path / "schemathesis.toml")]
    command += ["run", f"{service.address}/openapi.json"]
    command += ["-H", f"Authorization: Bearer {service.key(*ALL_SCOPES)}"]
    command += ["-n", EXAMPLES, "--seed", SEED, "--request-timeout", "20"]
    command += ["--continue-on-failure", "--no-color"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert "No links" not in done.stdout.split("SUMMARY")[1]
