"""Requests that leave on the way, in a simulation (docs/exits.md).

Every request has a hardness between 0 and 1, drawn once: it goes on past an exit in use if it is below the
fraction of its fragment's requests that do. So whoever leaves at one exit would leave at a later one.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from planner.exit_survival import relative_survival
from planner.plan import Stage
from planner.profile import Profile
from planner.traces import Floats
from planner.workload import Fragment


@dataclass(frozen=True, kw_only=True, eq=False)
class Leaving:
    """Who leaves a stage where, and how long what is left takes.

    `pieces_ms[p][n]` is what piece p takes for n requests: the layers up to an exit in use and its ramp, or
    those behind the last. `going_on[e][request]` says whether a request goes on past exit e.
    """

    overhead_ms: float
    pieces_ms: tuple[tuple[float, ...], ...]
    going_on: tuple[list[bool], ...]

    def run(self, requests: Sequence[int], slower: float) -> tuple[float, list[float], list[bool]]:
        """How long a batch takes; for each request, when it is done, and whether it left by an exit."""
        spent = self.overhead_ms
        took = [0.0] * len(requests)
        left = [False] * len(requests)
        there = list(range(len(requests)))
        for piece, table in enumerate(self.pieces_ms):
            if not there:
                break
            spent += table[len(there)]
            if piece == len(self.going_on):
                break
            staying = []
            for place in there:
                if self.going_on[piece][requests[place]]:
                    staying.append(place)
                else:
                    took[place], left[place] = spent * slower, True
            there = staying
        for place in there:
            took[place] = spent * slower
        return spent * slower, took, left


def leaving_of(
    stage: Stage,
    profile: Profile,
    fragments: Sequence[Fragment],
    owner: Sequence[int],
    hardness: Floats,
    *,
    taken: bool,
) -> Leaving:
    """What a stage with exits in use does to requests; `owner[request]` is the number of its fragment.

    `taken`: a batch takes what the smallest measured one that holds it does; otherwise what a full one does.
    """
    cuts = [stage.start, *stage.exits]
    if stage.end not in stage.exits:
        cuts.append(stage.end)
    pieces = []
    for first, last in itertools.pairwise(cuts):
        rows = list(profile.latency_ms[first:last])
        rows += [item.ramp_ms for item in profile.exits or () if item.layer == last and last in stage.exits]
        pieces.append(_table(stage, profile, rows, taken))
    owners = np.asarray(owner)
    going_on = []
    for layer in stage.exits:
        fractions = np.array([relative_survival(profile, item).get(layer, 1.0) for item in fragments])
        going_on.append((hardness < fractions[owners]).tolist())
    return Leaving(overhead_ms=profile.stage_overhead_ms, pieces_ms=tuple(pieces), going_on=tuple(going_on))


def _table(
    stage: Stage, profile: Profile, rows: Sequence[Sequence[Sequence[float | None]]], taken: bool
) -> tuple[float, ...]:
    share = profile.shares.index(stage.share)
    times = [0.0] * (stage.batch + 1)
    for place in sorted(range(len(profile.batches)), key=profile.batches.__getitem__, reverse=True):
        size = profile.batches[place]
        cells = [row[place][share] for row in rows]
        if size <= stage.batch and (taken or size == stage.batch) and None not in cells:
            times[1 : size + 1] = [sum(cell for cell in cells if cell is not None)] * size
    return tuple(times)
