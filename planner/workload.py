"""What is asked for: fragments, and the GPUs that may serve them (format `regraft.workload/v1`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from annotated_types import Gt, Le, Len

from planner.quantities import STRICT, Fraction, Name, PositiveMs, PositiveRate


@dataclass(frozen=True, kw_only=True, slots=True)
class Fragment:
    """What one client leaves to the server.

    `start` is the first layer the server runs (0 … L−1), `budget_ms` the time the server may take from a
    request's arrival to its answer being ready, waiting included, and `rate_rps` the requests a second
    of *one* client; `count` identical clients together send `count · rate_rps`. `survival`, where this
    client's inputs are easier or harder than what the profile was measured with, is the fraction of the
    model's inputs that go on past each exit of its profile, in their order.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    id: Name
    model: Name
    start: Annotated[int, Gt(-1), Le(100_000)]
    budget_ms: PositiveMs
    rate_rps: PositiveRate
    count: Annotated[int, Gt(0), Le(1_000_000_000)] = 1
    survival: Annotated[tuple[Fraction, ...], Len(1, 64)] | None = None

    @property
    def load_rps(self) -> float:
        """Requests a second of all its clients together."""
        return self.count * self.rate_rps


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpu:
    """One GPU: 100 percent of share, `memory_mb` of memory; `type` is the profile's `gpu`."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    id: Name
    type: Name
    memory_mb: Annotated[float, Gt(0), Le(1e9)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """Fragments to serve. With `gpus` a plan is placed onto them; without, it has no placement."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    FORMAT: ClassVar[str] = "regraft.workload/v1"

    fragments: Annotated[tuple[Fragment, ...], Len(1)]
    gpus: Annotated[tuple[Gpu, ...], Len(1)] | None = None
