"""What other solvers say about how they ended, in this package's words; what is not in a table is *unknown*.

A code stands for a status, where it settles one, and for the limit that was hit, where it names one. Where a
limit ended the search, the status depends on whether there was an answer by then. Codes go by name, so that
no solver has to be imported for its table.
"""

from __future__ import annotations

from collections.abc import Mapping

from solver.outcome import Limit, Status

Meaning = tuple[Status | None, Limit | None]

_ENDED: Meaning = (None, None)

HIGHS: Mapping[str, Meaning] = {
    "kOptimal": (Status.OPTIMAL, None),
    "kModelEmpty": (Status.OPTIMAL, None),
    "kInfeasible": (Status.INFEASIBLE, None),
    "kTimeLimit": (None, Limit.TIME),
    "kInterrupt": (None, Limit.STOPPED),
    "kMemoryLimit": (None, Limit.MEMORY),
    "kIterationLimit": (None, Limit.ROUNDS),
    "kSolutionLimit": (None, Limit.ROUNDS),
    "kObjectiveTarget": (None, Limit.GAP),
    "kObjectiveBound": (None, Limit.GAP),
}

CP_SAT: Mapping[str, Meaning] = {
    "OPTIMAL": (Status.OPTIMAL, None),
    "INFEASIBLE": (Status.INFEASIBLE, None),
    "FEASIBLE": _ENDED,
}

# PuLP's word for the solution, which tells an optimum from an answer that a limit left.
PULP: Mapping[str, Meaning] = {
    "Optimal Solution Found": (Status.OPTIMAL, None),
    "No Solution Exists": (Status.INFEASIBLE, None),
    "Solution Found": _ENDED,
}


def status_of(table: Mapping[str, Meaning], code: str, *, has_answer: bool) -> tuple[Status, Limit | None]:
    """The status and limit that a solver's code stands for; unknown where the table does not have it."""
    if code not in table:
        return Status.UNKNOWN, None
    status, limit = table[code]
    if status is None:
        status = Status.FEASIBLE if has_answer else Status.UNKNOWN
    return status, limit
