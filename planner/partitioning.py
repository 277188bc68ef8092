"""Phones become fragments: where each cuts its model, and what that leaves to the server.

A client whose model has L layers chooses a cut k in min_cut … L: the phone runs layers [0, k), sends the
tensor at cut k, and the server runs [k, L). With Neurosurgeon's rule (ASPLOS 2017) it takes the cut of
least end-to-end latency

    latency(k) = device(k) + upload(k) + server(k)     k < L        latency(L) = device(L)
    device(k)  = Σ of the phone's latencies of layers 0 … k−1
    upload(k)  = rtt + 8 · cut_bytes[k] / bandwidth    the whole round trip: half there, half for the answer
    server(k)  = the least exec_ms of [k, L) (law 1) in any profile of the model, which is that of batch 1
                 and the largest share; a cut whose layers were nowhere measured together is no candidate

and what remains of its SLO is the fragment's budget (HiTDL's published code)

    budget(k)  = SLO − device(k) − upload(k)           the answer's own bytes are ignored
    rate       = min(frame rate, 1 / (upload without its round trip))

Of cuts with equal latency the last is taken: it leaves the server least. A client with an energy weight w
minimises (1 − w) · latency / latency(L) + w · energy / energy(L) instead, over the cuts within its SLO;
energy(k) = compute_w · device(k) + transmit_w · 8 · cut_bytes[k] / bandwidth (our reconstruction).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from planner.clients import Client, Clients
from planner.errors import Complaint, InfeasibleError, InputError
from planner.formats import MAX_COMPLAINTS
from planner.plan import Unplanned
from planner.profile import Profile
from planner.traces import Floats, Trace, read_links
from planner.workload import Fragment, Gpu, Workload

Status = Literal["offloaded", "local", "unservable"]

# Below a bit a second a link is down; it also keeps the arithmetic finite.
_OUTAGE_MBPS = 1e-6


@dataclass(frozen=True, kw_only=True, slots=True)
class Alternative:
    """One cut a client may take; times in ms, None where the cut is impossible (outage, not measured)."""

    cut: int
    device_ms: float
    upload_ms: float | None
    server_ms: float | None
    latency_ms: float | None
    energy_mj: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """What one client does at one moment.

    `status` is `offloaded` (its fragment is in the workload), `local` (the phone runs all of it in time) or
    `unservable` (no cut it may take meets its SLO even on an idle server; `reason` says so and
    `least_latency_ms` what it would need). `mbps` is the bandwidth after `scale`. For an offloaded client
    budget_ms = slo_ms − device_ms − upload_ms; upload_ms contains the whole rtt_ms.
    """

    client: str
    model: str
    status: Status
    reason: str | None
    cut: int
    slo_ms: float
    device_ms: float
    upload_ms: float | None
    server_ms: float | None
    latency_ms: float | None
    budget_ms: float | None
    rate_rps: float | None
    energy_mj: float | None
    least_latency_ms: float
    mbps: float
    scale: float
    link: str
    rtt_ms: float
    alternatives: tuple[Alternative, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Partition:
    """What every client does at one moment of its link, in the order of the clients."""

    at_s: float
    choices: tuple[Choice, ...]
    gpus: tuple[Gpu, ...] | None = None

    def fragments(self) -> tuple[Fragment, ...]:
        """What the offloading clients leave to the server, one fragment a client, under the client's id."""
        found = []
        for choice in self.choices:
            if choice.status == "offloaded" and choice.budget_ms is not None and choice.rate_rps is not None:
                fragment = Fragment(
                    id=choice.client,
                    model=choice.model,
                    start=choice.cut,
                    budget_ms=choice.budget_ms,
                    rate_rps=choice.rate_rps,
                )
                found.append(fragment)
        return tuple(found)

    def workload(self) -> Workload:
        """The fragments as a workload; raises InfeasibleError where no client leaves anything to it."""
        fragments = self.fragments()
        if not fragments:
            reasons = [
                Unplanned(
                    fragment=choice.client,
                    reason=choice.reason or choice.status,
                    detail={"slo_ms": choice.slo_ms, "least_latency_ms": choice.least_latency_ms},
                )
                for choice in self.choices
            ]
            alone = self.count("local")
            problem = (
                "no cut keeps the promises of"
                if alone == 0
                else "there is nothing to plan: the whole model is fastest on the phone for"
                if alone == len(reasons)
                else f"there is nothing to plan: {alone} need no server, no cut serves the others of"
            )
            raise InfeasibleError(reasons, problem)
        return Workload(fragments=fragments, gpus=self.gpus)

    def count(self, status: Status) -> int:
        return sum(choice.status == status for choice in self.choices)

    def to_json(self) -> dict[str, Any]:
        """`regraft.partition/v1`: every choice with its alternatives."""
        return {
            "format": "regraft.partition/v1",
            "at_s": self.at_s,
            **{status: self.count(status) for status in ("offloaded", "local", "unservable")},
            "clients": [asdict(choice) for choice in self.choices],
        }


def partition(
    clients: Clients,
    profiles: Sequence[Profile],
    *,
    at_s: float | None = None,
    links: Mapping[str, Trace] | None = None,
    fixed_cuts: Mapping[str, int] | None = None,
) -> Partition:
    """Every client's cut at the moment `at_s` of its link (default: the clients' own).

    `links` are the traces by client id (default: read from where the clients say, see
    `planner.traces.read_links`). `fixed_cuts` gives models a cut that all their clients keep, above a
    client's own `fixed_cut`. Raises InputError where clients and profiles do not fit together.
    """
    moment = clients.at_s if at_s is None else at_s
    if not (math.isfinite(moment) and moment >= 0):
        complaint = Complaint(place="at_s", problem=f"is {moment}", cure="a moment of the links, 0 or later")
        raise InputError("settings", [complaint])
    models = _models(clients, profiles, fixed_cuts or {})
    traces = read_links(clients) if links is None else links
    choices = []
    for client in clients.clients:
        model = models[client.model]
        mbps = traces[client.id].mbps_at(moment + client.link.offset_s) * client.link.factor
        fixed = (fixed_cuts or {}).get(client.model, client.fixed_cut)
        choices.append(_choose(client, model, mbps, fixed, traces[client.id].source))
    return Partition(at_s=moment, choices=tuple(choices), gpus=clients.gpus)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Model:
    """What partitioning needs of a model: arrays over its L layers or its L+1 cut points."""

    name: str
    depth: int
    cut_bytes: Floats  # [L+1]
    layer_ms: Floats  # [L] one sample, the largest share measured; nan where there is none
    server_ms: Floats  # [L+1]; 0 at L, inf where nothing was measured


def _choose(client: Client, model: _Model, mbps: float, fixed: int | None, source: str) -> Choice:
    """The cut of least latency (or least weighted sum) and what follows from it."""
    depth = model.depth
    if client.device.latency_ms is not None:
        layers = np.array(client.device.latency_ms)
    else:
        layers = model.layer_ms * (client.device.slowdown or 1.0)
    device = np.array([math.fsum(layers[:cut]) for cut in range(depth + 1)])
    # In an outage not even an empty message gets through.
    down = mbps < _OUTAGE_MBPS
    transfer = np.full(depth + 1, math.inf) if down else model.cut_bytes * 8.0 / (mbps * 1000.0)
    upload = transfer + client.rtt_ms
    transfer[depth] = upload[depth] = 0.0
    latency = device + upload + model.server_ms
    energy = client.device.compute_w * device + client.device.transmit_w * transfer
    slo = client.slo_ms if client.slo_ms is not None else (client.slo_factor or 1.0) * float(device[depth])
    allowed = np.arange(depth + 1) >= client.min_cut
    cut = fixed if fixed is not None else _best(np.where(allowed, latency, math.inf), energy, slo, client)
    budget = slo - float(device[cut]) - float(upload[cut])
    status: Status = "local" if cut == depth else "offloaded"
    reason = None
    if not latency[cut] <= slo or (cut < depth and budget <= 0):
        status = "unservable"
        reason = "link_down" if down else "slo_too_small"
    offloaded = status == "offloaded"
    rate = client.frame_rate_rps
    if transfer[cut] > 0 and math.isfinite(transfer[cut]):
        rate = min(rate, 1000.0 / float(transfer[cut]))
    return Choice(
        client=client.id,
        model=client.model,
        status=status,
        reason=reason,
        cut=cut,
        slo_ms=slo,
        device_ms=float(device[cut]),
        upload_ms=_known(upload[cut]),
        server_ms=_known(model.server_ms[cut]),
        latency_ms=_known(latency[cut]),
        budget_ms=budget if offloaded else None,
        rate_rps=rate if offloaded else None,
        energy_mj=_known(energy[cut]),
        least_latency_ms=float(latency[allowed].min()),
        mbps=mbps,
        scale=client.link.factor,
        link=source,
        rtt_ms=client.rtt_ms,
        alternatives=tuple(
            Alternative(
                cut=other,
                device_ms=float(device[other]),
                upload_ms=_known(upload[other]),
                server_ms=_known(model.server_ms[other]),
                latency_ms=_known(latency[other]),
                energy_mj=_known(energy[other]),
            )
            for other in range(client.min_cut, depth + 1)
        ),
    )


def _best(latency: Floats, energy: Floats, slo_ms: float, client: Client) -> int:
    """The cut with the least score; the last of equals. A cut that may not be taken has endless latency."""
    score, weight = latency, client.energy_weight
    in_time = latency <= slo_ms
    if weight > 0 and in_time.any():
        # Normalised by the phone on its own. A phone that takes no time or no energy has nothing to save.
        mobile_ms, mobile_mj = latency[-1] or 1.0, energy[-1] or 1.0
        score = np.full(len(latency), math.inf)
        score[in_time] = (1 - weight) * latency[in_time] / mobile_ms + weight * energy[in_time] / mobile_mj
    return int(len(score) - 1 - np.argmin(score[::-1]))


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _models(
    clients: Clients, profiles: Sequence[Profile], fixed_cuts: Mapping[str, int]
) -> dict[str, _Model]:
    """Every model the clients run, checked against what the clients say of it."""
    groups: dict[str, list[Profile]] = {}
    for profile in profiles:
        groups.setdefault(profile.model, []).append(profile)
    models: dict[str, _Model] = {}
    complaints: list[Complaint] = []
    for position, client in enumerate(clients.clients):
        place = f"clients[{position}]"
        if client.model not in groups:
            problem = f"no profile of {client.model!r} was given"
            cure = f"profiles given: {', '.join(sorted(groups)) or 'none'}"
            complaints.append(Complaint(place=f"{place}.model", problem=problem, cure=cure))
            continue
        if client.model not in models:
            models[client.model] = _model(groups[client.model])
        model = models[client.model]
        complaints.extend(_misfits(place, client, model))
    for name, cut in fixed_cuts.items():
        if name in models and not 0 <= cut <= models[name].depth:
            problem, cure = f"is {cut} for {name}", f"0 to {models[name].depth}"
            complaints.append(Complaint(place="fixed_cuts", problem=problem, cure=cure))
    if complaints:
        raise InputError("clients and profiles", complaints[:MAX_COMPLAINTS])
    return models


def _misfits(place: str, client: Client, model: _Model) -> list[Complaint]:
    complaints = []
    given = client.device.latency_ms
    if given is not None and len(given) != model.depth:
        problem, cure = f"has {len(given)} entries", f"expected one for each of the {model.depth} layers"
        complaints.append(Complaint(place=f"{place}.device.latency_ms", problem=problem, cure=cure))
    if given is None and np.isnan(model.layer_ms).any():
        layer = int(np.flatnonzero(np.isnan(model.layer_ms))[0])
        problem = f"scales the profile's latency at batch 1, but layer {layer} has none"
        cure = "give the device's own latency_ms, or a profile with batch 1"
        complaints.append(Complaint(place=f"{place}.device.slowdown", problem=problem, cure=cure))
    for field, cut in (("min_cut", client.min_cut), ("fixed_cut", client.fixed_cut)):
        if cut is not None and cut > model.depth:
            problem = f"is {cut}, but {model.name} has {model.depth} layers"
            complaints.append(
                Complaint(place=f"{place}.{field}", problem=problem, cure=f"0 to {model.depth}")
            )
    return complaints


def _model(profiles: Sequence[Profile]) -> _Model:
    """One model's profiles, one a GPU type, put together; the first is what a slowdown is relative to."""
    first = profiles[0]
    for profile in profiles[1:]:
        if profile.layers != first.layers:
            problem = f"{first.gpu} and {profile.gpu} name different layers"
            complaint = Complaint(
                place=f"profiles of {first.model}", problem=problem, cure="measure the same model"
            )
            raise InputError("profiles", [complaint])
    sizes = next((profile.cut_bytes for profile in profiles if profile.cut_bytes is not None), None)
    if sizes is None:
        complaint = Complaint(
            place=f"profile of {first.model}",
            problem="has no cut_bytes",
            cure="partitioning needs what a cut sends",
        )
        raise InputError("profiles", [complaint])
    return _Model(
        name=first.model,
        depth=first.depth,
        cut_bytes=np.array(sizes, dtype=np.float64),
        layer_ms=_layer_ms(first),
        server_ms=np.min([_server_ms(profile) for profile in profiles], axis=0),
    )


def _layer_ms(profile: Profile) -> Floats:
    """Each layer's latency at batch 1 and the largest share measured for it; nan where there is none."""
    found = np.full(profile.depth, math.nan)
    if 1 not in profile.batches:
        return found
    batch = profile.batches.index(1)
    order = sorted(range(len(profile.shares)), key=lambda share: -profile.shares[share])
    for layer in range(profile.depth):
        cells = profile.latency_ms[layer][batch]
        found[layer] = next((cells[share] for share in order if cells[share] is not None), math.nan)
    return found


def _server_ms(profile: Profile) -> Floats:
    """The least exec_ms measured of [k, L) for every k, one request alone on an idle server."""
    latency = np.array(profile.latency_ms, dtype=np.float64)  # [L, batches, shares], None → nan
    sums = np.cumsum(latency[::-1], axis=0)[::-1].reshape(profile.depth, -1)
    least = np.where(np.isnan(sums), math.inf, sums).min(axis=1) + profile.stage_overhead_ms
    return np.append(least, 0.0)
