"""The menu of a model with exits: re-alignment and early exits in one program (docs/exits.md).

*Split exits* A are those by which requests have gone when they come to a later stage: σ(i), the fraction
of the model's inputs still there at cut point i, is that of the last exit of A at i or before it. Every
load is counted at the model's input, Q = q / σ(p) for a fragment that enters at p, and every capacity too:
a stage from i that takes c requests a second serves c / σ(i) of them. So a load is the same number on
every stage of a route, and all programs and heuristics stay what they are; σ is in what they buy.

*Variants.* An option is (gpu, batch, share, V), V the exits in use. A stage [i, j) that is not the last
has to let go whoever later stages count as gone: the last exit of A within (i, j] is in V. Those before it
are in use or not, as it pays; and in a stage that ends at L every one is.

An option costs  2 · exec_ms  of a budget, for the whole batch and all ramps of V, and a batch takes
expected_ms of an instance (laws 1 and 3), so it serves  1000 · b / (σ(i) · expected_ms)  requests a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from planner.menu import Column, Floats, Menu
from planner.profile import Profile
from planner.queueing import PLAIN, QueueingLaw

# Latencies [rows][batches][shares] as a profile has them.
Cells = Sequence[Sequence[Sequence[float | None]]]

# Up to so many split exits every subset of them is a variant; beyond, all of them, each alone, and none.
ALL_SUBSETS = 3

# Less than this of the inputs counts as this: a capacity has to be a number.
LEAST_SURVIVAL = 1e-9


def variants_of(split: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """The sets of exits that options are made for, all of them first."""
    if len(split) <= ALL_SUBSETS:
        sizes = range(len(split), -1, -1)
        return tuple(subset for size in sizes for subset in combinations(split, size))
    return (tuple(split), *((layer,) for layer in split), ())


class ExitMenu(Menu):
    """The options of one model whose requests leave by the exits `split`; loads are those at its input."""

    def __init__(
        self,
        profiles: Sequence[Profile],
        law: QueueingLaw = PLAIN,
        *,
        split: Sequence[int],
        survival: Sequence[float],
        variants: Sequence[tuple[int, ...]] | None = None,
    ) -> None:
        """`split` are layers of exits, rising; `survival` the fractions of inputs that go on past them."""
        super().__init__(profiles, law)
        self.split = tuple(split)
        self.survival = tuple(max(LEAST_SURVIVAL, fraction) for fraction in survival)
        self.variants = tuple(variants) if variants is not None else variants_of(split)
        self._plain = Menu(profiles, law)
        plain, many = self._plain, len(self.variants)
        self.width = len(plain.columns)  # of each variant's block of columns
        self.columns = [
            Column(gpu=column.gpu, batch=column.batch, share=column.share, exits=variant)
            for variant in self.variants
            for column in plain.columns
        ]
        worst = [self._with_ramps(variant) for variant in self.variants]
        self._sums = np.hstack([sums for sums, _ in worst])
        self._missing = np.hstack([missing for _, missing in worst])
        self._overheads = np.tile(plain._overheads, many)
        self.time_per_exec = np.tile(plain.time_per_exec, many)
        self.prices = np.tile(plain.prices, many)
        self.batches = np.tile(plain.batches, many)
        # Running sums of mean latencies, by how many split exits lie at the stage's start or before it.
        means = _Means(profiles, len(law.time_factors))
        self._expected = [
            np.hstack([means.sums(*self._behind(before, variant)) for variant in self.variants])
            for before in range(len(self.split) + 1)
        ]
        self._possible: dict[tuple[int, int, bool], NDArray[np.bool_]] = {}

    def remaining(self, cut: int) -> float:
        """σ: the fraction of the model's inputs that is still there at a cut point, split exits in use."""
        before = self._before(cut)
        return self.survival[before - 1] if before else 1.0

    def exec_ms(self, start: int, end: int) -> Floats:
        """exec_ms with all ramps in use; nan where it was not measured, or the variant is none for it."""
        return np.where(self._allowed(start, end), super().exec_ms(start, end), np.nan)

    def exec_ms_to(self, start: int, ends: NDArray[np.intp]) -> Floats:
        return np.stack([self.exec_ms(start, end) for end in ends.tolist()])

    def busy_ms(self, start: int, end: int) -> Floats:
        sums = self._expected[self._before(start)]
        busy: Floats = (sums[end] - sums[start] + self._overheads) * self.remaining(start)
        return busy

    def load_per_capacity(self, start: int, end: int) -> Floats:
        return np.tile(self._plain.load_per_capacity(start, end), len(self.variants))

    def _before(self, cut: int) -> int:
        return sum(layer <= cut for layer in self.split)

    def _allowed(self, start: int, end: int) -> NDArray[np.bool_]:
        """Which columns [start, end) can take; of variants that are the same for it, the first."""
        key = (self._before(start), self._before(end), end == self.depth)
        if key not in self._possible:
            within = self.split[key[0] : key[1]]
            seen: set[tuple[int, ...]] = set()
            allowed = []
            for variant in self.variants:
                used = tuple(layer for layer in variant if layer in within)
                lets_go = end == self.depth or not within or within[-1] in used
                allowed.append(lets_go and used not in seen)
                seen.add(used)
            self._possible[key] = np.repeat(allowed, self.width)
        return self._possible[key]

    def _behind(self, before: int, variant: tuple[int, ...]) -> tuple[dict[int, float], bool]:
        """What goes on past each exit in use, for a stage that begins behind `before` split exits."""
        at_start = self.survival[before - 1] if before else 1.0
        behind = zip(self.split[before:], self.survival[before:], strict=True)
        return {layer: fraction / at_start for layer, fraction in behind if layer in variant}, True

    def _with_ramps(self, variant: tuple[int, ...]) -> tuple[Floats, Floats]:
        """The plain menu's running sums and missing cells with these ramps, each in the layer before it."""
        sums, missing = self._plain._sums.copy(), self._plain._missing.copy()
        for layer in variant:
            ramps = [np.array(_ramp(profile, layer), dtype=np.float64) for profile in self.profiles]
            ramp = _row(ramps, len(self.law.time_factors))
            sums[layer:] += np.nan_to_num(ramp)
            missing[layer:] += np.isnan(ramp)
        return sums, missing


class LeastMenu(Menu):
    """What no plan with any exits in use undercuts, option by option: for bounds.

    Time is that without ramps. Everybody leaves at the first chance, no ramp costs anything, and latencies
    are lowered to where fewer samples never take longer, nor a sample less than in a larger batch: then the
    cost of a stage does not rise as more requests leave (docs/exits.md).
    """

    def __init__(
        self,
        profiles: Sequence[Profile],
        law: QueueingLaw = PLAIN,
        *,
        split: Sequence[int],
        survival: Sequence[float],
    ) -> None:
        super().__init__(profiles, law)
        self._split = tuple(split)
        self._survival = (1.0, *(max(LEAST_SURVIVAL, fraction) for fraction in survival))
        means = _Means(profiles, len(law.time_factors), lowered=True)
        self._expected = []
        for before, at_start in enumerate(self._survival):
            behind = zip(self._split[before:], self._survival[before + 1 :], strict=True)
            going_on = {layer: fraction / at_start for layer, fraction in behind}
            self._expected.append(means.sums(going_on, False))

    def busy_ms(self, start: int, end: int) -> Floats:
        before = sum(layer <= start for layer in self._split)
        sums = self._expected[before]
        busy: Floats = (sums[end] - sums[start] + self._overheads) * self._survival[before]
        return busy


class _Means:
    """Mean latencies of the layers of one model when parts of a batch have left."""

    def __init__(self, profiles: Sequence[Profile], factors: int, *, lowered: bool = False) -> None:
        """`factors`: how many times the columns of the profiles are repeated."""
        self._profiles = profiles
        self._factors = factors
        self._depth = profiles[0].depth
        self._tables = [LatencyTable(profile, profile.latency_ms, lowered=lowered) for profile in profiles]

    def sums(self, going_on: dict[int, float], ramps: bool) -> Floats:
        """[L+1, columns]: running sums when these parts of what came in go on past each exit."""
        cells: list[Floats] = []
        first, part = 0, 1.0
        for layer, fraction in [*going_on.items(), (self._depth, 0.0)]:
            rows = [table.at(part)[first:layer] for table in self._tables]
            segment = np.hstack([row.reshape(layer - first, -1) for row in rows])
            segment = np.tile(segment, self._factors)
            if ramps and layer < self._depth:
                costs = [
                    LatencyTable(profile, [_ramp(profile, layer)]).at(part)[0] for profile in self._profiles
                ]
                segment[-1] += _row(costs, self._factors)
            cells.append(segment)
            first, part = layer, fraction
        # What was never measured makes no stage (its exec_ms is nan); it must not spoil the sums behind it.
        table = np.nan_to_num(np.vstack(cells))
        return np.vstack([np.zeros(table.shape[1]), np.cumsum(table, axis=0)])


class LatencyTable:
    """Latencies [rows, batches, shares] of one profile for any number of samples up to each batch."""

    def __init__(self, profile: Profile, latency_ms: Cells, *, lowered: bool = False) -> None:
        """`lowered`: to where fewer samples never take longer, nor a sample less in a smaller batch."""
        cells = np.array(latency_ms, dtype=np.float64)
        self._batches = np.array(profile.batches, dtype=np.float64)
        self._order = np.argsort(self._batches)
        self._sizes = self._batches[self._order]
        self._cells = self._filled(cells[:, self._order])
        if lowered:
            least = np.minimum.accumulate(self._cells[:, ::-1], axis=1)[:, ::-1]
            sizes = self._sizes[None, :, None]
            self._cells = np.minimum.accumulate(least / sizes, axis=1) * sizes

    def at(self, part: float) -> Floats:
        """[rows, batches, shares]: what is taken when this part of each batch is there."""
        found = np.empty_like(self._cells)
        for number, batch in zip(self._order.tolist(), self._sizes.tolist(), strict=True):
            found[:, number] = self.taken_by(batch * part)
        return found

    def taken_by(self, samples: float) -> Floats:
        """[rows, shares]: what so many samples take, at most the largest batch."""
        above = int(np.searchsorted(self._sizes, samples))
        if above == 0:
            return self._cells[:, 0] * min(1.0, samples)
        low, high = self._sizes[above - 1], self._sizes[above]
        part = (samples - low) / (high - low)
        mean: Floats = self._cells[:, above - 1] + part * (self._cells[:, above] - self._cells[:, above - 1])
        return mean

    def _filled(self, cells: Floats) -> Floats:
        """With cells that were not measured on the straight lines between those that were."""
        filled = cells.copy()
        for row, share in np.argwhere(np.isnan(cells).any(axis=1)).tolist():
            known = ~np.isnan(cells[row, :, share])
            if known.any():
                filled[row, :, share] = np.interp(self._sizes, self._sizes[known], cells[row, known, share])
        return filled


def _ramp(profile: Profile, layer: int) -> Sequence[Sequence[float | None]]:
    return next(item.ramp_ms for item in profile.exits or () if item.layer == layer)


def _row(tables: Sequence[Floats], factors: int) -> Floats:
    """Tables [batches, shares] of every profile as one row of columns."""
    return np.tile(np.hstack([table.reshape(-1) for table in tables]), factors)
