"""The house keeps its order: who may import whom, and what a command may pull in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run(*code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *code], capture_output=True, text=True, cwd=ROOT, check=False)


def test_imports_run_api_planner_solver_and_runtime_planner() -> None:
    result = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("command", "strangers"),
    [
        ("plan", ["torch", "fastapi", "sqlalchemy", "zmq", "runtime"]),
        ("verify", ["torch", "fastapi", "sqlalchemy", "zmq", "runtime"]),
        ("agent", ["torch", "fastapi", "sqlalchemy", "ortools"]),
        ("profile", ["torch", "fastapi", "sqlalchemy", "ortools"]),
        ("serve", ["torch", "sqlalchemy", "ortools", "runtime"]),
        ("report", ["torch", "fastapi", "sqlalchemy", "ortools", "jinja2", "runtime"]),
    ],
)
def test_a_command_shows_its_help_without_importing_what_is_not_its_own(
    command: str, strangers: list[str]
) -> None:
    code = (
        "import sys; from api.command_line import regraft\n"
        f"try: regraft(['{command}', '--help'], prog_name='regraft')\n"
        "except SystemExit as end: assert end.code in (0, None), end.code\n"
        f"found = [name for name in {strangers!r} if name in sys.modules]\n"
        "assert not found, found"
    )
    result = run("-c", code)
    assert result.returncode == 0, result.stderr
    assert "Usage: regraft" in result.stdout
