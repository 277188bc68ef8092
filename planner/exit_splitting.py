"""Stages split at exits where that is cheaper (docs/exits.md).

Merging, grouping and re-aligning cut a route where others meet it. With exits there is another reason to cut:
behind an exit fewer requests come, and a part of its own fills its batches up again. So every stage that a
heuristic has bought is looked at once more: within the time that it may take, what would a chain of parts
cost that begin and end at split exits, each with a batch, a share and instances of its own? The cheapest
chain is a shortest path with a time limit over the few exits within the stage. Our reconstruction; E3 (SOSP
2024) does the same with one batch and share for all parts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from planner.allocating import Tree, instances_for, stage
from planner.exit_menu import ExitMenu
from planner.menu import EPSILON, Floats

# Labels kept for each exit, the fastest and the cheapest among them.
_MAX_LABELS = 400


def split_at_exits(menu: ExitMenu, trees: Sequence[Tree]) -> list[Tree]:
    """The same trees, with stages split into parts where these cost less together; none gets dearer."""
    return [_split(menu, tree, 0.0) for tree in trees]


def _split(menu: ExitMenu, tree: Tree, later_ms: float) -> Tree:
    """A tree of which the stages behind it take `later_ms` of everybody's budget."""
    slack_ms = min(_slacks(tree, later_ms), default=math.inf)
    parts = cheapest_parts(menu, tree.start, tree.end, tree.load_rps, tree.time_ms + max(0.0, slack_ms))
    first, later = tree, later_ms + tree.time_ms
    behind: list[Tree] = []
    if parts is not None and math.fsum(part.price for part in parts) < tree.price * (1 - EPSILON):
        # What enters the stage enters its first part.
        first, *behind = (replace(part, demands=(), feeders=()) for part in parts)
        first = replace(first, demands=tree.demands)
        later = later_ms + math.fsum(part.time_ms for part in parts)
    made = replace(first, feeders=tuple(_split(menu, feeder, later) for feeder in tree.feeders))
    for part in behind:
        made = replace(part, feeders=(made,))
    return made


def _slacks(tree: Tree, later_ms: float) -> list[float]:
    """What is left of the budget of every demand that passes this tree's stage."""
    used = later_ms + tree.time_ms
    own = [demand.budget_ms - used for demand in tree.demands]
    return own + [slack for feeder in tree.feeders for slack in _slacks(feeder, used)]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Labels:
    """Ways from a cut point to the end by rising time, falling price; `links` [n, 3]: cut, option, label."""

    times: Floats
    prices: Floats
    links: NDArray[np.intp]


def cheapest_parts(
    menu: ExitMenu, start: int, end: int, load_rps: float, time_ms: float
) -> list[Tree] | None:
    """The cheapest parts of [start, end) that begin and end at split exits, within this time; None without.

    A part is a tree without demands and feeders. With more than _MAX_LABELS choices at an exit they may not
    be the very cheapest.
    """
    cuts = [start, *(layer for layer in menu.split if start < layer < end), end]
    if len(cuts) == 2:
        return None
    labels = {end: _Labels(times=np.zeros(1), prices=np.zeros(1), links=np.zeros((1, 3), dtype=np.intp))}
    for position in range(len(cuts) - 2, -1, -1):
        cut = cuts[position]
        found = [_ways(menu, cut, later, load_rps, labels[later]) for later in cuts[position + 1 :]]
        labels[cut] = _front(
            np.concatenate([ways.times for ways in found]),
            np.concatenate([ways.prices for ways in found]),
            np.concatenate([ways.links for ways in found]),
        )
    best = int(np.searchsorted(labels[start].times, time_ms * (1 + EPSILON), side="right")) - 1
    if best < 0:
        return None
    parts, cut = [], start
    while cut != end:
        later, option, following = (int(value) for value in labels[cut].links[best])
        parts.append(stage(menu.options(cut, later), option, load_rps))
        cut, best = later, following
    return parts


def _ways(menu: ExitMenu, cut: int, later: int, load_rps: float, behind: _Labels) -> _Labels:
    """Every option of the part [cut, later) with every way from there on."""
    options = menu.options(cut, later)
    cost = instances_for(np.array(load_rps), options.capacity_rps) * options.price
    option = np.repeat(np.arange(len(options)), len(behind.times))
    label = np.tile(np.arange(len(behind.times)), len(options))
    return _Labels(
        times=options.time_ms[option] + behind.times[label],
        prices=cost[option] + behind.prices[label],
        links=np.stack([np.full_like(option, later), option, label], axis=1),
    )


def _front(times: Floats, prices: Floats, links: NDArray[np.intp]) -> _Labels:
    """Those that none is faster than and as cheap, by rising time; thinned to _MAX_LABELS."""
    order = np.lexsort((prices, times))
    falling = prices[order]
    keep = np.ones(len(order), dtype=bool)
    keep[1:] = falling[1:] < np.minimum.accumulate(falling)[:-1]
    order = order[keep]
    if len(order) > _MAX_LABELS:
        order = order[np.linspace(0, len(order) - 1, _MAX_LABELS).round().astype(int)]
    return _Labels(times=times[order], prices=prices[order], links=links[order])
