"""Local search over groups and meeting points: take some demands out of a forest, and put them back better.

What stars (`planner.realigning`) give is improved in rounds. Each step of a round

    takes out     a few demands: what enters one stage and all that feeds it, a whole tree, demands that
                  are alike, or any; stages that nothing enters any more go with them
    settles       the trees they left, which may now take cheaper options
    puts back     demand after demand, or all of one start in bundles, each where it costs least: into a
                  stage that starts where it starts, by an alignment stage of its own to any stage that
                  starts later, or on a stage of its own to the end. The order, how much of the time a new
                  stage may take and how much load it should expect beside this one are drawn at random
    settles       the trees that changed, and keeps the result if it is cheaper, or little dearer in the
                  early steps of a round

and after each round the trees seen so far are recombined (`planner.recombining`). Randomness comes from a
seed, and how many steps there are does not depend on the clock, so the same input gives the same plan.

This is our reconstruction of nothing: the paper names no such step. benchmarks/planner_ablation.py shows
what it buys. The scheme is known as ruin and recreate (Schrimpf et al., J. Comp. Phys. 159, 2000).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

import numpy as np

from planner.allocating import Tree
from planner.chaining import alone
from planner.forest import ROUNDING_MS, Forest, Front, Stem
from planner.menu import EPSILON
from planner.recombining import best_cover

# A step may take out this many demands at most.
MAX_TAKEN = 24

# In the first step of a round a result may be dearer by up to this part of the forest's price, in the last
# not at all.
WARMTH = 0.01

# Loads for which prices are looked up while demands are put back are rounded up to powers of this, so that
# they recur; the tree is settled with the true ones.
GRID = 1.05

# Fronts and curves that a step may make, on average over a round; most need 8 to 12. Deep models and many
# unmeasured cells make long chains, on which steps take several times as long: a round has fewer of them.
WORK_PER_STEP = 16

# A step is given up when what is paid exceeds what was paid before by this part.
HOPE = 0.1

# What a new stage expects to carry in all, as a multiple of what it is opened for.
EXPECTED = (1.0, 1.0, 1.0, 1.0, 1.5, 2.0, 3.0, 5.0)

# The part of the time that is left which a new stage may take, so that others can still come before it.
HASTE = (1.0, 1.0, 0.8, 0.6, 0.4)

# The probability that a place to put a demand back is overlooked, so that not always the same is found.
OVERLOOK = (0.0, 0.05, 0.2)


class Search:
    """A forest over some demands of one model, being improved. `roots` and `prices` are the trees now."""

    def __init__(
        self, forest: Forest, roots: Sequence[Stem], *, seed: int = 0, recombine: bool = True
    ) -> None:
        """`roots` hold every demand of the forest exactly once; they are never changed, only replaced."""
        self.forest = forest
        self.roots = list(roots)
        self.prices = [forest.settle(root) for root in self.roots]
        self.random = random.Random(seed)
        self.recombine = recombine
        self._seen: dict[frozenset[int], tuple[float, Stem]] = {}
        self._singles: dict[int, Stem] = {}
        self._work_per_step = 1.0  # in the last round; at least 1
        # Where demands lie for `_choose`: a quarter of the model counts as much as a budget e times as large.
        depth = forest.menu.depth
        self._places = np.column_stack([4 / depth * np.array(forest.starts), np.log(forest.budgets)])
        self._noise = np.random.default_rng(seed)
        self._find_home()

    @property
    def price(self) -> float:
        """What the forest costs now."""
        return math.fsum(self.prices)

    def improve(self, steps: int, must_stop: Callable[[], bool] = lambda: False) -> None:
        """One round of so many steps, or fewer if they are laborious; the forest is never dearer afterwards.

        `must_stop` is asked before every step, and ends the round early.
        """
        best = (self.price, self.roots, self.prices)
        fronts = self.forest.fronts
        began, most = fronts.work, fronts.work + WORK_PER_STEP * steps
        # As many as the last round could have done, so that this one cools down in time.
        steps = max(1, min(steps, int(WORK_PER_STEP * steps / self._work_per_step)))
        done = 0
        for step in range(steps):
            if must_stop() or fronts.work >= most:
                break
            done += 1
            warmth = WARMTH * best[0] * (1 - step / steps)
            if self._step(warmth) and self.price < best[0] - ROUNDING_MS:
                best = (self.price, self.roots, self.prices)
        _, self.roots, self.prices = best
        self._find_home()
        self._work_per_step = max(1.0, (fronts.work - began) / max(1, done))
        if self.recombine and not must_stop():
            self._recombine()

    def trees(self) -> list[Tree]:
        """The forest as it is now."""
        for root in self.roots:
            self.forest.settle(root)
        return [self.forest.harvested(root) for root in self.roots]

    def _step(self, warmth: float) -> bool:
        """One step; whether its result was kept."""
        taken = self._choose()
        roots: list[Stem | None] = list(self.roots)
        touched = {self._home[demand] for demand in taken}
        before = math.fsum(self.prices[number] for number in touched)
        # What is paid so far, as demands are put back. Settling seldom saves more than HOPE of it.
        paid = self._take_out(roots, touched, set(taken))
        most = before * (1 + HOPE) + warmth
        expected = self.random.choice(EXPECTED)
        overlook, haste = self.random.choice(OVERLOOK), self.random.choice(HASTE)
        for bundle in self._ordered(self._bundles(taken)):
            paid += self._put_back(roots, touched, bundle, expected, haste, overlook)
            if paid > most:
                return False
        before = math.fsum(self.prices[number] for number in touched if number < len(self.prices))
        after = {number: self._settle(root) for number in touched if (root := roots[number]) is not None}
        if math.fsum(after.values()) > before + warmth * self.random.random():
            return False
        self.prices = [
            after[number] if number in touched else self.prices[number]
            for number, root in enumerate(roots)
            if root is not None
        ]
        self.roots = [root for root in roots if root is not None]
        self._find_home()
        return True

    def _find_home(self) -> None:
        """Note which tree every demand is in."""
        self._home = {demand: number for number, root in enumerate(self.roots) for demand in root.everybody()}

    def _settle(self, root: Stem) -> float:
        """Settle a tree that was put together anew, and remember it; it must not be changed any more."""
        price = self.forest.settle(root)
        if self.recombine and math.isfinite(price):
            key = frozenset(root.everybody())
            if key not in self._seen or price < self._seen[key][0]:
                self._seen[key] = (price, root)
        return price

    def _choose(self) -> list[int]:
        """Which demands to take out."""
        forest, draw = self.forest, self.random
        count = len(forest.starts)
        kind = draw.random()
        if kind < 0.55:
            stem = draw.choice(list(draw.choice(self.roots).walk()))
            if kind < 0.15:
                taken = self._root_of(stem).everybody()
            else:
                taken = (stem.parent if stem.parent is not None and kind < 0.35 else stem).everybody()
        elif kind < 0.85:
            size = min(count, 1 + int(draw.expovariate(1 / 6)))
            apart = np.abs(self._places - self._places[draw.randrange(count)]).sum(axis=1)
            apart += self._noise.random(count) * 0.5
            taken = apart.argsort()[:size].tolist()
        else:
            taken = draw.sample(range(count), min(count, 1 + int(draw.expovariate(1 / 4))))
        return taken if len(taken) <= MAX_TAKEN else draw.sample(taken, MAX_TAKEN)

    @staticmethod
    def _root_of(stem: Stem) -> Stem:
        while stem.parent is not None:
            stem = stem.parent
        return stem

    def _take_out(self, roots: list[Stem | None], touched: set[int], gone: set[int]) -> float:
        """Remove these demands from copies of their trees, and settle what is left; its price."""
        paid = 0.0
        for number in touched:
            twin = self.roots[number].copy()
            for stem in twin.walk():
                if not gone.isdisjoint(stem.demands):
                    stem.demands = [demand for demand in stem.demands if demand not in gone]
                    stem.changed()
            left = roots[number] = self.forest.prune(twin)
            if left is not None:
                # Not remembered: demands will be put into this very tree.
                paid += self.forest.settle(left)
        return paid

    def _bundles(self, taken: list[int]) -> list[list[int]]:
        """What is put back together: single demands, all of one start, or of one start with close budgets."""
        draw, forest = self.random, self.forest
        kind = draw.random()
        if kind < 0.3:
            return [[number] for number in taken]
        by_start: dict[int, list[int]] = {}
        for number in sorted(taken, key=lambda number: forest.budgets[number]):
            by_start.setdefault(forest.starts[number], []).append(number)
        if kind < 0.6:
            return list(by_start.values())
        bundles = []
        for together in by_start.values():
            bundles.append([together[0]])
            for number in together[1:]:
                if draw.random() < 0.4:
                    bundles.append([])
                bundles[-1].append(number)
        return bundles

    def _ordered(self, bundles: list[list[int]]) -> list[list[int]]:
        """Late starts first, so that early ones find somebody to meet; or tight budgets, or heavy loads."""
        draw, forest = self.random, self.forest
        kind = draw.random()
        if kind < 0.5:
            bundles.sort(key=lambda bundle: (-forest.starts[bundle[0]], forest.budgets[bundle[0]]))
        elif kind < 0.75:
            bundles.sort(key=lambda bundle: forest.budgets[bundle[0]])
        elif kind < 0.9:
            draw.shuffle(bundles)
        else:
            bundles.sort(key=lambda bundle: -sum(forest.loads[number] for number in bundle))
        return bundles

    def _put_back(
        self,
        roots: list[Stem | None],
        touched: set[int],
        bundle: list[int],
        expected: float,
        haste: float,
        overlook: float,
    ) -> float:
        """Put demands of one start where they cost least; what is paid for it, before the tree is settled."""
        forest, draw = self.forest, self.random
        start = forest.starts[bundle[0]]
        budget = min(forest.budgets[number] for number in bundle)
        load = math.fsum(forest.loads[number] for number in bundle)
        hoped = GRID ** math.ceil(math.log(load * expected, GRID))
        best = forest.front(start, forest.menu.depth, hoped).price(budget) / expected
        place: tuple[int, Stem] | None = None
        for number, root in enumerate(roots):
            if root is None:
                continue
            waiting = [(root, 0.0)]
            while waiting:
                stem, cost = waiting.pop()
                if stem.start < start or stem.tail_ms > budget:
                    continue
                carried = stem.load_rps + load
                if carried > stem.room_rps * (1 + EPSILON):
                    cost += math.ceil(carried / stem.unit_rps - EPSILON) * stem.unit_price - stem.price
                if cost >= best:
                    continue
                waiting.extend((feeder, cost) for feeder in stem.feeders)
                if overlook and draw.random() < overlook:
                    continue
                if stem.start > start:
                    # Most places are too dear at any time: they need no front.
                    if cost + forest.fronts.floor(start, stem.start, hoped) / expected >= best:
                        continue
                    front = forest.front(start, stem.start, hoped)
                    cost += front.price(budget - stem.tail_ms) / expected
                if cost < best:
                    best, place = cost, (number, stem)
        if place is None:
            return self._open(roots, touched, bundle, hoped, budget * haste)
        number, stem = place
        if number not in touched:
            touched.add(number)
            twins: dict[int, Stem] = {}
            root = roots[number]
            assert root is not None
            roots[number] = root.copy(twins)
            stem = twins[id(stem)]
        paid = 0.0
        if stem.start > start:
            feeder = Stem(start, stem.start, stem)
            self._plant(feeder, bundle, load, forest.front(start, stem.start, hoped), budget - stem.tail_ms)
            stem.feeders.append(feeder)
            paid = feeder.price
        else:
            stem.demands.extend(bundle)
        stem.changed()
        above: Stem | None = stem
        while above is not None:
            above.load_rps += load
            if above.load_rps > above.room_rps * (1 + EPSILON):
                count = math.ceil(above.load_rps / above.unit_rps - EPSILON)
                paid += count * above.unit_price - above.price
                above.price, above.room_rps = count * above.unit_price, count * above.unit_rps
            above = above.parent
        return paid

    def _open(
        self, roots: list[Stem | None], touched: set[int], bundle: list[int], hoped: float, time_ms: float
    ) -> float:
        """Put demands on a stage of their own to the end; one by one on chains where no stage will do."""
        forest = self.forest
        start, depth = forest.starts[bundle[0]], forest.menu.depth
        front = forest.front(start, depth, hoped)
        if front.times and front.times[0] <= min(forest.budgets[number] for number in bundle):
            stem = Stem(start, depth, None)
            load = math.fsum(forest.loads[number] for number in bundle)
            self._plant(stem, bundle, load, front, max(time_ms, front.times[0]))
            touched.add(len(roots))
            roots.append(stem)
            return stem.price
        for number in bundle:
            touched.add(len(roots))
            roots.append(self._single(number).copy())
        return math.fsum(stem.price for number in bundle for stem in self._single(number).walk())

    def _single(self, number: int) -> Stem:
        """A demand on stages of its own, settled; not to be changed."""
        if number not in self._singles:
            forest = self.forest
            [root] = forest.planted(alone(forest.menu, [forest.demands[number]]))
            forest.settle(root)
            self._singles[number] = root
        return self._singles[number]

    def _plant(self, stem: Stem, bundle: list[int], load: float, front: Front, time_ms: float) -> None:
        """Fill a new stage and give it an option, until it is settled with the rest of its tree."""
        stem.demands = list(bundle)
        stem.load_rps = load
        position = front.position(time_ms)
        after = stem.parent.tail_ms if stem.parent is not None else 0.0
        self.forest.choose(stem, front, position, after)

    def _recombine(self) -> None:
        """Replace the forest by a cheaper one made of trees seen so far, where there is one."""
        for price, root in zip(self.prices, self.roots, strict=True):
            self._seen.setdefault(frozenset(root.everybody()), (price, root))
        members = list(self._seen)
        known = [self._seen[group] for group in members]
        cover = best_cover(members, [price for price, _ in known], len(self.forest.starts), self.price)
        if cover is None:
            return
        roots: list[Stem] = []
        served: set[int] = set()
        for number in sorted(cover.chosen, key=lambda number: known[number][0] / len(members[number])):
            twin = known[number][1].copy()
            for stem in twin.walk():
                if not served.isdisjoint(stem.demands):
                    stem.demands = [demand for demand in stem.demands if demand not in served]
                    stem.changed()
            left = self.forest.prune(twin)
            served |= members[number]
            if left is not None:
                roots.append(left)
        prices = [self.forest.settle(root) for root in roots]
        if math.fsum(prices) < self.price:
            self.roots, self.prices = roots, prices
            self._find_home()
