"""The baselines `pame` and `multi-exit`: exits on one worker, without splitting.

`multi-exit` is a model with all its exits in use, served as one piece: a batch shrinks on its way, and
whoever leaves is answered. Fragments are merged as in `gslice+`.

`pame` follows PAME (ICS 2022) in the terms of our laws. What has left is answered at once, and what goes
on is compacted into one of four profiled sizes, b/4, b/2, 3b/4 or b. For each batch and share the exits
are chosen greedily by the paper's measure, the mean latency of a request

    Σ_k P_e(k) · [t_exit · (1 − k/b) + t_batch · (k/b)],

extended to several exits in a row. P_e(k), how often k of b go on past exit e, is the profile's histogram,
or where there is none (or a fragment enters behind an exit, or has its own survival) binomial. Times are
ours: latency at the compacted size, interpolated; our law 3 counts expected sizes instead, and where it
asks for more instances they are given.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from scipy.stats import binom

from planner.exit_flows import trimmed
from planner.exit_menu import ExitMenu, LatencyTable
from planner.exiting import ExitProblem, all_in_time, exit_problem, joined, useful_exits
from planner.gslice import gslice_plus
from planner.menu import Floats
from planner.problem import Draft, PlanSettings, Problem, ProgressReport
from planner.profile import Profile

# The sizes that survivors are compacted into, as parts of the batch.
BUCKETS = (0.25, 0.5, 0.75, 1.0)


def multi_exit(problem: Problem, settings: PlanSettings, progress: ProgressReport) -> Draft:
    """Every fragment, merged as in `gslice+`, on one stage with all exits in use.

    Where ramps take more time than some budget allows, fragments may do without them.
    """
    drafts = []
    for model, numbers in problem.by_model().items():
        exits = useful_exits(problem, numbers)
        part = exit_problem(problem, model, numbers, exits, variants=(exits,))
        if not all_in_time(part.counted):
            part = exit_problem(problem, model, numbers, exits, variants=(exits, ()))
        drafts.append(part.draft(gslice_plus(part.counted, settings, progress)))
    return joined(drafts, None, {})


def pame(problem: Problem, settings: PlanSettings, progress: ProgressReport) -> Draft:
    """Every fragment, merged as in `gslice+`, on one stage with the exits that PAME would use.

    Fragments that no such stage serves in time are planned without exits.
    """
    drafts = []
    for model, numbers in problem.by_model().items():
        able = list(numbers)
        while True:
            part = exit_problem(problem, model, able, useful_exits(problem, able), menu=PameMenu)
            menu = part.counted.menus[model]
            in_time = [
                number
                for number, fragment in zip(able, part.counted.fragments, strict=True)
                if menu.options(fragment.start, menu.depth).least_time_ms <= fragment.budget_ms
            ]
            # Without the others its mean survival, and so the exits it would use, are different ones.
            if not in_time or in_time == able:
                break
            able = in_time
        if in_time:
            drafts.append(_draft(part, gslice_plus(part.counted, settings, progress)))
        rest = [number for number in numbers if number not in set(in_time)]
        if rest:
            drafts.append(_without_exits(problem, part, rest, settings, progress))
    return joined(drafts, None, {})


def _draft(part: ExitProblem, found: Draft) -> Draft:
    """As `ExitProblem.draft`, with at least the instances that compacted batches need."""
    least = {number: stage.instances for number, stage in enumerate(found.stages)}
    return trimmed(part.whole, part.renumbered(found), least)


def _without_exits(
    problem: Problem, part: ExitProblem, numbers: list[int], settings: PlanSettings, progress: ProgressReport
) -> Draft:
    """These fragments without exits, their stages named by the columns of the part's menu."""
    fragments = tuple(problem.fragments[number] for number in numbers)
    found = gslice_plus(Problem(fragments=fragments, menus=problem.menus), settings, progress)
    [menu] = part.counted.menus.values()
    assert isinstance(menu, ExitMenu)
    first = menu.variants.index(()) * menu.width
    return Draft(
        stages=tuple(replace(stage, column=first + stage.column) for stage in found.stages),
        routes=tuple(replace(route, fragment=numbers[route.fragment]) for route in found.routes),
        menus=part.counted.menus,
    )


class PameMenu(ExitMenu):
    """The options of one stage to the end, each batch and share with the exits of the least mean latency."""

    def exec_ms(self, start: int, end: int) -> Floats:
        worst = super().exec_ms(start, end)
        if end < self.depth:
            return np.full(len(worst), np.nan)
        return np.where(self._greedy(start), worst, np.nan)

    def busy_ms(self, start: int, _end: int) -> Floats:
        busy = np.concatenate([self._batch(start, variant)[0] for variant in self.variants])
        return busy * self.remaining(start)

    def _greedy(self, start: int) -> np.ndarray:
        """Whether each column's exits are those that adding one after the other leads to."""
        within = {layer for layer in self.split if layer > start}
        latency = {
            variant: self._batch(start, variant)[1] for variant in self.variants if within.issuperset(variant)
        }
        best: dict[tuple[int, ...], np.ndarray] = {(): np.ones(self.width, dtype=bool)}
        # A column stays with the exits it has, or adds the one that lowers its latency most.
        for size in range(len(within) + 1):
            for variant in [some for some in best if len(some) == size]:
                more = [some for some in latency if len(some) == size + 1 and set(some) > set(variant)]
                if not more:
                    continue
                table = np.stack([latency[some] for some in more])
                better = best[variant] & (table.min(axis=0) < latency[variant])
                for number, some in enumerate(more):
                    taking = better & (table.argmin(axis=0) == number)
                    best[some] = best.get(some, np.zeros(self.width, dtype=bool)) | taking
                best[variant] = best[variant] & ~better
        nothing = np.zeros(self.width, dtype=bool)
        return np.concatenate([best.get(variant, nothing) for variant in self.variants])

    def _batch(self, start: int, variant: tuple[int, ...]) -> tuple[Floats, Floats]:
        """For every column, what a full batch takes on average, and the mean latency of its members."""
        exits = [layer for layer in variant if layer > start]
        taken, latency = [], []
        for profile in self.profiles:
            layers = LatencyTable(profile, profile.latency_ms)
            for batch in profile.batches:
                busy = mean = np.full(len(profile.shares), profile.stage_overhead_ms)
                chance = {batch: 1.0}  # of what sizes come to the next layers
                first = start
                for layer in [*exits, self.depth]:
                    ramps = [item.ramp_ms for item in profile.exits or () if item.layer == layer]
                    beside = [LatencyTable(profile, [ramp]) for ramp in ramps]
                    for size, probability in chance.items():
                        if size:
                            bucket = _bucket(size, batch)
                            ms = layers.taken_by(bucket)[first:layer].sum(axis=0)
                            ms = ms + sum(table.taken_by(bucket)[0] for table in beside)
                            busy = busy + probability * ms
                            mean = mean + probability * ms * size / batch
                    if layer < self.depth:
                        chance = self._chances(profile, start, layer, batch)
                    first = layer
                taken.append(busy)
                latency.append(mean)
        factors = len(self.law.time_factors)
        return np.tile(np.concatenate(taken), factors), np.tile(np.concatenate(latency), factors)

    def _chances(self, profile: Profile, start: int, layer: int, batch: int) -> dict[int, float]:
        """How often each number of a batch goes on past this exit."""
        item = next(item for item in profile.exits or () if item.layer == layer)
        going_on = self.survival[self.split.index(layer)]
        measured = math.isclose(going_on, item.survival) and start < (profile.exits or ())[0].layer
        if item.survivors is not None and measured:
            return dict(enumerate(item.survivors[profile.batches.index(batch)]))
        part = going_on / self.remaining(start)
        return dict(enumerate(binom.pmf(np.arange(batch + 1), batch, min(1.0, part)).tolist()))


def _bucket(size: int, batch: int) -> int:
    return next(bucket for part in BUCKETS if (bucket := math.ceil(part * batch)) >= size)
