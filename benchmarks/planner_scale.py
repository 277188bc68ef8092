"""Time and memory of `graft` from 10 to 10,000 different fragments over 5 models.

    python -m benchmarks.planner_scale [SIZE …] [--layers 40]

Each size runs in a process of its own, so that its peak memory is its own. Prints one line a size: seconds of
processor time, peak memory in MB, share, the share of `gslice+` beside it, and a lower bound. Profiles are
synthetic (tests/profiles.py, seeds 0 to 4): 6 batches, 20 shares, 40 layers unless given.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time

from planner.planning import make_plan
from planner.problem import PlanSettings
from tests.profiles import make_profile, make_workload

SIZES = (10, 30, 100, 300, 1000, 3000, 10_000)


def measure(size: int, layers: int) -> None:
    """Plan one workload and print its line."""
    profiles = [
        make_profile(f"m{number}", layers=layers, total_ms=10 + 5 * number, seed=number)
        for number in range(5)
    ]
    workload = make_workload(profiles, fragments=size, seed=1)
    settings = PlanSettings(time_limit_s=3600)
    began = time.process_time()
    plan = make_plan(workload, profiles, strategy="graft", settings=settings)
    seconds = time.process_time() - began
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    merged = make_plan(workload, profiles, strategy="gslice+", settings=settings).objective.share
    print(
        f"{size:6d} fragments  {seconds:7.2f} s  {memory_mb:6.0f} MB  graft {plan.objective.share:g}"
        f"  gslice+ {merged:g}  bound {plan.lower_bound:g}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sizes", nargs="*", type=int, default=SIZES, metavar="SIZE")
    parser.add_argument("--layers", type=int, default=40, help="of each of the five models")
    options = parser.parse_args()
    for size in options.sizes:
        process = multiprocessing.get_context("spawn").Process(target=measure, args=(size, options.layers))
        process.start()
        process.join()


if __name__ == "__main__":
    main()
