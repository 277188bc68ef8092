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
import statistics
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planner import formats
from planner.profile import Profile
from runtime.cells import IDENTITY, Cell, profile_of, slower_pct, spread_of
from runtime.errors import MeasurementError
from runtime.mps import probe as probe_mps
from runtime.stopwatch import Assignment
from runtime.stopwatch_process import StopwatchProcess

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
    turn: threading.Lock | None = None,
) -> Profile:
    """Measure a model (by name, see `runtime.models`, or opened already) and return its profile.

    Every cell gets `min_runs` runs; more while its part of `seconds_budget` lasts and its mean is not
    yet known to ±2 %. `core` is the core to measure on (default: any). `partial` names a file in which
    cells are kept as they are measured, and from which they are taken when device, driver, torch, batches
    and shares agree; it is removed at the end. `halt`, once set by another thread, ends the measuring.
    `turn` is held whenever the device is used: models measured side by side are made ready together, and
    then measured one after the other.

    With `neighbour` every share below 100 is measured again beside a process that runs the same model on
    the rest of the device (under MPS at every batch, else at the smallest and the largest); `measured` then
    says how much slower that was.

    Raises ModelError for a model that cannot be served, MeasurementError where the measuring fails.
    """
    name = model if isinstance(model, str) else model.name
    seed = seed if isinstance(model, str) else model.seed
    batches, shares = sorted(set(batches)), sorted(set(shares))
    halt, turn = halt or threading.Event(), turn or threading.Lock()
    # MPS fixes the share of a process when it starts CUDA; any other share can change while it runs.
    mps = device != "cpu" and probe_mps().running
    rounds = [[share] for share in reversed(shares)] if mps else [list(shares)]
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
            beside=neighbour and mps and rounds[0][0] < 100,
        )
        for event in _in_turn(assignment, mps=mps, halt=halt, turn=turn):
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
                case "beside":
                    notebook.add_beside(Cell(**_tuples(event)))
                case "whole":
                    whole = whole or event
                case "end":
                    rounds.pop(0)
            if progress:
                progress(len(notebook.cells), len(batches) * len(shares), name)
    if neighbour and not mps:
        for share in shares:
            if share < 100:
                # A single sample loses more to a cold cache than each of many.
                ends = tuple(dict.fromkeys((batches[0], batches[-1])))
                one = replace(assignment, shares=(share,), batches=ends, known=())
                one = replace(one, seconds=seconds_budget / len(shares), tails=True)
                pairs, beyond = _beside(one, halt=halt, turn=turn)
                for alone, beside in pairs:
                    notebook.add_beside(beside, alone)
                if share == shares[0]:
                    # What a stage finds in the caches after a rest is up to its neighbours, too.
                    whole |= {
                        field: beyond[field] for field in ("beyond_layers_ms", "beyond_layers_error_ms")
                    }
    profile = profile_of(name, gpu_type, batches, shares, opened, whole, notebook.cells)
    if neighbour:
        profile = replace(profile, measured={**profile.measured, "neighbour": notebook.neighbour(device)})
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
        self._beside: dict[tuple[int, float], Cell] = {}
        self._alone: dict[tuple[int, float], Cell] = {}
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

    def add_beside(self, cell: Cell, alone: Cell | None = None) -> None:
        """A cell measured beside a neighbour, and the same by turns without it, where that was done.

        Not kept: half a minute measures all of them again.
        """
        self._beside[cell.batch, cell.share] = cell
        if alone is not None:
            self._alone[cell.batch, cell.share] = alone

    def neighbour(self, device: str) -> dict[str, Any]:
        """How much slower a neighbour makes a stage, in percent: at the largest batch, and at each."""
        found: dict[str, dict[str, float]] = {}
        for (batch, share), cell in sorted(self._beside.items(), key=lambda item: (item[0][1], item[0][0])):
            alone = self._alone.get((batch, share), self.cells[batch, share])
            pct = slower_pct(alone, cell, on_cpu=device == "cpu")
            found.setdefault(f"{share:g}", {})[str(batch)] = round(pct, 1)
        if device == "cpu":
            # Caches do not know of shares: what the shares differ by is what else ran on the machine.
            sizes = dict.fromkeys(size for by_batch in found.values() for size in by_batch)
            middle = {size: statistics.median(each[size] for each in found.values()) for size in sizes}
            found = {share: {size: round(pct, 1) for size, pct in middle.items()} for share in found}
        largest = max((batch for batch, _ in self._beside), default=0)
        return {
            "batch": largest,
            "slower_pct": {share: by_batch[str(largest)] for share, by_batch in found.items()},
            "slower_pct_by_batch": found,
            **spread_of(self._beside.values()),
        }

    def forget(self) -> None:
        self.cells.clear()
        self._beside.clear()
        self._alone.clear()
        self._identity = None
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def _in_turn(
    assignment: Assignment, *, mps: bool, halt: threading.Event, turn: threading.Lock
) -> Iterator[dict[str, Any]]:
    """Run a stopwatch, holding the device's turn while it uses it, and yield what it says of importance."""
    with contextlib.ExitStack() as turns, contextlib.ExitStack() as stack:

        def start(which: Assignment) -> StopwatchProcess:
            return stack.enter_context(contextlib.closing(StopwatchProcess(which, mps=mps, halt=halt)))

        stopwatch = start(assignment)
        neighbour = start(_neighbour_of(assignment)) if assignment.beside else None
        for event in stopwatch.events():
            match event["event"]:
                case "traced":
                    _take(turn, halt)
                    turns.callback(turn.release)
                    stopwatch.go()
                case "alone":
                    assert neighbour is not None
                    neighbour.until("traced")
                    neighbour.go()
                    neighbour.until("looping")
                    stopwatch.go()
                case "end":
                    if neighbour is not None:
                        neighbour.rest()
                    yield event
                case _:
                    yield event


def _beside(
    assignment: Assignment, *, halt: threading.Event, turn: threading.Lock
) -> tuple[list[tuple[Cell, Cell]], dict[str, Any]]:
    """The assignment's cells of one share, without and with a neighbour that has the rest of the device.

    Also what a stage has beyond its layers beside that neighbour.
    """
    with contextlib.ExitStack() as turns, contextlib.ExitStack() as stack:

        def start(which: Assignment) -> StopwatchProcess:
            return stack.enter_context(contextlib.closing(StopwatchProcess(which, mps=False, halt=halt)))

        neighbour = start(_neighbour_of(assignment))
        ours = start(replace(assignment, neighbour=neighbour.pid))
        for stopwatch in (neighbour, ours):
            stopwatch.until("traced")
        _take(turn, halt)
        turns.callback(turn.release)
        neighbour.go()
        neighbour.until("looping")
        ours.go()
        told: dict[str, list[dict[str, Any]]] = {"cell": [], "beside": [], "whole": []}
        for event in ours.events():
            told.setdefault(event.pop("event"), []).append(event)
        neighbour.rest()
        alone, beside = ([Cell(**_tuples(cell)) for cell in told[kind]] for kind in ("cell", "beside"))
        return list(zip(alone, beside, strict=True)), told["whole"][0]


def _neighbour_of(assignment: Assignment) -> Assignment:
    share = 100 - assignment.shares[0]
    return replace(
        assignment, shares=(share,), batches=assignment.batches[-1:], known=(), loop=True, beside=False
    )


def _take(turn: threading.Lock, halt: threading.Event) -> None:
    while not turn.acquire(timeout=0.2):
        if halt.is_set():
            raise MeasurementError("measuring was stopped; what was measured is kept")


def _tuples(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}
