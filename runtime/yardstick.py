"""How fast the processor is just now: the same small product of matrices, timed again and again.

A virtual machine's processor is as fast as its host lets it be, and that changes by a tenth from one second
to the next and by a half at times, for all cores alike. What is measured at one moment can only be laid
beside what is measured at another if both know how fast it was. The matrices stay in a core's own cache, and
turns of others are left out, so neighbours hardly change it.

`python -m runtime.yardstick SECONDS` says it every so many seconds, in ms, a line each, until its input ends.
"""

from __future__ import annotations

import os
import select
import statistics
import sys
import time
from collections.abc import Sequence

_SIZE = 96
_WARM_UP = 2
_GROUPS = 3
_PRODUCTS = 4
# So many measurements in a row are one: single ones are disturbed now and then.
_WINDOW = 5


class Yardstick:
    """Two matrices, and the time of the processor that their product takes."""

    def __init__(self) -> None:
        import torch

        generator = torch.Generator().manual_seed(0)
        self._matrix = torch.randn(_SIZE, _SIZE, generator=generator)
        self._product = torch.empty_like(self._matrix)

    def seconds(self) -> float:
        """Of the calling thread, for a few products; the least of some tries."""
        import torch

        for _ in range(_WARM_UP):
            torch.mm(self._matrix, self._matrix, out=self._product)
        least_s = float("inf")
        for _ in range(_GROUPS):
            began_s = time.thread_time()
            for _ in range(_PRODUCTS):
                torch.mm(self._matrix, self._matrix, out=self._product)
            least_s = min(least_s, time.thread_time() - began_s)
        return least_s


def smooth(values: Sequence[float]) -> list[float]:
    """Each value as the median of those around it."""
    half = _WINDOW // 2
    return [statistics.median(values[max(0, at - half) : at + half + 1]) for at in range(len(values))]


def main() -> None:
    """Measure until standard input ends."""
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
    import torch

    torch.set_num_threads(1)
    every_s = float(sys.argv[1])
    yardstick = Yardstick()
    print("ready", flush=True)
    while not select.select([sys.stdin], [], [], every_s)[0]:
        print(f"{1e3 * yardstick.seconds():.6f}", flush=True)


if __name__ == "__main__":
    main()
