"""The master program over patterns, by HiGHS:  min Σ cost_P λ_P  s.t.  Σ_P x_kP λ_P ≥ m_k,  λ ≥ 0 (or whole).

Columns are added as they are found. Its linear relaxation gives prices for the rows, from which new
patterns are made (column generation); its integer program over the patterns found gives an answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import highspy
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from solver.highs import integer_search, quiet
from solver.outcome import Watch

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Relaxed:
    """The optimum of the linear relaxation: what each column is used ([columns]), each row is worth ([K])."""

    objective: float
    worth: Floats
    used: Floats


class Covering:
    """The master program; `demand` is m_k, [K]."""

    def __init__(self, demand: NDArray[np.intp]) -> None:
        self._rows = len(demand)
        self._demand = demand.astype(np.float64)
        self._highs = quiet()
        self._highs.addRows(
            self._rows,
            self._demand,
            np.full(self._rows, highspy.kHighsInf),
            0,
            np.zeros(self._rows, np.int32),
            np.zeros(0, np.int32),
            np.zeros(0),
        )
        self._costs: list[float] = []
        self._columns: list[tuple[NDArray[np.int32], Floats]] = []

    def __len__(self) -> int:
        return len(self._costs)

    def add(
        self, cost: float, rows: Sequence[int] | NDArray[np.intp], amounts: Sequence[float] | Floats
    ) -> None:
        """A column that serves `amounts[i]` of row `rows[i]`."""
        entry = (np.asarray(rows, np.int32), np.asarray(amounts, np.float64))
        self._costs.append(cost)
        self._columns.append(entry)
        self._highs.addCol(cost, 0.0, highspy.kHighsInf, len(entry[0]), *entry)

    def set_demand(self, demand: NDArray[np.intp]) -> None:
        """Serve this much of every row from here on."""
        self._demand = demand.astype(np.float64)
        for row, amount in enumerate(self._demand.tolist()):
            self._highs.changeRowBounds(row, amount, highspy.kHighsInf)

    def relax(self) -> Relaxed:
        """Solve the linear relaxation; the columns must be able to serve every row."""
        self._highs.run()
        solution = self._highs.getSolution()
        return Relaxed(
            objective=float(self._highs.getInfo().objective_function_value),
            worth=np.maximum(0.0, np.array(solution.row_dual)),
            used=np.array(solution.col_value),
        )

    def choose(
        self,
        columns: Sequence[int],
        start: NDArray[np.float64] | None,
        *,
        watch: Watch,
        threads: int,
        seed: int,
        cutoff: float,
        nodes: int | None = None,
        looks: int | None = None,
    ) -> Floats | None:
        """The best whole numbers found for these columns, below `cutoff`; None when there are none.

        `start` is an answer to begin with. A stop of the watch ends the search; the best so far is kept.
        """
        chosen = [self._columns[number] for number in columns]
        sizes = np.array([len(rows) for rows, _ in chosen])
        matrix = sparse.csc_matrix(
            (
                np.concatenate([amounts for _, amounts in chosen]),
                np.concatenate([rows for rows, _ in chosen]),
                np.concatenate([[0], np.cumsum(sizes)]),
            ),
            shape=(self._rows, len(chosen)),
        )
        found = integer_search(
            cost=np.array([self._costs[number] for number in columns]),
            upper=np.full(len(chosen), float(self._demand.max())),
            rows=matrix.tocsr(),
            row_lower=self._demand,
            row_upper=np.full(self._rows, highspy.kHighsInf),
            integer=np.ones(len(chosen), dtype=bool),
            start=start,
            cutoff=cutoff,
            watch=watch,
            threads=threads,
            seed=seed,
            nodes=nodes,
            looks=looks,
        )
        return found.values
