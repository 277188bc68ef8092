"""A process beside a search for 5.2 (`solver.beside`): it looks for better answers while the search proves.

The search tells it what is known (an answer, prices), and it tells every cheaper answer that it finds
(`solver.companion_work`). Where HiGHS decides goals as they stand, the search climbs from the bound and asks
the companion to begin at the other end: is there anything cheaper than the answer?
"""

from __future__ import annotations

import math
import queue

from solver.beside import Beside
from solver.companion_work import Answer, Known, RuledOut, Task
from solver.facilities import total_cost

__all__ = ["Answer", "Companion", "Known", "Task"]


class Companion:
    """The process, as the search sees it: it starts at once, and begins when it has a task. To be closed,
    which ends it."""

    def __init__(self) -> None:
        self._cost, self._ruled_out = math.inf, -math.inf
        self._news: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self._told: Known | None = None
        self._beside = Beside(Task.__module__, self._heard)

    @property
    def pid(self) -> int:
        return self._beside.pid

    def begin(self, task: Task) -> None:
        """What it is to do."""
        self._beside.tell(task)

    def tell(self, known: Known) -> None:
        """What is known now; nothing is sent where it was told before."""
        told = self._told
        if (
            told is None
            or total_cost(known.answer) < total_cost(told.answer)
            or known.decide > told.decide
            or (told.groups is None and known.groups is not None)
            or (known.root is not None and (told.root is None or known.root.bound > told.root.bound))
        ):
            self._told = known
            self._beside.tell(known)

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
        self._beside.close()

    def _heard(self, message: Answer | RuledOut) -> None:
        if isinstance(message, RuledOut):
            self._ruled_out = max(self._ruled_out, message.goal)
            return
        self._news.put(message)
        self._cost = min(self._cost, total_cost(message))
