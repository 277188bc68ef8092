"""5.2 over groups in which every fragment is whole at one facility: bounds, and goals decided by them.

In `solver.group_bound` a fragment may be cut among unlike instances of a group. Where instances hold few
fragments that is most of what the bound misses, and a tree hardly gets it back: each of its levels decides
one group, and the others are as they were. Here groups choose what can be packed alone from the beginning
(`solver.group_packing`).

The bound is raised for goals a little above it, one after the other: the lower the goal, the fewer pairs of
facility and class can be in an answer. Prices and choices are taken along. Where it does not rise any
further, a tree decides whether there is an answer at the bound (`solver.group_tree`).
"""

from __future__ import annotations

from solver.compact import able_pairs
from solver.facilities import Facilities, Pattern
from solver.fractional_bound import Bound
from solver.group_bound import GroupAscent, Groups
from solver.group_labels import choices_of
from solver.group_packing import GroupPacking
from solver.group_tree import GroupTree
from solver.outcome import Watch
from solver.steps import round_up

# Goals are so far above the bound, as a part of it; at least a step.
AHEAD = 0.004
# Rounds of the relaxation over labels, before the first goal, and in one turn.
ROUNDS, LABEL_ROUNDS = 60, 4
# How far steps along the subgradient go, for the first goal and for those after it.
STRIDE, NEXT_STRIDE = 0.25, 0.1
# What can be left out is looked for after so many rounds; after so many times that is far.
EVERY, ENOUGH = 8, 5


class WholeGroups:
    """One program, its bound raised step by step. `hopeless`: there are too many labels.

    `known` is what a relaxation says of the groups that went far or as far as it goes.
    """

    def __init__(self, program: Facilities, step: float, *, seed: int) -> None:
        self._program, self._step, self._seed = program, step, seed
        self._packings = {
            number: GroupPacking(program, number, seed) for number in range(len(program.groups))
        }
        self._ascent: GroupAscent | None = None
        self._tree: GroupTree | None = None
        # The relaxation over labels, how many rounds of it there were, and how far above the bound it looks.
        self._labels: GroupAscent | None = None
        self._rounds, self._ahead = 0, AHEAD
        self._runs = 0
        self.known: Groups | None = None
        self.hopeless = step <= 0

    def promises(self, known: float) -> bool:
        """It says more than what is known otherwise, not rounded."""
        return self._ascent is not None and self._ascent.level > known

    def rise(
        self,
        lower: float,
        better: float,
        answer: list[Pattern],
        bounds: list[Bound],
        watch: Watch,
        *,
        turns: int,
    ) -> tuple[float, list[Pattern] | None]:
        """No answer costs less than what is returned, or the answer does, which costs at most `better`.

        It is known that none costs less than `lower`; `answer` and `bounds` are known, too. A turn is some
        rounds of a relaxation, or a node.
        """
        lower = round_up(lower, self._step)
        for _ in range(turns):
            if self.hopeless or watch.limit is not None or lower > better * (1 + 1e-9):
                break
            ascent = self._ascent
            if ascent is None or ascent.goal < lower * (1 - 1e-9):
                ascent = self._ascent = self._begin(lower, better, answer, bounds, watch)
                self._tree, self._runs = None, 0
            if ascent is None:
                continue
            if not ascent.ended:
                if ascent.goal > better * (1 + 1e-9):
                    ascent.aim(better)
                self._run(ascent, watch)
                self._runs += 1
                if (ascent.ended or self._runs == ENOUGH) and not ascent.done:
                    self.known = ascent.known
                lower = max(lower, ascent.lower_bound)
                continue
            tree = self._tree
            if tree is None or tree.goal < lower * (1 - 1e-9):
                tree = self._tree = self._divide(ascent, lower)
            found = tree.search(1, watch)
            if found is not None:
                return lower, found
            if tree.proven:
                lower = tree.goal + self._step
            elif tree.given_up:
                self.hopeless = True
        return lower, None

    def _labelled(
        self, lower: float, better: float, answer: list[Pattern], bounds: list[Bound], watch: Watch
    ) -> bool:
        """Some rounds of the relaxation over labels, which comes first; whether it has gone far enough.

        It is for a goal a little above the bound, or for that where there are too many labels.
        """
        labels = self._labels
        if labels is None or labels.goal < lower * (1 - 1e-9):
            goal = round_up(lower * (1 + self._ahead), self._step)
            goal = max(lower, min(better, goal))
            able, best = able_pairs(self._program, bounds, goal), max(bounds, key=lambda one: one.value)
            choices = choices_of(self._program, answer)
            labels = self._labels = GroupAscent(self._program, able, best, choices, goal, self._step)
            self._rounds = 0
        labels.run(watch, rounds=LABEL_ROUNDS)
        self._rounds += LABEL_ROUNDS
        if not labels.hopeless and (labels.ended or self._rounds >= ROUNDS):
            labels.leave_out(watch)
            return watch.limit is None
        if labels.hopeless:
            self.hopeless, self._ahead, self._labels = self._ahead == 0, 0.0, None
        return False

    def _begin(
        self, lower: float, better: float, answer: list[Pattern], bounds: list[Bound], watch: Watch
    ) -> GroupAscent | None:
        """The relaxation for a goal a little above the bound; None as long as labels have to go on."""
        program, last = self._program, self._ascent
        if last is None:
            if not self._labelled(lower, better, answer, bounds, watch):
                return None
            labels = self._labels
            assert labels is not None
            goal, able, best = labels.goal, tuple(labels.able), labels.known.bound
            choices = choices_of(program, answer)
        else:
            goal = min(better, round_up(lower * (1 + AHEAD), self._step))
            able = able_pairs(program, bounds, goal)
            choices = [*last.choices, *choices_of(program, answer)]
            best = Bound(value=max(bound.value for bound in bounds), worth=last.worth)
        return GroupAscent(
            program,
            able,
            best,
            choices,
            goal,
            self._step,
            stride=STRIDE if last is None else NEXT_STRIDE,
            packings=self._packings,
        )

    def _run(self, ascent: GroupAscent, watch: Watch) -> None:
        ascent.run(watch, rounds=EVERY if ascent.level > 0 else 1)
        if not ascent.ended and watch.limit is None:
            ascent.leave_out(watch)
        self.hopeless = ascent.hopeless

    def _divide(self, ascent: GroupAscent, goal: float) -> GroupTree:
        able, bound = tuple(ascent.able), Bound(value=ascent.value, worth=ascent.worth)
        return GroupTree(
            self._program,
            able,
            bound,
            ascent.choices,
            goal,
            self._step,
            seed=self._seed,
            packings=self._packings,
        )
