"""How `--strategy optimal` grows from a thousand phones to a million: time, memory and gap.

    python -m benchmarks.planner_million [--rows 1000,10000,100000,1000000] [--counts 1] [--limit 60]

Different fragments over five models of 20 layers, 6 batches and 20 shares: any start of the first four
fifths, budgets of 1.5 to 6 times the least possible, 1 to 30 requests a second. With `--counts n` every
fragment is n phones. Files are made, then `regraft plan` is run on them as a user would: `seconds` is all of
it, reading, planning, verifying and writing included, `processor` what it got of the machine in that time,
`memory` its peak. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from planner import formats
from planner.menu import Menu
from tests.profiles import make_profile

COLUMNS = ("rows", "phones", "share", "bound", "gap", "stages", "seconds", "processor", "memory, GB")
MODELS, LAYERS = 5, 20


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", default="1000,10000,100000,1000000")
    parser.add_argument("--counts", type=int, default=1, help="phones of every row")
    parser.add_argument("--limit", type=float, default=60.0, help="--time-limit of `regraft plan`")
    options = parser.parse_args()
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    for rows in (int(rows) for rows in options.rows.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            print(_row(Path(folder), rows, options.counts, options.limit), flush=True)


def _row(folder: Path, rows: int, counts: int, limit_s: float) -> str:
    profiles = _write(folder, rows, counts)
    start = "from api.command_line import main; main()"
    command = [sys.executable, "-c", start, "plan", str(folder / "workload.json")]
    for profile in profiles:
        command += ["--profile", str(profile)]
    command += ["--time-limit", str(limit_s), "--output", str(folder / "plan.json")]
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    plan = json.loads((folder / "plan.json").read_bytes())
    cells = (
        rows,
        rows * counts,
        f"{plan['objective']['share']:.0f}",
        f"{plan['lower_bound']:.0f}",
        f"{plan['gap']:.2%}",
        len(plan["stages"]),
        f"{seconds:.1f}",
        f"{processor:.1f}",
        f"{after.ru_maxrss / 1e6:.2f}",  # of the largest child so far: rows have to rise
    )
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def _write(folder: Path, rows: int, counts: int) -> list[Path]:
    """The workload and the profiles as files."""
    made = [make_profile(f"net{n}", layers=LAYERS, total_ms=8.0 + 3 * n, seed=n) for n in range(MODELS)]
    paths = [folder / f"profile{n}.json" for n in range(MODELS)]
    for profile, path in zip(made, paths, strict=True):
        formats.write(profile, path)
    rng = np.random.default_rng(0)
    model, start = np.arange(rows) % MODELS, rng.integers(0, LAYERS * 4 // 5, rows)
    least = np.array([Menu([profile]).least_time_ms for profile in made])[model, start]
    budget = np.round(least * rng.uniform(1.5, 6.0, rows) + 1e-3, 3).tolist()
    rate = np.round(np.exp(rng.uniform(0.0, np.log(30.0), rows)), 3).tolist()
    with open(folder / "workload.json", "w") as file:
        file.write('{"format": "regraft.workload/v1", "fragments": [')
        for number in range(rows):
            fragment = {
                "id": f"phone-{number}",
                "model": f"net{model[number]}",
                "start": int(start[number]),
                "budget_ms": budget[number],
                "rate_rps": rate[number],
                "count": counts,
            }
            file.write((",\n" if number else "\n") + json.dumps(fragment))
        file.write("]}\n")
    return paths


if __name__ == "__main__":
    main()
