"""Program 5.3: the bound holds for every plan, split routes included, and chosen paths are plans."""

from __future__ import annotations

import numpy as np
import pytest

from planner.planning import prepare
from planner.problem import PlanSettings
from planner.profile import Profile
from planner.programs import draft_of_paths, model_part, network_of
from planner.workload import Workload
from solver.outcome import Limit, Watch
from solver.path_bound import path_bound
from solver.route_bound import RouteBound, RoutePath
from solver.route_choice import choose_paths
from solver.route_graph import RouteGraph, route_graph
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
def test_chosen_paths_are_the_cheapest_whole_plan_among_them(seed: int) -> None:
    profile, workload = case(seed)
    problem, _ = prepare(workload, [profile], PlanSettings())
    part = model_part(problem, "net", range(len(problem.fragments)))
    graph = graph_of(profile, workload)
    bound = RouteBound(graph, 10.0)
    bound.sweep(Watch())
    bound.run(Watch(time_limit_s=5))
    paths = choose_paths(bound, 1e6, Watch(), time_limit_s=10, threads=1, seed=0, nodes=1000)
    served = {path.k for path in bound.paths if graph.in_time(path.k, path.arcs)}
    if len(served) < len(graph.load):  # some class has only been sent along paths in time by ticks alone
        assert paths is None
        return
    assert paths is not None
    assert sorted(path.k for path in paths) == list(range(len(graph.load)))
    assert all(graph.in_time(path.k, path.arcs) for path in paths)
    draft = draft_of_paths(part, graph, paths)
    price = sum(stage.instances * part.menu.prices[stage.column] for stage in draft.stages)
    assert bound.value <= price * (1 + 1e-9)
    assert choose_paths(bound, price * 1e-3, Watch(), time_limit_s=10, threads=1, seed=0, nodes=1000) is None


@pytest.mark.parametrize("seed", SEEDS)
def test_condensing_classes_only_lowers_the_bound(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    profile, workload = case(seed, fragments=5)
    monkeypatch.setattr("solver.route_graph.MOST_CLASSES", 2)
    graph = graph_of(profile, workload)
    assert graph.load.sum() == pytest.approx(sum(fragment.load_rps for fragment in workload.fragments))
    bound = RouteBound(graph, 10.0)
    bound.sweep(Watch())
    assert bound.value <= best_plan([profile], workload.fragments) * (1 + 1e-9)


def test_the_cheapest_paths_cost_what_the_distances_say() -> None:
    graph = graph_of(*case(3, fragments=6))
    prices = np.random.default_rng(0).uniform(1, 10, (len(graph.load), len(graph.tail)))
    to_end = graph.to_end(prices)
    through = graph.without(prices, to_end) + prices
    for k, arcs in enumerate(graph.paths(prices, to_end)):
        cost = float(prices[k, list(arcs)].sum())
        assert cost == pytest.approx(float(graph.distances(to_end)[k]))
        assert int(graph.ticks[list(arcs)].sum()) <= int(graph.allowed[k])
        for arc in arcs:
            assert through[k, arc] == pytest.approx(cost)
        assert through[k].min() == pytest.approx(cost)


def test_a_known_path_is_taken_in_once() -> None:
    graph = graph_of(*case(0))
    bound = RouteBound(graph, 10.0)
    to_end = graph.to_end(bound.prices)
    path = RoutePath(k=0, arcs=graph.paths(bound.prices, to_end)[0])
    bound.paths.add(path)
    bound.paths.add(path)
    assert len(bound.paths) == 1


def test_a_stop_keeps_the_bound_so_far() -> None:
    graph = graph_of(*case(1, fragments=8))
    calls = iter(range(1000))
    watch = Watch(should_stop=lambda: next(calls) > 3)
    bound = RouteBound(graph, 10.0)
    bound.sweep(watch)
    assert watch.limit is Limit.STOPPED
    assert bound.value > 0
