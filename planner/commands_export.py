"""`regraft export`: the integer programs of a workload as files, for a solver of the user's own."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from planner import formats
from planner.commands import ProfileFiles, Queueing, WorkloadFile
from planner.errors import Complaint, InputError
from planner.placement import MAX_CLIENTS, instance_memory_mb, packing_program
from planner.plan import Plan
from planner.planning import prepare
from planner.problem import PlanSettings
from planner.profile import Profile
from planner.programs import ModelPart, model_part, network_of, one_stage_program
from planner.terminal import exit_codes, notes, own_output
from planner.workload import Workload

# Larger programs are no longer something to read, and writing them takes minutes.
MOST_PAIRS, MOST_PATHS = 500_000, 100_000


class Program(StrEnum):
    """Which program to write."""

    one_stage = "one-stage"
    routes = "routes"
    packing = "packing"


def export(
    workload: WorkloadFile,
    profile: ProfileFiles,
    output: Annotated[Path, typer.Option(help="Where the program goes: a name that ends in .lp or .mps.")],
    model: Annotated[str | None, typer.Option(help="Which model, where the workload has several.")] = None,
    queueing: Queueing = "plain",
    program: Annotated[
        Program,
        typer.Option(
            help="one-stage: one shared stage a route (5.2); routes: any number of stages (5.3); "
            "packing: the instances of --plan onto the workload's GPUs (5.5)."
        ),
    ] = Program.one_stage,
    plan: Annotated[
        Path | None, typer.Option(help="The plan whose instances are packed (with --program packing).")
    ] = None,
) -> None:
    """Write an integer program (docs/solver.md) as an LP or MPS file.

    Models share nothing, so each is a program of its own. Variables of one-stage: x_k_g_e, how many
    fragments of class k join facility e of group g; n_g_e, its instances; z_k, how many stay alone; the
    optimum is what `--strategy optimal-one` proves. Of routes: n_e, the instances of arc e; y_k_p, the part
    of class k on its path p; the optimum is the least share of any plan. Of packing: u_g, whether GPU g is
    used; x_i_g, how many instances of stage i are on it.
    """
    with exit_codes(workload):
        if output.suffix not in (".lp", ".mps"):
            _wrong("--output", f"is {output}", "a name in .lp or .mps")
        demand = formats.read(Workload, workload)
        profiles = formats.read_profiles(profile)
        if program is Program.packing:
            reference = _packing(plan, demand, profiles)
            said = f"{len(demand.gpus or ())} GPUs"
        else:
            part = _part(demand, profiles, model, queueing)
            reference = _one_stage(part) if program is Program.one_stage else _routes(part)
            said = f"{len(part.demands)} classes of {part.model}"
        with own_output():
            write = reference.writeLP if output.suffix == ".lp" else reference.writeMPS
            write(str(output))
    notes.print(f"{output}: {len(reference.variables())} variables, {said}")


def _part(demand: Workload, profiles: Sequence[Profile], model: str | None, queueing: str) -> ModelPart:
    problem, _ = prepare(demand, profiles, PlanSettings(queueing=queueing))
    parts = problem.by_model()
    name = model if model is not None else next(iter(parts), "")
    if name not in parts or (model is None and len(parts) > 1):
        _wrong("--model", f"is {model or 'missing'}", f"one of {', '.join(sorted(parts))}")
    return model_part(problem, name, parts[name])


def _one_stage(part: ModelPart) -> Any:
    program = one_stage_program(part).facilities
    pairs = sum(group.joining.size for group in program.groups)
    if pairs > MOST_PAIRS:
        _too_large(f"{pairs} pairs of a class and a facility", f"at most {MOST_PAIRS}")
    from solver.reference import reference_model  # PuLP is slow to import

    return reference_model(program)


def _routes(part: ModelPart) -> Any:
    network = network_of(part)
    if network is None:
        _too_large("too many stages", "fewer layers")
    from solver.reference import reference_routes

    try:
        return reference_routes(network, most_paths=MOST_PATHS)
    except ValueError as error:
        _too_large(str(error), f"at most {MOST_PATHS} paths")


def _packing(plan: Path | None, demand: Workload, profiles: Sequence[Profile]) -> Any:
    if plan is None:
        _wrong("--plan", "is missing", "the plan whose instances are to be packed")
    if demand.gpus is None:
        _wrong("workload", "has no gpus", "GPUs to pack the plan's instances onto")
    by_type = {(profile.model, profile.gpu): profile for profile in profiles}
    stages = formats.read(Plan, plan).stages
    for stage in stages:
        if (stage.model, stage.gpu) not in by_type:
            _wrong("--profile", f"has none of {stage.model} on {stage.gpu}", "every profile of the plan")
    from solver.reference import reference_packing

    memory = [instance_memory_mb(by_type[stage.model, stage.gpu], stage) for stage in stages]
    items, bins = packing_program(stages, memory, demand.gpus, max_clients=MAX_CLIENTS)
    return reference_packing(items, bins)


def _too_large(what: str, cure: str) -> NoReturn:
    _wrong("workload", f"makes a program of {what}", f"{cure}: fewer fragments, or a coarser profile")


def _wrong(place: str, problem: str, cure: str) -> NoReturn:
    source = "workload" if place == "workload" else "command line"
    raise InputError(source, [Complaint(place=place, problem=problem, cure=cure)])
