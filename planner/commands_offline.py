"""`regraft partition` and `simulate`: before a plan and after it, from files alone."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Column, Table

from planner import formats
from planner.arrivals import KINDS, Arrivals, arrivals_of
from planner.clients import Clients
from planner.errors import Complaint, InputError
from planner.partitioning import Partition
from planner.partitioning import partition as partition_clients
from planner.plan import Plan
from planner.simulation import simulate as simulate_plan
from planner.simulation_queue import SimulationSettings
from planner.simulation_results import SimulationSummary
from planner.terminal import console, exit_codes, notes
from planner.traces import read_links
from planner.workload import Workload

# A series is a file a moment; more than this is a mistake in the options.
_MOST_MOMENTS = 100_000

ProfileFiles = Annotated[
    list[Path], typer.Option("--profile", help="A profile (regraft.profile/v1); repeat it, once a file.")
]


def partition(
    clients: Annotated[Path, typer.Argument(help="The phones (regraft.clients/v1); - is standard input.")],
    profile: ProfileFiles,
    output: Annotated[
        Path | None, typer.Option(help="Where the workload goes (regraft.workload/v1); - is standard output.")
    ] = None,
    at: Annotated[
        float | None, typer.Option(help="Second of the links to look at (default: the file's at_s).")
    ] = None,
    series: Annotated[
        Path | None,
        typer.Option(help="Instead of --output: a folder for one workload a moment, workload-SECOND.json."),
    ] = None,
    every: Annotated[float, typer.Option(help="Seconds between the moments of a series.")] = 10.0,
    until: Annotated[float | None, typer.Option(help="Last moment of a series, in seconds.")] = None,
    report: Annotated[
        Path | None, typer.Option(help="Where to write each client's cut, times and alternatives, as JSON.")
    ] = None,
    traces: Annotated[
        Path | None,
        typer.Option(help="Folder that relative trace names are meant from (default: that of CLIENTS)."),
    ] = None,
    fixed_cut: Annotated[
        list[str] | None,
        typer.Option(
            help="K or MODEL=K: all clients (of the model) cut at K, whatever their link does. Repeatable."
        ),
    ] = None,
) -> None:
    """Let every phone choose where to cut its model, and write what that leaves to the server as a workload.

    A phone takes the cut of least end-to-end latency (Neurosurgeon); what remains of its SLO is its
    fragment's budget. Phones that run everything themselves, and those no cut can serve in time, are not in
    the workload: they are counted on standard error, and the report has their reasons. Exit code 3, with the
    reasons as JSON on standard output, when no phone leaves anything to the server.

    \b
    regraft partition clients.json --profile resnet18.json --output workload.json
    regraft partition clients.json --profile resnet18.json --series moments --every 10 --until 300
    """
    with exit_codes():
        _check_target(output, series, until)
        phones = formats.read(Clients, clients)
        profiles = formats.read_profiles(profile)
        base = traces if traces is not None else (Path() if str(clients) == "-" else clients.parent)
        links = read_links(phones, base)
        start = phones.at_s if at is None else at
        moments = [start] if series is None else _moments(start, every, until)
        fixed = _fixed_cuts(fixed_cut or [], phones)
        found = [
            partition_clients(phones, profiles, at_s=moment, links=links, fixed_cuts=fixed)
            for moment in moments
        ]
        if series is not None:
            written = _write_series(found, series)
        elif output is not None:
            formats.write(found[0].workload(), output)
        if report is not None:
            formats.write_bytes(_report(found, in_series=series is not None), report)
    if series is not None:
        notes.print(f"{written} workloads in {series}", markup=False)
    notes.print(_summary(found, in_series=series is not None))
    _say_where_links_come_from(phones)


def simulate(
    plan: Annotated[Path, typer.Argument(help="The plan (regraft.plan/v1); - is standard input.")],
    workload: Annotated[Path, typer.Option("--workload", help="The workload the plan was made for.")],
    profile: ProfileFiles,
    arrivals: Annotated[
        str,
        typer.Option(help=f"{', '.join(KINDS)}, or a file of recorded arrival times (see docs/queueing.md)."),
    ] = "paced",
    seconds: Annotated[float, typer.Option(help="Seconds of arrivals in each run.")] = 60.0,
    seeds: Annotated[
        int, typer.Option(help="How many runs, with seeds 0, 1, …; intervals need at least 2.")
    ] = 5,
    burstiness: Annotated[
        float, typer.Option(help="For bursty: standard deviation over mean of the gaps. Poisson has 1.")
    ] = Arrivals.burstiness,
    network_ms: Annotated[float, typer.Option(help="From a request's arrival to its first queue.")] = 0.0,
    copy_ms: Annotated[float, typer.Option(help="From a stage's answer to the next stage's queue.")] = 0.0,
    exec_cv: Annotated[
        float, typer.Option(help="How much execution times waver: standard deviation over mean.")
    ] = 0.0,
    output: Annotated[
        Path | None, typer.Option(help="Where the result goes, as JSON; - is standard output.")
    ] = None,
) -> None:
    """Replay a plan with requests as they come, and report how often its promises are kept.

    A request is on time when it is answered within its fragment's budget; one that a worker drops because it
    can no longer be on time is not. The table shows means over all runs, the result also their 95 %
    confidence intervals, percentiles, waits, and the stages.

    \b
    regraft simulate plan.json --workload workload.json --profile resnet18.json --arrivals poisson
    """
    with exit_codes():
        replayed = formats.read(Plan, plan)
        demand = formats.read(Workload, workload)
        profiles = formats.read_profiles(profile)
        process = replace(arrivals_of(arrivals), burstiness=burstiness)
        _check_runs(seeds, burstiness)
        settings = SimulationSettings(network_ms=network_ms, copy_ms=copy_ms, exec_cv=exec_cv)
        results = []
        with notes.status("simulating …") as status:
            for seed in range(seeds):
                status.update(f"simulating, run {seed + 1} of {seeds}")
                results.append(
                    simulate_plan(
                        replayed,
                        demand,
                        profiles,
                        arrivals=process,
                        seconds=seconds,
                        seed=seed,
                        settings=settings,
                    )
                )
        summary = SimulationSummary(results=tuple(results))
        found = {**summary.to_json(), "source": process.source, "settings": asdict(settings)}
        if output is not None:
            formats.write_bytes((json.dumps(found, indent=1, allow_nan=False) + "\n").encode(), output)
    for table in _tables(found):
        console(stderr=str(output) == "-").print(table)


def _check_target(output: Path | None, series: Path | None, until: float | None) -> None:
    if (output is None) == (series is None):
        problem = "both were given" if output is not None else "neither was given"
        complaint = Complaint(place="--output, --series", problem=problem, cure="give one of them")
        raise InputError("command line", [complaint])
    if (series is None) != (until is None):
        complaint = Complaint(
            place="--until", problem="belongs to --series", cure="give both or none of them"
        )
        raise InputError("command line", [complaint])


def _moments(start: float, every: float, until: float | None) -> list[float]:
    end = start if until is None else until
    complaints = []
    if not (math.isfinite(every) and every > 0):
        complaints.append(Complaint(place="--every", problem=f"is {every:g}", cure="seconds, above 0"))
    if not (math.isfinite(end) and end >= start):
        complaints.append(
            Complaint(place="--until", problem=f"is {end:g}", cure=f"at least {start:g}, the start")
        )
    if not complaints and (end - start) / every > _MOST_MOMENTS:
        problem = f"makes more than {_MOST_MOMENTS} moments"
        complaints.append(Complaint(place="--every", problem=problem, cure="look less often"))
    if complaints:
        raise InputError("command line", complaints)
    return [start + step * every for step in range(math.floor((end - start) / every + 1e-9) + 1)]


def _fixed_cuts(options: Sequence[str], phones: Clients) -> dict[str, int]:
    """`K` for every model the phones run, `MODEL=K` for one; the later option wins."""
    models = sorted({client.model for client in phones.clients})
    cuts: dict[str, int] = {}
    for option in options:
        model, equals, number = option.rpartition("=")
        if not number.isdecimal() or (equals and model not in models):
            cure = f"expected K or MODEL=K, with a MODEL of {', '.join(models)}"
            raise InputError(
                "command line", [Complaint(place="--fixed-cut", problem=f"is {option!r}", cure=cure)]
            )
        cuts.update(dict.fromkeys([model] if equals else models, int(number)))
    return cuts


def _write_series(found: Sequence[Partition], folder: Path) -> int:
    """One workload a moment at which somebody offloads; the number of files written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        problem = f"cannot be made: {error.strerror}"
        raise InputError(
            str(folder), [Complaint(place="folder", problem=problem, cure="give a writable path")]
        ) from None
    busy = [moment for moment in found if moment.count("offloaded")]
    if not busy:
        found[0].workload()  # raises, with the reasons
    digits = len(f"{found[-1].at_s:.0f}")
    for moment in busy:
        whole, _, fraction = f"{moment.at_s:.3f}".rstrip("0").rstrip(".").partition(".")
        name = whole.zfill(digits) + (f".{fraction}" if fraction else "")
        formats.write(moment.workload(), folder / f"workload-{name}.json")
    return len(busy)


def _report(found: Sequence[Partition], *, in_series: bool) -> bytes:
    document = (
        {"format": "regraft.partition-series/v1", "moments": [moment.to_json() for moment in found]}
        if in_series
        else found[0].to_json()
    )
    return (json.dumps(document, indent=1, allow_nan=False) + "\n").encode()


def _summary(found: Sequence[Partition], *, in_series: bool) -> Table:
    """How many offload, run alone or cannot be served: by model, or by moment in a series."""
    table = Table("at" if in_series else "model", "offloaded", "local", "unservable", "cuts (phones)")
    for moment in found:
        models = sorted({choice.model for choice in moment.choices})
        for title, members in (
            [(f"{moment.at_s:g} s", set(models))] if in_series else [(model, {model}) for model in models]
        ):
            chosen = [choice for choice in moment.choices if choice.model in members]
            counts = Counter(choice.status for choice in chosen)
            cuts = sorted(Counter(choice.cut for choice in chosen if choice.status == "offloaded").items())
            table.add_row(
                title,
                *(str(counts[status]) for status in ("offloaded", "local", "unservable")),
                ", ".join(f"{cut} ({number})" for cut, number in cuts),
            )
    return table


def _say_where_links_come_from(phones: Clients) -> None:
    kinds: Counter[str] = Counter()
    for client in phones.clients:
        link = client.link
        kind = (
            "recorded"
            if link.trace is not None
            else "synthetic"
            if link.synthetic is not None
            else "constant"
        )
        kinds[kind if kind == "constant" else f"{kind} (times {link.factor:g})"] += 1
    told = ", ".join(f"{number} {kind}" for kind, number in kinds.items())
    notes.print(f"links: {told}; recorded traces are scaled as if they were downlinks", markup=False)


def _check_runs(seeds: int, burstiness: float) -> None:
    complaints = []
    if not 1 <= seeds <= 10_000:
        complaints.append(Complaint(place="--seeds", problem=f"is {seeds}", cure="1 to 10000"))
    if not 0.1 <= burstiness <= 20:
        complaints.append(Complaint(place="--burstiness", problem=f"is {burstiness:g}", cure="0.1 to 20"))
    if complaints:
        raise InputError("command line", complaints)


def _tables(found: Mapping[str, Any]) -> list[Table]:
    """A simulation (as `SimulationSummary.to_json` has it) for people: all requests, fragments, stages."""
    overall = Table("arrivals", "requests", "on time", "95 % interval", "worst fragment")
    on_time = found["on_time"]
    interval = "–" if on_time["low"] is None else f"{_percent(on_time['low'])} … {_percent(on_time['high'])}"
    worst = _percent(found["least_on_time"]["mean"])
    overall.add_row(found["arrivals"], str(found["requests"]), _percent(on_time["mean"]), interval, worst)
    fragments = Table(
        Column("fragment", no_wrap=True, min_width=16),
        "requests",
        "on time",
        "dropped",
        "budget",
        "p50",
        "p99",
        "p99.9 ms",
    )
    for item in found["fragments"]:
        times = [_mean_of(item[name]) for name in ("p50_ms", "p99_ms", "p999_ms")]
        part = "–" if item["on_time"] is None else _percent(item["on_time"]["mean"])
        numbers = (str(item["requests"]), part, str(item["dropped"]), f"{item['budget_ms']:.1f}")
        fragments.add_row(item["fragment"], *numbers, *times)
    stages = Table("stage", "requests", "utilisation", "mean batch", "dropped", "mean wait", "p99 wait ms")
    for item in found["stages"]:
        waits = [_mean_of(item[name]) for name in ("mean_wait_ms", "p99_wait_ms")]
        busy, batch = _percent(item["utilisation"]["mean"]), _mean_of(item["mean_batch"])
        stages.add_row(item["stage"], str(item["requests"]), busy, batch, str(item["dropped"]), *waits)
    return [overall, fragments, stages]


def _percent(value: float) -> str:
    return f"{100 * value:.3f} %"


def _mean_of(estimate: Mapping[str, float] | None) -> str:
    return "–" if estimate is None else f"{estimate['mean']:.2f}"
