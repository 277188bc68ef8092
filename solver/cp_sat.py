"""CP-SAT as this package uses it: interruptible, with progress; whole numbers alone."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor, wait

from ortools.sat.python import cp_model

from solver.outcome import Watch

POLL_S = 0.05


def search(
    model: cp_model.CpModel,
    watch: Watch,
    *,
    time_limit_s: float = math.inf,
    threads: int,
    seed: int,
    relaxing: bool = False,
    work: float | None = None,
    listener: cp_model.CpSolverSolutionCallback | None = None,
) -> tuple[cp_model.CpSolver, str]:
    """The solver after its search, and its word for how it ended; it ends soon after the watch says stop.

    `work` limits it in the solver's own measure, about a second each, the same every time. `relaxing`: with
    all of the linear relaxation at every node, which pays where that is nearly all there is.
    """
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = threads
    solver.parameters.random_seed = seed
    if relaxing:
        solver.parameters.linearization_level = 2
        solver.parameters.add_lp_constraints_lazily = False
    if work is not None:
        solver.parameters.max_deterministic_time = work
    limit_s = min(time_limit_s, watch.remaining_s)
    if math.isfinite(limit_s):
        solver.parameters.max_time_in_seconds = max(0.01, limit_s)
    with ThreadPoolExecutor(1) as pool:
        solving = pool.submit(solver.solve, model, listener)
        while not solving.done():
            wait([solving], timeout=POLL_S)
            watch.update()
            # More than once: a stop that comes before the search began is not heard.
            if watch.limit is not None:
                solver.stop_search()
    return solver, solver.status_name(solving.result())
