"""Measures one model in a process of its own (`python -m runtime.stopwatch`), for `runtime.profiler`.

It reads what to do as one line of JSON on standard input (`Assignment`), and writes lines of JSON to
standard output, each with "event":

    traced   nothing: the model is cut, and the device not touched yet; it goes on at the next line of input
    opened   layers, cut_bytes, weight_mb, activation_mb, context_mb, enforced_by, and what measured it
    cell     batch, share, runs, total_ms, interval_pct, scatter_pct, factors, layer_ms, processor_ms,
             effective_pct
    whole    additivity_error_pct, beyond_layers_ms, beyond_layers_error_ms, handling_ms, context_mb: a stage
             beyond its layers
    alone    nothing: with `beside`, it goes on at the next line of input, when there is a neighbour
    beside   as `cell`, beside a neighbour; with `neighbour`, `cell` is without it
    looping  nothing: it runs the model again and again until its input ends (a neighbour for others)
    end      nothing: all is measured
    error    kind, message: nothing more will come

A run goes through all layers, one after the other, and times each: by the clock and, on a CPU, by the
processor time it used. On a GPU the clock is CUDA's events, and every layer a CUDA graph.
"""

from __future__ import annotations

import json
import os
import select
import sys
from dataclasses import dataclass
from typing import Any, TextIO

from runtime.errors import ModelError, ServingError
from runtime.stopwatch_cells import NARROW_PCT, cell_of, runs_by_turns, runs_of, whole_of
from runtime.stopwatch_course import Course, Run

_MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """What to measure: the cells batches × shares of a model, less those in `known` ([batch, share]).

    `seconds` is divided among the cells by what a run of each is expected to cost; every cell gets
    `min_runs` runs whatever they cost. With `loop` nothing is measured: the model is run at the first
    batch and share until standard input ends. With `beside` every batch is measured again once there is
    a neighbour; that takes a single share, as MPS has it. With `tails` the whole time is used, even if means
    are known sooner: how slow the slowest of a hundred runs is, few runs do not tell. With `neighbour` (the
    process that loops beside it) every cell is measured with and without it by turns: it is stopped
    meanwhile, so that a processor whose speed wavers does not pass for what a neighbour costs.
    """

    model: str
    seed: int
    device: str
    core: int | None
    batches: tuple[int, ...]
    shares: tuple[float, ...]
    known: tuple[tuple[int, float], ...]
    seconds: float
    min_runs: int
    parent: int
    loop: bool = False
    beside: bool = False
    tails: bool = False
    neighbour: int | None = None


def main() -> int:
    """Measure what standard input asks for."""
    parent = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a model's module prints is not for the parent
    data = json.loads(sys.stdin.readline())
    data["known"] = tuple((batch, share) for batch, share in data["known"])
    assignment = Assignment(**{**data, "batches": tuple(data["batches"]), "shares": tuple(data["shares"])})
    try:
        _measure(assignment, parent)
    except ServingError as error:
        say(
            parent,
            "error",
            kind=type(error).__name__,
            model_error=isinstance(error, ModelError),
            message=str(error),
        )
        return 1
    return 0


def say(parent: TextIO, event: str, **data: Any) -> None:
    """One line of JSON."""
    parent.write(json.dumps({"event": event, **data}) + "\n")


def identity(device: str) -> dict[str, str]:
    """What measures: device, driver and torch. Measurements of another are not mixed with it."""
    import torch

    if device == "cpu":
        return {"device": processor_name(), "driver": "", "torch": torch.__version__}
    import pynvml

    pynvml.nvmlInit()
    driver = pynvml.nvmlSystemGetDriverVersion()
    pynvml.nvmlShutdown()
    return {
        "device": torch.cuda.get_device_name(torch.device(device)),
        "driver": f"{driver} (CUDA {torch.version.cuda})",
        "torch": torch.__version__,
    }


def processor_name() -> str:
    """The processor's model, as the kernel calls it."""
    try:
        with open("/proc/cpuinfo") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    import platform

    return platform.processor() or platform.machine()


def _measure(assignment: Assignment, parent: TextIO) -> None:
    from runtime.mps import held
    from runtime.shares import hold
    from runtime.worker import die_with

    die_with(assignment.parent)
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
    import torch

    from runtime.arithmetic import exact_arithmetic
    from runtime.memory import keep_freed
    from runtime.models import open_chain

    torch.set_num_threads(1)
    share = hold(
        max(assignment.shares),
        core=assignment.core,
        device=assignment.device,
        # On a GPU without MPS every share is held by pausing, the whole included, since it is to change.
        by="pause" if assignment.device != "cpu" and held() is None else None,
    )
    chain = open_chain(assignment.model, seed=assignment.seed)
    context_mb = _resident_mb()
    _ = chain.weights_file  # written now, while nobody waits for the device
    _wait_for_word(parent, "traced")
    exact = exact_arithmetic()
    course = Course(chain, assignment.device, share)
    keep_freed()
    say(
        parent,
        "opened",
        layers=chain.layers,
        cut_bytes=chain.cut_bytes,
        weight_mb=chain.weight_mb,
        activation_mb=chain.activation_mb,
        context_mb=course.context_mb or context_mb,
        enforced_by=share.enforced_by,
        tf32=not exact,
        **identity(assignment.device),
    )
    if assignment.loop:
        with torch.inference_mode():
            course.prepare(assignment.batches[0])
            say(parent, "looping")
            while not select.select([sys.stdin], [], [], 0)[0]:
                course.run()
        # A client of MPS that is killed while it computes takes others with it: this one has come to rest.
        say(parent, "end")
        share.close()
        return
    with torch.inference_mode():
        wanted = [
            (batch, share_pct)
            for batch in assignment.batches
            for share_pct in sorted(assignment.shares, reverse=True)
            if (batch, share_pct) not in assignment.known
        ]
        # A batch of four costs a CPU four times as much as one, so that is looked at. A GPU has other prices.
        expected_s: dict[int, float] = {}
        for batch in dict.fromkeys(batch for batch, _ in wanted):
            if assignment.device == "cpu":
                course.prepare(batch)
            expected_s[batch] = course.run().total_s if assignment.device == "cpu" else 1.0
        total = sum(expected_s[batch] / share_pct for batch, share_pct in wanted) or 1.0
        narrow_pct = 0.0 if assignment.tails else NARROW_PCT
        # There and back again: a processor that others slow down for some seconds does that to one half of a
        # few cells, and not to one cell as a whole.
        ways = [wanted[::-1], wanted] if assignment.device == "cpu" else [wanted]
        runs: dict[tuple[int, float], list[Run]] = {cell: [] for cell in wanted}
        beside: dict[tuple[int, float], list[Run]] = {cell: [] for cell in wanted}
        for way in ways:
            for batch, share_pct in way:
                if share.enforced_by != "mps":
                    share.change(share_pct)
                course.prepare(batch)
                budget_s = assignment.seconds * expected_s[batch] / share_pct / total / len(ways)
                least = -(-assignment.min_runs // len(ways))
                if assignment.neighbour is None:
                    runs[batch, share_pct] += runs_of(course, budget_s, least, narrow_pct)
                else:
                    without, along = runs_by_turns(course, budget_s, least, assignment.neighbour)
                    runs[batch, share_pct] += without
                    beside[batch, share_pct] += along
                if way is ways[-1]:
                    cell = cell_of(course, runs[batch, share_pct])
                    say(parent, "cell", batch=batch, share=share_pct, **cell)
                    if assignment.neighbour is not None:
                        cell = cell_of(course, beside[batch, share_pct])
                        say(parent, "beside", batch=batch, share=share_pct, **cell)
        if share.enforced_by != "mps":
            # On a CPU at the least share, where what a stage has beyond its layers takes longest.
            share.change((min if assignment.device == "cpu" else max)(assignment.shares))
        largest = max(assignment.batches)
        say(parent, "whole", **whole_of(chain, course, largest, assignment.min_runs, assignment.seconds))
        if assignment.beside:
            _wait_for_word(parent, "alone")
            for batch in assignment.batches:
                course.prepare(batch)
                budget_s = assignment.seconds / len(assignment.batches)
                cell = cell_of(course, runs_of(course, budget_s, assignment.min_runs, narrow_pct=0.0))
                say(parent, "beside", batch=batch, share=assignment.shares[0], **cell)
    say(parent, "end")
    share.close()


def _wait_for_word(parent: TextIO, event: str) -> None:
    """Say how far this is, and go on when the parent says so; end with a parent that is gone."""
    say(parent, event)
    if not sys.stdin.readline():
        sys.exit(0)


def _resident_mb() -> float:
    import psutil

    return float(psutil.Process().memory_info().rss) / _MIB


if __name__ == "__main__":
    sys.exit(main())
