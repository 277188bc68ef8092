"""What a stopwatch tells of a model (see runtime.stopwatch): cells, and what a stage costs beyond them."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from runtime.stopwatch_course import Course, Run

if TYPE_CHECKING:
    from runtime.models import Chain

# A cell whose mean is known to ±2 % (at 95 %) needs no more runs. On a CPU that is the mean processor time:
# by the clock a run is a whole timer tick's quota longer or shorter, by chance.
NARROW_PCT = 2.0
# Of fewer runs an interval is narrow by chance as well, and how single runs scatter is not known.
_LEAST_NARROW = 8
# A rest lets a quota fill up; it is longer than a period and a tick of the kernel's clock at any share.
_REST_S = 0.05
_RESTED_RUNS = 7
# How runs scatter is kept of so many.
_MOST_FACTORS = 500
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


def cell_of(course: Course, runs: Sequence[Run]) -> dict[str, Any]:
    """What runs of one batch and share tell."""
    totals = [sum(run.processor_s) for run in runs]
    return {
        "runs": len(runs),
        "total_ms": 1e3 * statistics.fmean(run.total_s for run in runs),
        "interval_pct": _interval_pct(totals),
        "scatter_pct": _scatter_pct(totals),
        "factors": [round(total / statistics.fmean(totals), 4) for total in totals[:_MOST_FACTORS]],
        "layer_ms": [1e3 * statistics.fmean(times) for times in zip(*(r.layer_s for r in runs), strict=True)],
        "processor_ms": [
            1e3 * statistics.fmean(times) for times in zip(*(r.processor_s for r in runs), strict=True)
        ],
        "effective_pct": course.share.effective_pct(),
    }


def rested_ms(course: Course, share_pct: float) -> float:
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


def whole_of(chain: Chain, course: Course, batch: int, min_runs: int) -> dict[str, Any]:
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
