"""Measures one model in a process of its own (`python -m runtime.stopwatch`), for `runtime.profiler`.

It reads what to do as one line of JSON on standard input (`Assignment`), and writes lines of JSON to
standard output, each with "event":

    traced   nothing: the model is cut, and the device not touched yet; it goes on at the next line of input
    opened   layers, cut_bytes, weight_mb, activation_mb, context_mb, enforced_by, and what measured it
    cell     batch, share, runs, total_ms, interval_pct, scatter_pct, factors, layer_ms, processor_ms,
             effective_pct
    whole    additivity_error_pct, beyond_layers_ms, handling_ms, context_mb: a stage beyond its layers
    rested   ms, by share: how much sooner than others a batch is answered whose worker had nothing to do
    alone    nothing: with `beside`, it goes on at the next line of input, when there is a neighbour
    beside   as `cell`, beside a neighbour
    looping  nothing: it runs the model again and again until its input ends (a neighbour for others)
    end      nothing: all is measured
    error    kind, message: nothing more will come

A run goes through all layers, one after the other, and times each: by the clock and, on a CPU, by the
processor time it used. On a GPU the clock is CUDA's events, and every layer a CUDA graph.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import select
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from runtime.errors import ModelError, ServingError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from runtime.cuda_graphs import Captured
    from runtime.models import Chain
    from runtime.shares import Share

# A cell whose mean is known to ±2 % (at 95 %) needs no more runs. On a CPU that is the mean processor time:
# by the clock a run is a whole timer tick's quota longer or shorter, by chance.
NARROW_PCT = 2.0
# Of fewer runs an interval is narrow by chance as well, and how single runs scatter is not known.
_LEAST_NARROW = 8
# On a GPU, kernels are loaded, algorithms chosen and clocks raised by the first runs: so many, or so long.
_WARM_UP_RUNS = {"cpu": 1, "cuda": 5}
_WARM_UP_S = 0.25
# A rest lets a quota fill up; it is longer than a period and a tick of the kernel's clock at any share.
_REST_S = 0.05
_RESTED_RUNS = 7
# How runs scatter is kept of so many.
_MOST_FACTORS = 500
_MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """What to measure: the cells batches × shares of a model, less those in `known` ([batch, share]).

    `seconds` is divided among the cells by what a run of each is expected to cost; every cell gets
    `min_runs` runs whatever they cost. With `loop` nothing is measured: the model is run at the first
    batch and share until standard input ends. With `beside` every batch is measured again once there is
    a neighbour; that takes a single share, as MPS has it. With `tails` the whole time is used, even if means
    are known sooner: how slow the slowest of a hundred runs is, few runs do not tell.
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
    course = _Course(chain, assignment.device, share)
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
        for batch, share_pct in wanted:
            if share.enforced_by != "mps":
                share.change(share_pct)
            course.prepare(batch)
            budget_s = assignment.seconds * expected_s[batch] / share_pct / total
            narrow_pct = 0.0 if assignment.tails else NARROW_PCT
            cell = _cell(course, budget_s, assignment.min_runs, narrow_pct)
            say(parent, "cell", batch=batch, share=share_pct, **cell)
        if share.enforced_by != "mps":
            share.change(max(assignment.shares))
        say(parent, "whole", **_whole(chain, course, max(assignment.batches), assignment.min_runs))
        if share.enforced_by not in ("mps", "none"):
            say(parent, "rested", ms={f"{pct:g}": _rested_ms(course, pct) for pct in assignment.shares})
        if assignment.beside:
            _wait_for_word(parent, "alone")
            for batch in assignment.batches:
                course.prepare(batch)
                budget_s = assignment.seconds / len(assignment.batches)
                cell = _cell(course, budget_s, assignment.min_runs, narrow_pct=0.0)
                say(parent, "beside", batch=batch, share=assignment.shares[0], **cell)
    say(parent, "end")
    share.close()


def _wait_for_word(parent: TextIO, event: str) -> None:
    """Say how far this is, and go on when the parent says so; end with a parent that is gone."""
    say(parent, event)
    if not sys.stdin.readline():
        sys.exit(0)


@dataclass(frozen=True, kw_only=True)
class _Run:
    """One pass through all layers: seconds by the clock and by the processor, layer by layer.

    `answered_s` is the time until the last layer is done, `total_s` until the next pass may begin.
    """

    total_s: float
    answered_s: float
    layer_s: tuple[float, ...]
    processor_s: tuple[float, ...]


class _Course:
    """The layers of a model, loaded, and an input for the first."""

    def __init__(self, chain: Chain, device: str, share: Share) -> None:
        self._chain = chain
        self.device = device
        self.share = share
        self.context_mb = _cuda_context_mb(device) if device != "cpu" else 0.0
        self.layers: list[nn.Module] = [
            chain.fragment(layer, layer + 1, device=device) for layer in range(chain.depth)
        ]
        self.sample: torch.Tensor = chain.example(1).to(device)
        self.captured: list[Captured] | None = None
        self._can_capture = device != "cpu"

    def prepare(self, batch: int) -> None:
        """Take batches of this size from now on, and run once so that nothing is new to the next run."""
        if len(self.sample) != batch or self.device != "cpu":
            self.sample = self._chain.example(batch).to(self.device)
            self._capture()
            began = time.perf_counter()
            for _ in range(_WARM_UP_RUNS[self.device.partition(":")[0]]):
                self.run()
                if time.perf_counter() - began > _WARM_UP_S:
                    break

    def forget(self) -> None:
        """Let go of the sample and of what was captured for it."""
        self.captured = None
        self.sample = self._chain.example(1).to(self.device)

    def _capture(self) -> None:
        self.captured = None
        if self._can_capture:
            from runtime.cuda_graphs import capture_chain

            self.captured = capture_chain(self.layers, self.sample)
            self._can_capture = self.captured is not None

    def run(self) -> _Run:
        """One pass, timed layer by layer; pausing included where that is what enforces the share."""
        return self._run_on_cpu() if self.device == "cpu" else self._run_on_gpu()

    def _run_on_cpu(self) -> _Run:
        value = self.sample
        self.share.begin()
        clock, processor = [time.perf_counter()], [time.thread_time()]
        for number, layer in enumerate(self.layers, 1):
            value = layer(value)
            processor.append(time.thread_time())
            self.share.step(last=number == len(self.layers))
            clock.append(time.perf_counter())
        self.share.pace(clock[-1] - clock[0])
        end = time.perf_counter()
        return _Run(
            total_s=end - clock[0],
            answered_s=clock[-1] - clock[0],
            layer_s=_differences(clock),
            processor_s=_differences(processor),
        )

    def _run_on_gpu(self) -> _Run:
        import torch

        value = self.sample
        marks = [torch.cuda.Event(enable_timing=True) for _ in range(len(self.layers) + 1)]
        began = time.perf_counter()
        marks[0].record()
        if self.captured is not None:
            for graph, mark in zip(self.captured, marks[1:], strict=True):
                graph.replay()
                mark.record()
        else:
            for layer, mark in zip(self.layers, marks[1:], strict=True):
                value = layer(value)
                mark.record()
        torch.cuda.synchronize()
        self.share.pace(time.perf_counter() - began)
        layer_s = tuple(first.elapsed_time(second) / 1e3 for first, second in itertools.pairwise(marks))
        # The device's own time where it is MPS that holds the share; the clock's where it is pausing.
        total_s = time.perf_counter() - began if self.share.enforced_by == "pause" else sum(layer_s)
        return _Run(total_s=total_s, answered_s=sum(layer_s), layer_s=layer_s, processor_s=layer_s)


def _cell(course: _Course, budget_s: float, min_runs: int, narrow_pct: float = NARROW_PCT) -> dict[str, Any]:
    """Run until the mean is known to `narrow_pct`, or the budget is spent."""
    runs: list[_Run] = []
    began = time.perf_counter()
    while True:
        runs.append(course.run())
        if len(runs) < min_runs:
            continue
        spent_s = time.perf_counter() - began
        interval_pct = _interval_pct([sum(run.processor_s) for run in runs])
        # One more run must still fit.
        if (interval_pct <= narrow_pct and len(runs) >= _LEAST_NARROW) or spent_s * (
            1 + 1 / len(runs)
        ) > budget_s:
            break
    totals = [sum(run.processor_s) for run in runs]
    return {
        "runs": len(runs),
        "total_ms": 1e3 * statistics.fmean(run.total_s for run in runs),
        "interval_pct": interval_pct,
        "scatter_pct": _scatter_pct(totals),
        "factors": [round(total / statistics.fmean(totals), 4) for total in totals[:_MOST_FACTORS]],
        "layer_ms": [1e3 * statistics.fmean(times) for times in zip(*(r.layer_s for r in runs), strict=True)],
        "processor_ms": [
            1e3 * statistics.fmean(times) for times in zip(*(r.processor_s for r in runs), strict=True)
        ],
        "effective_pct": course.share.effective_pct(),
    }


def _rested_ms(course: _Course, share_pct: float) -> float:
    """How much sooner than in a row of others a batch of one is answered after a rest, in ms; at least 0.

    A quota that was not used in a while is there at once, and a worker that pauses has its pause behind it.
    """
    if share_pct >= 100:
        return 0.0
    course.share.change(share_pct)
    course.prepare(1)
    together, apart = [], []
    for _ in range(_RESTED_RUNS):
        course.run()
        together.append(course.run().total_s)
        time.sleep(max(_REST_S, _REST_S / 5 * 100 / share_pct))
        apart.append(course.run().answered_s)
    return 1e3 * max(0.0, statistics.median(together) - statistics.median(apart))


def _whole(chain: Chain, course: _Course, batch: int, min_runs: int) -> dict[str, Any]:
    """How far the whole model as one stage is from the sum of its layers, and what handling a batch costs.

    On a GPU also what of its memory a worker needs besides its weights and activations, at this batch.
    """
    context_mb = _cuda_beyond_mb(chain, course, batch) if course.device != "cpu" else 0.0
    course.prepare(1)
    whole = _whole_stage(chain, course)
    layers_s, beyond_s = [], []
    for _ in range(max(5, min_runs)):
        # Side by side, so that whatever disturbs one disturbs the other.
        layers_s.append(sum(course.run().processor_s))
        beyond_s.append(_timed(whole, course.device) - layers_s[-1])
    middle_s = statistics.median(beyond_s)
    # Only what is more than noise counts as a cost of being a stage.
    noise_s = 2.0 * statistics.stdev(beyond_s) / math.sqrt(len(beyond_s))
    return {
        "additivity_error_pct": 100.0 * middle_s / statistics.median(layers_s),
        "beyond_layers_ms": 1e3 * max(0.0, middle_s - noise_s),
        "handling_ms": _handling_ms(chain, course.device),
        "context_mb": context_mb,
        "captured": course.captured is not None,
    }


def _whole_stage(chain: Chain, course: _Course) -> Callable[[], object]:
    """All layers as one stage, as a worker has them, on the course's sample; it has run once."""
    module = chain.fragment(0, chain.depth, device=course.device)
    module(course.sample)
    if course.captured is not None:
        from runtime.cuda_graphs import capture_chain

        graphs = capture_chain([module], course.sample)
        if graphs is not None:
            return graphs[0].replay
    return lambda: module(course.sample)


def _handling_ms(chain: Chain, device: str) -> float:
    """What a worker does for a batch besides running it: bytes to tensors, one batch, answers to bytes."""
    import torch

    # A stage begins at the model's input, or somewhere in the middle.
    middle = sorted(range(chain.depth), key=lambda cut: chain.cut_bytes[cut])[chain.depth // 2]
    cut = max(0, middle, key=lambda cut: chain.cut_bytes[cut])
    dtype = chain.cut_dtypes[cut]
    content = bytearray(chain.example(1, cut=cut).numpy().tobytes())

    def handle() -> None:
        tensors = [torch.frombuffer(content, dtype=dtype).view(1, *chain.cut_shapes[cut]) for _ in range(2)]
        batch = torch.cat(tensors).to(device).to("cpu")
        for part in batch.split([1, 1]):
            memoryview(part.numpy()).cast("B")

    handle()
    return 1e3 * statistics.median(_timed(handle, device) for _ in range(20))


def _timed(action: Callable[[], object], device: str) -> float:
    """Seconds an action takes: of the processor where that is the device, else by the clock."""
    if device == "cpu":
        began = time.thread_time()
        action()
        return time.thread_time() - began
    import torch

    torch.cuda.synchronize()
    began = time.perf_counter()
    action()
    torch.cuda.synchronize()
    return time.perf_counter() - began


def _scatter_pct(totals: Sequence[float]) -> float:
    """Standard deviation over mean, in percent."""
    return 100.0 * statistics.stdev(totals) / statistics.fmean(totals) if len(totals) > 1 else 0.0


def _interval_pct(totals: Sequence[float]) -> float:
    """Half the width of the 95 % confidence interval of the mean, in percent of it (Student's t)."""
    from scipy.stats import t

    if len(totals) < 2:
        return 100.0
    spread = statistics.stdev(totals) / math.sqrt(len(totals))
    return float(100.0 * t.ppf(0.975, len(totals) - 1) * spread / statistics.fmean(totals))


def _differences(marks: Sequence[float]) -> tuple[float, ...]:
    return tuple(second - first for first, second in itertools.pairwise(marks))


def _resident_mb() -> float:
    import psutil

    return float(psutil.Process().memory_info().rss) / _MIB


def _cuda_context_mb(device: str) -> float:
    """What a process takes of the GPU's memory before it has put anything there."""
    import torch

    index = torch.device(device).index or 0
    torch.zeros(1, device=device)
    free, total = torch.cuda.mem_get_info(index)
    used_by_all = total - free
    ours = torch.cuda.memory_reserved(index)
    return max(0.0, (used_by_all - ours) / _MIB)


def _cuda_beyond_mb(chain: Chain, course: _Course, batch: int) -> float:
    """What a process takes of the GPU's memory beyond its weights and activations, once it has run.

    To the bare context come the libraries' workspaces, and what the allocator keeps between its blocks.
    """
    import torch

    from runtime.batching import sizes_up_to
    from runtime.cuda_graphs import GraphedStage

    course.forget()
    torch.cuda.empty_cache()
    weights_mb = sum(chain.weight_mb)
    module = chain.fragment(0, chain.depth, device=course.device)
    stage = GraphedStage(module, sizes_up_to(batch), chain.cut_shapes[0], chain.cut_dtypes[0])
    stage(chain.example(batch), chain.cut_dtypes[-1])
    free, total = torch.cuda.mem_get_info(torch.device(course.device).index or 0)
    # The course holds the weights as well.
    planned_mb = 2 * weights_mb + batch * max(chain.activation_mb)
    return max(course.context_mb, (total - free) / _MIB - planned_mb)


if __name__ == "__main__":
    sys.exit(main())
