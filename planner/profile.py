"""What one model costs on one type of GPU (format `regraft.profile/v1`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Gt, Le, Len

from planner.quantities import STRICT, Batch, Fraction, Megabytes, Ms, Name, SharePct

# Where runs of a cell differ by more (`measured.scatter_pct`, standard deviation over mean), the machine did
# not keep its speed; usual are 4 to 8 %.
WAVERING_PCT = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Exit:
    """A ramp: layers beside the model that read the tensor at cut point `layer` and may answer for good.

    `ramp_ms` is [len(batches)][len(shares)], None where not measured. `survival` is the fraction of the
    model's inputs that go on past this exit when it and all exits before it are in use, each at its
    `threshold`; `quality` the fraction of answers that are right with that use. `survivors[n][k]` is how
    often k of a batch of `batches[n]` go on, of batches that nobody left before. See docs/exits.md.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    layer: Annotated[int, Ge(1), Le(100_000)]
    ramp_ms: tuple[tuple[Ms | None, ...], ...]
    survival: Fraction
    threshold: float | None = None
    quality: Fraction | None = None
    survivors: tuple[tuple[Fraction, ...], ...] | None = None
    weight_mb: Megabytes = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """Measured latencies of every layer at every batch and share.

    Shapes: `latency_ms` is `[L][len(batches)][len(shares)]`, None where not measured; `cut_bytes` has L+1
    entries (the tensor at cut point 0 … L, one sample); `weight_mb` and `activation_mb` have L
    (activations of one sample). The optional lists are None when the file has none.
    `cost_per_share` is the relative price of one percent of this GPU type. `exits` are by rising layer.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    FORMAT: ClassVar[str] = "regraft.profile/v1"

    model: Name
    gpu: Name
    layers: Annotated[tuple[str, ...], Len(1, 100_000)]
    batches: Annotated[tuple[Batch, ...], Len(1, 1000)]
    shares: Annotated[tuple[SharePct, ...], Len(1, 1000)]
    latency_ms: tuple[tuple[tuple[Ms | None, ...], ...], ...]
    stage_overhead_ms: Ms = 0.0
    cut_bytes: tuple[Annotated[int, Ge(0)], ...] | None = None
    weight_mb: tuple[Megabytes, ...] | None = None
    activation_mb: tuple[Megabytes, ...] | None = None
    context_mb: Megabytes = 0.0
    cost_per_share: Annotated[float, Gt(0), Le(1e9)] = 1.0
    exits: Annotated[tuple[Exit, ...], Len(1, 64)] | None = None
    measured: dict[str, Any] = field(default_factory=dict)

    @property
    def depth(self) -> int:
        """L, the number of layers; the cut points are 0 … L."""
        return len(self.layers)
