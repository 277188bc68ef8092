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
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
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
NEAR, ROUNDS, PATHS = 7e-3, 20, 40
# What a set counts that leads from one cut point to another, all of it or up to a price, beside those onto a
# cut point or from one to the end. (At 1 and 1.5 there were fewer nodes than at 0.6; for prices it mattered
# little.)
BETWEEN, CHEAP = 1.25, 0.3
# The part of the time after which so much of the tree is to be decided, and after which less of it where so
# many sides were looked at by then.
TRYING, DECIDED = 0.65, 0.3
TRYING_MANY, DECIDED_MANY, MANY = 0.4, 0.1, 12
NOTHING = Choice(paths=(), lower_bound=0.0)
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


@dataclass(frozen=True, kw_only=True, eq=False)
class _Side:
    """One of the two sides of a node: what the node claims, and whether there is an instance of a set."""

    above: _Node
    claims: Claims
    name: Name

    @property
    def part(self) -> float:
        """How much of the tree it is: each side is half of a node."""
        return 0.5 ** (len(self.above.asked) + 1)


# What a node comes to: its sides (none where it is ruled out), a plan, or `NOTHING` where it is not decided.
_Outcome = list[_Side] | Choice


@dataclass(kw_only=True, eq=False)
class _Search:
    """What is decided, until when, and whether it is over before."""

    goal: float
    watch: Watch
    until_s: float
    stopped: bool = False

    @property
    def rest_s(self) -> float:
        return self.until_s - self.watch.elapsed_s

    @property
    def over(self) -> bool:
        return self.stopped or self.watch.over or self.rest_s <= 0


class RouteTree:
    """The search below the relaxation `bound`, whose prices all nodes begin with. Sides are looked at side by
    side, by so many threads."""

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
        if bound.step <= 0:
            return NOTHING
        graph = bound.graph
        whole = ClaimedGraph(graph=graph, arcs=graph.everything)
        claims = Claims(arcs=bound.useful(goal, watch))
        root = _Node(claims=claims, claimed=whole, bound=bound, asked=frozenset())
        search = _Search(goal=goal, watch=watch, until_s=until_s)
        outcome = self._below(root, search)
        if isinstance(outcome, list):
            outcome = self._depth_first(outcome, search)
        if isinstance(outcome, Choice):
            return outcome
        self.divided += 1
        return Choice(paths=(), lower_bound=np.inf)

    def _depth_first(self, sides: list[_Side], search: _Search) -> _Outcome:
        """No sides where all are ruled out; what was divided last is looked at first."""
        # Nearly all of it is machine code, which runs without the interpreter's lock.
        with ThreadPoolExecutor(self.threads) as pool:
            running: dict[Future[_Outcome], _Side] = {}
            looked, all_s = 0, search.rest_s
            try:
                while sides or running:
                    decided = 1 - math.fsum(side.part for side in (*sides, *running.values()))
                    tried_s = all_s - search.rest_s
                    hopeless = tried_s > TRYING * all_s and decided < DECIDED
                    many = looked >= MANY and tried_s > TRYING_MANY * all_s
                    if search.over or hopeless or (many and decided < DECIDED_MANY):
                        return NOTHING
                    while sides and len(running) < self.threads:
                        side = sides.pop()
                        running[pool.submit(self._look, side, search)] = side
                    for done in wait(running, return_when=FIRST_COMPLETED).done:
                        del running[done]
                        looked += 1
                        outcome = done.result()
                        if isinstance(outcome, Choice):
                            return outcome
                        sides += outcome
            finally:
                search.stopped = True
        return []

    def _look(self, side: _Side, search: _Search) -> _Outcome:
        """What a side comes to."""
        node = self._looked_at(side, search)
        if node is None:
            return NOTHING
        return [] if _above(node.bound, search.goal) else self._below(node, search)

    def _below(self, node: _Node, search: _Search) -> _Outcome:
        """What a node comes to whose relaxation is not above the goal."""
        sets = self._sets(node)
        if not sets or len(node.arcs) <= FEW_ARCS:
            choice = self._count(node, search, min(COUNTING_S, search.rest_s) if sets else search.rest_s)
            if choice.paths:
                return choice
            if choice.lower_bound > search.goal:
                return []
        if not sets:
            return NOTHING
        _, name, arcs = sets[0]
        used, left = node.claims.used, node.arcs
        both = Claims(arcs=left, used=(*used, arcs)), Claims(arcs=np.setdiff1d(left, arcs), used=used)
        return [_Side(above=node, claims=claims, name=name) for claims in both]

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

    def _looked_at(self, side: _Side, search: _Search) -> _Node | None:
        """A side, its relaxation known; None where there was no time."""
        node, above = side.above, side.above.bound
        over = claimed(self.bound.graph, side.claims)
        bound = RouteBound(over.graph, self.bound.step)
        place = over.place(node.claimed.arcs)
        paths = [
            RoutePath(k=path.k, arcs=tuple(place[list(path.arcs)].tolist()))
            for path in above.carrying(PATHS * len(over.graph.load))
            if path.k < len(over.graph.load) and (place[list(path.arcs)] >= 0).all()
        ]
        bound.resume(over.moved(above.prices, node.claimed), over.moved(above.guide, node.claimed), paths)
        inner = self._watch(search, search.rest_s)
        bound.run(inner, near=NEAR, rounding=False, rounds=ROUNDS)
        with self._telling:
            self.nodes += 1
        if not inner.closed and inner.limit is not None:
            return None
        return _Node(claims=side.claims, claimed=over, bound=bound, asked=node.asked | {side.name})

    def _count(self, node: _Node, search: _Search, time_limit_s: float) -> Choice:
        """What there is over the node's arcs, whatever else is claimed."""
        plain = claimed(self.bound.graph, Claims(arcs=node.arcs))
        bound = RouteBound(plain.graph, self.bound.step)
        inner = self._watch(search, time_limit_s)
        bound.sweep(inner)
        bound.run(inner, near=NEAR, rounding=False, rounds=ROUNDS)
        if inner.closed:
            return Choice(paths=(), lower_bound=np.inf)
        choice = RouteCounts(bound, self.seed).decide(search.goal, inner, time_limit_s=inner.remaining_s)
        paths = tuple(
            (RoutePath(k=path.k, arcs=tuple(plain.arcs[list(path.arcs)].tolist())), part)
            for path, part in choice.paths
        )
        return Choice(paths=paths, lower_bound=choice.lower_bound)

    def _watch(self, search: _Search, time_limit_s: float) -> Watch:
        """For a part of the plans: what is proven of them is not to be told, but that there is work is."""

        def report(_: Progress) -> None:
            with self._telling:
                search.watch.update(phase="branching")

        inner = Watch(time_limit_s=max(0.0, time_limit_s), report=report, should_stop=lambda: search.over)
        inner.update(objective=round_up(search.goal, self.bound.step))
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
