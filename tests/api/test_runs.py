"""Plan runs: submitted, followed, stopped, cancelled; and what survives a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from api.client import Client, ProblemError
from api.repositories.runs import FINAL
from planner import formats, laws
from planner.plan import Plan
from planner.problem import Progress
from planner.workload import Fragment, Workload
from tests.api.service import PROFILE, WORKLOAD, RunningService
from tests.profiles import make_profile

# Solved in hours rather than seconds, so that a test can meet it running.
HARD_PROFILE = make_profile("hard", "cpu", layers=40, seed=3)
HARD_WORKLOAD = Workload(
    fragments=tuple(
        Fragment(
            id=f"p{n}", model="hard", start=(7 * n) % 35, budget_ms=40.0 + 0.37 * n, rate_rps=3.0 + 0.11 * n
        )
        for n in range(400)
    )
)


@pytest.fixture
def documents(service: RunningService) -> tuple[Client, str, str]:
    """A client, and the ids of a stored workload and profile."""
    client = service.client()
    return client, client.create_workload(WORKLOAD), client.create_profile(PROFILE)


def submit_hard(client: Client, seconds: float = 600.0) -> str:
    """A run that takes long; gives its id."""
    workload, profile = client.create_workload(HARD_WORKLOAD), client.create_profile(HARD_PROFILE)
    return client.submit_run(
        workload=workload, profiles=[profile], strategy="optimal", time_limit_s=seconds, threads=1
    ).id


def wait_for(client: Client, run: str, condition: Callable[[str], bool], seconds: float = 60.0) -> str:
    """Wait until a run's state is as wanted; gives the state."""
    deadline = time.monotonic() + seconds
    while not condition(state := client.run(run).state):
        assert time.monotonic() < deadline, f"the run is still {state}"
        time.sleep(0.05)
    return state


def children() -> list[int]:
    """The processes that solve something for this one."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as file:
                    command = file.read()
                with open(f"/proc/{entry}/stat") as file:
                    parent = int(file.read().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
            if b"api.run_child" in command and parent == os.getpid():
                found.append(int(entry))
    return found


def test_a_run_makes_a_verified_plan_and_tells_how_it_went(documents: tuple[Client, str, str]) -> None:
    client, workload, profile = documents
    run = client.submit_run(workload=workload, profiles=[profile], strategy="graft", time_limit_s=10)
    assert run.state in ("queued", "running")
    seen: list[Progress] = []
    run = client.wait_run(run.id, seen.append)
    assert (run.state, run.failure) == ("succeeded", None)
    assert run.plan is not None
    plan = client.plan(run.plan)
    assert laws.verify(plan, WORKLOAD, [PROFILE]).valid
    assert plan.provenance.workload == workload
    assert plan.provenance.profiles == (profile,)
    info = client.plan_info(run.plan)
    assert (info.share, info.digest, info.run) == (plan.objective.share, formats.digest(plan), run.id)
    assert [event.data["state"] for event in client.events(run.id) if event.kind == "state"] == [
        "queued",
        "running",
        "succeeded",
    ]
    assert seen
    assert client.plans(workload=workload)[0].id == run.plan


def test_the_event_stream_can_be_taken_up_after_any_event(
    service: RunningService, documents: tuple[Client, str, str]
) -> None:
    client, workload, profile = documents
    run = client.submit_run(workload=workload, profiles=[profile], strategy="graft")
    client.wait_run(run.id)
    whole = list(client.events(run.id))
    assert [event.seq for event in whole] == list(range(1, len(whole) + 1))
    for after in range(len(whole)):
        assert list(client.events(run.id, after=after)) == whole[after:]
    with service.http().stream("GET", f"/v1/plan-runs/{run.id}/events") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        text = response.read().decode()
    first = text.split("\n\n")[0].splitlines()
    assert first == [
        "event: state",
        f"data: {json.dumps(whole[0].data, separators=(',', ':'))}",
        "id: 1",
    ] or (first[0] == "event: state" and first[2] == "id: 1")
    past_the_end = service.http().get(
        f"/v1/plan-runs/{run.id}/events", headers={"Last-Event-ID": str(len(whole) + 7)}
    )
    assert past_the_end.text == ""


def test_promises_that_cannot_be_kept_are_infeasible_with_reasons(documents: tuple[Client, str, str]) -> None:
    client, _, profile = documents
    fragment = Fragment(id="hopeless", model="net", start=0, budget_ms=0.001, rate_rps=1.0)
    workload = client.create_workload(Workload(fragments=(fragment,)))
    run = client.submit_run(workload=workload, profiles=[profile], strategy="graft")
    run = client.wait_run(run.id)
    assert run.state == "infeasible"
    assert run.plan is None
    assert run.failure is not None
    assert run.failure.reasons[0]["fragment"] == "hopeless"


def test_input_that_does_not_fit_together_fails_with_its_place(documents: tuple[Client, str, str]) -> None:
    client, _, profile = documents
    fragment = Fragment(id="a", model="another model", start=0, budget_ms=100.0, rate_rps=1.0)
    workload = client.create_workload(Workload(fragments=(fragment,)))
    run = client.submit_run(workload=workload, profiles=[profile], strategy="graft")
    run = client.wait_run(run.id)
    assert run.state == "failed"
    assert run.failure is not None
    assert run.failure.code == "invalid_input"
    assert run.failure.errors[0].place == "fragments[0].model"


def test_what_a_run_names_must_exist(documents: tuple[Client, str, str]) -> None:
    client, _, _ = documents
    with pytest.raises(ProblemError) as refused:
        client.submit_run(workload="w", profiles=["p", "q"], strategy="s", queueing="t")
    assert refused.value.problem.status == 422
    places = [item.place for item in refused.value.problem.errors]
    assert places == ["workload", "profiles[0]", "profiles[1]", "strategy", "queueing"]
    with pytest.raises(ProblemError) as refused:
        client.compare(workload="w", profiles=["p"], strategies=["graft"])
    assert refused.value.problem.status == 404
    assert [item.place for item in refused.value.problem.errors] == ["workload", "profiles[0]"]
    assert client.runs() == []


def test_strategies_are_compared_side_by_side(documents: tuple[Client, str, str]) -> None:
    client, workload, profile = documents
    asked = client.compare(workload=workload, profiles=[profile], strategies=["gslice", "graft"])
    assert [row.strategy for row in asked.rows] == ["gslice", "graft"]
    done = client.wait_comparison(asked.id)
    assert done.done
    gslice, graft = done.rows
    assert gslice.share is not None
    assert graft.share is not None
    assert graft.share <= gslice.share
    assert client.comparison(asked.id) == done

    differences = client.differences(asked.id)
    assert (differences.baseline, differences.plan) == ("gslice", gslice.plan)
    same, other = (row.difference for row in differences.rows)
    assert same is not None
    assert (same.added, same.removed, same.restarted, same.rerouted) == ([], [], [], [])
    assert other == client.diff(str(gslice.plan), str(graft.plan))
    assert client.differences(asked.id, baseline="graft").plan == graft.plan
    with pytest.raises(ProblemError, match="no plan of the strategy 'optimal'"):
        client.differences(asked.id, baseline="optimal")


def test_a_comparison_without_plans_has_no_differences(start_service: Callable[..., RunningService]) -> None:
    client = start_service(run_workers=0).client()
    workload, profile = client.create_workload(WORKLOAD), client.create_profile(PROFILE)
    asked = client.compare(workload=workload, profiles=[profile], strategies=["gslice", "graft"])
    differences = client.differences(asked.id)
    assert (differences.baseline, [row.difference for row in differences.rows]) == (None, [None, None])


def test_a_queued_run_is_ended_at_once(start_service: Callable[..., RunningService]) -> None:
    client = start_service(run_workers=0).client()
    for act, state in ((client.stop_run, "stopped"), (client.cancel_run, "cancelled")):
        run = submit_hard(client)
        assert act(run).state == state
        assert [event.data["state"] for event in client.events(run)] == ["queued", state]
        assert client.cancel_run(run).state == state


def test_cancelling_kills_the_solve_and_keeps_nothing(service: RunningService) -> None:
    client = service.client()
    run = submit_hard(client)
    wait_for(client, run, lambda state: state == "running")
    client.cancel_run(run)
    ended = client.wait_run(run)
    assert (ended.state, ended.plan) == ("cancelled", None)
    deadline = time.monotonic() + 10
    while children():
        assert time.monotonic() < deadline, "the solve's process is still there"
        time.sleep(0.05)


def test_stopping_keeps_the_best_plan_so_far(start_service: Callable[..., RunningService]) -> None:
    client = start_service(stop_grace_s=60.0).client()
    run = submit_hard(client)
    seen = []
    for event in client.events(run):
        if event.kind == "progress" and event.data["objective"] is not None:
            seen.append(event.data["objective"])
            if len(seen) == 3:
                break
    client.stop_run(run)
    ended = client.wait_run(run)
    assert ended.state == "stopped"
    plan = client.plan(str(ended.plan))
    assert plan.strategy == "optimal"
    assert plan.objective.share <= min(seen) + 1e-6
    assert laws.verify(plan, HARD_WORKLOAD, [HARD_PROFILE]).valid


def deaf(_problem: object, _settings: object, _progress: object) -> None:
    """A strategy that never ends, whatever it is told."""
    threading.Event().wait()


def test_a_search_that_does_not_listen_hands_in_the_heuristics_plan() -> None:
    program = (
        "from planner.planning import STRATEGIES; STRATEGIES['deaf'] = 'tests.api.test_runs:deaf'; "
        "from api.run_child import main; main(0)"
    )
    job = {
        "workload": formats.to_json(WORKLOAD),
        "profiles": [formats.to_json(PROFILE)],
        "strategy": "deaf",
        "settings": {"time_limit_s": 600.0},
    }
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(json.dumps(job).encode() + b"\nstop 1.0\n")
        child.stdin.flush()
        last = json.loads(child.stdout.readlines()[-1])
    assert last["kind"] == "plan"
    plan = formats.parse(Plan, json.dumps(last["plan"]).encode(), source="the child")
    assert plan.strategy == "graft"
    assert laws.verify(plan, WORKLOAD, [PROFILE]).valid


def test_a_solve_that_is_killed_is_begun_again_and_then_given_up(
    start_service: Callable[..., RunningService],
) -> None:
    client = start_service(run_attempts=2).client()
    run = submit_hard(client)
    killed: set[int] = set()
    deadline = time.monotonic() + 90
    while client.run(run).state not in FINAL:
        for child in set(children()) - killed:
            os.kill(child, signal.SIGKILL)
            killed.add(child)
        assert time.monotonic() < deadline
        time.sleep(0.05)
    ended = client.run(run)
    assert (ended.state, ended.attempts, len(killed)) == ("failed", 2, 2)
    assert ended.failure is not None
    assert ended.failure.code == "process_lost"
    assert "signal 9" in ended.failure.detail


def test_a_solve_that_does_not_end_is_killed(start_service: Callable[..., RunningService]) -> None:
    client = start_service(overtime_s=0).client()
    run = submit_hard(client, seconds=0.001)
    ended = client.wait_run(run)
    assert ended.state == "failed"
    assert ended.failure is not None
    assert ended.failure.code == "overtime"


def test_stopping_the_service_puts_its_run_back_for_the_next_one(
    start_service: Callable[..., RunningService],
) -> None:
    first = start_service()
    client = first.client()
    run = submit_hard(client)
    wait_for(client, run, lambda state: state == "running")
    first.stop()
    second = start_service(run_workers=0).client()
    again = second.run(run)
    assert (again.state, again.attempts) == ("queued", 0)
    second.cancel_run(run)


def test_a_plan_is_read_as_it_was_made(service: RunningService, documents: tuple[Client, str, str]) -> None:
    client, workload, profile = documents
    run = client.wait_run(client.submit_run(workload=workload, profiles=[profile], strategy="gslice").id)
    document = service.http().get(f"/v1/plans/{run.plan}/document").content
    assert formats.parse(Plan, document, source="the service") == client.plan(str(run.plan))
    assert client.workload(workload) == WORKLOAD
    assert client.profile(profile) == PROFILE


def test_a_solve_that_takes_too_much_memory_ends_with_that_reason(
    start_service: Callable[..., RunningService],
) -> None:
    client = start_service(run_memory_mb=120).client()
    ended = client.wait_run(submit_hard(client))
    assert (ended.state, ended.attempts, ended.plan) == ("failed", 1, None)
    assert ended.failure is not None
    assert ended.failure.code == "out_of_memory"
    assert "120 MB" in ended.failure.detail
