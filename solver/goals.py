"""Answers to 5.2 that cost at most a goal, or a proof that there are none.

Costs are multiples of a step, so an answer at the lower bound is optimal, and a bound that is proven to be
out of reach rises by a step. Aiming low is what makes this quick: at a goal near the bound nearly everything
is ruled out by reduced costs. What is left is decided in one of four ways:

    branch and price    `solver.group_tree`: groups are programs of their own, nearly
                        `solver.branching`: light loads, where an instance could hold any of very many sets
    few patterns        all are written down (`solver.enumeration`) and chosen from (`solver.pool`): heavy
                        loads, where an instance holds few fragments
    few pairs           the program as it stands (`solver.compact`), where HiGHS' cuts decide it at once
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from solver.branching import Node, Tree
from solver.compact import TOLERANCE, Kept, solve_compact, what_can_matter
from solver.enumeration import enumerate_patterns, written_down
from solver.facilities import Facilities, Pattern, settle, total_cost
from solver.fractional_bound import Bound
from solver.group_bound import Groups
from solver.group_tree import GroupTree
from solver.outcome import Watch
from solver.packed_bound import PackedAscent
from solver.pool import Pool
from solver.reduction import Reduction

MOST_PATTERNS = 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Effort:
    """How much work one look for an answer may take: nodes of `solver.branching`, and what HiGHS may do.

    HiGHS chooses from at most `patterns`, or is given a program of at most so many `pairs`, and searches so
    many `nodes` and looks up from them (see `solver.highs`). Work is counted so, not in seconds, that a
    program gets the same effort everywhere. `larger_rows`: subset rows may be of more than three classes.
    """

    branches: int
    patterns: int = 0
    pairs: int = 0
    nodes: int = 0
    looks: int = 0
    larger_rows: bool = True

    def times(self, factor: int) -> Effort:
        """The same branches, and so much more for HiGHS."""
        return replace(
            self,
            patterns=min(factor * self.patterns, MOST_PATTERNS),
            nodes=factor * self.nodes,
            looks=factor * self.looks,
        )


# An answer, and whether it is proven that there is none.
Found = tuple[list[Pattern] | None, bool]

# A first look at a goal by HiGHS: where prices are few and large its cuts decide at once. Where they leave
# its bound further below the goal than this part of a step, it was far from deciding it.
QUICK = Effort(branches=0, pairs=40_000, nodes=20, looks=15)
NEAR = 0.5
# Where it decided so many goals more than it was far from, it may take as long as this for the next one.
TRUSTED, LONG = 2, Effort(branches=0, pairs=40_000, nodes=1_000, looks=10_000)
# Where it decided so many more, it may as well begin at the other end.
SURE = 3
# Nodes of the tree over groups in one look, after the first.
GROUP_NODES = 15
# Over more facilities than this it decided none at first sight.
FEW_FACILITIES = 100
# Where groups leave more pairs than this, HiGHS is not asked beside them unless it has decided goals.
FEW_PAIRS = 6_000
# Cuts for known patterns prove nothing, so there are few rounds of them.
COMBINING_ROUNDS = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """An answer of at most the goal or None; `proven` when there is none."""

    answer: list[Pattern] | None = None
    proven: bool = False


class Goals:
    """Goals of one program. `loose` and the ascent's are bounds on it; the ascent learns new patterns.

    `quick`: HiGHS has a first look at every goal, as long as it decides them. `heavy`: patterns hold so few
    fragments that without subset rows trees are of no use. `with_rows`: these tighten relaxations. No answer
    costs less than `lower_bound`: what HiGHS proved, also of goals that it did not decide.
    """

    def __init__(
        self,
        program: Facilities,
        loose: Bound,
        ascent: PackedAscent,
        *,
        threads: int,
        seed: int,
        quick: bool = True,
        heavy: bool = False,
        with_rows: bool = True,
    ) -> None:
        self.program, self.ascent = program, ascent
        self.threads, self.seed = threads, seed
        self._bounds = [loose, Bound(value=ascent.value, worth=ascent.worth)]
        self._begun: _Begun | None = None
        self._last_tree: Tree | None = None
        # How many goals HiGHS decided as they stand, less how often it was far from it.
        self._trust = 0
        # What it proved, of goals that it did not decide too.
        self.lower_bound = 0.0
        # Where groups are programs of their own: what is left of each, prices, and choices; and whether these
        # decide more than facilities do, since instances hold many fragments.
        self.groups: Groups | None = None
        self.by_groups_alone = False
        self._quick, self._heavy, self._with_rows = quick and not heavy, heavy, with_rows

    def reach(self, goal: float, effort: Effort, watch: Watch) -> Verdict:
        """Look for an answer of at most `goal`.

        Asked for the same goal again, branch and price goes on where it was. HiGHS has to begin again, so it
        is tried the first, second, fourth, eighth … time, with so much more effort.
        """
        allowed = goal * (1 + 1e-9)
        if max(bound.value for bound in self._bounds) > allowed:
            return Verdict(proven=True)
        begun = self._begun
        if begun is None or begun.goal != goal:
            begun = self._begun = self._begin(goal, allowed)
        begun.asked += 1
        looks: tuple[Callable[[], Found], ...] = (
            lambda: self._first_group_node(begun, watch),
            lambda: self._at_once(begun, allowed, watch),
            lambda: self._group_nodes(begun, watch),
            lambda: self._branch(begun, allowed, effort, watch),
            lambda: self._choose(begun, allowed, effort, watch),
        )
        for look in looks:
            answer, proven = look()
            if answer is not None or proven:
                return self._verdict(answer, proven, allowed)
            if watch.limit is not None:
                break
        return Verdict()

    @property
    def root(self) -> Node | None:
        """The relaxation of the last goal that was branched on: prices, and what subset rows cost."""
        return None if self._last_tree is None else self._last_tree.root

    @property
    def sure(self) -> bool:
        """HiGHS has decided so many goals of this program as it stands that it may decide any."""
        return self._quick and self._trust >= SURE

    def decide(self, goal: float, watch: Watch) -> Verdict:
        """Look for an answer of at most `goal`, for as long as HiGHS takes for the program as it stands."""
        allowed = goal * (1 + 1e-9)
        return self._verdict(*self._compact(None, allowed, LONG, watch), allowed)

    def combine(self, goal: float, effort: Effort, watch: Watch) -> list[Pattern] | None:
        """An answer of at most `goal` made of patterns that the ascent knows; None proves nothing."""
        allowed = goal * (1 + 1e-9)
        known = written_down(self.program, self.ascent.patterns, self._bounds[-1], allowed)
        if not len(known):
            return None
        answer, _ = Pool(self.program, known, allowed).solve(
            watch,
            threads=self.threads,
            seed=self.seed,
            nodes=effort.nodes,
            looks=effort.looks,
            rounds=COMBINING_ROUNDS,
        )
        return self._verdict(answer, False, allowed).answer

    def _begin(self, goal: float, allowed: float) -> _Begun:
        groups = self._groups_for(allowed)
        if groups is None:
            return _Begun(goal=goal)
        able, bound, choices = groups.able, groups.bound, groups.choices
        step = self.ascent.step
        tree = GroupTree(self.program, able, bound, choices, allowed, step, seed=self.seed)
        return _Begun(goal=goal, by_groups=tree)

    def _groups_for(self, allowed: float) -> Groups | None:
        """What is known of the groups, unless that holds for lower goals only."""
        return self.groups if self.groups is not None and allowed <= self.groups.goal * (1 + 2e-9) else None

    def _what_can_matter(self, begun: _Begun | None, allowed: float) -> Kept:
        groups = self._groups_for(allowed)
        among = None if groups is None else groups.able
        if begun is not None and begun.by_groups is not None:
            among = begun.by_groups.able or among
        return what_can_matter(self.program, self._bounds, allowed, among)

    def _first_group_node(self, begun: _Begun, watch: Watch) -> Found:
        """It leaves out most of what cannot matter, which helps all that follows."""
        if begun.by_groups is None or begun.asked > 1:
            return None, False
        return begun.by_groups.search(1, watch), begun.by_groups.proven

    def _at_once(self, begun: _Begun, allowed: float, watch: Watch) -> Found:
        if begun.asked > 1 or not self._quick or self._trust < 0:
            return None, False
        return self._compact(begun, allowed, LONG if self._trust >= TRUSTED else QUICK, watch)

    def _group_nodes(self, begun: _Begun, watch: Watch) -> Found:
        if begun.by_groups is None or not self.by_groups_alone:
            return None, False
        return begun.by_groups.search(GROUP_NODES, watch), begun.by_groups.proven

    def _branch(self, begun: _Begun, allowed: float, effort: Effort, watch: Watch) -> Found:
        if self.by_groups_alone and begun.by_groups is not None and not begun.by_groups.given_up:
            return None, False
        branches = begun.branches
        if branches is None or (effort.larger_rows and not branches[0].larger_rows):
            branches = self._begin_branches(begun, allowed, effort.larger_rows)
        tree, reduction = branches
        answer = None
        for _ in range(effort.branches):
            # Without rows there is no use in it where patterns are few and trees deep.
            if answer is None and (tree.with_rows or not self._heavy):
                answer = tree.search(1, watch)
        for pattern in tree.patterns:
            if pattern.classes:
                self.ascent.add(reduction.whole(pattern))
        if answer is not None:
            return [reduction.whole(pattern) for pattern in answer], False
        return None, tree.proven

    def _begin_branches(self, begun: _Begun, allowed: float, larger_rows: bool) -> tuple[Tree, Reduction]:
        reduction = Reduction(self.program, self._what_can_matter(begun, allowed))
        known = [found for pattern in self.ascent.patterns if (found := reduction.reduced(pattern))]
        last = self._last_tree
        tree = Tree(
            reduction.program,
            self._bounds[-1],
            known,
            allowed,
            self.ascent.step,
            with_rows=self._with_rows and (last is None or last.with_rows),
            larger_rows=larger_rows,
            # A lower goal left out more facilities: its prices prove nothing here, but are near.
            guess=None if last is None else last.root,
        )
        self._last_tree = tree
        begun.branches = tree, reduction
        return begun.branches

    def _choose(self, begun: _Begun, allowed: float, effort: Effort, watch: Watch) -> Found:
        if begun.asked.bit_count() != 1 or begun.branches is None:
            return None, False
        effort = effort.times(begun.asked)
        tree, reduction = begun.branches
        root, program = tree.root, reduction.program
        bound, rows = Bound(value=root.bound, worth=root.worth), root.row_prices
        patterns = enumerate_patterns(program, bound, allowed, effort.patterns, watch, rows)
        if patterns is not None:
            answer, proven = Pool(program, patterns, allowed, rows).solve(
                watch, threads=self.threads, seed=self.seed, nodes=effort.nodes, looks=effort.looks
            )
            return answer and [reduction.whole(pattern) for pattern in answer], proven
        if self._quick and self._trust < 0:
            return None, False
        return self._compact(begun, allowed, effort, watch)

    def _compact(self, begun: _Begun | None, allowed: float, effort: Effort, watch: Watch) -> Found:
        kept = self._what_can_matter(begun, allowed)
        beside_groups = begun is not None and begun.by_groups is not None and self._trust < TRUSTED
        if (
            len(kept.classes) > (min(effort.pairs, FEW_PAIRS) if beside_groups else effort.pairs)
            or watch.limit is not None
        ):
            return None, False
        if effort is QUICK and len(kept.facilities) > FEW_FACILITIES:
            self._trust -= 1
            return None, False
        answer, lower_bound = solve_compact(
            self.program,
            kept,
            goal=allowed,
            watch=watch,
            threads=self.threads,
            seed=self.seed,
            nodes=effort.nodes,
            looks=effort.looks,
        )
        if answer is not None and total_cost(settle(self.program, answer)) > allowed:
            answer = None  # HiGHS looks above the goal too
        proven = lower_bound * (1 - TOLERANCE) > allowed
        if answer is not None or proven:
            self._trust += 1
        elif lower_bound <= allowed - NEAR * self.ascent.step:
            self._trust -= 1
        # Dearer answers than the goal it knows nothing of.
        self.lower_bound = max(self.lower_bound, min(lower_bound, allowed) * (1 - TOLERANCE))
        return answer, proven

    def _verdict(self, answer: list[Pattern] | None, proven: bool, allowed: float) -> Verdict:
        if answer is not None:
            answer = settle(self.program, answer)
            if total_cost(answer) > allowed:
                answer = None
        return Verdict(answer=answer, proven=proven and answer is None)


@dataclass(kw_only=True, eq=False)
class _Begun:
    """What was begun for a goal, as far as it went; `asked` is how often."""

    goal: float
    by_groups: GroupTree | None = None
    branches: tuple[Tree, Reduction] | None = None
    asked: int = 0
