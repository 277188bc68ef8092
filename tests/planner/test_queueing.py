"""The queueing settings: what they keep, and that the stricter ones keep what they promise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner import laws
from planner.arrivals import Arrivals
from planner.errors import InputError
from planner.menu import Menu
from planner.plan import Plan
from planner.planning import make_plan
from planner.problem import PlanSettings
from planner.profile import Profile
from planner.queueing import PLAIN, QUEUEING_LAWS, UTILISATION, poisson_utilisation, queueing_law
from planner.simulation import simulate
from planner.simulation_queue import Server, SimulationSettings, serve
from planner.workload import Workload
from tests.profiles import make_coarse_profile, make_profile, make_workload

POISSON = Arrivals(kind="poisson")


def allowed(factor: float, batch: int, fixed_part: float) -> float:
    return float(poisson_utilisation(factor, np.array([float(batch)]), np.array([fixed_part]))[0])


def missed(factor: float, batch: int, fixed_part: float, load: float) -> float:
    """The part of 100 000 Poisson arrivals that one instance does not answer within `factor` executions."""
    random = np.random.default_rng(11)
    times = [fixed_part + (1 - fixed_part) * size / max(1, batch - 1) for size in range(batch)]
    server = Server(exec_ms=[0.0, *times] if batch > 1 else [0.0, 1.0], batch=batch, instances=1)
    arrival = np.cumsum(random.exponential(1 / (load * batch), 100_000))
    arriving = list(zip(arrival.tolist(), (arrival + factor).tolist(), range(len(arrival)), strict=True))
    served = serve(server, arriving, SimulationSettings(), random)
    late = (served.end_ms > arrival[served.request] + factor + 1e-9).sum() + served.dropped
    return float(late / len(arrival))


@pytest.mark.parametrize(
    ("factor", "batch", "fixed_part"),
    [(2.0, 1, 1.0), (2.0, 8, 1.0), (2.5, 4, 0.5), (3.0, 2, 0.6)],
)
def test_an_instance_at_the_load_of_the_table_misses_about_one_in_a_thousand(
    factor: float, batch: int, fixed_part: float
) -> None:
    load = allowed(factor, batch, fixed_part)
    assert missed(factor, batch, fixed_part, load) < 1.5e-3
    assert missed(factor, batch, fixed_part, min(0.99, 1.4 * load)) > 1.5e-3


@given(
    st.sampled_from(sorted(UTILISATION)),
    st.integers(1, 64),
    st.floats(0, 1),
)
def test_longer_waits_and_larger_batches_never_allow_less(
    factor: float, batch: int, fixed_part: float
) -> None:
    here = allowed(factor, batch, fixed_part)
    assert 0 < here < 1
    # the table itself is uncertain by some hundredths
    assert all(allowed(longer, batch, fixed_part) > here - 0.02 for longer in UTILISATION if longer > factor)
    if batch > 1:
        assert allowed(factor, 2 * batch, fixed_part) > here - 0.1


def test_the_fixed_part_is_what_a_batch_of_one_takes_of_a_full_one() -> None:
    """Where times are linear in the batch and every batch was measured."""
    profile = Profile(
        model="net",
        gpu="g",
        layers=("a", "b"),
        batches=tuple(range(1, 9)),
        shares=(100,),
        latency_ms=(tuple((3.0 + size,) for size in range(8)), tuple((3.0 + size,) for size in range(8))),
    )
    menu = Menu([profile], queueing_law("poisson"))
    load = menu.load_per_capacity(0, 2)
    for number, column in enumerate(menu.columns):
        factor = float(menu.time_per_exec[number])
        first, full = 6.0, 6.0 + 2 * (column.batch - 1)
        assert load[number] == pytest.approx(allowed(factor, column.batch, first / full))


def test_unmeasured_small_batches_count_as_the_next_larger_ones() -> None:
    full = make_profile(layers=1, batches=(1, 2, 4), shares=(100,))
    rows = full.latency_ms[0]
    holed = Profile(
        model="net",
        gpu="v100",
        layers=full.layers,
        batches=full.batches,
        shares=full.shares,
        latency_ms=((rows[0], (None,), rows[2]),),
    )
    law = queueing_law("poisson")
    measured, missing = (Menu([profile], law).load_per_capacity(0, 1)[:3] for profile in (full, holed))
    assert missing[0] == measured[0]
    assert missing[2] < measured[2]


def test_for_poisson_arrivals_a_plan_counts_what_neighbours_cost() -> None:
    alone = make_profile(layers=4)
    neighbour = {"slower_pct_by_batch": {"25": {"1": 20.0, "8": 10.0}, "50": {"1": -3.0}}}
    measured = replace(alone, measured={"neighbour": neighbour})
    law = queueing_law("poisson")
    assert law.beside([alone]) == law
    assert law.beside([alone, measured]).latency_margin == pytest.approx(1.2)
    assert PLAIN.beside([measured]) == PLAIN
    # It takes a fifth more of a route's time, and of an instance's.
    before, beside = Menu([alone], law), Menu([alone], law.beside([measured]))
    assert beside.time_per_exec == pytest.approx(1.2 * before.time_per_exec)
    assert beside.load_per_capacity(0, 4) == pytest.approx(before.load_per_capacity(0, 4) / 1.2)
    # What a profile says of its measuring is free.
    for odd in ("fast", {"slower_pct_by_batch": 3}, {"slower_pct_by_batch": {"25": {"1": "much"}}}):
        assert law.beside([replace(alone, measured={"neighbour": odd})]) == law


def test_a_plan_for_poisson_arrivals_is_made_with_neighbours() -> None:
    profile = make_profile(layers=4)
    neighbour = {"slower_pct_by_batch": {"25": {"1": 50.0}}}
    crowded = replace(profile, measured={"neighbour": neighbour})
    workload = make_workload([profile], fragments=8, seed=1)
    settings = PlanSettings(queueing="poisson", infeasible="partial")
    alone, beside = (
        make_plan(workload, [each], strategy="graft", settings=settings) for each in (profile, crowded)
    )
    assert beside.objective.share > alone.objective.share


def test_plain_is_the_laws_of_a_plan() -> None:
    menu = Menu([make_profile(layers=4)], PLAIN)
    assert set(menu.time_per_exec.tolist()) == {2.0}
    assert set(menu.load_per_capacity(0, 4).tolist()) == {1.0}


def test_an_unknown_setting_is_refused_with_those_that_exist() -> None:
    with pytest.raises(InputError, match="queueing: is 'hopeful' \\(one of plain, headroom, poisson\\)"):
        queueing_law("hopeful")


@pytest.mark.parametrize("strategy", ["gslice", "graft", "optimal"])
@pytest.mark.parametrize("make", [make_profile, make_coarse_profile], ids=["fine", "coarse"])
def test_poisson_plans_keep_999_in_a_thousand_and_more_than_plain_ones(
    strategy: str, make: type[Profile]
) -> None:
    profiles = [make("a", seed=1), make("b", seed=2, total_ms=25.0)]  # type: ignore[call-arg,arg-type]
    workload = make_workload(profiles, fragments=12, budgets=(2.0, 8.0), rates=(5.0, 30.0), seed=2)  # type: ignore[arg-type]
    kept, price = {}, {}
    for name in ("plain", "poisson"):
        settings = PlanSettings(queueing=name, infeasible="partial", time_limit_s=5.0)
        plan = make_plan(workload, profiles, strategy=strategy, settings=settings)  # type: ignore[arg-type]
        assert not plan.unplanned
        assert laws.verify(plan, workload, profiles).valid  # type: ignore[arg-type]
        runs = [
            simulate(plan, workload, profiles, arrivals=POISSON, seconds=40.0, seed=seed) for seed in range(3)
        ]  # type: ignore[arg-type]
        kept[name] = np.mean([run.on_time_fraction for run in runs])
        price[name] = plan.objective.share
    assert kept["poisson"] >= 0.999
    assert kept["poisson"] > kept["plain"]
    assert price["poisson"] < 4 * price["plain"]


def test_a_plan_of_optimal_keeps_the_setting_and_its_bound_holds_for_others_that_do() -> None:
    """Stages bought with more time than two executions are in its programs too."""
    profile = make_coarse_profile(null_cells=0.0, layers=5)
    workload = make_workload([profile], fragments=6, budgets=(3.0, 8.0), rates=(5.0, 30.0), seed=4)
    settings = PlanSettings(queueing="poisson", time_limit_s=5.0)
    plans = {
        name: make_plan(workload, [profile], strategy=name, settings=settings)
        for name in ("gslice", "graft", "optimal-one", "optimal")
    }
    share = {name: plan.objective.share for name, plan in plans.items()}
    assert share["optimal"] <= share["optimal-one"] <= share["graft"] <= share["gslice"]
    assert max(plan.lower_bound or 0.0 for plan in plans.values()) <= share["optimal"]
    menu = Menu([profile], queueing_law("poisson"))
    for plan in plans.values():
        assert _keeps(plan, workload, menu)


def _keeps(plan: Plan, workload: Workload, menu: Menu) -> bool:
    """Whether some choice of a time factor for each stage keeps every budget and every allowed load.

    A plan does not say with which factor a stage was bought, so the least that its load needs is looked for.
    """
    fragments = {fragment.id: fragment for fragment in workload.fragments}
    load = {stage.id: 0.0 for stage in plan.stages}
    for route in plan.routes:
        for stage in route.stages:
            load[stage] += fragments[route.fragment].load_rps * route.fraction
    time_ms = {}
    for stage in plan.stages:
        able = [
            float(menu.time_per_exec[number]) * stage.exec_ms
            for number, column in enumerate(menu.columns)
            if (column.batch, column.share) == (stage.batch, stage.share)
            and load[stage.id]
            <= stage.instances
            * (1000 * stage.batch / stage.exec_ms)
            * float(menu.load_per_capacity(stage.start, stage.end)[number])
            * (1 + 1e-9)
        ]
        if not able:
            return False
        time_ms[stage.id] = min(able)
    return all(
        sum(time_ms[stage] for stage in route.stages) <= fragments[route.fragment].budget_ms * (1 + 1e-9)
        for route in plan.routes
    )


def test_every_setting_asks_for_at_least_what_the_laws_ask() -> None:
    """So that a plan made with any of them is a valid plan."""
    profile = make_coarse_profile(null_cells=0.3)
    for law in QUEUEING_LAWS.values():
        menu = Menu([profile], law)
        assert (menu.time_per_exec >= 2).all()
        for start in range(menu.depth):
            load = menu.load_per_capacity(start, menu.depth)
            assert ((load > 0) & (load <= 1)).all()
            assert (load <= law.most_load_per_capacity(menu.batches) + 1e-12).all()
