"""The phones: device, link and promise of each (format `regraft.clients/v1`).

What a client needs from a server follows from these by partitioning (planner.partitioning).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Le, Len

from planner.errors import Complaint
from planner.quantities import STRICT, Ms, Name, PositiveMs, PositiveRate
from planner.workload import Gpu

# What part of a trace's bandwidth an uplink has, unless the link says otherwise: in commercial 5G the
# uplink is roughly a tenth of the downlink. An assumption, so every report names the factor used.
UPLINK_SCALE = 0.1

SyntheticKind = Literal["walking", "driving", "static"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Device:
    """A phone's speed: `latency_ms` of each of the model's L layers, or `slowdown`.

    A device with a slowdown takes that many times the latency that the model's first profile has at
    batch 1 and the largest share measured. The two powers (W) matter only to clients with an energy
    weight; their defaults are our assumption for a phone computing flat out, and sending.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    name: Name | None = None
    slowdown: Annotated[float, Gt(0), Le(1e6)] | None = None
    latency_ms: Annotated[tuple[Ms, ...], Len(1, 100_000)] | None = None
    compute_w: Annotated[float, Ge(0), Le(1e3)] = 4.0
    transmit_w: Annotated[float, Ge(0), Le(1e3)] = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """A phone's uplink: a recorded trace (a file), a constant number of `mbps`, or a synthetic trace.

    `column` and `where` choose from a trace file in CSV. Traces, recorded or synthetic, are multiplied by
    `scale` (default `UPLINK_SCALE`, since they have the size of downlinks) and read from `offset_s` on.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    trace: Annotated[str, Len(1, 4096)] | None = None
    column: Name | None = None
    where: dict[str, str] | None = None
    mbps: Annotated[float, Ge(0), Le(1e9)] | None = None
    synthetic: SyntheticKind | None = None
    seed: Annotated[int, Ge(0), Le(2**63 - 1)] | None = None
    scale: Annotated[float, Gt(0), Le(1e6)] | None = None
    offset_s: Annotated[float, Ge(0), Le(1e9)] = 0.0

    @property
    def factor(self) -> float:
        """What the trace is multiplied by; 1 for a constant link."""
        if self.mbps is not None:
            return 1.0
        return UPLINK_SCALE if self.scale is None else self.scale


@dataclass(frozen=True, kw_only=True, slots=True)
class Client:
    """One phone that wants `frame_rate_rps` answers a second, each within its SLO.

    The SLO, from a frame on the phone to its answer on the phone, is `slo_ms`, or `slo_factor` times
    what the phone needs to run the whole model itself (HiTDL). `rtt_ms` is the link's round trip.
    `energy_weight` goes from 0 (least latency) to 1 (least energy). The phone runs at least its first
    `min_cut` layers itself (so that no raw picture leaves it, say); a `fixed_cut` is kept whatever the link
    does.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    id: Name
    model: Name
    device: Device
    link: Link
    frame_rate_rps: PositiveRate
    rtt_ms: Ms = 0.0
    slo_ms: PositiveMs | None = None
    slo_factor: Annotated[float, Gt(0), Le(1e6)] | None = None
    energy_weight: Annotated[float, Ge(0), Le(1)] = 0.0
    min_cut: Annotated[int, Ge(0), Le(100_000)] = 0
    fixed_cut: Annotated[int, Ge(0), Le(100_000)] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Clients:
    """All phones, at the moment `at_s` of their links; `gpus`, where given, go into the workload."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    FORMAT: ClassVar[str] = "regraft.clients/v1"

    clients: Annotated[tuple[Client, ...], Len(1)]
    at_s: Annotated[float, Ge(0), Le(1e9)] = 0.0
    gpus: Annotated[tuple[Gpu, ...], Len(1)] | None = None


def contradictions(clients: Clients) -> Iterable[Complaint]:
    """What is wrong with the phones that no single field shows."""
    for position, client in enumerate(clients.clients):
        place = f"clients[{position}]"
        device, link = client.device, client.link
        yield from _one_of(f"{place}.device", device, ("slowdown", "latency_ms"))
        yield from _one_of(place, client, ("slo_ms", "slo_factor"))
        yield from _one_of(f"{place}.link", link, ("trace", "mbps", "synthetic"))
        if client.fixed_cut is not None and client.fixed_cut < client.min_cut:
            cure = f"at least min_cut, which is {client.min_cut}"
            yield Complaint(place=f"{place}.fixed_cut", problem=f"is {client.fixed_cut}", cure=cure)
        for field, owner in (("column", "trace"), ("where", "trace"), ("seed", "synthetic")):
            if getattr(link, field) is not None and getattr(link, owner) is None:
                yield Complaint(
                    place=f"{place}.link.{field}", problem=f"stands there without {owner}", cure="remove it"
                )
        if link.synthetic is not None and link.seed is None:
            yield Complaint(
                place=f"{place}.link.seed", problem="is required", cure="a synthetic link has a seed"
            )
        if link.mbps is not None and link.scale is not None:
            cure = "a constant link is not scaled; remove it"
            yield Complaint(place=f"{place}.link.scale", problem="stands there beside mbps", cure=cure)


def _one_of(place: str, item: object, fields: Sequence[str]) -> Iterable[Complaint]:
    given = [field for field in fields if getattr(item, field) is not None]
    if len(given) != 1:
        problem = f"has {' and '.join(given)}" if given else f"has none of {', '.join(fields)}"
        yield Complaint(place=place, problem=problem, cure=f"exactly one of {', '.join(fields)}")
