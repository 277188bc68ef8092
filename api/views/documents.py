"""Workloads and profiles, and the what-ifs made from them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from api.views.base import Answer, GpuView, Label, Request


class WorkloadInfo(Answer):
    """A stored workload; its id is the digest of its content."""

    id: str
    created_at: datetime
    fragments: int = Field(description="rows of the workload")
    clients: int = Field(description="clients of all fragments together")
    gpus: int = Field(description="GPUs it names; 0 where it names none")
    models: list[str]
    derived_from: str | None = Field(description="id of the workload it was first made from")
    derivation: dict[str, Any] | None = Field(description="how it was made from that")


class DeriveWorkload(Request):
    """What if: another workload made from this one, by factors."""

    clients: Annotated[float, Field(gt=0, le=1e6, description="how many times as many clients")] = 1.0
    budget: Annotated[
        float, Field(gt=0, le=1e6, description="factor of every budget; below 1 is tighter")
    ] = 1.0
    rate: Annotated[float, Field(gt=0, le=1e6, description="factor of every client's rate")] = 1.0
    models: Annotated[
        list[Label] | None,
        Field(min_length=1, max_length=1000, description="keep only these models' fragments"),
    ] = None
    gpus: Annotated[
        list[GpuView] | None,
        Field(description="other GPUs; an empty list leaves the workload without"),
    ] = None


class DeriveProfile(Request):
    """What if: the same GPU at another price."""

    cost_per_share: Annotated[float, Field(gt=0, le=1e9, description="relative price of one percent of it")]


class ProfileInfo(Answer):
    """A stored profile; its id is the digest of its content."""

    id: str
    created_at: datetime
    model: str
    gpu: str
    layers: int
    batches: list[int]
    shares: list[float]
    measured: dict[str, Any]
