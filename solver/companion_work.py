"""The companion's own side (see `solver.companion`): what is best over few facilities, then parts solved
again and again; and, once it is asked to, whether there is anything cheaper at all."""

from __future__ import annotations

import os
import pickle
import sys
import threading
from collections.abc import Callable

from solver.companion import Answer, Known, RuledOut, Task, messages
from solver.facilities import total_cost
from solver.goals import Goals
from solver.neighbourhoods import Neighbourhoods
from solver.outcome import Watch, resident_mb
from solver.over_used import best_over_used
from solver.packed_bound import PackedAscent
from solver.steps import below, common_step

# What is not decided by then is not decided this way, and answers can still be looked for.
DECIDING_S = 15.0


class Work:
    """The best answer so far, and the search around it. `hear` is called from another thread than `run`."""

    def __init__(self, task: Task, send: Callable[[Answer | RuledOut], None]) -> None:
        self._task, self._best, self._send = task, task.answer, send
        self._to_decide, self._can_decide, self._bound = False, True, task.bounds[-1]
        step = common_step(task.program.prices)
        self._ascent = PackedAscent(task.program, task.bounds[-1], list(task.patterns), step)
        self._parts = Neighbourhoods(
            task.program, self._ascent, Watch(), threads=1, seed=task.seed, heavy=task.heavy
        )

    def hear(self, known: Known) -> None:
        """What the search knows."""
        if total_cost(known.answer) < total_cost(self._best):
            self._best = known.answer
        # A value and the prices that prove it: taken as one, since they are read in between.
        if known.bound.value > self._bound.value:
            self._bound = known.bound
        self._to_decide = self._can_decide and (self._to_decide or known.decide)

    def run(self) -> None:
        """Until too much is in memory; otherwise it is the search that ends."""
        task, ascent = self._task, self._ascent
        goal = below(total_cost(self._best), ascent.step)
        watch = Watch(memory_limit_mb=task.memory_limit_mb, should_stop=lambda: self._to_decide)
        found = best_over_used(task.program, ascent, goal, watch, threads=1, seed=task.seed)
        if found is not None:
            self._keep(tuple(found))
        while not task.memory_limit_mb or resident_mb() < task.memory_limit_mb:
            bound = self._bound
            ascent.value, ascent.worth = bound.value, bound.worth
            if self._to_decide:
                self._to_decide = self._can_decide = self._decide()
            else:
                self._keep(tuple(self._parts.improve(list(self._best), 1)))

    def _decide(self) -> bool:
        """Look for anything cheaper than the best answer; False where that ended without an answer."""
        task, ascent = self._task, self._ascent
        goals = Goals(task.program, task.bounds[0], ascent, threads=1, seed=task.seed, heavy=task.heavy)
        goal = below(total_cost(self._best), ascent.step)
        verdict = goals.decide(goal, Watch(time_limit_s=DECIDING_S, memory_limit_mb=task.memory_limit_mb))
        if verdict.proven:
            self._send(RuledOut(goal=goal))
        if verdict.answer is None:
            return False
        self._keep(tuple(verdict.answer))
        return True

    def _keep(self, answer: Answer) -> None:
        if total_cost(answer) < total_cost(self._best):
            self._best = answer
            self._send(answer)


def _main() -> None:
    # What libraries print must not come between the messages.
    pipe = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def send(message: Answer | RuledOut) -> None:
        pickle.dump(message, pipe)
        pipe.flush()

    told = messages(sys.stdin.buffer)
    task = next(told, None)
    if task is None:
        return
    work = Work(task, send)

    def listen() -> None:
        for known in told:
            work.hear(known)
        os._exit(0)  # the search has gone

    threading.Thread(target=listen, name="search", daemon=True).start()
    work.run()


if __name__ == "__main__":
    _main()
