"""What exits do on given data, and what ramps cost: the `exits` of a profile."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from statistics import median

import torch

from planner.profile import Exit, Profile
from runtime.errors import MeasurementError
from runtime.exit_training import Opinions
from runtime.models import Chain
from runtime.ramps import Ramps, confidence


def profile_with_exits(profile: Profile, chain: Chain, ramps: Ramps, found: Opinions) -> Profile:
    """The profile with the ramps' exits, as measured with the samples of `found` and on this machine.

    `found` is in the order in which samples come: survivors of a batch are counted over all runs of
    neighbours, so inputs that are alike in a row show. A ramp is timed on a whole core, and takes as much
    longer at a smaller share as the layers do. `measured.exits_alone` says what would go on past each exit if
    it were the only one. Raises MeasurementError for the profile of another model.
    """
    if profile.layers != chain.layers:
        raise MeasurementError(f"the profile of {profile.model} has other layers than {chain.name}")
    leaving = found.leaving(ramps.thresholds)
    slower = _slower(profile)
    exits, each = [], {}
    for number, layer in enumerate(ramps.layers):
        going_on = leaving > number
        alone = float((found.sure[number] < ramps.thresholds[number]).float().mean())
        exits.append(
            Exit(
                layer=layer,
                ramp_ms=tuple(
                    tuple(round(ms * factor, 6) if factor is not None else None for factor in slower[batch])
                    for batch, ms in enumerate(ramp_ms(chain, ramps, layer, profile.batches))
                ),
                survival=float(going_on.float().mean()),
                threshold=ramps.thresholds[number],
                quality=found.quality(
                    [
                        threshold if later <= number else 2.0
                        for later, threshold in enumerate(ramps.thresholds)
                    ]
                ),
                survivors=tuple(survivors(going_on, batch) for batch in profile.batches),
                weight_mb=ramps.weight_mb(layer),
            )
        )
        each[str(layer)] = round(alone, 6)
    return replace(profile, exits=tuple(exits), measured={**profile.measured, "exits_alone": each})


def survivors(going_on: torch.Tensor, batch: int) -> tuple[float, ...]:
    """[batch + 1]: how often k of `batch` samples in a row go on."""
    if batch > len(going_on):
        raise MeasurementError(f"{len(going_on)} samples are too few for a batch of {batch}")
    counts = going_on.int().unfold(0, batch, 1).sum(dim=1)
    often = torch.bincount(counts, minlength=batch + 1).double()
    return tuple((often / often.sum()).tolist())


def ramp_ms(chain: Chain, ramps: Ramps, layer: int, batches: Sequence[int]) -> list[float]:
    """What the ramp takes on a whole core for each batch: confidence and choice of survivors included."""
    module, threshold = ramps.at(layer)
    found = []
    with torch.inference_mode():
        for batch in batches:
            sample = chain.example(batch, cut=layer)
            times = []
            for _ in range(25):
                began = time.thread_time()
                stay = confidence(module(sample)) < threshold
                sample[stay]
                times.append(time.thread_time() - began)
            found.append(1e3 * median(times[5:]))
    return found


def _slower(profile: Profile) -> list[list[float | None]]:
    """[batch][share]: how much longer the whole model takes than at the largest share; None: not measured."""
    most = profile.shares.index(max(profile.shares))
    table: list[list[float | None]] = []
    for batch in range(len(profile.batches)):
        rows = [layer[batch] for layer in profile.latency_ms]
        fast = [row[most] for row in rows]
        line: list[float | None] = []
        for share in range(len(profile.shares)):
            pairs = [
                (row[share], quick)
                for row, quick in zip(rows, fast, strict=True)
                if row[share] is not None and quick is not None
            ]
            slow = sum(cell for cell, _ in pairs if cell is not None)
            quick_ms = sum(quick for _, quick in pairs)
            line.append(slow / quick_ms if quick_ms > 0 else None)
        table.append(line)
    return table
