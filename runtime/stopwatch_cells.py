"""What a stopwatch tells of a model (see runtime.stopwatch): cells, and what a stage costs beyond them."""

from __future__ import annotations

import math
import os
import signal
import statistics
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from scipy.stats import trim_mean
from scipy.stats.mstats import trimmed_stde

from runtime.stopwatch_course import Course, Run
from runtime.yardstick import smooth

if TYPE_CHECKING:
    from runtime.models import Chain

# A cell whose mean is known to ±2 % (at 95 %) needs no more runs. On a CPU that is the mean processor time:
# by the clock a run is a whole timer tick's quota longer or shorter, by chance.
NARROW_PCT = 2.0
# Of fewer runs an interval is narrow by chance as well, and how single runs scatter is not known.
_LEAST_NARROW = 8
# A processor keeps its speed for some seconds; with and without a neighbour take turns in less.
_TURNS = 3
_MOST_STOPPING_S = 5.0
# How runs scatter is kept of so many.
_MOST_FACTORS = 500
# What a stage has beyond its layers is a small difference of large times: looked at until its standard error
# is so much of a short stage's time, or so often, or so long.
_BEYOND_ERROR_PCT = 1.0
_LEAST_BEYOND_ROUNDS = 20
_MOST_BEYOND_ROUNDS = 60
_BEYOND_S = 12.0
_MIB = 2**20


def runs_of(course: Course, budget_s: float, min_runs: int, narrow_pct: float = NARROW_PCT) -> list[Run]:
    """Run until the mean is known to `narrow_pct`, or the budget is spent."""
    runs: list[Run] = []
    began = time.perf_counter()
    while True:
        runs.append(course.run())
        if len(runs) < min_runs:
            continue
        spent_s = time.perf_counter() - began
        interval_pct = _interval_pct([sum(run.processor_s) for run in runs])
        # One more run must still fit.
        narrow = interval_pct <= narrow_pct and len(runs) >= _LEAST_NARROW
        if narrow or spent_s * (1 + 1 / len(runs)) > budget_s:
            return runs


def runs_by_turns(
    course: Course, budget_s: float, min_runs: int, neighbour: int
) -> tuple[list[Run], list[Run]]:
    """Runs without and with a neighbour (a process that loops), some of each by turns, within one budget."""
    without: list[Run] = []
    along: list[Run] = []
    for _ in range(_TURNS):
        for stopped, found in ((True, without), (False, along)):
            _let_run(neighbour, not stopped)
            course.run()  # what the other has left in the caches is gone with it
            found += runs_of(course, budget_s / (2 * _TURNS), -(-min_runs // _TURNS), narrow_pct=0.0)
    return without, along


def _let_run(process: int, runs: bool) -> None:
    """Stop a process, or let it go on; it is so when this returns (it may take until its turn on a core)."""
    import psutil

    os.kill(process, signal.SIGCONT if runs else signal.SIGSTOP)
    deadline = time.monotonic() + _MOST_STOPPING_S
    while (psutil.Process(process).status() == psutil.STATUS_STOPPED) is runs and time.monotonic() < deadline:
        time.sleep(0.001)


def cell_of(course: Course, runs: Sequence[Run]) -> dict[str, Any]:
    """What runs of one batch and share tell."""
    # All as fast as the processor was in the middle of them; `runtime.cells` does that from cell to cell.
    speeds = smooth([run.yardstick_s for run in runs])
    usual_s = statistics.median(speeds)
    scales = [usual_s / speed if speed else 1.0 for speed in speeds]
    used_s = [[scale * layer for layer in run.processor_s] for scale, run in zip(scales, runs, strict=True)]
    totals = [sum(layers) for layers in used_s]
    return {
        "yardstick_ms": 1e3 * usual_s,
        "runs": len(runs),
        "total_ms": 1e3
        * statistics.fmean(scale * run.total_s for scale, run in zip(scales, runs, strict=True)),
        "interval_pct": _interval_pct(totals),
        "scatter_pct": _scatter_pct(totals),
        "factors": [round(total / statistics.fmean(totals), 4) for total in totals[:_MOST_FACTORS]],
        "layer_ms": [1e3 * statistics.fmean(times) for times in zip(*(r.layer_s for r in runs), strict=True)],
        "processor_ms": [1e3 * statistics.fmean(times) for times in zip(*used_s, strict=True)],
        "effective_pct": course.share.effective_pct(),
    }


def whole_of(chain: Chain, course: Course, batch: int, min_runs: int, seconds: float) -> dict[str, Any]:
    """How far the whole model as one stage is from the sum of its layers, and what handling a batch costs.

    On a CPU a stage is looked at as it is served: after a rest, with an input that it has not seen. Its first
    layer finds the caches as others have left them, in whatever place of the model it is; that is what
    stages have beyond their layers.

    On a GPU also what of its memory a worker needs besides its weights and activations, at this batch.
    """
    context_mb = _cuda_beyond_mb(chain, course, batch) if course.device != "cpu" else 0.0
    course.prepare(1)
    rounds = max(5, min_runs)
    beyond = (
        _beyond_on_cpu(chain, course, rounds, min(_BEYOND_S, 2 * seconds))
        if course.device == "cpu"
        else _beyond_on_gpu(chain, course, rounds)
    )
    return {
        "additivity_error_pct": beyond.additivity_error_pct,
        "beyond_layers_ms": 1e3 * beyond.mean_s,
        "beyond_layers_error_ms": 1e3 * beyond.error_s,
        "beyond_layers_around_ms": [1e3 * around_s for around_s in beyond.around_s],
        "handling_ms": _handling_ms(chain, course.device),
        "context_mb": context_mb,
        "captured": course.captured is not None,
    }


class _Beyond(NamedTuple):
    """What a stage takes beyond its layers, in seconds of the device, and the standard error of that.

    `around_s` is how single stages lie around their mean, and `additivity_error_pct` how far the whole model
    as one stage is above the sum of its layers, in %.
    """

    mean_s: float
    error_s: float
    additivity_error_pct: float
    around_s: list[float]


def _beyond_on_cpu(chain: Chain, course: Course, least_rounds: int, budget_s: float) -> _Beyond:
    """Of short stages after a rest, in seconds of the processor.

    It may be less than 0 by chance, and counts then as well: were unclear ones taken for none, stages would
    be too fast on average.
    """
    depth = chain.depth
    beyond_s: list[float] = []
    alone_s: dict[tuple[int, int], list[float]] = {piece: [] for piece in _pieces(depth)}
    pieces_s: list[float] = []
    whole_s: list[float] = []
    layers_s: list[float] = []
    began = time.perf_counter()
    while True:
        # Side by side, so that whatever disturbs one disturbs the other.
        layers = course.run().processor_s
        layers_s.append(sum(layers))
        within = {piece: sum(layers[slice(*piece)]) for piece in alone_s}
        for piece, found in alone_s.items():
            found.append(sum(course.run_rested(*piece).processor_s))
        beyond_s.append(statistics.fmean(found[-1] - within[piece] for piece, found in alone_s.items()))
        pieces_s.append(statistics.fmean(within.values()))
        if len(whole_s) < least_rounds:
            whole_s.append(sum(course.run_rested(0, depth).processor_s) - layers_s[-1])
        if len(beyond_s) < least_rounds:
            continue
        # Whatever came between is in a few of them, and large.
        error_s = float(trimmed_stde(beyond_s, limits=(0.1, 0.1)))
        enough = error_s <= _BEYOND_ERROR_PCT / 100.0 * statistics.median(pieces_s)
        if (
            (enough and len(beyond_s) >= _LEAST_BEYOND_ROUNDS)
            or len(beyond_s) >= _MOST_BEYOND_ROUNDS
            or time.perf_counter() - began > budget_s
        ):
            error_pct = 100.0 * statistics.median(whole_s) / statistics.median(layers_s)
            around_s = [once - statistics.fmean(found) for found in alone_s.values() for once in found]
            return _Beyond(float(trim_mean(beyond_s, 0.1)), error_s, error_pct, around_s)


def _pieces(depth: int) -> list[tuple[int, int]]:
    """Short stages that begin at a quarter, at a half and at three quarters of a model's layers."""
    length = max(1, depth // 6)
    starts = dict.fromkeys(depth * quarter // 4 for quarter in (1, 2, 3))
    return [(start, min(depth, start + length)) for start in starts]


def _beyond_on_gpu(chain: Chain, course: Course, rounds: int) -> _Beyond:
    """Of the whole model as one stage, which is all a CUDA graph can differ by."""
    whole = _whole_stage(chain, course)
    layers_s, beyond_s = [], []
    for _ in range(rounds):
        layers_s.append(sum(course.run().processor_s))
        beyond_s.append(_timed(whole, course.device) - layers_s[-1])
    middle_s = statistics.median(beyond_s)
    error_s = statistics.stdev(beyond_s) / math.sqrt(len(beyond_s))
    return _Beyond(middle_s, error_s, 100.0 * middle_s / statistics.median(layers_s), [])


def _whole_stage(chain: Chain, course: Course) -> Callable[[], object]:
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


def _cuda_beyond_mb(chain: Chain, course: Course, batch: int) -> float:
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
