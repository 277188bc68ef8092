"""Synthetic profiles with exits, for tests and benchmarks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from planner.profile import Exit, Profile


def with_exits(
    profile: Profile,
    survival: Sequence[float] = (0.6, 0.3),
    *,
    layers: Sequence[int] | None = None,
    ramp: float = 0.15,
) -> Profile:
    """The profile with exits spread evenly (or at `layers`); a ramp takes `ramp` of a mean layer's time."""
    count = len(survival)
    if layers is None:
        layers = [(number + 1) * profile.depth // (count + 1) for number in range(count)]

    def mean(batch: int, share: int) -> float | None:
        cells = [cell for layer in profile.latency_ms if (cell := layer[batch][share]) is not None]
        return round(ramp * sum(cells) / len(cells), 6) if cells else None

    ramp_ms = tuple(
        tuple(mean(batch, share) for share in range(len(profile.shares)))
        for batch in range(len(profile.batches))
    )
    return replace(
        profile,
        exits=tuple(
            Exit(layer=layer, ramp_ms=ramp_ms, survival=fraction)
            for layer, fraction in zip(layers, survival, strict=True)
        ),
    )
