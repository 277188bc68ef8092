"""`regraft export`: the integer program of a workload as a file, for a solver of the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from planner import formats
from planner.commands import ProfileFiles, Queueing, WorkloadFile
from planner.errors import Complaint, InputError
from planner.planning import prepare
from planner.problem import PlanSettings
from planner.programs import model_part, one_stage_program
from planner.terminal import exit_codes, notes, own_output
from planner.workload import Workload

# Larger programs are no longer something to read, and writing them takes minutes.
MOST_PAIRS = 500_000


def export(
    workload: WorkloadFile,
    profile: ProfileFiles,
    output: Annotated[Path, typer.Option(help="Where the program goes: a name that ends in .lp or .mps.")],
    model: Annotated[str | None, typer.Option(help="Which model, where the workload has several.")] = None,
    queueing: Queueing = "plain",
) -> None:
    """Write the integer program with one shared stage a route (docs/solver.md) as an LP or MPS file.

    Models share nothing, so each is a program of its own. Variables: x_k_g_e, how many fragments of class k
    join facility e of group g; n_g_e, its instances; z_k, how many stay alone. The optimum is the share
    that `--strategy optimal-one` looks for.
    """
    with exit_codes(workload):
        demand = formats.read(Workload, workload)
        profiles = formats.read_profiles(profile)
        problem, _ = prepare(demand, profiles, PlanSettings(queueing=queueing))
        parts = problem.by_model()
        name = model if model is not None else next(iter(parts), "")
        if name not in parts or (model is None and len(parts) > 1):
            complaint = Complaint(
                place="--model", problem=f"is {model or 'missing'}", cure=f"one of {', '.join(sorted(parts))}"
            )
            raise InputError("command line", [complaint])
        if output.suffix not in (".lp", ".mps"):
            complaint = Complaint(place="--output", problem=f"is {output}", cure="a name in .lp or .mps")
            raise InputError("command line", [complaint])
        program = one_stage_program(model_part(problem, name, parts[name])).facilities
        pairs = sum(group.joining.size for group in program.groups)
        if pairs > MOST_PAIRS:
            complaint = Complaint(
                place="workload",
                problem=f"makes a program of {pairs} pairs of a class and a facility",
                cure=f"at most {MOST_PAIRS}: fewer fragments, or a coarser profile",
            )
            raise InputError("command line", [complaint])
        from solver.reference import reference_model  # PuLP is slow to import

        with own_output():
            reference = reference_model(program)
            write = reference.writeLP if output.suffix == ".lp" else reference.writeMPS
            write(str(output))
    notes.print(f"{output}: {len(reference.variables())} variables, {len(program)} classes of {name}")
