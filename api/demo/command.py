"""`regraft demo`: phones → fragments → plans → database → REST → agent → torch workers → answers.

The demo is a user of the system, not a part of it: it starts the commands anybody would start, and does
everything else through the REST API and the gateway's inference protocol.
"""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import typer

STRATEGIES = ("gslice", "graft", "optimal")
_RUNS_KEPT = 5


def demo(
    traces: Annotated[
        Path | None,
        typer.Option(help="Folder of link traces, `seconds Mbps` a line; without it links are synthetic."),
    ] = None,
    on_time: Annotated[
        float, typer.Option(min=0, max=1, help="Fraction of all requests that must be on time.")
    ] = 0.99,
    seconds: Annotated[float, typer.Option(min=1, max=3600, help="How long the phones send requests.")] = 30,
    state: Annotated[Path, typer.Option(help="Where profiles, database and logs are kept.")] = Path(
        "var/demo"
    ),
    queueing: Annotated[str, typer.Option(help="How much room the plans leave for waiting.")] = "headroom",
    time_limit: Annotated[float, typer.Option(min=1, help="Seconds each strategy may search.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the phones, their links and the load.")] = 0,
    measuring: Annotated[
        float,
        typer.Option(
            min=0.1,
            max=10,
            help="Measure each model this many times as long as usual; less is quicker and less exact.",
        ),
    ] = 1.0,
    serve: Annotated[bool, typer.Option("--serve", help="Keep the system running afterwards.")] = False,
) -> None:
    """The main job, end to end, on this machine: phones, fragments, plans, workers, answers.

    Measures three models here (and keeps that for the next run), lets 24 phones choose their cuts, starts
    the service, an agent and a gateway on free loopback ports, plans by three strategies, deploys the
    optimal plan, sends every phone's requests, and checks every answer. Exit code 1 when an answer is
    wrong or too few requests are on time.
    """
    from api.client import ClientError
    from api.demo import fleet, report, system
    from api.processes import ProcessError, family
    from planner import formats
    from planner.terminal import exit_codes

    started = time.monotonic()
    state.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=state))
    _forget_old_runs(state)
    cache = {"REGRAFT_CACHE": str((state / "models").absolute())}
    try:
        with exit_codes(), _ended_in_order(), family(folder, cache) as members, ExitStack() as opened:
            with _step("1/6 What do the models cost on this machine?") as show:
                profiles = fleet.measure(members, state / "profiles", show, measuring=measuring)
            report.show_profiles(profiles)
            with _step("2/6 Where do the phones cut, and what is left for the server?"):
                partition, source = fleet.choose_cuts(profiles, traces, seed)
                workload = partition.workload()
                formats.write(workload, folder / "workload.json")
            report.show_cuts(partition, profiles, source)
            with _step("3/6 Service, agent and gateway start on free loopback ports"):
                running = opened.enter_context(system.start(members, folder))
            report.console.print(
                f"service {running.service} (its API: {running.service}/docs), agent {running.agent}, "
                f"gateway {running.gateway}"
            )
            with _step(f"4/6 {len(STRATEGIES)} strategies plan the same workload") as show:
                plans = {
                    name: system.plan(
                        running,
                        workload,
                        profiles,
                        strategy=name,
                        queueing=queueing,
                        time_limit_s=time_limit,
                        seed=seed,
                        on_event=_named(show, name),
                    )
                    for name in STRATEGIES
                }
            report.show_plans([made for _, made in plans.values()])
            plan_id, plan = plans["optimal"]
            with _step("5/6 The optimal plan is deployed, and its workers come up") as show:
                held = system.deploy(running, plan_id, show)
            report.show_stages(plan, held)
            with _step("6/6 Every phone sends its requests") as show:
                result = system.send_requests(running, workload, seconds=seconds, seed=seed, show=show)
            good = report.judge(result, plan, workload, profiles, on_time=on_time, seed=seed)
            report.console.print(f"{time.monotonic() - started:.0f} s in all; files and logs are in {folder}")
            if serve:
                _keep_running(running)
    except (ClientError, ProcessError) as error:
        report.console.print(str(error), style="red", markup=False)
        raise typer.Exit(1) from None
    if not good:
        raise typer.Exit(1)


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """SIGINT and SIGTERM end the block as an exception does, so that no child outlives it.

    Only the first one does: the next would interrupt the stopping of the children.
    """

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


@contextmanager
def _step(title: str) -> Iterator[Callable[[str], None]]:
    """A titled step with a live line for what goes on in it, and its seconds at the end."""
    from api.demo.report import console

    console.rule(f"[bold]{title}", align="left")
    started = time.monotonic()
    with console.status("") as status:
        yield status.update
    console.print(f"[dim]{time.monotonic() - started:.1f} s")


def _named(show: Callable[[str], None], name: str) -> Callable[..., None]:
    from planner.terminal import describe

    return lambda progress: show(f"{name}: {describe(progress)}")


def _keep_running(running: object) -> None:
    """Wait for Ctrl-C or SIGTERM while the system goes on."""
    from api.demo.report import console
    from api.demo.system import System

    assert isinstance(running, System)
    console.rule("[bold]The system keeps running; Ctrl-C ends it", align="left")
    console.print(
        f"pages              {running.service}/       (sign in with the key in {running.folder / 'demo.key'})"
    )
    console.print(f"API documentation  {running.service}/docs   (key: {running.folder / 'demo.key'})")
    console.print(f"inference          {running.gateway}/v2     (Open Inference Protocol)")
    stop = False

    def end(*_: object) -> None:
        nonlocal stop
        stop = True

    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, end)
    while not stop:
        running.members.check()
        time.sleep(0.5)


def _forget_old_runs(state: Path) -> None:
    """Keep the last few runs' files and remove older ones."""
    runs = sorted(state.glob("run-*"), key=lambda path: path.stat().st_mtime)
    for folder in runs[:-_RUNS_KEPT]:
        shutil.rmtree(folder, ignore_errors=True)
