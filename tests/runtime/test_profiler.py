"""Profiles: measured on this machine, kept when interrupted, and without what noise did to them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise, repeat
from pathlib import Path
from random import Random
from statistics import fmean, stdev
from types import SimpleNamespace
from typing import Any, cast

import psutil
import pytest
import typer
from typer.testing import CliRunner

from planner import formats
from planner.profile import Profile
from runtime import commands_measure
from runtime.cells import Cell, as_fast, profile_of, slower_pct
from runtime.errors import MeasurementError, ModelError
from runtime.models import Chain, open_chain
from runtime.profiler import _in_turn, file_name, is_current, measure
from runtime.profiles import _core_of_its_own
from runtime.stopwatch import Assignment
from runtime.stopwatch_cells import _beyond_on_cpu, _pieces, cell_of, runs_by_turns
from runtime.stopwatch_course import Course, Run
from tests.runtime.cluster import wait_for

# Two milliseconds a run: large enough to be timed, small enough to be quick at 25 %.
MODEL = "tests.runtime.cuttable:blocks:3x64x64"
QUICK = {"batches": (1, 4), "shares": (25, 100), "seconds_budget": 1.0}
# Where what is measured is not looked at.
QUICKER = {**QUICK, "seconds_budget": 0.2}


def run(*arguments: str) -> Any:
    app = typer.Typer()
    app.command()(commands_measure.profile)
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.slow
def test_a_profile_is_complete_and_says_who_measured_it(tmp_path: Path) -> None:
    profile = measure(MODEL, gpu_type="cpu", neighbour=True, **QUICK)
    chain = open_chain(MODEL)
    formats.write(profile, tmp_path / "profile.json")
    assert formats.read(Profile, tmp_path / "profile.json") == profile
    assert profile.layers == chain.layers
    assert profile.cut_bytes == chain.cut_bytes
    assert profile.weight_mb == pytest.approx(chain.weight_mb, abs=1e-6)
    assert all(cell is not None and cell > 0 for row in profile.latency_ms for cells in row for cell in cells)
    # What a stage takes beyond its layers may be below 0 by chance where other work disturbs it: then 0.
    assert profile.stage_overhead_ms > 0 or profile.measured["beyond_layers_ms"] < 0
    # A process that has imported torch, and little more.
    assert 50 < profile.context_mb < 1500
    for field in ("device", "torch", "at", "enforced_by", "additivity_error_pct", "interval_pct"):
        assert profile.measured[field] not in (None, ""), field
    assert profile.measured["runs"] >= 3
    # A batch of one at 25 % waits at most three quarters of its time for the quota.
    assert 0 < profile.measured["beyond_layers_error_ms"] < 1000
    # At 25 %, beside a neighbour at 75 %: however noisy this machine is, it is a number.
    assert profile.measured["neighbour"]["batch"] == 4
    assert -100 < profile.measured["neighbour"]["slower_pct"]["25"] < 1000
    assert set(profile.measured["neighbour"]["slower_pct_by_batch"]["25"]) == {"1", "4"}
    for spread in (profile.measured["spread"], profile.measured["neighbour"]["spread"]):
        assert 0 < spread["0"] <= spread["50"] <= spread["99"] <= spread["100"]

    def whole_ms(batch: int, share: int) -> float:
        place = profile.batches.index(batch), profile.shares.index(share)
        return sum(layer[place[0]][place[1]] or 0 for layer in profile.latency_ms)

    # A quarter of a core takes about four times as long; how exactly depends on what else runs here.
    assert 2 < whole_ms(4, 25) / whole_ms(4, 100) < 20
    assert whole_ms(4, 100) > 1.3 * whole_ms(1, 100)


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What is kept of a profile that was stopped after two of its four cells."""
    partial = tmp_path_factory.mktemp("interrupted") / "model.cpu.partial.json"
    halt = threading.Event()

    def stop_after_two(done: int, total: int, _: str) -> None:
        assert total == 4
        if done == 2:
            halt.set()

    with pytest.raises(MeasurementError, match="what was measured is kept"):
        measure(MODEL, partial=partial, progress=stop_after_two, halt=halt, **QUICKER)
    content: dict[str, Any] = json.loads(partial.read_text())
    assert len(content["cells"]) == 2
    # A figure nobody would measure shows whether it is taken or measured again.
    for cell in content["cells"]:
        cell["processor_ms"] = [1e7 for _ in cell["processor_ms"]]
    return content


def largest_ms(profile: Profile) -> float:
    return max(cell for row in profile.latency_ms for cells in row for cell in cells if cell)


def test_an_interrupted_profile_goes_on_where_it_stopped(interrupted: dict[str, Any], tmp_path: Path) -> None:
    partial = tmp_path / "model.cpu.partial.json"
    partial.write_text(json.dumps(interrupted))
    seen: list[int] = []
    profile = measure(MODEL, partial=partial, progress=lambda done, *_: seen.append(done), **QUICKER)
    assert (seen[0], seen[-1]) == (2, 4)
    assert largest_ms(profile) > 1e6
    assert not partial.exists()


@pytest.mark.slow
def test_a_command_that_is_killed_goes_on_where_it_stopped(tmp_path: Path) -> None:
    arguments = [MODEL, "-o", str(tmp_path), "--batches", "1,4", "--shares", "25,100", "--seconds", "2"]
    code = "import typer; from runtime import commands_measure; typer.run(commands_measure.profile)"
    path = tmp_path / file_name(MODEL, "cpu")
    partial = path.with_suffix(".partial.json")

    def kept() -> list[Any]:
        return json.loads(partial.read_text())["cells"] if partial.exists() else []

    with (tmp_path / "log").open("wb") as log:
        process = psutil.Popen([sys.executable, "-c", code, *arguments], stdout=log, stderr=log)
        wait_for(lambda: len(kept()) >= 2, what="two measured cells")
        [measuring] = process.children()
        process.kill()
        process.wait()
    wait_for(lambda: not measuring.is_running(), what="end of the measuring process")
    before = kept()
    assert not path.exists()
    # A figure nobody would measure shows that it was taken over.
    content = json.loads(partial.read_text())
    content["cells"][0]["processor_ms"] = [1e7 for _ in content["cells"][0]["processor_ms"]]
    partial.write_text(json.dumps(content))
    again = run(*arguments)
    assert again.exit_code == 0, again.output
    assert len(before) < 4
    assert largest_ms(formats.read(Profile, path)) > 1e6
    assert not partial.exists()


def test_a_model_that_fails_takes_no_other_with_it(tmp_path: Path) -> None:
    arguments = ("-o", str(tmp_path), "--batches", "1", "--shares", "100", "--seconds", "0.2", "--jobs", "2")
    done = run("tests.runtime.cuttable:deciding", MODEL, *arguments)
    assert done.exit_code == 2
    assert "cannot be traced" in done.output.replace("\n", " ")
    assert formats.read(Profile, tmp_path / file_name(MODEL, "cpu")).batches == (1,)


@pytest.mark.slow
def test_what_is_measured_beside_a_neighbour_is_measured_while_it_runs_and_ends_with_it() -> None:
    assignment = Assignment(
        model=MODEL,
        seed=0,
        device="cpu",
        core=None,
        batches=(1, 4),
        shares=(25.0,),
        known=(),
        seconds=0.1,
        min_runs=3,
        parent=os.getpid(),
        beside=True,
    )
    turn = threading.Lock()
    told = []
    for event in _in_turn(assignment, mps=False, halt=threading.Event(), turn=turn):
        # From the moment the device is touched until the neighbour is gone, it is nobody else's turn.
        assert turn.locked()
        told.append((event["event"], event.get("batch")))
        if event["event"] == "beside":
            assert len(psutil.Process().children()) == 2
    assert [name for name in told if name[0] in ("cell", "beside")] == [
        ("cell", 1),
        ("cell", 4),
        ("beside", 1),
        ("beside", 4),
    ]
    assert told[-1] == ("end", None)
    assert not turn.locked()
    assert psutil.Process().children() == []


class Waverer:
    """A course of four layers of 1 ms, on a processor whose speed is as told, run by run."""

    device = "cpu"
    share = SimpleNamespace(effective_pct=lambda: 25.0)

    def __init__(self, slowness: Iterator[float], *, rest_ms: float = 0.0) -> None:
        self._slowness = slowness
        self._rest_s = rest_ms / 1000

    def run(self) -> Run:
        return self._run([0.001] * 4)

    def run_rested(self, start: int, end: int) -> Run:
        return self._run([0.001 + self._rest_s, *[0.001] * (end - start - 1)])

    def _run(self, layers_s: list[float]) -> Run:
        slow = next(self._slowness)
        taken = tuple(slow * layer_s for layer_s in layers_s)
        whole_s = 4 * sum(taken)
        return Run(
            total_s=whole_s,
            answered_s=whole_s,
            layer_s=taken,
            processor_s=taken,
            yardstick_s=slow * 0.0001,
        )


def test_a_processor_that_slows_down_for_a_while_does_not_change_what_is_measured() -> None:
    slow = [1.0] * 20 + [1.6] * 9 + [1.0] * 20
    course = Waverer(iter(slow))
    cell = cell_of(cast(Course, course), [course.run() for _ in slow])
    assert cell["yardstick_ms"] == pytest.approx(0.1)
    assert cell["processor_ms"] == pytest.approx([1.0] * 4)
    assert cell["total_ms"] == pytest.approx(16.0)
    assert max(cell["factors"]) == pytest.approx(1.0)
    # And from cell to cell: what was measured while it was slow is taken to have been as fast as the others.
    steady = cells({(1, 50.0): 40.0, (1, 100.0): 20.0, (2, 50.0): 60.0, (2, 100.0): 30.0}, yardstick_ms=0.1)
    wavering = {**steady, (2, 50.0): as_fast(steady[2, 50.0], 0.15)}
    assert wavering[2, 50.0].total_ms == pytest.approx(90.0)
    assert profile_from(wavering).latency_ms == profile_from(steady).latency_ms
    assert profile_from(wavering).measured["yardstick_ms"] == 0.1
    assert slower_pct(steady[1, 50.0], as_fast(steady[1, 50.0], 0.2), on_cpu=True) == pytest.approx(0)
    # Of a GPU nobody says how fast it was.
    assert as_fast(replace(steady[1, 50.0], yardstick_ms=0.0), 0.1).total_ms == 40.0
    assert "yardstick_ms" not in profile_from(cells({(1, 100.0): 20.0})).measured


def test_what_a_stage_takes_after_a_rest_is_beyond_its_layers() -> None:
    chain = cast(Chain, SimpleNamespace(depth=4))
    found = _beyond_on_cpu(chain, cast(Course, Waverer(repeat(1.0), rest_ms=0.3)), 5, 10.0)
    assert found.mean_s == pytest.approx(0.0003)
    assert found.error_s == pytest.approx(0, abs=1e-9)
    assert found.additivity_error_pct == pytest.approx(7.5)
    assert found.around_s == pytest.approx([0.0] * len(found.around_s), abs=1e-9)
    for depth in (1, 2, 3, 4, 18, 200):
        assert all(0 <= start < end <= depth for start, end in _pieces(depth))


def test_what_a_stage_takes_beyond_its_layers_is_right_on_average_however_noisy() -> None:
    chain = cast(Chain, SimpleNamespace(depth=4))
    random = Random(0)
    noise = iter(lambda: random.gauss(1.0, 0.2), None)
    found = [
        _beyond_on_cpu(chain, cast(Course, Waverer(noise, rest_ms=0.03)), 5, 10.0)[:2] for _ in range(200)
    ]
    # It is less than twice its error, so that a single measurement cannot tell it from nothing.
    errors_s = [error_s for _, error_s in found]
    assert fmean(errors_s) > 0.000015
    assert fmean(beyond_s for beyond_s, _ in found) == pytest.approx(
        0.00003, abs=3 * fmean(errors_s) / 200**0.5
    )
    # And it is off by as much as is said.
    assert stdev(beyond_s for beyond_s, _ in found) == pytest.approx(fmean(errors_s), rel=0.2)
    # How single stages lie around their mean, of 1 ms each.
    around_s = _beyond_on_cpu(chain, cast(Course, Waverer(noise, rest_ms=0.03)), 60, 10.0).around_s
    assert fmean(around_s) == pytest.approx(0, abs=1e-9)
    assert stdev(around_s) == pytest.approx(0.0002, rel=0.2)
    # What is less than nothing by chance is told as it is, and not taken off a stage's time.
    below = profile_from(cells({(1, 50.0): 40.0}), beyond_layers_ms=-0.25)
    assert below.measured["beyond_layers_ms"] == -0.25
    assert below.stage_overhead_ms == 0


def test_a_neighbour_is_stopped_while_its_absence_is_measured() -> None:
    neighbour = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        states: list[bool] = []

        def run() -> Run:
            status = psutil.Process(neighbour.pid).status()
            states.append(status == psutil.STATUS_STOPPED)
            return Run(total_s=0.1, answered_s=0.1, layer_s=(0.1,), processor_s=(1.0 + states[-1],))

        course = cast(Course, SimpleNamespace(run=run))
        without, along = runs_by_turns(course, 0.0, 6, neighbour.pid)
        assert len(without) == len(along) == 6
        assert {run.processor_s for run in without} == {(2.0,)}
        assert {run.processor_s for run in along} == {(1.0,)}
        # More than one turn each, and it runs when all is done.
        assert sum(before != after for before, after in pairwise(states)) > 2
        assert psutil.Process(neighbour.pid).status() != psutil.STATUS_STOPPED
    finally:
        neighbour.kill()
        neighbour.wait()


def test_what_another_torch_measured_is_not_used(interrupted: dict[str, Any], tmp_path: Path) -> None:
    partial = tmp_path / "model.cpu.partial.json"
    identity = {**interrupted["identity"], "torch": "1.0"}
    partial.write_text(json.dumps({**interrupted, "identity": identity}))
    profile = measure(MODEL, partial=partial, **QUICKER)
    assert profile.measured["torch"] != "1.0"
    assert largest_ms(profile) < 1e6


def cells(total_ms: dict[tuple[int, float], float], **changes: Any) -> dict[tuple[int, float], Cell]:
    """Cells of two layers, of which the second takes three times as long, each at exactly its share."""
    return {
        (batch, share): Cell(
            batch=batch,
            share=share,
            runs=10,
            total_ms=total,
            interval_pct=1.0,
            layer_ms=(total / 4, total * 3 / 4),
            processor_ms=(total * share / 400, total * share * 3 / 400),
            effective_pct=share,
            **changes,
        )
        for (batch, share), total in total_ms.items()
    }


def profile_from(
    measured: dict[tuple[int, float], Cell],
    *,
    driver: str = "",
    enforced_by: str = "cgroup-v1",
    beyond_layers_ms: float = 0.25,
) -> Profile:
    opened = {
        "layers": ["first", "second"],
        "cut_bytes": [4, 4, 4],
        "weight_mb": [1.0, 1.0],
        "activation_mb": [1.0, 1.0],
        "context_mb": 100.0,
        "enforced_by": enforced_by,
        "device": "a device",
        "driver": driver,
        "torch": "2",
        "tf32": False,
    }
    whole: dict[str, Any] = {"additivity_error_pct": 0.5, "beyond_layers_ms": beyond_layers_ms}
    whole |= {"beyond_layers_error_ms": 0.01, "handling_ms": 0.1, "context_mb": 0.0, "captured": True}
    batches = sorted({batch for batch, _ in measured})
    shares = sorted({share for _, share in measured})
    return profile_of("model", "cpu", batches, shares, opened, whole, measured)


def test_the_sum_over_layers_is_the_mean_of_the_whole_and_layers_get_what_they_use() -> None:
    profile = profile_from(cells({(1, 50.0): 40.0, (1, 100.0): 20.0}))
    assert profile.latency_ms == (((10.0, 5.0),), ((30.0, 15.0),))
    assert profile.measured["smoothed_cells"] == 0
    # 0.35 ms of handling and of a rest take 0.7 ms at half a core.
    assert profile.stage_overhead_ms == pytest.approx(0.7)


def test_what_other_processes_did_is_taken_out_and_said() -> None:
    measured = cells({(1, 50.0): 40.0, (1, 100.0): 20.0})
    disturbed = measured[1, 50.0]
    measured[1, 50.0] = Cell(
        **{**{field: getattr(disturbed, field) for field in Cell.__dataclass_fields__}, "total_ms": 120.0}
    )
    profile = profile_from(measured)
    assert sum(row[0][0] or 0 for row in profile.latency_ms) == pytest.approx(42.0)
    assert profile.measured["disturbed_cells"] == 1
    assert profile.measured["disturbed_pct"] == pytest.approx(200.0)


def test_more_share_is_never_slower_and_a_larger_batch_never_faster() -> None:
    noisy = {
        (1, 25.0): 100.0,
        (1, 50.0): 104.0,
        (1, 100.0): 60.0,
        (2, 25.0): 98.0,
        (2, 50.0): 70.0,
        (2, 100.0): 71.0,
    }
    profile = profile_from(cells(noisy), driver="1.0", enforced_by="mps")
    for layer in profile.latency_ms:
        for row in layer:
            assert all(first >= second - 1e-9 for first, second in pairwise(row))  # type: ignore[operator]
        for smaller, larger in pairwise(layer):
            assert all(a <= b + 1e-9 for a, b in zip(smaller, larger, strict=True))  # type: ignore[operator]
    assert profile.measured["smoothed_cells"] > 0
    assert profile.measured["smoothed_by_pct"] > 1
    # Nothing moved further than the noise did.
    assert profile.measured["smoothed_by_pct"] < 35


def test_where_a_smaller_batch_really_takes_longer_the_larger_one_is_planned_to_as_well() -> None:
    measured = cells({(1, 50.0): 40.0, (1, 100.0): 20.0, (2, 50.0): 44.0, (2, 100.0): 22.0})
    for (batch, share), cell in measured.items():
        # The second layer of a single sample takes another kernel, at every share.
        layers = {1: (10.0, 30.0), 2: (26.0, 18.0)}[batch]
        fields = {field: getattr(cell, field) for field in Cell.__dataclass_fields__}
        fields["layer_ms"] = tuple(ms * 50 / share for ms in layers)
        fields["processor_ms"] = tuple(ms / 2 for ms in layers)
        measured[batch, share] = Cell(**fields)
    profile = profile_from(measured)
    assert profile.latency_ms[0] == ((10.0, 5.0), (26.0, 13.0))
    assert profile.latency_ms[1] == ((30.0, 15.0), (30.0, 15.0))
    assert profile.measured["faster_batches"] == 1
    assert profile.measured["faster_batches_pct"] == pytest.approx(66.7)
    # That is no noise.
    assert profile.measured["smoothed_cells"] == 0


def test_how_runs_lie_around_their_mean_is_kept() -> None:
    factors = tuple(0.95 + 0.001 * number for number in range(101))
    measured = cells({(1, 50.0): 40.0, (1, 100.0): 20.0}, factors=factors)
    spread = profile_from(measured).measured["spread"]
    assert spread["0"] == pytest.approx(0.95, abs=1e-3)
    assert spread["50"] == pytest.approx(1.0)
    assert spread["100"] == pytest.approx(1.05, abs=1e-3)
    # Two runs are as far apart as two of many would be, on average.
    two = profile_from(cells({(1, 50.0): 40.0}, factors=(0.9, 1.1))).measured["spread"]
    assert two["100"] == pytest.approx(1.0 + 0.1 * 2**0.5, abs=1e-4)
    assert "spread" not in profile_from(cells({(1, 50.0): 40.0}, factors=(1.0,))).measured


def test_what_is_monotone_is_left_alone() -> None:
    profile = profile_from(cells({(1, 50.0): 40.0, (1, 100.0): 20.0, (2, 50.0): 70.0, (2, 100.0): 35.0}))
    assert [sum(row[b][s] or 0 for row in profile.latency_ms) for b in (0, 1) for s in (0, 1)] == [
        40,
        20,
        70,
        35,
    ]
    assert profile.measured["smoothed_cells"] == 0


def test_a_model_that_cannot_be_cut_is_refused_by_the_measuring_process() -> None:
    with pytest.raises(ModelError, match="cannot be traced"):
        measure("tests.runtime.cuttable:deciding", **QUICK)


def test_models_measured_side_by_side_do_not_share_a_core(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with (
        _core_of_its_own([6, 7]) as first,
        _core_of_its_own([6, 7]) as second,
        _core_of_its_own([6, 7]) as third,
    ):
        assert {first, second} == {6, 7}
        assert third is None
    with _core_of_its_own([6, 7]) as again:
        assert again == 7


def test_the_command_writes_profiles_and_does_not_measure_twice(tmp_path: Path) -> None:
    arguments = (MODEL, "-o", str(tmp_path), "--batches", "1", "--shares", "50,100", "--seconds", "0.2")
    # Left by a run that was asked for another share.
    partial = (tmp_path / file_name(MODEL, "cpu")).with_suffix(".partial.json")
    partial.write_text(json.dumps({"key": {"shares": [7]}, "identity": {}, "cells": [{"nonsense": 1}]}))
    first = run(*arguments)
    assert first.exit_code == 0, first.output
    path = tmp_path / file_name(MODEL, "cpu")
    profile = formats.read(Profile, path)
    assert profile.shares == (50, 100)
    written = path.read_bytes()
    second = run(*arguments)
    assert "measured already" in second.output
    assert path.read_bytes() == written
    identity = {field: profile.measured[field] for field in ("device", "driver", "torch")}
    assert is_current(profile, identity, (1,), (50, 100))
    assert not is_current(profile, {**identity, "torch": "1.0"}, (1,), (50, 100))
    assert not is_current(profile, identity, (1, 2), (50, 100))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("resnet19", "-o", "{}"), "did you mean resnet18"),
        (("resnet18", "-o", "{}", "--batches", "0"), "--batches is '0': expected whole numbers above 0"),
        (("resnet18", "-o", "{}", "--batches", "1.5"), "--batches"),
        (("resnet18", "-o", "{}", "--shares", "50,120"), "at most 100"),
        (("resnet18", "-o", "{}", "--shares", "much"), "--shares"),
        (("resnet18", "-o", "{}/file/in/the/way"), "give a directory that can be written"),
        (("resnet18", "-o", "{}", "--device", "tpu"), "--device tpu: expected cpu, cuda"),
    ],
)
def test_wrong_input_ends_with_2_and_says_what_would_be_right(
    arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    result = run(*(argument.format(tmp_path) for argument in arguments))
    assert result.exit_code == 2, result.output
    assert message in result.output.replace("\n", " ")


def test_without_a_gpu_profiling_one_is_refused(tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is an NVIDIA GPU here")
    result = run("resnet18", "-o", str(tmp_path), "--device", "cuda:0")
    assert result.exit_code == 2
    assert "0 CUDA GPUs" in result.output


@pytest.mark.gpu
def test_on_a_gpu_every_share_is_measured(tmp_path: Path) -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU here")
    profile = measure(
        "resnet18", device="cuda:0", gpu_type="gpu", batches=(1, 8), shares=(25, 100), seconds_budget=20
    )
    assert profile.measured["driver"]
    formats.write(profile, tmp_path / "profile.json")
