"""Branch and price over groups: an answer to 5.2 of at most a goal, or a proof that there is none.

A node is the relaxation of `solver.group_bound` over the pairs of facility and class that are left. Where it
serves a fragment in parts at several groups, one child serves it at one of them and the other elsewhere.
Where it does not, it has chosen instances for every group and who is served there, and only whether whole
fragments find room on these is open: with so few pairs left HiGHS decides that (`solver.compact`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from solver.compact import TOLERANCE, Kept, kept_among, solve_compact
from solver.depth_first import DepthFirst
from solver.facilities import Facilities, Pattern, settle, total_cost
from solver.fractional_bound import Bound
from solver.group_bound import Able, GroupAscent
from solver.group_labels import Choice
from solver.outcome import Watch
from solver.over_used import shared_out

# Rounds of a node's relaxation at most.
ROUNDS = 400
# How far a node's first steps of the subgradient go: its parent's prices are good ones.
STRIDE = 0.25
# Pairs up to which HiGHS is asked about a node, and what it may do; where nothing is left to branch on.
FEW, NODES, LOOKS = 1_500, 20, 40
FEW_LAST, LAST_NODES, LAST_LOOKS = 6_000, 1_000, 2_000
# How much larger than they are fragments are counted where they find no room.
SWELL = 1.01


@dataclass(frozen=True, kw_only=True, eq=False)
class Node:
    """The pairs left, who may stay alone ([K]), and prices that prove the bound."""

    able: Able
    lonely: NDArray[np.bool_]
    bound: Bound


class GroupTree(DepthFirst[Node]):
    """A search for answers of at most `goal` over the pairs `able`; `choices` are columns to begin with."""

    def __init__(
        self,
        program: Facilities,
        able: Able,
        bound: Bound,
        choices: list[tuple[int, Choice]],
        goal: float,
        step: float,
        *,
        seed: int,
    ) -> None:
        self.program, self.goal, self.step, self.seed = program, goal, step, seed
        self.choices = choices
        lonely = np.ones(len(program), dtype=bool)
        super().__init__(Node(able=able, lonely=lonely, bound=bound))
        self.able: Able | None = None  # pairs that are left at the first node

    def _visit(self, node: Node, watch: Watch) -> list[Pattern] | None:
        ascent = GroupAscent(
            self.program,
            node.able,
            node.bound,
            self.choices,
            self.goal,
            self.step,
            lonely=node.lonely,
            stride=STRIDE,
        )
        ascent.run(watch, rounds=ROUNDS)
        if watch.limit is not None:
            return None
        self.choices = ascent.choices
        if ascent.hopeless:
            self._undecided = True
            self._open.clear()
        if ascent.done or ascent.hopeless:
            return None
        able = tuple(ascent.able)
        self.able = self.able or able
        kept = kept_among(self.program, able, node.lonely)
        if len(kept.classes) <= FEW:
            answer, proven = self._decide(kept, NODES, LOOKS, watch)
            if answer is not None or proven or watch.limit is not None:
                return answer
        fractions = [one for one in ascent.fractions() if self._is_open(able, node.lonely, one[1], one[2])]
        if not fractions:
            answer = self._with_instances(kept, ascent, watch) or self._with_room(node, able, kept, watch)
            if answer is not None:
                return answer
            answer, proven = self._decide(kept, LAST_NODES, LAST_LOOKS, watch)
            self._undecided |= not proven and watch.limit is None
            return answer
        _, group, k, part = fractions[0]
        bound = Bound(value=ascent.value, worth=ascent.worth)
        there, elsewhere = self._children(able, node.lonely, group, k, bound)
        self._open.extend((elsewhere, there) if part > 0.5 else (there, elsewhere))
        return None

    def _is_open(self, able: Able, lonely: NDArray[np.bool_], group: int, k: int) -> bool:
        """Whether class k can be served elsewhere than at this group (−1: alone), too."""
        if group >= 0 and lonely[k]:
            return True
        return any(
            number != group and bool(pairs[:, one.classes == k].any())
            for number, (one, pairs) in enumerate(zip(self.program.groups, able, strict=True))
        )

    def _children(
        self, able: Able, lonely: NDArray[np.bool_], group: int, k: int, bound: Bound
    ) -> tuple[Node, Node]:
        """Class k at this group, and not there; group −1 is alone."""
        there, elsewhere = list(able), list(able)
        for number, one in enumerate(self.program.groups):
            column = int(np.searchsorted(one.classes, k))
            if column < len(one.classes) and one.classes[column] == k and able[number][:, column].any():
                without = able[number].copy()
                without[:, column] = False
                (elsewhere if number == group else there)[number] = without
        alone, together = lonely.copy(), lonely.copy()
        together[k] = False
        return (
            Node(able=tuple(there), lonely=alone if group < 0 else together, bound=bound),
            Node(able=tuple(elsewhere), lonely=together if group < 0 else alone, bound=bound),
        )

    def _with_instances(self, kept: Kept, ascent: GroupAscent, watch: Watch) -> list[Pattern] | None:
        """Whole fragments on the instances that the relaxation has chosen, where there is room."""
        number = {facility: position for position, facility in enumerate(kept.facilities)}
        instances = np.zeros(len(kept.facilities))
        for times, group, choice in ascent.used():
            for facility in np.flatnonzero(choice.instances).tolist():
                if (group, facility) in number:
                    instances[number[group, facility]] += times * choice.instances[facility]
        allowed = self.goal * (1 + 1e-9)
        counts = np.rint(instances).astype(np.intp)
        answer = shared_out(self.program, kept, counts, allowed, watch, threads=1, seed=self.seed)
        return answer if answer is not None and total_cost(answer) <= allowed else None

    def _with_room(self, node: Node, able: Able, kept: Kept, watch: Watch) -> list[Pattern] | None:
        """The same on instances that are chosen for somewhat larger fragments."""
        larger = replace(self.program, load=SWELL * self.program.load)
        ascent = GroupAscent(larger, able, node.bound, [], self.goal, self.step, lonely=node.lonely)
        ascent.run(watch, rounds=ROUNDS)
        return None if watch.limit is not None else self._with_instances(kept, ascent, watch)

    def _decide(self, kept: Kept, nodes: int, looks: int, watch: Watch) -> tuple[list[Pattern] | None, bool]:
        """What HiGHS finds over these pairs, and whether it has proven that there is nothing."""
        allowed = self.goal * (1 + 1e-9)
        if len(kept.classes) > FEW_LAST:
            return None, False
        answer, lower_bound = solve_compact(
            self.program,
            kept,
            goal=allowed,
            watch=watch,
            threads=1,
            seed=self.seed,
            nodes=nodes,
            looks=looks,
        )
        if answer is not None:
            answer = settle(self.program, answer)
            if total_cost(answer) <= allowed:
                return answer, False
        return None, lower_bound * (1 - TOLERANCE) > allowed
