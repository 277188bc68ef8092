"""Commands that talk to a running service: submit, runs, plans, deploy, rollback, drifts, nodes.

The service and the key are options or the environment variables REGRAFT_SERVICE and REGRAFT_KEY.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

if TYPE_CHECKING:
    from api import views
    from api.client import Client

CHECK_FAILED, INPUT_WRONG, NO_PLAN = 1, 2, 3

Service = Annotated[str, typer.Option("--service", envvar="REGRAFT_SERVICE", help="The service's address.")]
Key = Annotated[str, typer.Option("--key", envvar="REGRAFT_KEY", help="An API key.", show_default=False)]
SERVICE = "http://127.0.0.1:8080"

plans = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True, help="Stored plans.")


def submit(
    workload: Annotated[
        Path, typer.Argument(help="The workload (regraft.workload/v1); - is standard input.")
    ],
    profile: Annotated[list[Path], typer.Option("--profile", help="A profile; repeat it, once a file.")],
    strategy: Annotated[str, typer.Option(help="How to plan.")] = "optimal",
    time_limit: Annotated[float, typer.Option(help="Seconds the strategy may search.")] = 60.0,
    gap: Annotated[float, typer.Option(help="Relative gap at which the search may stop.")] = 0.0,
    threads: Annotated[int, typer.Option(help="Threads of the solver.")] = 2,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    infeasible: Annotated[str, typer.Option(help="fail, or partial: plan what can be planned.")] = "fail",
    queueing: Annotated[str, typer.Option(help="How much room to leave for waiting.")] = "plain",
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for the plan and show how the search goes.")
    ] = False,
    service: Service = SERVICE,
    key: Key = "",
) -> None:
    """Send a workload and its profiles to the service and ask for a plan; prints the run's id.

    With --wait it prints the plan's id instead. Exit code 3 when no plan meets the promises, with the
    reasons as JSON on standard output; 1 when the run ended otherwise without a plan.
    """
    from planner import formats
    from planner.terminal import exit_codes, progress_line
    from planner.workload import Workload

    if infeasible not in ("fail", "partial"):
        typer.echo("--infeasible: fail or partial", err=True)
        raise typer.Exit(INPUT_WRONG)
    with exit_codes(), _connected(service, key) as client:
        demand, measured = formats.read(Workload, workload), formats.read_profiles(profile)
        run = client.submit_run(
            workload=client.create_workload(demand),
            profiles=[client.create_profile(item) for item in measured],
            strategy=strategy,
            time_limit_s=time_limit,
            gap=gap,
            threads=threads,
            seed=seed,
            infeasible="partial" if infeasible == "partial" else "fail",
            queueing=queueing,
        )
        if not wait:
            typer.echo(run.id)
            return
        with progress_line(strategy) as show:
            run = client.wait_run(run.id, on_event=show)
    if run.plan is not None:
        typer.echo(run.plan)
        return
    failure = run.failure.model_dump() if run.failure else {"code": run.state, "detail": "no plan was kept"}
    typer.echo(f"{run.id} {run.state}: {failure['detail']}", err=True)
    if run.state == "infeasible":
        typer.echo(json.dumps({"status": failure["code"], "unplanned": failure["reasons"]}, indent=1))
        raise typer.Exit(NO_PLAN)
    raise typer.Exit(CHECK_FAILED)


def runs(
    run: Annotated[str | None, typer.Argument(help="Show this run whole, as JSON.")] = None,
    state: Annotated[str | None, typer.Option(help="Only runs in this state.")] = None,
    stop: Annotated[str | None, typer.Option(help="End this run and keep the best plan so far.")] = None,
    cancel: Annotated[str | None, typer.Option(help="End this run and keep nothing.")] = None,
    service: Service = SERVICE,
    key: Key = "",
) -> None:
    """List plan runs, newest first; show one, with the reason where it has no plan; or end one."""
    if sum(choice is not None for choice in (run, state, stop, cancel)) > 1:
        typer.echo("give one of RUN, --state, --stop and --cancel", err=True)
        raise typer.Exit(INPUT_WRONG)
    with _connected(service, key) as client:
        if run is not None:
            typer.echo(client.run(run).model_dump_json(indent=1))
            return
        if stop is not None:
            listed = [client.stop_run(stop)]
        elif cancel is not None:
            listed = [client.cancel_run(cancel)]
        else:
            listed = client.runs(state=state)
    for item in listed:
        _line(item.id, item.state, item.strategy, f"{item.created_at:%Y-%m-%d %H:%M:%S}", item.plan or "–")


@plans.command("list")
def list_plans(service: Service = SERVICE, key: Key = "") -> None:
    """List plans, newest first: id, strategy, status, share, bound, gap, stages, instances."""
    with _connected(service, key) as client:
        listed = client.plans()
    for plan in listed:
        gap = "–" if plan.gap is None else f"{100 * plan.gap:.2f} %"
        bound = "–" if plan.lower_bound is None else f"{plan.lower_bound:.6g}"
        _line(
            plan.id, plan.strategy, plan.status, f"{plan.share:.6g}", bound, gap, plan.stages, plan.instances
        )


@plans.command("add")
def add_plan(
    plan: Annotated[Path, typer.Argument(help="The plan (regraft.plan/v1); - is standard input.")],
    workload: Annotated[Path, typer.Option(help="The workload it was made for.")],
    profile: Annotated[
        list[Path], typer.Option("--profile", help="A profile it was made from; repeat it, once a file.")
    ],
    service: Service = SERVICE,
    key: Key = "",
) -> None:
    """Store a plan made by `regraft plan`, or by any other tool, so that it can be deployed; prints its id.

    The service verifies it against its workload and profiles, and refuses one that breaks a law.
    """
    from dataclasses import replace

    from planner import formats
    from planner.plan import Plan
    from planner.terminal import exit_codes
    from planner.workload import Workload

    with exit_codes(), _connected(service, key) as client:
        made, demand = formats.read(Plan, plan), formats.read(Workload, workload)
        measured = formats.read_profiles(profile)
        names = tuple(client.create_profile(item) for item in measured)
        name = client.create_workload(demand)
        origin = made.provenance
        # What the plan itself says is not touched: that it was made from other files should show.
        origin = replace(origin, workload=origin.workload or name, profiles=origin.profiles or names)
        stored = client.create_plan(replace(made, provenance=origin))
    typer.echo(stored.id)


@plans.command("show")
def show_plan(
    plan: Annotated[str, typer.Argument(help="A plan's id.")], service: Service = SERVICE, key: Key = ""
) -> None:
    """Print a plan (regraft.plan/v1)."""
    from planner import formats

    with _connected(service, key) as client:
        found = client.plan(plan)
    typer.echo(formats.dumps(found).decode(), nl=False)


@plans.command("diff")
def diff_plans(
    before: Annotated[str, typer.Argument(help="The plan that is replaced.")],
    after: Annotated[str, typer.Argument(help="The plan that replaces it.")],
    service: Service = SERVICE,
    key: Key = "",
) -> None:
    """Print what changes from one plan to another, as JSON: stages added, removed, restarted; re-routed."""
    with _connected(service, key) as client:
        difference = client.diff(before, after)
    typer.echo(difference.model_dump_json(indent=1))


def deploy(
    plan: Annotated[str, typer.Argument(help="The plan to run from now on, by its id.")],
    expected_generation: Annotated[
        int | None, typer.Option(help="Refuse unless this is the current generation.")
    ] = None,
    on_drift: Annotated[
        str,
        typer.Option(
            help="Where inputs become easier or harder than planned with: ignore, propose or apply another "
            "plan. By default as the service is set."
        ),
    ] = "",
    service: Service = SERVICE,
    key: Key = "",
) -> None:
    """Make a plan the one to run: a new generation."""
    if on_drift not in ("", "ignore", "propose", "apply"):
        typer.echo(f"--on-drift is {on_drift!r}: expected ignore, propose or apply", err=True)
        raise typer.Exit(INPUT_WRONG)
    mode = cast("views.OnDrift | None", on_drift or None)
    with _connected(service, key) as client:
        _deployed(client.deploy(plan, expected_generation=expected_generation, on_drift=mode))


def rollback(
    generation: Annotated[
        int | None,
        typer.Argument(help="Whose plan to run again; the one before the current one if left out."),
    ] = None,
    expected_generation: Annotated[
        int | None, typer.Option(help="Refuse unless this is the current generation.")
    ] = None,
    service: Service = SERVICE,
    key: Key = "",
) -> None:
    """Run an earlier generation's plan again, as a new generation."""
    with _connected(service, key) as client:
        _deployed(client.roll_back(generation, expected_generation=expected_generation))


def nodes(service: Service = SERVICE, key: Key = "") -> None:
    """List nodes, with what of their part of the plan does not run. Exit code 1 when anything does not."""
    with _connected(service, key) as client:
        listed = sorted(client.nodes(), key=lambda node: node.name)
    for node in listed:
        running = f"{node.assigned - len(node.not_running)} of {node.assigned} run"
        _line(node.name, node.lease, f"generation {node.generation or 0}", running, node.address)
        for item in node.not_running:
            typer.echo(f"  {item.stage} #{item.instance} on {item.gpu}: {item.reason}")
    if any(node.not_running for node in listed):
        raise typer.Exit(CHECK_FAILED)


def drifts(service: Service = SERVICE, key: Key = "") -> None:
    """List what exits see and expect of the running plan, and what was planned anew for it."""
    with _connected(service, key) as client:
        now, listed = client.exits(), client.drifts()
    for kind in now.outlooks:
        _line(
            kind.model,
            f"{kind.fragments} fragments",
            _survivals(kind),
            "drifted" if kind.drifted else "as planned",
        )
    for drift in listed:
        why = "; ".join(f"{kind.model} {_survivals(kind)}" for kind in drift.outlooks if kind.drifted)
        became = f"generation {drift.applied_as}" if drift.applied_as else drift.new_plan or "no plan"
        _line(drift.id, f"generation {drift.generation}", why, drift.state, became, drift.detail or "")


def _survivals(kind: views.ExitOutlook) -> str:
    """Planned and expected, exit by exit."""
    if kind.expected is None:
        return ", ".join(
            f"{layer}: {before:.3g}" for layer, before in zip(kind.layers, kind.planned, strict=True)
        )
    both = zip(kind.layers, kind.planned, kind.expected, strict=True)
    return ", ".join(f"{layer}: {before:.3g} -> {after:.3g}" for layer, before, after in both)


def _deployed(deployment: views.Deployment) -> None:
    what = f"rolls back to {deployment.rollback_of}, " if deployment.rollback_of else ""
    typer.echo(
        f"generation {deployment.generation}: {what}{deployment.instances} instances, {deployment.gpus} GPUs"
    )


def _line(*fields: Any) -> None:
    typer.echo("\t".join(str(field) for field in fields))


@contextmanager
def _connected(service: str, key: str) -> Iterator[Client]:
    """A client, with the service's refusals as messages and exit codes."""
    from api.client import Client, ClientError

    if not key:
        typer.echo("--key: give an API key (or set REGRAFT_KEY); `regraft keys create` makes one", err=True)
        raise typer.Exit(INPUT_WRONG)
    key = key.strip()
    if not (key.isascii() and key.isprintable()):
        typer.echo("--key: this is no API key, it has characters that none has", err=True)
        raise typer.Exit(INPUT_WRONG)
    if not service.startswith(("http://", "https://")):
        typer.echo(f"--service: {service!r} is no address; expected http://HOST:PORT", err=True)
        raise typer.Exit(INPUT_WRONG)
    try:
        with Client(service, key) as client:
            yield client
    except ClientError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(INPUT_WRONG) from None
