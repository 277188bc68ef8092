"""The command line on files alone: results, error messages and exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from planner import formats
from planner.workload import Gpu, Workload
from tests.commands import regraft
from tests.profiles import make_profile, make_workload


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with a workload and profiles of its two models."""
    profiles = [make_profile("net", layers=8), make_profile("other", layers=5, seed=1)]
    formats.write(make_workload(profiles, fragments=8), tmp_path / "workload.json")
    for profile in profiles:
        formats.write(profile, tmp_path / f"{profile.model}.json")
    return tmp_path


def started(folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """What the command does as a process of its own."""
    command = [sys.executable, "-c", "from api.command_line import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, cwd=folder, check=False)


PROFILES = ("--profile", "net.json", "--profile", "other.json")


def change(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("strategy", ["gslice", "gslice+", "graft", "optimal-one", "optimal"])
def test_a_plan_is_made_and_the_verifier_accepts_it(files: Path, strategy: str) -> None:
    arguments = ("--strategy", strategy, "--time-limit", "10", "--output", "plan.json")
    made = started(files, "plan", "workload.json", *PROFILES, *arguments)
    assert made.returncode == 0, made.stderr.decode()
    plan = json.loads((files / "plan.json").read_text())
    assert plan["format"] == "regraft.plan/v1"
    assert plan["strategy"] == strategy
    assert {route["fragment"] for route in plan["routes"]} == {f"phone-{n}" for n in range(8)}
    verified = regraft(files, "verify", "plan.json", "--workload", "workload.json", *PROFILES)
    assert verified.returncode == 0, verified.stdout.decode()
    assert json.loads(verified.stdout) == {"format": "regraft.verdict/v1", "valid": True, "violations": []}


def test_standard_input_and_output_do_for_files(files: Path) -> None:
    workload = (files / "workload.json").read_bytes()
    made = regraft(files, "plan", "-", *PROFILES, "--strategy", "gslice", "--output", "-", stdin=workload)
    assert made.returncode == 0, made.stderr.decode()
    verified = regraft(files, "verify", "-", "--workload", "workload.json", *PROFILES, stdin=made.stdout)
    assert verified.returncode == 0


@pytest.mark.parametrize("command", ["plan", "verify"])
def test_where_every_budget_goes_is_shown_as_a_table_and_as_json(files: Path, command: str) -> None:
    made = regraft(
        files, "plan", "workload.json", *PROFILES, "--strategy", "graft", "--output", "plan.json", "--explain"
    )
    if command == "plan":
        answer = json.loads(made.stdout)
        assert answer["format"] == "regraft.budgets/v1"
        routes = answer["routes"]
    else:
        made = regraft(files, "verify", "plan.json", "--workload", "workload.json", *PROFILES, "--explain")
        answer = json.loads(made.stdout)
        assert answer["valid"] is True
        routes = answer["budgets"]
    assert made.returncode == 0
    plan = json.loads((files / "plan.json").read_text())
    assert [route["fragment"] for route in routes] == [route["fragment"] for route in plan["routes"]]
    for route in routes:
        parts = ("alignment_wait_ms", "alignment_run_ms", "shared_wait_ms", "shared_run_ms", "slack_ms")
        assert sum(route[part] for part in parts) == pytest.approx(route["budget_ms"])
        assert route["slack_ms"] >= -1e-6
    table = made.stderr.decode()
    assert all(f"phone-{n}" in table for n in range(8))
    assert all(head in table for head in ("alignment wait", "shared run", "slack"))


def test_a_plan_on_standard_output_stays_a_plan_when_it_is_explained(files: Path) -> None:
    made = regraft(
        files, "plan", "workload.json", *PROFILES, "--strategy", "gslice", "--output", "-", "--explain"
    )
    assert json.loads(made.stdout)["format"] == "regraft.plan/v1"
    assert "slack" in made.stderr.decode()


def test_a_broken_plan_is_explained_as_far_as_it_can_be(files: Path) -> None:
    regraft(files, "plan", "workload.json", *PROFILES, "--strategy", "gslice", "--output", "plan.json")
    plan = json.loads((files / "plan.json").read_text())
    plan["routes"][0]["stages"] = ["nowhere"]
    plan["stages"][1]["exec_ms"] += 1000
    (files / "plan.json").write_text(json.dumps(plan))
    late = {route["fragment"] for route in plan["routes"] if plan["stages"][1]["id"] in route["stages"]}
    verified = regraft(files, "verify", "plan.json", "--workload", "workload.json", *PROFILES, "--explain")
    assert verified.returncode == 1
    answer = json.loads(verified.stdout)
    assert not answer["valid"]
    assert len(answer["budgets"]) == 7
    assert {route["fragment"] for route in answer["budgets"] if route["slack_ms"] < 0} == late


def test_a_broken_plan_is_refused_with_law_place_and_amount(files: Path) -> None:
    regraft(files, "plan", "workload.json", *PROFILES, "--strategy", "gslice", "--output", "plan.json")
    plan = json.loads((files / "plan.json").read_text())
    plan["stages"][0]["exec_ms"] += 1
    (files / "plan.json").write_text(json.dumps(plan))
    verified = regraft(files, "verify", "plan.json", "--workload", "workload.json", *PROFILES)
    assert verified.returncode == 1
    (violation,) = json.loads(verified.stdout)["violations"]
    assert (violation["law"], violation["place"], violation["unit"]) == ("stage", "stages[0] (s0)", "ms")
    assert violation["by"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("workload.json", {"format": "regraft.plan/v1"}, "workload.json: format: is 'regraft.plan/v1'"),
        ("workload.json", {"fragments": []}, "workload.json: fragments: is empty"),
        ("net.json", {"shares": [5]}, "net.json: latency_ms[0][0]: has 20 cells"),
        ("net.json", {"model": "another"}, "fragments[0].model: no profile of 'net' was given"),
        ("other.json", {"model": "net"}, "a profile of net on v100 was already given by net.json"),
    ],
)
def test_wrong_input_ends_with_2_names_file_and_place_and_writes_nothing(
    files: Path, name: str, changes: dict[str, Any], message: str
) -> None:
    change(files / name, **changes)
    made = regraft(files, "plan", "workload.json", *PROFILES, "--strategy", "gslice", "--output", "plan.json")
    assert made.returncode == 2
    assert message in made.stderr.decode()
    assert made.stdout == b""
    assert not (files / "plan.json").exists()


def test_a_start_beyond_the_model_and_an_unknown_strategy_are_input_errors(files: Path) -> None:
    fragment = {"id": "x", "model": "net", "start": 8, "budget_ms": 10, "rate_rps": 1}
    change(files / "workload.json", fragments=[fragment])
    made = regraft(files, "plan", "workload.json", *PROFILES, "--output", "plan.json")
    assert made.returncode == 2
    said = "workload.json (with the profiles given): fragments[0].start: is 8, but net has 8 layers (0 to 7)"
    assert said in made.stderr.decode()
    made = regraft(files, "plan", "workload.json", *PROFILES, "--strategy", "best", "--output", "plan.json")
    assert made.returncode == 2
    assert "strategy: is 'best' (one of gslice" in made.stderr.decode()


def test_no_plan_ends_with_3_and_says_why_as_json(files: Path) -> None:
    workload = formats.read(Workload, files / "workload.json")
    hasty = {"id": "hasty", "model": "net", "start": 0, "budget_ms": 0.01, "rate_rps": 1}
    fragments = [*formats.to_json(workload)["fragments"], hasty]
    change(files / "workload.json", fragments=fragments)
    arguments = ("plan", "workload.json", *PROFILES, "--strategy", "gslice", "--output", "plan.json")
    made = regraft(files, *arguments)
    assert made.returncode == 3
    assert not (files / "plan.json").exists()
    (reason,) = json.loads(made.stdout)["unplanned"]
    assert (reason["fragment"], reason["reason"]) == ("hasty", "budget_too_small")
    assert reason["detail"]["least_possible_ms"] > 0.01

    partial = regraft(files, *arguments, "--infeasible", "partial")
    assert partial.returncode == 0
    plan = json.loads((files / "plan.json").read_text())
    assert [item["fragment"] for item in plan["unplanned"]] == ["hasty"]
    assert len({route["fragment"] for route in plan["routes"]}) == 8


def test_a_plan_that_does_not_fit_the_gpus_ends_with_3_and_names_what_is_short(files: Path) -> None:
    workload = formats.read(Workload, files / "workload.json")
    many = [{**item, "rate_rps": 500.0} for item in formats.to_json(workload)["fragments"]]
    gpu = formats.to_json(
        Workload(fragments=workload.fragments, gpus=(Gpu(id="g", type="v100", memory_mb=1.0),))
    )
    change(files / "workload.json", fragments=many, gpus=gpu["gpus"])
    made = regraft(files, "plan", "workload.json", *PROFILES, "--strategy", "gslice", "--output", "plan.json")
    assert made.returncode == 3
    answer = json.loads(made.stdout)
    assert answer["status"] == "does_not_fit"
    assert {"stage", "instances", "share_needed_by_all_pct", "share_there_pct"} <= set(answer["missing"][0])


def test_with_gpus_the_plan_is_placed(files: Path) -> None:
    gpus = [{"id": f"gpu-{n}", "type": "v100", "memory_mb": 16384} for n in range(40)]
    change(files / "workload.json", gpus=gpus)
    made = regraft(files, "plan", "workload.json", *PROFILES, "--strategy", "graft", "--output", "plan.json")
    assert made.returncode == 0, made.stderr.decode()
    plan = json.loads((files / "plan.json").read_text())
    assert len(plan["placement"]) == sum(stage["instances"] for stage in plan["stages"])
    assert plan["objective"]["gpus"] == len({item["gpu"] for item in plan["placement"]})
    assert regraft(files, "verify", "plan.json", "--workload", "workload.json", *PROFILES).returncode == 0


def test_strategies_are_compared_on_the_same_files(files: Path) -> None:
    arguments = ("--strategies", "gslice,graft,optimal-one", "--time-limit", "10", "--output", "result.json")
    compared = regraft(files, "compare", "workload.json", *PROFILES, *arguments)
    assert compared.returncode == 0, compared.stderr.decode()
    result = json.loads((files / "result.json").read_text())
    shares = {row["strategy"]: row["share"] for row in result["rows"]}
    assert shares["optimal-one"] <= shares["graft"] <= shares["gslice"]
    assert result["best_lower_bound"] <= shares["optimal-one"]
    assert "optimal-one" in compared.stdout.decode()
