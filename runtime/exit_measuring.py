"""What exits do on given data, and what ramps cost: the `exits` of a profile."""

from __future__ import annotations

import contextlib
import os
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from statistics import median

import numpy as np
import torch

from planner.profile import Exit, Profile
from runtime.cells import MOST_STRETCH_PCT, monotone
from runtime.errors import MeasurementError
from runtime.exit_training import Opinions
from runtime.models import Chain
from runtime.ramps import Ramps, confidence
from runtime.shares import Share, hold

# A ramp at a share is run for so long, and so often at least, after a few runs that use up what was saved.
_PACED_S, _LEAST_RUNS, _UNCOUNTED = 0.1, 10, 10
# Shares take turns, and the median of the rounds counts: a neighbour that slows the core for a while slows
# all shares in a round or two, and not one share's only measurement.
_ROUNDS = 5


def profile_with_exits(
    profile: Profile, chain: Chain, ramps: Ramps, found: Opinions, *, hold_shares: bool = False
) -> Profile:
    """The profile with the ramps' exits, as measured with the samples of `found` and on this machine.

    `found` is in the order in which samples come: survivors of a batch are counted over all runs of
    neighbours, so inputs that are alike in a row show. Ramps are timed on a whole core. With `hold_shares`
    this process is held to each smaller share in turn, as workers are, and they are timed there too;
    otherwise a ramp is taken to be as much slower there as the layers are. `measured.exits_alone` says what
    would go on past each exit if it were the only one, `measured.ramps_held_by` how shares were held, if they
    were. Raises MeasurementError for the profile of another model.
    """
    if profile.layers != chain.layers:
        raise MeasurementError(f"the profile of {profile.model} has other layers than {chain.name}")
    leaving = found.leaving(ramps.thresholds)
    times, held_by = _held(profile, chain, ramps) if hold_shares else (_scaled(profile, chain, ramps), None)
    exits, each = [], {}
    for number, layer in enumerate(ramps.layers):
        going_on = leaving > number
        alone = float((found.sure[number] < ramps.thresholds[number]).float().mean())
        exits.append(
            Exit(
                layer=layer,
                ramp_ms=times[layer],
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
    more: dict[str, object] = {"exits_alone": each}
    if held_by is not None:
        more["ramps_held_by"] = held_by
    return replace(profile, exits=tuple(exits), measured={**profile.measured, **more})


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


# [batch][share], and by the exit's layer.
_Table = tuple[tuple[float | None, ...], ...]


def _scaled(profile: Profile, chain: Chain, ramps: Ramps) -> dict[int, _Table]:
    slower = _slower(profile)
    return {
        layer: tuple(
            tuple(round(ms * factor, 6) if factor is not None else None for factor in slower[batch])
            for batch, ms in enumerate(ramp_ms(chain, ramps, layer, profile.batches))
        )
        for layer in ramps.layers
    }


def _held(profile: Profile, chain: Chain, ramps: Ramps) -> tuple[dict[int, _Table], str]:
    """Ramps as they run in a process that is held to each share, and what held it."""
    rounds: dict[tuple[int, float], list[list[float]]] = defaultdict(list)
    held_by = "none"
    cores = os.sched_getaffinity(0)
    with contextlib.ExitStack() as stack:
        stack.callback(os.sched_setaffinity, 0, cores)
        share = stack.enter_context(contextlib.closing(hold(100, core=max(cores))))
        for _ in range(_ROUNDS):
            for share_pct in profile.shares:
                share.change(share_pct)
                if share_pct < 100:
                    held_by = share.enforced_by
                for layer in ramps.layers:
                    rounds[layer, share_pct].append(
                        ramp_ms(chain, ramps, layer, profile.batches)
                        if share_pct >= 100
                        else [_paced_ms(chain, ramps, layer, batch, share) for batch in profile.batches]
                    )
    tables: dict[int, _Table] = {}
    for layer in ramps.layers:
        raw = np.array([np.median(rounds[layer, one], axis=0) for one in profile.shares]).T[:, :, None]
        smooth = monotone(raw)[:, :, 0]
        tables[layer] = tuple(tuple(round(float(cell), 6) for cell in row) for row in smooth)
    return tables, held_by


def _paced_ms(chain: Chain, ramps: Ramps, layer: int, batch: int, share: Share) -> float:
    """What a ramp takes in a process held to a share, as `runtime.cells` counts it for layers.

    The processor time of many runs, divided by the share that is granted, and stretched as the clock says, up
    to 5 %: a quota stops the process at any place, and what others do to it is not the plan's.
    """
    module, threshold = ramps.at(layer)
    with torch.inference_mode():
        sample = chain.example(batch, cut=layer)
        runs = -_UNCOUNTED
        began = busy = 0.0
        while runs < _LEAST_RUNS or time.perf_counter() - began < _PACED_S:
            if runs == 0:
                began, busy = time.perf_counter(), time.thread_time()
            start = time.perf_counter()
            stay = confidence(module(sample)) < threshold
            sample[stay]
            share.pace(time.perf_counter() - start)
            runs += 1
        granted_ms = 1e3 * (time.thread_time() - busy) / runs * 100.0 / share.effective_pct()
        total_ms = 1e3 * (time.perf_counter() - began) / runs
    return min(max(total_ms, granted_ms), granted_ms * (1.0 + MOST_STRETCH_PCT / 100.0))


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
