"""Parts of a plan of 5.3 solved again: never dearer, always a plan, and often the best one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from planner.planning import prepare
from planner.problem import PlanSettings
from planner.programs import ModelPart, draft_of_paths, model_part, network_of, plan_in
from planner.workload import Workload
from solver.outcome import Watch
from solver.route_arcs import unbeaten
from solver.route_bound import RouteBound, RoutePath
from solver.route_choice import all_paths, share_out
from solver.route_graph import RouteGraph, route_graph
from solver.route_repairs import Part, Repairs, carried_by, price_of
from solver.routes import Network
from tests.profiles import make_profile, make_workload
from tests.solver.brute import best_plan

SEEDS = range(8)


def case(seed: int, fragments: int = 4) -> tuple[ModelPart, Network, RouteGraph, float]:
    """A part, its network and graph, and the price of its best plan."""
    profile = make_profile(layers=4, batches=(1, 4), shares=(20, 50, 100), null_cells=0.1, seed=seed)
    workload = make_workload([profile], fragments=fragments, rates=(1.0, 60.0), seed=seed)
    problem, _ = prepare(workload, [profile], PlanSettings())
    part = model_part(problem, "net", range(len(problem.fragments)))
    network = network_of(part)
    assert network is not None
    graph = route_graph(network)
    assert graph is not None
    return part, network, graph, best_plan([profile], Workload(fragments=workload.fragments).fragments)


def alone(graph: RouteGraph) -> list[Part]:
    """Every class on a path of its own choice, whatever it costs."""
    prices = np.where(graph.able, graph.price, np.inf)
    routing = graph.routing(prices, exact=True)
    return [(RoutePath(k=k, arcs=routing.cheapest(k, 20)[0]), 1.0) for k in range(len(graph.load))]


@pytest.mark.parametrize("few", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_solved_again_a_plan_gets_cheaper_and_stays_a_plan(
    seed: int, few: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    part, _, graph, best = case(seed)
    if few:  # the others' stages may move all the same
        monkeypatch.setattr("solver.route_repairs.MOST", 2)
    bound = RouteBound(graph, 10.0)
    bound.sweep(Watch())
    plans: list[list[Part]] = []
    repairs = Repairs(
        graph=graph,
        plan=alone(graph),
        arcs=graph.everything,
        use=bound.use,
        prices_of=lambda classes: bound.guide[classes],
        step=10.0,
        seed=0,
        threads=1,
        keep=plans.append,
    )
    prices = [repairs.price]
    repairs.improve(Watch(time_limit_s=20), 8 if few else 2)
    prices += [price_of(graph, plan) for plan in plans]
    assert prices == sorted(prices, reverse=True)
    assert len(plans) > 0 or prices[0] == pytest.approx(best)
    assert repairs.price >= best * (1 - 1e-6)
    # Where all classes choose together, what is found is the best.
    assert few or repairs.price == pytest.approx(best)
    for plan in plans:
        served = np.zeros(len(graph.load))
        for path, fraction in plan:
            served[path.k] += fraction
            assert graph.in_time(path.k, path.arcs)
        assert served == pytest.approx(np.ones(len(graph.load)))
        draft = draft_of_paths(part, graph, plan)
        assert sum(stage.instances * part.menu.prices[stage.column] for stage in draft.stages) == (
            pytest.approx(price_of(graph, plan))
        )


@pytest.mark.parametrize("seed", SEEDS)
def test_a_draft_becomes_paths_again(seed: int) -> None:
    part, _, graph, _ = case(seed)
    plan = alone(graph)
    again = plan_in(part, graph, draft_of_paths(part, graph, plan))
    assert price_of(graph, again) <= price_of(graph, plan) * (1 + 1e-9)
    assert [path.k for path, _ in again] == [path.k for path, _ in plan]


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_carried_already_has_its_room(seed: int) -> None:
    """The cheapest addition to what is there is what the whole costs less what is there costs."""
    _, _, graph, _ = case(seed)
    paths = all_paths(graph, graph.everything, 100_000)
    assert paths is not None
    last = len(graph.load) - 1
    kept = [part for part in alone(graph) if part[0].k != last]
    before = price_of(graph, kept)
    best = min(price_of(graph, [*kept, (path, 1.0)]) for path in paths if path.k == last)
    one = graph.part([last])
    own = [RoutePath(k=0, arcs=path.arcs) for path in paths if path.k == last]
    choice = share_out(one, own, carried_by(graph, kept), 1e6, Watch(), time_limit_s=20, threads=1, seed=0)
    anew = [(RoutePath(k=last, arcs=path.arcs), share) for path, share in choice.paths]
    price = price_of(graph, [*kept, *anew])
    assert price <= best * (1 + 1e-9)
    assert choice.lower_bound == pytest.approx(price - before)


def test_the_cheapest_paths_are_the_first_of_all() -> None:
    _, _, graph, _ = case(2)
    prices = np.random.default_rng(0).uniform(1, 10, (len(graph.load), len(graph.tail)))
    routing = graph.routing(prices, exact=True)
    every = all_paths(graph, graph.everything, 100_000)
    assert every is not None
    for k in range(len(graph.load)):
        costs = sorted(float(prices[k, list(path.arcs)].sum()) for path in every if path.k == k)
        found = routing.cheapest(k, 25)
        assert len(set(found)) == len(found) == min(25, len(costs))
        assert [float(prices[k, list(path)].sum()) for path in found] == pytest.approx(costs[: len(found)])


@pytest.mark.parametrize("step", [5.0, 0.0])
def test_stages_left_out_can_be_replaced_by_others(step: float) -> None:
    """Whatever is left out: some kept ones, none slower, carry as much together and cost no more."""
    rng = np.random.default_rng(1)
    left_out = 0
    for _ in range(30):
        many = 8
        price = 5.0 * rng.integers(1, 6, many) if step else rng.uniform(5, 30, many)
        network = Network(
            depth=1,
            tail=np.zeros(many, dtype=np.intp),
            head=np.ones(many, dtype=np.intp),
            time=rng.uniform(1, 10, many),
            capacity=rng.uniform(1, 10, many),
            price=price,
            entry=np.zeros(1, dtype=np.intp),
            budget=np.array([10.0]),
            load=np.array([7.0]),
        )
        most = np.full(many, 7.0)
        kept = unbeaten(network, np.arange(many), most, step).tolist()
        for arc in sorted(set(range(many)) - set(kept)):
            left_out += 1
            others = [other for other in kept if network.time[other] <= network.time[arc]]
            mixes = (
                mix
                for size in range(1, 7)
                for mix in itertools.combinations_with_replacement(others, size)
                if network.price[list(mix)].sum() <= network.price[arc] * (1 + 1e-9)
            )
            enough = min(network.capacity[arc], 7.0) * (1 - 1e-6)
            assert any(network.capacity[list(mix)].sum() >= enough for mix in mixes)
    assert left_out > 30


@pytest.mark.parametrize("seed", range(3))
def test_condensed_classes_are_spread_again(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    _, network, _, _ = case(seed, fragments=6)
    monkeypatch.setattr("solver.route_graph.MOST_CLASSES", 2)
    graph = route_graph(network)
    assert graph is not None
    full = graph.spread(network)
    assert len(graph.load) < len(full.load) == len(network.load)
    assert full.entry[full.class_of].tolist() == network.entry.tolist()
    assert full.budget[full.class_of].tolist() == network.budget.tolist()
    paths = all_paths(full, full.everything, 100_000)
    assert paths is not None
    assert {path.k for path in paths} == set(range(len(full.load)))
    for path in paths:
        assert full.able[path.k, list(path.arcs)].all()
        assert int(full.ticks[list(path.arcs)].sum()) <= int(full.allowed[path.k])
