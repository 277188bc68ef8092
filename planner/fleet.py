"""An example fleet: phones of different speed, a link each, that would use the service.

Made up, and openly so: devices and rates are drawn from a seed. Links come from the trace files given, or
from the synthetic generator.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from planner.clients import UPLINK_SCALE, Client, Clients, Device, Link, SyntheticKind
from planner.errors import Complaint, InputError
from planner.partitioning import Choice, partition
from planner.profile import Profile
from planner.traces import Trace, read_trace, synthetic_trace
from planner.workload import Gpu

# A phone is drawn this often before one that fits less well is taken.
_DRAWS = 60


def example_clients(
    profiles: Sequence[Profile],
    traces: Sequence[Path] | None = None,
    *,
    count: int = 24,
    seed: int = 0,
    counts: Mapping[str, int] | None = None,
    frame_rates_rps: Mapping[str, float] | None = None,
    load: float = 0.05,
    slowdown: tuple[float, float] = (4.0, 10.0),
    slo_factor: float = 0.9,
    rtts_ms: Sequence[float] = (10.0, 20.0, 30.0, 40.0),
    scale: float = UPLINK_SCALE,
    headroom: float = 3.0,
    private: float = 0.6,
    gpus: Sequence[Gpu] | None = None,
) -> Clients:
    """`count` phones spread evenly over the profiles' models, or `counts` of each.

    - Each phone is between `slowdown` times slower than the profile at batch 1 and the largest share
      (drawn log-uniformly), and promises `slo_factor` times what it needs on its own.
    - Its link is one of `traces`, in turn, each phone at its own offset, times `scale`; without traces a
      synthetic one, walking or driving. Its round trip is one of `rtts_ms`, in turn.
    - A phone in `private` of all runs some of the first half of the layers itself, so that no raw picture
      leaves it (`min_cut`): where a model's layers do not shrink the tensor, nobody else would cut inside it.
    - Its frame rate is `frame_rates_rps[model]`; by default what keeps one GPU busy for the fraction `load`
      if the whole model ran there at batch 1.

    A phone is drawn anew until its cut leaves the server `headroom` times what the rest of its model takes (a
    plan needs at least 2), so the fleet mostly offloads; and, where there is a choice, until its cut is
    not the one that a third of its model's phones already have. The same arguments give the same fleet.
    """
    random = np.random.default_rng(seed)
    by_model: dict[str, list[Profile]] = {}
    for profile in profiles:
        by_model.setdefault(profile.model, []).append(profile)
    wanted = dict(counts) if counts is not None else _spread(count, list(by_model))
    _check(wanted, by_model)
    recorded = {str(Path(path).resolve()): read_trace(path) for path in traces or ()}
    found: list[Client] = []
    for model, number in wanted.items():
        rate = (frame_rates_rps or {}).get(model) or _frame_rate(by_model[model][0], load)
        taken: list[int] = []
        for position in range(number):
            fitting: list[tuple[tuple[bool, bool, float], Client, int]] = []
            for _ in range(_DRAWS):
                link, trace = _link(len(found), recorded, random, scale)
                client = Client(
                    id=f"{model}-{position}",
                    model=model,
                    device=_device(random, slowdown),
                    link=link,
                    frame_rate_rps=rate,
                    rtt_ms=float(rtts_ms[len(found) % len(rtts_ms)]),
                    slo_factor=slo_factor,
                    min_cut=_min_cut(random, private, by_model[model][0].depth),
                )
                choice = _choice(client, by_model[model], trace)
                spare = _spare(choice)
                common = 3 * taken.count(choice.cut) >= number
                fitting.append(((spare >= headroom, not common, min(spare, headroom)), client, choice.cut))
                if spare >= headroom and not common:
                    break
            _, client, cut = max(fitting, key=lambda item: item[0])
            found.append(client)
            taken.append(cut)
    return Clients(clients=tuple(found), gpus=tuple(gpus) if gpus else None)


def _spread(count: int, models: Sequence[str]) -> dict[str, int]:
    """As even as it goes, the first models getting what is left over."""
    each, left = divmod(count, len(models)) if models else (0, 0)
    return {model: each + (position < left) for position, model in enumerate(models)}


def _check(wanted: Mapping[str, int], by_model: Mapping[str, list[Profile]]) -> None:
    known = ", ".join(by_model) or "none"
    complaints = [
        Complaint(
            place="counts", problem=f"no profile of {model!r} was given", cure=f"profiles given: {known}"
        )
        for model in wanted
        if model not in by_model
    ]
    if not complaints and sum(wanted.values()) < 1:
        complaints.append(Complaint(place="count", problem="asks for no phone", cure="at least 1"))
    if complaints:
        raise InputError("settings", complaints)


def _frame_rate(profile: Profile, load: float) -> float:
    """The rate at which the whole model at batch 1 keeps a GPU busy for `load` of the time."""
    cells = [cell for layer in profile.latency_ms if (cell := layer[0][-1]) is not None]
    return float(f"{load * 1000.0 / max(sum(cells), 1e-3):.3g}")


def _device(random: np.random.Generator, slowdown: tuple[float, float]) -> Device:
    low, high = np.log(slowdown[0]), np.log(slowdown[1])
    factor = round(float(np.exp(random.uniform(low, high))), 2)
    return Device(name=f"phone, {factor:g} times slower", slowdown=factor)


def _min_cut(random: np.random.Generator, private: float, depth: int) -> int:
    keeps, cut = random.random() < private, int(random.integers(1, max(2, depth // 2 + 1)))
    return min(cut, depth) if keeps else 0


def _link(
    number: int, recorded: Mapping[str, Trace], random: np.random.Generator, scale: float
) -> tuple[Link, Trace]:
    """The next link in turn, at a drawn offset (recorded) or of a drawn seed (synthetic)."""
    if recorded:
        name = list(recorded)[number % len(recorded)]
        trace = recorded[name]
        offset = float(random.integers(max(1, int(trace.duration_s))))
        return Link(trace=name, scale=scale, offset_s=offset), trace
    kind: SyntheticKind = "driving" if number % 2 else "walking"
    seed = int(random.integers(2**31))
    return Link(synthetic=kind, seed=seed, scale=scale), synthetic_trace(seed, kind=kind)


def _choice(client: Client, profiles: Sequence[Profile], trace: Trace) -> Choice:
    return partition(Clients(clients=(client,)), profiles, links={client.id: trace}).choices[0]


def _spare(choice: Choice) -> float:
    """How many times the server's part fits into its budget; 0 for a client that leaves it none."""
    if choice.budget_ms is None or not choice.server_ms:
        return 0.0
    return choice.budget_ms / choice.server_ms
