"""Bandwidth over time and arrival times: read from recorded files, or made by an openly synthetic generator.

Nothing is guessed: a row that cannot be true (empty, not a number, negative, out of order) is refused with
its number, counted from 1 as an editor counts lines. A bandwidth of zero is an outage, and legal.

The recorded cellular traces are mostly *downlink*, and a phone that offloads uploads: they are taken as
the shape of a link over time, scaled openly (`planner.clients.UPLINK_SCALE`) and never called measured
uplinks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from planner.clients import Clients, Link, SyntheticKind
from planner.errors import Complaint, InputError
from planner.rows import Rows, lines_of, records

Floats = NDArray[np.float64]

SYNTHETIC_KINDS: tuple[str, ...] = get_args(SyntheticKind)

# How long a client's synthetic link lasts before it starts again.
SYNTHETIC_SECONDS = 600


@dataclass(frozen=True, kw_only=True, eq=False)
class Trace:
    """A link's bandwidth over time: `mbps[i]` holds from `seconds[i]` until the next sample.

    Both arrays have one length of at least 1; `seconds` starts at 0 and rises strictly. The last sample
    holds as long as the one before it, and then the trace starts again. `source` says where it is from.
    """

    seconds: Floats
    mbps: Floats
    source: str

    @property
    def duration_s(self) -> float:
        """How long the trace lasts before it starts again; infinite for a constant link."""
        if len(self.seconds) == 1:
            return math.inf
        return float(2 * self.seconds[-1] - self.seconds[-2])

    def mbps_at(self, at_s: float) -> float:
        """The bandwidth at this moment, in Mbps as the trace has them (unscaled); at_s ≥ 0."""
        within = at_s % self.duration_s if math.isfinite(self.duration_s) else 0.0
        return float(self.mbps[max(0, int(np.searchsorted(self.seconds, within, side="right")) - 1)])


def read_links(clients: Clients, directory: str | Path = ".") -> dict[str, Trace]:
    """Every client's link by the client's id, each trace file read once; scale and offset not yet applied.

    Relative names of trace files are meant from `directory`. Raises InputError for a bad trace.
    """
    read: dict[str, Trace] = {}
    links: dict[str, Trace] = {}
    for client in clients.clients:
        name = repr(replace(client.link, scale=None, offset_s=0.0))
        if name not in read:
            read[name] = _link_trace(client.link, Path(directory))
        links[client.id] = read[name]
    return links


def constant_trace(mbps: float) -> Trace:
    """A link that never changes."""
    return Trace(seconds=np.zeros(1), mbps=np.array([float(mbps)]), source=f"constant {mbps:g} Mbps")


def read_trace(
    path: str | Path, *, column: str | None = None, where: Mapping[str, str] | None = None
) -> Trace:
    """Read a bandwidth trace: `seconds Mbps` a row without header (Lumos5G), or CSV (see `read_5gophers`).

    A file whose first line has a comma, and every file for which `column` or `where` is given, is taken as
    CSV. Columns of the plain form are parted by tabs or spaces. Raises InputError naming each wrong row.
    """
    lines = lines_of(path)
    if column is not None or where or "," in lines[0]:
        return read_5gophers(path, column=column or "throughput_mbps", where=where)
    rows = Rows(path)
    seconds, mbps = [], []
    for number, line in enumerate(lines, start=1):
        fields = line.split()
        if len(fields) != 2:
            problem = "is empty" if not fields else f"has {len(fields)} columns"
            rows.refuse(number, problem, "expected two: seconds and Mbps")
            continue
        at, rate = rows.number(number, "seconds", fields[0]), _mbps(rows, number, "Mbps", fields[1])
        if at is not None and rate is not None and rows.rises(number, "seconds", at):
            seconds.append(at)
            mbps.append(rate)
    rows.finish()
    return _trace(seconds, mbps, str(path))


def read_5gophers(
    path: str | Path, *, column: str = "throughput_mbps", where: Mapping[str, str] | None = None
) -> Trace:
    """Read one bandwidth column of a 5Gophers CSV file, with `seq_num` as seconds.

    `where` keeps the rows whose columns have these values: `throughput.csv` holds many runs one after the
    other, and only one of them is a trace. Raises InputError for a column that is not there, and for every
    kept row that cannot be true.
    """
    rows = Rows(path)
    seconds, mbps = [], []
    for number, fields in records(path, rows, ("seq_num", column), where):
        at = rows.number(number, "seq_num", fields["seq_num"])
        rate = _mbps(rows, number, column, fields[column])
        cure = "" if where else "if the file holds several runs, keep one of them with `where`"
        if at is not None and rate is not None and rows.rises(number, "seq_num", at, cure=cure):
            seconds.append(at)
            mbps.append(rate)
    rows.finish()
    return _trace(seconds, mbps, f"{path}, {column}")


def read_rtts(path: str | Path, *, where: Mapping[str, str] | None = None) -> Floats:
    """Read the round-trip times (ms) of a 5Gophers `rtt.csv`: all, or the rows that `where` keeps."""
    rows = Rows(path)
    found = [
        rows.number(number, "rtt_ms", fields["rtt_ms"])
        for number, fields in records(path, rows, ("rtt_ms",), where)
    ]
    rows.finish()
    return np.array(found, dtype=np.float64)


def read_arrivals(path: str | Path) -> Floats:
    """Read recorded arrival times, in seconds from the first one.

    Either a CSV file with a TIMESTAMP column (`2023-11-16 18:17:03.9799600,…`, as the Azure inference
    traces have), or one number of seconds a row without header. Two at the same instant are legal; one
    before its predecessor is not. Raises InputError naming each wrong row, and for fewer than two rows.
    """
    lines = lines_of(path)
    rows = Rows(path)
    found: list[float] = []
    if "TIMESTAMP" in lines[0]:
        for number, fields in records(path, rows, ("TIMESTAMP",), None):
            at = rows.timestamp(number, fields["TIMESTAMP"])
            if at is not None and rows.rises(number, "TIMESTAMP", at, strictly=False):
                found.append(at)
    else:
        for number, line in enumerate(lines, start=1):
            at = rows.number(number, "seconds", line.strip())
            if at is not None and rows.rises(number, "seconds", at, strictly=False):
                found.append(at)
    rows.finish()
    if len(found) < 2 or found[-1] == found[0]:
        complaint = Complaint(
            place="file", problem="spans no time", cure="give at least two different arrival times"
        )
        raise InputError(str(path), [complaint])
    return np.array(found, dtype=np.float64) - found[0]


def synthetic_trace(seed: int, seconds: int = SYNTHETIC_SECONDS, kind: SyntheticKind = "walking") -> Trace:
    """A *synthetic* link, one sample a second: nobody measured it, and its source says so.

    Our reconstruction of what a moving phone sees: a Markov chain over good, fair, poor and no coverage; in
    each state the bandwidth is log-normal around the state's median, with a correlation from one second to
    the next. The medians are of the size of the recorded 5G *downlink* traces, so that one scale serves both.
    The same seed, length and kind give the same trace.
    """
    model = _LINK_MODELS[kind]
    random = np.random.default_rng([seed, SYNTHETIC_KINDS.index(kind)])
    state = int(random.choice(len(model.medians_mbps), p=_stationary(model)))
    leaves, upward = random.random(seconds).tolist(), (random.random(seconds) < 0.5).tolist()
    noise = random.normal(size=seconds).tolist()
    keep, fresh = model.correlation, math.sqrt(1 - model.correlation**2)
    level, last, rates = noise[0], len(model.medians_mbps) - 1, []
    for second in range(seconds):
        if leaves[second] * model.dwell_s[state] < 1.0:
            up = state == 0 or (state < last and upward[second])
            state += 1 if up else -1
        level = keep * level + fresh * noise[second]
        rates.append(model.medians_mbps[state] * math.exp(model.sigma * level))
    return Trace(
        seconds=np.arange(seconds, dtype=np.float64),
        mbps=np.round(np.array(rates), 3),
        source=f"synthetic {kind}, seed {seed}",
    )


def _mbps(rows: Rows, row: int, name: str, text: str) -> float | None:
    return rows.number(row, name, text, empty="expected a number; an outage is 0")


def _link_trace(link: Link, directory: Path) -> Trace:
    if link.trace is not None:
        return read_trace(directory / link.trace, column=link.column, where=link.where)
    if link.synthetic is not None:
        return synthetic_trace(link.seed or 0, SYNTHETIC_SECONDS, link.synthetic)
    return constant_trace(link.mbps or 0.0)


@dataclass(frozen=True, kw_only=True)
class _LinkModel:
    """Good, fair, poor, none: the median of each state, its mean stay, and how the rate wavers inside one."""

    medians_mbps: tuple[float, ...]
    dwell_s: tuple[float, ...]
    sigma: float
    correlation: float


_LINK_MODELS = {
    "walking": _LinkModel(
        medians_mbps=(600.0, 250.0, 80.0, 0.0), dwell_s=(25.0, 20.0, 12.0, 2.0), sigma=0.35, correlation=0.85
    ),
    "driving": _LinkModel(
        medians_mbps=(500.0, 150.0, 50.0, 0.0), dwell_s=(6.0, 12.0, 6.0, 1.5), sigma=0.5, correlation=0.6
    ),
    "static": _LinkModel(medians_mbps=(450.0, 300.0), dwell_s=(60.0, 20.0), sigma=0.15, correlation=0.9),
}


def _stationary(model: _LinkModel) -> Floats:
    """How much of the time a chain that moves to either neighbour with equal chance spends in each state."""
    last = len(model.dwell_s) - 1
    visits = np.array([1.0 if state in (0, last) else 2.0 for state in range(last + 1)])
    time = visits * np.array(model.dwell_s)
    part: Floats = time / time.sum()
    return part


def _trace(seconds: list[float], mbps: list[float], source: str) -> Trace:
    start = np.array(seconds, dtype=np.float64)
    return Trace(seconds=start - start[0], mbps=np.array(mbps, dtype=np.float64), source=source)
