"""Where law 2 fails, what a queueing law must ask for instead, and what that costs (docs/queueing.md).

    python -m benchmarks.queueing where      single stages that keep laws 2 and 3, and how often they are late
    python -m benchmarks.queueing table      planner.queueing.UTILISATION, computed anew
    python -m benchmarks.queueing laws       plans under every --queueing setting, side by side

Everything is simulated from fixed seeds, so the figures repeat. Tables go to standard output as Markdown.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.optimize import brentq

from planner.arrivals import Arrivals, arrivals_of
from planner.errors import InfeasibleError
from planner.plan import Objective, Plan, Route, Stage
from planner.planning import make_plan
from planner.problem import PlanSettings
from planner.profile import Profile
from planner.queueing import QUEUEING_LAWS
from planner.simulation import simulate
from planner.simulation_queue import Server, SimulationSettings, serve
from planner.simulation_results import SimulationResult
from planner.workload import Fragment, Workload
from tests.profiles import make_profile, make_workload

FACTORS = (2.0, 2.5, 3.0)
BATCHES = (1, 2, 4, 8, 16, 32)
FIXED_PARTS = (1.0, 0.75, 0.5, 0.25)
MISSED = 1e-3

# What law 2 assumes: first come, first served, nothing dropped, a batch takes its exec_ms however full it is.
PLAIN_QUEUE = SimulationSettings(order="arrival", drop=False, batch_time="full")
RUNTIME = SimulationSettings()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["where", "table", "laws"])
    parser.add_argument("--strategies", default="graft", help="for laws: names with commas between")
    parser.add_argument("--record", type=Path, help="for where and laws: a file of recorded arrival times")
    parser.add_argument("--quick", action="store_true", help="a tenth of the time, and less exact")
    options = parser.parse_args()
    match options.what:
        case "where":
            where(options.record, quick=options.quick)
        case "table":
            table(quick=options.quick)
        case "laws":
            side_by_side(options.strategies.split(","), options.record, quick=options.quick)


# ---------------------------------------------------------------- where law 2 fails


def where(record: Path | None, *, quick: bool) -> None:
    """Stages that keep laws 2 and 3 to the letter: budget twice exec_ms a stage, load within capacity."""
    seeds = range(3 if quick else 30)
    phones_that_fill_it_exactly(seeds)
    synchronised_phones(seeds)
    whole_batches(seeds)
    many_small_streams(seeds)
    poisson(seeds, record)
    wavering_times(seeds)


def phones_that_fill_it_exactly(seeds: Sequence[int]) -> None:
    """Paced phones, one instance with b = 4 and 80/3 ms, loaded to a part of its capacity of 150 a second."""
    rows = []
    for phones in (2, 3, 4, 5):
        line = Line([(4, 80 / 3, 1)], rate_rps=30.0, count=phones)
        rows.append((f"{phones} × 30/s ({phones * 20} %)", *both(line, Arrivals(kind="paced"), seeds, 20.0)))
    show("Paced phones on one instance, b = 4, 26.7 ms, budget 53.3 ms", FIRST + QUEUES, rows)


def synchronised_phones(seeds: Sequence[int]) -> None:
    """Phones that all send at the same instant, five times a second, at no more than 80 % of capacity."""
    rows = []
    for phones in (4, 8, 12, 16, 32):
        line = Line([(4, 20.0, math.ceil(phones * 5 / 160))], rate_rps=5.0, count=phones)
        rows.append((f"{phones} × 5/s", *both(line, Arrivals(kind="synchronised"), seeds, 20.0)))
    show("Synchronised phones, b = 4, 20 ms, budget 40 ms", FIRST + QUEUES, rows)


def whole_batches(seeds: Sequence[int]) -> None:
    """A stage behind another gets the other's whole batches; 120 paced phones load both to 60 %.

    The second stage alone shows what is not the batches' doing.
    """
    rows = []
    for first, second in (
        ((8, 40.0, 1), (8, 40.0, 1)),
        ((8, 40.0, 1), (1, 5.0, 1)),
        ((16, 80.0, 1), (1, 5.0, 1)),
    ):
        for stages in ([second], [first, second]):
            line = Line(stages, rate_rps=1.0, count=120)
            runs = [line.run(Arrivals(kind="paced"), seed, 60.0, PLAIN_QUEUE) for seed in seeds]
            waits = [run.stages[-1].p99_wait_ms or 0.0 for run in runs]
            kept = [run.on_time_fraction for run in runs]
            name = " → ".join(f"b = {batch}, {exec_ms:g} ms" for batch, exec_ms, _ in stages)
            rows.append((name, f"{second[1]:g}", f"{np.mean(waits):.1f}", percent(float(np.mean(kept)))))
    head = ("stages", "wait that law 2 allows the last, ms", "its p99 wait, ms", "on time")
    show("Stages fed by whole batches, 120 paced phones × 1/s, 60 %, as law 2 assumes", head, rows)


def many_small_streams(seeds: Sequence[int]) -> None:
    """The same load from ever more paced phones with random phases, which come to look like Poisson."""
    rows = []
    for batch, exec_ms in ((1, 5.0), (4, 20.0)):
        for phones in (2, 8, 32, 128, 1024):
            line = Line([(batch, exec_ms, 1)], rate_rps=100.0 / phones, count=phones)
            got = both(line, Arrivals(kind="paced"), seeds, max(20.0, 5 * phones / 100))
            rows.append((f"b = {batch}, {exec_ms:g} ms: {phones} × {100 / phones:.3g}/s", *got))
    show("Many small streams, 100 a second together, 50 % of capacity", FIRST + QUEUES, rows)


def poisson(seeds: Sequence[int], record: Path | None) -> None:
    """On time by utilisation and batch, by the runtime's rules, full batches' times and linear ones."""
    rows = []
    for kind in [Arrivals(kind="poisson"), Arrivals(kind="bursty")] + (
        [arrivals_of(str(record))] if record else []
    ):
        for batch in (1, 4, 16):
            cells = []
            for part in (0.05, 0.1, 0.25, 0.5, 0.75, 1.0):
                line = Line([(batch, 20.0, 1)], rate_rps=50.0 * batch * part, count=1)
                cells.append(percent(on_time(line, kind, seeds, 60.0, RUNTIME)))
            rows.append((f"{kind.kind}, b = {batch}", *cells))
    show(
        "One instance, 20 ms, budget 40 ms, by the runtime's rules, at a part of its capacity",
        ("arrivals", "5 %", "10 %", "25 %", "50 %", "75 %", "100 %"),
        rows,
    )


def wavering_times(seeds: Sequence[int]) -> None:
    """Execution times that vary, with arrivals that do not: 4 paced phones, b = 4."""
    rows = []
    for cv in (0.0, 0.05, 0.1, 0.2, 0.4):
        line = Line([(4, 20.0, 1)], rate_rps=40.0, count=4)
        rules = [replace(queue, exec_cv=cv) for queue in (PLAIN_QUEUE, RUNTIME)]
        cells = [percent(on_time(line, Arrivals(kind="paced"), seeds, 20.0, queue)) for queue in rules]
        rows.append((f"{100 * cv:g} %", *cells))
    show(
        "Execution times that waver, 4 paced phones × 40/s, b = 4, 20 ms, 80 %", ("deviation", *QUEUES), rows
    )


FIRST = ("load",)
QUEUES = ("on time as law 2 assumes", "on time by the runtime's rules")


class Line:
    """One fragment whose route is these stages (batch, exec_ms, instances), with exactly law 2's budget."""

    def __init__(self, stages: Sequence[tuple[int, float, int]], *, rate_rps: float, count: int) -> None:
        batches = sorted({1} | {batch for batch, _, _ in stages})
        # A batch of one takes half of a full one's time (the runtime's rules take what is measured).
        rows = []
        for batch, exec_ms, _ in stages:
            cells = [exec_ms * (1.0 if b >= batch else 0.5) for b in batches]
            rows.append(tuple((cell,) for cell in cells))
        self.profile = Profile(
            model="net",
            gpu="g",
            layers=tuple(f"layer{number}" for number in range(len(stages))),
            batches=tuple(batches),
            shares=(100,),
            latency_ms=tuple(rows),
        )
        made = tuple(
            Stage(
                id=f"s{number}",
                model="net",
                gpu="g",
                start=number,
                end=number + 1,
                batch=batch,
                share=100,
                instances=instances,
                exec_ms=exec_ms,
            )
            for number, (batch, exec_ms, instances) in enumerate(stages)
        )
        budget = sum(2 * exec_ms for _, exec_ms, _ in stages)
        route = Route(fragment="f", fraction=1.0, stages=tuple(stage.id for stage in made), worst_ms=budget)
        self.plan = Plan(
            strategy="by hand",
            status="feasible",
            objective=Objective(share=100.0 * sum(stage.instances for stage in made)),
            stages=made,
            routes=(route,),
        )
        fragment = Fragment(id="f", model="net", start=0, budget_ms=budget, rate_rps=rate_rps, count=count)
        self.workload = Workload(fragments=(fragment,))

    def run(
        self, arrivals: Arrivals, seed: int, seconds: float, settings: SimulationSettings
    ) -> SimulationResult:
        return simulate(
            self.plan,
            self.workload,
            [self.profile],
            arrivals=arrivals,
            seconds=seconds,
            seed=seed,
            settings=settings,
        )


def on_time(
    line: Line, arrivals: Arrivals, seeds: Sequence[int], seconds: float, settings: SimulationSettings
) -> float:
    return float(np.mean([line.run(arrivals, seed, seconds, settings).on_time_fraction for seed in seeds]))


def both(line: Line, arrivals: Arrivals, seeds: Sequence[int], seconds: float) -> tuple[str, str]:
    return (
        percent(on_time(line, arrivals, seeds, seconds, PLAIN_QUEUE)),
        percent(on_time(line, arrivals, seeds, seconds, RUNTIME)),
    )


# ---------------------------------------------------------------- the table of planner.queueing


def table(*, quick: bool) -> None:
    """For every time factor, batch and fixed part the highest utilisation that keeps 99.9 % on time."""
    requests = 100_000 if quick else 400_000
    for factor in FACTORS:
        print(f"    {factor}: np.array(\n        [")
        for batch in BATCHES:
            found = [
                utilisation(factor, batch, part, requests) for part in FIXED_PARTS[: 1 if batch == 1 else 4]
            ]
            cells = found * 4 if batch == 1 else found
            print(f"            [{', '.join(f'{cell:.3f}' for cell in cells)}],", flush=True)
        print("        ]\n    ),")


def utilisation(factor: float, batch: int, fixed_part: float, requests: int) -> float:
    """The root of (missed − 0.001) over the utilisation of one instance whose full batch takes 1 ms."""
    size = np.arange(1, batch + 1)
    times = fixed_part + (1 - fixed_part) * (size - 1) / max(1, batch - 1) if batch > 1 else np.ones(1)
    server = Server(exec_ms=[0.0, *times.tolist()], batch=batch, instances=1)
    gaps = np.random.default_rng(1).exponential(1.0, requests)

    def missed(log_load: float) -> float:
        arrival = np.cumsum(gaps) / (batch * math.exp(log_load))
        arriving = list(zip(arrival.tolist(), (arrival + factor).tolist(), range(requests), strict=True))
        served = serve(server, arriving, RUNTIME, np.random.default_rng(0))
        late = int((served.end_ms > arrival[served.request] + factor + 1e-9).sum()) + served.dropped
        return math.log(max(late, 0.1) / requests / MISSED)

    low, high = math.log(0.01), math.log(0.99)
    if missed(high) <= 0:
        return math.exp(high)
    # A hundredth is less than what the simulation itself is uncertain by.
    return math.exp(float(brentq(missed, low, high, xtol=0.01)))


# ---------------------------------------------------------------- settings side by side


def cases() -> Iterator[tuple[str, list[Profile], Workload]]:
    """Workloads of two models: profiles on which batching pays well or badly, or that are coarse."""
    for name, changes in (
        ("batching pays little", {}),
        ("batching pays", {"alpha": 0.85}),
        ("coarse profile", {"batches": (1, 4, 16), "shares": (25, 50, 100)}),
    ):
        profiles = [
            make_profile("a", layers=20, seed=1, **changes),
            make_profile("b", layers=12, seed=2, total_ms=25.0, **changes),
        ]
        yield f"{name}, 20 phones", profiles, make_workload(profiles, fragments=20, seed=5)
        yield f"{name}, 60 phones", profiles, make_workload(profiles, fragments=60, seed=5)
        heavy = make_workload(profiles, fragments=30, seed=6, rates=(20.0, 200.0), budgets=(2.0, 8.0))
        yield f"{name}, heavy", profiles, heavy
        light = make_workload(profiles, fragments=30, seed=6, rates=(0.5, 5.0), budgets=(2.0, 8.0))
        yield f"{name}, light", profiles, light


def side_by_side(strategies: Sequence[str], record: Path | None, *, quick: bool) -> None:
    """Every strategy and setting on every case: what it costs, and how often its promises are kept."""
    processes = [Arrivals(kind="paced"), Arrivals(kind="poisson"), Arrivals(kind="bursty")]
    if record:
        processes.append(arrivals_of(str(record)))
    head = ["workload", "strategy", "setting", "share", "× plain", "left out", "seconds to plan"]
    head += [f"on time, {process.kind}" for process in processes]
    head += ["worst phone, poisson", "phones under 99.9 %, poisson"]
    show("Settings side by side", head, [])
    means: dict[tuple[str, str], list[list[float]]] = {}
    for name, profiles, workload in cases():
        for strategy in strategies:
            plain = math.nan
            for law in QUEUEING_LAWS:
                settings = PlanSettings(queueing=law, infeasible="partial", time_limit_s=10.0)
                began = time.process_time()
                try:
                    plan = make_plan(workload, profiles, strategy=strategy, settings=settings)
                except InfeasibleError:
                    found = [name, strategy, law, "–", "–", str(len(workload.fragments))]
                    print(row(found + ["–"] * (len(head) - len(found))), flush=True)
                    continue
                took = time.process_time() - began
                share = plan.objective.share
                plain = share if law == "plain" else plain
                seconds = 20.0 if quick or name.endswith("heavy") else 200.0
                runs = [
                    [
                        simulate(plan, workload, profiles, arrivals=process, seconds=seconds, seed=seed)
                        for seed in range(2 if quick else 4)
                    ]
                    for process in processes
                ]
                kept = [float(np.mean([run.on_time_fraction for run in group])) for group in runs]
                phones = on_time_by_fragment(runs[1])
                few = sum(part < 1 - MISSED for part in phones)
                found = [name, strategy, law, f"{share:g}", f"{share / plain:.2f}", str(len(plan.unplanned))]
                worst = [percent(min(phones)), f"{few}/{len(phones)}"]
                print(row([*found, f"{took:.2f}", *map(percent, kept), *worst]), flush=True)
                means.setdefault((strategy, law), []).append([share / plain, *kept])
    head = ["strategy", "setting", "× plain", *(f"on time, {process.kind}" for process in processes)]
    rows = []
    for (strategy, law), found_ in means.items():
        price, *kept = np.mean(found_, axis=0).tolist()
        rows.append([strategy, law, f"{price:.2f}", *map(percent, kept)])
    show("Means over the workloads", head, rows)


def on_time_by_fragment(runs: Sequence[SimulationResult]) -> list[float]:
    """Each fragment's part on time over all runs."""
    return [
        sum(run.fragments[number].on_time for run in runs)
        / max(1, sum(run.fragments[number].requests for run in runs))
        for number in range(len(runs[0].fragments))
    ]


def percent(part: float) -> str:
    return f"{100 * part:.2f} %"


def show(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    print(f"\n{title}\n\n{row(head)}\n|{'---|' * len(head)}", flush=True)
    for cells in rows:
        print(row(cells))


def row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
