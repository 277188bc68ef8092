"""The report as text, from plans and what they were made from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from markupsafe import Markup

from api.pictures.account import Account
from api.pictures.flow import flow_picture
from api.pictures.gpus import gpu_picture
from api.pictures.sides import Side, sides_picture
from api.pictures.templating import environment, styles

_TEMPLATES = Path(__file__).parent / "templates"


def report(
    accounts: dict[str, Account],
    *,
    title: str,
    rows: Sequence[dict[str, Any]] = (),
    best_lower_bound: float | None = None,
    most: int,
) -> str:
    """One self-contained HTML page: the plans by name, with a table of strategies where `rows` has any."""
    made = environment(_TEMPLATES)
    made.filters["anchor"] = anchor
    return made.get_template("report.html").render(
        title=title,
        lead=_lead(accounts, rows),
        accounts=accounts,
        rows=rows,
        sides=_sides(rows, best_lower_bound),
        most=most,
        level=3 if rows else 2,
        styles=styles(),
        version=version("regraft"),
    )


def pictures(
    accounts: dict[str, Account], rows: Sequence[dict[str, Any]] = (), best_lower_bound: float | None = None
) -> dict[str, str]:
    """Every picture as an SVG file of its own, by file name; colours for light paper."""
    drawn: dict[str, Markup] = {}
    for name, account in accounts.items():
        prefix = f"{anchor(name)}-" if len(accounts) > 1 else ""
        for model in account.models:
            if account.has_stages(model):
                drawn[f"{prefix}flow-{anchor(model)}.svg"] = flow_picture(account, model)
        drawn[f"{prefix}gpus.svg"] = gpu_picture(account)
    sides = _sides(rows, best_lower_bound)
    if sides is not None:
        drawn["sides.svg"] = sides
    light = re.sub(r"@media \(prefers-color-scheme: dark\) \{.*?\n\}\n", "", styles(), flags=re.DOTALL)
    inside = f"<style>{light}</style>"
    return {
        name: re.sub(r"(<svg[^>]*>)", lambda m: m[1] + inside, str(svg), count=1)
        for name, svg in drawn.items()
    }


def anchor(name: str) -> str:
    """A name as part of an address or a file name."""
    return re.sub(r"[^A-Za-z0-9_.-]", lambda found: {"+": "-plus"}.get(found[0], "-"), name)


def _sides(rows: Sequence[dict[str, Any]], bound: float | None) -> Markup | None:
    sides = [
        Side(strategy=row["strategy"], share=row.get("share"), state=row["status"].replace("_", " "))
        for row in rows
    ]
    return sides_picture(sides, bound)


def _lead(accounts: dict[str, Account], rows: Sequence[dict[str, Any]]) -> str:
    account = next(iter(accounts.values()), None)
    if account is None:
        return "No strategy found a plan."
    what = f"{len(rows)} strategies on the same workload. " if rows else ""
    if account.workload is None:
        return f"{what}Drawn from the plan alone; --workload and --profile add rates, budgets and memory."
    fragments = account.workload.fragments
    phones = sum(item.count for item in fragments)
    of = f"{len(fragments)} fragments of {phones} phones" if phones != len(fragments) else f"{phones} phones"
    return f"{what}{of}, {', '.join(account.models)}."
