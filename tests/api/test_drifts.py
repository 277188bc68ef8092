"""Inputs become easier or harder than the running plan was made for: it is planned anew, and said why."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from api.client import Client
from planner.plan import Plan
from planner.planning import make_plan
from planner.problem import PlanSettings
from planner.profile import Profile
from planner.workload import Fragment, Workload
from tests.api.pages.test_guards import sign_in
from tests.api.service import RunningService
from tests.api.test_deployments import register, report
from tests.exits import with_exits
from tests.profiles import make_profile

PROFILE: Profile = with_exits(
    make_profile("net", "cpu", layers=8, batches=(1, 4, 16), shares=(10, 25, 50, 100), seed=5), (0.5, 0.25)
)
EXITS = [item.layer for item in PROFILE.exits or ()]
WORKLOAD = Workload(
    fragments=tuple(
        Fragment(id=f"phone-{n}", model="net", start=0, budget_ms=300.0, rate_rps=400.0) for n in range(2)
    )
)
SETTINGS = {"time_limit_s": 2.0, "threads": 1, "queueing": "headroom"}


@pytest.fixture(scope="module")
def plan() -> Plan:
    """A plan with exits, as `regraft plan` makes it."""
    return make_plan(WORKLOAD, [PROFILE], strategy="e3", settings=PlanSettings(**SETTINGS))


class Fleet:
    """A node whose gateway answers requests, of which some leave by the exits in use."""

    def __init__(self, service: RunningService) -> None:
        self.http: httpx.Client = service.http("agent")
        self.node = register(self.http, gpus=12)
        self._counts: dict[str, dict[str, Any]] = {}
        self._generation = 0

    def answers(self, survival: tuple[float, float], requests: int = 500) -> None:
        """So many answers of each phone, and a status that tells of them."""
        document = self.http.get(f"/v1/nodes/{self.node}/assignment").json()
        if document["generation"] != self._generation:  # the gateway counts each generation anew
            self._counts, self._generation = {}, document["generation"]
        exits = {stage["id"]: stage.get("exits", []) for stage in document["stages"]}
        for route in document["routes"]:
            used = [layer for name in route["stages"] for layer in exits[name]]
            counts = self._counts.setdefault(route["fragment"], {"answered": 0, "left": {}, "lost": {}})
            counts["answered"] += requests
            here = 1.0
            for layer in used:
                fraction = survival[EXITS.index(layer)]
                counts["left"][str(layer)] = counts["left"].get(str(layer), 0) + round(
                    requests * (here - fraction)
                )
                here = fraction
        told = [{"gateway": "g", "generation": self._generation, "fragments": self._counts}]
        report(self.http, self.node, document, exits=told)


def deployed(client: Client, plan: Plan, **how: Any) -> str:
    """The plan, stored and deployed; gives its id."""
    client.create_workload(WORKLOAD)
    client.create_profile(PROFILE)
    made = client.create_plan(plan)
    client.deploy(made.id, **how)
    return made.id


def until(condition: Callable[[], Any], fleet: Fleet, survival: tuple[float, float]) -> None:
    """While the phones go on with inputs of this survival."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        fleet.answers(survival)
        time.sleep(0.1)


@pytest.fixture
def start(start_service: Callable[..., RunningService]) -> Callable[..., RunningService]:
    def started(**settings: Any) -> RunningService:
        # So few windows that the forecast is the last of them: what happens then does not depend on when.
        return start_service(drift_window_s=0.2, drift_windows=8, **settings)

    return started


def test_harder_inputs_become_a_plan_for_them_that_is_deployed(
    start: Callable[..., RunningService], database_url: str
) -> None:
    service = start(database=database_url, on_drift="apply")
    client, fleet = service.client(), Fleet(service)
    workload, profile = client.create_workload(WORKLOAD), client.create_profile(PROFILE)
    first = client.submit_run(workload=workload, profiles=[profile], strategy="multi-exit", **SETTINGS)
    before = str(client.wait_run(first.id).plan)
    client.deploy(before)

    # As planned: it is seen, and nothing happens.
    until(lambda: any(kind.windows >= 2 for kind in client.exits().outlooks), fleet, (0.5, 0.25))
    now = client.exits()
    assert (now.generation, now.on_drift, client.drifts()) == (1, "apply", [])
    assert [(kind.model, kind.layers, kind.fragments, kind.drifted) for kind in now.outlooks] == [
        ("net", EXITS, 2, False)
    ]
    assert now.outlooks[0].expected == pytest.approx([0.5, 0.25], abs=0.01)

    until(lambda: client.drifts() and client.drifts()[-1].applied_as, fleet, (0.9, 0.8))
    drift = client.drifts()[-1]
    assert drift == client.drift(drift.id)
    assert (drift.generation, drift.plan, drift.state, drift.applied_as) == (1, before, "applied", 2)
    assert drift.outlooks[0].drifted
    assert drift.outlooks[0].harder
    assert drift.new_share is not None
    assert drift.new_share > drift.share
    second = client.deployment(2)
    assert second is not None
    assert (second.plan, second.deployed_by) == (drift.new_plan, "drift")
    assert client.workload_info(drift.workload).derived_from == workload
    told = drift.outlooks[0].expected
    fragments = client.workload(drift.workload).fragments
    assert [item.survival for item in fragments] == [pytest.approx(told, abs=1e-4)] * 2
    run = client.run(drift.run)
    assert run.strategy == "multi-exit"
    assert {name: run.settings[name] for name in SETTINGS} == SETTINGS
    assert {entry.action for entry in client.audit() if entry.key == "drift"} == {"drift", "deploy"}

    # The first forecast may have rested on a window of both kinds; in the end the plan is for what is seen.
    def settled() -> bool:
        kinds = client.exits().outlooks
        return bool(kinds) and not kinds[0].drifted and client.drifts()[0].state == "applied"

    until(settled, fleet, (0.9, 0.8))
    assert client.exits().outlooks[0].planned == pytest.approx([0.9, 0.8], abs=0.1)


def service_windows(service: RunningService) -> int:
    with service.database.reading() as store:
        last = store.drifts.last_window()
        return 0 if last is None else last.number


def test_a_proposal_is_not_deployed_and_ends_when_somebody_deploys(
    start: Callable[..., RunningService], plan: Plan
) -> None:
    service = start()
    client, fleet = service.client(), Fleet(service)
    first = deployed(client, plan)
    until(lambda: client.drifts() and client.drifts()[0].state != "planning", fleet, (0.9, 0.8))
    drift = client.drifts()[0]
    assert (drift.mode, drift.state, drift.applied_as) == ("propose", "proposed", None)
    run = client.run(drift.run)  # as the plan, which was made elsewhere, says of itself
    assert (run.strategy, run.settings["queueing"]) == ("e3", "headroom")
    deployment = client.deployment()
    assert deployment is not None
    assert (deployment.generation, deployment.plan) == (1, first)
    # It is planned for once, however long that goes on.
    windows = service_windows(service)
    until(lambda: service_windows(service) > windows + 2, fleet, (0.9, 0.8))
    until(lambda: client.drifts()[0].state == "proposed", fleet, (0.9, 0.8))
    newest, *older = client.drifts()
    assert {item.state for item in older} <= {"superseded"}
    with httpx.Client(base_url=service.address, timeout=30) as pages:
        sign_in(pages, service.key("read"))
        page = pages.get("/nodes").text
    assert '<h2 id="exits">Early exits</h2>' in page
    assert "another plan is made and proposed" in page
    assert f'<a href="/plans/{newest.new_plan}">' in page
    assert re.search(r"net: 50\.0\s% → \d+\.\d\s%, 25\.0\s% → ", page)
    client.deploy(str(newest.new_plan))
    until(lambda: client.drift(newest.id).state == "applied", fleet, (0.9, 0.8))
    assert client.drift(newest.id).applied_as == 2


def test_easier_inputs_are_not_deployed_for_unless_that_is_cheaper(
    start: Callable[..., RunningService], plan: Plan
) -> None:
    service = start(on_drift="apply")
    client, fleet = service.client(), Fleet(service)
    deployed(client, plan)
    until(lambda: client.drifts() and client.drifts()[0].state not in ("planning",), fleet, (0.1, 0.02))
    drift = client.drifts()[0]
    assert not drift.outlooks[0].harder
    assert drift.new_share is not None
    assert drift.state == ("applied" if drift.new_share < drift.share else "kept")


@pytest.mark.parametrize("how", ["setting", "deployment"])
def test_whoever_ignores_drift_is_told_and_nothing_is_planned(
    start: Callable[..., RunningService], plan: Plan, how: str
) -> None:
    service = start(on_drift="ignore" if how == "setting" else "apply")
    client, fleet = service.client(), Fleet(service)
    deployed(client, plan, on_drift=None if how == "setting" else "ignore")
    until(lambda: any(kind.drifted for kind in client.exits().outlooks), fleet, (0.9, 0.8))
    assert client.exits().on_drift == "ignore"
    assert (client.drifts(), client.runs()) == ([], [])


def test_a_plan_that_does_not_fit_is_said_and_the_old_one_goes_on(
    start: Callable[..., RunningService], plan: Plan
) -> None:
    service = start(on_drift="apply")
    client, fleet = service.client(), Fleet(service)
    deployed(client, plan)
    # From now on the node has just what the plan in hand needs.
    current = client.deployment()
    assert current is not None
    register(fleet.http, gpus=max(int(worker.gpu.rsplit("-", 1)[1]) for worker in current.workers) + 1)
    until(lambda: client.drifts() and client.drifts()[0].state != "planning", fleet, (1.0, 1.0))
    drift = client.drifts()[0]
    assert (drift.state, drift.applied_as) == ("failed", None)
    assert "the live nodes have" in str(drift.detail)
    after = client.deployment()
    assert after is not None
    assert after.generation == 1


def test_rolling_back_is_not_undone_by_the_service(start: Callable[..., RunningService], plan: Plan) -> None:
    service = start(on_drift="apply")
    client, fleet = service.client(), Fleet(service)
    deployed(client, plan)
    until(lambda: client.drifts() and client.drifts()[0].state == "applied", fleet, (0.9, 0.8))
    back = client.roll_back(1)
    assert back.on_drift == "propose"
    until(
        lambda: any(d.generation == back.generation and d.state == "proposed" for d in client.drifts()),
        fleet,
        (0.9, 0.8),
    )
    now = client.deployment()
    assert now is not None
    assert now.generation == back.generation


def test_a_plan_without_exits_sees_nothing(start: Callable[..., RunningService]) -> None:
    service = start()
    client, fleet = service.client(), Fleet(service)
    bare = replace(PROFILE, exits=None)
    client.create_workload(WORKLOAD)
    client.create_profile(bare)
    client.deploy(client.create_plan(make_plan(WORKLOAD, [bare], strategy="gslice")).id)
    until(lambda: service_windows(service) >= 2, fleet, (0.9, 0.8))
    assert client.exits().outlooks == []


@pytest.mark.parametrize(
    ("exits", "place"),
    [
        ([{"gateway": "g", "generation": 1, "fragments": {"f": {"answered": -1, "left": {}}}}], "answered"),
        ([{"gateway": "g", "generation": 1, "fragments": {"f": {"answered": 1, "left": {"x": 1}}}}], "left"),
        ([{"gateway": "g", "fragments": {}}], "generation"),
    ],
)
def test_counts_that_cannot_be_are_refused(service: RunningService, exits: list[Any], place: str) -> None:
    http = service.http("agent")
    node = register(http)
    answer = http.put(f"/v1/nodes/{node}/status", json={"generation": 0, "workers": [], "exits": exits})
    assert answer.status_code == 422
    assert any(place in item["place"] for item in answer.json()["errors"])
