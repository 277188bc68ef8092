"""Where each class of 5.2 can still be served, once a search over groups has decided some of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from solver.facilities import ALONE, Facilities
from solver.group_bound import Able


@dataclass(frozen=True, kw_only=True, eq=False)
class Places:
    """The pairs of facility and class that are left, and who may stay alone, `lonely` [K]."""

    program: Facilities
    able: Able
    lonely: NDArray[np.bool_]

    def at(self, group: int, k: int) -> Places:
        """Class k at this group and nowhere else; group −1 is alone."""
        others = [number for number in range(len(self.able)) if number != group]
        return self._without(k, others, lonely=group == ALONE)

    def elsewhere(self, group: int, k: int) -> Places:
        """Class k anywhere but at this group."""
        if group == ALONE:
            return self._without(k, [], lonely=False)
        return self._without(k, [group], lonely=bool(self.lonely[k]))

    def is_open(self, group: int, k: int) -> bool:
        """Whether class k can be served elsewhere than at this group, too."""
        if group != ALONE and self.lonely[k]:
            return True
        return any(
            number != group and bool(pairs[:, one.classes == k].any())
            for number, (one, pairs) in enumerate(zip(self.program.groups, self.able, strict=True))
        )

    def _without(self, k: int, groups: list[int], *, lonely: bool) -> Places:
        able = list(self.able)
        for number in groups:
            classes = self.program.groups[number].classes
            column = int(np.searchsorted(classes, k))
            if column < len(classes) and classes[column] == k and able[number][:, column].any():
                able[number] = able[number].copy()
                able[number][:, column] = False
        alone = self.lonely.copy()
        alone[k] = lonely
        return replace(self, able=tuple(able), lonely=alone)
