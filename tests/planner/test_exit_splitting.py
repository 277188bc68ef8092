"""Stages are split at exits where that is cheaper, and nowhere else."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from planner import formats, laws
from planner.allocating import Demand, instances_for, stage
from planner.exit_menu import ExitMenu, LeastMenu
from planner.exit_splitting import cheapest_parts, split_at_exits
from planner.planning import make_plan
from planner.problem import PlanSettings
from planner.profile import Profile
from planner.workload import Fragment, Workload
from tests.exits import with_exits
from tests.planner.second_verifier import broken_laws
from tests.profiles import make_profile, make_workload

QUICK = PlanSettings(time_limit_s=1.0, threads=1)
SPLIT, SURVIVAL = (2, 4, 6), (0.6, 0.3, 0.1)


def menu_of(seed: int) -> ExitMenu:
    plain = make_profile(layers=8, batches=(1, 4, 16), shares=(10, 50), alpha=0.7, seed=seed)
    return ExitMenu([with_exits(plain, SURVIVAL, layers=SPLIT)], split=SPLIT, survival=SURVIVAL)


def cheapest_by_trying(menu: ExitMenu, load_rps: float, time_ms: float) -> float:
    best = math.inf
    for size in range(len(SPLIT) + 1):
        for inner in itertools.combinations(SPLIT, size):
            tables = [menu.options(*pair) for pair in itertools.pairwise((0, *inner, 8))]
            for chosen in itertools.product(*(range(len(table)) for table in tables)):
                pairs = list(zip(tables, chosen, strict=True))
                if sum(float(table.time_ms[one]) for table, one in pairs) <= time_ms:
                    costs = [
                        float(table.price[one] * instances_for(load_rps, table.capacity_rps[one]))
                        for table, one in pairs
                    ]
                    best = min(best, math.fsum(costs))
    return best


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("load_rps", "budget"), [(300.0, 3.0), (3000.0, 8.0)])
def test_the_parts_are_the_cheapest_there_are(seed: int, load_rps: float, budget: float) -> None:
    menu = menu_of(seed)
    time_ms = budget * float(menu.least_time_ms[0])
    parts = cheapest_parts(menu, 0, 8, load_rps, time_ms)
    assert parts is not None
    assert math.fsum(part.price for part in parts) == pytest.approx(
        cheapest_by_trying(menu, load_rps, time_ms)
    )
    assert math.fsum(part.time_ms for part in parts) <= time_ms * (1 + 1e-9)
    assert [part.start for part in parts[1:]] == [part.end for part in parts[:-1]]


@pytest.mark.parametrize("load_rps", [5.0, 200.0, 5000.0])
def test_a_tree_is_split_within_everybodys_budget_and_never_gets_dearer(load_rps: float) -> None:
    menu = menu_of(1)
    table, feeding = menu.options(3, 8), menu.options(1, 3)
    late = Demand(start=3, budget_ms=8 * table.least_time_ms, load_rps=load_rps, members=(0,))
    early = Demand(
        start=1, budget_ms=6 * (table.least_time_ms + feeding.least_time_ms), load_rps=load_rps, members=(1,)
    )
    feeder = stage(feeding, int(feeding.time_ms.argmin()), load_rps, (early,))
    tree = stage(table, int(table.time_ms.argmin()), 2 * load_rps, (late,), (feeder,))
    [made] = split_at_exits(menu, [tree])
    assert made.total <= tree.total
    assert sorted(demand.members for demand in made.leaves()) == [(0,), (1,)]
    waiting = [(made, made.time_ms)]
    while waiting:
        part, used_ms = waiting.pop()
        assert all(used_ms <= demand.budget_ms * (1 + 1e-9) for demand in part.demands)
        assert part.load_rps == pytest.approx(math.fsum(demand.load_rps for demand in part.leaves()))
        waiting += [(before, used_ms + before.time_ms) for before in part.feeders]
    if load_rps == 5000.0:
        assert made.total < tree.total


def test_graft_splits_a_lone_fragment_with_a_batch_and_share_for_each_part() -> None:
    made = with_exits(
        make_profile(
            layers=12, batches=(1, 2, 4, 8, 16), shares=(10, 20, 30, 50, 75, 100), alpha=0.8, seed=11
        ),
        (0.3, 0.09),
        layers=(4, 8),
    )
    fragment = Fragment(id="f", model="net", start=0, budget_ms=400.0, rate_rps=1300.0)
    plan = make_plan(Workload(fragments=(fragment,)), [made], strategy="graft", settings=QUICK)
    said = plan.provenance.settings["exits"]["net"]
    assert said["taken"] == "split"
    assert (
        plan.objective.share == said["share"]["split"] < min(said["share"][name] for name in ("none", "e3"))
    )
    assert len(plan.routes[0].stages) > 1
    assert len({(one.batch, one.share) for one in plan.stages}) > 1


def world(seed: int) -> tuple[Workload, list[Profile]]:
    """Models with and without exits, one or two GPU types, unmeasured cells, survivals of all kinds."""
    rnd = random.Random(seed)
    depth = rnd.randint(3, 16)
    count = rnd.randint(1, min(5, depth - 1))
    layers = sorted(rnd.sample(range(1, depth), count))
    draws = [round(rnd.choice([0.0, 1.0, rnd.random(), rnd.random()]), 3) for _ in range(count)]
    shares = tuple(sorted(rnd.sample([5, 10, 20, 25, 33.3, 50, 75, 100], rnd.randint(1, 5))))
    batches = tuple(sorted(rnd.sample([1, 2, 3, 4, 8, 16, 32], rnd.randint(1, 4))))
    common: dict[str, Any] = {"batches": batches, "shares": shares}
    nulls, alpha = rnd.choice([0.0, 0.0, 0.15]), rnd.uniform(0.2, 0.9)
    plain = make_profile("net", "v100", layers=depth, null_cells=nulls, alpha=alpha, seed=seed, **common)
    survival = sorted(draws, reverse=True)
    profiles = [with_exits(plain, survival, layers=layers, ramp=rnd.choice([0, 0.1, 0.5, 2]))]
    if rnd.random() < 0.4:
        slow = make_profile(
            "net", "t4", layers=depth, total_ms=25.0, cost_per_share=0.4, seed=seed + 1, **common
        )
        profiles.append(with_exits(slow, survival, layers=layers, ramp=0.1))
    if rnd.random() < 0.4:
        profiles.append(make_profile("other", layers=5, seed=seed, **common))
    workload = make_workload(
        profiles,
        fragments=rnd.randint(1, 14),
        rates=(5, rnd.choice([50, 400, 3000])),
        budgets=(1.3, 10),
        seed=seed,
        counts=(1, rnd.choice([1, 3])),
    )
    own = [
        tuple(sorted((round(rnd.random(), 2) for _ in range(count)), reverse=True))
        for _ in range(rnd.choice([1, 2, 6]))
    ]
    fragments = tuple(
        replace(item, survival=rnd.choice(own)) if item.model == "net" and rnd.random() < 0.4 else item
        for item in workload.fragments
    )
    return Workload(fragments=fragments), profiles


# Among them are worlds with a share at which some layer was not measured at all (17), and with fragments that
# are too late for PAME's stage by the survival of one set of fragments and not by another (134).
@pytest.mark.parametrize("strategy", ["graft", "e3", "pame", "multi-exit"])
@pytest.mark.parametrize("seed", [1, 2, 3, 5, 17, 134])
def test_a_second_reading_of_the_laws_finds_nothing_wrong_either(strategy: str, seed: int) -> None:
    workload, profiles = world(seed)
    plan = make_plan(workload, profiles, strategy=strategy, settings=QUICK)
    read = [formats.to_json(profile) for profile in profiles]
    assert broken_laws(formats.to_json(plan), formats.to_json(workload), read) == set()
    # With an instance less of some stage that cannot spare it, both say so.
    for number, one in enumerate(plan.stages):
        fewer = replace(
            plan,
            stages=(
                *plan.stages[:number],
                replace(one, instances=one.instances - 1),
                *plan.stages[number + 1 :],
            ),
        )
        said = {item.law for item in laws.verify(fewer, workload, profiles).violations}
        also = broken_laws(formats.to_json(fewer), formats.to_json(workload), read)
        assert ("capacity" in said) == ("capacity" in also)


def test_a_share_that_was_never_measured_somewhere_spoils_no_option_behind_it() -> None:
    whole = with_exits(make_profile(layers=6, batches=(1, 4), shares=(20, 50)), (0.6, 0.3), layers=(2, 4))
    first = tuple((None, row[1]) for row in whole.latency_ms[0])
    profile = replace(whole, latency_ms=(first, *whole.latency_ms[1:]))
    for menu in (
        ExitMenu([profile], split=(2, 4), survival=(0.6, 0.3)),
        LeastMenu([profile], split=(2, 4), survival=(0.6, 0.3)),
    ):
        for start, end in itertools.combinations(range(7), 2):
            exists = ~np.isnan(menu.exec_ms(start, end))
            assert np.isfinite(menu.busy_ms(start, end)[exists]).all()
