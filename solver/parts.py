"""Some of the fragments of program 5.2 as a program of their own.

Prices that prove a bound for all fragments prove what they come to over some for those: fewer fragments only
take choices away from the knapsacks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from solver.facilities import ALONE, Facilities, Indices, Pattern


class Part:
    """`program` is that of these `members` of the whole's classes, [K]; `classes` are their numbers there."""

    def __init__(self, whole: Facilities, members: Indices) -> None:
        self._members = members
        self.classes = classes = np.flatnonzero(members)
        groups, self._groups = [], []
        for number, group in enumerate(whole.groups):
            columns = np.flatnonzero(members[group.classes])
            if len(columns):
                inside = np.searchsorted(classes, group.classes[columns])
                joining = group.joining[:, columns]
                groups.append(replace(group, classes=inside, joining=joining))
                self._groups.append(number)
        self.program = Facilities(
            load=whole.load[classes],
            members=members[classes],
            alone=whole.alone[classes],
            groups=tuple(groups),
        )

    def inside(self, patterns: Iterable[Pattern]) -> list[Pattern]:
        """Those patterns of the whole that serve none but these fragments, as patterns of the part."""
        groups = {ALONE: ALONE} | {number: position for position, number in enumerate(self._groups)}
        classes = {int(k): position for position, k in enumerate(self.classes)}
        here = self._members.tolist()
        return [
            _renumbered(pattern, groups, classes)
            for pattern in patterns
            if all(here[k] >= count for k, count in zip(pattern.classes, pattern.counts, strict=True))
        ]

    def outside(self, patterns: Iterable[Pattern]) -> list[Pattern]:
        """Patterns of the part as patterns of the whole."""
        groups = {ALONE: ALONE} | dict(enumerate(self._groups))
        classes = dict(enumerate(self.classes.tolist()))
        return [_renumbered(pattern, groups, classes) for pattern in patterns]


def members_of(program: Facilities, patterns: Iterable[Pattern]) -> Indices:
    """How many of each class these patterns serve, [K]."""
    members = np.zeros(len(program), dtype=np.intp)
    for pattern in patterns:
        members[list(pattern.classes)] += pattern.counts
    return members


def _renumbered(pattern: Pattern, groups: dict[int, int], classes: dict[int, int]) -> Pattern:
    return replace(
        pattern,
        group=groups[pattern.group],
        classes=tuple(classes[k] for k in pattern.classes),
    )
