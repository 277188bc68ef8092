"""What to run: stages, routes, placement, objective and bound (format `regraft.plan/v1`).

A plan file may come from anybody, so these types only fix its structure; whether its numbers are
possible is for `planner.laws` to say.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Len

from planner.quantities import STRICT, Name

Status = Literal["optimal", "feasible"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """Layers `[start, end)` of one model at one batch size and share, by `instances` identical workers.

    `exits` are the layers of the exits in use within it, rising, start < layer ≤ end; with exits,
    `expected_ms` is what a full batch takes on average, and `exec_ms` what it takes when nobody leaves.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    id: Name
    model: Name
    gpu: Name
    start: int
    end: int
    batch: int
    share: int | float
    instances: int
    exec_ms: float
    exits: tuple[int, ...] = ()
    expected_ms: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Route:
    """The stages that `fraction` of a fragment's requests pass through, in order; at worst in `worst_ms`.

    Where requests may leave on the way, `expected_ms` is the mean time they spend in running batches.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    fragment: Name
    fraction: float
    stages: Annotated[tuple[Name, ...], Len(1)]
    worst_ms: float
    expected_ms: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Placed:
    """Instance number `instance` (from 0) of a stage runs on this GPU."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    stage: Name
    instance: int
    gpu: Name


@dataclass(frozen=True, kw_only=True, slots=True)
class Unplanned:
    """A fragment left out: a reason code, and in `detail` what would help."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    fragment: Name
    reason: Name
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Objective:
    """`share` is Σ instances · share · cost_per_share; `gpus` the number of GPUs used, where placed."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    share: float
    gpus: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """What a plan was made from, and how: contents by hash, so that a stale measurement shows."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    profiles: tuple[str, ...] = ()
    workload: str | None = None
    version: str | None = None
    seed: int | None = None
    seconds: float | None = None
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A plan and its proof.

    No valid plan for the same workload and profiles has less share than `lower_bound`; `gap` is
    (share − lower_bound) / share. `status` is `optimal` where the gap is closed (or the program that
    made the plan was solved to proof; see `provenance.settings`), else `feasible`.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    FORMAT: ClassVar[str] = "regraft.plan/v1"

    strategy: Name
    status: Status
    objective: Objective
    lower_bound: float | None = None
    gap: float | None = None
    stages: tuple[Stage, ...] = ()
    routes: tuple[Route, ...] = ()
    placement: tuple[Placed, ...] = ()
    unplanned: tuple[Unplanned, ...] = ()
    provenance: Provenance = field(default_factory=Provenance)
