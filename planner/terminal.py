"""What the planner's commands print: errors with their exit codes, progress, and tables."""

from __future__ import annotations

import ctypes
import gc
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from planner.budgeting import BudgetUse
from planner.comparing import Row
from planner.errors import DoesNotFitError, InfeasibleError, InputError
from planner.plan import Plan
from planner.planning import TOGETHER
from planner.problem import Progress, ProgressReport

CHECK_FAILED = 1
INPUT_WRONG = 2
NO_PLAN = 3


def console(*, stderr: bool = False) -> Console:
    """A console as wide as the terminal, or wide enough for our tables where there is none."""
    made = Console(stderr=stderr, highlight=False)
    if not made.is_terminal:
        made.width = max(made.width, 160)
    return made


# Results and reasons go to standard output, which may be piped; everything else goes here.
notes = console(stderr=True)


def collect_seldom() -> None:
    """Have Python's collector of garbage look less often.

    The documents of a million fragments are millions of objects that all stay; looking at them again and
    again took a fifth of the time of planning them.
    """
    gc.set_threshold(200_000, 20, 100)


@contextmanager
def exit_codes(workload: Path | None = None) -> Iterator[None]:
    """Turn the planner's errors into messages and the exit codes of the command line.

    `workload` is the file to name where workload and profiles do not fit together.
    """
    try:
        yield
    except InputError as error:
        if workload is not None and error.source == TOGETHER:
            error = InputError(f"{workload} (with the profiles given)", error.complaints)
        notes.print(str(error), style="red", markup=False, soft_wrap=True)
        raise typer.Exit(INPUT_WRONG) from None
    except InfeasibleError as error:
        _reasons("infeasible", str(error), "unplanned", [asdict(reason) for reason in error.reasons])
        raise typer.Exit(NO_PLAN) from None
    except DoesNotFitError as error:
        more = {} if error.would_help is None else {"would_help": error.would_help}
        _reasons("does_not_fit", str(error), "missing", error.missing, more)
        raise typer.Exit(NO_PLAN) from None


def _reasons(
    status: str, message: str, field: str, reasons: list[dict[str, Any]], more: dict[str, Any] | None = None
) -> None:
    notes.print(message, style="red", markup=False, soft_wrap=True)
    print(json.dumps({"status": status, "message": message, field: reasons, **(more or {})}, indent=1))


@contextmanager
def own_output() -> Iterator[None]:
    """Keep standard output for results: what libraries print meanwhile goes to standard error.

    HiGHS has a line or two that no option turns off, and a plan on standard output must stay one document.
    """
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        ctypes.CDLL(None).fflush(None)
        os.dup2(kept, 1)
        os.close(kept)


@contextmanager
def progress_line(title: str) -> Iterator[ProgressReport]:
    """A live line on standard error while something solves; silent where nobody looks at a terminal."""
    with notes.status(f"{title} …") as status:

        def show(report: Progress) -> None:
            status.update(f"{title}: {describe(report)}")

        yield show


def describe_exits(said: dict[str, Any]) -> str:
    """What exits save, and what each way of planning costs, in a line."""
    costs = ", ".join(f"{name} {share:g}" for name, share in said["share"].items())
    if said["taken"] == "none":
        return f"not used; share by way of planning: {costs}"
    split = f", split at {said['split_at']}" if said["split_at"] else ", not split"
    return f"{said['exits']} in use{split}; {said['saved']:g} of share saved; by way of planning: {costs}"


def describe(report: Progress) -> str:
    """One line of progress: phase, seconds, share, bound and gap as far as they are known."""
    parts = [f"{report.phase}, {report.t_s:.1f} s"]
    if report.objective is not None:
        parts.append(f"share {report.objective:g}")
    if report.lower_bound is not None:
        parts.append(f"bound {report.lower_bound:.4g}")
    if report.gap is not None:
        parts.append(f"gap {100 * report.gap:.2f} %")
    return ", ".join(parts)


def deadline_s(time_limit_s: float) -> float:
    """When a time limit ends that began with this process, on the clock of `time.perf_counter`.

    Starting Python and loading libraries takes its part, but never more than half of the limit.
    """
    age_s = 0.0
    try:
        with open("/proc/self/stat", encoding="ascii") as stat:
            began_ticks = int(stat.read().rsplit(")", 1)[1].split()[19])
        age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - began_ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, ValueError, IndexError):
        age_s = 0.0  # a system that does not say: the limit begins here
    return time.perf_counter() + max(time_limit_s - max(0.0, age_s), time_limit_s / 2)


def how_it_ended(plan: Plan) -> list[str]:
    """Lines on what was proven of which program, and on what ended the search; none for heuristics."""
    lines = []
    proof, ended = (plan.provenance.settings.get(key) for key in ("proof", "ended"))
    if proof:
        lines.append(f"one shared stage a route (5.2): {_proven(proof)}; {_limit_of(proof)}")
    if ended:
        every = {
            "objective": plan.objective.share,
            "lower_bound": plan.lower_bound,
            "gap": plan.gap,
            "status": plan.status,
        }
        lines.append(f"every valid plan: {_proven(every)}; {_limit_of(ended)}")
    return lines


def _proven(proof: dict[str, Any]) -> str:
    gap = "" if proof["gap"] is None else f", gap {100 * proof['gap']:.2f} %"
    return (
        f"share {_number(proof['objective'])}, bound {_number(proof['lower_bound'])}{gap}, {proof['status']}"
    )


def _limit_of(ended: dict[str, Any]) -> str:
    return f"limit: {ended['limit'] or 'none'} ({ended['detail']})"


def table_of(rows: Sequence[Row]) -> Table:
    """Strategies side by side."""
    table = Table()
    for name in (
        "strategy",
        "status",
        "share",
        "instances",
        "stages",
        "gpus",
        "lower bound",
        "gap",
        "seconds",
    ):
        table.add_column(name, justify="left" if name in ("strategy", "status") else "right")
    for row in rows:
        table.add_row(
            row.strategy,
            row.status,
            _number(row.share),
            _number(row.instances),
            _number(row.stages),
            _number(row.gpus),
            _number(row.lower_bound),
            "–" if row.gap is None else f"{100 * row.gap:.2f} %",
            f"{row.seconds:.2f}",
        )
    return table


def budget_table(uses: Sequence[BudgetUse]) -> Table:
    """Where the budget of every route goes, in ms."""
    table = Table(title="where each budget goes, ms")
    table.add_column("fragment")
    for name in (
        "part",
        "budget",
        "alignment wait",
        "alignment run",
        "shared wait",
        "shared run",
        "slack",
    ):
        table.add_column(name, justify="right")
    table.add_column("stages")
    for use in uses:
        parts = (
            use.budget_ms,
            use.alignment_wait_ms,
            use.alignment_run_ms,
            use.shared_wait_ms,
            use.shared_run_ms,
            use.slack_ms,
        )
        # Names come from files: square brackets in them are no markup.
        stages = escape(" → ".join(use.stages)) + (" (alone)" if use.alone else "")
        table.add_row(
            escape(use.fragment), f"{100 * use.fraction:.4g} %", *(f"{part:.2f}" for part in parts), stages
        )
    return table


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.6g}"
