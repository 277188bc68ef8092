"""Machines with an agent: what they offer, what they say that they run."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from api.views.base import Answer, Generation, GpuView, Id, Label, Request
from api.views.deployments import NotRunning

Count = Annotated[int, Field(ge=0, lt=2**53)]
ByLayer = Annotated[dict[Annotated[str, Field(pattern="^[0-9]{1,6}$")], Count], Field(max_length=64)]


class Register(Request):
    """A machine with an agent."""

    name: Label
    address: Annotated[Label, Field(description="where the agent's data plane listens")]
    gpus: list[GpuView]


class Worker(Request):
    """One worker process, as its agent sees it."""

    generation: Generation
    stage: Label
    instance: Annotated[int, Field(ge=0, lt=2**31)]
    gpu: Label
    state: Literal["starting", "ready", "draining", "failed"]
    pid: Annotated[int | None, Field(ge=0, lt=2**53)] = None
    restarts: Annotated[int, Field(ge=0, lt=2**53)] = 0
    share_pct: Annotated[float | None, Field(ge=0, le=100)] = None
    effective_share_pct: Annotated[float | None, Field(ge=0, le=1e6)] = None
    enforced_by: Annotated[str | None, Field(max_length=50)] = None
    # Cut rather than refused: a node with a worker that has much to say must not lose its lease for it.
    detail: Annotated[
        str, AfterValidator(lambda text: text[:2000]), Field(description="its first 2000 characters are kept")
    ] = ""


class ExitCounts(Request):
    """Requests of one fragment that a gateway has answered; those of them that left, by the exit's layer.

    `lost` were dropped or failed after they had gone on past an exit, by the layer of the last one.
    """

    answered: Count
    left: ByLayer
    lost: ByLayer = Field({})


class GatewayExits(Request):
    """What one gateway has counted at exits since it routes this generation, by fragment."""

    gateway: Id
    generation: Generation
    fragments: Annotated[dict[Label, ExitCounts], Field(max_length=10_000)]


class ReportStatus(Request):
    """What really runs on a node; sending it renews the node's lease."""

    generation: Generation
    workers: list[Worker]
    exits: Annotated[
        list[GatewayExits], Field(max_length=100, description="of the gateways that told this node's agent")
    ] = Field([])


class Node(Answer):
    """A machine with an agent. Its lease ends `lease_s` seconds after its last status; then it is gone."""

    id: str
    name: str
    address: str
    gpus: list[GpuView]
    lease: Literal["live", "gone"]
    lease_s: float
    heartbeat_s: float
    lease_until: datetime
    registered_at: datetime
    reported_at: datetime | None
    generation: int | None = Field(description="the generation its agent last said that it runs")
    workers: list[Worker]
    assigned: int = Field(description="instances that the current generation gives it")
    not_running: list[NotRunning]
