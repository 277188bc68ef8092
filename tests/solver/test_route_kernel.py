"""The compiled loops over routes say what every path in time, written down one by one, says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import linprog

from solver.route_ascent import shares_of
from solver.route_bound import knapsacks
from solver.route_choice import all_paths
from solver.route_graph import RouteGraph
from solver.routes import EPSILON, Floats
from tests.solver.test_routes import case, graph_of

SEEDS = range(6)


def priced(seed: int) -> tuple[RouteGraph, Floats]:
    """A graph, and prices of which some are 0 and some infinite."""
    graph, rng = graph_of(*case(seed, fragments=6)), np.random.default_rng(seed)
    prices = rng.uniform(0, 10, (len(graph.load), len(graph.tail))) * (rng.random(len(graph.tail)) < 0.8)
    return graph, np.where(rng.random(prices.shape) < 0.1, np.inf, prices)


def in_ticks(graph: RouteGraph, prices: Floats) -> list[list[tuple[tuple[int, ...], float]]]:
    """By class, every path that is in time in ticks and what it costs."""
    counted = replace(graph, time=graph.ticks.astype(np.float64), budget=graph.allowed.astype(np.float64))
    paths = all_paths(counted, graph.everything, 100_000)
    assert paths is not None
    found: list[list[tuple[tuple[int, ...], float]]] = [[] for _ in graph.load]
    for path in paths:
        if np.isfinite(price := prices[path.k, list(path.arcs)].sum()):
            found[path.k].append((path.arcs, float(price)))
    return found


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_cheapest_paths_are(seed: int, exact: bool) -> None:
    graph, prices = priced(seed)
    routing, every = graph.routing(prices, exact=exact), in_ticks(graph, prices)
    near = 1e-12 if exact else 1e-5
    for k, (path, distance) in enumerate(zip(routing.paths(), routing.distances.tolist(), strict=True)):
        least = min((price for _, price in every[k]), default=np.inf)
        assert distance == pytest.approx(least, rel=near)
        assert path == routing.path(k) if path else not every[k]
        assert not path or dict(every[k])[path] == pytest.approx(least, rel=near)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_cheapest_path_through_an_arc_its_own_price_left_out(seed: int) -> None:
    graph, prices = priced(seed)
    around = graph.routing(prices, exact=True).without(graph.everything)
    for arc in range(len(graph.tail)):
        free = prices.copy()
        free[:, arc] = np.where(graph.able[:, arc], 0.0, np.inf)
        for k, paths in enumerate(in_ticks(graph, free)):
            least = min((price for path, price in paths if arc in path), default=np.inf)
            assert around[k, arc] == pytest.approx(least, rel=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_an_instance_earns_is_a_linear_program(seed: int) -> None:
    graph, rng = graph_of(*case(seed, fragments=6)), np.random.default_rng(seed)
    classes = len(graph.load)
    graph = replace(graph, capacity=graph.capacity * rng.uniform(0.1, 2, len(graph.capacity)))
    gains = rng.uniform(0, 5, graph.able.shape) * (rng.random(graph.able.shape) < 0.7)
    earned = knapsacks(gains, graph, graph.everything)
    for arc in range(0, len(graph.tail), 7):
        found = linprog(
            -gains[:, arc],
            A_ub=graph.load[None],
            b_ub=graph.capacity[arc : arc + 1],
            bounds=[(0, 1)] * classes,
        )
        assert earned[arc] == pytest.approx(-found.fun, abs=1e-7)


@pytest.mark.parametrize("seed", SEEDS)
def test_shares_are_prices_that_keep_to_the_arcs_and_are_near_those_given(seed: int) -> None:
    graph, rng = graph_of(*case(seed, fragments=6)), np.random.default_rng(seed)
    graph = replace(graph, capacity=graph.capacity * rng.uniform(0.1, 1, len(graph.capacity)))
    prices = np.where(graph.able, rng.uniform(0, 5, graph.able.shape), 0.0)
    prices *= graph.price / np.maximum(knapsacks(prices, graph, graph.everything), 1e-9)
    arcs = graph.everything[1::2]
    found = shares_of(graph, prices, arcs)
    assert found.sum(axis=1) == pytest.approx(1.0)
    assert ((found[:, :-1] > 0) == graph.able[:, arcs].T).all()
    full = graph.load @ graph.able[:, arcs] > graph.capacity[arcs] * (1 + EPSILON)
    assert ((found[:, -1] > 0) == full).all()
    # An instance full of whoever pays most earns its price, nearly: the least shares are some thousandths.
    paid = np.zeros_like(prices)
    paid[:, arcs] = (
        graph.price[arcs] * (found[:, :-1] + found[:, -1:] * graph.load / graph.capacity[arcs][:, None]).T
    )
    earned = knapsacks(np.where(graph.able, paid, 0.0), graph, graph.everything)[arcs] / graph.price[arcs]
    assert (earned <= 1 + 1e-9).all()
    assert (earned >= 0.9).all()
