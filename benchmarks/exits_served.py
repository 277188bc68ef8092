"""Exits as they are served: scikit-learn's digits, a deep network, one core, through gateway and workers.

    python -m benchmarks.exits_served train DIRECTORY
    with nobody else on the machine:
    python -m benchmarks.exits_served profile DIRECTORY
    python -m benchmarks.exits_served stages DIRECTORY
    with others:
    python -m benchmarks.exits_served plan DIRECTORY
    with nobody else again, each some minutes:
    python -m benchmarks.exits_served goodput|hardness|forecast DIRECTORY

`train` makes the model (`benchmarks.exit_models`) and its ramps (after layers 2 and 4 of 9); who is sure to
0.95 leaves. `profile` measures layers and ramps at every batch and share.

`stages` runs a worker's stage program (`runtime.worker.Stage`, `runtime.exit_stage.ExitStage`) on batches of
digits that neither has seen, 1 to 16 at a time, and prints what one core answers a second

    stock        the model in one piece
    multi-exit   with both exits in use, in one piece: batches shrink
    split        cut at the first exit; survivors fill up batches of the second part, with the second exit
                 within; the time for each input is that of part one, and σ times that of part two

`plan` makes the plans of the other three, each for the largest rate that SHARE percent of a core carry by
the laws, and simulates the largest rate of which 99 % are answered within BUDGET_MS (Poisson arrivals).
`goodput` serves them by batch, `hardness` from easy inputs to hard ones, `forecast` plans that were made
with survivals wrong by up to 50 %, and prints the same as measured. Every answer is compared with what that
input gets offline, alone.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from planner import formats
from planner.errors import InfeasibleError
from planner.plan import Plan
from planner.planning import make_plan
from planner.problem import PlanSettings
from planner.profile import Profile
from planner.workload import Fragment, Workload

MODEL = "benchmarks.exit_models:deep"
LAYERS, SURE = (2, 4), 0.95
BATCHES = (1, 2, 4, 8, 16)
SHARES = (10, 20, 30, 40, 50, 60)
SECONDS = 1.5
SHARE, BUDGET_MS = 60.0, 250.0
SYSTEMS = {"stock": "gslice+", "multi-exit": "multi-exit", "planned": "graft"}
SETTINGS = PlanSettings(time_limit_s=1.0, threads=1)
HARDNESS = ((0.1, 0.01), (0.5, 0.25), (0.7, 0.5), (0.9, 0.8), (1.0, 1.0))
ERRORS = (-0.5, -0.25, 0.0, 0.25, 0.5)
TRUE = (0.5, 0.25)


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
    ramps = replace(ramps, thresholds=(SURE,) * len(LAYERS))
    save_ramps(ramps, directory)
    found = training.opinions(chain, ramps, samples.part(0.75, 1.0))
    leaving = found.leaving(ramps.thresholds)
    parts = [float((leaving > number).float().mean()) for number in range(2)]
    print(
        f"quality {found.quality([2.0, 2.0]):.4f} without exits, {found.quality(ramps.thresholds):.4f} with; "
        f"thresholds {ramps.thresholds}; go on {parts}"
    )


def profile(directory: Path) -> None:
    regraft(
        "profile", MODEL, "--output", str(directory), "--gpu", "cpu", "--seconds", "60", "--fresh",
        "--batches", ",".join(map(str, BATCHES)), "--shares", ",".join(map(str, SHARES)),
    )  # fmt: skip
    [plain] = directory.glob("*.cpu.json")
    regraft(
        "exits", "measure", MODEL, "--data", str(directory / "digits.npz"), "--weights", str(directory),
        "--profile", str(plain), "--output", str(directory / "profile.json"),
    )  # fmt: skip


def regraft(*arguments: str) -> None:
    command = [sys.executable, "-c", "from api.command_line import main; main()", *arguments]
    subprocess.run(command, check=True)


def plan(directory: Path, steps: Sequence[str] = ("goodput", "hardness", "forecast")) -> None:
    """Every case of these steps, with its plan and what the simulation says of it."""
    from benchmarks.exits_gateway import simulated_goodput

    made = formats.read(Profile, directory / "profile.json")
    cases: dict[str, list[Any]] = {step: [] for step in steps}
    for step, name, system, batch, assumed, true in every_case():
        if step not in cases:
            continue
        believed = with_survival(made, assumed)
        asked = only(believed, batch) if batch else believed
        if system == "stock":
            asked = replace(asked, exits=None)
        rate_rps, found = largest(SYSTEMS[system], asked)
        simulated_rps = simulated_goodput(
            found, made if system != "stock" else replace(made, exits=None), true, BUDGET_MS, MODEL, rate_rps
        )
        cases[step].append(
            { "name": name, "system": system, "survival": true, "planned_rps": rate_rps,
                "simulated_rps": simulated_rps, "plan": formats.to_json(found),
            }
        )  # fmt: skip
        stages = ", ".join(
            f"[{one.start}, {one.end}) {one.instances} x {one.share} % b{one.batch} {list(one.exits)}"
            for one in found.stages
        )
        print(
            f"{step} {name} {system}: {rate_rps:.0f}, simulated {simulated_rps:.0f}: {stages}",
            flush=True,
        )
    for step, found_cases in cases.items():
        (directory / f"{step}.json").write_text(json.dumps(found_cases))


def every_case() -> Iterator[tuple[str, str, str, int, tuple[float, ...], tuple[float, ...]]]:
    """Step, name, system, batch (0: any), the survival that is planned with, the true one."""
    for batch in BATCHES:
        for system in SYSTEMS:
            yield "goodput", str(batch), system, batch, TRUE, TRUE
    yield "hardness", "any", "stock", 0, TRUE, TRUE
    for survival in HARDNESS:
        for system in ("multi-exit", "planned"):
            yield "hardness", ", ".join(f"{one:g}" for one in survival), system, 0, survival, survival
    for error in ERRORS:
        wrong = tuple(min(1.0, (1 + error) * one) for one in TRUE)
        yield "forecast", f"{error:+.0%}", "planned", 0, wrong, TRUE


def with_survival(made: Profile, survival: tuple[float, ...]) -> Profile:
    return replace(
        made,
        exits=tuple(
            replace(item, survival=one, survivors=None)
            for item, one in zip(made.exits or (), survival, strict=True)
        ),
    )


def only(made: Profile, batch: int) -> Profile:
    """The profile in which stages run at this batch alone: of smaller ones the edges were not measured."""
    from benchmarks.exits_planned import only as at_this_batch

    count = made.batches.index(batch) + 1
    exits = tuple(replace(item, ramp_ms=item.ramp_ms[:count]) for item in made.exits or ())
    latency_ms = tuple(layer[:count] for layer in made.latency_ms)
    return at_this_batch(
        replace(made, batches=made.batches[:count], latency_ms=latency_ms, exits=exits), batch
    )


def largest(strategy: str, made: Profile) -> tuple[float, Plan]:
    """The largest rate that at most SHARE percent carry, to 1 %, and its plan."""
    low, high, best = 1.0, 2.0, None
    while (found := planned(strategy, made, high)) is not None:
        low, high, best = high, 2 * high, found
    while high > 1.01 * low:
        middle = (low * high) ** 0.5
        found = planned(strategy, made, middle)
        if found is not None:
            low, best = middle, found
        else:
            high = middle
    assert best is not None
    return low, best


def planned(strategy: str, made: Profile, rate_rps: float) -> Plan | None:
    from benchmarks.exits_gateway import PHONE

    fragment = Fragment(id=PHONE, model=MODEL, start=0, budget_ms=BUDGET_MS, rate_rps=rate_rps)
    try:
        found = make_plan(Workload(fragments=(fragment,)), [made], strategy=strategy, settings=SETTINGS)
    except InfeasibleError:
        return None
    return found if found.objective.share <= SHARE else None


def serve(step: str, directory: Path) -> None:
    """Every case of this step through gateway and workers."""
    import tempfile

    from benchmarks.exits_gateway import pool_of, serving
    from runtime import exit_training as training
    from runtime.models import open_chain
    from runtime.ramps import load_ramps

    chain = open_chain(MODEL)
    rest = training.read_samples(directory / "digits.npz", chain).part(0.75, 1.0)
    pool = pool_of(chain, load_ramps(MODEL, chain.cut_shapes, directory), rest, training.opinions)
    cases = json.loads((directory / f"{step}.json").read_text())
    print(f"inputs that pass 0, 1, 2 exits: {[len(kind) for kind in pool.kinds]}", flush=True)
    print(
        f"| {step} | system | planned | simulated | measured | measured / simulated | beside stock | wrong |"
    )
    stock: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder), MODEL, pool) as served:
        for case in cases:
            made: Plan = formats.parse(Plan, json.dumps(case["plan"]).encode(), source="case")
            served.deploy(made, BUDGET_MS)
            found, wrong = served.goodput(0.9 * case["simulated_rps"], case["survival"], BUDGET_MS)
            if case["system"] == "stock":
                stock[case["name"]] = found
            beside = stock.get(case["name"], stock.get("any", 0.0))
            print(
                f"| {case['name']} | {case['system']} | {case['planned_rps']:.0f} "
                f"| {case['simulated_rps']:.0f} | {found:.0f} | {found / case['simulated_rps']:.2f} "
                f"| {found / beside if beside else 0:.2f} | {wrong} |",
                flush=True,
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
    steps: dict[str, Callable[[Path], Any]] = {
        "train": train,
        "profile": profile,
        "stages": stages,
        "plan": plan,
        **{f"plan-{step}": partial(plan, steps=(step,)) for step in ("goodput", "hardness", "forecast")},
        **{step: partial(serve, step) for step in ("goodput", "hardness", "forecast")},
    }
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("step", choices=steps)
    parser.add_argument("directory", type=Path, help="of the weights and ramps, and of what was measured")
    options = parser.parse_args()
    torch.set_num_threads(1)
    os.environ["REGRAFT_WEIGHTS"] = str(options.directory)
    steps[options.step](options.directory)
