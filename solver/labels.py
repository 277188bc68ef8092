"""Labels of a dynamic program: (what has been earned, what is to spare), and how they came about."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from solver.facilities import Floats, Indices

# Labels at one place from which on there are too many.
MOST_LABELS = 100_000
# Of two labels of which the one that earned less has only so much more to spare, one is enough.
SAME = 1e-12

# What was done: its number, and how often.
Step = tuple[int, int]


class TooManyLabelsError(Exception):
    """There are too many labels that none is better than in both."""


@dataclass(frozen=True, eq=False)
class Labels:
    """N of them: `earned` falls, `spare` rises, [N]; `number` [N] tells how they came about."""

    earned: Floats
    spare: Floats
    number: Indices

    def __len__(self) -> int:
        return len(self.earned)

    def where(self, flags: NDArray[np.bool_]) -> Labels:
        """Those of them."""
        return Labels(self.earned[flags], self.spare[flags], self.number[flags])

    def unnumbered(self) -> Labels:
        """The same with number 0."""
        return Labels(self.earned, self.spare, np.zeros(len(self), dtype=np.intp))

    def capped(self, spare: float) -> Labels:
        """The same with no more to spare than this is worth."""
        return merged(Labels(self.earned, np.minimum(self.spare, spare), self.number), NONE)


NONE = Labels(np.zeros(0), np.zeros(0), np.zeros(0, dtype=np.intp))
START = Labels(np.zeros(1), np.zeros(1), np.zeros(1, dtype=np.intp))


def merged(one: Labels, other: Labels) -> Labels:
    """Those that no other is better than in both."""
    earned = np.concatenate([one.earned, other.earned])
    order = np.argsort(-earned, kind="stable")
    spare = np.concatenate([one.spare, other.spare])[order]
    best = np.concatenate([[-np.inf], np.maximum.accumulate(spare)[:-1]])
    kept = spare > best + SAME
    order = order[kept]
    if len(order) > MOST_LABELS:
        raise TooManyLabelsError
    return Labels(earned[order], spare[kept], np.concatenate([one.number, other.number])[order])


def together(earned: Floats, spare: Floats, ahead: Labels) -> float:
    """The most that these earn with something ahead that needs no more than they have to spare.

    `spare` of what is ahead is what it needs, less than 0: the first needs most and earns most.
    """
    at = np.searchsorted(ahead.spare, -spare, side="left")
    able = at < len(ahead)
    return float((earned[able] + ahead.earned[at[able]]).max(initial=-np.inf))


class Trace:
    """Where labels come from: number n was made by a step from another one."""

    def __init__(self) -> None:
        self._first, self._parents = [0], [np.zeros(1, dtype=np.intp)]
        self._steps: list[Step] = [(0, 0)]

    def add(self, parents: Indices, step: Step) -> int:
        """The number of the first of new labels."""
        first = self._first[-1] + len(self._parents[-1])
        self._first.append(first)
        self._steps.append(step)
        self._parents.append(parents)
        return first

    def back(self, number: int) -> list[Step]:
        """The steps that led to a label, the last first."""
        steps: list[Step] = []
        while number:
            at = bisect_right(self._first, number) - 1
            steps.append(self._steps[at])
            number = int(self._parents[at][number - self._first[at]])
        return steps


def numbered(parents: Indices, trace: Trace | None, step: Step) -> tuple[Indices, int]:
    """Numbers for new labels, and the first of them; without a trace all have one, above their parents'."""
    if trace is None:
        number = int(parents.max(initial=0)) + 1
        return np.full(len(parents), number), number
    first = trace.add(parents, step)
    return first + np.arange(len(parents)), first


def pieces(number: int) -> list[int]:
    """1, 2, 4, … and what is left: any number up to this is a sum of some of them."""
    sizes, size = [], 1
    while number > 0:
        sizes.append(min(size, number))
        number -= sizes[-1]
        size *= 2
    return sizes
