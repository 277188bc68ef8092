"""What exact planning costs and proves: strategies × fragments × profiles, and gap over time.

    python -m benchmarks.solver [--kinds fine,coarse-heavy] [--sizes 5,20,50,200] [--seeds 0,1,2] [--limit 30]
                                [--rates 1,30] [--strategies gslice,graft,optimal-one,optimal] [--random 20]
                                [--plot FILE.svg]

One model a workload, for every seed its fragments are drawn anew. Kinds are those of
`benchmarks.planner_kinds`, at 1 to 30 requests a second where --rates says nothing else, and other cases of
`benchmarks.solver_one_stage`; `--random 20` is its twenty profiles, budgets and loads drawn with them, in
their place. `share` and `bound` are the plan's (the bound holds for every
valid plan), `gap` what lies between them; `one stage` is what was proven of the program with one shared stage
a route (design section 5.2): objective, bound and gap. `seconds` is wall clock, and `processor` what this
process and those beside it got of the machine in that time, all threads together. With --plot, the gap
of `optimal` over time for every case goes into a picture.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import time
from pathlib import Path

from benchmarks.planner_kinds import all_kinds
from benchmarks.solver_one_stage import Case, cases, random_case
from planner.planning import make_plan
from planner.problem import PlanSettings, Progress
from tests.profiles import make_workload

COLUMNS = (
    "profile",
    "fragments",
    "seed",
    "strategy",
    "share",
    "bound",
    "gap",
    "one stage",
    "seconds",
    "processor",
)


def _processor_s() -> float:
    """Of this process and of those that it started and that ended."""
    return math.fsum(os.times()[:4])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kinds", default="fine,deep,batching,coarse")
    parser.add_argument("--random", type=int, default=0, help="so many random profiles in place of the kinds")
    parser.add_argument("--sizes", default="5,20,50,200")
    parser.add_argument("--strategies", default="gslice,graft,optimal-one,optimal")
    parser.add_argument("--limit", type=float, default=30.0, help="seconds a strategy may search")
    parser.add_argument("--rates", help="requests a second of a phone, from and to, in place of the case's")
    parser.add_argument("--seeds", default="0", help="draws of fragments (of a random profile 0 is its own)")
    parser.add_argument("--plot", type=Path, help="a picture (SVG) of the gap of `optimal` over time")
    options = parser.parse_args()
    rates = tuple(float(end) for end in options.rates.split(",")) if options.rates else None
    curves: dict[str, list[tuple[float, float]]] = {}
    known = cases() | {kind: Case(profile=profile) for kind, profile in all_kinds().items()}
    if unknown := set(options.kinds.split(",")) - set(known):
        parser.error(f"no kind {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    chosen = {f"random-{number}": random_case(number) for number in range(options.random)} or {
        kind: known[kind] for kind in options.kinds.split(",")
    }
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    numbers = [[int(number) for number in text.split(",")] for text in (options.sizes, options.seeds)]
    for (kind, case), size, seed in itertools.product(chosen.items(), *numbers):
        profile, drawn = case.profile, {"seed": seed, **case.drawn}
        if rates:
            drawn["rates"] = rates
        if seed:
            drawn["seed"] = seed
        workload = make_workload([profile], fragments=size, **drawn)
        for strategy in options.strategies.split(","):
            seen: list[Progress] = []
            started, began = time.perf_counter(), _processor_s()
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
            cells = (kind, size, seed, strategy, f"{plan.objective.share:g}", f"{plan.lower_bound:g}")
            row = (
                *cells,
                f"{plan.gap:.1%}",
                one,
                f"{seconds:.1f}",
                f"{_processor_s() - began:.1f}",
            )
            print(f"| {' | '.join(str(cell) for cell in row)} |", flush=True)
            if strategy == "optimal":
                points = [(point.t_s, point.gap) for point in seen if point.gap is not None]
                name = f"{kind}, {size}, {seed}" if len(numbers[1]) > 1 else f"{kind}, {size}"
                curves[name] = [*points, (seconds, plan.gap)]
    if options.plot is not None:
        options.plot.write_text(picture(curves, options.limit))


def _proof(proof: dict[str, float]) -> str:
    return f"{proof['objective']:g} ≥ {proof['lower_bound']:g} ({proof['gap']:.1%})"


def picture(curves: dict[str, list[tuple[float, float]]], limit_s: float) -> str:
    """An SVG of steps: seconds to the right, the gap upwards from 0 to 100 %."""
    width, height, left, top = 640, 320, 60, 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width + left + 190} {height + top + 50}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for tick in range(0, 101, 20):
        y = top + height * (1 - tick / 100)
        parts.append(f'<path d="M{left} {y}h{width}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 8}" y="{y + 4}" text-anchor="end">{tick} %</text>')
    longest = max([limit_s, *(t for points in curves.values() for t, _ in points)])
    for tick in range(7):
        x = left + width * tick / 6
        parts.append(
            f'<text x="{x}" y="{top + height + 18}" text-anchor="middle">{longest * tick / 6:.0f}</text>'
        )
    parts.append(f'<text x="{left + width / 2}" y="{top + height + 40}" text-anchor="middle">seconds</text>')
    for number, (name, points) in enumerate(curves.items()):
        colour = f"hsl({number * 360 // max(1, len(curves))},70%,42%)"
        dashes = ("", ' stroke-dasharray="6 3"', ' stroke-dasharray="2 2"')[number % 3]
        path = []
        for t, gap in points:
            x, y = left + width * t / longest, top + height * (1 - min(gap, 1.0))
            path.append(f"H{x:.1f}V{y:.1f}" if path else f"M{x:.1f} {y:.1f}")
        parts.append(f'<path d="{"".join(path)}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>')
        y = top + 16 * number + 10
        parts.append(
            f'<path d="M{left + width + 12} {y - 4}h24" stroke="{colour}" stroke-width="2"{dashes}/>'
        )
        parts.append(f'<text x="{left + width + 42}" y="{y}">{name}</text>')
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    main()
