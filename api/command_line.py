"""The `regraft` command: put together from the commands that each package declares.

Every command is an entry point of the group `regraft.commands`; only the one that is called is imported,
so `regraft plan` starts without torch and `regraft agent` without the service.
"""

from __future__ import annotations

import os
import sys
import threading
from importlib.metadata import EntryPoint, entry_points, version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

GROUP = "regraft.commands"

# Threads of searches that did not listen when their time was over. HiGHS takes a process that ends the usual
# way down with it (SIGABRT), and the plan was made.
LEFT_BEHIND = ("search", "highs")

# The order of a first visit: see it run, measure, describe, plan, check, serve.
_ORDER = [
    "demo",
    "profile",
    "partition",
    "plan",
    "verify",
    "compare",
    "simulate",
    "serve",
    "agent",
    "gateway",
    "bench",
]


class CommandLine(TyperGroup):
    """A group of commands that are found among the installed entry points and loaded when asked for."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        names = {entry.name for entry in entry_points(group=GROUP)}
        return [name for name in _ORDER if name in names] + sorted(names - set(_ORDER))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        for entry in entry_points(group=GROUP, name=cmd_name):
            return _load(entry)
        return None


def _load(entry: EntryPoint) -> Any:
    target: Any = entry.load()
    if not isinstance(target, typer.Typer):
        app = typer.Typer(add_completion=False, rich_markup_mode=None, context_settings=_HELP)
        app.command(name=entry.name)(target)
        target = app
    command = get_command(target)
    command.name = entry.name
    return command


_HELP = {"help_option_names": ["-h", "--help"]}

regraft = typer.Typer(
    cls=CommandLine,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings=_HELP,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"regraft {version('regraft')}")
        raise typer.Exit


@regraft.callback()
def root(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Plan and serve hybrid deep learning on shared GPUs.

    \b
    A first visit:
      regraft demo                                   the whole path, on this machine
      regraft profile resnet18 --output profiles     what a model costs here, layer by layer
      regraft partition CLIENTS --profile FILE --output WORKLOAD
      regraft plan WORKLOAD --profile FILE --strategy optimal --output PLAN
      regraft verify PLAN --workload WORKLOAD --profile FILE

    \b
    Exit codes: 0 done; 1 a check said no; 2 the input is wrong;
    3 no plan meets the promises, with the reasons as JSON on standard output.
    """


def main() -> None:
    """The console script."""
    try:
        regraft(prog_name="regraft")
    except SystemExit as end:
        if all(thread.name not in LEFT_BEHIND for thread in threading.enumerate()):
            raise
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(end.code if isinstance(end.code, int) else int(end.code is not None))
