"""The linear relaxation of 5.3 in its strong form: a bound on every valid plan, routes split or not.

Its dual shares the price of every arc e among the classes. π_ke is what class k pays for it, and

    max Σ_k (price of k's cheapest path in time, arcs priced π_k)
    s.t. for every arc e:  max { Σ_k π_ke x_k :  Σ_k q_k x_k ≤ c_e,  0 ≤ x_k ≤ 1 }  ≤  s_e

so any prices that keep to this prove a bound. They are raised in two ways:

*Sweeps.* Where a class is far from using an arc, its share of it is wasted: it needs to pay only as much as
makes the arc no better than its cheapest path. Every arc's price is shared anew in proportion to these needs,
again and again; a few sweeps bring most of what there is, and then they get stuck.

*Rounds.* A few arcs are *active*, and over them alone the relaxation is solved, by column generation with all
rows of the active arcs (`solver.route_relaxation`). Its optimum says what every class should pay in all. The
other arcs' prices are then shared by sweeps towards that: a class needs to pay for an arc what is missing to
its goal. An arc whose price is less than what classes need to pay for it becomes active, and so do arcs of
paths that stay below a class's goal. When there are none, the bound meets the relaxation's optimum, found
over some hundred of many thousand arcs.

*Left out.* Let prices prove z, and let classes pay for arc e no more than they need to. A plan that uses e
has a whole instance of it, routes split or not, and costs at least z + s_e − (what an instance full of them
pays). Where that is no better than the best plan known, the arc is dropped.
"""

from __future__ import annotations

import numpy as np

from solver.outcome import Watch
from solver.route_graph import RouteGraph, Routing
from solver.route_relaxation import RoutePath, RouteRelaxation
from solver.routes import Floats, Indices
from solver.steps import round_up

__all__ = ["RouteBound", "RoutePath"]

# Sweeps, how far the first goes towards the new shares, and after how many it goes half as far.
SWEEPS, STRIDE, HALVING = 12, 0.5, 40
# Active arcs to begin with, and added in a round at most, together and between the same cut points.
FIRST_ACTIVE, MORE_ACTIVE, MORE_ALIKE = 60, 60, 2
# Sweeps of a round, and how far each goes.
ROUND_SWEEPS, ROUND_STRIDE = 4, 0.6
# The relaxation over the active arcs is solved this closely, or to this part of the gap that is left where
# that is more; what is missing to a goal matters from there on.
CLOSE, CLOSE_PART = 2e-3, 0.1
MATTERS = 1e-3
# Rounds; those of the relaxation in each, which are twice as many once nothing has come of one.
ROUNDS, FEWEST_ROUNDS, MOST_ROUNDS = 500, 4, 32
# What sums of prices in single precision may be wrong by, generously.
SINGLE = 2e-5


class RouteBound:
    """The ascent; `value` is the best bound so far, `prices` [K, E] prove it, `alive` are the arcs left.

    Arcs are left out by the watch's objective, the price of a plan at hand: the bound is on plans below it.
    `at_least` [E] is what such a plan costs at least if it uses an arc. `paths` are those found on the way,
    `relaxed` is the relaxation's optimum, or above it, and `done` says that `value` is as near to it as it
    will be. `guide` [K, E] are prices near those of the relaxation: they prove nothing, but the paths of good
    plans are cheap at them.
    """

    def __init__(self, graph: RouteGraph, step: float) -> None:
        self.graph, self.step = graph, step
        # To begin with every arc is bought in fractions, as its load needs it.
        self.prices = np.where(graph.able, graph.price * graph.load[:, None] / graph.capacity, 0.0)
        self.guide = self.prices
        self.value, self.relaxed = 0.0, np.inf
        self.done = False
        self.at_least = np.zeros(len(graph.tail))
        self.alive = graph.everything
        self.relaxation = RouteRelaxation(graph)
        self._active = np.zeros(len(graph.tail), dtype=bool)
        self._rounds = FEWEST_ROUNDS

    @property
    def paths(self) -> list[RoutePath]:
        """All paths found."""
        return list(self.relaxation)

    def add(self, path: RoutePath) -> None:
        """Make a path known, and its arcs active."""
        self._active[list(path.arcs)] = True
        self.relaxation.add(path)

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

    def run(self, watch: Watch) -> None:
        """Raise the bound until the relaxation's optimum is reached or the watch says stop."""
        if watch.over:
            return
        rest = self.prices
        self._begin(watch)
        if watch.over:
            return
        self._rounds = FEWEST_ROUNDS
        for _ in range(ROUNDS):
            before = (self.value, int(self._active.sum()))
            own = self._relax(rest, watch)
            if own is None or watch.over:
                return
            rest = self.guide = self._share_the_rest(own, rest, watch)
            done = self.value >= self.relaxed * (1 - MATTERS / 10)
            rounded = self.step > 0 and round_up(self.value, self.step) >= round_up(self.relaxed, self.step)
            if done or rounded:
                self.done = True
                return
            if watch.over:
                return
            if self.value <= before[0] and int(self._active.sum()) <= before[1]:
                self._rounds = min(2 * self._rounds, MOST_ROUNDS)

    def useful(self, most: float, watch: Watch) -> Indices:
        """Arcs that a plan of at most this price (below the watch's objective) may use."""
        routing = self.graph.routing(self.prices, self.alive)
        needs = self._needs(routing, self.alive, routing.distances)
        self._leave_out(routing, needs, self.prices, watch)
        return self.alive[self.at_least[self.alive] <= most * (1 + SINGLE)]

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

    def _begin(self, watch: Watch) -> None:
        """The first active arcs and paths: cheapest paths, and arcs that many want."""
        routing = self._evaluate(self.prices, watch)
        if watch.over:  # perhaps since a class has no path left
            return
        needs = self._needs(routing, self.alive, routing.distances)
        wanted = _knapsacks(needs, self.graph, self.alive) / self.graph.price[self.alive]
        for k, path in enumerate(routing.paths()):
            self.add(RoutePath(k=k, arcs=path))
        self._active[self.alive[np.argsort(-wanted)[:FIRST_ACTIVE]]] = True

    def _relax(self, center: Floats, watch: Watch) -> Floats | None:
        """[K, E]: prices of the active arcs at the optimum over them; the others are not priced."""
        active = np.flatnonzero(self._active)
        left = 1.0 if not np.isfinite(self.relaxed) else 1 - self.value / self.relaxed
        centers = (self.prices, center)
        close = max(CLOSE, CLOSE_PART * left)
        solved = self.relaxation.solve(active, close, centers, watch, rounds=self._rounds)
        if solved is None:
            return None
        self.relaxed = solved.value
        prices = np.zeros_like(self.prices)
        prices[:, active] = solved.prices
        return self._scaled(prices)

    def _share_the_rest(self, own: Floats, before: Floats, watch: Watch) -> Floats:
        """Prices for all other arcs, so that every class pays what the active ones make it pay, or nearly."""
        graph, active = self.graph, np.flatnonzero(self._active)
        over_active = graph.routing(own, active)
        goal = over_active.distances
        rest = self.alive[~self._active[self.alive]]
        missing = self._needs(over_active, rest, goal)
        short = _knapsacks(missing, graph, rest) / graph.price[rest] - 1
        self._activate_short(over_active, rest, missing, short)
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
            others = ~self._active[arcs]
            rest, anew = arcs[others], self._shared(needs, arcs)[:, others]
            prices = prices.copy()
            prices[:, rest] = (1 - ROUND_STRIDE) * prices[:, rest] + ROUND_STRIDE * anew
            routing = self._evaluate(prices, watch)
        for k in np.flatnonzero(routing.distances < goal * (1 - MATTERS)).tolist():
            self.add(RoutePath(k=k, arcs=routing.path(k)))
        return prices

    def _activate_short(self, routing: Routing, rest: Indices, missing: Floats, short: Floats) -> None:
        """The arcs that cost less than the classes would have to pay for them, shortest of it first."""
        graph = self.graph
        alike: dict[tuple[int, int], int] = {}
        chosen = 0
        for position in np.argsort(-short).tolist():
            if short[position] <= MATTERS or chosen >= MORE_ACTIVE:
                return
            arc = int(rest[position])
            ends = (int(graph.tail[arc]), int(graph.head[arc]))
            if alike.get(ends, 0) >= MORE_ALIKE:
                continue
            alike[ends] = alike.get(ends, 0) + 1
            chosen += 1
            self._active[arc] = True
            for k in np.flatnonzero(missing[:, position] > 0).tolist():
                self.add(RoutePath(k=k, arcs=routing.through(k, arc)))

    def _needs(self, routing: Routing, arcs: Indices, goal: Floats) -> Floats:
        """[K, arcs]: what a class has to pay for an arc, so that paths through it reach its goal."""
        around = routing.without(arcs)
        reached = np.where(np.isfinite(goal), goal, 0.0)[:, None]
        needs: Floats = np.where(np.isfinite(around), np.maximum(reached - around, 0.0), 0.0)
        return needs

    def _shared(self, needs: Floats, arcs: Indices) -> Floats:
        """[K, arcs]: the arcs' prices shared in proportion to the needs."""
        earned = _knapsacks(needs, self.graph, arcs)
        shared: Floats = needs * np.where(earned > 0, self.graph.price[arcs] / np.maximum(earned, 1e-300), 0)
        return shared

    def _scaled(self, prices: Floats) -> Floats:
        """What rounding lets an arc earn above its price is taken back."""
        earned = _knapsacks(prices, self.graph, self.graph.everything)
        return prices * np.minimum(1.0, self.graph.price / np.maximum(earned, 1e-300))

    def _leave_out(self, routing: Routing, needs: Floats, prices: Floats, watch: Watch) -> None:
        """Drop the arcs that no plan cheaper than the watch's objective uses."""
        if not np.isfinite(watch.objective):
            return
        cutoff = watch.objective - self.step * (1 - 1e-6) if self.step > 0 else watch.objective
        paid = _knapsacks(np.minimum(needs, prices[:, self.alive]), self.graph, self.alive)
        unpaid = self.graph.price[self.alive] - paid
        using = float(routing.distances.sum()) * (1 - SINGLE) + unpaid
        self.at_least[self.alive] = np.maximum(self.at_least[self.alive], using)
        kept = self.at_least[self.alive] <= cutoff
        if not kept.all():
            gone = self.alive[~kept]
            self.alive = self.alive[kept]
            self._active[gone] = False
            self.relaxation.leave_out(gone)


def _knapsacks(gains: Floats, graph: RouteGraph, arcs: Indices) -> Floats:
    """[arcs]: max Σ_k gains_ke x_k with Σ_k q_k x_k ≤ c_e, 0 ≤ x_k ≤ 1."""
    load = graph.load[:, None]
    order = np.argsort(-gains / load, axis=0, kind="stable")
    ordered = graph.load[order]
    before = np.cumsum(ordered, axis=0) - ordered
    taken = np.clip(graph.capacity[arcs] - before, 0.0, ordered) / ordered
    earned: Floats = (taken * np.take_along_axis(gains, order, axis=0)).sum(axis=0)
    return earned
