"""Ruin and recreate: always a plan, never dearer, mostly the best one; its arrays say what its routes are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner import route_turns
from planner.planning import make_plan
from planner.problem import PlanSettings
from planner.route_turns import TURNS, RouteTurns
from solver import recreation as recreation_module
from solver.outcome import Watch
from solver.recreation import Recreation
from solver.recreation_arrays import Routes, Stages, bought, cost_of, price_now, settle, survey
from solver.recreation_kernel import anneal, give_up, make_cheaper
from solver.recreation_routes import CAPACITY, find_route, labels_for, most_labels, offer, offers_for
from solver.recreation_routes import alone as alone_for
from solver.route_bound import RoutePath
from solver.route_choice import all_paths, instances_for
from solver.route_graph import RouteGraph, route_graph
from solver.route_repairs import Part, Repairs, price_of
from solver.routes import Floats, Network
from tests.profiles import make_coarse_profile, make_profile, make_workload
from tests.solver.test_route_repairs import alone, case
from tests.solver.test_routes import graph_of

STEP = 10.0


def search(
    graph: RouteGraph, plan: list[Part], *, step: float = STEP, rounds: int = 3, seed: int = 0
) -> Recreation:
    """A search after so many rounds, however long they take."""
    found = Recreation(graph, step, plan, seed)
    while found._round < rounds or found._done < found._last:
        found._advance()
    return found


def check(graph: RouteGraph, plan: list[Part]) -> None:
    """Every class is served, whole, along a path in time."""
    assert sorted(path.k for path, _ in plan) == list(range(len(graph.load)))
    for path, part in plan:
        assert part == 1.0
        assert graph.in_time(path.k, path.arcs)
        arcs = list(path.arcs)
        assert graph.tail[arcs[0]] == graph.entry[path.k]
        assert graph.head[arcs[-1]] == graph.depth
        assert (graph.head[arcs[:-1]] == graph.tail[arcs[1:]]).all()


@pytest.mark.parametrize("seed", range(8))
def test_from_the_worst_plan_it_finds_the_best_whole_one(seed: int) -> None:
    _, _, graph, best = case(seed)
    first = alone(graph)
    found = search(graph, first)
    check(graph, found.plan)
    assert found.price == pytest.approx(price_of(graph, found.plan))
    assert found.price <= price_of(graph, first)
    # `best` may split classes.
    assert best * (1 - 1e-9) <= found.price == pytest.approx(best_whole(graph))


def best_whole(graph: RouteGraph) -> float:
    """The least price if every class takes one path: all of their choices, one class after the other.

    What is dearer already than the best so far is left.
    """
    paths = all_paths(graph, graph.everything, 1_000_000)
    assert paths is not None
    best = price_of(graph, alone(graph))
    of_class = [[list(path.arcs) for path in paths if path.k == k] for k in range(len(graph.load))]

    def onward(k: int, carried: Floats) -> None:
        nonlocal best
        price = float(instances_for(carried, graph.capacity) @ graph.price)
        if price >= best - 1e-6 and k < len(of_class):
            return
        if k == len(of_class):
            best = min(best, price)
            return
        for arcs in of_class[k]:
            more = carried.copy()
            more[arcs] += graph.load[k]
            onward(k + 1, more)

    onward(0, np.zeros(len(graph.tail)))
    return best


def test_from_a_plan_that_splits_classes_it_goes_on_with_their_largest_parts() -> None:
    _, _, graph, _ = case(2)
    whole = alone(graph)
    paths = all_paths(graph, graph.everything, 1_000_000)
    assert paths is not None
    other = next(path for path in paths if path.k == 0 and path != whole[0][0])
    split = [(whole[0][0], 0.4), (other, 0.6), *whole[1:]]
    found = Recreation(graph, STEP, split, 0)
    assert found.price == pytest.approx(price_of(graph, split))
    found._begin()
    assert tuple(found._routes.path[0, : found._routes.length[0]].tolist()) == other.arcs
    assert not found.take(split)
    cheapest = search(graph, whole).plan
    assert found.take(cheapest) or found.price == pytest.approx(price_of(graph, cheapest))
    assert found.price == pytest.approx(price_of(graph, cheapest))


def test_without_a_plan_it_begins_with_one() -> None:
    _, _, graph, best = case(5, fragments=4)
    found = Recreation(graph, STEP, (), 0)
    assert found.price == np.inf
    found._advance()
    check(graph, found.plan)
    assert found.price == price_of(graph, found.plan)
    found.improve(Watch(), 0.3)
    assert found.price == pytest.approx(best)


@pytest.mark.parametrize("chunk", [1, 7, 5_000])
def test_how_often_it_looks_at_the_clock_changes_nothing(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, graph, _ = case(3, fragments=8)
    expected = search(graph, alone(graph), rounds=1, seed=5)
    monkeypatch.setattr(recreation_module, "CHUNK", chunk)
    found = search(graph, alone(graph), rounds=1, seed=5)
    assert found.plan == expected.plan
    assert np.array_equal(found._routes.path, expected._routes.path)


@pytest.mark.parametrize("step", [0.0, STEP, 5.0])
def test_prices_may_share_no_step_or_a_finer_one(step: float) -> None:
    _, _, graph, best = case(6)
    assert search(graph, alone(graph), step=step, rounds=1).price == pytest.approx(best)


def test_loads_of_many_instances_are_counted_in_larger_units() -> None:
    _, _, graph, _ = case(1)
    heavy = replace(graph, load=graph.load * 20_000)
    paths = all_paths(heavy, heavy.everything, 1_000_000)
    assert paths is not None
    longest = {path.k: path for path in sorted(paths, key=lambda path: len(path.arcs))}
    first = [(path, 1.0) for path in longest.values()]
    found = search(heavy, first, rounds=1)
    check(heavy, found.plan)
    assert found._classes.alone.max() <= recreation_module.MOST_UNITS
    assert found.price < price_of(heavy, first)


def test_a_class_without_a_path_in_time_is_named() -> None:
    _, _, graph, _ = case(1)
    budget = graph.budget.copy()
    budget[2] = 1e-3
    with pytest.raises(ValueError, match=r"no path in time for the classes \[2\]"):
        Recreation(replace(graph, budget=budget), STEP, (), 0)


def test_it_ends_in_time_and_when_told() -> None:
    _, _, graph, _ = case(4)
    found = Recreation(graph, STEP, alone(graph), 0)
    watch = Watch(should_stop=lambda: watch.elapsed_s > 0.3)
    found.improve(watch, 60.0)
    assert watch.limit is not None
    rounds = found._round
    assert not found.improve(watch, 60.0)
    assert found._round == rounds


@st.composite
def moments(draw: st.DrawFn) -> tuple[Recreation, int, bool]:
    """A search in the middle of a round, a seed, and whether capacity counts."""
    profile = make_profile(
        layers=draw(st.integers(2, 6)),
        batches=(1, 2, 8),
        shares=(10, 30, 60, 100),
        null_cells=0.1,
        seed=draw(st.integers(0, 50)),
    )
    workload = make_workload(
        [profile], fragments=draw(st.integers(1, 12)), rates=(1.0, 80.0), seed=draw(st.integers(0, 50))
    )
    graph = graph_of(profile, workload)
    found = Recreation(graph, STEP, alone(graph), draw(st.integers(0, 9)))
    found._chunk = draw(st.integers(1, 60))
    found._advance()
    return found, draw(st.integers(0, 2**31)), draw(st.booleans())


@settings(max_examples=60, deadline=None)
@given(moments())
def test_loads_users_and_time_to_spare_are_those_of_the_routes(moment: tuple[Recreation, int, bool]) -> None:
    found, seed, sparing = moment
    graph, arcs, classes, routes = found.graph, found._arcs, found._classes, found._routes
    many = len(graph.load)
    stages = Stages(
        np.zeros(1, dtype=np.intp), np.empty(len(graph.tail), dtype=np.intp), np.full(len(graph.tail), np.inf)
    )
    survey(routes, stages)
    agree(found, routes, stages)
    # Some give up their routes, the others' stages become cheaper, and they find new ones.
    units = price_now(arcs, routes, stages)
    chosen = np.empty(many * (graph.depth + 1), dtype=np.intp)
    anneal(0, 0, 1, (1.0, 1.0), 1, seed, arcs, classes, routes, found._best, units)
    survey(routes, stages)
    number = give_up(arcs, classes, routes, stages, many, chosen)
    assert 1 <= number <= many
    assert len(set(chosen[:number].tolist())) == number
    assert sorted(np.flatnonzero(routes.length == 0).tolist()) == sorted(chosen[:number].tolist())
    survey(routes, stages)
    before = price_now(arcs, routes, stages)
    agree(found, routes, stages)
    make_cheaper(arcs, routes, stages, np.empty(len(graph.tail), dtype=np.intp))
    assert price_now(arcs, routes, stages) <= before
    agree(found, routes, stages)
    labels, offers = labels_for(graph.depth, most_labels(classes.alone.max())), offers_for(graph.depth, 1_000)
    allowed = np.ones(graph.depth + 1, dtype=np.bool_)
    for k in chosen[:number].tolist():
        before = price_now(arcs, routes, stages)
        assert find_route(arcs, classes, routes, stages, labels, offers, allowed, k, sparing)
        # Nobody pays more than what serves it alone, or so much more as that takes of capacity.
        most = classes.alone[k] * (1 + CAPACITY if sparing else 1)
        assert price_now(arcs, routes, stages) <= before + most
        agree(found, routes, stages)
    check(graph, plan_of(routes))


def agree(found: Recreation, routes: Routes, stages: Stages) -> None:
    """What is kept beside the routes is what follows from them, and nobody is late."""
    graph = found.graph
    load, users = np.zeros(len(graph.tail)), np.zeros(len(graph.tail))
    least = np.full(len(graph.tail), np.inf)
    for k, long in enumerate(routes.length.tolist()):
        path = routes.path[k, :long]
        load[path] += graph.load[k]
        users[path] += 1
        slack = found._classes.budget[k] - graph.time[path].sum()
        assert slack >= -1e-9 * graph.budget[k]
        assert long == 0 or routes.slack[k] == pytest.approx(slack, abs=1e-9 * graph.budget[k])
        least[path] = np.minimum(least[path], slack)
    assert np.allclose(routes.load, load)
    assert np.array_equal(routes.users, users)
    used = stages.arcs[: stages.number[0]]
    assert sorted(used.tolist()) == np.flatnonzero(users).tolist()
    assert np.allclose(stages.least[used], least[used])
    assert np.isinf(np.delete(stages.least, used)).all()


def plan_of(routes: Routes) -> list[Part]:
    paths = zip(routes.path.tolist(), routes.length.tolist(), strict=True)
    return [(RoutePath(k=k, arcs=tuple(path[:long])), 1.0) for k, (path, long) in enumerate(paths)]


@settings(max_examples=30, deadline=None)
@given(moments())
def test_what_a_class_costs_alone_is_its_cheapest_path(moment: tuple[Recreation, int, bool]) -> None:
    found, _, _ = moment
    graph, arcs = found.graph, found._arcs
    paths = all_paths(graph, graph.everything, 200_000)
    if paths is None:
        return
    for k in range(len(graph.load)):
        costs = [
            sum(
                cost_of.py_func(float(graph.load[k]), float(graph.capacity[e]), float(arcs.units[e]))
                for e in path.arcs
            )
            for path in paths
            if path.k == k
        ]
        assert found._classes.alone[k] == min(costs)


@settings(max_examples=30, deadline=None)
@given(moments())
def test_what_cannot_be_of_use_to_a_class_alone_is_not_bought(moment: tuple[Recreation, int, bool]) -> None:
    found, _, _ = moment
    arcs, classes = found._arcs, found._classes
    begins, units, time, arc = bought(arcs, classes.entry, classes.load, recreation_module.MOST_UNITS)
    whole = classes._replace(begins=begins, units=units, time=time, arc=arc)
    assert alone_for(arcs, whole, int(classes.alone.max())).tolist() == classes.alone.tolist()
    assert alone_for(arcs, classes, int(classes.alone.max())).tolist() == classes.alone.tolist()
    for k in range(len(begins)):
        kept = range(classes.begins[k, 0], classes.begins[k, -1])
        all_of_it = range(begins[k, 0], begins[k, -1])
        assert {(int(classes.arc[at]), int(classes.units[at])) for at in kept} == {
            (int(arc[at]), int(units[at]))
            for at in all_of_it
            if units[at] <= classes.alone[k]
            and time[at] + arcs.soonest[arcs.head[arc[at]]] <= classes.budget[k]
        }


def newcomer(
    time: list[float], capacity: list[float], price: list[float], budget: list[float], load: list[float]
) -> tuple[Recreation, Stages, int]:
    """Two stages over one layer, the first class on the first, the second on the second; the third, whose
    number is returned, has no route yet."""
    both = np.zeros(2, dtype=np.intp)
    network = Network(
        depth=1,
        tail=both,
        head=both + 1,
        time=np.array(time),
        capacity=np.array(capacity),
        price=np.array(price),
        entry=np.zeros(3, dtype=np.intp),
        budget=np.array(budget),
        load=np.array(load),
    )
    graph = route_graph(network)
    assert graph is not None
    first, second, third = graph.class_of.tolist()
    plan = [(RoutePath(k=k, arcs=(arc,)), 1.0) for k, arc in ((first, 0), (second, 1), (third, 1))]
    found = Recreation(graph, STEP, plan, 0)
    found._begin()
    found._routes.length[third] = 0
    stages = Stages(np.zeros(1, dtype=np.intp), np.empty(2, dtype=np.intp), np.full(2, np.inf))
    # No steps, but numbers are drawn from this seed on: no stage is overlooked.
    anneal(0, 0, 1, (1.0, 1.0), 1, 1, found._arcs, found._classes, found._routes, found._best, 100)
    settle(found._arcs, found._classes, found._routes, stages)
    return found, stages, third


@pytest.mark.parametrize(("sparing", "taken"), [(False, 0), (True, 1)])
def test_who_has_time_to_spare_leaves_the_fast_stage_to_others(sparing: bool, taken: int) -> None:
    """Both stages have room; the fast one carries a tenth of what the slow one does."""
    found, stages, k = newcomer([1.0, 4.0], [10.0, 100.0], [STEP, STEP], [2.0, 5.0, 5.0], [3.0, 6.0, 6.0])
    arcs, classes, routes = found._arcs, found._classes, found._routes
    labels, offers = labels_for(1, most_labels(int(classes.alone.max()))), offers_for(1, 10)
    allowed = np.ones(2, dtype=np.bool_)
    assert find_route(arcs, classes, routes, stages, labels, offers, allowed, k, sparing)
    assert routes.path[k, : routes.length[k]].tolist() == [taken]


def test_a_stage_may_be_given_up_for_a_dear_one_with_room_for_all() -> None:
    """One instance of it costs more than the newcomer pays alone, but it is there already."""
    found, stages, k = newcomer(
        [1.0, 1.0], [10.0, 100.0], [STEP, 5 * STEP], [2.0, 2.0, 2.0], [9.0, 60.0, 6.0]
    )
    offers = offers_for(1, 10)
    offer(found._arcs, found._classes, found._routes, stages, offers, k, False, False)
    offered, at = set(), int(offers.begins[0])
    while at >= 0:
        offered.add((int(offers.arc[at]), int(offers.replaces[at]), int(offers.units[at])))
        at = int(offers.onward[at])
    # To join either, or to put the first stage's users onto the second.
    assert offered == {(0, -1, 1), (1, -1, 0), (1, 0, 0)}


@pytest.mark.parametrize(("most", "beside"), [(60, 1), (5, 2)])
def test_with_many_classes_both_cores_try_other_routes(
    most: int, beside: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This process before the companion begins, and where classes are too many to choose among afterwards."""
    begun: dict[int, Recreation] = {}
    improve = Recreation.improve

    def noted(search: Recreation, watch: Watch, time_limit_s: float) -> bool:
        begun[id(search)] = search
        return improve(search, watch, min(0.05, time_limit_s))

    monkeypatch.setattr(Recreation, "improve", noted)
    monkeypatch.setattr(Repairs, "improve", lambda *_: 0)
    monkeypatch.setattr(route_turns, "MOST_CHOOSING", most)
    monkeypatch.setattr(route_turns, "worthwhile", lambda _: True)
    for part in ("_bound", "_choose", "_step_up"):
        monkeypatch.setattr(RouteTurns, part, lambda *_, **__: None)
    profile = make_profile(layers=8, seed=3)
    workload = make_workload([profile], fragments=30, seed=0)
    make_plan(workload, [profile], strategy="optimal", settings=PlanSettings(time_limit_s=30))
    assert len(begun) == beside


def test_optimal_takes_what_it_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    """With everything else kept from finding plans, on one core."""
    profile = make_coarse_profile(null_cells=0.2, seed=3)
    workload = make_workload([profile], fragments=20, seed=0)
    monkeypatch.setattr(Repairs, "improve", lambda *_: 0)
    monkeypatch.setattr(RouteTurns, "_choose", lambda _: None)
    monkeypatch.setattr(RouteTurns, "_step_up", lambda *_: None)
    limits = PlanSettings(time_limit_s=4, threads=1)
    graft, optimal = (
        make_plan(workload, [profile], strategy=strategy, settings=limits)
        for strategy in ("graft", "optimal")
    )
    assert optimal.objective.share < graft.objective.share


def test_it_goes_on_between_two_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no second core for it; with everything else there cut short."""
    begun: list[Recreation] = []
    improve = Recreation.improve

    def noted(search: Recreation, watch: Watch, time_limit_s: float) -> bool:
        begun.append(search)
        return improve(search, watch, min(0.05, time_limit_s))

    monkeypatch.setattr(Recreation, "improve", noted)
    monkeypatch.setattr(Repairs, "improve", lambda *_: 0)
    for part in ("_bound", "_choose", "_step_up"):
        monkeypatch.setattr(RouteTurns, part, lambda *_, **__: None)
    profile = make_profile(layers=8, seed=3)
    workload = make_workload([profile], fragments=30, seed=0)
    make_plan(workload, [profile], strategy="optimal", settings=PlanSettings(time_limit_s=30, threads=1))
    # One search before, and one that goes on.
    assert len(begun) == 1 + TURNS
    assert len({id(search) for search in begun}) == 2
