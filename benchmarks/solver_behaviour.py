"""How exact planning behaves: time limits kept, silences, the first plan, and how soon a stop is obeyed.

    python -m benchmarks.solver_behaviour [--limits 1,5,20] [--strategies optimal-one,optimal]

`over` is how much longer than its limit the whole command `regraft plan` took, start of Python, reading and
writing included. In a second run, in this process, a listener measures the longest silence, when it first
heard of a plan, and, told to stop after half of the limit, how long the plan took to come.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from planner import formats
from planner.planning import make_plan
from planner.problem import PlanSettings, Progress
from planner.profile import Profile
from planner.workload import Workload
from tests.profiles import make_profile, make_workload

COLUMNS = ("case", "strategy", "limit s", "over s", "silence s", "first plan s", "stopped in s")
Case = tuple[list[Profile], Workload]


def cases() -> dict[str, Callable[[], Case]]:
    """Workloads by name, made when asked for."""
    five = [make_profile(f"net-{number}", layers=20, seed=number) for number in range(5)]
    deep = make_profile("deep", layers=150, total_ms=60, seed=9)
    fine = make_profile(layers=20)
    return {
        "200 fragments": lambda: ([fine], make_workload([fine], fragments=200)),
        "5 models, 500": lambda: (five, make_workload(five, fragments=500)),
        "150 layers, 300": lambda: ([deep], make_workload([deep], fragments=300)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--limits", default="1,5,20")
    parser.add_argument("--strategies", default="optimal-one,optimal")
    options = parser.parse_args()
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    for name, make in cases().items():
        profiles, workload = make()
        for strategy in options.strategies.split(","):
            for limit_s in (float(limit) for limit in options.limits.split(",")):
                over_s = command_s(profiles, workload, strategy, limit_s) - limit_s
                cells = (over_s, *listened(profiles, workload, strategy, limit_s))
                shown = " | ".join(f"{cell:.2f}" for cell in cells)
                print(f"| {name} | {strategy} | {limit_s:g} | {shown} |", flush=True)


def command_s(profiles: list[Profile], workload: Workload, strategy: str, limit_s: float) -> float:
    """Seconds of the whole command."""
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        formats.write(workload, here / "workload.json")
        command = [str(Path(sys.executable).parent / "regraft"), "plan", "workload.json"]
        for number, profile in enumerate(profiles):
            formats.write(profile, here / f"{number}.json")
            command += ["--profile", f"{number}.json"]
        command += ["--strategy", strategy, "--time-limit", str(limit_s), "--output", "plan.json"]
        started = time.perf_counter()
        subprocess.run(command, cwd=here, check=True, capture_output=True)
        return time.perf_counter() - started


def listened(
    profiles: list[Profile], workload: Workload, strategy: str, limit_s: float
) -> tuple[float, float, float]:
    """The longest silence, when the first plan was told, and how long after a stop the plan came."""
    started = time.perf_counter()
    heard, first = [started], [0.0]

    def listen(report: Progress) -> None:
        heard.append(time.perf_counter())
        if report.objective is not None and not first[0]:
            first[0] = heard[-1] - started

    stop_s = started + limit_s / 2
    make_plan(
        workload,
        profiles,
        strategy=strategy,
        settings=PlanSettings(time_limit_s=limit_s),
        progress=listen,
        should_stop=lambda: time.perf_counter() > stop_s,
    )
    ended = time.perf_counter()
    heard.append(ended)
    silence = max(later - earlier for earlier, later in itertools.pairwise(heard))
    return silence, first[0], ended - stop_s


if __name__ == "__main__":
    main()
