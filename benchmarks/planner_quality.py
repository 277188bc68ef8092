"""How far `graft` is from the best plan known, from proven bounds, and from `gslice`.

    python -m benchmarks.planner_quality [--kinds fine,deep] [--sizes 20,50,100] [--limit 20] [--seeds 1]
                                        [--rates 1,30] [--budgets 1.5,6]

One model a workload. The best plan known is the cheapest of `graft`'s and of those that the exact strategies
(`--strategies`) find within the limit (seconds of wall clock). There are two bounds. `bound` holds for every
plan, and is the highest that any strategy proved. `one stage` is what was proven of plans with one shared
stage a route (design section 5.2), with a star where it is their optimum; `graft` may be below it, since
its alignment stages are shared too. `above best`, `above one stage` and `above bound` are what `graft`
costs more; `below gslice` is what it costs less, and `at most` what the bound leaves possible there.
`seconds` is `graft`'s processor time. Prints a Markdown table with the means at its end.
"""

from __future__ import annotations

import argparse
import math
import time
from statistics import fmean

from benchmarks.planner_kinds import all_kinds
from planner.planning import make_plan
from planner.problem import PlanSettings
from planner.profile import Profile
from planner.workload import Workload
from tests.profiles import make_workload

COLUMNS = (
    "profile", "fragments", "gslice", "gslice+", "graft", "best known", "one stage", "bound", "above best",
    "above one stage", "above bound", "below gslice", "at most", "seconds",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kinds", default=",".join(all_kinds()))
    parser.add_argument("--sizes", default="20,50,100")
    parser.add_argument("--limit", type=float, default=20.0, help="seconds for each exact strategy; 0: none")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--strategies", default="optimal", help="what may find a better plan")
    parser.add_argument("--rates", default="1,30", help="requests a second of a phone, from and to")
    parser.add_argument("--budgets", default="1.5,6", help="budgets as multiples of the least, from and to")
    options = parser.parse_args()
    rates, budgets = (
        tuple(float(end) for end in text.split(",")) for text in (options.rates, options.budgets)
    )
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    found = []
    for kind in options.kinds.split(","):
        for size in [int(size) for size in options.sizes.split(",")]:
            for seed in range(options.seeds):
                exact = options.strategies.split(",") if options.limit else []
                profile = all_kinds()[kind]
                workload = make_workload([profile], fragments=size, rates=rates, budgets=budgets, seed=seed)
                found.append(_row(kind, profile, workload, exact, options.limit))
    columns = [[part for part in column if not math.isnan(part)] for column in zip(*found, strict=True)]
    means = [_percent(fmean(column) if column else math.nan) for column in columns]
    print(f"| mean {'| ' * 7}| {' | '.join(means)} | |")


def _row(
    kind: str, profile: Profile, workload: Workload, exact: list[str], limit_s: float
) -> tuple[float, ...]:
    """Plan one workload by every strategy, print its row, and give the four fractions of it."""
    share = {}
    bound = one_stage = 0.0
    optimum = ""
    seconds = 0.0
    for strategy in ("gslice", "gslice+", "graft", *exact):
        settings = PlanSettings(time_limit_s=limit_s if strategy in exact else 600.0)
        began = time.process_time()
        plan = make_plan(workload, [profile], strategy=strategy, settings=settings)
        if strategy == "graft":
            seconds = time.process_time() - began
        share[strategy] = plan.objective.share
        bound = max(bound, plan.lower_bound or 0.0)
        proof = plan.provenance.settings.get("proof")
        if proof is not None:
            one_stage = proof["lower_bound"]
            optimum = " *" if proof["status"] == "optimal" else ""
    graft, best = share["graft"], min(share.values())
    fractions = (
        graft / best - 1,
        graft / one_stage - 1 if one_stage else math.nan,
        graft / bound - 1,
        1 - graft / share["gslice"],
        1 - bound / share["gslice"],
    )
    shown = (share["gslice"], share["gslice+"], graft, best)
    cells = [
        kind,
        str(len(workload.fragments)),
        *(f"{value:g}" for value in shown),
        f"{one_stage:g}{optimum}" if one_stage else "–",
        f"{bound:g}",
    ]
    cells += [_percent(fraction) for fraction in fractions]
    print(f"| {' | '.join(cells)} | {seconds:.1f} |", flush=True)
    return fractions


def _percent(fraction: float) -> str:
    if math.isnan(fraction):
        return "–"
    return f"{round(100 * fraction, 1) + 0.0:.1f} %"  # + 0.0: no minus before a zero


if __name__ == "__main__":
    main()
