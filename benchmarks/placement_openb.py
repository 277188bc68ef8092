"""Placing recorded GPU-share requests: `planner.placement` beside simpler rules, and the least GPUs possible.

    python -m benchmarks.placement_openb [--sizes 100,300,1000,7064] [--limit 10]

The requests are OpenB's (../shared/data, or REGRAFT_DATA): what pods of a production cluster asked of one
GPU, in thousandths, the first N of them in the order of the list, all to be placed at once on equal GPUs.
Memory of GPUs is not recorded, so only shares and the client limit (48) count.

    first fit                 each request onto the first GPU with room, in the order of the list
    best fit                  onto the fullest GPU with room
    first/best fit decreasing the same, largest requests first
    placement                 `planner.placement.place`, by `solver.packing` within the limit (seconds)
    bound                     no placement needs fewer: the linear program over patterns (Gilmore and Gomory
    1961)

Prints a Markdown table of GPUs used, and `placement`'s seconds of processor time.
"""

from __future__ import annotations

import argparse
import math
import time
from collections import Counter
from collections.abc import Sequence

import numpy as np
from scipy.optimize import linprog

from benchmarks.planner_kinds import DATA
from planner.errors import DoesNotFitError
from planner.placement import MAX_CLIENTS, place
from planner.plan import Stage
from planner.profile import Profile
from planner.recordings import read_openb_requests
from planner.workload import Gpu

WHOLE = 1000  # thousandths of a GPU
SIZES = "100,300,1000,7064"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default=SIZES)
    parser.add_argument("--limit", type=float, default=10.0, help="seconds for placement")
    options = parser.parse_args()
    requests = read_openb_requests(DATA / "openb" / "openb_pod_list_gpushare100.csv")
    if any(request.gpus != 1 for request in requests):
        raise SystemExit("some requests are for several GPUs, which this benchmark does not place")
    asked = [round(request.share_pct * WHOLE / 100) for request in requests]
    head = (
        "requests", "GPUs' worth", "first fit", "best fit", "first fit decreasing", "best fit decreasing",
        "placement", "bound", "seconds",
    )  # fmt: skip
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}", flush=True)
    for size in [int(size) for size in options.sizes.split(",")]:
        sizes = asked[:size]
        falling = sorted(sizes, reverse=True)
        simple = [fit(order, best=best) for order in (sizes, falling) for best in (False, True)]
        began = time.process_time()
        placed = placement(sizes, min(simple), options.limit)
        seconds = time.process_time() - began
        cells = [len(sizes), f"{sum(sizes) / WHOLE:.1f}", *simple, placed, bound(sizes), f"{seconds:.1f}"]
        print(f"| {' | '.join(str(cell) for cell in cells)} |", flush=True)


def fit(sizes: Sequence[int], *, best: bool) -> int:
    """GPUs that first fit or best fit uses for these requests, taken in their order."""
    left: list[int] = []
    clients: list[int] = []
    for size in sizes:
        room = [gpu for gpu in range(len(left)) if left[gpu] >= size and clients[gpu] < MAX_CLIENTS]
        if not room:
            left.append(WHOLE)
            clients.append(0)
            room = [len(left) - 1]
        gpu = min(room, key=lambda gpu: left[gpu]) if best else room[0]
        left[gpu] -= size
        clients[gpu] += 1
    return len(left)


def placement(sizes: Sequence[int], gpus: int, limit_s: float) -> int | str:
    """GPUs that `place` uses, or what is left over; requests of one size are instances of one stage."""
    counts = Counter(sizes)
    stages = [
        Stage(
            id=str(size),
            model="any",
            gpu="any",
            start=0,
            end=1,
            batch=1,
            share=100 * size / WHOLE,
            instances=count,
            exec_ms=1.0,
        )
        for size, count in counts.items()
    ]
    profile = Profile(
        model="any",
        gpu="any",
        layers=("all",),
        batches=(1,),
        shares=tuple(stage.share for stage in stages),
        latency_ms=((tuple(1.0 for _ in stages),),),
    )
    offered = [Gpu(id=str(number), type="any", memory_mb=1.0) for number in range(gpus)]
    try:
        placed = place(stages, offered, [profile], time_limit_s=limit_s)
    except DoesNotFitError as error:
        return f"{sum(item['instances'] for item in error.missing)} left over"
    used: Counter[str] = Counter()
    for item in placed:
        used[item.gpu] += int(item.stage)
    if len(placed) != len(sizes) or max(used.values()) > WHOLE:
        raise SystemExit("the placement is wrong")
    return len(used)


def bound(sizes: Sequence[int]) -> int:
    """The least value of the linear program over patterns, rounded up.

    A pattern is what one GPU can hold; the program takes fractions of them, so that everybody has a place.
    Patterns are made when they would lower its value: a knapsack over the duals, by dynamic programming.
    """
    counts = Counter(sizes)
    kinds = list(counts)
    patterns = [[WHOLE // kind if other == kind else 0 for other in kinds] for kind in kinds]
    while True:
        table = np.array(patterns, dtype=float).T
        needed = np.array([counts[kind] for kind in kinds], dtype=float)
        answer = linprog(np.ones(len(patterns)), A_ub=-table, b_ub=-needed, method="highs")
        worth, pattern = _fullest(kinds, -answer.ineqlin.marginals)
        if worth <= 1 + 1e-9:
            return math.ceil(answer.fun - 1e-6)
        patterns.append(pattern)


def _fullest(kinds: Sequence[int], duals: Sequence[float]) -> tuple[float, list[int]]:
    """The pattern of greatest dual worth; the client limit is left out, which only lowers the bound."""
    worth = [0.0] * (WHOLE + 1)
    last: list[int | None] = [None] * (WHOLE + 1)
    for room in range(1, WHOLE + 1):
        worth[room] = worth[room - 1]
        for number, kind in enumerate(kinds):
            if kind <= room and worth[room - kind] + duals[number] > worth[room] + 1e-12:
                worth[room], last[room] = worth[room - kind] + duals[number], number
    pattern, room = [0] * len(kinds), WHOLE
    while room > 0:
        number = last[room]
        if number is None:
            room -= 1
        else:
            pattern[number] += 1
            room -= kinds[number]
    return worth[WHOLE], pattern


if __name__ == "__main__":
    main()
