"""Program 5.2 (one shared stage a route) solved: an answer, a lower bound, and how the search ended.

    1. a first answer: `solver.greedy`, or the caller's
    2. the strong form's relaxation (`solver.fractional_bound`): prices, and a first bound
    3. the pattern program's relaxation (`solver.packed_bound`): a better bound, and patterns
    4. that relaxation rounded (`solver.diving`)
    5. answers over the facilities that it uses (`solver.over_used`): instances first, or what is best
    6. instances chosen for whole groups (`solver.group_bound`): a bound, and what is in no better answer
    7. by turns, with more effort each time: better answers by exchanging a few patterns (`solver.exchanges`),
       by solving parts again (`solver.neighbourhoods`), by rounding with subset rows (`solver.row_dives`) or
       over groups (`solver.group_dives`), or with other instances first; and an answer at the bound, or the
       bound a step higher, by `solver.goals` or over groups that hold whole fragments
       (`solver.whole_groups`)

With a second core 6 goes on at once: a process beside this one looks for answers (`solver.companion`), 5
among them, and this one proves. Where instances hold few fragments 6 is left out.

The mathematics is in `solver.facilities`. Every price is a multiple of a step, so bounds round up to it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace

import numpy as np

from solver.beside import worthwhile
from solver.compact import able_pairs
from solver.companion import Companion, Known, Task
from solver.diving import dive
from solver.exchanges import Exchanges
from solver.facilities import (
    Facilities,
    Pattern,
    all_alone,
    as_it_is,
    everybody_alone,
    impossible,
    settle,
    total_cost,
)
from solver.fractional_bound import Bound, fractional_bound
from solver.goals import Effort, Goals
from solver.greedy import greedy
from solver.group_bound import GroupAscent
from solver.group_dives import GroupDives
from solver.group_labels import choices_of, mostly_apart
from solver.neighbourhoods import COMBINING, MORE_PATTERNS, Neighbourhoods
from solver.outcome import Limit, Outcome, Progress, Status, Watch
from solver.over_used import InstancesFirst, best_over_used, holds_many
from solver.packed_bound import PackedAscent
from solver.row_dives import RowDives
from solver.steps import below, common_step, round_up
from solver.whole_groups import WholeGroups

# Rounds of the pattern program's relaxation before the first dive, and in one turn.
FIRST_ROUNDS, ROUNDS = 40, 150
# What one turn may do for the bound, and how many parts in a row it tries in vain for the answer.
EFFORT = Effort(branches=15, patterns=100_000, pairs=40_000, nodes=100, looks=200)
# Where an instance holds fewer fragments than this in the first dive's answer, patterns are few, trees deep.
HEAVY = 4.0
HEAVY_EFFORT = Effort(branches=4, patterns=300_000, pairs=6_000, nodes=100, looks=400)
# A first look at a goal there, after which the companion is told what rows cost; and all looks where groups
# that hold whole fragments promise more.
FIRST_LOOK = Effort(branches=1, patterns=20_000, nodes=100, looks=400)
SHORT_LOOK = Effort(branches=1, larger_rows=False)
TRIES = 4
TURNS = 1_000
# With a companion, which looks for answers: little at a time, and rounds of the relaxation likewise.
EFFORT_BESIDE = replace(EFFORT, branches=5)
ROUNDS_BESIDE = 20
# Where HiGHS decides goals as they stand, the next one is twice as many steps away, up to so many; and where
# no more steps than this are left between bound and answer, it begins at the other end too.
MOST_STRIDE, DECIDABLE = 4, 6
# With so many classes the companion's process, which takes a second to start, starts at the very beginning.
EARLY = 100
# How often the bound is raised over groups that hold whole fragments in one turn, without a companion.
WHOLE_TURNS = 25
# With one: where instances hold few fragments, they take so long in vain before anything else; where these
# hold many, the others do.
BEFORE_S, AFTER_S = 1.5, 4.0
# What a second counts for where groups that hold whole fragments promise less than patterns do; otherwise
# its inverse.
DOUBTFUL = 4.0
# Rounds of exchanges in one turn, without a companion.
EXCHANGES = 4
# Rounds of choosing by groups between two looks at what the companion found.
GROUP_ROUNDS = 20


@dataclass(frozen=True, kw_only=True, eq=False)
class OneStageAnswer:
    """Patterns that serve every fragment exactly once, and how the search ended."""

    patterns: tuple[Pattern, ...]
    outcome: Outcome


def solve_one_stage(
    program: Facilities,
    *,
    watch: Watch,
    start: list[Pattern] | None = None,
    threads: int = 1,
    seed: int = 0,
    keep: Callable[[Sequence[Pattern]], None] | None = None,
) -> OneStageAnswer:
    """Solve 5.2 within the watch's limits; where there is an answer at all, one is always found.

    `keep` is called with every better answer as it is found.
    """
    if hopeless := impossible(program):
        return infeasible(hopeless)
    whole = everybody_alone(program)
    search = _Search(whole, watch, threads, seed, None)
    if keep is not None:
        search.keep = lambda answer: keep(as_it_is(program, answer))
    search.run(start)
    return OneStageAnswer(patterns=tuple(as_it_is(program, search.best)), outcome=_outcome(watch))


def infeasible(classes: list[int]) -> OneStageAnswer:
    """No answer, and why: these classes can be served in no way."""
    names = ", ".join(str(k) for k in classes[:20]) + (", …" if len(classes) > 20 else "")
    return OneStageAnswer(
        patterns=(),
        outcome=Outcome(
            status=Status.INFEASIBLE,
            limit=None,
            detail=f"neither alone nor at any facility can these classes be served: {names}",
            objective=math.inf,
            lower_bound=math.inf,
        ),
    )


class _Search:
    """The phases above, and the best answer so far."""

    def __init__(
        self,
        program: Facilities,
        watch: Watch,
        threads: int,
        seed: int,
        keep: Callable[[Sequence[Pattern]], None] | None,
    ) -> None:
        self.program, self.watch, self.threads, self.seed = program, watch, threads, seed
        self.keep = keep
        self.step = common_step(program.prices)
        self.best = all_alone(program)
        self._stride = 1
        self._groups: GroupAscent | None = None

    def run(self, start: list[Pattern] | None) -> None:
        early = worthwhile(self.threads) and len(self.program) >= EARLY
        with closing(Companion()) if early else nullcontext() as beside:
            self._run(start, beside)

    def _run(self, start: list[Pattern] | None, beside: Companion | None) -> None:
        watch = self.watch
        watch.update(phase="first answer", objective=total_cost(self.best))
        if start is not None:
            self._take(start)
        self._take(greedy(self.program, watch))
        if watch.over:
            return
        loose = fractional_bound(self.program, self.best, watch)
        watch.update(lower_bound=round_up(loose.value, self.step))
        if watch.over:
            return
        ascent = PackedAscent(self.program, loose, self.best, self.step)
        complete = ascent.run(watch, rounds=FIRST_ROUNDS)
        if watch.over:
            return
        watch.update(phase="diving")
        self._take(dive(self.program, ascent, watch, np.random.default_rng(self.seed)))
        if not watch.over:
            self._take_turns(loose, ascent, complete, beside)

    def _take(self, answer: list[Pattern] | None) -> None:
        if answer is None:
            return
        better = settle(self.program, answer)
        if total_cost(better) < total_cost(self.best):
            self.best = better
            if self.keep is not None:
                self.keep(better)
        self.watch.update(objective=total_cost(self.best))

    def _take_turns(
        self, loose: Bound, ascent: PackedAscent, complete: bool, beside: Companion | None
    ) -> None:
        heavy = self.program.members.sum() < HEAVY * sum(pattern.instances for pattern in self.best)
        if worthwhile(self.threads):
            task = Task(
                program=self.program,
                bounds=(loose, Bound(value=ascent.value, worth=ascent.worth)),
                patterns=tuple(ascent.patterns),
                answer=tuple(self.best),
                heavy=heavy,
                seed=self.seed,
                memory_limit_mb=self.watch.memory_limit_mb,
            )
            with closing(Companion()) if beside is None else nullcontext(beside) as companion:
                companion.begin(task)
                self._prove_beside(companion, loose, ascent, complete, heavy)
            return
        first = InstancesFirst(self.program, ascent, threads=self.threads, seed=self.seed)
        if first.fits(self.best):
            self._take(first.improve(self.best, self.watch))
        goal = below(total_cost(self.best), self.step)
        over_used = best_over_used(
            self.program, ascent, goal, self.watch, threads=self.threads, seed=self.seed
        )
        self._take(over_used)
        effort = HEAVY_EFFORT if heavy else EFFORT
        neighbourhoods = Neighbourhoods(
            self.program, ascent, self.watch, threads=self.threads, seed=self.seed, heavy=heavy
        )
        dives = RowDives(self.program, ascent, seed=self.seed)
        exchanges = Exchanges(self.program, ascent, seed=self.seed)
        group_dives = GroupDives(self.program, self.step, seed=self.seed)
        goals: Goals | None = None
        whole = WholeGroups(self.program, self.step, seed=self.seed)
        for turn in range(1, TURNS):
            exchanges.tell(dives.root)
            exchanges.tell(None if goals is None else goals.root)
            for _ in range(EXCHANGES):
                if exchanges.fits and not self.watch.over:
                    self._take(exchanges.improve(self.best, self.watch))
            self._take(neighbourhoods.improve(self.best, TRIES))
            if dives.fits and not self.watch.over:
                self._take(dives.improve(self.best, self.watch))
            if turn > 1 and first.fits(self.best):
                self._take(first.improve(self.best, self.watch, None if goals is None else goals.groups))
            groups = None if goals is None else goals.groups
            if groups is not None and group_dives.fits(self.best, groups) and not self.watch.over:
                self._take(group_dives.improve(self.best, groups, self.watch))
            if self.watch.over:
                return
            complete = complete or ascent.run(self.watch, rounds=ROUNDS)
            if complete:
                goals = goals or Goals(
                    self.program, loose, ascent, threads=self.threads, seed=self.seed, heavy=heavy
                )
                if not heavy:
                    self._choose_by_groups(goals, loose, self.watch)
                larger = not heavy or (turn > 1 and not self._promising(whole, goals))
                look = replace(effort, larger_rows=larger)
                while not self.watch.over and self._raise_bound(goals, look, self.watch):
                    pass
                if (heavy or turn > 1) and not whole.hopeless and not self.watch.over:
                    self._rise_whole(whole, loose, ascent, self.watch, turns=WHOLE_TURNS)
                if turn.bit_count() == 1 and not self.watch.over:
                    # After the first, second, fourth … turn.
                    self._combine(goals, effort, self.watch)
            if self.watch.over:
                return

    def _prove_beside(
        self, beside: Companion, loose: Bound, ascent: PackedAscent, complete: bool, heavy: bool
    ) -> None:
        """The bound alone: the companion looks for answers, and tells; or begins at the other end."""
        watch, effort = self.watch, EFFORT_BESIDE
        goals: Goals | None = None
        whole = WholeGroups(self.program, self.step, seed=self.seed)
        combined, whole_s, proving_s = 0, 0.0 if heavy else AFTER_S, 0.0
        before_s, looked_at = BEFORE_S if heavy else 0.0, -math.inf
        while not watch.over:
            self._hear(beside)
            for pattern in self.best:
                ascent.add(pattern)
            complete = complete or ascent.run(watch, rounds=ROUNDS_BESIDE)
            if watch.over or not complete:
                continue
            goals = goals or Goals(self.program, loose, ascent, threads=1, seed=self.seed, heavy=heavy)
            if not heavy:
                self._choose_by_groups(goals, loose, self._until_met(beside))
            if watch.over:
                break
            promising = self._promising(whole, goals)
            known = Known(
                answer=tuple(self.best),
                bound=Bound(value=ascent.value, worth=ascent.worth),
                decide=goals.sure and (self.step <= 0 or self._steps_left <= DECIDABLE),
                groups=goals.groups and replace(goals.groups, choices=[]),
                whole=whole.known if promising else None,
                root=goals.root,
            )
            beside.tell(known)
            first = before_s > 0 and not promising
            if not whole.hopeless and (first or whole_s <= proving_s):
                spent, rose = self._rise_whole(whole, loose, ascent, self._until_met(beside))
                if first:
                    before_s -= spent
                elif not rose:
                    whole_s += spent / DOUBTFUL if promising else DOUBTFUL * spent
                continue
            began, lower = time.monotonic(), watch.lower_bound
            goal = self._goal
            if heavy and promising and not whole.hopeless:
                effort = SHORT_LOOK
            elif heavy:
                effort = HEAVY_EFFORT if goal == looked_at else FIRST_LOOK
            looked_at = goal
            self._raise_bound(goals, effort, self._until_met(beside))
            by_facilities = not heavy and not goals.by_groups_alone
            if by_facilities and len(ascent.patterns) > MORE_PATTERNS * combined and not watch.over:
                combined = len(ascent.patterns)
                while self._combine(goals, COMBINING, self._until_met(beside)) and not watch.over:
                    pass
            # Who raises the bound goes on; otherwise they take turns.
            proving_s += time.monotonic() - began if watch.lower_bound <= lower else 0.0
        self._hear(beside)

    def _promising(self, whole: WholeGroups, goals: Goals) -> bool:
        """Groups that hold whole fragments say more than patterns do, with rows or without."""
        root = goals.root
        return whole.promises(max(goals.ascent.value, 0.0 if root is None else root.bound))

    def _rise_whole(
        self, whole: WholeGroups, loose: Bound, ascent: PackedAscent, watch: Watch, turns: int = 1
    ) -> tuple[float, bool]:
        """Raise the bound, every fragment whole within its group: seconds that took, and whether it rose."""
        began, before = time.monotonic(), self.watch.lower_bound
        self.watch.update(phase="packing groups")
        bounds = [loose, Bound(value=ascent.value, worth=ascent.worth)]
        lower, answer = whole.rise(before, self._better, self.best, bounds, watch, turns=turns)
        self._take(answer)
        self.watch.update(lower_bound=lower)
        return time.monotonic() - began, self.watch.lower_bound > before

    def _choose_by_groups(self, goals: Goals, loose: Bound, watch: Watch) -> None:
        """Raise the bound as far as choosing by groups goes, and tell the goals what that leaves out."""
        program, ascent = self.program, goals.ascent
        if self._groups is None:
            if not mostly_apart(program, self.best):
                return
            bound = Bound(value=ascent.value, worth=ascent.worth)
            able = able_pairs(program, [loose, bound], self._better)
            choices = choices_of(program, self.best)
            self._groups = GroupAscent(program, able, bound, choices, self._better, self.step)
        groups, complete = self._groups, False
        self.watch.update(phase="choosing by starts")
        while not complete and not groups.hopeless and not watch.over:
            groups.aim(self._better)
            complete = groups.run(watch, rounds=GROUP_ROUNDS)
            self.watch.update(lower_bound=groups.lower_bound)
        if complete:
            goals.groups = groups.known
            goals.by_groups_alone = holds_many(program, self.best)

    @property
    def _better(self) -> float:
        """What an answer that is better than the best costs at most."""
        cost = total_cost(self.best)
        return cost - self.step if self.step > 0 else cost * (1 - 1e-9)

    def _until_met(self, beside: Companion) -> Watch:
        """Listens to the companion, and ends early where its answer is proven to be the best."""
        watch = self.watch

        def report(_: Progress) -> None:
            self._hear(beside)
            watch.update()

        return Watch(
            time_limit_s=watch.remaining_s,
            should_stop=lambda: watch.over or beside.cost <= watch.lower_bound * (1 + 1e-9),
            report=report,
        )

    def _hear(self, beside: Companion) -> None:
        for answer in beside.news():
            self._take(list(answer))
        if beside.ruled_out > -math.inf:
            self._rule_out(beside.ruled_out)

    @property
    def _goal(self) -> float:
        """What is to be ruled out or reached next: the bound or more, always less than the answer."""
        if self.step > 0:
            ahead = (self._stride - 1) * self.step
            return min(self.watch.lower_bound + ahead, self._better)
        return self._better

    @property
    def _steps_left(self) -> float:
        """Between the bound and the answer."""
        return (total_cost(self.best) - self.watch.lower_bound) / self.step

    def _rule_out(self, goal: float) -> None:
        self.watch.update(lower_bound=goal + self.step if self.step > 0 else goal / (1 - 1e-9))

    def _combine(self, goals: Goals, effort: Effort, watch: Watch) -> bool:
        """Whether a better answer was found among the patterns known."""
        self.watch.update(phase="combining")
        goal = below(total_cost(self.best), self.step)
        answer = goals.combine(goal, effort, watch)
        self._take(answer)
        return answer is not None

    def _raise_bound(self, goals: Goals, effort: Effort, watch: Watch) -> bool:
        """Prove that nothing costs what the bound says, or some steps more; True when that went through.

        False too when an answer that costs no more was found.
        """
        self.watch.update(phase="proving")
        goal = self._goal
        ahead = self._stride > 1 and goal > self.watch.lower_bound * (1 + 1e-9)
        verdict = goals.decide(goal, watch) if ahead else goals.reach(goal, effort, watch)
        self._take(verdict.answer)
        if verdict.proven:
            self._rule_out(goal)
        self.watch.update(lower_bound=round_up(goals.lower_bound, self.step))
        surely = verdict.proven and goals.sure and self.step > 0
        self._stride = min(2 * self._stride, MOST_STRIDE) if surely else 1
        return verdict.proven


def _outcome(watch: Watch) -> Outcome:
    closed = watch.lower_bound >= watch.objective * (1 - 1e-9)
    limit = None if closed else watch.limit or (Limit.GAP if watch.closed else Limit.ROUNDS)
    detail = {
        None: "the bound meets the answer",
        Limit.TIME: f"the time limit of {watch.time_limit_s:g} s passed",
        Limit.STOPPED: "stopped by the caller; the best answer so far is kept",
        Limit.MEMORY: "more memory was in use than is allowed; the best answer so far is kept",
        Limit.GAP: f"the gap asked for, {watch.gap:g}, was reached",
        Limit.ROUNDS: "no better answer among the patterns that were generated",
    }[limit]
    return Outcome(
        status=Status.OPTIMAL if closed else Status.FEASIBLE,
        limit=limit,
        detail=detail,
        objective=watch.objective,
        lower_bound=watch.objective if closed else watch.lower_bound,
    )
