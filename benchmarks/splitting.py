"""What a second stage costs torch alone: `python -m benchmarks.splitting`.

The yardstick of "two stages" in `benchmarks.data_plane`. A model, one sample at a time, cut in the middle and
handed on as cheaply as processes can: a tensor written where the next one reads it, in memory that both have,
and a byte through a pipe to wake it. No gateway, no protocol, no queue. In turns:

    whole              in one process
    both in one        both halves in one process, one after the other
    two, one core      a process each, on the same core, as the workers of a device are
    two, two cores     a process each, on a core of its own
    first, second      either half with nobody beside: their sum, less the whole, is what the hand-over costs

What two processes cost beyond that sum is paid in their execution: each finds caches and translation tables
as the other has left them. Memory is kept as workers keep it. Prints the median of the turns' differences.
"""

from __future__ import annotations

import argparse
import mmap
import os
import signal
import statistics
import time
from collections.abc import Sequence
from typing import NamedTuple

import torch

from runtime.memory import keep_freed
from runtime.models import Chain, open_chain

# Where in the shared memory the model's input, the tensor between and the answer lie.
_INPUT, _BETWEEN, _ANSWER, _SIZE = 0, 16 << 20, 32 << 20, 48 << 20
_WARM_UP = 5


class Part(NamedTuple):
    """Layers `[start, end)`, from one place in the shared memory to another."""

    start: int
    end: int
    given: int
    answer: int


class Line:
    """Processes that hand a sample on, one after the other; each runs its parts on its core."""

    def __init__(self, chain: Chain, area: mmap.mmap, stations: Sequence[tuple[int, Sequence[Part]]]) -> None:
        pipes = [os.pipe() for _ in range(len(stations) + 1)]
        self._into, self._out = pipes[0][1], pipes[-1][0]
        self._pids = []
        for number, (core, parts) in enumerate(stations):
            pid = os.fork()
            if pid == 0:
                _work(chain, area, core, parts, pipes[number][0], pipes[number + 1][1])
            self._pids.append(pid)

    def once_ms(self) -> float:
        """One sample through all of them."""
        began = time.perf_counter()
        os.write(self._into, b"x")
        os.read(self._out, 1)
        return 1000 * (time.perf_counter() - began)

    def p50_ms(self, seconds: float) -> float:
        """The median of as many as fit."""
        times = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            times.append(self.once_ms())
        return statistics.median(times)

    def close(self) -> None:
        """End its processes."""
        for pid in self._pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", default="resnet18,resnet50", help="by comma")
    parser.add_argument("--seconds", type=float, default=1.2, help="of each way, each turn")
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| | whole, p50 | both in one | two, one core | two, two cores | first + second − whole |")
    print("|---|---|---|---|---|---|")
    for model in options.models.split(","):
        print(row_of(model, options.seconds, options.turns), flush=True)


def row_of(model: str, seconds: float, turns: int) -> str:
    """One model's row; all but the first number are above it, in ms."""
    chain = open_chain(model)
    cores = sorted(os.sched_getaffinity(0))
    here, there = cores[0], cores[-1]
    middle = chain.depth // 2
    whole = Part(0, chain.depth, _INPUT, _ANSWER)
    first, second = Part(0, middle, _INPUT, _BETWEEN), Part(middle, chain.depth, _BETWEEN, _ANSWER)
    with mmap.mmap(-1, _SIZE) as area:
        _tensor(chain, area, 0, _INPUT).copy_(chain.example(1))
        lines = {
            "whole": Line(chain, area, [(here, [whole])]),
            "both in one": Line(chain, area, [(here, [first, second])]),
            "two, one core": Line(chain, area, [(here, [first]), (here, [second])]),
            "two, two cores": Line(chain, area, [(here, [first]), (there, [second])]),
            "first": Line(chain, area, [(here, [first])]),
            "second": Line(chain, area, [(here, [second])]),
        }
        os.sched_setaffinity(0, {there})
        try:
            for line in lines.values():
                for _ in range(_WARM_UP):
                    line.once_ms()
            p50_ms: dict[str, list[float]] = {name: [] for name in lines}
            for _ in range(turns):
                for name, line in lines.items():
                    p50_ms[name].append(line.p50_ms(seconds))
        finally:
            os.sched_setaffinity(0, cores)
            for line in lines.values():
                line.close()

    def above(*names: str) -> str:
        times = zip(*(p50_ms[name] for name in names), p50_ms["whole"], strict=True)
        return f"{statistics.median(sum(each[:-1]) - each[-1] for each in times):+.2f} ms"

    cells = (above("both in one"), above("two, one core"), above("two, two cores"), above("first", "second"))
    return f"| {model} | {statistics.median(p50_ms['whole']):.2f} ms | {' | '.join(cells)} |"


def _work(chain: Chain, area: mmap.mmap, core: int, parts: Sequence[Part], given: int, answer: int) -> None:
    """Be a process of a line; never returns."""
    try:
        os.sched_setaffinity(0, {core})
        modules = [
            (chain.fragment(part.start, part.end), _tensor(chain, area, part.start, part.given),
             _tensor(chain, area, part.end, part.answer))
            for part in parts
        ]  # fmt: skip
        keep_freed()
        with torch.inference_mode():
            while os.read(given, 1):
                for module, inputs, output in modules:
                    output.copy_(module(inputs))
                os.write(answer, b"x")
    finally:
        os._exit(0)


def _tensor(chain: Chain, area: mmap.mmap, cut: int, place: int) -> torch.Tensor:
    shape, size = chain.cut_shapes[cut], chain.cut_bytes[cut]
    part = memoryview(area)[place : place + size]
    return torch.frombuffer(part, dtype=chain.cut_dtypes[cut]).view(1, *shape)


if __name__ == "__main__":
    main()
