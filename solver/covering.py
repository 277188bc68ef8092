"""The master program over patterns, relaxed, by HiGHS:  min Σ cost_P λ_P  s.t.  Σ_P x_kP λ_P ≥ m_k,  λ ≥ 0.

Columns are added as they are found; what the rows are worth prices new patterns (column generation). While a
tree is searched there are further rows, whose limits change from node to node.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import highspy
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from solver.highs import add_columns, quiet

Floats = NDArray[np.float64]

# Of HiGHS' simplex strategies: as the program is changed, primal or dual.
CHOOSE = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Relaxed:
    """The optimum of the linear relaxation: what each column is used ([columns]), each row is worth ([K]).

    `duals` are those of the further rows, in the order they were added.
    """

    objective: float
    worth: Floats
    duals: Floats
    used: Floats


class Covering:
    """The master program; `demand` is m_k, [K]."""

    def __init__(self, demand: NDArray[np.intp]) -> None:
        self._rows = len(demand)
        self._highs = quiet()
        # By default always the dual simplex; HiGHS' own choice after new columns is often twice as quick.
        self._highs.setOptionValue("simplex_strategy", CHOOSE)
        self._highs.addRows(
            self._rows,
            demand.astype(np.float64),
            np.full(self._rows, highspy.kHighsInf),
            0,
            np.zeros(self._rows, np.int32),
            np.zeros(0, np.int32),
            np.zeros(0),
        )
        self._numbers: list[int] = []  # of the columns in HiGHS, which has those of `add_row` too
        self._further = 0

    def add(
        self,
        cost: float,
        rows: Sequence[int] | NDArray[np.intp],
        amounts: Sequence[float] | Floats,
        further: Floats | None = None,
    ) -> None:
        """A column that serves `amounts[i]` of row `rows[i]`; `further`: what it adds to further rows."""
        entry = (np.asarray(rows, np.int32), np.asarray(amounts, np.float64))
        if further is not None and further.any():
            where = np.flatnonzero(further)
            entry = (
                np.concatenate([entry[0], self._rows + where]).astype(np.int32),
                np.concatenate([entry[1], further[where]]),
            )
        self._numbers.append(self._highs.getNumCol())
        self._highs.addCol(cost, 0.0, highspy.kHighsInf, len(entry[0]), *entry)

    def add_all(self, cost: Floats, counts: sparse.csc_matrix, further: sparse.csr_matrix) -> None:
        """Columns of these costs, [N]: what each serves, [K, N], and adds to further rows, [rows, N]."""
        first = self._highs.getNumCol()
        self._numbers.extend(range(first, first + len(cost)))
        add_columns(self._highs, cost, sparse.vstack([counts, further]).tocsc())

    def add_row(self, coefficients: Floats, missing: float) -> None:
        """A further row over the columns so far, without limits; what it lacks costs `missing` a unit."""
        used = np.flatnonzero(coefficients)
        numbers = np.array(self._numbers, np.int32)[used]
        infinite = highspy.kHighsInf
        self._highs.addRow(-infinite, infinite, len(used), numbers, coefficients[used])
        row = np.array([self._rows + self._further], np.int32)
        self._highs.addCol(missing, 0.0, infinite, 1, row, np.ones(1))
        self._further += 1

    def leave_out(self, column: int) -> None:
        """Never use this column again; the others keep their numbers."""
        self._highs.changeColBounds(self._numbers[column], 0.0, 0.0)

    def use_at_least(self, column: int, times: int) -> None:
        """From here on this column is used so many times at least."""
        self._highs.changeColBounds(self._numbers[column], float(times), highspy.kHighsInf)

    def set_limits(self, row: int, lower: float, upper: float) -> None:
        """Limits of a further row; ±∞ is none."""
        self._highs.changeRowBounds(self._rows + row, lower, upper)

    def set_demand(self, demand: NDArray[np.intp]) -> None:
        """Serve this much of every row from here on."""
        for row, amount in enumerate(demand.tolist()):
            self._highs.changeRowBounds(row, float(amount), highspy.kHighsInf)

    def relax(self) -> Relaxed:
        """Solve the linear relaxation; the columns must be able to serve every row."""
        self._highs.run()
        solution = self._highs.getSolution()
        dual = np.array(solution.row_dual)
        return Relaxed(
            objective=float(self._highs.getInfo().objective_function_value),
            worth=np.maximum(0.0, dual[: self._rows]),
            duals=dual[self._rows :],
            used=np.array(solution.col_value)[self._numbers],
        )
