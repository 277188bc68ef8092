"""The companion's own side (see `solver.companion`): instances first, exchanges, dives over groups or with
rows, parts solved again, what is best over few facilities; and, once it is asked to, whether there is
anything cheaper at all."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from solver.branching import Node
from solver.exchanges import Exchanges
from solver.facilities import Facilities, Pattern, total_cost
from solver.fractional_bound import Bound
from solver.goals import Goals
from solver.group_bound import Groups
from solver.group_dives import GroupDives
from solver.neighbourhoods import COMBINING, MORE_PATTERNS, Neighbourhoods
from solver.outcome import Limit, Watch, resident_mb
from solver.over_used import InstancesFirst, best_over_used
from solver.packed_bound import PackedAscent
from solver.row_dives import RowDives
from solver.steps import below, common_step

# What is not decided by then is not decided this way, and answers can still be looked for.
DECIDING_S = 15.0
# What part of the time each way to a better answer gets: one dive takes seconds, and begins late.
WORTH = {"parts": 2.0, "first": 1.0, "dives": 1.0, "groups": 6.0, "whole": 2.0}
DIVES_AFTER_S = 3.0
# As soon as groups are known they are dived into for so long before anything else goes on.
GROUPS_FIRST_S = 5.0
# The same for groups that hold whole fragments, for which everything else is left at once; a dive over these
# that takes longer is the last one.
WHOLE_FIRST_S, WHOLE_S = 20.0, 30.0
# Exchanges come first, for so long, and then take so many times as long as all of these; half as long after
# every so many rounds in vain. Where groups are known, much less.
EXCHANGES_FIRST_S, EXCHANGES, BESIDE_GROUPS, IN_VAIN = 2.0, 2.0, 0.25, 8
# How long instances first may take, the first time.
FIRST_S = 4.0
# How long parts are solved again before all patterns known are combined.
COMBINED_AFTER_S = 3.0
# How long each of them is tried before what is best over few facilities is asked for, which may take long.
OVER_USED_AFTER_S = 3.0

Answer = tuple[Pattern, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Known:
    """What the search knows now: an answer, and prices; `decide` asks whether there is a cheaper answer.

    `whole` is known of groups that hold whole fragments, where that says more than patterns do.
    """

    answer: Answer
    bound: Bound
    decide: bool = False
    groups: Groups | None = None
    whole: Groups | None = None
    root: Node | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class RuledOut:
    """No answer costs `goal` or less."""

    goal: float


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

    def begin(self, send: Callable[[Answer | RuledOut], None]) -> Work:
        return Work(self, send)


class Work:
    """The best answer so far, and the search around it. `hear` is called from another thread than `run`."""

    def __init__(self, task: Task, send: Callable[[Answer | RuledOut], None]) -> None:
        self._task, self._best, self._send = task, task.answer, send
        self._to_decide, self._can_decide, self._bound = False, True, task.bounds[-1]
        self._groups: Groups | None = None
        # What is known of groups that hold whole fragments, and whether that is still to be looked at.
        self._whole: Groups | None = None
        self._new = False
        self._root: Node | None = None
        self._lock = threading.Lock()
        step = common_step(task.program.prices)
        self._ascent = PackedAscent(task.program, task.bounds[-1], list(task.patterns), step)
        self._parts = Neighbourhoods(
            task.program, self._ascent, Watch(), threads=1, seed=task.seed, heavy=task.heavy
        )

    def hear(self, known: Known) -> None:
        """What the search knows."""
        with self._lock:
            if total_cost(known.answer) < total_cost(self._best):
                self._best = known.answer
        # A value and the prices that prove it: taken as one, since they are read in between.
        if known.bound.value > self._bound.value:
            self._bound = known.bound
        self._groups = known.groups or self._groups
        if known.whole is not None:
            first, self._whole = self._whole is None, known.whole
            self._new |= first
        self._root = known.root or self._root
        self._to_decide = self._can_decide and (self._to_decide or known.decide)

    def run(self) -> None:
        """Until too much is in memory; otherwise it is the search that ends."""
        task, ascent = self._task, self._ascent
        first = InstancesFirst(task.program, ascent, threads=1, seed=task.seed)
        dives = RowDives(task.program, ascent, seed=task.seed)
        exchanges = Exchanges(task.program, ascent, seed=task.seed)
        group_dives = GroupDives(task.program, ascent.step, seed=task.seed)
        whole_dives = GroupDives(task.program, ascent.step, seed=task.seed, whole=True)
        over_used, slow, combined, combined_s = False, False, 0, COMBINED_AFTER_S
        if first.fits(list(self._best)):
            # Where instances hold many fragments this comes first, if a moment is enough for it.
            self._keep(first.improve(list(self._best), self._until_asked(FIRST_S)))
            spent = {"parts": 0.0, "first": 0.0}
        else:
            spent = {"parts": 0.0, "dives": DIVES_AFTER_S * WORTH["dives"] / WORTH["parts"]}
        exchanges_s, in_vain = 0.0, 0
        while not task.memory_limit_mb or resident_mb() < task.memory_limit_mb:
            bound = self._bound
            ascent.value, ascent.worth = bound.value, bound.worth
            self._new = False
            groups, whole, began = self._groups, self._whole, time.monotonic()
            if groups is not None:
                spent.setdefault("groups", -GROUPS_FIRST_S)
            if whole is not None:
                spent.setdefault("whole", -WHOLE_FIRST_S)
            ways = dict(spent)
            if groups is not None and not group_dives.fits(list(self._best), groups):
                del ways["groups"]
            if whole is not None and (slow or not whole_dives.fits(list(self._best), whole)):
                del ways["whole"]
            if self._to_decide:
                self._to_decide = self._can_decide = self._decide()
            elif whole is not None and ways.get("whole", 0.0) < 0.0:
                slow = self._dive_whole(whole_dives, whole)
                spent["whole"] += time.monotonic() - began
            elif exchanges.fits and exchanges_s < self._for_exchanges(sum(ways.values()), in_vain):
                exchanges.tell(self._root)
                exchanges.tell(dives.root)
                better = exchanges.improve(self._best, self._until_asked())
                self._keep(better)
                in_vain = in_vain + 1 if better is None else 0
                exchanges_s += time.monotonic() - began
            elif not over_used and min(ways.values()) > OVER_USED_AFTER_S:
                over_used = True
                self._keep(self._best_over_used())
            elif len(ascent.patterns) > MORE_PATTERNS * combined and spent["parts"] > combined_s:
                combined = len(ascent.patterns)
                self._keep(self._combined())
                combined_s += time.monotonic() - began
            else:
                way = min(ways, key=lambda way: ways[way] / WORTH[way])
                if way == "first":
                    self._keep(first.improve(list(self._best), self._until_asked(), groups))
                elif way == "groups" and groups is not None:
                    self._keep(group_dives.improve(list(self._best), groups, self._until_asked()))
                elif way == "whole" and whole is not None:
                    slow = self._dive_whole(whole_dives, whole)
                elif way == "dives":
                    self._keep(dives.improve(list(self._best), self._until_asked()))
                else:
                    self._parts.watch = self._until_asked()
                    self._keep(self._parts.improve(list(self._best), 1))
                spent[way] += time.monotonic() - began
                if not dives.fits:
                    spent.pop("dives", None)

    def _dive_whole(self, dives: GroupDives, whole: Groups) -> bool:
        """Whether such a dive takes too long."""
        watch = self._until_asked(WHOLE_S)
        self._keep(dives.improve(list(self._best), whole, watch))
        return watch.limit is Limit.TIME

    def _for_exchanges(self, others_s: float, in_vain: int) -> float:
        """How long they may have taken while all others took so long."""
        if self._groups is not None:
            return BESIDE_GROUPS * others_s
        return max(EXCHANGES_FIRST_S, EXCHANGES * 0.5 ** (in_vain // IN_VAIN) * others_s)

    def _best_over_used(self) -> list[Pattern] | None:
        program, ascent = self._task.program, self._ascent
        goal = below(total_cost(self._best), ascent.step)
        return best_over_used(program, ascent, goal, self._until_asked(), threads=1, seed=self._task.seed)

    def _combined(self) -> list[Pattern] | None:
        """A better answer of patterns that are known by now."""
        task, ascent = self._task, self._ascent
        goals = Goals(task.program, task.bounds[0], ascent, threads=1, seed=task.seed)
        return goals.combine(below(total_cost(self._best), ascent.step), COMBINING, self._until_asked())

    def _until_asked(self, time_limit_s: float = math.inf) -> Watch:
        """Ends where the search asks for something else, or after so long."""
        limit_mb = self._task.memory_limit_mb
        return Watch(
            time_limit_s=time_limit_s,
            memory_limit_mb=limit_mb,
            should_stop=lambda: self._to_decide or self._new,
        )

    def _decide(self) -> bool:
        """Look for anything cheaper than the best answer; False where that ended without an answer."""
        task, ascent = self._task, self._ascent
        goals = Goals(task.program, task.bounds[0], ascent, threads=1, seed=task.seed, heavy=task.heavy)
        goals.groups = self._groups
        goal = below(total_cost(self._best), ascent.step)
        verdict = goals.decide(goal, Watch(time_limit_s=DECIDING_S, memory_limit_mb=task.memory_limit_mb))
        if verdict.proven:
            self._send(RuledOut(goal=goal))
        if verdict.answer is None:
            return False
        self._keep(verdict.answer)
        return True

    def _keep(self, answer: Sequence[Pattern] | None) -> None:
        with self._lock:
            if answer is None or total_cost(answer) >= total_cost(self._best):
                return
            self._best = tuple(answer)
        self._send(tuple(answer))
