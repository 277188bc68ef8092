"""`regraft plan`, `verify` and `compare`: files in, files out; no service, no database, no torch."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from planner import formats, laws
from planner.budgeting import budget_use
from planner.budgeting import to_json as budgets_to_json
from planner.comparing import compare as compare_strategies
from planner.comparing import row_of
from planner.errors import Complaint, DoesNotFitError, InputError
from planner.fitting import would_fit
from planner.plan import Plan
from planner.planning import STRATEGIES, make_plan
from planner.problem import PlanSettings
from planner.queueing import QUEUEING_LAWS
from planner.terminal import (
    CHECK_FAILED,
    NO_PLAN,
    budget_table,
    collect_seldom,
    console,
    deadline_s,
    describe,
    describe_exits,
    exit_codes,
    how_it_ended,
    notes,
    own_output,
    progress_line,
    table_of,
)
from planner.workload import Workload


class Infeasible(StrEnum):
    """What to do when some fragments cannot be planned."""

    fail = "fail"
    partial = "partial"


WorkloadFile = Annotated[
    Path, typer.Argument(help="The workload (regraft.workload/v1); - is standard input.")
]
WorkloadOption = Annotated[Path, typer.Option("--workload", help="The workload the plan was made for.")]
ProfileFiles = Annotated[
    list[Path], typer.Option("--profile", help="A profile (regraft.profile/v1); repeat it, once a file.")
]
TimeLimit = Annotated[
    float, typer.Option(help="Seconds a strategy may search. It keeps the best plan it has.")
]
Gap = Annotated[
    float, typer.Option(help="Stop when the plan is proven to be within this fraction of the optimum.")
]
Threads = Annotated[
    int, typer.Option(help="Threads of the solver; with 1, the same seed gives the same plan.")
]
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]
MemoryLimit = Annotated[
    int,
    typer.Option(
        "--memory-limit-mb",
        help="Megabytes this process may have in memory before the search ends with its best plan; "
        "0: no limit.",
    ),
]
Queueing = Annotated[
    str,
    typer.Option(
        help=f"How much room to leave for waiting: {', '.join(QUEUEING_LAWS)} (see docs/queueing.md)."
    ),
]
OnInfeasible = Annotated[
    Infeasible,
    typer.Option(
        help="fail: no plan unless every fragment is planned; partial: plan the others, list these."
    ),
]
Explain = Annotated[
    bool,
    typer.Option(
        "--explain",
        help="Show where every budget goes: waiting and running in alignment and shared stages, slack.",
    ),
]


def plan(
    workload: WorkloadFile,
    profile: ProfileFiles,
    output: Annotated[
        Path, typer.Option(help="Where the plan goes (regraft.plan/v1); - is standard output.")
    ],
    strategy: Annotated[str, typer.Option(help=f"One of {', '.join(STRATEGIES)}.")] = "optimal",
    time_limit: TimeLimit = 60.0,
    gap: Gap = 0.0,
    threads: Threads = 2,
    seed: Seed = 0,
    infeasible: OnInfeasible = Infeasible.fail,
    queueing: Queueing = "plain",
    memory_limit_mb: MemoryLimit = 0,
    explain: Explain = False,
) -> None:
    """Plan a workload: which stages to run, at which batch and share, and which way each fragment goes.

    The plan is verified before it is written. Exit code 3, with the reasons and what would help as JSON
    on standard output, when no plan meets the promises or fits the GPUs: then nothing is written. With
    --explain, where every budget goes is shown as a table and, unless the plan itself goes there, as
    JSON (regraft.budgets/v1) on standard output.
    """
    settings = PlanSettings(
        time_limit_s=time_limit,
        gap=gap,
        threads=threads,
        seed=seed,
        infeasible=infeasible.value,
        queueing=queueing,
        memory_limit_mb=memory_limit_mb,
        deadline_s=deadline_s(time_limit),
    )
    collect_seldom()
    with exit_codes(workload):
        demand = formats.read(Workload, workload)
        profiles = formats.read_profiles(profile)
        with own_output(), progress_line(strategy) as show:
            try:
                made = make_plan(demand, profiles, strategy=strategy, settings=settings, progress=show)
            except DoesNotFitError as error:
                help_ = would_fit(demand, profiles, settings)
                raise DoesNotFitError(error.missing, help_, tried=error.tried) from None
        formats.write(made, output)
    notes.print(table_of([row_of(made)]))
    for model, said in made.provenance.settings.get("exits", {}).items():
        notes.print(f"exits of {model}: {describe_exits(said)}", markup=False)
    for line in how_it_ended(made):
        notes.print(line, markup=False, soft_wrap=True)
    for item in made.unplanned:
        notes.print(f"left out: {item.fragment}: {item.reason} {json.dumps(item.detail)}", markup=False)
    if explain:
        uses = budget_use(made, demand)
        notes.print(budget_table(uses))
        if str(output) != "-":
            print(json.dumps(budgets_to_json(uses), indent=1, allow_nan=False))


def verify(
    plan: Annotated[Path, typer.Argument(help="The plan (regraft.plan/v1); - is standard input.")],
    workload: WorkloadOption,
    profile: ProfileFiles,
    max_clients: Annotated[int, typer.Option(help="Most instances on one GPU (the MPS client limit).")] = (
        laws.MAX_CLIENTS
    ),
    explain: Explain = False,
) -> None:
    """Check a plan against every law; say which is broken, where, and by how much.

    Prints the verdict as JSON (regraft.verdict/v1). Exit code 0 for a valid plan, 1 for a broken one.
    The checks share no code with the strategies, and take plans from anywhere. With --explain, where
    every budget goes is shown as a table, and stands in the verdict under "budgets".
    """
    collect_seldom()
    with exit_codes():
        judged = formats.read(Plan, plan)
        demand = formats.read(Workload, workload)
        profiles = formats.read_profiles(profile)
    verdict = laws.verify(judged, demand, profiles, max_clients=max_clients)
    answer = verdict.to_json()
    if explain:
        uses = budget_use(judged, demand)
        notes.print(budget_table(uses))
        answer["budgets"] = budgets_to_json(uses)["routes"]
    print(json.dumps(answer, indent=1, allow_nan=False))
    for violation in verdict.violations:
        notes.print(f"{violation.law}: {violation.place}: {violation.message}", markup=False, soft_wrap=True)
    if not verdict.valid:
        raise typer.Exit(CHECK_FAILED)
    notes.print("valid")


def compare(
    workload: WorkloadFile,
    profile: ProfileFiles,
    output: Annotated[
        Path, typer.Option(help="Where the result goes (regraft.comparison/v1), with all plans.")
    ],
    strategies: Annotated[
        str, typer.Option(help="Names with commas between.")
    ] = "gslice,gslice+,graft,optimal",
    time_limit: TimeLimit = 60.0,
    gap: Gap = 0.0,
    threads: Threads = 2,
    seed: Seed = 0,
    infeasible: OnInfeasible = Infeasible.fail,
    queueing: Queueing = "plain",
) -> None:
    """Plan one workload by several strategies and show them side by side.

    Exit code 3 when none of them finds a plan.
    """
    settings = PlanSettings(
        time_limit_s=time_limit,
        gap=gap,
        threads=threads,
        seed=seed,
        infeasible=infeasible.value,
        queueing=queueing,
    )
    names = [name.strip() for name in strategies.split(",") if name.strip()]
    collect_seldom()
    with exit_codes(workload):
        if not names:
            complaint = Complaint(
                place="strategies", problem="is empty", cure=f"some of {', '.join(STRATEGIES)}"
            )
            raise InputError("command line", [complaint])
        demand = formats.read(Workload, workload)
        profiles = formats.read_profiles(profile)
        with own_output(), notes.status("comparing …") as status:
            result = compare_strategies(
                demand,
                profiles,
                strategies=names,
                settings=settings,
                progress=lambda name, report: status.update(f"{name}: {describe(report)}"),
            )
        content = json.dumps(result.to_json(), indent=1, allow_nan=False) + "\n"
        formats.write_bytes(content.encode(), output)
    console(stderr=str(output) == "-").print(table_of(result.rows))
    if not result.plans:
        print(json.dumps({"status": "infeasible", "rows": result.to_json()["rows"]}, indent=1))
        raise typer.Exit(NO_PLAN)
