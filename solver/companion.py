"""A process beside a search for 5.2, on a second core: it looks for better answers while the search proves.

The search tells it what is known (an answer, prices), and it tells every cheaper answer that it finds by
solving parts again (`solver.neighbourhoods`). Where HiGHS decides goals as they stand, the search climbs from
the bound and asks the companion to begin at the other end: is there anything cheaper than the answer? What is
sent are pickles over the process's own pipes. A companion whose search has gone reads the end of its input,
and ends. When messages arrive depends on the machine, so a search with a companion does not repeat itself;
one thread is for that.
"""

from __future__ import annotations

import contextlib
import math
import os
import pickle
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

from solver.facilities import Facilities, Pattern, total_cost
from solver.fractional_bound import Bound

Answer = tuple[Pattern, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """The program, prices that prove bounds on it (the best last), patterns to begin with, and an answer."""

    program: Facilities
    bounds: tuple[Bound, Bound]
    patterns: tuple[Pattern, ...]
    answer: Answer
    heavy: bool
    seed: int
    memory_limit_mb: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Known:
    """What the search knows now: an answer, and prices; `decide` asks whether there is a cheaper answer."""

    answer: Answer
    bound: Bound
    decide: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class RuledOut:
    """No answer costs `goal` or less."""

    goal: float


class Companion:
    """The process, as the search sees it. To be closed, which ends it."""

    def __init__(self, task: Task) -> None:
        self._cost, self._ruled_out = math.inf, -math.inf
        self._news: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "solver.companion_work"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)},
        )
        threading.Thread(target=self._listen, name="companion", daemon=True).start()
        self._told: Known | None = None
        self._send(task)

    @property
    def pid(self) -> int:
        return self._process.pid

    def tell(self, known: Known) -> None:
        """What is known now; nothing is sent where it was told before."""
        told = self._told
        if told is None or total_cost(known.answer) < total_cost(told.answer) or known.decide > told.decide:
            self._told = known
            self._send(known)

    @property
    def cost(self) -> float:
        """Of the cheapest answer that it sent."""
        return self._cost

    @property
    def ruled_out(self) -> float:
        """No answer costs this or less; −inf before it proved anything."""
        return self._ruled_out

    def news(self) -> list[Answer]:
        """Cheaper answers that came since the last time."""
        found = []
        while not self._news.empty():
            found.append(self._news.get())
        return found

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()

    def _send(self, message: Any) -> None:
        assert self._process.stdin is not None
        # Where it has ended the search goes on alone.
        with contextlib.suppress(BrokenPipeError, ValueError):
            pickle.dump(message, self._process.stdin)
            self._process.stdin.flush()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for message in messages(self._process.stdout):
            if isinstance(message, RuledOut):
                self._ruled_out = max(self._ruled_out, message.goal)
                continue
            self._news.put(message)
            self._cost = min(self._cost, total_cost(message))


def worthwhile(threads: int) -> bool:
    """Whether there is a core for a companion."""
    # Not every system says which cores are this process's own.
    ours = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return threads >= 2 and ours >= 2


def messages(pipe: IO[bytes]) -> Iterator[Any]:
    """What the other end sends, until it has gone."""
    while True:
        try:
            yield pickle.load(pipe)  # noqa: S301 - the other end is this program
        except (EOFError, OSError, ValueError, pickle.UnpicklingError):
            return
