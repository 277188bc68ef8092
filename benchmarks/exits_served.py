"""Exits measured with real workers' stages: scikit-learn's digits, a convolutional network, one core.

    python -m benchmarks.exits_served train DIRECTORY
    with nobody else on the machine:  python -m benchmarks.exits_served stages DIRECTORY

`train` makes the model, its ramps (after layers 1 and 3 of 7) and thresholds that keep 99 % of its quality.
`stages` runs a worker's stage program (`runtime.worker.Stage`, `runtime.exit_stage.ExitStage`) on batches of
digits that neither has seen, 1 to 16 at a time, and prints what one core answers a second

    stock        the model in one piece
    multi-exit   with both exits in use, in one piece: batches shrink
    split        cut at the first exit; survivors fill up batches of the second part, with the second exit
                 within; the time for each input is that of part one, and σ times that of part two

Answers are checked one by one.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

MODEL = "tests.runtime.digit_models:convolutional"
LAYERS = (1, 3)
BATCHES = (1, 2, 4, 8, 16)
SECONDS = 1.5


def train(directory: Path) -> None:
    from runtime import exit_training as training
    from runtime.models import open_chain
    from runtime.ramps import save_ramps
    from tests.runtime.digit_models import write_digits

    directory.mkdir(parents=True, exist_ok=True)
    chain = open_chain(MODEL)
    samples = training.read_samples(write_digits(directory / "digits.npz"), chain)
    training.train_model(chain, samples.part(0, 0.5), directory, epochs=25, seed=0)
    ramps = training.train_ramps(chain, samples.part(0, 0.5), LAYERS)
    ramps = training.choose_thresholds(
        ramps, training.opinions(chain, ramps, samples.part(0.5, 0.75)), floor=0.99
    )
    save_ramps(ramps, directory)
    found = training.opinions(chain, ramps, samples.part(0.75, 1.0))
    leaving = found.leaving(ramps.thresholds)
    parts = [float((leaving > number).float().mean()) for number in range(2)]
    print(
        f"quality {found.quality([2.0, 2.0]):.4f} without exits, {found.quality(ramps.thresholds):.4f} with; "
        f"thresholds {ramps.thresholds}; go on {parts}"
    )


def stages(directory: Path) -> None:
    from runtime import exit_training as training
    from runtime.exit_stage import ExitStage
    from runtime.models import open_chain
    from runtime.ramps import load_ramps
    from runtime.worker import Stage, WorkerSpec

    chain = open_chain(MODEL)
    samples = training.read_samples(directory / "digits.npz", chain).part(0.75, 1.0)
    ramps = load_ramps(MODEL, chain.cut_shapes, directory)
    found = training.opinions(chain, ramps, samples)
    leaving = found.leaving(ramps.thresholds)
    with torch.inference_mode():
        middle = chain.fragment(0, LAYERS[0])(samples.inputs)
    passed = leaving > 0
    sigma = float(passed.float().mean())
    print(f"go on past the exits: {sigma:.3f}, {float((leaving > 1).float().mean()):.3f}")
    print("| batch | stock | multi-exit | split | split / stock | multi-exit / stock |")
    for batch in BATCHES:

        def spec(start: int, end: int, exits: tuple[int, ...], batch: int = batch) -> WorkerSpec:
            return WorkerSpec(
                key="k", model=MODEL, start=start, end=end, batch=batch, share=100, endpoints=(), parent=0,
                exits=exits,
            )  # fmt: skip

        whole = Stage(spec(0, chain.depth, ()), chain, "cpu")
        shrinking = ExitStage(spec(0, chain.depth, LAYERS), chain, "cpu")
        first = ExitStage(spec(0, LAYERS[0], LAYERS[:1]), chain, "cpu")
        second = ExitStage(spec(LAYERS[0], chain.depth, LAYERS[1:]), chain, "cpu")
        check(shrinking, samples.inputs, found, leaving)
        runs = [
            (whole, samples.inputs), (shrinking, samples.inputs), (first, samples.inputs),
            (second, middle[passed]),
        ]  # fmt: skip
        stock, multi, part_one, part_two = together(
            [partial(each, stage, inputs, batch) for stage, inputs in runs]
        )
        split = part_one + sigma * part_two
        print(
            f"| {batch} | {1e3 / stock:.0f} | {1e3 / multi:.0f} | {1e3 / split:.0f} | "
            f"{stock / split:.2f} | {stock / multi:.2f} |"
        )


def together(runs: list[Callable[[], list[float]]]) -> list[float]:
    """The median milliseconds an input of each run, in turns, so that what disturbs one disturbs all."""
    found: list[list[float]] = [[] for _ in runs]
    ends = time.perf_counter() + SECONDS * len(runs)
    while time.perf_counter() < ends:
        for number, run in enumerate(runs):
            found[number].extend(run())
    return [statistics.median(one) for one in found]


def each(stage, inputs: torch.Tensor, batch: int) -> list[float]:  # type: ignore[no-untyped-def]
    """Milliseconds an input, over the batches of all inputs: one number."""
    spent, count = 0.0, 0
    inputs = inputs.repeat(-(-2 * batch // len(inputs)), *[1] * (inputs.dim() - 1))
    for requests in requests_of(inputs, batch):
        if len(requests) == batch:
            began = time.thread_time()
            stage.execute(requests)
            spent += time.thread_time() - began
            count += batch
    return [1e3 * spent / count]


def requests_of(inputs: torch.Tensor, batch: int):  # type: ignore[no-untyped-def]
    from runtime.worker import Request

    rows = [
        Request(None, number, 1, memoryview(bytearray(row.numpy().tobytes())), None)  # type: ignore[arg-type]
        for number, row in enumerate(inputs)
    ]
    return [rows[first : first + batch] for first in range(0, len(rows), batch)]


def check(stage, inputs: torch.Tensor, found, leaving: torch.Tensor) -> None:  # type: ignore[no-untyped-def]
    """Every answer is the one that this sample, alone, gets offline."""
    answers: dict[int, int] = {}

    def note(requests, memory) -> None:  # type: ignore[no-untyped-def]
        for request, answer in zip(requests, memory, strict=True):
            answers[request.id] = int(torch.frombuffer(bytearray(answer), dtype=torch.float32).argmax())

    stage.let_go = lambda requests, memory, *_: note(requests, memory)
    for requests in requests_of(inputs, stage.batch):
        executed = stage.execute(requests)
        note(executed.requests, executed.answers)
    expected = found.answers.gather(0, leaving.view(1, -1))[0].tolist()
    assert [answers[number] for number in range(len(expected))] == expected
    stage.let_go = lambda *_: None


if __name__ == "__main__":
    steps = {"train": train, "stages": stages}
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("step", choices=steps)
    parser.add_argument("directory", type=Path, help="of the weights and ramps")
    options = parser.parse_args()
    torch.set_num_threads(1)
    os.environ["REGRAFT_WEIGHTS"] = str(options.directory)
    steps[options.step](options.directory)
