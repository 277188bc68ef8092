"""The game over prices and flows closes in on the relaxation, and its prices prove what they say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import linprog

from solver.outcome import Watch
from solver.route_ascent import RouteAscent, RoutePath, shares_of
from solver.route_bound import RouteBound
from solver.route_choice import all_paths
from solver.route_graph import RouteGraph
from solver.routes import Floats
from tests.solver.test_routes import case, graph_of

SEEDS = range(3)


def relaxation(graph: RouteGraph) -> float:
    """The strong form over every path that is in time in ticks, as one linear program."""
    in_ticks = replace(graph, time=graph.ticks.astype(np.float64), budget=graph.allowed.astype(np.float64))
    paths = all_paths(in_ticks, graph.everything, 100_000)
    assert paths is not None
    arcs, classes = len(graph.tail), len(graph.load)
    served = sparse.lil_matrix((classes, arcs + len(paths)))
    pairs = sparse.lil_matrix((arcs * classes, arcs + len(paths)))
    full = sparse.lil_matrix((arcs, arcs + len(paths)))
    for number, path in enumerate(paths):
        served[path.k, arcs + number] = 1.0
        for arc in path.arcs:
            pairs[arc * classes + path.k, arcs + number] = 1.0
            full[arc, arcs + number] = graph.load[path.k] / graph.capacity[arc]
    for arc in range(arcs):
        full[arc, arc] = -1.0
        pairs[arc * classes : (arc + 1) * classes, arc] = -1.0
    found = linprog(
        np.concatenate([graph.price, np.zeros(len(paths))]),
        A_ub=sparse.vstack([pairs, full]).tocsr(),
        b_ub=np.zeros(arcs * classes + arcs),
        A_eq=served.tocsr(),
        b_eq=np.ones(classes),
    )
    assert found.status == 0
    return float(found.fun)


def most_paid(graph: RouteGraph, prices: Floats, seed: int) -> Floats:
    """[E]: the most that some full instances were seen to earn, as a part of their price."""
    rng, most = np.random.default_rng(seed), np.zeros(len(graph.tail))
    for _ in range(200):
        use = rng.uniform(0, 1, len(graph.load)) * (rng.random(len(graph.load)) < 0.7)
        fill = np.minimum(1.0, graph.capacity / np.maximum(use @ graph.load, 1e-9))
        most = np.maximum(most, (use @ prices) * fill / graph.price)
    return most


@pytest.mark.parametrize("rates", [(1.0, 20.0), (20.0, 90.0)])
@pytest.mark.parametrize("seed", SEEDS)
def test_flow_and_prices_close_in_on_the_relaxation(seed: int, rates: tuple[float, float]) -> None:
    graph = graph_of(*case(seed, fragments=3, rates=rates))
    ascent = RouteAscent(graph, np.zeros(graph.able.shape))
    ascent.add(RoutePath(k=k, arcs=arcs) for k, arcs in enumerate(graph.routing(graph.able * 1.0).paths()))
    optimum = relaxation(graph)
    for _ in range(10):
        ascent.run(200, Watch())
        assert ascent.above >= optimum * (1 - 1e-6)
        ascent.add(
            RoutePath(k=k, arcs=graph.routing(ascent.prices()).path(k)) for k in range(len(graph.load))
        )
        assert (most_paid(graph, ascent.prices(), seed) <= 1 + 1e-6).all()
    # What the arcs that take part say; the others have no price here and are closed.
    within = ascent.look(last=False).distances.sum()
    assert optimum * 0.97 <= within
    assert ascent.above <= optimum * 1.03


@pytest.mark.parametrize("seed", SEEDS)
def test_the_bound_comes_near_the_relaxation(seed: int) -> None:
    graph = graph_of(*case(seed, fragments=3, rates=(1.0, 20.0)))
    bound = RouteBound(graph, 0.0)  # no price step: nothing is rounded
    bound.sweep(Watch())
    bound.run(Watch(time_limit_s=20))
    optimum = relaxation(graph)
    assert optimum * 0.999 <= bound.value <= optimum * (1 + 1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_shares_are_whole_and_keep_what_prices_can_pay(seed: int) -> None:
    """Prices that already fill every arc's price come back nearly as they were."""
    graph = graph_of(*case(seed, fragments=6, rates=(20.0, 90.0)))
    fluid = np.where(graph.able, graph.price * graph.load[:, None] / graph.capacity, 0.0)
    share = shares_of(graph, fluid)
    assert share.sum(axis=1) == pytest.approx(np.ones(len(graph.tail)))
    full = graph.load @ graph.able > graph.capacity * (1 + 1e-9)
    assert share[full, -1] == pytest.approx(np.ones(int(full.sum())), rel=2e-3)
    assert not share[~full, -1].any()


def test_paths_left_out_are_forgotten_and_others_carry_their_part() -> None:
    graph = graph_of(*case(0, fragments=6))
    bound = RouteBound(graph, 10.0)
    bound.sweep(Watch())
    ascent = RouteAscent(graph, bound.prices)
    ascent.add(RoutePath(k=k, arcs=arcs) for k, arcs in enumerate(graph.routing(bound.prices).paths()))
    ascent.run(100, Watch())
    paths = list(ascent)
    gone = next(path.arcs[0] for path in paths if sum(other.k == path.k for other in paths) > 1)
    ascent.leave_out(np.array([gone]))
    assert list(ascent) == [path for path in paths if gone not in path.arcs]
    assert gone not in ascent.arcs
    assert set(ascent.arcs.tolist()) >= {arc for path in ascent for arc in path.arcs}
    assert ascent.above == np.inf
    ascent.run(100, Watch())
    assert np.isfinite(ascent.above)
    assert not ascent.prices()[:, gone].any()


def test_a_path_made_known_late_does_not_bring_back_what_was_left_out() -> None:
    """A second search of a model begins with its plan, of which stages may be left out by now."""
    graph = graph_of(*case(0, fragments=6))
    bound = RouteBound(graph, 10.0)
    bound.sweep(Watch())
    bound.run(Watch(), rounds=1)
    every = all_paths(graph, graph.everything, 100_000)
    assert every is not None
    path = next(path for path in every if path not in bound.paths)
    bound.alive = np.setdiff1d(bound.alive, path.arcs)
    bound.add(path)
    assert path not in bound.paths
    bound.alive = graph.everything
    bound.add(path)
    assert path in bound.paths


def test_where_all_that_carried_a_class_is_left_out_the_rest_carries_it() -> None:
    """Also paths that carried nothing, whose parts are 0: parts stay parts, and prices numbers."""
    graph = graph_of(*case(0, fragments=6))
    bound = RouteBound(graph, 10.0)
    bound.sweep(Watch())
    paths = all_paths(graph, graph.everything, 100_000)
    assert paths is not None
    mine = [path for path in paths if path.k == 0]
    gone, kept = next((a, b) for a in mine for b in mine if not set(a.arcs) & set(b.arcs))
    ascent = RouteAscent(graph, bound.prices)
    ascent.add([gone, kept, *(path for path in paths if path.k > 0 and not set(path.arcs) & set(gone.arcs))])
    # One path carries all of the class and the other nothing at all, as after many steps.
    ascent._part[:2] = 1.0, 0.0
    ascent.leave_out(np.array(gone.arcs))
    assert gone not in list(ascent)
    assert kept in list(ascent)
    ascent.run(10, Watch())
    assert np.isfinite(ascent.prices()).all()
    assert np.isfinite(ascent.use).all()
    assert ascent.use[list(kept.arcs)].min() > 0.5
