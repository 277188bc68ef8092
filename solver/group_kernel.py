"""The dynamic programs of `solver.group_labels` as machine code; letters and places as there.

A *front* is a list of labels of which none is better than another in both: `earned` falls and `spare` rises.
`number` [N] tells how they came about.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from solver.compiled import compiled
from solver.facilities import Floats, Indices

if TYPE_CHECKING:
    from solver.group_labels import Row

Flags = NDArray[np.bool_]
Front = tuple[Floats, Floats, Indices]
# Label n came about from label parent[n], at place or item place[n]; size[n] fragments, 0 for an instance.
Trace = tuple[Indices, Indices, Indices]

# Either of them.
Numbers = TypeVar("Numbers", Floats, Indices)

# Of two labels of which the one that earned less has only so much more to spare, one is enough.
SAME = 1e-12
# Labels that are kept in all, to tell how they came about or what is still to come.
MOST_KEPT = 20_000_000


@compiled
def start() -> Front:
    """Nothing is earned, and nothing to spare."""
    return np.zeros(1), np.zeros(1), np.zeros(1, dtype=np.intp)


@compiled
def merged(one: Front, other: Front) -> Front:
    """The front of two fronts."""
    many, more = len(one[0]), len(other[0])
    earned, spare = np.empty(many + more), np.empty(many + more)
    number = np.empty(many + more, dtype=np.intp)
    here, there, kept, most = 0, 0, 0, -np.inf
    while here < many or there < more:
        first = there == more
        if not first and here < many:
            first = one[0][here] > other[0][there] or (
                one[0][here] == other[0][there] and one[1][here] >= other[1][there]
            )
        if first:
            gains, spares, comes = one[0][here], one[1][here], one[2][here]
            here += 1
        else:
            gains, spares, comes = other[0][there], other[1][there], other[2][there]
            there += 1
        if spares > most + SAME:
            earned[kept], spare[kept], number[kept] = gains, spares, comes
            most = spares
            kept += 1
    return earned[:kept], spare[:kept], number[:kept]


@compiled
def capped(front: Front, most: float) -> Front:
    """The same with no more to spare than `most`."""
    earned, spare, number = front
    for label in range(len(earned)):
        if spare[label] >= most:
            spare[label] = most
            kept = label + 1
            if label > 0 and most <= spare[label - 1] + SAME:
                kept = label
            return earned[:kept], spare[:kept], number[:kept]
    return front


@compiled
def promising(row: Row, place: int, front: Front, least: float) -> Front:
    """Labels at a place that may come to earn more than `least`."""
    earned, spare, number = front
    ahead = np.minimum(row.ahead[place] + row.rate[place] * spare, row.all_ahead[place])
    kept = earned + ahead > least
    return earned[kept], spare[kept], number[kept]


@compiled
def one_more(row: Row, place: int, front: Front, fresh: int, least: float) -> Front:
    """What one more instance of a place's facility makes of labels from number `fresh` on."""
    earned, spare, number = front
    most = row.rest[row.first[place]]
    again = (number >= fresh) & (spare < most)
    more = (earned[again] - row.price[place], spare[again] + row.capacity[place], number[again])
    return promising(row, place, capped(more, most), least)


@compiled
def shifted(front: Front, gain: float, load: float) -> Front:
    """With `load` of what there is to spare used for a gain, by those that have as much."""
    earned, spare, number = front
    first = np.searchsorted(spare, load)
    return earned[first:] + gain, spare[first:] - load, number[first:]


@compiled
def together(earned: Floats, spare: Floats, ahead_earned: Floats, ahead_spare: Floats) -> float:
    """The most that labels earn with something ahead that needs no more than they have to spare.

    `ahead_spare` is what it needs, less than 0: the first needs most and earns most.
    """
    best, at = -np.inf, len(ahead_spare)
    for label in range(len(earned)):
        while at > 0 and ahead_spare[at - 1] >= -spare[label]:
            at -= 1
        if at < len(ahead_spare):
            best = max(best, earned[label] + ahead_earned[at])
    return best


@compiled
def pieces(many: int) -> Indices:
    """1, 2, 4, … and what is left: any number up to this is a sum of some of them."""
    sizes = np.zeros(64, dtype=np.intp)
    size, count = 1, 0
    while many > 0:
        sizes[count] = min(size, many)
        many -= sizes[count]
        size *= 2
        count += 1
    return sizes[:count]


@compiled
def longer(values: Numbers, many: int) -> Numbers:
    """Room for more numbers: for so many at least, and twice as many."""
    found = np.zeros(max(many, 2 * len(values)), values.dtype)
    found[: len(values)] = values
    return found


@compiled
def traced(trace: Trace, made: int, front: Front, place: int, size: int) -> tuple[Trace, Front]:
    """Numbers from `made` on for these labels, which came about at this place from those they have."""
    parents, places, sizes = trace
    numbers = front[2]
    last = made + len(numbers)
    if last > len(parents):
        parents, places, sizes = longer(parents, last), longer(places, last), longer(sizes, last)
    parents[made:last], places[made:last], sizes[made:last] = numbers, place, size
    return (parents, places, sizes), (front[0], front[1], np.arange(made, last))


@compiled
def most_earned(row: Row, least: float, most_labels: int) -> tuple[float, Indices, Indices]:
    """What is earned at most, by how many instances of every place and fragments of every item, [P] and [T].

    −∞ where that is not more than `least`, NaN where there are more than `most_labels` labels at a place.
    """
    instances, counts = np.zeros(len(row.price), dtype=np.intp), np.zeros(len(row.load), dtype=np.intp)
    none = np.zeros(4096, dtype=np.intp)
    trace, made, front = (none, none.copy(), none.copy()), 1, start()
    for place in range(len(row.price)):
        front, fresh = promising(row, place, front, least), 0
        while row.bought[place]:
            more = one_more(row, place, front, fresh, least)
            if len(more[0]) == 0:
                break
            trace, more = traced(trace, made, more, place, 0)
            fresh, made = made, made + len(more[0])
            front = merged(front, more)
            if len(front[0]) > most_labels or made > MOST_KEPT:
                return np.nan, instances, counts
        for item in range(row.first[place], row.first[place + 1]):
            for size in pieces(row.members[item]):
                served = shifted(front, size * row.gain[item], size * row.load[item])
                trace, served = traced(trace, made, served, item, size)
                made += len(served[0])
                front = merged(served, front)
                if len(front[0]) > most_labels or made > MOST_KEPT:
                    return np.nan, instances, counts
            front = capped(front, row.rest[item + 1])
        if len(front[0]) == 0:
            return -np.inf, instances, counts
    at = front[2][0]
    while at > 0:
        if trace[2][at] == 0:
            instances[trace[1][at]] += 1
        else:
            counts[trace[1][at]] += trace[2][at]
        at = trace[0][at]
    return front[0][0], instances, counts


@compiled
def in_turns(front: Front) -> Front:
    """The same, all with number 0: turns of buying are counted by it."""
    return front[0], front[1], np.zeros(len(front[0]), dtype=np.intp)


@compiled
def from_instances_on(row: Row, place: int, front: Front, most_labels: int) -> Front:
    """What can be earned from a place's instances on, by what it needs beside these, if that is known of what
    comes behind them. It ends with more than `most_labels`."""
    front, turn = in_turns(front), 0
    while row.bought[place] and len(front[0]) <= most_labels:
        again = (front[2] == turn) & (front[1] < 0)
        short = (
            front[0][again] - row.price[place],
            front[1][again] + row.capacity[place],
            front[2][again] + 1,
        )
        if len(short[0]) == 0:
            break
        front, turn = merged(front, capped(short, 0.0)), turn + 1
    return front


@compiled
def most_with(row: Row, least: float, most_labels: int) -> tuple[bool, Floats, Floats]:
    """What is earned at most with an instance of a place, [P], and with one fragment of an item, [T].

    What is not more than `least` may be told as less than it is. False where there are too many labels.
    """
    places = len(row.price)
    facilities, singles = np.full(places, -np.inf), np.full(len(row.load), -np.inf)
    # Backwards: what can be earned from an item on without one of its fragments, and from a place on, by
    # what it needs: `spare`, less than 0, which rises too.
    items_ahead = [(np.zeros(0), np.zeros(0)) for _ in range(len(row.load))]
    places_ahead = [(np.zeros(0), np.zeros(0)) for _ in range(places)]
    front, kept = start(), 0
    for place in range(places - 1, -1, -1):
        for item in range(row.first[place + 1] - 1, row.first[place] - 1, -1):
            gain, load = row.gain[item], row.load[item]
            for size in pieces(row.members[item] - 1):
                front = merged((front[0] + size * gain, front[1] - size * load, front[2]), front)
            items_ahead[item] = (front[0], front[1])
            kept += len(front[0])
            front = merged((front[0] + gain, front[1] - load, front[2]), front)
            if len(front[0]) > most_labels or kept > MOST_KEPT:
                return False, facilities, singles
        front = from_instances_on(row, place, front, most_labels)
        if len(front[0]) > most_labels:
            return False, facilities, singles
        behind = row.behind[place] + row.rate_behind[place] * front[1]
        matters = (front[0] + behind > least) | (front[1] >= 0)
        front = (front[0][matters], front[1][matters], front[2][matters])
        places_ahead[place] = (front[0], front[1])
        kept += len(front[0])
    front = start()
    for place in range(places):
        earned, spare = front[0] - row.price[place], front[1] + row.capacity[place]
        facilities[place] = together(earned, spare, *places_ahead[place])
        front, turn = in_turns(promising(row, place, front, least)), 0
        while row.bought[place]:
            more = one_more(row, place, front, turn, least)
            if len(more[0]) == 0:
                break
            front, turn = merged(front, (more[0], more[1], more[2] + 1)), turn + 1
            if len(front[0]) > most_labels:
                return False, facilities, singles
        for item in range(row.first[place], row.first[place + 1]):
            gain, load = row.gain[item], row.load[item]
            singles[item] = together(front[0] + gain, front[1] - load, *items_ahead[item])
            for size in pieces(row.members[item]):
                front = merged(shifted(front, size * gain, size * load), front)
                if len(front[0]) > most_labels:
                    return False, facilities, singles
            front = capped(front, row.rest[item + 1])
    return True, facilities, singles
