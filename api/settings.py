"""What an operator may set: every field is the environment variable REGRAFT_<NAME>, in capitals."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """The service's settings. Times in seconds, sizes in the unit their name says."""

    model_config = SettingsConfigDict(env_prefix="REGRAFT_", extra="ignore", frozen=True)

    database: str = Field(
        "sqlite:///regraft.sqlite", description="SQLAlchemy URL: sqlite:///FILE or postgresql://…"
    )
    run_workers: int = Field(1, ge=0, le=256, description="plan runs that this process solves at a time")
    docs: bool = Field(True, description="serve /docs and /openapi.json; they need no key")

    pages: bool = Field(True, description="serve pages under /; they need a key to sign in")
    session_secret: str = Field(
        "", repr=False, description="signs the pages' cookies; give all processes the same"
    )
    session_hours: float = Field(12.0, gt=0, description="how long somebody stays signed in")
    gateways: str = Field(
        "", description="addresses of gateways, with commas between: pages show what they observed"
    )

    max_document_mb: float = Field(64.0, gt=0, description="largest workload, profile or plan in a request")
    large_documents: int = Field(
        2, ge=1, description="documents of more than 1 MB that are read at a time; further ones wait"
    )
    max_body_kb: float = Field(1024.0, gt=0, description="largest other request body")
    body_timeout_s: float = Field(
        30.0, gt=0, description="time a client has to send its body, and before it its head"
    )

    rate_rps: float = Field(
        1000.0, ge=0, description="requests a second of one key, or of one agent's node; 0 is no limit"
    )
    false_keys_rps: float = Field(
        5.0, ge=0, description="false keys a second from one address, a hundred at once; 0 is no limit"
    )

    run_lease_s: float = Field(
        15.0, gt=0, description="a run whose process is silent this long is taken up again"
    )
    run_heartbeat_s: float = Field(1.0, gt=0, description="how often a run's process renews its lease")
    run_attempts: int = Field(
        3, ge=1, le=100, description="how often a run is begun before it counts as failed"
    )
    run_memory_mb: int = Field(
        0, ge=0, description="memory that a solve may take; 0 is no limit but the machine's"
    )
    stop_grace_s: float = Field(10.0, ge=0, description="time a stopped solve has to hand in its best plan")
    overtime_s: float = Field(
        60.0, ge=0, description="time a solve may take beyond its own limit before it is killed"
    )

    node_lease_s: float = Field(9.0, gt=0, description="a node that is silent this long counts as gone")
    node_heartbeat_s: float = Field(3.0, gt=0, description="how often an agent reports its status")
    max_clients: int = Field(48, ge=1, description="instances on one GPU (law 5)")

    on_drift: Literal["ignore", "propose", "apply"] = Field(
        "propose",
        description="where inputs become easier or harder than planned with: ignore it, propose another "
        "plan, or apply it; a deployment may say otherwise",
    )
    drift_window_s: float = Field(
        60.0, gt=0, le=86400, description="what exits saw is counted in windows of this length"
    )
    drift_windows: int = Field(
        60, ge=1, le=1000, description="windows that are kept, and that a forecast is made from"
    )
    drift_tolerance: float = Field(
        0.05, gt=0, le=1, description="what a survival may differ by from the one planned with"
    )

    long_poll_max_s: float = Field(60.0, ge=0, description="longest ?wait of an assignment")
    watch_interval_s: float = Field(
        0.25, gt=0, description="how often news of other processes are looked for"
    )
    key_recheck_s: float = Field(5.0, ge=0, description="a revoked key stops working within this time")
    idempotency_days: float = Field(2.0, gt=0, description="how long an Idempotency-Key is remembered")
    shutdown_grace_s: float = Field(10.0, ge=0, description="time open requests have when the service stops")

    @property
    def max_document_bytes(self) -> int:
        return int(self.max_document_mb * 1_000_000)

    @property
    def max_body_bytes(self) -> int:
        return int(self.max_body_kb * 1_000)
