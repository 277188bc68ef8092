"""After the chaos: is everything there, once, and whole? All of it is asked of the API, as a user would."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx

from api.client_core import EventReader
from api.repositories.runs import FINAL
from planner import formats, laws
from planner.plan import Plan
from tests.api.service import PROFILE, WORKLOAD

Ask = Callable[..., httpx.Response]

ALL_END_WITHIN_S = 240
_FOLLOWS = {"queued": {"running", "stopped", "cancelled"}, "running": {"queued", *FINAL}}


@dataclass
class Asked:
    """What the clients were answered."""

    runs: dict[str, str] = field(default_factory=dict)  # accepted run → the final state it was seen in, or ""
    plans: list[str] = field(default_factory=list)
    generations: dict[int, dict[str, Any]] = field(default_factory=dict)
    # Idempotency-Key → path, body, status, answer
    answers: dict[str, tuple[str, dict[str, Any] | None, int, bytes]] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def next_number(self) -> int:
        """A number that no other request has."""
        with self._lock:
            return next(self._numbers)

    def counts(self) -> dict[str, Any]:
        """For people."""
        return {
            "runs": len(self.runs),
            "states": dict(Counter(self.runs.values())),
            "generations": len(self.generations),
            "answers": len(self.answers),
        }


def census(asked: Asked, ask: Ask) -> list[str]:
    """Everything that is wrong."""
    problems = [*_wait(asked, ask)]
    runs = {run["id"]: run for run in _list(ask, "/v1/plan-runs")}
    if runs.keys() != asked.runs.keys():
        missing, surplus = asked.runs.keys() - runs.keys(), runs.keys() - asked.runs.keys()
        problems.append(f"runs that were accepted and are not there: {missing}; the other way: {surplus}")
    for run in runs.values():
        problems += _run(ask, run, asked.runs.get(run["id"], ""))
        asked.runs[run["id"]] = run["state"]
    problems += _plans(ask, runs)
    problems += _generations(asked, ask)
    problems += _answers(asked, ask)
    return problems


def _wait(asked: Asked, ask: Ask) -> Iterator[str]:
    """Until every run has ended."""
    deadline_s = time.monotonic() + ALL_END_WITHIN_S
    for run in asked.runs:
        while (found := ask("GET", f"/v1/plan-runs/{run}").json())["state"] not in FINAL:
            if time.monotonic() > deadline_s:
                yield f"{run} is still {found['state']}"
                return
            time.sleep(0.3)


def _run(ask: Ask, run: dict[str, Any], seen: str) -> Iterator[str]:
    """One final state, the last of an unbroken history; a reason where there is no plan."""
    name, state = run["id"], run["state"]
    if seen and seen != state:
        yield f"{name} was seen {seen} and is {state}"
    reader = EventReader()
    text = ask("GET", f"/v1/plan-runs/{name}/events?follow=false").text
    events = [event for line in text.splitlines() for event in reader.read(line)]
    if [event.seq for event in events] != list(range(1, len(events) + 1)):
        yield f"{name} has the events {[event.seq for event in events]}"
    states = [event.data["state"] for event in events if event.kind == "state"]
    if [item for item in states if item in FINAL] != [state] or states[-1] != state:
        yield f"{name} is {state}, its history is {states}"
    if states[:1] != ["queued"] or any(
        after not in _FOLLOWS.get(before, ()) for before, after in itertools.pairwise(states)
    ):
        yield f"{name} has the history {states}"
    if (state == "succeeded") != (run["plan"] is not None) and state != "stopped":
        yield f"{name} is {state} and its plan is {run['plan']}"
    if state in ("failed", "infeasible") and not run["failure"]:
        yield f"{name} is {state} without a reason"
    if run["finished_at"] is None:
        yield f"{name} is {state} and never ended"


def _plans(ask: Ask, runs: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Every plan is its run's, and keeps the laws."""
    for info in _list(ask, "/v1/plans"):
        if info["run"] is not None and runs.get(info["run"], {}).get("plan") != info["id"]:
            yield f"{info['id']} says it is {info['run']}'s, which does not know it"
        plan = formats.parse(Plan, ask("GET", f"/v1/plans/{info['id']}/document").content, source=info["id"])
        if formats.digest(plan) != info["digest"] or not laws.verify(plan, WORKLOAD, [PROFILE]).valid:
            yield f"{info['id']} is not what it was"
    made = {run["plan"] for run in runs.values() if run["plan"]}
    stored = {info["id"] for info in _list(ask, "/v1/plans")}
    if not made <= stored:
        yield f"runs have plans that are not there: {made - stored}"


def _generations(asked: Asked, ask: Ask) -> Iterator[str]:
    """1, 2, 3 … without a hole, each as it was answered, with all its plan's instances, and audited once."""
    listed = {item["generation"]: item for item in _list(ask, "/v1/deployments")}
    if sorted(listed) != list(range(1, len(listed) + 1)):
        yield f"the generations are {sorted(listed)}"
    if listed.keys() != asked.generations.keys():
        yield f"generations {listed.keys() ^ asked.generations.keys()} were answered or stored, but not both"
    for number, item in listed.items():
        answered = asked.generations.get(number)
        if answered is not None and {**answered, "current": item["current"]} != item:
            yield f"generation {number} was answered as {answered} and is {item}"
        whole = ask("GET", f"/v1/deployments/{number}").json()
        plan = formats.parse(Plan, ask("GET", f"/v1/plans/{item['plan']}/document").content, source="plan")
        wanted = {(stage.id, n) for stage in plan.stages for n in range(stage.instances)}
        placed = [(worker["stage"], worker["instance"]) for worker in whole["workers"]]
        if set(placed) != wanted or len(placed) != len(wanted):
            yield f"generation {number} places {sorted(placed)} of {sorted(wanted)}"
    audited = Counter(
        int(entry["target"]) for entry in _list(ask, "/v1/audit") if entry["action"] in ("deploy", "rollback")
    )
    if audited != Counter(listed.keys()):
        yield f"the audit log has {audited}"


def _answers(asked: Asked, ask: Ask) -> Iterator[str]:
    """Whatever was answered once is answered the same when asked for again, and done no second time."""
    for key, (path, body, status, content) in asked.answers.items():
        again = ask("POST", path, json=body, headers={"Idempotency-Key": key})
        if (again.status_code, again.content) != (status, content):
            first = f"{status} {content[:200]!r}"
            yield f"{key} {path} was answered {first} and now {again.status_code} {again.text[:200]}"
        if again.headers.get("idempotency-replayed") != "true":
            yield f"{key} {path} was done again"


def _list(ask: Ask, path: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = ask("GET", f"{path}?limit=200{cursor}").json()
        items += page["items"]
        if page["next"] is None:
            return items
        cursor = f"&cursor={page['next']}"
