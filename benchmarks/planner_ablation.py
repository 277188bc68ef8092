"""What each part of `graft` buys: the share with parts left out, against all of it.

    python -m benchmarks.planner_ablation [FRAGMENTS …]

Prints for each workload the share of `gslice`, `gslice+` and of `graft` with merging, grouping size,
re-aligning, searching and recombining changed one at a time. Profiles are synthetic (tests/profiles.py).
"""

from __future__ import annotations

import sys
from dataclasses import replace

from planner.graft import Tuning, tuned_graft
from planner.grouping import Similarity
from planner.planning import make_plan, prepare
from planner.problem import PlanSettings, Progress
from planner.profile import Profile
from tests.profiles import make_coarse_profile, make_profile, make_workload

SIZES = (20, 50, 100)

FULL = Tuning()
VARIANTS = {
    "graft": FULL,
    "no merging": replace(FULL, merging=False),
    "no re-aligning": replace(FULL, realigning=False),
    "no search": replace(FULL, searching=False),
    "no recombining": replace(FULL, recombining=False),
    "groups of 16": replace(FULL, similarity=Similarity(max_size=16)),
    "searches of 32": replace(FULL, search_size=32),
    "a third of the steps": replace(FULL, least_steps=700, most_steps_per_demand=10, steps_per_demand=0.5),
}

PROFILES = {
    "fine": make_profile(layers=20),
    "deep": make_profile(layers=40, total_ms=30, seed=1),
    "coarse": make_coarse_profile(null_cells=0.2, seed=3),
}


def share(profile: Profile, fragments: int, tuning: Tuning) -> float:
    """The share of one variant."""
    settings = PlanSettings(time_limit_s=600)
    problem, _ = prepare(make_workload([profile], fragments=fragments), [profile], settings)
    draft = tuned_graft(problem, settings, _nobody, tuning)
    return sum(
        stage.instances * float(problem.menus[stage.model].prices[stage.column]) for stage in draft.stages
    )


def main() -> None:
    for name, profile in PROFILES.items():
        for size in [int(argument) for argument in sys.argv[1:]] or SIZES:
            workload = make_workload([profile], fragments=size)
            for baseline in ("gslice", "gslice+"):
                plan = make_plan(workload, [profile], strategy=baseline)
                print(f"{name:8s} {size:5d} {baseline:22s} {plan.objective.share:8g}", flush=True)
            for variant, tuning in VARIANTS.items():
                print(f"{name:8s} {size:5d} {variant:22s} {share(profile, size, tuning):8g}", flush=True)


def _nobody(_: Progress) -> None:
    """Progress that nobody asked for."""


if __name__ == "__main__":
    main()
