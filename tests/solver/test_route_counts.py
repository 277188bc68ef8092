"""Instances first, routes afterwards: every valid plan keeps every row, and a goal is met or ruled out."""

from __future__ import annotations

import numpy as np
import pytest

import solver.route_counts
from planner.planning import make_plan
from planner.problem import PlanSettings
from solver.outcome import Watch
from solver.route_bound import RouteBound
from solver.route_choice import Choice, all_paths, choose_paths, instances_for
from solver.route_counts import RouteCounts
from solver.route_graph import RouteGraph
from solver.route_repairs import carried_by, price_of
from solver.route_rows import crossing_rows, missed, missed_rows, priced_rows
from solver.routes import Floats
from tests.profiles import make_coarse_profile, make_workload
from tests.solver.brute import best_plan
from tests.solver.test_routes import case, graph_of

SEEDS = range(12)
STEP = 10.0


def bound_of(seed: int, fragments: int = 4) -> RouteBound:
    bound = RouteBound(graph_of(*case(seed, fragments=fragments)), STEP)
    bound.sweep(Watch())
    bound.run(Watch(time_limit_s=20))
    return bound


def some_counts(bound: RouteBound, seed: int) -> list[Floats]:
    """[E] each: the instances of the best plan, and of plans drawn by lot, split ones among them."""
    graph, rng = bound.graph, np.random.default_rng(seed)
    paths = all_paths(graph, graph.everything, 100_000)
    assert paths is not None
    mine = [[path for path in paths if path.k == k] for k in range(len(graph.load))]
    plans = [list(choose_paths(bound, 1e6, Watch(), time_limit_s=20, threads=1, seed=0).paths)]
    for turn in range(60):
        plan = []
        for of_class in mine:
            parts = rng.dirichlet(np.ones(1 + turn % 3))
            plan += [(of_class[int(rng.integers(len(of_class)))], float(part)) for part in parts]
        plans.append(plan)
    return [instances_for(carried_by(graph, plan), graph.capacity) for plan in plans]


def check(graph: RouteGraph, choice: Choice, goal: float) -> None:
    """What was chosen is a plan of at most the goal."""
    served = np.zeros(len(graph.load))
    for path, fraction in choice.paths:
        served[path.k] += fraction
        assert graph.in_time(path.k, path.arcs)
    assert served == pytest.approx(np.ones(len(graph.load)))
    assert price_of(graph, choice.paths) <= goal + 1e-6


@pytest.mark.parametrize("seed", SEEDS)
def test_every_plan_keeps_the_rows_known_from_the_beginning(seed: int) -> None:
    bound = bound_of(seed, fragments=6)
    rows = [*crossing_rows(bound.graph, bound.alive), *priced_rows(bound, bound.lean())]
    for counts in some_counts(bound, seed):
        assert min(float(row @ counts) for row in rows) >= 1 - 1e-6


@pytest.mark.parametrize("hurried", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_rows_cut_off_what_lacks_something_and_no_plan(seed: int, hurried: bool) -> None:
    bound = bound_of(seed, fragments=6)
    graph, rng = bound.graph, np.random.default_rng(seed)
    plans, cut = some_counts(bound, seed), 0
    for counts in plans[:12]:
        # A plan with a part of its instances taken away, and with none at all.
        for kept in (0.6, 0.9, 0.0):
            fewer = np.where(rng.random(len(counts)) < kept, counts, np.maximum(0.0, counts - 1)) * (kept > 0)
            arcs = np.flatnonzero(fewer)
            paths = all_paths(graph, arcs, 100_000)
            assert paths is not None
            lack = missed(graph, paths, arcs, fewer[arcs], graph.load)
            if lack is None:
                continue
            rows = missed_rows(graph, graph.everything, lack, rng, lambda: hurried)
            assert min(float(row @ fewer) for row in rows) < 1 - 1e-9
            cut += 1
            for plan in plans:
                assert min(float(row @ plan) for row in rows) >= 1 - 1e-6
    assert cut >= 12


@pytest.mark.parametrize("seed", SEEDS)
def test_enough_instances_lack_nothing(seed: int) -> None:
    bound = bound_of(seed, fragments=6)
    for counts in some_counts(bound, seed)[:12]:
        arcs = np.flatnonzero(counts)
        paths = all_paths(bound.graph, arcs, 100_000)
        assert paths is not None
        assert missed(bound.graph, paths, arcs, counts[arcs], bound.graph.load) is None


@pytest.mark.parametrize("seed", SEEDS)
def test_a_goal_is_met_or_ruled_out(seed: int) -> None:
    profile, workload = case(seed)
    best = best_plan([profile], workload.fragments)
    bound = bound_of(seed)
    counts = RouteCounts(bound, seed=0)
    below = counts.decide(best - STEP / 2, Watch(), time_limit_s=60)
    assert not below.paths
    assert below.lower_bound == np.inf
    check(bound.graph, counts.decide(best, Watch(), time_limit_s=60), best)
    # Goals above it are met as well, though not by the best plan.
    check(bound.graph, counts.decide(best + 2 * STEP, Watch(), time_limit_s=60), best + 2 * STEP)


def test_from_swept_prices_too() -> None:
    """Rows of poor prices are rows all the same; what they overlook is found by rounds."""
    for seed in SEEDS:
        profile, workload = case(seed)
        best = best_plan([profile], workload.fragments)
        bound = RouteBound(graph_of(profile, workload), STEP)
        bound.sweep(Watch())
        counts = RouteCounts(bound, seed=0)
        assert counts.decide(best - STEP / 2, Watch(), time_limit_s=60).lower_bound == np.inf
        check(bound.graph, counts.decide(best, Watch(), time_limit_s=60), best)


def test_nothing_is_said_where_there_is_no_time_or_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    bound = bound_of(0)
    nothing = Choice(paths=(), lower_bound=0.0)
    assert RouteCounts(bound, seed=0).decide(1e6, Watch(), time_limit_s=0.0) == nothing
    assert RouteCounts(bound, seed=0).decide(1e6, Watch(should_stop=lambda: True), time_limit_s=9) == nothing
    with monkeypatch.context() as patched:
        patched.setattr(solver.route_counts, "MOST_PATHS", 0)
        assert RouteCounts(bound, seed=0).decide(1e6, Watch(), time_limit_s=9) == nothing
    monkeypatch.setattr(solver.route_counts, "MOST_ARCS", 3)
    assert RouteCounts(bound, seed=0).decide(1e6, Watch(), time_limit_s=9) == nothing


def test_fifty_phones_on_a_coarse_grid_are_proven() -> None:
    """By the program over paths alone the plan cost 325 after a minute, and the bound was 300."""
    profile = make_coarse_profile(null_cells=0.2, seed=3)
    workload = make_workload([profile], fragments=50, rates=(1.0, 30.0), seed=0)
    plan = make_plan(workload, [profile], strategy="optimal", settings=PlanSettings(time_limit_s=120))
    assert plan.gap == 0
    assert plan.objective.share == pytest.approx(325)
