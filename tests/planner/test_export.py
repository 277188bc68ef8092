"""`regraft export`: a file that other solvers read, with the optimum that `optimal-one` finds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import highspy
import pytest

from planner import formats
from planner.planning import make_plan
from planner.problem import PlanSettings
from tests.profiles import make_profile, make_workload


def regraft(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from api.command_line import main; main()", "export", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    profile = make_profile("net", layers=4, batches=(1, 4), shares=(20, 50, 100))
    formats.write(profile, tmp_path / "net.json")
    formats.write(make_workload([profile], fragments=6), tmp_path / "workload.json")
    return tmp_path


@pytest.mark.parametrize("suffix", ["lp", "mps"])
def test_another_solver_finds_the_same_optimum(files: Path, suffix: str) -> None:
    done = regraft(files, "workload.json", "--profile", "net.json", "--output", f"program.{suffix}")
    assert done.returncode == 0, done.stderr
    highs = highspy.Highs()
    highs.setOptionValue("output_flag", False)
    highs.readModel(str(files / f"program.{suffix}"))
    highs.run()
    optimum = highs.getInfo().objective_function_value
    workload = formats.read(formats.Workload, files / "workload.json")
    plan = make_plan(
        workload,
        formats.read_profiles([files / "net.json"]),
        strategy="optimal-one",
        settings=PlanSettings(time_limit_s=20),
    )
    assert plan.provenance.settings["proof"]["objective"] == pytest.approx(optimum)
    assert plan.objective.share <= optimum * (1 + 1e-9)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--output", "program.txt"), ".lp or .mps"),
        (("--output", "program.lp", "--model", "other"), "one of net"),
    ],
)
def test_a_wrong_option_says_what_would_be_right(files: Path, arguments: tuple[str, ...], said: str) -> None:
    done = regraft(files, "workload.json", "--profile", "net.json", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert not list(files.glob("program.*"))
