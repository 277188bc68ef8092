"""5.2 over an enumerated pool of patterns: cuts raise the bound, the bound empties the pool, HiGHS decides.

    min Σ_P cost_P λ_P   s.t.  Σ_P x_kP λ_P = m_k,   λ whole

is solved without whole numbers over a part of the pool, to which patterns with negative reduced cost are
added by looking through all of it. *Subset rows* (`solver.subset_rows`) tighten it.
Whatever pattern then would lift the relaxation above the goal leaves the pool, and when few are left
an integer search over them ends it.
"""

from __future__ import annotations

from collections.abc import Iterable

import highspy
import numpy as np
from scipy import sparse

from solver.enumeration import Enumerated
from solver.facilities import Facilities, Floats, Indices, Pattern
from solver.highs import add_columns, integer_search, quiet
from solver.outcome import Watch
from solver.subset_rows import SubsetRow, all_of, broken_rows

# Patterns with which the integer search begins at once, and the most it is ever given.
FEW, MOST = 6_000, 40_000
# Columns added from one look through the pool; cuts added in one round, and rounds.
COLUMNS, CUTS, ROUNDS = 1_000, 60, 25
INTEGRAL = 1e-6


class Pool:
    """The patterns that may be in an answer of at most `goal`, and the cuts found for them."""

    def __init__(
        self, program: Facilities, patterns: Enumerated, goal: float, rows: Iterable[SubsetRow] = ()
    ) -> None:
        self.program, self.patterns, self.goal = program, patterns, goal
        self._rows = patterns.counts.tocsr()
        self._cuts: list[SubsetRow] = []
        # [cuts, N]: ⌊½ Σ_{k∈S} x_kP⌋ for every pattern.
        self.coefficients = sparse.csr_matrix((0, len(patterns)))
        self._add(rows)

    def solve(
        self, watch: Watch, *, threads: int, seed: int, nodes: int, looks: int, rounds: int = ROUNDS
    ) -> tuple[list[Pattern] | None, bool]:
        """An answer of at most `goal`, or None; and whether it is proven that there is none."""
        for _ in range(rounds):
            relaxed = _Relaxation(self).solve(watch)
            if relaxed is None:  # stopped
                return None, False
            value, reduced, used = relaxed
            if value > self.goal:
                return None, True
            whole = np.round(used)
            if abs(used - whole).max(initial=0.0) < INTEGRAL:
                return self._answer(whole), False
            self._drop(np.flatnonzero(value + reduced <= self.goal), used)
            if len(self.patterns) <= FEW:
                break
            if not self._cut():
                break
        if len(self.patterns) > MOST:
            return None, False
        return self._search(watch, threads, seed, nodes, looks)

    @property
    def cuts(self) -> int:
        return len(self._cuts)

    def limit(self, cut: int) -> float:
        """⌊½ Σ_{k∈S} m_k⌋."""
        return self._cuts[cut].limit(self.program.members)

    def _drop(self, kept: Indices, used: Floats) -> None:
        self._used = used[kept]
        if len(kept) < len(self.patterns):
            self.patterns = self.patterns.keep(kept)
            self._rows = self.patterns.counts.tocsr()
            self.coefficients = self.coefficients[:, kept]

    def _cut(self) -> bool:
        """Add the subset rows that the last relaxation breaks most."""
        support = np.flatnonzero(self._used > INTEGRAL)
        counts = self.patterns.counts
        held = [
            counts.indices[counts.indptr[number] : counts.indptr[number + 1]].tolist()
            for number in support.tolist()
        ]
        used, members = self._used[support].tolist(), self.program.members
        broken = broken_rows(held, used, members, set(self._cuts), CUTS)
        self._add(broken)
        return bool(broken)

    def _add(self, rows: Iterable[SubsetRow]) -> None:
        more = list(rows)
        self._cuts.extend(more)
        self.coefficients = sparse.vstack([self.coefficients, all_of(more, self.patterns.counts)]).tocsr()

    def _search(
        self, watch: Watch, threads: int, seed: int, nodes: int, looks: int
    ) -> tuple[list[Pattern] | None, bool]:
        members = self.program.members.astype(np.float64)
        found = integer_search(
            cost=self.patterns.cost,
            upper=np.full(len(self.patterns), float(members.max())),
            rows=sparse.vstack([self._rows, self.coefficients]).tocsr(),
            row_lower=np.concatenate([members, np.full(self.cuts, -highspy.kHighsInf)]),
            row_upper=np.concatenate([members, [self.limit(cut) for cut in range(self.cuts)]]),
            integer=np.ones(len(self.patterns), dtype=bool),
            start=None,
            cutoff=self.goal,
            watch=watch,
            threads=threads,
            seed=seed,
            nodes=nodes,
            looks=looks,
        )
        if found.values is not None and found.objective <= self.goal:
            return self._answer(found.values), False
        return None, found.lower_bound > self.goal

    def _answer(self, values: Floats) -> list[Pattern]:
        return [
            self.patterns.pattern(self.program, number)
            for number in np.flatnonzero(values > 0.5).tolist()
            for _ in range(round(float(values[number])))
        ]


class _Relaxation:
    """The linear relaxation over the pool, cuts included, by looking through the pool again and again."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._added = np.zeros(len(pool.patterns), dtype=bool)
        self._numbers: list[int] = []
        members = pool.program.members.astype(np.float64)
        limits = np.array([pool.limit(cut) for cut in range(pool.cuts)])
        self._highs = quiet()
        rows = len(members) + pool.cuts
        lower = np.concatenate([members, np.full(pool.cuts, -highspy.kHighsInf)])
        upper = np.concatenate([members, limits])
        empty = np.zeros(rows, np.int32)
        self._highs.addRows(rows, lower, upper, 0, empty, np.zeros(0, np.int32), np.zeros(0))
        # What serves a fragment at a price that no answer below the goal can pay: feasible, and seen.
        for row in range(len(members)):
            self._highs.addCol(
                2 * pool.goal, 0.0, highspy.kHighsInf, 1, np.array([row], np.int32), np.ones(1)
            )
        self._columns = sparse.vstack([pool.patterns.counts, pool.coefficients]).tocsc()
        self._transposed = self._columns.T.tocsr()

    def solve(self, watch: Watch) -> tuple[float, Floats, Floats] | None:
        """The optimum, every pattern's reduced cost and use ([N]); None when the watch said stop."""
        pool, classes = self._pool, len(self._pool.program)
        self._add(np.argsort(pool.patterns.cost / np.diff(pool.patterns.counts.indptr))[:COLUMNS])
        while True:
            self._highs.run()
            solution = self._highs.getSolution()
            dual = np.array(solution.row_dual)
            reduced = pool.patterns.cost - self._transposed @ dual
            watch.update()
            if watch.limit is not None:
                return None
            paying = np.flatnonzero((reduced < -1e-7 * pool.goal) & ~self._added)
            if not len(paying):
                used = np.zeros(len(pool.patterns))
                used[self._numbers] = np.array(solution.col_value)[classes:]
                value = float(self._highs.getInfo().objective_function_value)
                return value, np.maximum(reduced, 0.0), used
            self._add(paying[np.argsort(reduced[paying])[:COLUMNS]])

    def _add(self, numbers: Indices) -> None:
        add_columns(self._highs, self._pool.patterns.cost[numbers], self._columns[:, numbers])
        self._numbers.extend(numbers.tolist())
        self._added[numbers] = True
