"""HiGHS as this package uses it: quiet, interruptible, with progress, and with its manners known.

HiGHS keeps one pool of threads a process and refuses a run that asks for another number of them, hence the
reset.
"""

from __future__ import annotations

import atexit
import itertools
import math
import threading
from dataclasses import dataclass

import highspy
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from solver.outcome import Status, Watch
from solver.statuses import HIGHS, status_of

Floats = NDArray[np.float64]


# How often progress is reported while HiGHS works, and how long it may take to stop before it is left behind.
POLL_S, PATIENCE_S = 0.1, 0.5
# How long a process that ends waits for a run that was left behind.
AT_EXIT_S = 10.0

# Threads in which HiGHS did not stop when told to. Nothing may touch its scheduler before they end.
_abandoned: list[threading.Thread] = []


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """The best values found (None when there are none), their cost, and a bound on every solution's cost.

    With a cutoff the bound speaks of the solutions below it alone: above the cutoff it means there is none.
    """

    values: Floats | None
    objective: float
    lower_bound: float


def quiet() -> highspy.Highs:
    """A solver that prints nothing."""
    highs = highspy.Highs()
    highs.setOptionValue("output_flag", False)
    return highs


def linear(
    *,
    cost: Floats,
    upper: Floats,
    rows: sparse.csc_matrix,
    row_lower: Floats,
    row_upper: Floats,
    tolerance: float = 1e-7,
) -> highspy.Highs:
    """The solver after a small linear program, columns from 0 to `upper`, rows kept to `tolerance`."""
    highs = quiet()
    highs.setOptionValue("primal_feasibility_tolerance", tolerance)
    program = highspy.HighsLp()
    program.num_row_, program.num_col_ = rows.shape
    program.col_cost_, program.col_lower_, program.col_upper_ = cost, np.zeros(len(cost)), upper
    program.row_lower_, program.row_upper_ = row_lower, row_upper
    matrix = program.a_matrix_
    matrix.format_ = highspy.MatrixFormat.kColwise
    matrix.num_row_, matrix.num_col_ = rows.shape
    matrix.start_, matrix.index_, matrix.value_ = rows.indptr, rows.indices, rows.data
    highs.passModel(program)
    highs.run()
    return highs


def run(highs: highspy.Highs, watch: Watch, looks: int | None = None) -> bool:
    """Run until done or until the watch says stop; False when HiGHS did not listen and was left behind, or
    one left behind before did not end in time for this run to begin.

    An integer search also ends once HiGHS has looked up from its work `looks` times: with one thread that is
    the same point on every machine, while a time limit is not.

    HiGHS works in a thread of its own, so that this one can report progress, and can go on when the time is
    over: HiGHS looks up from its work often, but not always often enough.
    """
    if not _abandoned_ended(watch):
        return False
    stop = threading.Event()
    looked = itertools.count(1)

    def interrupt(event: highspy.highs.HighsCallbackEvent) -> None:
        if stop.is_set() or (looks is not None and next(looked) >= looks):
            event.interrupt()

    callbacks = (highs.cbMipInterrupt, highs.cbSimplexInterrupt, highs.cbIpmInterrupt)
    for callback in callbacks:
        callback.subscribe(interrupt)
    thread = threading.Thread(target=highs.run, name="highs", daemon=True)
    thread.start()
    over_since: float | None = None
    while thread.is_alive():
        thread.join(POLL_S)
        watch.update()
        if watch.limit is not None:
            stop.set()
            over_since = over_since or watch.elapsed_s
            if watch.elapsed_s - over_since > PATIENCE_S:
                _abandoned.append(thread)
                return False
    for callback in callbacks:
        callback.unsubscribe(interrupt)
    return True


def add_columns(highs: highspy.Highs, cost: Floats, columns: sparse.csc_matrix) -> None:
    """Columns of these costs, [N], with these entries, [rows, N], that are used 0 or more."""
    many = len(cost)
    highs.addCols(
        many,
        cost,
        np.zeros(many),
        np.full(many, highspy.kHighsInf),
        columns.nnz,
        columns.indptr[:-1].astype(np.int32),
        columns.indices.astype(np.int32),
        columns.data,
    )


def integer_search(
    *,
    cost: Floats,
    upper: Floats,
    rows: sparse.csr_matrix,
    row_lower: Floats,
    row_upper: Floats,
    integer: NDArray[np.bool_],
    start: Floats | None,
    cutoff: float,
    watch: Watch,
    threads: int,
    seed: int,
    time_limit_s: float = math.inf,
    nodes: int | None = None,
    looks: int | None = None,
    gap: float = 0.0,
    target: float = -math.inf,
) -> Found:
    """min cost·x  s.t.  row_lower ≤ rows·x ≤ row_upper, 0 ≤ x ≤ upper, some x whole, within the time.

    `start` is a solution to begin with (it may be worse than the cutoff). The watch interrupts the search;
    `nodes` and `looks` (see `run`) limit it in a way that does not depend on the machine's speed; it ends at
    a relative `gap` or at a solution of at most `target`.
    """
    if not _abandoned_ended(watch, time_limit_s):
        return Found(values=None, objective=math.inf, lower_bound=0.0)
    highspy.Highs.resetGlobalScheduler(True)
    highs = quiet()
    highs.setOptionValue("threads", threads)
    highs.setOptionValue("random_seed", seed)
    if math.isfinite(time_limit_s):
        highs.setOptionValue("time_limit", max(0.05, time_limit_s))
    highs.setOptionValue("mip_rel_gap", gap)
    if math.isfinite(target):
        highs.setOptionValue("objective_target", target)
    if nodes is not None:
        highs.setOptionValue("mip_max_nodes", nodes)
    if math.isfinite(cutoff):
        highs.setOptionValue("objective_bound", cutoff)
    program = highspy.HighsLp()
    program.num_col_, program.num_row_ = len(cost), rows.shape[0]
    program.col_cost_ = cost
    program.col_lower_ = np.zeros(len(cost))
    program.col_upper_ = upper
    program.row_lower_, program.row_upper_ = row_lower, row_upper
    matrix = program.a_matrix_
    matrix.format_ = highspy.MatrixFormat.kRowwise
    matrix.num_col_, matrix.num_row_ = len(cost), rows.shape[0]
    matrix.start_, matrix.index_, matrix.value_ = rows.indptr, rows.indices, rows.data
    whole, real = highspy.HighsVarType.kInteger, highspy.HighsVarType.kContinuous
    program.integrality_ = [whole if flag else real for flag in integer]
    highs.passModel(program)
    if start is not None:
        solution = highspy.HighsSolution()
        solution.col_value = start
        highs.setSolution(solution)

    if not run(highs, watch, looks):
        return Found(values=None, objective=math.inf, lower_bound=0.0)
    info = highs.getInfo()
    # What lies above the cutoff was not looked at, so a bound above it says no more than that.
    bound = float(info.mip_dual_bound) if math.isfinite(info.mip_dual_bound) else 0.0
    status, _ = status_of(HIGHS, highs.getModelStatus().name, has_answer=True)
    if status is Status.INFEASIBLE:
        bound = math.inf
    if info.primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
        return Found(values=None, objective=math.inf, lower_bound=bound)
    values = np.array(highs.getSolution().col_value)
    values = np.where(integer, np.round(values), values)
    return Found(values=values, objective=float(info.objective_function_value), lower_bound=bound)


@atexit.register
def _wait_at_exit() -> None:
    """HiGHS takes the process down (SIGABRT) where that ends under it: those told to stop get time for it."""
    for thread in _abandoned:
        thread.join(AT_EXIT_S)


def _abandoned_ended(watch: Watch, time_limit_s: float = math.inf) -> bool:
    """Wait for the runs left behind, as long as the watch and the time allow; whether all have ended."""
    until = watch.elapsed_s + time_limit_s
    while _abandoned:
        thread = _abandoned[-1]
        thread.join(POLL_S)
        if not thread.is_alive():
            _abandoned.remove(thread)
            continue
        watch.update()
        if watch.limit is not None or watch.elapsed_s >= until:
            return False
    return True
