"""Better answers to 5.2 by exchanging a few patterns for others that serve the same fragments.

Prices π that prove a bound z give every pattern P a reduced cost  r_P = cost_P − Σ_k π_k x_kP ≥ 0, and an
answer costs  z + Σ r_P. In an answer near the bound all of these are small. So some thousand patterns are
written down (`solver.enumeration`), the *pool*: half of it those of least r, the others drawn from the next
ones, anew for every round. Where subset rows tighten the relaxation, what they cost says better which
patterns these are.

A *step* draws a pattern of the pool and frees the patterns of the answer that it would take fragments from,
and some near them, 8 to 40 fragments in all. These are covered anew by patterns of the pool, at no higher
price (now and then a little: simulated annealing), depth first: a fragment pays at least the least  r_P / |P|
of the patterns that hold it, which rules out nearly everything. Very many answers cost the same, and going on
from one to another is what leads to better ones, as in `solver.neighbourhoods`; its parts are larger, and a
step takes a tenth of a second rather than some ten microseconds.

An integer program that chooses from a pool is an old heuristic (Subramanian, Uchoa and Ochi, *A hybrid
algorithm for a class of vehicle routing problems*, 2013); choosing anew for some fragments, over and over,
is ours.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from solver.branching import Node
from solver.enumeration import Enumerated, patterns_within, together, written_down
from solver.exchange_kernel import Answer, Pool, Words, exchange
from solver.facilities import Facilities, Floats, Indices, Pattern, settle, total_cost
from solver.fractional_bound import Bound
from solver.outcome import Watch
from solver.packed_bound import PackedAscent
from solver.steps import below

# Patterns of the pool, one of these numbers drawn for every round, and of how many they are drawn; how far
# from that is near enough, and how much the limit of reduced costs changes from one try to the next.
POOL = 2_500, 5_000, 10_000
WRITTEN, NEARLY, TRY = 20_000, 1.6, 1.4
TRIES = 12
# A limit of reduced costs that is less than this part of the least price is none.
LEAST_LIMIT, FIRST_LIMIT = 0.01, 0.2
# Fragments freed at once: at least, and at most one of these. The heat of a round, in least prices.
FEWEST, MOST, HEATS = 8, (16, 24, 40), (0.03, 0.1)
# Work of a round (see the kernel) for each fragment, in so many pieces between which the watch is looked at.
WORK, PIECES = 200_000, 20


class Exchanges:
    """The search for one program; `ascent` has prices that prove a bound, and patterns that are known.

    `fits` is False where patterns of little reduced cost are too many, as instances hold many fragments, or
    where nearly all fragments are one of several alike: these stay where they are.
    """

    def __init__(self, program: Facilities, ascent: PackedAscent, *, seed: int) -> None:
        self.program, self.ascent = program, ascent
        self.fits = True
        self._rng = np.random.default_rng(seed)
        self._unit = ascent.step if ascent.step > 0 else min(program.prices, default=1.0)
        self._limit = FIRST_LIMIT * self._unit
        self.prices = Node(limits={}, bound=ascent.value, worth=ascent.worth, duals={})
        self._known: Enumerated | None = None
        self._here: list[Pattern] | None = None

    def tell(self, root: Node | None) -> None:
        """A relaxation with subset rows: its prices are used where no other proves as much."""
        if root is not None and root.bound > self.prices.bound:
            self.prices, self._known = root, None

    def improve(self, answer: Sequence[Pattern], watch: Watch) -> list[Pattern] | None:
        """One round: a cheaper answer, or None."""
        goal = below(total_cost(answer), self.ascent.step)
        if self._here is not None and total_cost(self._here) <= total_cost(answer) * (1 + 1e-9):
            answer = self._here
        watch.update(phase="exchanging")
        written = self._written(watch)
        if written is None:
            return None
        written = self._drawn(written, int(self._rng.choice(POOL)))
        single = self.program.members == 1
        fixed = [pattern for pattern in answer if not single[list(pattern.classes)].all()]
        free = [pattern for pattern in answer if single[list(pattern.classes)].all()]
        if len(free) < 2:
            self.fits = False
            return None
        bound = Bound(value=self.ascent.value, worth=self.ascent.worth)
        known = written_down(self.program, self.ascent.patterns, bound, goal)
        mine = written_down(self.program, free, bound, np.inf)
        search = _Search(self.program, together([mine, known, written]), mine, self.ascent.worth)
        heat, best = self._unit * float(self._rng.choice(HEATS)), None
        sizes = FEWEST, int(self._rng.choice(MOST))
        for piece in range(PIECES):
            watch.update()
            if watch.over:
                break
            heats = heat * (1 - piece / PIECES), heat * (1 - (piece + 1) / PIECES)
            best = search.go_on(int(self._rng.integers(2**31)), heats, sizes) or best
        self._here = settle(self.program, [*fixed, *search.answer])
        if best is None:
            return None
        found = settle(self.program, [*fixed, *best])
        return found if total_cost(found) <= goal * (1 + 1e-9) else None

    def _drawn(self, written: Enumerated, wanted: int) -> Enumerated:
        """So many of these patterns: half of them those of least reduced cost, the others any."""
        if len(written) <= wanted:
            return written
        order = np.argsort(written.reduced, kind="stable")
        least, rest = np.split(order, [wanted // 2])
        more = self._rng.choice(rest, wanted - wanted // 2, replace=False)
        return written.keep(np.concatenate([least, more]))

    def _written(self, watch: Watch) -> Enumerated | None:
        """About so many patterns, those of least reduced cost; None where there are too many of the least."""
        if self._known is not None:
            return self._known
        for _ in range(TRIES):
            found = patterns_within(
                self.program,
                self.prices.worth,
                self._limit,
                int(NEARLY * WRITTEN),
                watch=watch,
                rows=self.prices.row_prices,
            )
            if watch.limit is not None:
                return None
            if found is None:
                if self._known is not None:
                    break
                self._limit /= TRY
                if self._limit < LEAST_LIMIT * self._unit:
                    self.fits = False
                    return None
            else:
                self._known = found
                if len(found) * NEARLY >= WRITTEN:
                    break
                self._limit *= TRY
        return self._known


class _Search:
    """The pool of a round, and an answer that is made of its patterns."""

    def __init__(self, program: Facilities, pool: Enumerated, answer: Enumerated, worth: Floats) -> None:
        """`answer` holds every class that is to be covered; the pool has its patterns, or cheaper ones of the
        same members."""
        classes = np.sort(answer.counts.indices)
        place = np.full(len(program), -1, dtype=np.intp)
        place[classes] = np.arange(len(classes))
        pool = pool.keep(
            np.flatnonzero(np.minimum.reduceat(place[pool.counts.indices], pool.counts.indptr[:-1]) >= 0)
        )
        begins, reduced = pool.counts.indptr, pool.cost - pool.counts.T @ worth
        order = np.lexsort((reduced, place[pool.counts.indices[begins[:-1]]]))
        self._program, self._written = program, pool.keep(order)
        counts = self._written.counts
        members, begins = place[counts.indices], counts.indptr.astype(np.intp)
        masks = _masks(members, begins, len(classes))
        self._pool = Pool(
            first=np.searchsorted(members[begins[:-1]], np.arange(len(classes) + 1)),
            begins=begins,
            members=members,
            masks=masks,
            reduced=reduced[order],
        )
        self._answer = self._begun(answer, place)
        self._least = float(self._pool.reduced[self._answer.chosen[: self._answer.many[0]]].sum())
        self._best = np.empty(len(classes), dtype=np.intp)
        self._work = WORK * len(classes) // PIECES

    def _begun(self, answer: Enumerated, place: Indices) -> Answer:
        """The answer in the pool's numbers."""
        number = {mask.tobytes(): p for p, mask in enumerate(self._pool.masks)}
        home = np.empty(len(self._pool.first) - 1, dtype=np.intp)
        chosen, where = np.empty(len(home), dtype=np.intp), np.full(len(number), -1, dtype=np.intp)
        begins, members = answer.counts.indptr, place[answer.counts.indices]
        for at, mask in enumerate(_masks(members, begins, len(home))):
            p = number[mask.tobytes()]
            home[members[begins[at] : begins[at + 1]]], chosen[at], where[p] = p, p, at
        return Answer(home=home, chosen=chosen, place=where, many=np.array([len(answer)]))

    def go_on(self, seed: int, heats: tuple[float, float], sizes: tuple[int, int]) -> list[Pattern] | None:
        """A piece of the round; the answer's patterns where it became cheaper than any before."""
        told, self._least = exchange(
            self._work, seed, heats, sizes, self._pool, self._answer, self._least, self._best
        )
        return self._patterns(self._best[:told]) or None

    @property
    def answer(self) -> list[Pattern]:
        """Where the search is now."""
        return self._patterns(self._answer.chosen[: self._answer.many[0]])

    def _patterns(self, numbers: Indices) -> list[Pattern]:
        return [self._written.pattern(self._program, p) for p in numbers.tolist()]


def _masks(members: Indices, begins: Indices, fragments: int) -> Words:
    """[patterns, words]: a bit for each member; pattern p holds members[begins[p] : begins[p + 1]]."""
    masks = np.zeros((len(begins) - 1, -(-fragments // 64)), dtype=np.uint64)
    pattern = np.repeat(np.arange(len(masks)), np.diff(begins))
    np.bitwise_or.at(masks, (pattern, members >> 6), np.uint64(1) << (members & 63).astype(np.uint64))
    return masks
