"""What is claimed of a plan's instances, so that the relaxation of 5.3 rises: branching.

Let S be a set of arcs over one layer. Every valid plan is on one of two sides:

* *Unused*: there are no instances of S, so its arcs are closed.
* *Used*: there is an instance of some arc of S. Unused instances only cost, so some class has a path in time
  through S, and all of its arcs have instances. That is said by one more class, of no load, whose paths all
  lead through S: it has to find x_re ≤ n_e as the others do, and pays for arcs as they do. It enters where
  any class does, with as much time as the class there that has most: by free arcs from the first cut point
  to the others, which take away the time that is less there. Over the layer of S only S is open to it.

Without that class half an instance of S may do in the relaxation. With it a whole one is asked for, and a
whole path from somewhere to it, and from it to the end.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from solver.route_graph import RouteGraph
from solver.routes import Floats, Indices

# What a free arc costs and what the load of whoever has none is, as parts of the least of others: not 0,
# since both are divided by, but far below what sums of doubles are wrong by. What a free arc carries, in
# parts of all loads.
FREE, NOTHING, CARRIES = 1e-12, 1e-9, 2.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Claims:
    """Only `arcs` (rising numbers) have instances, and of each set in `used` some arc has."""

    arcs: Indices
    used: tuple[Indices, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class ClaimedGraph:
    """The graph of the plans that keep to claims: a class for each set that is used, after the others.

    `arcs` are the numbers [E'] that its arcs have in the whole graph, −1 for free ones.
    """

    graph: RouteGraph
    arcs: Indices

    def moved(self, prices: Floats, origin: ClaimedGraph) -> Floats:
        """[K', E']: another one's prices, of the classes and arcs that are here, too; the rest is free."""
        place = origin.place(self.arcs)
        both = min(len(prices), len(self.graph.load))
        found = np.zeros(self.graph.able.shape)
        there = place >= 0
        found[:both, there] = prices[:both][:, place[there]]
        return found

    def place(self, numbers: Indices) -> Indices:
        """Where arcs of the whole graph are among these, −1 for those that are not."""
        place = np.full(max(self.arcs.max(initial=0), numbers.max(initial=0)) + 2, -1, dtype=np.intp)
        real = np.flatnonzero(self.arcs >= 0)
        place[self.arcs[real]] = real
        found: Indices = place[numbers]
        return found


def claimed(graph: RouteGraph, claims: Claims) -> ClaimedGraph:
    """The graph of plans that keep to claims."""
    arcs = claims.arcs
    smaller = graph.over(arcs)
    if not claims.used:
        return ClaimedGraph(graph=smaller, arcs=arcs)
    first = int(graph.entry.min())
    # By cut point: the most that a class has which enters there; where none does, −1.
    ticks, time = np.full(graph.depth, -1, dtype=np.intp), np.full(graph.depth, -1.0)
    np.maximum.at(ticks, graph.entry, graph.allowed)
    np.maximum.at(time, graph.entry, graph.budget)
    onto = np.flatnonzero(ticks[first + 1 :] >= 0) + first + 1
    tail = np.concatenate([smaller.tail, np.full(len(onto), first)])
    head = np.concatenate([smaller.head, onto])
    able = np.zeros((len(graph.load) + len(claims.used), len(tail)), dtype=bool)
    able[: len(graph.load), : len(arcs)] = smaller.able
    real = np.arange(len(tail)) < len(arcs)
    somebody = able[: len(graph.load)].any(axis=0)
    for number, used in enumerate(claims.used):
        layer = int(graph.tail[used].max())
        across = (tail <= layer) & (head > layer)
        within = np.isin(np.concatenate([arcs, np.full(len(onto), -1)]), used)
        able[len(graph.load) + number] = np.where(real, somebody & (within | ~across), head <= layer)
    order = np.argsort(tail, kind="stable")
    more = len(claims.used)

    extended = replace(
        smaller,
        tail=tail[order],
        head=head[order],
        time=np.concatenate([smaller.time, time.max() - time[onto]])[order],
        ticks=np.concatenate([smaller.ticks, ticks.max() - ticks[onto]])[order],
        capacity=np.concatenate([smaller.capacity, np.full(len(onto), CARRIES * float(graph.load.sum()))])[
            order
        ],
        price=np.concatenate([smaller.price, np.full(len(onto), FREE * float(graph.price.min()))])[order],
        entry=np.concatenate([graph.entry, np.full(more, first)]),
        budget=np.concatenate([graph.budget, np.full(more, time.max())]),
        allowed=np.concatenate([graph.allowed, np.full(more, ticks.max())]),
        load=np.concatenate([graph.load, np.full(more, NOTHING * float(graph.load.min()))]),
        able=np.ascontiguousarray(able[:, order]),
        class_of=np.arange(len(able)),
    )
    numbers = np.concatenate([arcs, np.full(len(onto), -1, dtype=np.intp)])[order]
    return ClaimedGraph(graph=extended, arcs=numbers)
