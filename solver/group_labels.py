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

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from solver.facilities import EPSILON, Facilities, Floats, Indices
from solver.labels import START, Labels, Step, Trace, merged, numbered, pieces, together

# What earns less is not looked at; and a label has to promise so much more than what is known.
TINY = 1e-9
# What losses may be wrong by, as a part of what is earned: they are sums of many numbers.
ALIKE = 1e-7
# What capacities are rounded up by: more than a load may exceed them.
ROOM = 2 * EPSILON


@dataclass(frozen=True, kw_only=True, eq=False)
class Choice:
    """Whole instances of a group's facilities, [E], and how many of which classes are served there; `cost` is
    that of both."""

    cost: float
    instances: Indices
    classes: Indices
    counts: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class _Prices:
    """A group at some prices. T items pay: `items` [T] in the order of their places, `gain` [T]; those of
    place p are first[p] … first[p + 1] − 1. `rest` [T + 1] is all load that may be served from an item on.

    From place p on labels earn at most ahead[p] + rate[p]·spare, and all_ahead[p]; what was before it, an
    instance of p among it, and leaves `needed` has earned at most behind[p] − rate_behind[p]·needed.
    """

    items: Indices
    gain: Floats
    first: Indices
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
        self._load = program.load[group.classes]
        self._members = program.members[group.classes]
        finite = np.isfinite(group.joining)
        able = finite if able is None else able & finite
        # Being in time for nobody is slower than any price of joining.
        never = 3 * (float(group.joining[finite].max(initial=0.0)) + 1.0)
        slowness = np.where(finite, group.joining, never).sum(axis=1)
        rows = np.flatnonzero(able.any(axis=1))
        rows = rows[np.lexsort((group.price[rows], slowness[rows]))]
        self._rows = rows
        self._price, self._capacity = group.price[rows], group.capacity[rows] * (1 + ROOM)
        # What is paid here or later at least: an item ends where that rises.
        pays = np.where(able[rows], group.joining[rows], np.inf)
        pays = np.minimum.accumulate(pays[::-1], axis=0)[::-1]
        later = np.concatenate([pays[1:], np.full((min(1, len(rows)), len(group.classes)), np.inf)])
        ends = np.isfinite(pays) & (later > pays + TINY)
        self._place, self._class = np.nonzero(ends)
        self._pays = pays[ends]
        # The item in which a pair is, [rows, K'].
        stands = np.full(pays.shape, -1, dtype=np.intp)
        stands[ends] = np.arange(len(self._pays))
        for place in range(len(rows) - 2, -1, -1):
            stands[place] = np.where(stands[place] < 0, stands[place + 1], stands[place])
        self._stands = np.where(able[rows], stands, -1)
        self._bought = self._undominated()

    def best(self, worth: Floats, known: float = 0.0) -> tuple[float, Choice | None]:
        """What the group earns at most, and what it chooses; `known` and None where that is not more."""
        prices = self._at(worth)
        trace = Trace()
        labels = START
        for place in range(len(self._rows)):
            labels = self._bought_at(prices, place, labels, known, trace)
            for item in range(prices.first[place], prices.first[place + 1]):
                labels = self._served(prices, item, labels, trace)
            if not len(labels):
                return known, None
        earned = float(labels.earned[0])
        if earned <= known + TINY:
            return known, None
        return earned, self._choice(trace.back(int(labels.number[0])))

    def losses(self, worth: Floats, earned: float, most: float) -> Floats:
        """[E, K']: how much less than `earned` the group earns at least with a class at a facility.

        Infinite where that is over `most`.
        """
        prices = self._at(worth)
        least = earned - most - ALIKE * (1 + earned)
        ahead = self._ahead(prices, least)
        facilities = np.full(len(self._rows), -np.inf)
        items = np.full(len(self._place), -np.inf)
        labels = START
        for place in range(len(self._rows)):
            before = ahead.places[place]
            facilities[place] = together(
                labels.earned - self._price[place], labels.spare + self._capacity[place], before
            )
            labels = self._bought_at(prices, place, labels, least)
            for item in range(prices.first[place], prices.first[place + 1]):
                k = self._class[prices.items[item]]
                fits = labels.spare >= self._load[k]
                items[prices.items[item]] = together(
                    labels.earned[fits] + prices.gain[item],
                    labels.spare[fits] - self._load[k],
                    ahead.items[item],
                )
                labels = self._served(prices, item, labels)
        return self._lost(prices, earned, facilities, items, worth)

    def _lost(
        self, prices: _Prices, earned: float, facilities: Floats, items: Floats, worth: Floats
    ) -> Floats:
        # Who pays more than it is worth loses that at least.
        gain = worth[self.classes[self._class]] - self._pays
        paying = np.zeros(len(items), dtype=bool)
        paying[prices.items] = True
        lost = np.where(paying, earned - items, np.maximum(0.0, -gain))
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

    def _at(self, worth: Floats) -> _Prices:
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
        rate = np.minimum.accumulate(per_load[::-1])[::-1]
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
        return _Prices(
            items=items,
            gain=gain,
            first=first,
            rest=rest,
            ahead=ahead,
            rate=rate,
            all_ahead=after @ members,
            behind=behind,
            rate_behind=rate_behind,
        )

    def _bought_at(
        self, prices: _Prices, place: int, labels: Labels, least: float, trace: Trace | None = None
    ) -> Labels:
        """Labels that can earn more than `least`, with instances of this place's facility, or none."""
        promise = np.minimum(prices.ahead[place] + prices.rate[place] * labels.spare, prices.all_ahead[place])
        labels = labels.where(labels.earned + promise > least + TINY)
        if not self._bought[place]:
            return labels
        if trace is None:
            labels = labels.unnumbered()
        rest, price, capacity = prices.rest[prices.first[place]], self._price[place], self._capacity[place]
        fresh = labels
        while len(fresh):
            spare = np.minimum(fresh.spare + capacity, rest)
            earned = fresh.earned - price
            promise = np.minimum(prices.ahead[place] + prices.rate[place] * spare, prices.all_ahead[place])
            useful = (fresh.spare < rest) & (earned + promise > least + TINY)
            if not useful.any():
                break
            numbers, first = numbered(fresh.number[useful], trace, (place, 0))
            labels = merged(labels, Labels(earned[useful], spare[useful], numbers))
            fresh = labels.where(labels.number >= first)
        return labels

    def _served(self, prices: _Prices, item: int, labels: Labels, trace: Trace | None = None) -> Labels:
        """Labels with fragments of this item, any number of them."""
        number = int(prices.items[item])
        load, gain = self._load[self._class[number]], prices.gain[item]
        for size in pieces(int(self._members[self._class[number]])):
            able = labels.where(labels.spare >= size * load)
            numbers, _ = numbered(able.number, trace, (number, size))
            served = Labels(able.earned + size * gain, able.spare - size * load, numbers)
            labels = merged(served, labels)
        return labels.capped(prices.rest[item + 1])

    def _ahead(self, prices: _Prices, least: float) -> _Ahead:
        """What can be earned from every place on, and after every item, by what is to spare there."""
        places: list[Labels] = [START] * (len(self._rows) + 1)
        items: list[Labels] = [START] * len(prices.items)
        labels = START  # `spare` is what is needed, less than 0 here, so that it rises too
        for place in range(len(self._rows) - 1, -1, -1):
            for item in range(prices.first[place + 1] - 1, prices.first[place] - 1, -1):
                k = self._class[prices.items[item]]
                for size in (*pieces(int(self._members[k]) - 1), 1):
                    items[item] = labels  # at last with any number of all but one
                    served = Labels(
                        labels.earned + size * prices.gain[item],
                        labels.spare - size * self._load[k],
                        labels.number,
                    )
                    labels = merged(served, labels)
            if self._bought[place]:
                fresh = labels = labels.unnumbered()
                while len(short := fresh.where(fresh.spare < 0)):
                    numbers, first = numbered(short.number, None, (place, 0))
                    bought = Labels(
                        short.earned - self._price[place],
                        np.minimum(0.0, short.spare + self._capacity[place]),
                        numbers,
                    )
                    labels = merged(labels, bought)
                    fresh = labels.where(labels.number >= first)
            most = prices.behind[place] + prices.rate_behind[place] * labels.spare
            labels = labels.where((labels.earned + most > least) | (labels.spare >= 0))
            places[place] = labels
        return _Ahead(places=places, items=items)

    def _choice(self, steps: list[Step]) -> Choice:
        instances, counts, cost = np.zeros(self._many, dtype=np.intp), np.zeros(len(self.classes)), 0.0
        for where, size in steps:
            if size == 0:
                instances[self._rows[where]] += 1
                cost += float(self._price[where])
            else:
                counts[self._class[where]] += size
                cost += size * float(self._pays[where])
        served = np.flatnonzero(counts)
        return Choice(cost=cost, instances=instances, classes=self.classes[served], counts=counts[served])


@dataclass(frozen=True, kw_only=True, eq=False)
class _Ahead:
    """Labels of what is to come; `spare` is what it needs, less than 0."""

    places: list[Labels]
    items: list[Labels]
