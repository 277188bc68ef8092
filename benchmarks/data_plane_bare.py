"""The yardstick of `benchmarks.data_plane`: a model in a bare torch loop, in a process of its own.

One thread, pinned to the worker's core, `torch.inference_mode()`, the same input again and again; memory is
kept as workers keep it, or, `plain`, as any process has it. It runs on word only (a line `BATCH SECONDS` on
standard input, answered by the seconds that each pass took, as JSON), to take turns with the worker.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent


class Bare:
    """The loop's process, as whoever started it sees it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, batch: int, seconds: float) -> list[float]:
        """Seconds of each pass at this batch, one after the other for so long."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{batch} {seconds}\n")
        self._process.stdin.flush()
        times: list[float] = json.loads(self._process.stdout.readline())
        return times


@contextlib.contextmanager
def bare_loop(model: str, core: int, *, plain: bool = False) -> Iterator[Bare]:
    """The process, ready to run; ended afterwards."""
    command = [sys.executable, "-m", "benchmarks.data_plane_bare", model, str(core)]
    if plain:
        command.append("--plain")
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
    )  # fmt: skip
    try:
        yield Bare(process)
    finally:
        process.kill()
        process.communicate()


def main() -> None:
    """Be the loop."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("core", type=int)
    parser.add_argument("--plain", action="store_true", help="give freed memory back, as any process does")
    options = parser.parse_args()
    import torch

    from runtime.memory import keep_freed
    from runtime.models import open_chain

    torch.set_num_threads(1)
    os.sched_setaffinity(0, {options.core})
    chain = open_chain(options.model)
    module = chain.fragment(0, chain.depth)
    if not options.plain:
        keep_freed()
    with torch.inference_mode():
        for line in sys.stdin:
            batch, seconds = int(line.split()[0]), float(line.split()[1])
            inputs = chain.example(batch)
            for _ in range(2):
                module(inputs)
            times = []
            end = time.perf_counter() + seconds
            while (began := time.perf_counter()) < end:
                module(inputs)
                times.append(time.perf_counter() - began)
            print(json.dumps(times), flush=True)


if __name__ == "__main__":
    main()
