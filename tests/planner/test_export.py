"""`regraft export`: a file that other solvers read, with the optimum that `optimal-one` finds."""

from __future__ import annotations

from pathlib import Path

import highspy
import pytest

from planner import formats
from planner.planning import make_plan
from planner.problem import PlanSettings
from planner.workload import Gpu
from tests.commands import regraft
from tests.profiles import make_profile, make_workload
from tests.solver.brute import best_plan


@pytest.fixture
def files(tmp_path: Path) -> Path:
    profile = make_profile("net", layers=4, batches=(1, 4), shares=(20, 50, 100))
    formats.write(profile, tmp_path / "net.json")
    formats.write(make_workload([profile], fragments=6), tmp_path / "workload.json")
    return tmp_path


@pytest.mark.parametrize("suffix", ["lp", "mps"])
def test_another_solver_finds_the_same_optimum(files: Path, suffix: str) -> None:
    done = regraft(files, "export", "workload.json", "--profile", "net.json", "--output", f"program.{suffix}")
    assert done.returncode == 0, done.stderr.decode()
    optimum = optimum_of(files / f"program.{suffix}")
    workload = formats.read(formats.Workload, files / "workload.json")
    plan = make_plan(
        workload,
        formats.read_profiles([files / "net.json"]),
        strategy="optimal-one",
        settings=PlanSettings(time_limit_s=20),
    )
    assert plan.provenance.settings["proof"]["objective"] == pytest.approx(optimum)
    assert plan.objective.share <= optimum * (1 + 1e-9)


def optimum_of(path: Path) -> float:
    highs = highspy.Highs()
    highs.setOptionValue("output_flag", False)
    highs.setOptionValue("mip_rel_gap", 0.0)
    highs.readModel(str(path))
    highs.run()
    return float(highs.getInfo().objective_function_value)


@pytest.mark.parametrize("suffix", ["lp", "mps"])
def test_the_optimum_over_routes_is_the_least_share_of_any_plan(tmp_path: Path, suffix: str) -> None:
    profile = make_profile("net", layers=3, batches=(1, 4), shares=(25, 50, 100))
    workload = make_workload([profile], fragments=4, starts=(0, 1, 2))
    formats.write(profile, tmp_path / "net.json")
    formats.write(workload, tmp_path / "workload.json")
    done = regraft(
        tmp_path, "export", "workload.json", "--profile", "net.json", "--program", "routes",
        "--output", f"routes.{suffix}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    assert optimum_of(tmp_path / f"routes.{suffix}") == pytest.approx(
        best_plan([profile], workload.fragments), abs=1e-6
    )


def test_the_packing_of_a_plan_needs_as_many_gpus_as_its_placement(tmp_path: Path) -> None:
    profile = make_profile("net", layers=4, batches=(1, 4), shares=(20, 50, 100), memory=True)
    gpus = [Gpu(id=f"gpu-{number}", type="v100", memory_mb=16384.0) for number in range(12)]
    workload = make_workload([profile], fragments=6, gpus=gpus)
    plan = make_plan(workload, [profile], strategy="gslice")
    for name, document in (("net", profile), ("workload", workload), ("plan", plan)):
        formats.write(document, tmp_path / f"{name}.json")
    done = regraft(
        tmp_path, "export", "workload.json", "--profile", "net.json", "--program", "packing",
        "--plan", "plan.json", "--output", "packing.lp",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    assert optimum_of(tmp_path / "packing.lp") == pytest.approx(plan.objective.gpus)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--output", "program.txt"), ".lp or .mps"),
        (("--output", "program.lp", "--model", "other"), "one of net"),
        (("--output", "program.lp", "--program", "packing"), "the plan whose instances"),
    ],
)
def test_a_wrong_option_says_what_would_be_right(files: Path, arguments: tuple[str, ...], said: str) -> None:
    done = regraft(files, "export", "workload.json", "--profile", "net.json", *arguments)
    assert done.returncode == 2
    assert said in done.stderr.decode()
    assert not list(files.glob("program.*"))
