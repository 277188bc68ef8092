"""The pages in a real browser: the whole path, and whether everybody can use them.

Screenshots of the run are kept in build/screenshots.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from api import packing
from api.settings import Settings
from planner import formats
from planner.plan import Placed, Plan
from planner.planning import make_plan
from planner.problem import PlanSettings
from planner.workload import Gpu
from tests.api.pages.conftest import shoot
from tests.api.pages.fakes import FakeAgent, FakeGateway, gateway_metrics
from tests.api.service import RunningService
from tests.profiles import make_profile, make_workload

if TYPE_CHECKING:
    from playwright.sync_api import Page

Opener = Callable[..., "Page"]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def gateway() -> Iterator[FakeGateway]:
    started = FakeGateway()
    yield started
    started.stop()


@pytest.fixture(scope="module")
def service(
    sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory, gateway: FakeGateway
) -> Iterator[RunningService]:
    """A service that solves two runs at a time and asks a gateway what it observed."""
    path = tmp_path_factory.mktemp("browser") / "regraft.sqlite"
    shutil.copy(sqlite_template, path)
    settings = Settings(database=f"sqlite:///{path}", run_workers=2, gateways=gateway.address)
    running = RunningService(settings)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def key(service: RunningService) -> str:
    return service.key("read", "plan", "deploy")


def sign_in(page: Page, service: RunningService, key: str) -> Page:
    page.goto(service.address)
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/runs")
    return page


@pytest.fixture(scope="module")
def state(service: RunningService, key: str, browser: object) -> object:
    """The cookies of somebody who is signed in."""
    context = browser.new_context()  # type: ignore[attr-defined]
    page = context.new_page()
    sign_in(page, service, key)
    kept = context.storage_state()
    context.close()
    return kept


def test_submit_watch_compare_deploy_and_roll_back(
    service: RunningService, gateway: FakeGateway, key: str, open_page: Opener
) -> None:
    page = open_page()
    page.goto(service.address)
    shoot(page, "01-sign-in")
    page.get_by_label("API key").fill("rg_00000000_wrong")
    page.get_by_role("button", name="Sign in").click()
    assert "not valid" in page.get_by_role("alert").inner_text()
    sign_in(page, service, key)
    page.get_by_role("heading", name="No runs yet").wait_for()
    shoot(page, "02-nothing-yet")

    # Submit: the demo's workload needs nothing but a click.
    page.get_by_role("link", name="Submit a workload").first.click()
    # More than the search takes, also where this machine is busy: its plan has to be another than `gslice`'s.
    page.get_by_label("Seconds each may search").fill("15")
    shoot(page, "03-submit")
    page.get_by_role("button", name="Plan it").click()

    # Watch: the page follows by itself until all have ended.
    page.wait_for_url("**/compare/**")
    page.locator("#live:not([data-refresh])").wait_for(timeout=120_000)
    table = page.get_by_role("region", name="Strategies")
    assert table.get_by_text("succeeded").count() == 3
    assert page.locator("svg.flow").count() >= 3
    shoot(page, "04-compare")

    # Compare: what changes from one plan to another.
    page.get_by_role("button", name="Show").click()
    # The page before has a heading that begins with the same words: the address says that it has gone.
    page.wait_for_url("**/compare/plans?**")
    page.get_by_role("heading", name="What changes", exact=True).wait_for()
    assert page.get_by_text("added", exact=True).count() > 0
    shoot(page, "05-what-changes")
    page.go_back()

    # Deploy: not possible without a node, and then it is.
    plan_links = table.get_by_role("link", name=re.compile("^plan "))
    first, second = (plan_links.nth(n).get_attribute("href") for n in (0, 2))
    page.goto(service.address + str(first))
    assert page.get_by_role("button", name="Deploy").is_disabled()
    page.get_by_text("No node is live").wait_for()
    agent = FakeAgent(service.http("agent"))
    try:
        for generation, plan in enumerate((first, second), start=1):
            page.goto(service.address + str(plan))
            page.get_by_role("button", name="Deploy").click()
            page.wait_for_url(f"**/nodes?deployed={generation}")
            page.get_by_text("The one to run".lower()).first.wait_for()
        # What runs: it refreshes by itself until every instance runs.
        page.wait_for_function("() => !document.querySelector('#live .alert, #live .told')")
        deployed = service.client().deployment(2)
        assert deployed is not None
        assert deployed.not_running == []
        fragments = service.client().plan(str(second).rsplit("/", 1)[1]).routes
        workload = service.client().workload(service.client().workloads()[0].id)
        routes = [
            {"fragment": item.id, "model": item.model, "start": item.start}
            for item in workload.fragments
            if item.id in {route.fragment for route in fragments}
        ]
        gateway.text = gateway_metrics(routes, late="resnet18-0")
        late = page.get_by_role("row", name=re.compile("^resnet18-0 "))
        late.get_by_text("90.0").wait_for()
        assert "20.0" in late.inner_text()  # half of all answers within 20 ms
        shoot(page, "06-what-runs")

        # Roll back: a new generation of the first plan.
        page.get_by_role("button", name="Roll back to 1").click()
        page.wait_for_url("**/nodes?deployed=3")
        current = service.client().deployment()
        assert current is not None
        assert (current.generation, current.rollback_of) == (3, 1)
        assert current.plan == str(first).rsplit("/", 1)[1]
        page.get_by_text("as in 1").wait_for()
        shoot(page, "07-rolled-back")
    finally:
        agent.stop()
    entries = service.http("deploy").get("/v1/audit").json()["items"]
    done = [entry["action"] for entry in entries if entry["action"] in ("deploy", "rollback")]
    assert done == ["rollback", "deploy", "deploy"]


def test_a_running_solve_is_followed_live_and_stopped(
    service: RunningService, state: object, open_page: Opener
) -> None:
    profile = make_profile("deep", "cpu", layers=30, seed=5)
    workload = make_workload([profile], fragments=30, seed=5)
    client = service.client()
    run = client.submit_run(
        workload=client.create_workload(workload),
        profiles=[client.create_profile(profile)],
        strategy="optimal",
        time_limit_s=300,
    )
    page = open_page(state=state)
    page.goto(f"{service.address}/runs/{run.id}")
    objective, bound = page.locator("[data-live=objective]"), page.locator("[data-live=bound]")
    number = re.compile(r"\d")
    page.wait_for_function(
        "() => /\\d/.test(document.querySelector('[data-live=bound]').textContent)", timeout=60_000
    )
    page.locator("svg.closing").wait_for(timeout=60_000)
    assert number.search(objective.inner_text())
    assert number.search(bound.inner_text())
    shoot(page, "08-live-run")
    page.get_by_role("button", name="Stop and keep the best plan").click()
    page.get_by_role("link", name="See the plan").wait_for(timeout=60_000)
    assert client.run(run.id).state in ("stopped", "succeeded")
    shoot(page, "09-stopped-run")
    page.get_by_role("link", name="See the plan").click()
    page.get_by_role("heading", name="How fragments flow").wait_for()


def test_errors_stand_where_they_are(service: RunningService, state: object, open_page: Opener) -> None:
    page = open_page(state=state)
    page.goto(f"{service.address}/submit")
    page.get_by_label("Paste", exact=True).check()
    text = page.get_by_label("Workload, as JSON")
    text.fill(
        '{"format": "regraft.workload/v1",\n "fragments": [\n'
        '  {"id": "a", "model": "resnet18", "start": 0, "budget_ms": 50, "rate_rps": 1},\n'
        '  {"id": "b", "model": "resnet18", "start": 0, "budget_ms": -3, "rate_rps": 1}\n ]}'
    )
    page.get_by_label("Seconds each may search").fill("soon")
    page.get_by_role("button", name="Plan it").click()
    summary = page.get_by_role("alert")
    summary.wait_for()
    # Whoever hears the page is led to the summary, and from there to the field.
    assert page.evaluate("document.activeElement.id") == "errors"
    assert "fragments[1].budget_ms" in summary.inner_text()
    assert "-3" in page.locator(".excerpt .here").first.inner_text()
    assert page.locator(".excerpt .here").first.inner_text().split()[0] == "4"
    assert text.input_value().startswith("{")  # what was typed is still there
    assert page.get_by_label("Seconds each may search").get_attribute("aria-invalid") == "true"
    shoot(page, "10-errors")
    text.fill('{"format": "regraft.workload/v1",\n "fragments": [,]}')
    page.get_by_role("button", name="Plan it").click()
    page.get_by_text("line 2").first.wait_for()


def test_everything_can_be_done_by_keyboard(service: RunningService, key: str, open_page: Opener) -> None:
    page = open_page()
    page.goto(service.address)
    assert page.evaluate("document.activeElement.id") == "key"
    page.keyboard.type(key)
    page.keyboard.press("Enter")
    page.wait_for_url("**/runs")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#main"
    page.goto(f"{service.address}/submit")
    # Every control can be reached, and the focus can be seen on each.
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        name, outline = page.evaluate(
            "[document.activeElement.name || document.activeElement.textContent.trim(),"
            " getComputedStyle(document.activeElement).outlineStyle]"
        )
        reached.add(name)
        assert outline != "none", name
        if name == "Plan it":
            break
    assert {"source", "strategies", "time_limit_s", "queueing", "infeasible", "Plan it"} <= reached


def test_a_screen_reader_finds_nothing_serious_and_nothing_overflows(
    service: RunningService, state: object, open_page: Opener
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    client = service.client()
    plan, run = client.plans()[0], client.runs()[0]
    comparison = service.http("read").get("/v1/comparisons").json()["items"][0]["id"]
    others = [item.id for item in client.plans() if item.id != plan.id]
    paths = {
        "runs": "/runs",
        "run": f"/runs/{run.id}",
        "plans": "/plans",
        "plan": f"/plans/{plan.id}",
        "compare": "/compare",
        "comparison": f"/compare/{comparison}",
        "difference": f"/compare/plans?before={others[0]}&after={plan.id}",
        "nodes": "/nodes",
        "submit": "/submit",
        "nothing": "/nothing",
    }
    found = []
    for width, dark in ((1440, False), (390, True)):
        # Only so that axe may run in the page; that the policy holds, the other tests say.
        page = open_page(width=width, dark=dark, state=state, csp=False)
        # The second time only what differs is looked at: the contrast of the other colours.
        rules = {"runOnly": ["color-contrast", "target-size"]} if dark else None
        for name, path in paths.items():
            page.goto(service.address + path)
            shoot(page, f"{name}-{width}-{'dark' if dark else 'light'}")
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (name, width)
            if dark and name not in ("run", "plan", "nodes", "submit"):
                continue  # these four have all of the colours
            found += [
                (name, width, dark, violation["id"], violation["nodes"][0]["html"][:200])
                for violation in Axe().run(page, options=rules).response["violations"]
            ]
    assert found == []


def big_plan() -> tuple[object, list[object], Plan]:
    """5,000 fragments on some 500 instances, of five models."""
    profiles = [
        make_profile(f"model-{n}", "v100", layers=24, total_ms=4.0, memory=True, seed=n) for n in range(5)
    ]
    gpus = [Gpu(id=f"gpu-{n}", type="v100", memory_mb=80_000.0) for n in range(200)]
    workload = make_workload(
        profiles, fragments=5000, budgets=(4.0, 12.0), rates=(10.0, 90.0), gpus=None, seed=2
    )
    plan = make_plan(workload, profiles, strategy="gslice+", settings=PlanSettings(time_limit_s=5))
    placed, free = [], [100.0] * len(gpus)
    for stage in plan.stages:
        for instance in range(stage.instances):
            place = next((n for n, left in enumerate(free) if left >= stage.share), None)
            if place is not None:
                free[place] -= stage.share
                placed.append(Placed(stage=stage.id, instance=instance, gpu=gpus[place].id))
    return replace(workload, gpus=tuple(gpus)), list(profiles), replace(plan, placement=tuple(placed))


def test_five_thousand_fragments_on_five_hundred_instances_stay_small(
    service: RunningService, state: object, open_page: Opener
) -> None:
    workload, profiles, plan = big_plan()
    assert len({route.fragment for route in plan.routes}) == 5000
    assert sum(stage.instances for stage in plan.stages) >= 400
    with service.database.writing() as store:
        name = formats.digest(workload)  # type: ignore[arg-type]
        store.documents.add_workload(name, workload, packing.pack(workload))  # type: ignore[arg-type]
        ids = []
        for profile in profiles:
            ids.append(formats.digest(profile))  # type: ignore[arg-type]
            store.documents.add_profile(ids[-1], profile, packing.pack(profile))  # type: ignore[arg-type]
        digest = formats.digest(plan)
        store.plans.add_foreign(plan, digest=digest, workload_id=name, profiles=ids, body=packing.pack(plan))
    page = open_page(state=state)
    answer = page.goto(f"{service.address}/plans/{digest}")
    assert answer is not None
    assert len(answer.body()) < 1_000_000
    assert page.evaluate("document.querySelectorAll('*').length") < 8000
    shoot(page, "11-five-thousand")
    # Any of them is found, without the page being loaded again.
    page.evaluate("window.stillTheSame = true")
    page.get_by_label("Find").fill("phone-4711")
    rows = page.get_by_role("region", name="Fragments").get_by_role("row")
    page.wait_for_function("() => document.querySelectorAll('#fragment-rows tbody tr').length === 1")
    assert rows.nth(1).get_by_role("rowheader").inner_text() == "phone-4711"
    page.get_by_label("Find").fill("")
    page.get_by_role("navigation", name="Pages of fragments").get_by_role("link", name="Next").click()
    page.get_by_text("51–100 of").wait_for()
    assert page.evaluate("window.stillTheSame")
