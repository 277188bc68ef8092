"""What each part of `graft` buys: the share with one part changed, against the defaults.

    python -m benchmarks.planner_ablation [--sizes 20,50,100] [--seeds 1] [--large 1000] [--only TEXT]

One row a variant; a column is the mean, over sizes and seeds, of how much more share (in percent) the variant
needs than the defaults on workloads of one kind of profile (benchmarks/planner_kinds.py), and `large` the
same on one workload over five models (that of benchmarks/planner_scale.py), where groups and parts are
smaller than the whole. `seconds` is processor time, all workloads together. Without the measured profiles
at hand their column is left out.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from benchmarks.planner_kinds import all_kinds
from planner import searching
from planner.graft import Tuning, tuned_graft
from planner.grouping import Similarity
from planner.planning import make_plan, prepare
from planner.problem import PlanSettings, Progress
from planner.profile import Profile
from planner.workload import Workload
from tests.profiles import make_profile, make_workload

KINDS = ("fine", "deep", "batching", "coarse", "vgg19")
FULL = Tuning()
PLANTED = replace(FULL, searching=False)


@dataclass(frozen=True, kw_only=True)
class Variant:
    """Another tuning, or other values for constants of `planner.searching`."""

    tuning: Tuning = FULL
    search: dict[str, Any] = field(default_factory=dict)


VARIANTS = {
    "gslice": "gslice",
    "gslice+ (merging alone)": "gslice+",
    # What stands before the search, one part at a time, compared with all of that.
    "no search": Variant(tuning=PLANTED),
    "no search, no merging": Variant(tuning=replace(PLANTED, merging=False)),
    "no search, no re-aligning": Variant(tuning=replace(PLANTED, realigning=False)),
    "no search, merge threshold 1.5": Variant(tuning=replace(PLANTED, closeness=1.5)),
    "no search, merge threshold 3": Variant(tuning=replace(PLANTED, closeness=3.0)),
    "no search, merge threshold 1000": Variant(tuning=replace(PLANTED, closeness=1000.0)),
    "no search, merges of at most 8": Variant(tuning=replace(PLANTED, max_run=8)),
    "no search, groups of 12": Variant(tuning=replace(PLANTED, similarity=Similarity(max_size=12))),
    "no search, groups of 24": Variant(tuning=replace(PLANTED, similarity=Similarity(max_size=24))),
    "no search, groups of 48": Variant(tuning=replace(PLANTED, similarity=Similarity(max_size=48))),
    "no search, groups of 192": Variant(tuning=replace(PLANTED, similarity=Similarity(max_size=192))),
    "no search, groups of 24 by budget": Variant(
        tuning=replace(PLANTED, similarity=Similarity(max_size=24, start_weight=0.0, rate_weight=0.0))
    ),
    "no search, groups of 24 by start": Variant(
        tuning=replace(PLANTED, similarity=Similarity(max_size=24, budget_weight=0.0, rate_weight=0.0))
    ),
    "no search, groups of 24, budget counts 1": Variant(
        tuning=replace(PLANTED, similarity=Similarity(max_size=24, budget_weight=1.0))
    ),
    "no search, groups of 24, rate counts 1": Variant(
        tuning=replace(PLANTED, similarity=Similarity(max_size=24, rate_weight=1.0))
    ),
    # With the search, compared with the defaults.
    "graft": Variant(),
    "no merging": Variant(tuning=replace(FULL, merging=False)),
    "no re-aligning": Variant(tuning=replace(FULL, realigning=False)),
    "no recombining": Variant(tuning=replace(FULL, recombining=False)),
    "searches of 32": Variant(tuning=replace(FULL, search_size=32)),
    "searches of 96": Variant(tuning=replace(FULL, search_size=96)),
    "one round": Variant(tuning=replace(FULL, rounds=1)),
    "six rounds": Variant(tuning=replace(FULL, rounds=6)),
    "a third of the steps": Variant(
        tuning=replace(FULL, least_steps=1500, most_steps_per_demand=30, steps_per_demand=1.0)
    ),
    "three times the steps": Variant(
        tuning=replace(FULL, least_steps=13_500, most_steps_per_demand=270, steps_per_demand=9.0)
    ),
    "no step makes it dearer": Variant(search={"WARMTH": 0.0}),
    "steps may be four times as much dearer": Variant(search={"WARMTH": 0.04}),
    "new stages take all the time": Variant(search={"HASTE": (1.0,)}),
    "new stages expect nobody": Variant(search={"EXPECTED": (1.0,)}),
    "no place is overlooked": Variant(search={"OVERLOOK": (0.0,)}),
    "at most 8 taken out": Variant(search={"MAX_TAKEN": 8}),
    "grid of loads 1.2": Variant(search={"GRID": 1.2}),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default="20,50,100")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--large", type=int, default=1000, help="fragments over five models; 0: none")
    parser.add_argument("--only", default="", help="only variants with this in their name, and the defaults")
    options = parser.parse_args()
    cases = dict(_cases([int(size) for size in options.sizes.split(",")], options.seeds, options.large))
    print(f"| variant | {' | '.join(cases)} | seconds |\n|{'---|' * (len(cases) + 2)}", flush=True)
    defaults: dict[str, list[float]] = {}
    for name, variant in [("graft", Variant()), *VARIANTS.items()]:
        if defaults and options.only not in name:
            continue
        began = time.process_time()
        shares = {kind: [_share(variant, *case) for case in group] for kind, group in cases.items()}
        seconds = time.process_time() - began
        if not defaults:
            defaults = shares
            continue
        more = [100 * (np.mean(np.array(shares[kind]) / np.array(defaults[kind])) - 1) for kind in cases]
        print(f"| {name} | {' | '.join(f'{part:+.1f} %' for part in more)} | {seconds:.0f} |", flush=True)


def _cases(
    sizes: Sequence[int], seeds: int, large: int
) -> Iterator[tuple[str, list[tuple[list[Profile], Workload]]]]:
    kinds = all_kinds()
    for kind in KINDS:
        if kind in kinds:
            yield (
                kind,
                [
                    ([kinds[kind]], make_workload([kinds[kind]], fragments=size, seed=seed))
                    for size in sizes
                    for seed in range(seeds)
                ],
            )
    if large:
        profiles = [make_profile(f"m{n}", layers=40, total_ms=10 + 5 * n, seed=n) for n in range(5)]
        yield "large", [(profiles, make_workload(profiles, fragments=large, seed=1))]


def _share(variant: Variant | str, profiles: list[Profile], workload: Workload) -> float:
    """The share of one variant (or of a strategy by name) on one workload."""
    settings = PlanSettings(time_limit_s=3600)
    if isinstance(variant, str):
        return make_plan(workload, profiles, strategy=variant, settings=settings).objective.share
    problem, _ = prepare(workload, profiles, settings)
    with _constants(searching, variant.search):
        draft = tuned_graft(problem, settings, _nobody, variant.tuning)
    prices = {model: menu.prices for model, menu in problem.menus.items()}
    return sum(stage.instances * float(prices[stage.model][stage.column]) for stage in draft.stages)


@contextmanager
def _constants(module: Any, values: dict[str, Any]) -> Iterator[None]:
    """Other values for a module's constants, for as long as the context lasts."""
    before = {name: getattr(module, name) for name in values}
    for name, value in values.items():
        setattr(module, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(module, name, value)


def _nobody(_: Progress) -> None:
    """Progress that nobody asked for."""


if __name__ == "__main__":
    main()
