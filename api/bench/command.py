"""`regraft bench`: deploy a plan, drive it for a while, and lay observed beside simulated beside planned."""

from __future__ import annotations

import json
import os
import platform
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer


def bench(
    plan: Annotated[Path, typer.Argument(help="The plan to serve.")],
    workload: Annotated[Path, typer.Option(help="The workload it was made for.")],
    profile: Annotated[list[Path], typer.Option(help="Profile; once for each file.")],
    arrivals: Annotated[
        list[str] | None,
        typer.Option(
            help="paced, poisson, synchronised, bursty, or a file of recorded arrival times; repeatable, and "
            "the same kind again sends the same requests again. Default: paced and poisson."
        ),
    ] = None,
    seconds: Annotated[float, typer.Option(min=1, max=86400, help="How long each kind is sent.")] = 60.0,
    gateway: Annotated[
        str | None,
        typer.Option(
            help="Address of a gateway that serves this plan already. Default: service, agent and gateway "
            "are started here, on free loopback ports, and the plan is deployed."
        ),
    ] = None,
    on_time: Annotated[
        float, typer.Option(min=0, max=1, help="Fraction of requests that must be on time.")
    ] = 0.999,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the arrivals.")] = 0,
    output: Annotated[
        Path | None, typer.Option(help="Where the comparison goes, as JSON (regraft.bench/v1).")
    ] = None,
    state: Annotated[
        Path | None, typer.Option(help="Folder for database and logs. Default: a temporary one.")
    ] = None,
) -> None:
    """Serve a plan, send its requests, and lay observed beside simulated beside planned.

    First come single requests, which show what a hop costs on this machine; then each kind of arrivals at the
    planned rates, between short rehearsals, which show how long executions take now. Every answer is compared
    with the whole model's. Exit code 1 when an answer is wrong, or fewer requests were on time than asked
    where the simulation says that they can be.
    """
    from api.bench import comparing, driving, report
    from api.bench.rounds import Rounds
    from api.bench.speed import Speed
    from api.client import ClientError
    from api.demo import system
    from api.processes import ProcessError, family
    from planner import formats
    from planner.arrivals import arrivals_of
    from planner.plan import Plan
    from planner.terminal import exit_codes
    from planner.workload import Workload

    try:
        with exit_codes(), _ended_in_order(), ExitStack() as opened:
            made = formats.read(Plan, plan)
            demand = formats.read(Workload, workload)
            profiles = formats.read_profiles(profile)
            kinds = [arrivals_of(name) for name in arrivals or ("paced", "poisson")]
            if state is not None:
                state.mkdir(parents=True, exist_ok=True)
            folder = Path(
                opened.enter_context(tempfile.TemporaryDirectory(prefix="regraft-bench-"))
                if state is None
                else tempfile.mkdtemp(prefix="run-", dir=state)
            )
            members = opened.enter_context(family(folder, {}))
            with report.console.status("") as status:

                def show(text: str) -> None:
                    status.update(text)

                if gateway is None:
                    show("service, agent and gateway start")
                    running = opened.enter_context(system.start(members, folder))
                    running.client.create_workload(demand)
                    for item in profiles:
                        running.client.create_profile(item)
                    system.deploy(running, running.client.create_plan(made).id, show)
                    address = running.gateway
                else:
                    driving.serves(gateway)
                    address = gateway
                # How fast another machine is, nobody here can say; and a yardstick that was not laid beside
                # a model says nothing of it.
                measured = all("yardstick_ms" in item.measured for item in profiles)
                speed = opened.enter_context(closing(Speed())) if gateway is None and measured else None
                rounds = Rounds(
                    made, demand, profiles, members=members, gateway=address, speed=speed, show=show
                )
                found: dict[str, Any] = {
                    "format": comparing.FORMAT,
                    "plan": formats.digest(made),
                    "strategy": made.strategy,
                    "queueing": made.provenance.settings.get("queueing"),
                    "share": made.objective.share,
                    "machine": {"processor": platform.processor(), "cores": os.cpu_count()},
                    "asked_on_time_fraction": on_time,
                    "hop_ms": round(rounds.hop_ms, 3),
                    "runs": [],
                }
                firsts: dict[str, int] = {}
                alike: dict[str, list[tuple[dict[str, Any], dict[str, Any]]]] = {}
                for number, kind in enumerate(kinds):
                    result, compared = rounds.run(kind, seconds=seconds, seed=seed)
                    name = compared["arrivals"]
                    found["runs"].append(compared)
                    alike.setdefault(name, []).append((result, compared))
                    firsts.setdefault(name, number)
                    if firsts[name] != number:
                        off_pct = comparing.repeated(found["runs"][firsts[name]], compared)
                        compared["repeats"] = {"run": firsts[name], "p99_off_pct": off_pct}
            found["judged"] = [comparing.together(*zip(*runs, strict=True)) for runs in alike.values()]
            if output is not None:
                formats.write_bytes((json.dumps(found, indent=1, allow_nan=False) + "\n").encode(), output)
            report.console.print(
                f"a hop from the gateway to a free worker and back takes {rounds.hop_ms:.2f} ms here"
            )
            report.doubts(profiles)
            for run in found["runs"]:
                report.show(run)
                if "repeats" in run:
                    report.repeated(run, run["repeats"]["p99_off_pct"])
            for item in found["judged"]:
                report.judged(item)
            kept = [report.judge(run, on_time) for run in found["runs"]]
    except (ClientError, ProcessError) as error:
        report.console.print(str(error), style="red", markup=False)
        raise typer.Exit(1) from None
    if not all(kept):
        raise typer.Exit(1)


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """SIGINT and SIGTERM end the block as an exception does, so that no child outlives it."""

    def end(number: int, _: object) -> None:
        for name in before:
            signal.signal(name, signal.SIG_IGN)
        sys.exit(128 + number)

    before = {name: signal.signal(name, end) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
