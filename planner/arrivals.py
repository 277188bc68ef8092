"""When requests arrive: paced, synchronised, Poisson, bursty, or as recorded.

All arrival times are in seconds from the start of a simulation, sorted, and before its end. Whatever the
kind, a fragment's requests come at its rate on average.

    paced         every client sends at equal distances; when it starts is drawn from the seed
    synchronised  every client sends at equal distances, and all of them start at the same instant
    poisson       requests come independently of each other
    bursty        gaps are gamma distributed, `burstiness` times as irregular as Poisson's
    recorded      a recorded series of arrivals, from a drawn place on, slowed or hurried to the rate
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

import numpy as np

from planner.errors import Complaint, InputError
from planner.traces import Floats, read_arrivals

Kind = Literal["paced", "synchronised", "poisson", "bursty", "recorded"]

# The kinds that need no file.
KINDS: tuple[str, ...] = tuple(kind for kind in get_args(Kind) if kind != "recorded")


@dataclass(frozen=True, kw_only=True, eq=False)
class Arrivals:
    """A kind of arrival process.

    `burstiness` is the standard deviation of a bursty fragment's gaps over their mean (Poisson has 1).
    `recorded` are at least two arrival times in seconds, the first 0 and the last the end of the record;
    `source` says where they are from.
    """

    kind: Kind
    burstiness: float = 3.0
    recorded: Floats | None = None
    source: str | None = None

    def times(self, *, rate_rps: float, count: int, seconds: float, random: np.random.Generator) -> Floats:
        """The arrivals of one fragment: `count` clients that send `rate_rps` requests a second each."""
        match self.kind:
            case "paced":
                phases = random.random(count)
                return _paced(rate_rps, phases, seconds)
            case "synchronised":
                return _paced(rate_rps, np.zeros(count), seconds)
            case "poisson":
                number = random.poisson(count * rate_rps * seconds)
                return np.sort(random.random(number) * seconds)
            case "bursty":
                return self._bursty(count * rate_rps, seconds, random)
            case "recorded":
                return self._replayed(count * rate_rps, seconds, random)

    def _bursty(self, rate_rps: float, seconds: float, random: np.random.Generator) -> Floats:
        """A renewal process with gamma gaps, looked at from a moment long after its start."""
        shape = self.burstiness**-2
        # Begun this many mean gaps before the simulation, so that its start is no arrival.
        ahead = 20 * self.burstiness**2
        parts: list[Floats] = []
        end = -ahead / rate_rps
        while end < seconds:
            wanted = max(64, math.ceil(1.2 * (seconds - end) * rate_rps))
            gaps = random.gamma(shape, 1.0 / (shape * rate_rps), wanted)
            parts.append(end + np.cumsum(gaps))
            end = float(parts[-1][-1])
        times: Floats = np.concatenate(parts)
        return times[(times >= 0) & (times < seconds)]

    def _replayed(self, rate_rps: float, seconds: float, random: np.random.Generator) -> Floats:
        recorded = self.recorded
        if recorded is None:
            raise ValueError("recorded arrivals need a record")
        # In units of mean gaps; the first arrival is the end of the round before, so a round has one less.
        scaled = recorded[1:] * ((len(recorded) - 1) / recorded[-1])
        whole = len(scaled)
        start = random.random() * whole
        rounds = math.ceil((start + seconds * rate_rps) / whole) + 1
        times: Floats = np.concatenate([scaled + number * whole for number in range(rounds)])
        times = (times - start) / rate_rps
        return times[(times >= 0) & (times < seconds)]


def arrivals_of(name: str) -> Arrivals:
    """Arrivals by the name of their kind, or else by the name of a file (see `planner.traces.read_arrivals`).

    Raises InputError for what is neither.
    """
    if name in KINDS:
        return Arrivals(kind=cast(Kind, name))
    if not Path(name).exists():
        cure = f"one of {', '.join(KINDS)}, or a file of arrival times"
        raise InputError("command line", [Complaint(place="arrivals", problem=f"is {name!r}", cure=cure)])
    return Arrivals(kind="recorded", recorded=read_arrivals(name), source=name)


def _paced(rate_rps: float, phases: Floats, seconds: float) -> Floats:
    """Equal distances for every client; `phases` are the fractions of a distance before its first request."""
    number = math.ceil(seconds * rate_rps)
    times = (np.arange(number)[:, None] + phases[None, :]).ravel() / rate_rps
    return np.sort(times[times < seconds])
