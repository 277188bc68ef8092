"""The commands that look after a service, and those that talk to one."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from api import commands, commands_remote
from api.settings import Settings
from planner import formats
from planner.plan import Plan
from planner.workload import Fragment, Workload
from tests.api.service import ALL_SCOPES, PROFILE, WORKLOAD, RunningService, write_documents
from tests.api.test_deployments import register


def invoke(command: Callable[..., None] | typer.Typer, *arguments: str) -> Result:
    """Run a command as the console script would."""
    app = command
    if not isinstance(app, typer.Typer):
        app = typer.Typer()
        app.command()(command)
    return CliRunner().invoke(app, list(arguments))


def test_from_a_file_to_a_deployment_and_back(
    service: RunningService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGRAFT_SERVICE", service.address)
    monkeypatch.setenv("REGRAFT_KEY", service.key(*ALL_SCOPES))
    workload, profile = map(str, write_documents(tmp_path))
    made = []
    for strategy in ("gslice", "graft"):
        done = invoke(
            commands_remote.submit, workload, "--profile", profile, "--strategy", strategy, "--wait"
        )
        assert done.exit_code == 0, done.output
        made.append(done.stdout.split()[-1])
    assert invoke(commands_remote.runs).stdout.count("succeeded") == 2
    assert [
        line.split("\t")[0] for line in invoke(commands_remote.plans, "list").stdout.splitlines()
    ] == made[::-1]
    shown = invoke(commands_remote.plans, "show", made[0]).stdout
    assert formats.parse(Plan, shown.encode(), source="output").strategy == "gslice"
    difference = json.loads(invoke(commands_remote.plans, "diff", *made).stdout)
    assert (difference["before"], difference["after"]) == tuple(made)

    refused = invoke(commands_remote.deploy, made[0])
    assert refused.exit_code == 2
    assert "no node is live" in refused.output
    register(service.http())
    for plan in made:
        assert invoke(commands_remote.deploy, plan).exit_code == 0
    back = invoke(commands_remote.rollback)
    assert "generation 3: rolls back to 1" in back.stdout
    nodes = invoke(commands_remote.nodes)
    assert nodes.exit_code == 1
    assert "not_reported" in nodes.stdout


def test_promises_that_cannot_be_kept_exit_with_3(service: RunningService, tmp_path: Path) -> None:
    _, profile = write_documents(tmp_path)
    hopeless = Fragment(id="hopeless", model="net", start=0, budget_ms=0.001, rate_rps=1.0)
    formats.write(Workload(fragments=(hopeless,)), tmp_path / "hopeless.json")
    arguments = [str(tmp_path / "hopeless.json"), "--profile", str(profile), "--strategy", "graft", "--wait"]
    done = invoke(
        commands_remote.submit, *arguments, "--service", service.address, "--key", service.key(*ALL_SCOPES)
    )
    assert done.exit_code == 3
    assert json.loads(done.stdout[done.stdout.index("{") :])["unplanned"][0]["fragment"] == "hopeless"


def test_a_run_is_submitted_without_waiting_and_cancelled(
    start_service: Callable[..., RunningService], tmp_path: Path
) -> None:
    service = start_service(run_workers=0)
    workload, profile = map(str, write_documents(tmp_path))
    to = ["--service", service.address, "--key", service.key(*ALL_SCOPES)]
    run = invoke(commands_remote.submit, workload, "--profile", profile, *to).stdout.strip()
    assert invoke(commands_remote.runs, "--cancel", run, *to).stdout.startswith(f"{run}\tcancelled")
    assert json.loads(invoke(commands_remote.runs, run, *to).stdout)["state"] == "cancelled"
    both = invoke(commands_remote.runs, run, "--stop", run, *to)
    assert (both.exit_code, "one of" in both.output) == (2, True)


def test_without_a_key_or_with_a_false_one_the_message_says_what_to_do(service: RunningService) -> None:
    without = invoke(commands_remote.runs, "--service", service.address, "--key", "")
    assert without.exit_code == 2
    assert "regraft keys create" in without.output
    false = invoke(commands_remote.runs, "--service", service.address, "--key", "rg_x_y")
    assert false.exit_code == 2
    assert "not valid" in false.output


def test_keys_are_made_shown_once_listed_and_revoked(sqlite_url: str) -> None:
    database = ["--database", sqlite_url]
    made = invoke(commands.keys, "create", "--name", "ops", "--scopes", "read, deploy", *database)
    assert made.exit_code == 0
    key = made.stdout.strip()
    listed = invoke(commands.keys, "list", *database).stdout
    assert "ops\tread,deploy" in listed
    assert key not in listed
    assert "revoked" in invoke(commands.keys, "revoke", "ops", *database).stdout
    assert "revoked" in invoke(commands.keys, "list", *database).stdout
    again = invoke(commands.keys, "revoke", "ops", *database)
    assert again.exit_code == 2


@pytest.mark.parametrize("name", ["", " ", "a\tb", "x" * 201])
def test_a_key_has_a_name_that_lists_can_show(sqlite_url: str, name: str) -> None:
    arguments = ["create", "--name", name, "--scopes", "read", "--database", sqlite_url]
    refused = invoke(commands.keys, *arguments)
    assert refused.exit_code == 2
    assert "printable" in refused.output


@pytest.mark.parametrize("key", ["rg_1_ü", "rg_1_secret\nwith a line break", "rg_1_\x00"])
def test_a_key_that_cannot_be_one_is_not_repeated_in_the_message(key: str) -> None:
    refused = invoke(commands_remote.runs, "--key", key)
    assert refused.exit_code == 2
    assert "no API key" in refused.output
    assert key.split("_", 2)[2] not in refused.output


def test_a_key_from_a_file_with_a_line_end_works(service: RunningService) -> None:
    done = invoke(commands_remote.runs, "--service", service.address, "--key", service.key("read") + "\n")
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("url", ["postgresql//me:s3cret@host/x", "postgresql://me:s3cret@127.0.0.1:1/x"])
def test_a_databases_password_is_not_repeated_in_messages(url: str) -> None:
    refused = invoke(commands.keys, "list", "--database", url)
    assert refused.exit_code == 2
    assert "s3cret" not in refused.output


def test_a_database_in_use_is_copied_whole(service: RunningService, tmp_path: Path) -> None:
    client, target = service.client(), tmp_path / "copy.sqlite"
    workload, profile = client.create_workload(WORKLOAD), client.create_profile(PROFILE)
    before = {
        client.submit_run(workload=workload, profiles=[profile], strategy="gslice").id for _ in range(5)
    }
    ended = threading.Event()

    def write() -> None:
        while not ended.is_set():
            client.derive_profile(profile, cost_per_share=random.uniform(1, 2))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        done = invoke(commands.db, "backup", str(target), "--database", service.settings.database)
    finally:
        ended.set()
        writer.join()
    assert done.exit_code == 0, done.output
    assert [path.name for path in tmp_path.glob("copy*")] == ["copy.sqlite"]
    copy = RunningService(Settings(database=f"sqlite:///{target}"))
    try:
        assert before <= {run.id for run in copy.client("read").runs()}
    finally:
        copy.stop()
    again = invoke(commands.db, "backup", str(target), "--database", service.settings.database)
    assert (again.exit_code, "already there" in again.output) == (2, True)


@pytest.mark.parametrize("scopes", ["", "root", "read,root"])
def test_a_scope_that_does_not_exist_is_refused_with_those_that_do(sqlite_url: str, scopes: str) -> None:
    arguments = ["create", "--name", "x", "--scopes", scopes, "--database", sqlite_url]
    refused = invoke(commands.keys, *arguments)
    assert refused.exit_code == 2
    assert "read, plan, deploy, agent" in refused.output
