"""Program 5.3: the bound holds for every plan, split routes included, and chosen paths are plans."""

from __future__ import annotations

import numpy as np
import pytest

import solver.route_choice
from planner.planning import make_plan, prepare
from planner.problem import PlanSettings
from planner.profile import Profile
from planner.programs import draft_of_paths, model_part, network_of
from planner.workload import Fragment, Workload
from solver.outcome import Limit, Watch
from solver.path_bound import path_bound
from solver.route_bound import RouteBound
from solver.route_choice import all_paths, choose_paths, instances_for
from solver.route_graph import RouteGraph, route_graph
from solver.route_repairs import carried_by
from solver.routes import Network
from tests.profiles import make_profile, make_workload
from tests.solver.brute import best_plan

SEEDS = range(12)


def case(seed: int, fragments: int = 4, rates: tuple[float, float] = (1.0, 60.0)) -> tuple[Profile, Workload]:
    profile = make_profile(layers=4, batches=(1, 4), shares=(20, 50, 100), null_cells=0.1, seed=seed)
    return profile, make_workload([profile], fragments=fragments, rates=rates, seed=seed)


def network(profile: Profile, workload: Workload) -> Network:
    problem, _ = prepare(workload, [profile], PlanSettings())
    found = network_of(model_part(problem, "net", range(len(problem.fragments))))
    assert found is not None
    return found


def graph_of(profile: Profile, workload: Workload) -> RouteGraph:
    graph = route_graph(network(profile, workload))
    assert graph is not None
    return graph


@pytest.mark.parametrize("seed", SEEDS)
def test_no_plan_is_below_the_bound_split_or_not(seed: int) -> None:
    profile, workload = case(seed)
    bound = RouteBound(graph_of(profile, workload), 10.0)
    bound.sweep(Watch())
    swept = bound.value
    bound.run(Watch(time_limit_s=20))
    assert swept <= bound.value <= best_plan([profile], workload.fragments) * (1 + 1e-6)


def test_the_bound_is_mostly_better_than_buying_in_fractions() -> None:
    better = 0
    for seed in SEEDS:
        profile, workload = case(seed, rates=(0.5, 5.0))
        bound = RouteBound(graph_of(profile, workload), 10.0)
        bound.sweep(Watch())
        better += bound.value > path_bound(network(profile, workload)) * 1.2
    assert better >= len(SEEDS) * 3 // 4


@pytest.mark.parametrize("seed", SEEDS)
def test_the_prices_share_no_more_than_each_arc_costs(seed: int) -> None:
    """Whatever the classes pay for one instance full of them is at most its price: that is the proof."""
    graph = graph_of(*case(seed, fragments=6))
    bound = RouteBound(graph, 10.0)
    bound.sweep(Watch())
    bound.run(Watch(time_limit_s=5))
    rng = np.random.default_rng(seed)
    for _ in range(200):
        use = rng.uniform(0, 1, len(graph.load)) * (rng.random(len(graph.load)) < 0.7)
        # Scaled down to what fits, or up to everybody: any use of one instance.
        fill = np.minimum(1.0, graph.capacity / np.maximum(use @ graph.load, 1e-9))
        assert ((use @ bound.prices) * fill <= graph.price * (1 + 1e-6)).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_bound_and_choice_together_find_the_best_plan_and_prove_it(seed: int) -> None:
    profile, workload = case(seed)
    problem, _ = prepare(workload, [profile], PlanSettings())
    part = model_part(problem, "net", range(len(problem.fragments)))
    graph = graph_of(profile, workload)
    bound = RouteBound(graph, 10.0)
    bound.sweep(Watch())
    bound.run(Watch(time_limit_s=20))
    choice = choose_paths(bound, 1e6, Watch(), time_limit_s=20, threads=1, seed=0)
    best = best_plan([profile], workload.fragments)
    served = np.zeros(len(graph.load))
    for path, fraction in choice.paths:
        served[path.k] += fraction
        assert graph.in_time(path.k, path.arcs)
    assert served == pytest.approx(np.ones(len(graph.load)))
    draft = draft_of_paths(part, graph, choice.paths)
    price = sum(stage.instances * part.menu.prices[stage.column] for stage in draft.stages)
    assert price == pytest.approx(best)
    assert choice.lower_bound == pytest.approx(best)
    below = choose_paths(bound, best - 5.0, Watch(), time_limit_s=20, threads=1, seed=0)
    assert not below.paths
    assert below.lower_bound > best - 5.0


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_left_out_is_in_no_better_plan(seed: int) -> None:
    """With the best plan's price known, the bound closes on it or says that nothing is below."""
    profile, workload = case(seed, fragments=3)
    best = best_plan([profile], workload.fragments)
    watch = Watch(time_limit_s=20)
    watch.update(objective=best + 10.0)  # as if a plan one step dearer were at hand
    bound = RouteBound(graph_of(profile, workload), 10.0)
    bound.sweep(watch)
    bound.run(watch)
    assert bound.value <= best * (1 + 1e-6)
    choice = choose_paths(bound, best + 1e-3, watch, time_limit_s=20, threads=1, seed=0)
    assert choice.paths, "the best plan is still there"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_plan_costs_the_lean_bound_and_what_is_unpaid_of_every_arc_it_uses(seed: int) -> None:
    profile, workload = case(seed, fragments=5)
    bound = RouteBound(graph_of(profile, workload), 10.0)
    bound.sweep(Watch())
    bound.run(Watch(time_limit_s=20))
    lean, graph = bound.lean(), bound.graph
    assert lean.value <= bound.value * (1 + 1e-9)
    assert (lean.unpaid >= 0).all()
    assert (lean.unpaid <= graph.price * (1 + 1e-9)).all()
    rng = np.random.default_rng(seed)
    paths = all_paths(graph, graph.everything, 100_000)
    assert paths is not None
    best = choose_paths(bound, 1e6, Watch(), time_limit_s=20, threads=1, seed=0).paths
    plans = [list(best)]
    for _ in range(50):
        mine = [[path for path in paths if path.k == k] for k in range(len(graph.load))]
        plans.append([(of_class[int(rng.integers(len(of_class)))], 1.0) for of_class in mine])
    for plan in plans:
        instances = instances_for(carried_by(graph, plan), graph.capacity)
        assert float(instances @ graph.price) >= lean.value + float(instances @ lean.unpaid) - 1e-6
    # So paths with too much unpaid are left out, and no others.
    spare = float(np.median([lean.unpaid[list(path.arcs)].sum() for path in paths]))
    kept = all_paths(graph, graph.everything, 100_000, unpaid=lean.unpaid, spare=spare)
    assert kept is not None
    assert set(kept) <= set(paths)
    assert 0 < len(kept) < len(paths) or spare == 0
    for path in paths:
        unpaid = float(lean.unpaid[list(path.arcs)].sum())
        assert (path in set(kept)) == (unpaid <= spare) or abs(unpaid - spare) < 1e-9


def test_the_arcs_that_the_relaxation_uses_most_make_a_plan_where_there_are_many_paths(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    profile, workload = case(0, fragments=6)
    bound = RouteBound(graph_of(profile, workload), 0.0)  # no step: the relaxation is solved to its end
    bound.sweep(Watch())
    bound.run(Watch(time_limit_s=20))
    monkeypatch.setattr(solver.route_choice, "MOST_PATHS", 1)
    monkeypatch.setattr(solver.route_choice, "MOST_KNOWN", 0)
    choice = choose_paths(bound, 1e6, Watch(), time_limit_s=20, threads=1, seed=0)
    assert choice.paths
    assert choice.lower_bound == 0.0
    used = {arc for path, _ in choice.paths for arc in path.arcs}
    assert (bound.use[list(used)] > 0).all()


def test_a_split_route_is_taken_where_it_is_cheaper() -> None:
    """A hurried phone leaves half of its fast instance free, a slow instance is 45 a second too small."""
    profile = Profile(
        model="net",
        gpu="v100",
        layers=("only",),
        batches=(1, 4),
        shares=(20, 50),
        latency_ms=(((None, 1000 / 90), (40.0, None)),),  # 90 a second for 50, 100 a second for 20
    )
    hurried = Fragment(id="hurried", model="net", start=0, budget_ms=30.0, rate_rps=45.0)
    patient = Fragment(id="patient", model="net", start=0, budget_ms=100.0, rate_rps=145.0)
    workload = Workload(fragments=(hurried, patient))
    plan = make_plan(workload, [profile], strategy="optimal", settings=PlanSettings(time_limit_s=20))
    assert plan.objective.share == plan.lower_bound == 70
    parts = sorted(route.fraction for route in plan.routes if route.fragment == "patient")
    assert parts == pytest.approx([45 / 145, 100 / 145])
    assert make_plan(workload, [profile], strategy="optimal-one").objective.share == 90


@pytest.mark.parametrize("seed", SEEDS)
def test_condensing_classes_only_lowers_the_bound(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    profile, workload = case(seed, fragments=5)
    monkeypatch.setattr("solver.route_graph.MOST_CLASSES", 2)
    graph = graph_of(profile, workload)
    assert graph.load.sum() == pytest.approx(sum(fragment.load_rps for fragment in workload.fragments))
    bound = RouteBound(graph, 10.0)
    bound.sweep(Watch())
    assert bound.value <= best_plan([profile], workload.fragments) * (1 + 1e-9)


def test_plans_are_of_the_classes_themselves_where_the_bound_is_of_condensed_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    profile, workload = case(0, fragments=6)
    monkeypatch.setattr("solver.route_graph.MOST_CLASSES", 2)
    plan = make_plan(
        workload, [profile], strategy="optimal", settings=PlanSettings(time_limit_s=2, threads=1)
    )
    assert plan.lower_bound <= best_plan([profile], workload.fragments) * (1 + 1e-9)
    assert plan.objective.share <= make_plan(workload, [profile], strategy="graft").objective.share
    assert {route.fragment for route in plan.routes} == {fragment.id for fragment in workload.fragments}


def test_fewer_classes_are_kept_where_there_are_many_arcs(monkeypatch: pytest.MonkeyPatch) -> None:
    profile, workload = case(0, fragments=6)
    whole = graph_of(profile, workload)
    monkeypatch.setattr("solver.route_graph.FEWER_CLASSES", 2)
    monkeypatch.setattr("solver.route_graph.MOST_PAIRS", len(whole.tail) * len(whole.load) - 1)
    graph = graph_of(profile, workload)
    assert len(graph.load) < len(whole.load) == 6
    assert graph.load.sum() == pytest.approx(whole.load.sum())
    monkeypatch.setattr("solver.route_graph.MOST_PAIRS", 1)
    assert route_graph(network(profile, workload)) is None


def test_the_cheapest_paths_cost_what_the_distances_say() -> None:
    graph = graph_of(*case(3, fragments=6))
    prices = np.random.default_rng(0).uniform(1, 10, (len(graph.load), len(graph.tail)))
    routing = graph.routing(prices, exact=True)
    through = routing.without(graph.everything) + prices
    for k, arcs in enumerate(routing.paths()):
        cost = float(prices[k, list(arcs)].sum())
        assert cost == pytest.approx(float(routing.distances[k]))
        assert int(graph.ticks[list(arcs)].sum()) <= int(graph.allowed[k])
        for arc in arcs:
            assert through[k, arc] == pytest.approx(cost)
        assert through[k].min() == pytest.approx(cost)
        for arc in np.flatnonzero(np.isfinite(through[k])).tolist():
            way = routing.through(k, arc)
            assert arc in way
            assert float(prices[k, list(way)].sum()) == pytest.approx(through[k, arc])


def test_a_routing_over_some_arcs_uses_no_others() -> None:
    graph = graph_of(*case(5, fragments=6))
    prices = np.random.default_rng(1).uniform(1, 10, (len(graph.load), len(graph.tail)))
    everything = graph.routing(prices)
    some = np.unique([arc for path in everything.paths() for arc in path])
    routing = graph.routing(prices, some)
    assert routing.distances == pytest.approx(everything.distances)
    assert {arc for path in routing.paths() for arc in path} <= set(some.tolist())


def test_all_paths_are_written_down_or_none() -> None:
    graph = graph_of(*case(2, fragments=3))
    paths = all_paths(graph, graph.everything, 10_000)
    assert paths is not None
    assert len(set(paths)) == len(paths)
    assert all(graph.in_time(path.k, path.arcs) for path in paths)
    assert all(graph.head[path.arcs[-1]] == graph.depth for path in paths)
    assert all_paths(graph, graph.everything, len(paths) - 1) is None


def test_a_stop_keeps_the_bound_so_far() -> None:
    graph = graph_of(*case(1, fragments=8))
    calls = iter(range(1000))
    watch = Watch(should_stop=lambda: next(calls) > 3)
    bound = RouteBound(graph, 10.0)
    bound.sweep(watch)
    assert watch.limit is Limit.STOPPED
    assert bound.value > 0
