"""Branch and price over groups: an answer to 5.2 of at most a goal, or a proof that there is none.

A node is the relaxation of `solver.group_bound` over the pairs of facility and class that are left. Where it
serves a fragment in parts at several groups, one child serves it at one of them and the other elsewhere.
Where it does not, it has chosen instances for every group and who is served there, and only whether whole
fragments find room on these is open. From there on groups choose what can be packed alone
(`solver.group_packing`), in this node and those below it; what is left is an answer.
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
from solver.group_packing import GroupPacking
from solver.group_places import Places
from solver.outcome import Watch

# Rounds of a node's relaxation at most.
ROUNDS = 400
# How far a node's first steps of the subgradient go: its parent's prices are good ones.
STRIDE = 0.25
# The same where groups choose what can be packed alone: so many at once, and how much of what is missing they
# have to bring for there to be more.
PACKED_AT_ONCE, PACKED_ROUNDS, PAYS = 3, 12, 0.1
# Pairs up to which HiGHS is asked about a node, and what it may do; where nothing is left to branch on.
FEW, NODES, LOOKS = 400, 20, 40
FEW_LAST, LAST_NODES, LAST_LOOKS = 6_000, 1_000, 2_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Node:
    """The pairs left, who may stay alone ([K]), prices that prove the bound; whether groups are packed."""

    able: Able
    lonely: NDArray[np.bool_]
    bound: Bound
    packed: bool = False


class GroupTree(DepthFirst[Node]):
    """A search for answers of at most `goal` over the pairs `able`; `choices` are columns to begin with.

    With `packings` groups choose what can be packed alone from the first node on, and so have `choices`.
    """

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
        packings: dict[int, GroupPacking] | None = None,
    ) -> None:
        self.program, self.goal, self.step, self.seed = program, goal, step, seed
        packed = packings is not None
        # Columns, and those of them that were packed.
        self.choices, self._packed = ([], choices) if packed else (choices, list[tuple[int, Choice]]())
        lonely = np.ones(len(program), dtype=bool)
        super().__init__(Node(able=able, lonely=lonely, bound=bound, packed=packed))
        self.able: Able | None = None  # pairs that are left at the first node
        self._packings = packings or {
            number: GroupPacking(program, number, seed) for number in range(len(program.groups))
        }

    def _visit(self, node: Node, watch: Watch) -> list[Pattern] | None:
        ascent = self._ascent(node, node.packed, watch)
        if ascent is None:
            return None
        self.able = self.able or tuple(ascent.able)
        packed = node.packed
        fractions = self._fractions(ascent, node)
        if not fractions and not packed:
            packed = True
            ascent = self._ascent(self._left(node, ascent), packed, watch)
            if ascent is None:
                return None
            fractions = self._fractions(ascent, node)
        if not fractions and not ascent.ended:
            ascent.run(watch, rounds=ROUNDS)
            if ascent.done or ascent.hopeless or watch.limit is not None:
                self._undecided |= ascent.hopeless
                return None
            self._packed = ascent.choices
            fractions = self._fractions(ascent, node)
        able = tuple(ascent.able)
        kept = kept_among(self.program, able, node.lonely)
        if len(kept.classes) <= FEW:
            answer, proven = self._decide(kept, NODES, LOOKS, watch)
            if answer is not None or proven or watch.limit is not None:
                return answer
        if not fractions:
            answer = self._together(ascent, watch)
            if answer is not None or watch.limit is not None:
                return answer
            answer, proven = self._decide(kept, LAST_NODES, LAST_LOOKS, watch)
            self._undecided |= not proven and watch.limit is None
            return answer
        _, group, k, part = fractions[0]
        left = self._left(node, ascent, packed)
        places = self._places(left)
        there, elsewhere = (
            replace(left, able=side.able, lonely=side.lonely)
            for side in (places.at(group, k), places.elsewhere(group, k))
        )
        self._open.extend((elsewhere, there) if part > 0.5 else (there, elsewhere))
        return None

    def _ascent(self, node: Node, packed: bool, watch: Watch) -> GroupAscent | None:
        """The node's relaxation; None where the node is done, or the watch says stop."""
        ascent = GroupAscent(
            self.program,
            node.able,
            node.bound,
            self._packed if packed else self.choices,
            self.goal,
            self.step,
            lonely=node.lonely,
            stride=STRIDE,
            packings=self._packings if packed else None,
        )
        if packed:
            ascent.run(watch, rounds=1)
            if not ascent.ended and not ascent.hopeless and watch.limit is None:
                ascent.leave_out(watch)
            for _ in range(0, PACKED_ROUNDS, PACKED_AT_ONCE):
                before = max(ascent.level, node.bound.value)
                ended = ascent.run(watch, rounds=PACKED_AT_ONCE)
                if ended or ascent.level - before < PAYS * (self.goal - before):
                    break
        else:
            ascent.run(watch, rounds=ROUNDS)
        if watch.limit is not None:
            return None
        if packed:
            self._packed = ascent.choices
        else:
            self.choices = ascent.choices
        if ascent.hopeless:
            self._undecided = True
            self._open.clear()
        return None if ascent.done or ascent.hopeless else ascent

    def _left(self, node: Node, ascent: GroupAscent, packed: bool = False) -> Node:
        bound = Bound(value=ascent.value, worth=ascent.worth)
        return Node(able=tuple(ascent.able), lonely=node.lonely, bound=bound, packed=packed)

    def _places(self, node: Node) -> Places:
        return Places(program=self.program, able=node.able, lonely=node.lonely)

    def _fractions(self, ascent: GroupAscent, node: Node) -> list[tuple[float, int, int, float]]:
        places = self._places(self._left(node, ascent))
        found = [one for one in ascent.fractions() if places.is_open(one[1], one[2])]
        if found and ascent.ended:
            return found
        contested = [(0.5, group, k, 0.5) for group, k in ascent.contested()]
        return [one for one in contested if places.is_open(one[1], one[2])] or found

    def _together(self, ascent: GroupAscent, watch: Watch) -> list[Pattern] | None:
        """What the groups chose, where that is an answer."""
        chosen: dict[int, Choice] = {}
        for _, group, choice in ascent.used():
            if group not in chosen or choice.cost < chosen[group].cost:
                chosen[group] = choice
        answer: list[Pattern] = []
        for group, choice in chosen.items():
            patterns = self._packings[group].packed(choice, watch)
            if patterns is None:
                return None
            answer += patterns
        answer = settle(self.program, answer)
        return answer if total_cost(answer) <= self.goal * (1 + 1e-9) else None

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
