"""The linear relaxation of 5.3 in its strong form: a bound on every valid plan, routes split or not.

Its dual shares the price of every arc e among the classes. π_ke is what class k pays for it, and

    max Σ_k (price of k's cheapest path in time, arcs priced π_k)
    s.t. for every arc e:  max { Σ_k π_ke x_k :  Σ_k q_k x_k ≤ c_e,  0 ≤ x_k ≤ 1 }  ≤  s_e

so any prices that keep to this prove a bound. They are raised in two ways:

*Sweeps.* Where a class is far from using an arc, its share of it is wasted: it needs to pay only as much as
makes the arc no better than its cheapest path. Every arc's price is shared anew in proportion to these needs,
again and again; a few sweeps bring most of what there is, and then they get stuck.

*Rounds.* A few arcs are *active*, and over them alone prices are raised on towards the relaxation's optimum
(`solver.route_ascent`). They say what every class pays in all. The other arcs' prices are then shared by
sweeps towards that: a class needs to pay for an arc what is missing to its goal. An arc whose price is less
than what classes need to pay for it becomes active, and so do arcs of paths that stay below a class's goal.
When there are none, the bound is what the active arcs say: some hundred of many thousand.

*Left out.* Let prices prove z, and let classes pay for arc e no more than they need to. A plan that uses e
has a whole instance of it, routes split or not, and costs at least z + s_e − (what an instance full of them
pays). Where that is no better than the best plan known, the arc is dropped.

*Lean prices.* That is said of one arc at a time: of two arcs on one path a class cannot need to pay less for
both. Prices that are lowered towards the needs of all arcs at once, and raised again where paths became too
cheap, prove nearly the same z and leave much of most arcs unpaid. With them a plan costs at least z + Σ (what
is unpaid) over all the arcs it uses, so whole paths are left out, too (`RouteBound.lean`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from solver import route_kernel
from solver.outcome import Watch
from solver.route_ascent import RouteAscent, RoutePath, paths_of
from solver.route_graph import RouteGraph, Routing
from solver.routes import Floats, Indices
from solver.steps import round_up

__all__ = ["RouteBound", "RoutePath"]

# Sweeps, how far the first goes towards the new shares, and after how many it goes half as far.
SWEEPS, STRIDE, HALVING = 12, 0.5, 40
# Arcs that become active in a round at most, together and between the same cut points.
MORE_ACTIVE, MORE_ALIKE = 60, 2
# Sweeps of a round, and how far each goes.
ROUND_SWEEPS, ROUND_STRIDE = 3, 0.6
# How often prices are made lean, and how far towards the needs they are lowered. Every other time paths have
# become too cheap, and prices are raised again: so an even number.
LEAN_TURNS, LEAN_STRIDE = 6, 0.5
# What is missing to a goal matters from here on.
MATTERS = 1e-3
# How near to the relaxation's optimum is precise.
PRECISELY = MATTERS / 10
# Rounds, and the steps of the ascent in each: more and more once the other arcs' prices are good enough.
ROUNDS, FEWEST_STEPS, MOST_STEPS, MORE_STEPS = 5_000, 200, 600, 1.3
# What sums of prices in single precision may be wrong by, generously.
SINGLE = 2e-5


@dataclass(frozen=True, kw_only=True, eq=False)
class Lean:
    """A plan costs at least `value` and, for every arc that it uses, `unpaid` [E]."""

    value: float
    unpaid: Floats


class RouteBound:
    """The ascent; `value` is the best bound so far, `prices` [K, E] prove it, `alive` are the arcs left.

    Arcs are left out by the watch's objective, the price of a plan at hand: the bound is on plans below it.
    `at_least` [E] is what such a plan costs at least if it uses an arc. `paths` are those found on the way,
    `relaxed` is the relaxation's optimum, or above it, and `done` says that `value` is as near to it as it
    will be. `guide` [K, E] are prices near those of the relaxation: they prove nothing, but the paths of good
    plans are cheap at them. `use` [E] is how many instances of an arc the relaxation needs, nearly.
    """

    def __init__(self, graph: RouteGraph, step: float) -> None:
        self.graph, self.step = graph, step
        # To begin with every arc is bought in fractions, as its load needs it.
        self.prices = np.where(graph.able, graph.price * graph.load[:, None] / graph.capacity, 0.0)
        self.guide = self.prices
        self.use = np.zeros(len(graph.tail))
        self.value, self.relaxed = 0.0, np.inf
        self.done = False
        self.at_least = np.zeros(len(graph.tail))
        self.alive = graph.everything
        self._ascent: RouteAscent | None = None
        self._given: list[RoutePath] = []
        self._steps = float(FEWEST_STEPS)
        self._lean: tuple[float, Lean] | None = None

    @property
    def paths(self) -> list[RoutePath]:
        """All paths found."""
        return self._given if self._ascent is None else list(self._ascent)

    def add(self, path: RoutePath) -> None:
        """Make a path known, and its arcs active, unless some are left out."""
        if self._ascent is None:
            self._given.append(path)
        elif np.isin(path.arcs, self.alive).all():
            self._ascent.add([path])

    def resume(self, prices: Floats, guide: Floats, paths: Iterable[RoutePath]) -> None:
        """Begin with prices [K, E] that keep to every arc's, a guide like them, and paths."""
        self.prices, self.guide = prices, guide
        self._given = list(paths)

    def carrying(self, most: int) -> list[RoutePath]:
        """Of the paths found those that carry most, so many of them all."""
        return self._given[:most] if self._ascent is None else self._ascent.carrying(most)

    def sweep(self, watch: Watch) -> None:
        """Raise the bound quickly: sweeps alone."""
        prices = self.prices
        for sweep in range(SWEEPS):
            routing = self._evaluate(prices, watch)
            if watch.over:
                return
            arcs = self.alive
            needs = self._needs(routing, arcs, routing.distances)
            self._leave_out(routing, needs, prices, watch)
            stride = STRIDE / (1 + sweep / HALVING)
            prices = (1 - stride) * prices
            prices[:, arcs] += stride * self._shared(needs, arcs)

    def run(
        self, watch: Watch, *, near: float = PRECISELY, rounding: bool = True, rounds: int = ROUNDS
    ) -> None:
        """Raise the bound until the relaxation's optimum is reached or the watch says stop.

        It is reached where no more than `near` is missing, as a part of it, or, with `rounding`, where both
        are the same in steps of the price. It is given up after so many rounds.
        """
        ascent = None if watch.over else self._begun(watch)
        if ascent is None:
            return
        for _ in range(rounds):
            ascent.run(round(self._steps), watch)
            if watch.over:
                return
            self.relaxed, self.use = ascent.above, ascent.use
            self.guide = self._share_the_rest(ascent, self.guide, watch)
            done = self.value >= self.relaxed * (1 - near)
            if rounding and self.step > 0:
                done |= round_up(self.value, self.step) >= round_up(self.relaxed, self.step)
            if done:
                self.done = True
                return
            if watch.over:
                return

    def useful(self, most: float, watch: Watch) -> Indices:
        """Arcs that a plan of at most this price (below the watch's objective) may use."""
        routing = self.graph.routing(self.prices, self.alive)
        needs = self._needs(routing, self.alive, routing.distances)
        self._leave_out(routing, needs, self.prices, watch)
        return self.alive[self.at_least[self.alive] <= most * (1 + SINGLE)]

    def lean(self) -> Lean:
        """What prices prove that pay for arcs as little as may be."""
        if self._lean is not None and self._lean[0] == self.value:
            return self._lean[1]
        graph, arcs, most = self.graph, self.alive, self.prices[:, self.alive]
        prices = self.prices.copy()
        routing = graph.routing(prices, arcs, exact=True)
        goal = routing.distances
        for _ in range(LEAN_TURNS):
            here, needs = prices[:, arcs], self._needs(routing, arcs, goal)
            lowered = here + LEAN_STRIDE * np.minimum(needs - here, 0.0)
            prices[:, arcs] = np.where(needs > here, np.minimum(needs, most), lowered)
            routing = graph.routing(prices, arcs, exact=True)
        unpaid = np.zeros(len(graph.tail))
        unpaid[arcs] = np.maximum(0.0, graph.price[arcs] - knapsacks(prices[:, arcs], graph, arcs))
        best = Lean(value=float(routing.distances.sum()) * (1 - SINGLE / 10), unpaid=unpaid)
        self._lean = (self.value, best)
        return best

    def _evaluate(self, prices: Floats, watch: Watch) -> Routing:
        """The bound these prices prove."""
        routing = self.graph.routing(prices, self.alive)
        # Where arcs were left out, a class may have no path: then no plan is cheaper than the one at hand.
        value = min(float(routing.distances.sum()), watch.objective)
        if value > self.value:
            exact = self.graph.routing(prices, self.alive, exact=True)
            value = min(float(exact.distances.sum()), watch.objective)
        if value > self.value:
            self.value, self.prices = value, prices
        watch.update(phase="routes", lower_bound=round_up(self.value, self.step))
        return routing

    def _begun(self, watch: Watch) -> RouteAscent | None:
        """The ascent, begun with every class's cheapest path; None where all is over."""
        if self._ascent is None:
            routing = self._evaluate(self.prices, watch)
            if watch.over:  # perhaps since a class has no path left
                return None
            self.guide = self.prices
            self._ascent = RouteAscent(self.graph, self.prices)
            self._ascent.pays(routing.distances)
            self._ascent.add(paths_of(routing))
            self._ascent.add(path for path in self._given if np.isin(path.arcs, self.alive).all())
        return self._ascent

    def _share_the_rest(self, ascent: RouteAscent, before: Floats, watch: Watch) -> Floats:
        """Prices for all other arcs, so that every class pays what the active ones make it pay, or nearly."""
        graph, own = self.graph, ascent.prices()
        over_active = ascent.look(last=False)
        goal = over_active.distances
        active = np.zeros(len(graph.tail), dtype=bool)
        active[ascent.arcs] = True
        rest = self.alive[~active[self.alive]]
        missing = self._needs(over_active, rest, goal)
        short = knapsacks(missing, graph, rest) / graph.price[rest] - 1
        found = self._short(over_active, rest, missing, short)
        prices = own.copy()
        prices[:, rest] = before[:, rest]
        routing = self._evaluate(prices, watch)
        for _ in range(ROUND_SWEEPS):
            if watch.over or routing.distances.sum() >= goal.sum() * (1 - MATTERS / 10):
                break
            arcs = self.alive
            needs = self._needs(routing, arcs, goal)
            self._leave_out(
                routing, np.maximum(0.0, needs - (goal - routing.distances)[:, None]), prices, watch
            )
            others = ~active[arcs]
            rest, anew = arcs[others], self._shared(needs, arcs)[:, others]
            prices = prices.copy()
            prices[:, rest] = (1 - ROUND_STRIDE) * prices[:, rest] + ROUND_STRIDE * anew
            routing = self._evaluate(prices, watch)
        found += paths_of(routing, np.flatnonzero(routing.distances < goal * (1 - MATTERS)))
        if not found:
            self._steps = min(self._steps * MORE_STEPS, MOST_STEPS)
        left = np.zeros(len(graph.tail), dtype=bool)
        left[self.alive] = True
        ascent.share_the_rest(np.flatnonzero(left & ~active), prices)
        ascent.add(path for path in found if left[list(path.arcs)].all())
        return prices

    def _short(self, routing: Routing, rest: Indices, missing: Floats, short: Floats) -> list[RoutePath]:
        """Paths through arcs that cost less than classes would have to pay for them, shortest of it first."""
        graph = self.graph
        alike: dict[tuple[int, int], int] = {}
        chosen = 0
        found: list[RoutePath] = []
        for position in np.argsort(-short).tolist():
            if short[position] <= MATTERS or chosen >= MORE_ACTIVE:
                break
            arc = int(rest[position])
            ends = (int(graph.tail[arc]), int(graph.head[arc]))
            if alike.get(ends, 0) >= MORE_ALIKE:
                continue
            alike[ends] = alike.get(ends, 0) + 1
            chosen += 1
            for k in np.flatnonzero(missing[:, position] > 0).tolist():
                found.append(RoutePath(k=k, arcs=routing.through(k, arc)))
        return found

    def _needs(self, routing: Routing, arcs: Indices, goal: Floats) -> Floats:
        """[K, arcs]: what a class has to pay for an arc, so that paths through it reach its goal."""
        return route_kernel.needs(routing.without(arcs), goal)

    def _shared(self, needs: Floats, arcs: Indices) -> Floats:
        """[K, arcs]: the arcs' prices shared in proportion to the needs."""
        earned = knapsacks(needs, self.graph, arcs)
        shared: Floats = needs * np.where(earned > 0, self.graph.price[arcs] / np.maximum(earned, 1e-300), 0)
        return shared

    def _leave_out(self, routing: Routing, needs: Floats, prices: Floats, watch: Watch) -> None:
        """Drop the arcs that no plan cheaper than the watch's objective uses."""
        if not np.isfinite(watch.objective):
            return
        cutoff = watch.objective - self.step * (1 - 1e-6) if self.step > 0 else watch.objective
        paid = knapsacks(np.minimum(needs, self.graph.of(prices, self.alive)), self.graph, self.alive)
        unpaid = self.graph.price[self.alive] - paid
        using = float(routing.distances.sum()) * (1 - SINGLE) + unpaid
        self.at_least[self.alive] = np.maximum(self.at_least[self.alive], using)
        kept = self.at_least[self.alive] <= cutoff
        if not kept.all():
            gone = self.alive[~kept]
            self.alive = self.alive[kept]
            if self._ascent is not None:
                self._ascent.leave_out(gone)


def knapsacks(gains: Floats, graph: RouteGraph, arcs: Indices) -> Floats:
    """[arcs]: max Σ_k gains_ke x_k with Σ_k q_k x_k ≤ c_e, 0 ≤ x_k ≤ 1."""
    return route_kernel.knapsacks(np.ascontiguousarray(gains), graph.load, graph.capacity[arcs])
