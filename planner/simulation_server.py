"""A stage as its queue sees it: how long its batches take, by the profile and the settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from planner import laws
from planner.plan import Stage
from planner.profile import Profile
from planner.simulation_queue import Server, SimulationSettings, Spread


def server_of(stage: Stage, profile: Profile, settings: SimulationSettings) -> Server:
    """How long the stage takes at every batch it may take."""
    times = [0.0] + [stage.exec_ms] * stage.batch
    if settings.batch_time == "between":
        measured_ms = [
            (batch, exec_ms)
            for batch in sorted(profile.batches)
            if batch <= stage.batch
            and (exec_ms := laws.exec_ms(profile, stage.start, stage.end, batch, stage.share, stage.exits))
            is not None
        ]
        sizes, known = zip(*measured_ms, strict=True)
        times[1:] = np.interp(range(1, stage.batch + 1), sizes, known).tolist()
    elif settings.batch_time == "taken":
        for batch in sorted(profile.batches, reverse=True):
            measured = laws.exec_ms(profile, stage.start, stage.end, batch, stage.share, stage.exits)
            if batch <= stage.batch and measured is not None:
                times[1 : batch + 1] = [measured] * batch
    beside = settings.beside_of(stage.id)
    slower_pct = _slower_pct(stage, profile)
    slowness = settings.slowness_of(stage.id)
    times = [ms * slowness * (1.0 + beside * pct / 100.0) for ms, pct in zip(times, slower_pct, strict=True)]
    rested = _rested_ms(stage, profile, times) if settings.rested else None
    spread = _spread(profile, 1.0 + slower_pct[1] / 100.0, beside) if settings.scatter else None
    seen = settings.seen.get(stage.id)
    if seen:
        spread = Spread(alone=tuple(seen))
    elif spread is not None:
        around = _points(profile.measured.get("beyond_layers_spread_ms"), slowness * 100.0 / stage.share)
        spread = replace(spread, around_ms=around or ())
    unknown = settings.scatter and spread is None
    scatter_pct = float(profile.measured.get("scatter_pct", 0.0)) if unknown else 0.0
    return Server(
        exec_ms=times,
        batch=stage.batch,
        instances=stage.instances,
        rested_ms=rested,
        exec_cv=scatter_pct / 100.0,
        spread=spread,
    )


def _spread(profile: Profile, slowest: float, beside: float) -> Spread | None:
    """How times lie around the mean of both kinds: those alone, and those beside, `slowest` times as slow."""
    neighbour = profile.measured.get("neighbour")
    alone = _points(profile.measured.get("spread"), 1.0)
    if alone is None:
        return None
    busy = _points(neighbour.get("spread"), slowest) if isinstance(neighbour, dict) else None
    mean = 1.0 + beside * (slowest - 1.0)

    def over_mean(points: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
        return tuple((fraction, factor / mean) for fraction, factor in points)

    if busy is None:
        # Slower beside others, but nobody has seen how that scatters.
        return Spread(alone=alone)
    return Spread(alone=over_mean(alone), beside=over_mean(busy), part=beside)


def _points(measured: object, times: float) -> tuple[tuple[float, float], ...] | None:
    """A profile's spread, percent → factor, as fractions and factors, these so many times as large."""
    if not isinstance(measured, dict) or not measured:
        return None
    try:
        points = sorted((float(percent) / 100.0, float(factor)) for percent, factor in measured.items())
    except (TypeError, ValueError):  # what a profile says of its measuring is free, and this is not ours
        return None
    return tuple((fraction, factor * times) for fraction, factor in points)


def _slower_pct(stage: Stage, profile: Profile) -> list[float]:
    """How much longer a batch of 0, 1, … takes beside a neighbour, in percent.

    As measured at the share next to it; between measured batches by straight lines.
    """
    neighbour = profile.measured.get("neighbour")
    measured = neighbour.get("slower_pct") if isinstance(neighbour, dict) else None
    if not isinstance(neighbour, dict) or not isinstance(measured, dict) or not measured:
        return [0.0] * (stage.batch + 1)
    nearest = min(measured, key=lambda share: abs(float(share) - stage.share))
    by_batch = (neighbour.get("slower_pct_by_batch") or {}).get(nearest) or {"1": measured[nearest]}
    known = sorted((int(batch), float(pct)) for batch, pct in by_batch.items())
    sizes, pcts = zip(*known, strict=True)
    found: list[float] = np.interp(range(stage.batch + 1), sizes, pcts).tolist()
    return found


def _rested_ms(stage: Stage, profile: Profile, times: Sequence[float]) -> list[float]:
    """How much sooner a batch of n is answered after a rest: as measured, but never more than is waited.

    A worker that is held to its share by pausing answers before it pauses.
    """
    waited = [exec_ms * (1.0 - stage.share / 100.0) for exec_ms in times]
    if profile.measured.get("enforced_by") == "pause":
        return waited
    measured = profile.measured.get("rested_ms")
    sooner = measured.get(f"{stage.share:g}", 0.0) if isinstance(measured, dict) else 0.0
    return [min(most, float(sooner)) for most in waited]
