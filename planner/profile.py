"""What one model costs on one type of GPU (format `regraft.profile/v1`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Gt, Le, Len

from planner.quantities import STRICT, Batch, Megabytes, Ms, Name, SharePct


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """Measured latencies of every layer at every batch and share.

    Shapes: `latency_ms` is [L][len(batches)][len(shares)], None where not measured; `cut_bytes` has L+1
    entries (the tensor at cut point 0 … L, one sample); `weight_mb` and `activation_mb` have L
    (activations of one sample). The optional lists are None when the file has none.
    `cost_per_share` is the relative price of one percent of this GPU type.
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
    measured: dict[str, Any] = field(default_factory=dict)

    @property
    def depth(self) -> int:
        """L, the number of layers; the cut points are 0 … L."""
        return len(self.layers)
