"""Plans made elsewhere: verified against what they were made from, stored, compared and deployed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from api import examples
from api.client import ProblemError
from planner import formats
from planner.plan import Plan
from planner.planning import make_plan
from tests.api.service import PROFILE, PROFILE_BODY, WORKLOAD, RunningService, write_documents
from tests.api.test_deployments import register

JSON = {"Content-Type": "application/json"}
MADE: Plan = make_plan(WORKLOAD, [PROFILE], strategy="graft")


@pytest.fixture
def quiet(start_service: Callable[..., RunningService]) -> RunningService:
    """A service that solves nothing."""
    return start_service(run_workers=0)


@pytest.fixture
def http(quiet: RunningService) -> httpx.Client:
    """A bare client of a service that has the plan's workload and profile."""
    client = quiet.client()
    client.create_workload(WORKLOAD)
    client.create_profile(PROFILE)
    return quiet.http()


def changed(**changes: Any) -> dict[str, Any]:
    """The plan as JSON, with other fields."""
    return {**formats.to_json(MADE), **changes}


def test_a_plan_made_elsewhere_is_stored_once_and_deployed(
    start_service: Callable[..., RunningService], database_url: str
) -> None:
    service = start_service(database=database_url, run_workers=0)
    client, http = service.client(), service.http()
    client.create_workload(WORKLOAD)
    client.create_profile(PROFILE)
    first = http.post("/v1/plans", content=formats.dumps(MADE), headers=JSON)
    again = http.post("/v1/plans", json=formats.to_json(MADE))
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    name = formats.digest(MADE)
    assert (first.json()["id"], first.json()["run"]) == (name, None)
    assert first.headers["location"] == again.headers["location"] == f"/v1/plans/{name}"
    assert client.plan(name) == MADE
    assert [plan.id for plan in client.plans(workload=formats.digest(WORKLOAD))] == [name]
    assert client.diff(name, name).unchanged == len(MADE.stages)
    node = register(http)
    assert client.deploy(name).plan == name
    assert http.get(f"/v1/nodes/{node}/assignment").json()["plan"] == name
    told = [item for item in http.get("/v1/audit").json()["items"] if item["action"] == "plan.add"]
    assert [item["target"] for item in told] == [name]


def test_a_plan_that_breaks_laws_is_refused_with_every_one_it_breaks(http: httpx.Client) -> None:
    plan = formats.to_json(MADE)
    plan["stages"][0]["exec_ms"] += 1.0
    plan["objective"]["share"] -= 5.0
    refused = http.post("/v1/plans", json=plan)
    assert (refused.status_code, refused.json()["code"]) == (409, "invalid_plan")
    found = {(item["law"], item["place"]) for item in refused.json()["violations"]}
    stage = MADE.stages[0].id
    assert {("stage", f"stages[0] ({stage})"), ("objective", "objective.share")} <= found
    assert all(
        item.keys() == {"law", "place", "message", "by", "unit"} for item in refused.json()["violations"]
    )
    assert {item["place"] for item in refused.json()["errors"]} == {place for _, place in found}
    assert http.get("/v1/plans").json()["items"] == []


def test_a_plan_has_to_say_what_it_was_made_from(http: httpx.Client) -> None:
    refused = http.post("/v1/plans", json=changed(provenance={}))
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_input")
    places = [item["place"] for item in refused.json()["errors"]]
    assert places == ["provenance.workload", "provenance.profiles"]
    many = {"workload": formats.digest(WORKLOAD), "profiles": ["p"] * 1001}
    assert http.post("/v1/plans", json=changed(provenance=many)).status_code == 422


def test_what_it_was_made_from_has_to_be_there(http: httpx.Client) -> None:
    refused = http.post("/v1/plans", json=changed(provenance={"workload": "w", "profiles": ["p", "q"]}))
    assert refused.status_code == 404
    places = [item["place"] for item in refused.json()["errors"]]
    assert places == ["provenance.profiles[0]", "provenance.profiles[1]", "provenance.workload"]


def test_two_profiles_of_one_model_and_gpu_contradict_each_other(
    quiet: RunningService, http: httpx.Client
) -> None:
    dearer = quiet.client().derive_profile(formats.digest(PROFILE), cost_per_share=2.0).id
    origin = {"workload": formats.digest(WORKLOAD), "profiles": [formats.digest(PROFILE), dearer]}
    refused = http.post("/v1/plans", json=changed(provenance=origin))
    assert (refused.status_code, refused.json()["code"]) == (409, "contradictory")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[" * 100_000,
        PROFILE_BODY,
        formats.dumps(MADE).replace(b'"instances": 1', b'"instances": NaN'),
        formats.dumps(MADE).replace(b'"instances": 1', b'"instances": "1"'),
        formats.dumps(MADE).replace(b'"version"', b'"unknown"'),
        formats.dumps(MADE).replace(b'"queueing": "plain"', b'"queueing": 1e999'),
        formats.dumps(MADE).decode().encode("utf-16"),
    ],
)
def test_what_is_no_plan_is_refused(http: httpx.Client, body: bytes) -> None:
    refused = http.post("/v1/plans", content=body, headers=JSON)
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_input")
    assert refused.json()["errors"]


@pytest.mark.parametrize(
    "plan",
    [
        changed(stages=[]),
        changed(routes=[]),
        changed(objective={"share": 1e308, "gpus": 10**300}),
        changed(stages=[{**formats.to_json(MADE)["stages"][0], "instances": 10**300}]),
        changed(stages=[{**formats.to_json(MADE)["stages"][0], "start": -(10**300), "end": 10**300}]),
        changed(strategy="\u0000", lower_bound=-1e308),
        changed(unplanned=[{"fragment": "nobody", "reason": "none", "detail": {"a": [None] * 100}}]),
    ],
)
def test_absurd_numbers_are_broken_laws_and_do_no_harm(http: httpx.Client, plan: dict[str, Any]) -> None:
    refused = http.post("/v1/plans", json=plan)
    assert (refused.status_code, refused.json()["code"]) == (409, "invalid_plan")


def test_the_examples_of_the_description_work_when_sent_in_order(quiet: RunningService) -> None:
    http = quiet.http()
    assert http.post("/v1/workloads", json=examples.WORKLOAD).status_code == 201
    assert http.post("/v1/profiles", json=examples.PROFILE).status_code == 201
    stored = http.post("/v1/plans", json=examples.PLAN)
    assert stored.status_code == 201
    for name, path, status in (
        ("SubmitRun", "/v1/plan-runs", 202),
        ("SubmitComparison", "/v1/comparisons", 202),
        ("Register", "/v1/nodes", 201),
    ):
        answer = http.post(path, json=examples.REQUESTS[name])
        assert answer.status_code == status, answer.text
        assert http.get(answer.headers["location"]).status_code == 200
    deployed = http.post("/v1/deployments", json={"plan": stored.json()["id"]})
    assert deployed.status_code == 201, deployed.text
    node = http.get("/v1/nodes").json()["items"][0]["id"]
    reported = http.put(f"/v1/nodes/{node}/status", json=examples.REQUESTS["ReportStatus"])
    assert reported.status_code == 204
    for kind, name in (("workloads", "DeriveWorkload"), ("profiles", "DeriveProfile")):
        known = http.get(f"/v1/{kind}").json()["items"][0]["id"]
        varied = http.post(f"/v1/{kind}/{known}/variants", json=examples.REQUESTS[name])
        assert varied.status_code == 201, varied.text


def test_a_plan_file_is_added_from_the_command_line(quiet: RunningService, tmp_path: Path) -> None:
    from api import commands_remote
    from tests.api.service import ALL_SCOPES
    from tests.api.test_commands import invoke

    workload, profile = map(str, write_documents(tmp_path))
    to = ["--service", quiet.address, "--key", quiet.key(*ALL_SCOPES)]
    origin = replace(MADE.provenance, workload=None, profiles=())
    for number, plan in enumerate((MADE, replace(MADE, provenance=origin))):
        path = tmp_path / f"plan-{number}.json"
        formats.write(plan, path)
        arguments = ["add", str(path), "--workload", workload, "--profile", profile, *to]
        added = invoke(commands_remote.plans, *arguments)
        assert added.exit_code == 0, added.output
        assert quiet.client().plan(added.stdout.strip()).stages == MADE.stages
    broken = json.loads(formats.dumps(MADE))
    broken["stages"][0]["share"] = 25 if broken["stages"][0]["share"] != 25 else 50
    (tmp_path / "broken.json").write_text(json.dumps(broken))
    refused = invoke(
        commands_remote.plans,
        "add",
        str(tmp_path / "broken.json"),
        "--workload",
        workload,
        "--profile",
        profile,
        *to,
    )
    assert refused.exit_code == 2
    assert "breaks the laws" in refused.output


def test_a_broken_plan_is_said_so_by_the_client(quiet: RunningService) -> None:
    client = quiet.client()
    client.create_workload(WORKLOAD)
    client.create_profile(PROFILE)
    with pytest.raises(ProblemError, match=r"objective: says"):
        client.create_plan(replace(MADE, objective=replace(MADE.objective, share=1.0)))
