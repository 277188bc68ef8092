"""What a group of facilities of 5.2 earns at most at given prices, with whole instances: by labels.

All facilities of a group begin at the same cut point, so who is in time for a slow one is in time for every
faster one. They stand in a row, fast ones first, and what the instances bought so far have to spare is of use
to everybody who is served later:

    max Σ_k (π_k − a_k) x_k − Σ_e s_e n_e     s.t.  at every place of the row  Σ q_k x_k ≤ Σ c_e n_e  so far

n and x whole, though a fragment may be cut among instances. A *label* is (what has been earned, what is to
spare); one that is worse in both than another at the same place is dropped, and so is one that cannot earn
more than is known already even if the instances to come could be bought in fractions.

Who pays a_ke to join (having started before the group) pays more at slow facilities, since less time is left
for getting there. Of the places where it pays the same only the last has to be looked at. It could be served
at several places that cost more and more, which is a relaxation; so is the row, where who can use a facility
does not follow from its place alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from solver.facilities import ALONE, EPSILON, Facilities, Floats, Indices, Pattern

# Labels at one place from which on there are too many.
MOST_LABELS = 100_000
# Where there are too many, gains are rounded up to such parts of the least price.
COARSE_PARTS = 1_000
# What earns less is not looked at; and a label has to promise so much more than what is known.
TINY = 1e-9
# What losses may be wrong by, as a part of what is earned: they are sums of many numbers.
ALIKE = 1e-7
# Part of the fragments of an answer that may pay to join a group.
FEW_JOINING = 0.1
# What sums of prices may be wrong by, as a part of these.
ROUNDING = 1e-12
# What capacities are rounded up by: more than a load may exceed them.
ROOM = 2 * EPSILON


class TooManyLabelsError(Exception):
    """There are too many labels that none is better than in both."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Choice:
    """Whole instances of a group's facilities, [E], and how many of which classes are served there; `cost` is
    that of both."""

    cost: float
    instances: Indices
    classes: Indices
    counts: Floats


class Row(NamedTuple):
    """Facilities in a row and the items that pay, at some prices.

    Of places [P]: `price`, `capacity`, and whether instances are `bought` there. Items [T] stand in the order
    of their places, those of place p are first[p] … first[p + 1] − 1: `load`, `members`, `gain`. `rest`
    [T + 1] is all load that may be served from an item on.

    From place p on labels earn at most ahead[p] + rate[p]·spare, and all_ahead[p]; what was before it, an
    instance of p among it, and leaves `needed` has earned at most behind[p] − rate_behind[p]·needed.
    """

    price: Floats
    capacity: Floats
    bought: NDArray[np.bool_]
    first: Indices
    load: Floats
    members: Indices
    gain: Floats
    rest: Floats
    ahead: Floats
    rate: Floats
    all_ahead: Floats
    behind: Floats
    rate_behind: Floats


class GroupLabels:
    """One group of a program; `able` [E, K'] leaves pairs of facility and class out."""

    def __init__(self, program: Facilities, number: int, able: NDArray[np.bool_] | None = None) -> None:
        group = program.groups[number]
        self.classes, self._many = group.classes, len(group)
        # In parts of the smallest capacity: what labels have to spare is compared to a part of that.
        unit = float(group.capacity.min())
        self._load = program.load[group.classes] / unit
        self._members = program.members[group.classes]
        finite = np.isfinite(group.joining)
        able = finite if able is None else able & finite
        # Being in time for nobody is slower than any price of joining.
        never = 3 * (float(group.joining[finite].max(initial=0.0)) + 1.0)
        slowness = np.where(finite, group.joining, never).sum(axis=1)
        rows = np.flatnonzero(able.any(axis=1))
        rows = rows[np.lexsort((group.price[rows], slowness[rows]))]
        self._rows = rows
        self._price, self._capacity = group.price[rows], group.capacity[rows] / unit * (1 + ROOM)
        # What is paid here or later at least: an item ends where that rises.
        pays = np.where(able[rows], group.joining[rows], np.inf)
        pays = np.minimum.accumulate(pays[::-1], axis=0)[::-1]
        later = np.concatenate([pays[1:], np.full((min(1, len(rows)), len(group.classes)), np.inf)])
        ends = np.isfinite(pays) & (later > pays + TINY)
        place_of, class_of = np.nonzero(ends)
        # At each place the largest loads first: what has no room for these is known soon.
        order = np.lexsort((-self._load[class_of], place_of))
        self._place, self._class = place_of[order], class_of[order]
        self._pays = pays[self._place, self._class]
        # The item in which a pair is, [rows, K'].
        stands = np.full(pays.shape, -1, dtype=np.intp)
        stands[self._place, self._class] = np.arange(len(self._pays))
        for place in range(len(rows) - 2, -1, -1):
            stands[place] = np.where(stands[place] < 0, stands[place + 1], stands[place])
        self._stands = np.where(able[rows], stands, -1)
        self._bought = self._undominated()

    def best(self, worth: Floats, known: float = 0.0) -> tuple[float, Choice | None]:
        """What the group earns at most, and what it chooses; `known` and None where that is not more."""
        from solver.group_kernel import most_earned  # numba takes a quarter of a second to load

        items, row = self._at(worth)
        earned, instances, counts = most_earned(row, known + TINY, MOST_LABELS)
        if math.isnan(earned):
            earned, instances, counts = most_earned(self._coarse(row), known + TINY, MOST_LABELS)
        if math.isnan(earned):
            raise TooManyLabelsError
        if earned <= known + TINY:
            return known, None
        return earned, self._choice(items, instances, counts)

    def best_whole(
        self,
        worth: Floats,
        known: float,
        most: float,
        need: float,
        *,
        begin: float,
        grow: float,
        work: int,
    ) -> tuple[bool, float, Choice | None, list[tuple[int, int, int]]]:
        """The same with every fragment whole at one facility: whether that is decided, what is earned at
        most, the choice, and (facility, class, how many) of whom it serves where.

        `most` is what is earned with cuts. Nothing has to be found that earns less than that by `need`: what
        is so far below, `begin` first and `grow` more then, is looked at, as long as that takes no more than
        so many labels, `work` (`solver.whole_kernel`). Who could pay less elsewhere may be served twice.
        """
        from solver.whole_kernel import most_whole

        items, row = self._at(worth)
        decided, bound, earned, bought, served = most_whole(
            row, known + TINY, most, need, begin, grow, MOST_LABELS, work
        )
        if earned == -math.inf:
            return decided, known if bound <= known + TINY else bound, None, []
        where = [
            (int(self._rows[place]), int(self.classes[self._class[items[item]]]), int(served[item, place]))
            for item, place in np.argwhere(served).tolist()
        ]
        return decided, bound, self._choice(items, bought, served.sum(axis=1)), where

    def slack(self, worth: Floats, earned: float) -> float:
        """What differences of what is earned may be wrong by."""
        return ALIKE * (1 + earned) + ROUNDING * float(worth[self.classes] @ self._members)

    def losses(self, worth: Floats, earned: float, most: float) -> Floats:
        """[E, K']: how much less than `earned` the group earns at least with a class at a facility.

        Infinite where that is over `most`.
        """
        from solver.group_kernel import most_with

        paying, row = self._at(worth)
        least = earned - most - self.slack(worth, earned)
        able, facilities, with_item = most_with(row, least, MOST_LABELS)
        if not able:
            able, facilities, with_item = most_with(self._coarse(row), least, MOST_LABELS)
        if not able:
            raise TooManyLabelsError
        # Who pays more than it is worth loses that at least.
        lost = np.maximum(0.0, self._pays - worth[self.classes[self._class]])
        lost[paying] = earned - with_item
        pairs = np.full((self._many, len(self.classes)), np.inf)
        of_item = np.where(self._stands >= 0, np.append(lost, np.inf)[self._stands], np.inf)
        pairs[self._rows] = np.maximum(0.0, np.maximum(of_item, (earned - facilities)[:, None]))
        return pairs

    def _undominated(self) -> NDArray[np.bool_]:
        """Whether no faster one has as much capacity for as little."""
        useful = np.ones(len(self._rows), dtype=bool)
        for place in range(len(self._rows)):
            faster = np.flatnonzero(useful[:place])
            cheaper = self._price[faster] <= self._price[place]
            useful[place] = not (cheaper & (self._capacity[faster] >= self._capacity[place])).any()
        return useful

    def _at(self, worth: Floats) -> tuple[Indices, Row]:
        """The items that pay at these prices, and the row with them."""
        gain = worth[self.classes[self._class]] - self._pays
        items = np.flatnonzero(gain > TINY)
        gain, k_of, places = gain[items], self._class[items], len(self._rows)
        first = np.searchsorted(self._place[items], np.arange(places + 1))
        # Every class counts once, whatever it may gain at several places.
        last = np.zeros(len(items), dtype=bool)
        last[len(items) - 1 - np.unique(k_of[::-1], return_index=True)[1]] = True
        load = self._load * self._members
        rest = np.append(np.cumsum(np.where(last, load[k_of], 0.0)[::-1])[::-1], 0.0) * (1 + ROOM)
        per_load = self._price / self._capacity
        # Of one kind with the others, whatever their lengths: kernels are compiled for that alone.
        rate = np.ascontiguousarray(np.minimum.accumulate(per_load[::-1])[::-1])
        rate_behind = np.minimum.accumulate(per_load)
        # Each class' highest gain from a place on, and before it.
        highest = np.zeros((places + 1, len(self.classes)))
        np.maximum.at(highest, (self._place[items], k_of), gain)
        before = np.maximum.accumulate(np.roll(highest, 1, axis=0), axis=0)[:-1]
        after = np.maximum.accumulate(highest[::-1], axis=0)[::-1][:-1]
        members = self._members.astype(np.float64)
        ahead, behind = (
            np.maximum(0.0, of - per[:, None] * self._load) @ members
            for of, per in ((after, rate), (before, rate_behind))
        )
        return items, Row(
            price=self._price,
            capacity=self._capacity,
            bought=self._bought,
            first=first,
            load=self._load[k_of],
            members=self._members[k_of],
            gain=gain,
            rest=rest,
            ahead=ahead,
            rate=rate,
            all_ahead=after @ members,
            behind=behind,
            rate_behind=rate_behind,
        )

    def _coarse(self, row: Row) -> Row:
        """Gains rounded up to parts of the least price: nothing earns less, and fewer labels differ."""
        part = float(self._price.min()) / COARSE_PARTS if len(self._price) else 0.0
        if part <= 0:
            return row
        gain = np.maximum(row.gain, np.ceil(row.gain / part) * part)
        # What is promised was summed of gains that may be less by a part for every fragment.
        more = part * float(self._members.sum())
        return row._replace(
            gain=gain, ahead=row.ahead + more, all_ahead=row.all_ahead + more, behind=row.behind + more
        )

    def _choice(self, items: Indices, bought: Indices, served: Indices) -> Choice:
        instances, counts = np.zeros(self._many, dtype=np.intp), np.zeros(len(self.classes))
        instances[self._rows] = bought
        np.add.at(counts, self._class[items], served)
        cost = float(self._price @ bought) + float(self._pays[items] @ served)
        there = np.flatnonzero(counts)
        return Choice(cost=cost, instances=instances, classes=self.classes[there], counts=counts[there])


def mostly_apart(program: Facilities, answer: list[Pattern]) -> bool:
    """Whether so few fragments pay to join a group that groups are nearly programs of their own."""
    joining = 0
    for pattern in answer:
        if pattern.group != ALONE:
            group = program.groups[pattern.group]
            pays = group.joining[pattern.facility, np.searchsorted(group.classes, pattern.classes)] > 0
            joining += int(np.array(pattern.counts)[pays].sum())
    return joining <= FEW_JOINING * float(program.members.sum())


def choices_of(program: Facilities, answer: list[Pattern]) -> list[tuple[int, Choice]]:
    """What every group does in an answer."""
    found = []
    for number in sorted({pattern.group for pattern in answer} - {ALONE}):
        mine = [pattern for pattern in answer if pattern.group == number]
        instances: Indices = np.zeros(len(program.groups[number]), dtype=np.intp)
        counts = np.zeros(len(program))
        for pattern in mine:
            instances[pattern.facility] += pattern.instances
            counts[list(pattern.classes)] += pattern.counts
        served = np.flatnonzero(counts)
        cost = sum(pattern.cost for pattern in mine)
        found.append((number, Choice(cost=cost, instances=instances, classes=served, counts=counts[served])))
    return found
