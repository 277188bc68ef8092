"""Branch and bound for 5.3: a plan of at most a goal, or the proof that there is none.

Nodes are claims about the instances (`solver.route_claims`). A node is decided when its relaxation is above
the goal, or when so few arcs are left that instances can be counted (`solver.route_counts`). Else it is
divided by a set of arcs: those that end at a cut point, or lead from one to another, perhaps at no more than
a price. The set is the one of which most is at stake: what the relaxation pays for its u instances, times
1 − u, the part of an instance that is missing. So cheap stages that few pass through come last: their sides
are no dearer than the node.

The lower the goal, the fewer arcs can be in such a plan, and the sooner it is decided; that is why one step
of the price comes after the other. Where plans hold few instances of a kind, a handful of nodes is enough;
where they hold many (heavy loads), no set is used by half an instance, and nothing is decided.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock

import numpy as np

from solver.outcome import Progress, Watch
from solver.route_bound import RouteBound, RoutePath
from solver.route_choice import Choice
from solver.route_claims import ClaimedGraph, Claims, claimed
from solver.route_counts import RouteCounts
from solver.route_graph import RouteGraph
from solver.routes import Floats, Indices
from solver.steps import round_up

# Arcs up to which instances are counted instead, and for how long at most.
FEW_ARCS, COUNTING_S = 60, 5.0
# How much of a set the relaxation uses where it is worth asking.
LEAST_USE, MOST_USE = 0.1, 0.98
# How near a node's relaxation is to be known, after how many rounds that is given up, and how many paths a
# class are taken over from the node above.
NEAR, ROUNDS, PATHS = 3e-3, 20, 40
# What a set counts that leads from one cut point to another, all of it or up to a price, beside those onto a
# cut point or from one to the end. (At 1 and 1.5 there were fewer nodes than at 0.6; for prices it mattered
# little.)
BETWEEN, CHEAP = 1.25, 0.3
# The part of the time after which so much of the tree is to be decided (each side is half of a node).
TRYING, DECIDED = 0.5, 0.1
# A set of arcs by name: those onto a cut point, from one to the end, or from one to another up to a price.
Name = tuple[str, int, int, float]
# What a set counts, its name, and its arcs.
NamedSet = tuple[float, Name, Indices]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Node:
    """Claims, the graph of plans that keep to them, a bound on these, and what was asked on the way here."""

    claims: Claims
    claimed: ClaimedGraph
    bound: RouteBound
    asked: frozenset[Name]

    @property
    def arcs(self) -> Indices:
        """What is left of the claims' arcs, by numbers of the whole graph."""
        return np.intersect1d(self.claims.arcs, self.claimed.arcs[self.bound.alive])

    def use(self, arcs: int) -> Floats:
        """[E]: how many instances of the whole graph's arcs the relaxation uses."""
        use = np.zeros(arcs)
        real = self.claimed.arcs >= 0
        use[self.claimed.arcs[real]] = self.bound.use[real]
        return use


class RouteTree:
    """The search below the relaxation `bound`, whose prices all nodes begin with; two threads at most are of
    use, one for each side of a node."""

    def __init__(self, bound: RouteBound, seed: int, *, threads: int = 1) -> None:
        self.bound, self.seed, self.threads = bound, seed, threads
        # Nodes looked at, and goals that were decided by dividing.
        self.nodes = self.divided = 0
        self._telling = Lock()

    def decide(self, goal: float, watch: Watch, *, time_limit_s: float) -> Choice:
        """A plan of at most `goal`; without one, the bound is infinite where it is proven that there is none.

        Nothing is tried where prices have no common step.
        """
        bound, until_s = self.bound, watch.elapsed_s + time_limit_s
        tried_s = watch.elapsed_s + TRYING * time_limit_s
        nothing = Choice(paths=(), lower_bound=0.0)
        if bound.step <= 0:
            return nothing
        graph = bound.graph
        whole = ClaimedGraph(graph=graph, arcs=graph.everything)
        claims = Claims(arcs=bound.useful(goal, watch))
        open_nodes = [_Node(claims=claims, claimed=whole, bound=bound, asked=frozenset())]
        while open_nodes:
            decided = 1 - math.fsum(0.5 ** len(node.asked) for node in open_nodes)
            hopeless = watch.elapsed_s > tried_s and decided < DECIDED
            if watch.over or watch.elapsed_s > until_s or hopeless:
                return nothing
            node = open_nodes.pop()
            sets, rest_s = self._sets(node), until_s - watch.elapsed_s
            if not sets or len(node.arcs) <= FEW_ARCS:
                choice = self._count(node, goal, watch, min(COUNTING_S, rest_s) if sets else rest_s)
                if choice.paths:
                    return choice
                if choice.lower_bound > goal:
                    continue
            sides = self._divided(node, sets[0], goal, watch, until_s) if sets else None
            if sides is None:
                return nothing
            open_nodes += sides
        self.divided += 1
        return Choice(paths=(), lower_bound=np.inf)

    def _divided(
        self, node: _Node, by: NamedSet, goal: float, watch: Watch, until_s: float
    ) -> list[_Node] | None:
        """The sides of a node that are not above the goal, the smaller one last; None without time."""
        _, name, arcs = by
        used, left = node.claims.used, node.arcs
        both = Claims(arcs=left, used=(*used, arcs)), Claims(arcs=np.setdiff1d(left, arcs), used=used)
        # Nearly all of it is machine code, which runs without the interpreter's lock.
        with ThreadPoolExecutor(self.threads) as pool:
            looked = pool.map(lambda claims: self._looked_at(node, claims, name, goal, watch, until_s), both)
            sides = [side for side in looked if side is None or not _above(side.bound, goal)]
        return None if None in sides else [side for side in sides if side is not None]

    def _sets(self, node: _Node) -> list[NamedSet]:
        """Sets of arcs to ask for, the most promising first."""
        graph, arcs = self.bound.graph, node.arcs
        use = node.use(len(graph.tail))
        found: list[NamedSet] = []
        for weight, name, among in named_sets(graph, arcs):
            used = float(use[among].sum())
            if LEAST_USE < used < MOST_USE and name not in node.asked:
                at_stake = float(use[among] @ graph.price[among]) * (1 - used)
                found.append((weight * at_stake, name, among))
        return sorted(found, key=lambda one: (-one[0], one[1]))

    def _looked_at(
        self,
        node: _Node,
        claims: Claims,
        name: Name,
        goal: float,
        watch: Watch,
        until_s: float,
    ) -> _Node | None:
        """A side of a node, its relaxation known; None where there was no time."""
        self.nodes += 1
        over = claimed(self.bound.graph, claims)
        bound = RouteBound(over.graph, self.bound.step)
        above = node.bound
        place = over.place(node.claimed.arcs)
        paths = [
            RoutePath(k=path.k, arcs=tuple(place[list(path.arcs)].tolist()))
            for path in above.carrying(PATHS * len(over.graph.load))
            if path.k < len(over.graph.load) and (place[list(path.arcs)] >= 0).all()
        ]
        bound.resume(over.moved(above.prices, node.claimed), over.moved(above.guide, node.claimed), paths)
        inner = self._watch(goal, watch, until_s)
        bound.run(inner, near=NEAR, rounding=False, rounds=ROUNDS)
        if not inner.closed and inner.limit is not None:
            return None
        return _Node(claims=claims, claimed=over, bound=bound, asked=node.asked | {name})

    def _count(self, node: _Node, goal: float, watch: Watch, time_limit_s: float) -> Choice:
        """What there is over the node's arcs, whatever else is claimed."""
        plain = claimed(self.bound.graph, Claims(arcs=node.arcs))
        bound = RouteBound(plain.graph, self.bound.step)
        inner = self._watch(goal, watch, watch.elapsed_s + time_limit_s)
        bound.sweep(inner)
        bound.run(inner, near=NEAR, rounding=False, rounds=ROUNDS)
        if inner.closed:
            return Choice(paths=(), lower_bound=np.inf)
        choice = RouteCounts(bound, self.seed).decide(goal, inner, time_limit_s=inner.remaining_s)
        paths = tuple(
            (RoutePath(k=path.k, arcs=tuple(plain.arcs[list(path.arcs)].tolist())), part)
            for path, part in choice.paths
        )
        return Choice(paths=paths, lower_bound=choice.lower_bound)

    def _watch(self, goal: float, watch: Watch, until_s: float) -> Watch:
        """For a part of the plans: what is proven of them is not to be told, but that there is work is."""

        def report(_: Progress) -> None:
            with self._telling:
                watch.update(phase="branching")

        inner = Watch(
            time_limit_s=max(0.0, until_s - watch.elapsed_s),
            report=report,
            should_stop=lambda: watch.over,
        )
        inner.update(objective=round_up(goal, self.bound.step))
        return inner


def _above(bound: RouteBound, goal: float) -> bool:
    """Whether no plan over the bound's graph costs at most the goal, in steps of the price."""
    return round_up(bound.value, bound.step) > goal


def named_sets(graph: RouteGraph, arcs: Indices) -> Iterator[NamedSet]:
    """Sets of some arcs (rising numbers), all of a set over one layer at least."""
    tail, head, price = graph.tail[arcs], graph.head[arcs], graph.price[arcs]
    for cut in range(1, graph.depth):
        if (onto := head == cut).any():
            yield 1.0, ("onto", cut, 0, 0.0), arcs[onto]
    for cut in np.unique(tail).tolist():
        for end in np.unique(head[tail == cut]).tolist():
            there = (tail == cut) & (head == end)
            yield (1.0 if end == graph.depth else BETWEEN), ("from", cut, end, np.inf), arcs[there]
            for most in np.unique(price[there])[:-1].tolist():
                yield CHEAP, ("from", cut, end, most), arcs[there & (price <= most)]
