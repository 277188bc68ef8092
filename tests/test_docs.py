"""The documentation keeps its word: its commands are run, or at least understood, its references whole.

A page's blocks marked `sh` are run one after the other, as somebody who follows the page would, in an empty
folder; blocks with the title of a file are that file. Where a block's title says that it needs something else
(a GPU, several machines), and on the older pages, the commands are parsed to the last option.
"""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from typer.main import get_command

from api.command_line import regraft
from api.settings import Settings
from planner import formats
from tests.profiles import make_profile, make_workload

ROOT = Path(__file__).parents[1]
PAGES = sorted(ROOT.glob("docs/**/*.md"))
FOLLOWED = ["docs/tutorial.md", "docs/how-to/own-model.md", "docs/how-to/own-solver.md"]
_BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[tuple[str, str | None, str]]:
    """(language, title, content) of a page's fenced blocks."""
    return [(kind, title or None, content) for kind, title, content in _BLOCK.findall(page.read_text())]


def commands(page: Path) -> list[str]:
    """Every line of a page's blocks that is a `regraft` command, without comments and what is piped to."""
    text = re.sub(r"\s*\\\n\s*", " ", page.read_text())  # a command may go on in the next line
    found = []
    for line in text.splitlines():
        if not re.match(r"(    )?regraft [a-z]", line):
            continue
        for part in line.strip().split(" | "):
            bare = re.split(r"\s{2,}|\s#|\s>|\s&$", part.strip())[0]
            if bare.startswith("regraft ") and "…" not in bare and "[" not in bare:
                found.append(bare)
    return found


CASES = [
    pytest.param(command, id=f"{page.name}: {command[:60]}")
    for page in [ROOT / "README.md", *PAGES]
    for command in dict.fromkeys(commands(page))
]


@pytest.mark.parametrize("command", CASES)
def test_a_command_is_one_with_all_its_options(command: str) -> None:
    words = shlex.split(command.replace("$P", "--profile p.json").replace("$(cat plan-id)", "plan"))[1:]
    node: Any = get_command(regraft)
    parent = click.Context(node, info_name="regraft")
    while hasattr(node, "get_command"):
        name = words.pop(0)
        node = node.get_command(parent, name)
        assert node is not None, f"there is no command {name!r}"
    node.make_context(node.name, words, parent=parent)


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.name)
def test_commands_within_the_text_are_ones_with_these_options(page: Path) -> None:
    for told in re.findall(r"`regraft ([a-z][^`]*)`", page.read_text()):
        node: Any = get_command(regraft)
        parent = click.Context(node, info_name="regraft")
        words = told.split()
        while hasattr(node, "get_command") and words and words[0].isalpha():
            node = node.get_command(parent, words.pop(0))
            assert node is not None, told
        known = {option for parameter in node.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, told


@pytest.mark.slow
@pytest.mark.parametrize("name", FOLLOWED)
def test_a_page_can_be_followed_from_top_to_bottom(name: str, tmp_path: Path) -> None:
    if name.endswith("own-solver.md"):
        # The page begins with what the tutorial has left.
        profile = make_profile("net", "cpu", layers=5)
        (tmp_path / "net.json").write_bytes(formats.dumps(profile))
        (tmp_path / "workload.json").write_bytes(formats.dumps(make_workload([profile], fragments=6)))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    script = ["set -euo pipefail", "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT"]
    for kind, title, content in blocks(ROOT / name):
        if title is not None and "." in title:
            (tmp_path / title).write_text(content)
        elif kind == "sh" and title is None:
            for line in content.splitlines():
                script.append(line.replace("8080", str(port)))
                if line.endswith(" &"):
                    script.append(
                        f"for _ in $(seq 300); do (: < /dev/tcp/127.0.0.1/{port}) 2>/dev/null && break; "
                        "sleep 0.2; done"
                    )
    assert sum(line.startswith("regraft ") for line in script) > 0
    home = {name: value for name, value in os.environ.items() if not name.startswith("REGRAFT_")}
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=tmp_path,
        env={**home, "PATH": f"{Path(sys.executable).parent}:{home['PATH']}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_setting_is_in_the_table() -> None:
    told = (ROOT / "docs" / "service.md").read_text()
    assert [name for name in Settings.model_fields if f"REGRAFT_{name.upper()}" not in told] == []


def test_every_link_leads_somewhere() -> None:
    for page in [ROOT / "README.md", *PAGES]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", page.read_text()):
            generated = page.name == "index.md" and target.startswith("reference/")
            assert generated or (page.parent / target).exists(), (page.name, target)
