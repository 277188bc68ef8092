"""What would make a workload fit the GPUs: each change is enough, and a smaller one is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from planner.errors import DoesNotFitError
from planner.fitting import would_fit
from planner.planning import make_plan
from planner.problem import PlanSettings
from planner.profile import Profile
from planner.workload import Fragment, Gpu, Workload
from tests.profiles import make_coarse_profile, make_workload

SETTINGS = PlanSettings(time_limit_s=5.0)


def fits(workload: Workload, profile: Profile) -> bool:
    try:
        make_plan(workload, [profile], strategy="graft", settings=SETTINGS)
    except DoesNotFitError:
        return False
    return True


def test_a_fleet_too_busy_is_told_by_how_much_and_how_many_gpus_it_lacks() -> None:
    """One stage at a time and batch: 100 a second an instance of a whole GPU, and two GPUs for 500."""
    profile = Profile(
        model="net",
        gpu="v100",
        layers=("a", "b"),
        batches=(1,),
        shares=(100,),
        latency_ms=(((4.0,),), ((6.0,),)),
    )
    fragment = Fragment(id="f", model="net", start=0, budget_ms=20.0, rate_rps=500.0)
    gpus = tuple(Gpu(id=f"g{number}", type="v100", memory_mb=1000.0) for number in range(2))
    workload = Workload(fragments=(fragment,), gpus=gpus)
    assert would_fit(workload, [profile], SETTINGS) == {"rates_times": 0.4, "gpus": {"v100": 3}}
    assert not fits(workload, profile)
    assert fits(replace(workload, fragments=(replace(fragment, rate_rps=200.0),)), profile)


def test_what_no_gpu_has_the_memory_for_is_helped_by_neither() -> None:
    profile = make_coarse_profile(null_cells=0.0, layers=4, memory=True)
    gpus = (Gpu(id="g", type="v100", memory_mb=100.0),)
    assert would_fit(make_workload([profile], fragments=3, gpus=gpus), [profile], SETTINGS) == {}


@pytest.mark.parametrize("seed", range(3))
def test_each_change_is_enough(seed: int) -> None:
    profile = make_coarse_profile(null_cells=0.2, memory=True, seed=seed)
    gpus = tuple(Gpu(id=f"g{number}", type="v100", memory_mb=8_000.0) for number in range(4))
    workload = make_workload([profile], fragments=10, rates=(50.0, 400.0), gpus=gpus, seed=seed)
    help_ = would_fit(workload, [profile], SETTINGS)
    slower = tuple(
        replace(fragment, rate_rps=fragment.rate_rps * help_["rates_times"])
        for fragment in workload.fragments
    )
    assert fits(replace(workload, fragments=slower), profile)
    more = [replace(gpus[0], id=f"more{number}") for number in range(help_["gpus"]["v100"])]
    assert fits(replace(workload, gpus=(*gpus, *more)), profile)
