"""A tree searched depth first: what is open, and what that proves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from solver.facilities import Pattern
from solver.outcome import Watch

Node = TypeVar("Node")


class DepthFirst(ABC, Generic[Node]):
    """A search for an answer among nodes: the last that was opened first, since answers are deep down."""

    def __init__(self, first: Node) -> None:
        self._open = [first]
        # A node that was neither ruled out nor divided, or that had an answer.
        self._undecided = False

    @property
    def proven(self) -> bool:
        """There is no answer."""
        return not self._open and not self._undecided

    @property
    def given_up(self) -> bool:
        """Nothing is left to be looked at, and nothing is proven."""
        return not self._open and self._undecided

    def search(self, nodes: int, watch: Watch) -> list[Pattern] | None:
        """Look at so many more nodes; the first answer that is found."""
        for _ in range(nodes):
            if not self._open or watch.limit is not None:
                break
            node = self._open.pop()
            answer = self._visit(node, watch)
            if watch.limit is not None:
                self._open.append(node)
            if answer is not None:
                self._undecided = True
                return answer
        return None

    @abstractmethod
    def _visit(self, node: Node, watch: Watch) -> list[Pattern] | None:
        """An answer at this node, or None; its children are open then."""
