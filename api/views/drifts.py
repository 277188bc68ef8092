"""What exits see, what is expected, and what was planned anew for it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from api.views.base import Answer

OnDrift = Annotated[
    Literal["ignore", "propose", "apply"],
    Field(
        description="what to do where inputs become easier or harder than planned with: nothing, plan anew, "
        "or plan anew and deploy"
    ),
]


class ExitOutlook(Answer):
    """Fragments of one model that were planned with the same survival; lists are by exit, as `layers`."""

    model: str
    own: bool = Field(description="whether they have a survival of their own in the workload")
    layers: list[int] = Field(description="of the model's exits")
    fragments: int
    planned: list[float] = Field(
        description="fraction of inputs that the plan expects to go on past each exit"
    )
    seen: list[float] | None = Field(description="the same, as of the last window that saw enough")
    expected: list[float] | None = Field(description="the forecast for the next window")
    windows: int = Field(description="windows that saw enough")
    answered: int = Field(description="requests that all windows saw")
    rests_on: int = Field(description="requests that the forecast rests on")
    difference: float = Field(description="the largest between expected and planned")
    drifted: bool = Field(description="whether that is more than chance and the tolerance explain")
    harder: bool = Field(description="whether more is expected to go on past some exit than was planned with")


class Exits(Answer):
    """What exits see of the current generation. `at` is the end of the last window, null before the first."""

    generation: int
    on_drift: OnDrift
    window_s: float
    tolerance: float
    at: datetime | None
    outlooks: list[ExitOutlook]


class Drift(Answer):
    """Inputs had become easier or harder than a generation's plan was made for, and it was planned anew.

    `state` is planning, then proposed, applied, kept (the plan in hand is as good) or failed; a proposal
    becomes applied or superseded when somebody deploys.
    """

    id: str
    created_at: datetime
    generation: int = Field(description="whose plan no longer fits")
    plan: str = Field(description="id of that plan")
    mode: OnDrift
    state: Literal["planning", "proposed", "applied", "kept", "failed", "superseded"]
    detail: str | None = Field(description="why it failed, was kept or superseded")
    outlooks: list[ExitOutlook] = Field(description="what was planned with, seen and expected at that time")
    workload: str = Field(description="id of the workload with the survival expected")
    run: str
    new_plan: str | None = Field(description="id of the plan that the run made")
    share: float = Field(description="of the plan that no longer fits")
    new_share: float | None
    applied_as: int | None = Field(description="the generation that the new plan became")
