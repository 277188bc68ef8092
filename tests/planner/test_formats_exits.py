"""Exits in files: optional, and refused where they cannot be."""

from __future__ import annotations

import json
from typing import Any

import pytest

from planner import formats
from planner.errors import InputError
from planner.planning import prepare
from planner.problem import PlanSettings
from planner.profile import Profile
from planner.workload import Workload
from tests.planner.test_formats import GOLDEN, WORKLOAD, complaints

PROFILE: dict[str, Any] = json.loads((GOLDEN / "profile_exits.json").read_text())


def with_exit(number: int, **changes: Any) -> dict[str, Any]:
    exits = [dict(item) for item in PROFILE["exits"]]
    exits[number].update(changes)
    return {**PROFILE, "exits": exits}


def without(number: int, name: str) -> dict[str, Any]:
    document = with_exit(number)
    del document["exits"][number][name]
    return document


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({**PROFILE, "exits": []}, "exits: is empty"),
        (with_exit(0, layer=0), "exits[0].layer: is 0"),
        (with_exit(1, layer=3), "exits[1].layer: is 3 (a cut point inside the model, 1 to 2)"),
        (with_exit(1, layer=1), "exits[1].layer: is 1, after 1"),
        (with_exit(0, survival=1.5), "exits[0].survival: is 1.5"),
        (with_exit(0, survival=-0.1), "exits[0].survival: is -0.1"),
        (with_exit(1, survival=0.7), "exits[1].survival: is 0.7, above the 0.62 of the exit before"),
        (with_exit(0, quality=2), "exits[0].quality: is 2"),
        (with_exit(0, ramp_ms=[[0.1, 0.1]]), "exits[0].ramp_ms: has 1 rows (expected one for each of the 2"),
        (with_exit(0, ramp_ms=[[0.1], [0.1, 0.1]]), "exits[0].ramp_ms[0]: has 1 cells"),
        (with_exit(0, survivors=[[1.0, 0.0]]), "exits[0].survivors: has 1 rows"),
        (with_exit(0, survivors=[[0.5, 0.5], [0.5, 0.5]]), "exits[0].survivors[1]: has 2 entries"),
        (with_exit(0, survivors=[[0.5, 0.4], [0.2, 0.2, 0.6]]), "exits[0].survivors[0]: adds up to 0.9"),
        (with_exit(0, sigma=0.5), "exits[0].sigma: unknown field"),
        (without(0, "survival"), "exits[0].survival: is required"),
        (without(1, "ramp_ms"), "exits[1].ramp_ms: is required"),
    ],
)
def test_wrong_exits_are_refused_by_place(document: Any, expected: str) -> None:
    assert complaints(Profile, document)[0].startswith(expected)


@pytest.mark.parametrize(
    ("survival", "expected"),
    [
        ([], "fragments[0].survival: is empty"),
        ([0.5, 0.6], "fragments[0].survival[1]: is 0.6, above the 0.5"),
        ([1.2], "fragments[0].survival[0]: is 1.2"),
        (0.5, "fragments[0].survival: is 0.5"),
    ],
)
def test_a_wrong_survival_of_a_fragment_is_refused_by_place(survival: Any, expected: str) -> None:
    fragment = {**WORKLOAD["fragments"][0], "survival": survival}
    assert complaints(Workload, {**WORKLOAD, "fragments": [fragment]})[0].startswith(expected)


def test_survivals_that_do_not_fit_the_profile_are_refused_before_planning() -> None:
    profile = formats.read(Profile, GOLDEN / "profile_exits.json")
    fragment = {**WORKLOAD["fragments"][0], "model": "digits", "survival": [0.5]}
    workload = formats.parse(
        Workload, json.dumps({**WORKLOAD, "fragments": [fragment]}).encode(), source="w.json"
    )
    with pytest.raises(InputError, match=r"survival: has 1 entries .*one for each of the 2 exits"):
        prepare(workload, [profile], PlanSettings())


def test_two_gpu_types_of_one_model_have_the_same_exits() -> None:
    fast = formats.read(Profile, GOLDEN / "profile_exits.json")
    other = with_exit(0, survival=0.5) | {"gpu": "big"}
    slow = formats.parse(Profile, json.dumps(other).encode(), source="p.json")
    workload = {**WORKLOAD, "fragments": [{**WORKLOAD["fragments"][0], "model": "digits"}]}
    demand = formats.parse(Workload, json.dumps(workload).encode(), source="w.json")
    with pytest.raises(InputError, match="cpu and big have different exits"):
        prepare(demand, [fast, slow], PlanSettings())
