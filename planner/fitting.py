"""What would make a workload fit GPUs that its plan does not fit: lower rates, or more GPUs.

Both answers come from plans made for them by merging, grouping and re-aligning alone (no search: many plans
are tried), placed by `planner.placement`. So each is enough, and as small as these plans can tell within
`PATIENCE_S`; the strategy that was asked for may do with a little less.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from planner.errors import DoesNotFitError
from planner.graft import Tuning, tuned_graft
from planner.placement import place
from planner.plan import Stage
from planner.planning import prepare, stages_of
from planner.problem import PlanSettings, Progress
from planner.profile import Profile
from planner.workload import Gpu, Workload

# Rates are lowered in steps of this part of them.
STEP = 0.01

# More GPUs than this of one type are not tried.
MOST_GPUS = 10_000

# Seconds that placing one of the plans may take, and after which no more of them are tried.
PLACING_S = 1.0
PATIENCE_S = 10.0


def would_fit(workload: Workload, profiles: Sequence[Profile], settings: PlanSettings) -> dict[str, Any]:
    """The smallest changes, each of which alone is enough:

    rates_times   all rates times this (in hundredths); absent where not even a hundredth of them would fit
    gpus          so many more GPUs, by type, each with the most memory there is of that type; absent where
                  the memory of one GPU is too small for a stage
    """
    tries = _Tries(workload, profiles, settings)
    help_: dict[str, Any] = {}
    least, most = 0, round(1 / STEP)  # fits at `least` hundredths, if at any; not known to fit at `most`
    while most - least > 1 and not tries.late:
        middle = (least + most) // 2
        if tries.fits(middle * STEP):
            least = middle
        else:
            most = middle
    if least:
        help_["rates_times"] = round(least * STEP, 2)
    if (gpus := tries.more_gpus()) is not None:
        help_["gpus"] = gpus
    return help_


class _Tries:
    def __init__(self, workload: Workload, profiles: Sequence[Profile], settings: PlanSettings) -> None:
        self._workload = workload
        self._profiles = profiles
        self._settings = replace(settings, infeasible="partial")
        self._until = time.perf_counter() + PATIENCE_S

    @property
    def late(self) -> bool:
        """It has taken long enough."""
        return time.perf_counter() > self._until

    def fits(self, factor: float) -> bool:
        """Whether a plan for these parts of the rates can be placed."""
        return self._placed(self._stages(factor), self._workload.gpus or ())

    def more_gpus(self) -> dict[str, int] | None:
        """How many more GPUs of each type hold a plan for the rates as they are; None where none would."""
        there = self._workload.gpus or ()
        more: dict[str, int] = {}
        stages = self._stages(1.0)
        for kind in sorted({stage.gpu for stage in stages}):
            mine = [stage for stage in stages if stage.gpu == kind]
            gpus = [gpu for gpu in there if gpu.type == kind]
            largest = max(gpus, key=lambda gpu: gpu.memory_mb)
            if self._placed(mine, gpus):
                continue
            least, most = 0, min(MOST_GPUS, sum(stage.instances for stage in mine))
            if not self._placed(mine, [*gpus, *_copies(largest, most)]):
                return None
            while most - least > 1 and not self.late:
                middle = (least + most) // 2
                if self._placed(mine, [*gpus, *_copies(largest, middle)]):
                    most = middle
                else:
                    least = middle
            more[kind] = most
        return more or None

    def _stages(self, factor: float) -> Sequence[Stage]:
        fragments = tuple(
            replace(fragment, rate_rps=fragment.rate_rps * factor) for fragment in self._workload.fragments
        )
        problem, _ = prepare(replace(self._workload, fragments=fragments), self._profiles, self._settings)
        draft = tuned_graft(problem, self._settings, _nobody, Tuning(searching=False))
        return stages_of(problem, draft)[0]

    def _placed(self, stages: Sequence[Stage], gpus: Sequence[Gpu]) -> bool:
        for kind in {stage.gpu for stage in stages}:
            needed = sum(stage.share * stage.instances for stage in stages if stage.gpu == kind)
            if needed > 100 * sum(gpu.type == kind for gpu in gpus):
                return False
        try:
            place(stages, gpus, self._profiles, time_limit_s=PLACING_S)
        except DoesNotFitError:
            return False
        return True


def _copies(gpu: Gpu, count: int) -> list[Gpu]:
    return [replace(gpu, id=f"{gpu.id} again {number}") for number in range(count)]


def _nobody(_: Progress) -> None:
    """Progress that nobody asked for."""
