"""Program 5.2 without the facilities and pairs that no answer of at most some cost uses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from solver.compact import Kept
from solver.facilities import ALONE, Facilities, Group, Indices, Pattern, make_pattern


class Reduction:
    """`program` has the groups and classes of the whole, in each group only the facilities and pairs kept."""

    def __init__(self, whole: Facilities, kept: Kept) -> None:
        self._whole = whole
        self._rows: list[Indices] = []
        groups = []
        of_group = np.array([group for group, _ in kept.facilities], dtype=np.intp)
        rows = np.array([row for _, row in kept.facilities], dtype=np.intp)
        for number, group in enumerate(whole.groups):
            here = np.flatnonzero(of_group == number)
            mine = np.isin(kept.facility_of, here)
            able = np.zeros((len(here), len(group.classes)), dtype=bool)
            row = np.searchsorted(here, kept.facility_of[mine])
            able[row, np.searchsorted(group.classes, kept.classes[mine])] = True
            columns = able.any(axis=0)
            self._rows.append(rows[here])
            joining = np.where(able, group.joining[rows[here]], np.inf)
            groups.append(
                Group(
                    price=group.price[rows[here]],
                    capacity=group.capacity[rows[here]],
                    classes=group.classes[columns],
                    joining=joining[:, columns],
                )
            )
        # Who cannot stay alone still may, at a price that no answer that matters pays: there is always one.
        self.program = replace(whole, groups=tuple(groups))

    def reduced(self, pattern: Pattern) -> Pattern | None:
        """A pattern of the whole program as one of the reduced; None where it uses what was left out."""
        if pattern.group == ALONE:
            return pattern
        rows, group = self._rows[pattern.group], self.program.groups[pattern.group]
        row = int(np.searchsorted(rows, pattern.facility))
        if row == len(rows) or rows[row] != pattern.facility:
            return None
        column = np.searchsorted(group.classes, pattern.classes)
        if (column >= len(group.classes)).any() or (group.classes[column] != pattern.classes).any():
            return None
        if not np.isfinite(group.joining[row, column]).all():
            return None
        return replace(pattern, facility=row)

    def whole(self, pattern: Pattern) -> Pattern:
        """A pattern of the reduced program as one of the whole."""
        if pattern.group == ALONE:
            return pattern
        counts = dict(zip(pattern.classes, pattern.counts, strict=True))
        return make_pattern(
            self._whole, pattern.group, int(self._rows[pattern.group][pattern.facility]), counts
        )
