"""`regraft` commands, run in the process of the test: starting one is most of what a short command costs."""

from __future__ import annotations

import contextlib
from pathlib import Path
from subprocess import CompletedProcess

from typer.testing import CliRunner

from api import command_line


def regraft(folder: Path, *arguments: str, stdin: bytes | None = None) -> CompletedProcess[bytes]:
    """What the command does in that folder."""
    with contextlib.chdir(folder):
        done = CliRunner().invoke(command_line.regraft, list(arguments), input=stdin)
    if not isinstance(done.exception, SystemExit | None):
        raise done.exception
    return CompletedProcess(arguments, done.exit_code, done.stdout_bytes, done.stderr_bytes)
