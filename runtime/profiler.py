"""Profiles: what every layer of a model costs on this machine, at every batch and share.

A child process (`runtime.stopwatch`) runs the model at each batch and share and says how long each run and
each layer took; this module directs it, and keeps what is measured so that an interrupted profile goes on
where it stopped. `runtime.cells` makes a profile of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planner import formats
from planner.profile import Profile
from runtime.cells import IDENTITY, Cell, profile_of
from runtime.errors import MeasurementError, ModelError
from runtime.mps import environment as mps_environment
from runtime.mps import probe as probe_mps
from runtime.stopwatch import Assignment

if TYPE_CHECKING:
    from runtime.models import Chain

DEFAULT_BATCHES = (1, 2, 4, 8)
DEFAULT_SHARES = (10.0, 25.0, 50.0, 100.0)
DEFAULT_SECONDS = 60.0

# progress(cells done, cells in all, what is being measured)
Progress = Callable[[int, int, str], None]


def measure(
    model: str | Chain,
    *,
    device: str = "cpu",
    gpu_type: str = "cpu",
    batches: Sequence[int] = DEFAULT_BATCHES,
    shares: Sequence[float] = DEFAULT_SHARES,
    seconds_budget: float = DEFAULT_SECONDS,
    min_runs: int = 3,
    seed: int = 0,
    core: int | None = None,
    partial: Path | None = None,
    progress: Progress | None = None,
    halt: threading.Event | None = None,
    neighbour: bool = False,
) -> Profile:
    """Measure a model (by name, see `runtime.models`, or opened already) and return its profile.

    Every cell gets `min_runs` runs; more while its part of `seconds_budget` lasts and its mean is not
    yet known to ±2 %. `core` is the core to measure on (default: any). `partial` names a file in which
    cells are kept as they are measured, and from which they are taken when device, driver, torch, batches
    and shares agree; it is removed at the end. `halt`, once set by another thread, ends the measuring.
    With `neighbour` the largest batch is measured again at every share below 100, beside a process that
    runs the same model on the rest of the device; `measured` then says how much slower that was.

    Raises ModelError for a model that cannot be served, MeasurementError where the measuring fails.
    """
    name = model if isinstance(model, str) else model.name
    seed = seed if isinstance(model, str) else model.seed
    batches, shares = sorted(set(batches)), sorted(set(shares))
    # MPS fixes the share of a process when it starts CUDA; any other share can change while it runs.
    mps = device != "cpu" and probe_mps().running
    rounds = [[share] for share in reversed(shares)] if mps else [list(shares)]
    halt = halt or threading.Event()
    notebook = _Notebook(partial, model=name, batches=batches, shares=shares, seed=seed)
    opened: dict[str, Any] = {}
    whole: dict[str, Any] = {}
    while rounds:
        assignment = Assignment(
            model=name,
            seed=seed,
            device=device,
            core=core,
            batches=tuple(batches),
            shares=tuple(rounds[0]),
            known=tuple(key for key in notebook.cells if key[1] in rounds[0]),
            seconds=seconds_budget * len(rounds[0]) / len(shares),
            min_runs=min_runs,
            parent=os.getpid(),
        )
        for event in _stopwatch(assignment, mps=mps, halt=halt):
            match event.pop("event"):
                case "opened":
                    opened = event
                    if not notebook.agrees(opened):
                        # Kept by another device, driver or torch: this stopwatch was told to skip cells
                        # that are not known after all.
                        notebook.forget()
                        break
                case "cell":
                    notebook.add(Cell(**_tuples(event)))
                case "whole":
                    whole = whole or event
                    rounds.pop(0)
            if progress:
                progress(len(notebook.cells), len(batches) * len(shares), name)
    profile = profile_of(name, gpu_type, batches, shares, opened, whole, notebook.cells)
    if neighbour:
        # The last assignment says how; only batch and share change.
        last = replace(assignment, batches=(batches[-1],), known=(), seconds=seconds_budget / len(shares))
        slower_pct = {
            f"{share:g}": round(_slower_pct(notebook.cells[batches[-1], share], last, mps=mps, halt=halt), 1)
            for share in shares
            if share < 100
        }
        measured = {**profile.measured, "neighbour": {"batch": batches[-1], "slower_pct": slower_pct}}
        profile = replace(profile, measured=measured)
    notebook.forget()
    return profile


def is_current(
    profile: Profile, identity: dict[str, str], batches: Sequence[int], shares: Sequence[float]
) -> bool:
    """Whether a profile holds these batches and shares, measured by this device, driver and torch."""
    return (
        all(profile.measured.get(field) == identity[field] for field in IDENTITY)
        and set(profile.batches) == set(batches)
        and set(profile.shares) == set(shares)
    )


def file_name(model: str, gpu_type: str) -> str:
    """`<model>.<gpu>.json`, with what a file name cannot hold replaced."""
    return f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', model)}.{re.sub(r'[^A-Za-z0-9_-]+', '_', gpu_type)}.json"


class _Notebook:
    """The cells measured so far, kept in a file."""

    def __init__(
        self, path: Path | None, *, model: str, batches: Sequence[int], shares: Sequence[float], seed: int
    ) -> None:
        self._path = path
        self._key: dict[str, Any] = {
            "model": model,
            "batches": list(batches),
            "shares": list(shares),
            "seed": seed,
            "version": version("regraft"),
        }
        self._identity: dict[str, str] | None = None
        self.cells: dict[tuple[int, float], Cell] = {}
        if path is not None:
            with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
                content = json.loads(path.read_text())
                if content["key"] == self._key:
                    self._identity = content["identity"]
                    for entry in content["cells"]:
                        cell = Cell(**_tuples(entry))
                        self.cells[cell.batch, cell.share] = cell

    def agrees(self, opened: dict[str, Any]) -> bool:
        """Whether the same device, driver and torch measured what is kept; noted where nothing is."""
        identity = {field: opened[field] for field in IDENTITY}
        if self._identity is None:
            self._identity = identity
        return self._identity == identity

    def add(self, cell: Cell) -> None:
        self.cells[cell.batch, cell.share] = cell
        if self._path is not None:
            content = {
                "key": self._key,
                "identity": self._identity,
                "cells": [asdict(kept) for kept in self.cells.values()],
            }
            formats.write_bytes(json.dumps(content).encode(), self._path)

    def forget(self) -> None:
        self.cells.clear()
        self._identity = None
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def _slower_pct(alone: Cell, like: Assignment, *, mps: bool, halt: threading.Event) -> float:
    """How much longer a cell takes while a neighbour uses what it leaves of the device, in percent.

    On a CPU, where processes take turns, it is the processor time that a neighbour lengthens (by what it does
    to the caches); on a GPU the time itself.
    """
    beside: Cell | None = None
    neighbours = replace(like, shares=(100 - alone.share,), loop=True)
    with contextlib.closing(_stopwatch(neighbours, mps=mps, halt=halt)) as neighbour:
        for event in neighbour:
            if event["event"] == "looping":
                break
        for event in _stopwatch(replace(like, shares=(alone.share,)), mps=mps, halt=halt):
            if event.pop("event") == "cell":
                beside = Cell(**_tuples(event))
    assert beside is not None  # a stopwatch that ends well has measured its cell
    before, after = (
        sum(cell.processor_ms) if like.device == "cpu" else cell.total_ms for cell in (alone, beside)
    )
    return 100.0 * (after / before - 1.0)


def _stopwatch(assignment: Assignment, *, mps: bool, halt: threading.Event) -> Generator[dict[str, Any]]:
    """Run a stopwatch and yield what it says."""
    environment = dict(os.environ)
    if mps:
        environment.update(mps_environment(assignment.shares[0]))
    complaints = tempfile.TemporaryFile()  # noqa: SIM115 - closed below, with the process
    process = subprocess.Popen(
        [sys.executable, "-m", "runtime.stopwatch"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=complaints,
        env=environment,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    done = False
    try:
        process.stdin.write(json.dumps(asdict(assignment)).encode() + b"\n")
        process.stdin.close()
        for line in _lines(process.stdout.fileno(), halt):
            event = json.loads(line)
            if event["event"] == "error":
                kind = ModelError if event["model_error"] else MeasurementError
                raise kind(event["message"])
            done = event["event"] == "whole"
            yield event
        status = process.wait()
        if status != 0 or not done:
            complaints.seek(0)
            last = complaints.read().decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
            raise MeasurementError(
                f"{assignment.model}: the measuring process ended with status {status}: {last[0]}"
            )
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        complaints.close()


def _lines(descriptor: int, halt: threading.Event) -> Iterator[bytes]:
    """The lines that can be read from a pipe, until its end. Raises MeasurementError when halted."""
    rest = b""
    while True:
        readable, _, _ = select.select([descriptor], [], [], 0.2)
        if halt.is_set():
            raise MeasurementError("measuring was stopped; what was measured is kept")
        if readable:
            chunk = os.read(descriptor, 1 << 16)
            if not chunk:
                return
            *lines, rest = (rest + chunk).split(b"\n")
            yield from lines


def _tuples(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}
