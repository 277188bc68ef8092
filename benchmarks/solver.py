"""What exact planning costs and proves: strategies × fragments × profiles, and gap over time.

    python -m benchmarks.solver [--kinds fine,coarse] [--sizes 5,20,50,200] [--limit 30] [--rates 1,30]
                                [--strategies gslice,graft,optimal-one,optimal] [--plot FILE.svg]

One model a workload. `share` and `bound` are the plan's (the bound holds for every valid plan), `gap` what
lies between them; `one stage` is what was proven of the program with one shared stage a route (design section
5.2): objective, bound and gap. `seconds` is wall clock. With --plot, the gap of `optimal` over time for every
case goes into a picture (needs matplotlib, which the project does not).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from benchmarks.planner_kinds import all_kinds
from planner.planning import make_plan
from planner.problem import PlanSettings, Progress
from tests.profiles import make_workload

COLUMNS = ("profile", "fragments", "strategy", "share", "bound", "gap", "one stage", "seconds")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kinds", default="fine,deep,batching,coarse")
    parser.add_argument("--sizes", default="5,20,50,200")
    parser.add_argument("--strategies", default="gslice,graft,optimal-one,optimal")
    parser.add_argument("--limit", type=float, default=30.0, help="seconds a strategy may search")
    parser.add_argument("--rates", default="1,30", help="requests a second of a phone, from and to")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plot", type=Path, help="a picture (SVG) of the gap of `optimal` over time")
    options = parser.parse_args()
    low, high = (float(end) for end in options.rates.split(","))
    curves: dict[str, list[tuple[float, float]]] = {}
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    for kind in options.kinds.split(","):
        profile = all_kinds()[kind]
        for size in (int(size) for size in options.sizes.split(",")):
            workload = make_workload([profile], fragments=size, rates=(low, high), seed=options.seed)
            for strategy in options.strategies.split(","):
                seen: list[Progress] = []
                started = time.perf_counter()
                plan = make_plan(
                    workload,
                    [profile],
                    strategy=strategy,
                    settings=PlanSettings(time_limit_s=options.limit),
                    progress=seen.append,
                )
                seconds = time.perf_counter() - started
                proof = plan.provenance.settings.get("proof")
                one = "" if proof is None else _proof(proof)
                cells = (kind, size, strategy, f"{plan.objective.share:g}", f"{plan.lower_bound:g}")
                row = (*cells, f"{plan.gap:.1%}", one, f"{seconds:.1f}")
                print(f"| {' | '.join(str(cell) for cell in row)} |", flush=True)
                if strategy == "optimal":
                    points = [(point.t_s, point.gap) for point in seen if point.gap is not None]
                    curves[f"{kind}, {size}"] = [*points, (seconds, plan.gap)]
    if options.plot is not None:
        _plot(curves, options.plot)


def _proof(proof: dict[str, float]) -> str:
    return f"{proof['objective']:g} ≥ {proof['lower_bound']:g} ({proof['gap']:.1%})"


def _plot(curves: dict[str, list[tuple[float, float]]], output: Path) -> None:
    try:
        import matplotlib.pyplot as plt  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        raise SystemExit("--plot needs matplotlib: pip install matplotlib") from None
    figure, axes = plt.subplots(figsize=(8, 5))
    for name, points in curves.items():
        axes.step(*zip(*points, strict=True), where="post", label=name)
    axes.set(xlabel="seconds", ylabel="gap to the bound on every plan", ylim=(0, 1))
    axes.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(output)


if __name__ == "__main__":
    main()
