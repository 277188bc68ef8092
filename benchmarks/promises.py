"""How near simulated p99 are to observed ones: `python -m benchmarks.promises`.

Two models, four phones each that start at layers 0, 4, 8 and 12; profiled, planned for Poisson arrivals,
served, and driven twice with paced and twice with Poisson arrivals. `clocked` are models whose layers take
the same time at every moment (`benchmarks.clocked`), so that what is off is not what the machine did
meanwhile; `torchvision` are regnet_y_400mf and mobilenet_v2 at 128x128. Some 12 minutes each; nothing else
may run.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STARTS = (0, 4, 8, 12)
COLUMNS = ("arrivals", "fragment", "p99 simulated, ms", "observed, ms", "off", "equal runs apart", "")


@dataclass(frozen=True, kw_only=True)
class Case:
    """Two models, the budgets of a phone that leaves all of each to the server, and every phone's rate.

    A model that is `clocked` knows nothing of how fast the processor is.
    """

    models: tuple[str, str]
    budgets_ms: tuple[float, float]
    rate_rps: float
    clocked: bool


CASES = {
    "clocked": Case(
        models=("benchmarks.clocked:regnet", "benchmarks.clocked:mobilenet"),
        budgets_ms=(200.0, 160.0),
        rate_rps=12.0,
        clocked=True,
    ),
    "torchvision": Case(
        models=("regnet_y_400mf:3x128x128", "mobilenet_v2:3x128x128"),
        budgets_ms=(180.0, 150.0),
        rate_rps=14.75,
        clocked=False,
    ),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--seconds", type=float, default=75.0, help="of each load")
    parser.add_argument("--profile-seconds", type=float, default=32.0, help="for each model's profile")
    parser.add_argument("--folder", type=Path, help="keeps profiles, plan and results")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        for name in options.models:
            folder = (options.folder or Path(temporary)) / name
            folder.mkdir(parents=True, exist_ok=True)
            found = measure(CASES[name], folder, options.seconds, options.profile_seconds)
            print("\n".join(table_of(name, found)), flush=True)


def measure(case: Case, folder: Path, seconds: float, profile_seconds: float) -> dict[str, Any]:
    """Profile, plan, serve and drive; gives the result of `regraft bench`."""
    profiles: list[str] = []
    for number, model in enumerate(case.models):
        own = folder / f"profile-{number}"
        _regraft(
            *("profile", model, "--shares", "10,15,20,30", "--batches", "1,2,4", "--neighbour", "--fresh"),
            *("--seconds", f"{profile_seconds:g}", "--output", str(own)),
        )
        [file] = own.glob("*.cpu.json")
        if case.clocked:
            profile = json.loads(file.read_text())
            profile["measured"].pop("yardstick_ms", None)
            file.write_text(json.dumps(profile))
        profiles += ["--profile", str(file)]
    workload = folder / "workload.json"
    workload.write_text(json.dumps({"format": "regraft.workload/v1", "fragments": _fragments(case)}))
    plan, result = folder / "plan.json", folder / "bench.json"
    _regraft(
        *("plan", str(workload), *profiles, "--strategy", "optimal", "--queueing", "poisson"),
        *("--time-limit", "20", "--output", str(plan)),
    )
    arrivals = [word for kind in ("paced", "poisson") for word in ("--arrivals", kind) * 2]
    _regraft(
        *("bench", str(plan), "--workload", str(workload), *profiles, *arrivals),
        *("--seconds", f"{seconds:g}", "--output", str(result)),
    )
    found: dict[str, Any] = json.loads(result.read_text())
    return found


def table_of(name: str, found: dict[str, Any]) -> list[str]:
    """As Markdown, for each kind of arrivals."""
    lines = [f"\n{name}\n", f"| {' | '.join(COLUMNS)} |", "|" + "---|" * len(COLUMNS)]
    for kind in found["judged"]:
        for item in kind["fragments"]:
            cells = (
                kind["arrivals"],
                item["fragment"],
                f"{item['simulated_p99_ms']:.1f}",
                f"{item['observed_p99_ms']:.1f}",
                f"{item['p99_off_pct']:+.1f} %",
                f"{item['runs_apart_pct']:.1f} %",
                item["verdict"],
            )
            lines.append(f"| {' | '.join(cells)} |")
    for run in found["runs"]:
        observed, simulated = run["observed"], run["simulated"]
        slower = ", ".join(f"{stage} {pct:+.1f} %" for stage, pct in run["slower_pct"].items())
        lines.append(
            f"\n{run['arrivals']}: {run['requests']} requests, {100 * observed['on_time_fraction']:.2f} % on "
            f"time; p99 of all simulated {simulated['p99_ms']:.1f} ms, observed {observed['p99_ms']:.1f} ms "
            f"({run['p99_off_pct']:+.1f} %); others used {run['others_busy_pct']:.1f} % of the processor; "
            f"stages against their profiles: {slower}"
        )
    return lines


def _fragments(case: Case) -> list[dict[str, Any]]:
    """Who starts later has less time left."""
    return [
        {
            "id": f"{model.partition(':')[2] if case.clocked else model.partition('_')[0]}-{start}",
            "model": model,
            "start": start,
            "budget_ms": budget_ms * (1.0 - 0.06 * number),
            "rate_rps": case.rate_rps,
        }
        for model, budget_ms in zip(case.models, case.budgets_ms, strict=True)
        for number, start in enumerate(STARTS)
    ]


def _regraft(*arguments: str) -> None:
    """Run one of the project's commands; what it shows goes to standard error."""
    code = "from api.command_line import main; main()"
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, stdout=sys.stderr)


if __name__ == "__main__":
    main()
