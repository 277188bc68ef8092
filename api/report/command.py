"""`regraft report`: pictures and tables of a plan or a comparison, from files alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from api.pictures.account import Account

_COMPARISON = "regraft.comparison/v1"


def report(
    made: Annotated[
        Path,
        typer.Argument(
            metavar="PLAN|RESULT",
            help="A plan (regraft.plan/v1), or the result of `regraft compare`; - is standard input.",
        ),
    ],
    output: Annotated[Path, typer.Option(help="Where the report goes (HTML); - is standard output.")],
    workload: Annotated[
        Path | None, typer.Option(help="The workload it was made for: adds rates and budgets.")
    ] = None,
    profile: Annotated[
        list[Path] | None,
        typer.Option(help="A profile: adds memory and the layers' names; repeat it, once a file."),
    ] = None,
    title: Annotated[str | None, typer.Option(help="What stands above it.")] = None,
    rows: Annotated[int, typer.Option(min=1, help="Most rows of a table.")] = 200,
    svg: Annotated[
        Path | None, typer.Option(help="Folder that gets every picture as an SVG file of its own.")
    ] = None,
) -> None:
    """Draw a plan, or strategies side by side, as one HTML file that needs no service and no network.

    It shows how fragments flow through the layers and where they meet, what lies on every GPU, where each
    budget goes, and why a fragment was left out.
    """
    from api.pictures.account import Account
    from api.report.document import pictures
    from api.report.document import report as report_text
    from planner import formats
    from planner.terminal import exit_codes, notes
    from planner.workload import Workload

    with exit_codes():
        plans, table, bound = _read(made)
        demand = formats.read(Workload, workload) if workload is not None else None
        profiles = formats.read_profiles(profile or [])
        accounts: dict[str, Account] = {name: Account(plan, demand, profiles) for name, plan in plans.items()}
        default = "A plan" if not table else "Strategies compared"
        text = report_text(accounts, title=title or default, rows=table, best_lower_bound=bound, most=rows)
        formats.write_bytes(text.encode(), output)
        if svg is not None:
            svg.mkdir(parents=True, exist_ok=True)
            for name, drawn in pictures(accounts, table, bound).items():
                formats.write_bytes(drawn.encode(), svg / name)
    if str(output) != "-":
        notes.print(f"{output}: {len(text.encode()) / 1000:.0f} kB", markup=False, soft_wrap=True)


def _read(made: Path) -> tuple[dict[str, Any], list[dict[str, Any]], float | None]:
    """Plans by name, the table's rows and the best bound. Raises InputError."""
    from planner import formats
    from planner.errors import Complaint, InputError
    from planner.plan import Plan

    content = formats.read_bytes(made)
    source = "standard input" if str(made) == "-" else str(made)
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        data = None  # the reader of plans says what is wrong with it
    if not isinstance(data, dict) or data.get("format") != _COMPARISON:
        plan = formats.parse(Plan, content, source=source)
        return {plan.strategy: plan}, [], None
    rows, plans = data.get("rows"), data.get("plans")
    if not isinstance(rows, list) or not isinstance(plans, dict):
        cure = "give a file that `regraft compare` wrote"
        raise InputError(source, [Complaint(place="rows, plans", problem="are not there", cure=cure)])
    parsed = {
        str(name): formats.parse(Plan, json.dumps(plan).encode(), source=f"{source}: plans.{name}")
        for name, plan in plans.items()
    }
    return (
        parsed,
        [_row(source, number, row) for number, row in enumerate(rows)],
        data.get("best_lower_bound"),
    )


def _row(source: str, number: int, row: Any) -> dict[str, Any]:
    from planner.comparing import Row
    from planner.errors import Complaint, InputError

    try:
        known = Row(**row)
    except TypeError:
        complaint = Complaint(
            place=f"rows[{number}]",
            problem="is no row of a comparison",
            cure="as `regraft compare` writes them",
        )
        raise InputError(source, [complaint]) from None
    return {name: getattr(known, name) for name in Row.__dataclass_fields__}
