"""Branch and bound for 5.3: every plan is on a side that holds for it, and a goal is met or ruled out."""

from __future__ import annotations

import time

import numpy as np
import pytest

import solver.route_tree
from solver.outcome import Watch
from solver.route_bound import RouteBound, RoutePath
from solver.route_choice import Choice, all_paths, choose_paths, instances_for
from solver.route_claims import Claims, claimed
from solver.route_graph import RouteGraph
from solver.route_repairs import Part, carried_by, price_of
from solver.route_tree import RouteTree, _Node, _Search, _Side, named_sets
from solver.steps import round_up
from tests.profiles import make_profile, make_workload
from tests.solver.brute import best_plan
from tests.solver.test_route_ascent import relaxation
from tests.solver.test_route_counts import bound_of, check
from tests.solver.test_routes import case, graph_of

SEEDS = range(8)
STEP = 10.0


def plans_of(bound: RouteBound, rng: np.random.Generator) -> list[list[Part]]:
    """The best plan, and some drawn by lot, split ones among them."""
    graph = bound.graph
    paths = all_paths(graph, graph.everything, 100_000)
    assert paths is not None
    mine = [[path for path in paths if path.k == k] for k in range(len(graph.load))]
    plans = [list(choose_paths(bound, 1e6, Watch(), time_limit_s=20, threads=1, seed=0).paths)]
    for turn in range(40):
        plan: list[Part] = []
        for of_class in mine:
            parts = rng.dirichlet(np.ones(1 + turn % 2))
            plan += [(of_class[int(rng.integers(len(of_class)))], float(part)) for part in parts]
        plans.append(plan)
    return plans


def value_of(graph: RouteGraph, claims: Claims, most: float = 1e6) -> float:
    """The bound on plans of less than `most` that keep to claims."""
    bound = RouteBound(claimed(graph, claims).graph, STEP)
    watch = Watch(time_limit_s=20)
    watch.update(objective=most)
    bound.sweep(watch)
    bound.run(watch, rounding=False)
    return bound.value


@pytest.mark.parametrize("seed", SEEDS)
def test_a_plan_costs_what_is_proven_of_the_side_it_is_on(seed: int) -> None:
    bound = bound_of(seed, fragments=5)
    graph, rng = bound.graph, np.random.default_rng(seed)
    plans = plans_of(bound, rng)
    everything = list(named_sets(graph, graph.everything))
    used_somewhere = 0
    for _ in range(12):
        # Two sets at once, each used or unused as lot has it.
        claims = Claims(arcs=graph.everything)
        asked: list[tuple[bool, np.ndarray]] = []
        for at in rng.choice(len(everything), size=2, replace=False).tolist():
            _, _, arcs = everything[at]
            if rng.random() < 0.5:
                claims = Claims(arcs=np.setdiff1d(claims.arcs, arcs), used=claims.used)
                asked.append((False, arcs))
            else:
                claims = Claims(arcs=claims.arcs, used=(*claims.used, arcs))
                asked.append((True, arcs))
        value = value_of(graph, claims)
        for plan in plans:
            counts = instances_for(carried_by(graph, plan), graph.capacity)
            if all(bool(counts[arcs].any()) == used for used, arcs in asked):
                used_somewhere += any(used for used, _ in asked)
                assert float(counts @ graph.price) >= value * (1 - 1e-6)
    assert used_somewhere, "some plan has to be on a side with instances"


@pytest.mark.parametrize("seed", range(3))
def test_the_bound_comes_near_the_relaxation_of_a_side(seed: int) -> None:
    """With a class of no load and free arcs, too, it is what a linear program over all paths says."""
    graph = graph_of(*case(seed, fragments=3, rates=(1.0, 20.0)))
    sets = list(named_sets(graph, graph.everything))
    raised = 0
    for number in range(0, len(sets), 3):
        claims = Claims(arcs=graph.everything, used=(sets[number][2], sets[number - 1][2]))
        optimum = relaxation(claimed(graph, claims).graph)
        assert optimum * 0.998 <= value_of(graph, claims) <= optimum * (1 + 1e-6)
        raised += optimum > relaxation(graph) * 1.01
    assert raised


def hard(seed: int) -> RouteBound:
    """Twelve phones of which the relaxation is some steps of 5 below the best plan, and is known."""
    profile = make_profile(layers=8, total_ms=20.0, seed=seed)
    workload = make_workload([profile], fragments=12, rates=(1.0, 30.0), budgets=(1.3, 3.0), seed=seed)
    bound = RouteBound(graph_of(profile, workload), 5.0)
    watch = Watch(time_limit_s=60)
    # What `graft` finds.
    watch.update(objective={0: 280.0, 4: 195.0, 9: 200.0}[seed])
    bound.sweep(watch)
    bound.run(watch, rounding=False)
    return bound


def test_both_sides_of_some_set_are_above_the_relaxation() -> None:
    """An instance is asked for where a part of one would do: that is what branching is for."""
    bound = hard(9)
    graph, arcs = bound.graph, bound.alive
    rises = []
    for _, _, among in named_sets(graph, arcs):
        if 0.3 < float(bound.use[among].sum()) < 0.7:
            sides = (Claims(arcs=np.setdiff1d(arcs, among)), Claims(arcs=arcs, used=(among,)))
            rises.append(min(value_of(graph, claims, 300.0) for claims in sides) - bound.value)
        if rises and max(rises) > 1.0:
            break
    assert max(rises) > 1.0


@pytest.mark.parametrize("few_arcs", [0, 12, 60])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_goal_is_met_or_ruled_out(seed: int, few_arcs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However soon nodes are decided by counting; where that is never, nothing wrong is said at least."""
    monkeypatch.setattr(solver.route_tree, "FEW_ARCS", few_arcs)
    profile, workload = case(seed, rates=(0.5, 5.0))
    best = best_plan([profile], workload.fragments)
    bound = RouteBound(graph_of(profile, workload), STEP)
    bound.sweep(Watch())
    tree = RouteTree(bound, seed=0)
    below = tree.decide(best - STEP / 2, Watch(), time_limit_s=60)
    assert not below.paths
    met = tree.decide(best + STEP / 2, Watch(), time_limit_s=60)
    if few_arcs:
        assert below.lower_bound == np.inf
        check(bound.graph, met, best)
    assert met.lower_bound < best + STEP / 2


@pytest.mark.parametrize(
    ("seed", "best", "threads"), [(0, 265.0, 1), (4, 195.0, 1), (9, 190.0, 1), (4, 195.0, 2), (9, 190.0, 2)]
)
def test_steps_up_to_the_best_plan_are_ruled_out_one_by_one(seed: int, best: float, threads: int) -> None:
    bound, ruled_out = hard(seed), 0
    tree, goal = RouteTree(bound, seed=0, threads=threads), round_up(bound.value, 5.0)
    while goal < best:
        assert tree.decide(goal + 2.5, Watch(), time_limit_s=60) == Choice(paths=(), lower_bound=np.inf)
        goal, ruled_out = goal + 5.0, ruled_out + 1
    assert ruled_out >= 2
    assert tree.divided == ruled_out
    assert tree.nodes >= 2
    if best < 195.0 or seed == 0:  # otherwise what is at hand is the best
        check(bound.graph, tree.decide(best + 2.5, Watch(), time_limit_s=60), best)


def test_a_tree_of_which_little_is_decided_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    bound = hard(0)
    monkeypatch.setattr(solver.route_tree, "TRYING", 0.0)
    monkeypatch.setattr(solver.route_tree, "DECIDED", 1.0)
    tree = RouteTree(bound, seed=0)
    assert tree.decide(262.5, Watch(), time_limit_s=60) == Choice(paths=(), lower_bound=0.0)


def test_so_is_one_of_which_nothing_is_decided_after_some_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    bound = hard(0)
    monkeypatch.setattr(solver.route_tree, "TRYING", 1.0)
    monkeypatch.setattr(solver.route_tree, "TRYING_MANY", 0.0)
    monkeypatch.setattr(solver.route_tree, "MANY", 3)
    monkeypatch.setattr(solver.route_tree, "DECIDED_MANY", 1.0)
    tree = RouteTree(bound, seed=0)
    assert tree.decide(262.5, Watch(), time_limit_s=60) == Choice(paths=(), lower_bound=0.0)
    assert tree.nodes == 3


@pytest.mark.parametrize("threads", [1, 2])
def test_a_plan_on_one_side_ends_the_search_on_the_other(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is still looked at is told to stop, and no further side is begun."""
    bound, known = hard(0), Choice(paths=((RoutePath(k=0, arcs=(0,)), 1.0),), lower_bound=0.0)
    looked: list[str] = []

    def look(_: RouteTree, side: _Side, search: _Search) -> Choice:
        looked.append("with" if side.claims.used else "without")
        if side.claims.used:
            return known
        until = time.monotonic() + 30.0
        while not search.over and time.monotonic() < until:
            time.sleep(0.01)
        looked.append("stopped" if search.over else "late")
        return Choice(paths=(), lower_bound=0.0)

    monkeypatch.setattr(RouteTree, "_look", look)
    # With one thread the last side is looked at first.
    both = RouteTree._below

    def reversed_sides(self: RouteTree, node: _Node, search: _Search) -> list[_Side] | Choice:
        sides = both(self, node, search)
        return sides[::-1] if threads == 1 and isinstance(sides, list) else sides

    monkeypatch.setattr(RouteTree, "_below", reversed_sides)
    assert RouteTree(bound, seed=0, threads=threads).decide(262.5, Watch(), time_limit_s=60) == known
    assert sorted(looked) == (["with"] if threads == 1 else ["stopped", "with", "without"])


def test_nothing_is_said_where_there_is_no_time_or_no_step() -> None:
    bound, nothing = bound_of(0), Choice(paths=(), lower_bound=0.0)
    assert RouteTree(bound, seed=0).decide(1e6, Watch(), time_limit_s=0.0) == nothing
    assert RouteTree(bound, seed=0).decide(1e6, Watch(should_stop=lambda: True), time_limit_s=9) == nothing
    bound.step = 0.0
    assert RouteTree(bound, seed=0).decide(1e6, Watch(), time_limit_s=9) == nothing


@pytest.mark.parametrize("seed", SEEDS)
def test_whoever_has_no_load_uses_the_set_and_is_in_time(seed: int) -> None:
    """The path of some class through a set is open to the class that has to use it, and none past the set."""
    graph = graph_of(*case(seed, fragments=6))
    paths = all_paths(graph, graph.everything, 100_000)
    assert paths is not None
    for _, _, arcs in named_sets(graph, graph.everything):
        over = claimed(graph, Claims(arcs=graph.everything, used=(arcs,)))
        k, entry = len(graph.load), int(over.graph.entry[-1])
        within = set(over.place(arcs).tolist())
        found = all_paths(over.graph.part([k]), np.arange(len(over.arcs)), 1_000_000)
        assert found is not None
        assert all(within & set(path.arcs) for path in found)
        mine = {tuple(int(over.arcs[arc]) for arc in path.arcs if over.arcs[arc] >= 0) for path in found}
        for path in paths:
            if set(arcs.tolist()) & set(path.arcs):
                assert path.arcs in mine
        assert entry == graph.entry.min()


def test_paths_keep_their_classes_from_node_to_node() -> None:
    """A plan that a node finds is one of the whole graph, by its numbers."""
    profile, workload = case(1, fragments=5, rates=(0.5, 5.0))
    bound = RouteBound(graph_of(profile, workload), STEP)
    bound.sweep(Watch())
    choice = RouteTree(bound, seed=0).decide(1e4, Watch(), time_limit_s=30)
    assert choice.paths
    assert price_of(bound.graph, choice.paths) <= 1e4
    for path, _ in choice.paths:
        assert isinstance(path, RoutePath)
        assert bound.graph.in_time(path.k, path.arcs)
        assert bound.graph.able[path.k, list(path.arcs)].all()
