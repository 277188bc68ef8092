"""What is proven of one shared stage a route (design section 5.2): answer, bound, gap, seconds, case by case.

    python -m benchmarks.solver_one_stage [--cases fine,light,…] [--random 20] [--sizes 50,200]
                                          [--seeds 0,1,2] [--limit 60] [--threads 2]

A case is a profile and how its fragments are drawn (`cases`). `--random 20` is twenty profiles of 20 shares
and 6 batches, random-0 and so on, of which nobody chose anything: layers, how much a batch saves, how well a
share is used, how fast the model is, budgets and loads are drawn. Only the program is solved, without `graft`
and without the bound on every plan: `first` is the answer a second in (share), `share`, `bound` and `gap` are
the program's own, `1 %` the second at which the gap went below 1 %, `seconds` when the search ended.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.planner_kinds import all_kinds
from planner.planning import prepare
from planner.problem import PlanSettings
from planner.profile import Profile
from planner.programs import model_part, one_stage_program
from solver.facilities import Facilities
from solver.one_stage import solve_one_stage
from solver.outcome import Progress, Watch, relative_gap
from tests.profiles import make_profile, make_workload

COLUMNS = ("case", "fragments", "seed", "first", "share", "bound", "gap", "1 %", "seconds", "limit")


@dataclass(frozen=True, kw_only=True)
class Case:
    """A profile, and what `make_workload` is told about its fragments."""

    profile: Profile
    drawn: dict[str, Any] = field(default_factory=dict)


def cases() -> dict[str, Case]:
    """All cases by name."""
    kinds = all_kinds()
    four = make_profile(layers=10, batches=(1, 2, 4, 8), shares=(25, 50, 75, 100), seed=3)
    rough = make_profile(
        layers=10, batches=(1, 4, 16), shares=(20, 40, 60, 100), total_ms=25, null_cells=0.1, seed=5
    )
    found = {
        "fine": Case(profile=kinds["fine"]),
        "fine-light": Case(profile=kinds["fine"], drawn={"rates": (0.5, 5.0)}),
        "fine-heavy": Case(profile=kinds["fine"], drawn={"rates": (20.0, 200.0)}),
        "fine-tight": Case(profile=kinds["fine"], drawn={"budgets": (1.05, 2.0)}),
        "fine-loose": Case(profile=kinds["fine"], drawn={"budgets": (4.0, 15.0)}),
        "deep": Case(profile=kinds["deep"]),
        "batching": Case(profile=kinds["batching"]),
        "coarse": Case(profile=kinds["coarse"]),
        "coarse-heavy": Case(profile=kinds["coarse"], drawn={"rates": (20.0, 200.0)}),
        "four": Case(profile=four),
        "four-heavy": Case(profile=four, drawn={"rates": (20.0, 200.0)}),
        "four-heavy-tight": Case(profile=four, drawn={"rates": (20.0, 200.0), "budgets": (1.05, 2.5)}),
        "four-heavy-loose": Case(profile=four, drawn={"rates": (20.0, 200.0), "budgets": (3.0, 12.0)}),
        "rough-heavy": Case(profile=rough, drawn={"rates": (20.0, 200.0)}),
    }
    for name in ("bert", "mobilenetv2", "resnet50", "vgg19"):
        if name in kinds:
            found[name] = Case(profile=kinds[name], drawn={"rates": (20.0, 200.0)})
    return found


def random_case(number: int) -> Case:
    """20 shares and 6 batches, and everything else drawn by this number."""
    rng = np.random.default_rng([number, 1])
    profile = make_profile(
        layers=int(rng.choice([8, 10, 12, 16, 20])),
        alpha=float(rng.uniform(0.3, 0.9)),
        gamma=float(rng.uniform(0.5, 1)),
        total_ms=float(np.exp(rng.uniform(np.log(5), np.log(50)))),
        overhead_ms=float(rng.uniform(0.05, 0.5)),
        seed=number,
    )
    least = float(rng.uniform(1.1, 3))
    budgets = (least, least * float(rng.uniform(1.5, 5)))
    slowest = float(np.exp(rng.uniform(np.log(0.5), np.log(20))))
    return Case(
        profile=profile,
        drawn={"budgets": budgets, "rates": (slowest, slowest * float(rng.uniform(2, 30))), "seed": number},
    )


def case_of(name: str) -> Case:
    """A case by its name."""
    return random_case(int(name.removeprefix("random-"))) if name.startswith("random-") else cases()[name]


def program_of(case: Case, fragments: int, seed: int) -> Facilities:
    """Program 5.2 of a case."""
    workload = make_workload([case.profile], fragments=fragments, **{"seed": seed, **case.drawn})
    problem, _ = prepare(workload, [case.profile], PlanSettings())
    [(model, numbers)] = problem.by_model().items()
    return one_stage_program(model_part(problem, model, numbers)).facilities


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", default=",".join(cases()))
    parser.add_argument("--random", type=int, default=0, help="so many random profiles in place of the cases")
    parser.add_argument("--sizes", default="50,200")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds for one program")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    random = [f"random-{number}" for number in range(options.random)]
    for name in random or options.cases.split(","):
        for size in (int(size) for size in options.sizes.split(",")):
            for seed in (int(seed) for seed in options.seeds.split(",")):
                row = measure(name, size, seed, options.limit, options.threads)
                print(f"| {' | '.join(row)} |", flush=True)


def measure(name: str, size: int, seed: int, limit_s: float, threads: int) -> tuple[str, ...]:
    """One line of the table."""
    seen: list[Progress] = []
    started = time.perf_counter()
    program = program_of(case_of(name), size, seed)
    watch = Watch(time_limit_s=limit_s - (time.perf_counter() - started), report=seen.append)
    making_s = watch.started - started
    outcome = solve_one_stage(program, watch=watch, threads=threads).outcome
    seconds = time.perf_counter() - started
    within = [point.t_s for point in seen if relative_gap(point.objective, point.lower_bound) <= 0.01]
    early = [point.objective for point in seen if point.t_s + making_s <= 1.0]
    return (
        name,
        str(size),
        str(seed),
        f"{early[-1]:g}" if early else "",
        f"{outcome.objective:g}",
        f"{outcome.lower_bound:g}",
        f"{outcome.gap:.2%}",
        f"{within[0] + making_s:.1f}" if within else "",
        f"{seconds:.1f}",
        outcome.limit.value if outcome.limit else "",
    )


if __name__ == "__main__":
    main()
