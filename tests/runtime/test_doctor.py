"""The doctor says what a machine can do, what is missing, and what to do about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from runtime import cgroups, commands_measure
from runtime.doctor import examine


def run(*arguments: str) -> Any:
    app = typer.Typer()
    app.command()(commands_measure.doctor)
    return CliRunner().invoke(app, list(arguments))


def test_a_machine_that_runs_these_tests_can_serve_on_its_cores() -> None:
    result = run()
    assert result.exit_code == 0, result.output
    for subject in (
        "processor cores",
        "memory",
        "torch",
        "weights cache",
        "shared memory",
        "CPU shares",
        "MPS",
    ):
        assert subject in result.output


def test_what_a_gpu_needs_and_is_not_there_ends_with_1_and_says_what_to_do() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is an NVIDIA GPU here")
    result = run("--device", "cuda", "--json")
    assert result.exit_code == 1
    findings = {finding["subject"]: finding for finding in json.loads(result.output)}
    assert findings["NVIDIA driver"]["state"] == "missing"
    assert findings["NVIDIA driver"]["needed"]
    assert "install" in findings["NVIDIA driver"]["cure"]
    # The same findings do not matter where cores serve.
    assert not {f.subject: f for f in examine("cpu")}["NVIDIA driver"].needed


def test_without_quotas_shares_are_degraded_and_the_reason_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroups, "_mounts", list)
    monkeypatch.setenv("REGRAFT_CGROUP", str(tmp_path / "nowhere"))
    found = {finding.subject: finding for finding in examine("cpu")}["CPU shares"]
    assert found.state == "degraded"
    assert "nowhere does not exist" in found.detail
    assert "Delegate" in found.cure


def test_a_cache_that_cannot_be_written_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("REGRAFT_CACHE", str(tmp_path / "file" / "cache"))
    result = run("--json")
    found = {finding["subject"]: finding for finding in json.loads(result.output)}["weights cache"]
    assert found["state"] == "missing"
    assert "REGRAFT_CACHE" in found["cure"]
    assert result.exit_code == 1


def test_an_unknown_device_is_refused() -> None:
    result = run("--device", "tpu")
    assert result.exit_code == 2
    assert "expected cpu or cuda" in result.output
