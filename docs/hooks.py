"""What the site adds when it is built: references generated from the code, links made to fit."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]


def on_config(config: Any) -> Any:
    """Pages that the navigation does not name come under Explanation, so that none is lost."""
    named = json.dumps(config["nav"])
    section = next(part["Explanation"] for part in config["nav"] if "Explanation" in part)
    section.extend(page.name for page in sorted((ROOT / "docs").glob("*.md")) if page.name not in named)
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the generated pages."""
    pages = {
        "reference/command-line.md": command_line(),
        "reference/settings.md": settings(),
        "reference/rest.md": rest(),
    }
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """A link to a file of the repository becomes its name: the site has only the documentation."""
    return re.sub(r"\[([^\]]+)\]\(\.\./([^)]+)\)", _outside, markdown)


def _outside(found: re.Match[str]) -> str:
    # From a page in a folder, ../ leads to the documentation itself.
    inside = (ROOT / "docs" / found[2].partition("#")[0]).exists()
    return found[0] if inside else f"`{found[2]}`"


def command_line() -> str:
    """Every command's own help."""
    import click
    from typer.main import get_command

    from api.command_line import regraft

    root = get_command(regraft)
    parts = ["# Command line", "", "Generated from the commands' own help texts."]

    def describe(command: Any, name: str, parent: Any) -> None:
        context = click.Context(command, info_name=name, parent=parent, terminal_width=100)
        if parent is not None:
            parts.extend([f"\n## {context.command_path}\n", "```text", command.get_help(context), "```"])
        if hasattr(command, "list_commands"):
            for inner in command.list_commands(context):
                describe(command.get_command(context, inner), inner, context)

    describe(root, "regraft", None)
    return "\n".join(parts) + "\n"


def settings() -> str:
    """Every environment variable of the service."""
    from api.settings import Settings

    rows = [
        f"| `REGRAFT_{name.upper()}` | {_default(field.default)} | {field.description or ''} |"
        for name, field in Settings.model_fields.items()
    ]
    head = ["# Settings of the service", "", "Generated from `api/settings.py`. Times in seconds.", ""]
    return "\n".join([*head, "| variable | default | what |", "|---|---|---|", *rows]) + "\n"


def rest() -> str:
    """Every operation of the API."""
    described = json.loads((ROOT / "openapi.json").read_text())
    parts = [
        "# REST API",
        "",
        "Generated from `openapi.json`; a running service shows the whole description at `/docs`.",
        "",
        "| request | what |",
        "|---|---|",
    ]
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            said = operation["description"].split("\n")[0]
            parts.append(f"| `{method.upper()} {path}` | {said} |")
    return "\n".join(parts) + "\n"


def _default(value: Any) -> str:
    return "none" if value in (None, "") else f"`{str(value).lower() if isinstance(value, bool) else value}`"
