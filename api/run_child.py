"""One solve in a process of its own: `python -m api.run_child MEMORY_MB`, started by `api.run_process`.

The first line of standard input is the job (workload, profiles, strategy, settings), as one JSON object.
After it, a line `stop SECONDS` asks for the best plan so far within that time; the end of the input means
that the parent is gone, and then so is this process. The kernel refuses it memory beyond MEMORY_MB; 0 is no
limit. Standard output carries one JSON object a line:

    {"kind": "progress", "t": …, "phase": …, "objective": …, "bound": …, "gap": …}
    {"kind": "plan", "plan": {…}, "digest": "sha256:…"}                      the last line, or
    {"kind": "failure", "state": "infeasible" | "failed", "failure": {…}}    the last line
"""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from typing import IO, Any

from planner import formats, laws
from planner.errors import DoesNotFitError, InfeasibleError, InputError
from planner.planning import make_plan
from planner.problem import PlanSettings, Progress, ProgressReport
from planner.profile import Profile
from planner.workload import Workload

# Searches can report more often than anybody reads; what they find is reported at once.
PROGRESS_EVERY_S = 0.25
# The service answers requests on the same cores.
NICENESS = 5
# Parts of the time that a stopped search has: to end by itself, and then until another plan is handed in.
ALONE, AT_LAST = 0.2, 0.8


class Child:
    """The job, and the pipe to the parent."""

    def __init__(self, job: dict[str, Any], output: IO[bytes]) -> None:
        self._workload = _document(Workload, job["workload"])
        self._profiles = [_document(Profile, item) for item in job["profiles"]]
        self._strategy = str(job["strategy"])
        self._settings = PlanSettings(**job["settings"])
        self._output = output
        self._lock = threading.Lock()
        self._last: Progress | None = None
        self._last_s = 0.0
        self._stopped = threading.Event()

    def solve(self) -> None:
        """Plan, and report how it went."""
        self._conclude(self._strategy, progress=self._progress, should_stop=self._stopped.is_set)

    def stop(self, grace_s: float) -> None:
        """Have the search end with the best plan so far.

        A search may be where it does not listen. Then the heuristic's plan, which takes little time, is
        handed in before the grace ends. Runs beside the solve; whoever is first ends the process.
        """
        self._stopped.set()
        began_s = time.monotonic()
        time.sleep(ALONE * grace_s)
        self._conclude("graft", not_before_s=began_s + AT_LAST * grace_s)

    def _conclude(
        self,
        strategy: str,
        *,
        progress: ProgressReport | None = None,
        should_stop: Callable[[], bool] | None = None,
        not_before_s: float = 0.0,
    ) -> None:
        try:
            plan = make_plan(
                self._workload,
                self._profiles,
                strategy=strategy,
                settings=self._settings,
                progress=progress,
                should_stop=should_stop,
            )
            time.sleep(max(0.0, not_before_s - time.monotonic()))
            verdict = laws.verify(plan, self._workload, self._profiles)
            if verdict.valid:
                self._end({"kind": "plan", "plan": formats.to_json(plan), "digest": formats.digest(plan)})
            else:
                broken = "; ".join(f"{item.place}: {item.message}" for item in verdict.violations[:5])
                self._fail("failed", "invalid_plan", f"the plan breaks a law: {broken}")
        except InfeasibleError as error:
            self._fail(
                "infeasible", "infeasible", str(error), reasons=[asdict(item) for item in error.reasons]
            )
        except DoesNotFitError as error:
            self._fail("infeasible", "does_not_fit", str(error), reasons=error.missing)
        except InputError as error:
            self._fail(
                "failed", "invalid_input", str(error), errors=[asdict(item) for item in error.complaints]
            )
        except MemoryError:
            self._fail("failed", "out_of_memory", "the solve needed more memory than it may have")
        except Exception as error:
            traceback.print_exc()
            self._fail("failed", "internal_error", f"{type(error).__name__}: {error}")

    def _progress(self, report: Progress) -> None:
        last, now = self._last, time.monotonic()
        better = last is None or (report.objective, report.phase) != (last.objective, last.phase)
        if not better and now - self._last_s < PROGRESS_EVERY_S:
            return
        self._last, self._last_s = report, now
        line = {
            "kind": "progress",
            "t": report.t_s,
            "phase": report.phase,
            "objective": report.objective,
            "bound": report.lower_bound,
            "gap": report.gap,
        }
        with self._lock:
            self._write(line)

    def _fail(self, state: str, code: str, detail: str, **more: Any) -> None:
        self._end({"kind": "failure", "state": state, "failure": {"code": code, "detail": detail, **more}})

    def _end(self, line: dict[str, Any]) -> None:
        """Write the last line and end the process; whoever comes second never gets here."""
        self._lock.acquire()
        self._write(line)
        os._exit(0)

    def _write(self, line: dict[str, Any]) -> None:
        self._output.write(json.dumps(line).encode() + b"\n")
        self._output.flush()


def main(memory_mb: int) -> None:
    """Read the job, listen to the parent on a thread, and solve."""
    # Solvers print to standard output as they please; the parent's pipe is kept out of their reach.
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    os.nice(NICENESS)
    if memory_mb:
        # Not RLIMIT_AS: that also counts what is only reserved, of which every thread has plenty.
        limit = memory_mb * 1_000_000
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    child = Child(json.loads(sys.stdin.buffer.readline()), output)
    threading.Thread(target=_listen, args=(child,), daemon=True).start()
    child.solve()


def _listen(child: Child) -> None:
    for line in sys.stdin.buffer:
        if line.startswith(b"stop "):
            threading.Thread(target=child.stop, args=(float(line.split()[1]),), daemon=True).start()
    os._exit(1)


def _document(kind: type[Any], data: dict[str, Any]) -> Any:
    return formats.parse(kind, json.dumps(data).encode(), source=f"stored {kind.__name__.lower()}")


if __name__ == "__main__":
    main(int(sys.argv[1]))
