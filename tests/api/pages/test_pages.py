"""What the pages say, without a browser."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from planner import formats
from planner.workload import Fragment, Workload
from tests.api.service import PROFILE, WORKLOAD, RunningService
from tests.api.test_deployments import add_plan


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A service that has a workload and its profile."""

    service: RunningService
    workload: str
    profile: str

    def submit_run(self, strategy: str) -> str:
        run = self.service.client().submit_run(
            workload=self.workload, profiles=[self.profile], strategy=strategy
        )
        return run.id


def stored(service: RunningService) -> Stored:
    client = service.client()
    return Stored(
        service=service, workload=client.create_workload(WORKLOAD), profile=client.create_profile(PROFILE)
    )


def plan_of(service: RunningService, strategy: str) -> str:
    """A plan in the database."""
    return add_plan(service, strategy)


@pytest.fixture(scope="module")
def client(service: RunningService) -> Iterator[httpx.Client]:
    from tests.api.pages.test_guards import sign_in

    with httpx.Client(base_url=service.address, timeout=30) as opened:
        sign_in(opened, service.key("read", "plan", "deploy"))
        yield opened


def submit(client: httpx.Client, **fields: object) -> httpx.Response:
    from tests.api.pages.test_guards import token

    form = {
        "source": "paste",
        "strategies": "graft",
        "time_limit_s": "5",
        "gap_pct": "0",
        "seed": "0",
        "threads": "2",
        "infeasible": "fail",
        "queueing": "plain",
        **fields,
    }
    files = {name: form.pop(name) for name in ("workload_file", "profile_files") if name in form}
    form["csrf"] = token(client.get("/submit").text)
    if files:
        return client.post("/submit", data=form, files=files)
    return client.post("/submit", data=form)


def test_a_workload_and_profiles_as_files(service: RunningService, client: httpx.Client) -> None:
    answer = submit(
        client,
        source="file",
        workload_file=("w.json", formats.dumps(WORKLOAD)),
        profile_files=("p.json", formats.dumps(PROFILE)),
    )
    assert answer.status_code == 303, answer.text
    run = service.client().run(answer.headers["location"].removeprefix("/runs/"))
    assert (run.state, run.strategy, run.workload) == ("queued", "graft", formats.digest(WORKLOAD))


def test_one_form_sent_twice_is_one_run(service: RunningService, client: httpx.Client) -> None:
    fields = {"source": "demo", "once": "a1b2c3"}
    before = len(service.client().runs())
    first, second = submit(client, **fields), submit(client, **fields)
    assert first.headers["location"] == second.headers["location"]
    assert len(service.client().runs()) == before + 1


def test_several_strategies_are_a_comparison(service: RunningService, client: httpx.Client) -> None:
    answer = submit(client, source="demo", strategies=["gslice", "graft"])
    comparison = service.client().comparison(answer.headers["location"].removeprefix("/compare/"))
    assert [row.strategy for row in comparison.rows] == ["gslice", "graft"]
    page = client.get(answer.headers["location"])
    assert "data-refresh" in page.text


def test_what_is_wrong_with_the_limits_is_said_at_each(client: httpx.Client) -> None:
    answer = submit(client, source="demo", strategies=[], time_limit_s="soon", gap_pct="200", seed="-1")
    assert answer.status_code == 422
    for field in ("strategies", "time_limit_s"):
        assert f'id="{field}-wrong"' in answer.text
    answer = submit(client, source="demo", gap_pct="200", seed="-1")
    for field in ("gap_pct", "seed"):
        assert f'id="{field}-wrong"' in answer.text


def test_documents_that_do_not_fit_together_are_refused_with_the_line(client: httpx.Client) -> None:
    other = Workload(fragments=(Fragment(id="a", model="other", start=0, budget_ms=9.0, rate_rps=1.0),))
    deep = Workload(fragments=(Fragment(id="a", model="net", start=40, budget_ms=9.0, rate_rps=1.0),))
    profile = formats.dumps(PROFILE).decode()
    for workload, place in ((other, "fragments[0].model"), (deep, "fragments[0].start")):
        answer = submit(client, workload_text=formats.dumps(workload).decode(), profile_text=profile)
        assert answer.status_code == 422
        assert place in answer.text
        assert 'class="here"' in answer.text


def test_a_hopeless_budget_is_told_with_what_would_help_before_anything_runs(
    service: RunningService, client: httpx.Client
) -> None:
    hasty = Workload(
        fragments=(
            Fragment(id="hasty", model="net", start=0, budget_ms=0.5, rate_rps=1.0),
            Fragment(id="patient", model="net", start=0, budget_ms=500.0, rate_rps=1.0),
        )
    )
    texts = {"workload_text": formats.dumps(hasty).decode(), "profile_text": formats.dumps(PROFILE).decode()}
    before = service.client().runs()
    answer = submit(client, **texts)
    assert answer.status_code == 422
    assert "hasty cannot be planned" in answer.text
    assert "a budget of" in answer.text
    assert service.client().runs() == before
    assert submit(client, **texts, infeasible="partial").status_code == 303


def test_hostile_names_are_text(service: RunningService, client: httpx.Client) -> None:
    name = '"><script>alert(1)</script>'
    hostile = Workload(fragments=(Fragment(id=name, model="net", start=0, budget_ms=500.0, rate_rps=1.0),))
    plan = add_plan(service, "graft", hostile)
    page = client.get(f"/plans/{plan}").text
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page


def test_lists_are_paged(service: RunningService, client: httpx.Client) -> None:
    there = stored(service)
    runs = [there.submit_run("graft") for _ in range(33)]
    first = client.get("/runs").text
    assert runs[-1] in first
    assert runs[0] not in first
    older = first.split('href="/runs?state=&amp;workload=&amp;cursor=')[1].split('"')[0]
    assert runs[0] in client.get(f"/runs?cursor={older}").text
    assert runs[0] in client.get("/runs?state=queued&cursor=" + older).text
    assert "No runs are failed" in client.get("/runs?state=failed").text
