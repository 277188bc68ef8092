"""`regraft exits train`, `measure`, `watch`: a model that lets easy inputs go, from the user's own data."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

INPUT_WRONG = 2
CHECK_FAILED = 1

exits = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Early exits: train, measure, watch.",
)

Model = Annotated[str, typer.Argument(help="A model as in `regraft profile`; it answers one number a class.")]
Data = Annotated[
    Path, typer.Option(help="An .npz file: `inputs` [N, …] in the order they come, and `labels` [N].")
]
Directory = Annotated[
    Path, typer.Option(file_okay=False, help="Directory of weights and ramps; REGRAFT_WEIGHTS for workers.")
]
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]


@exits.command()
def train(
    model: Model,
    data: Data,
    weights: Directory,
    at: Annotated[str, typer.Option(help="Cut points for ramps, such as 2,4: see `layers` in a profile.")],
    ramp: Annotated[
        str, typer.Option(help="package.module:factory of (shape, classes) that makes a ramp.")
    ] = "runtime.ramps:pooled",
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the data for every ramp.")] = 40,
    model_epochs: Annotated[
        int, typer.Option(min=0, help="Passes that train the model itself first; 0 leaves it as it is.")
    ] = 0,
    floor: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="The part of the model's quality to keep.")
    ] = 0.99,
    seed: Seed = 0,
) -> None:
    """Attach ramps to a model, train them, and choose their thresholds.

    The first half of the data trains, the third quarter chooses thresholds; the last is for `measure`.
    """
    os.environ["REGRAFT_WEIGHTS"] = str(weights)
    from runtime import exit_training as training
    from runtime.errors import ServingError
    from runtime.models import open_chain
    from runtime.ramps import save_ramps

    try:
        chain = open_chain(model, seed=seed)
        samples = training.read_samples(data, chain)
        if model_epochs:
            training.train_model(chain, samples.part(0, 0.5), weights, epochs=model_epochs, seed=seed)
        made = training.train_ramps(
            chain, samples.part(0, 0.5), _layers(at), factory=ramp, epochs=epochs, seed=seed
        )
        found = training.opinions(chain, made, samples.part(0.5, 0.75))
        made = training.choose_thresholds(made, found, floor=floor)
        path = save_ramps(made, weights)
    except ServingError as error:
        _complain(str(error), INPUT_WRONG)
    never = [training.NEVER] * len(made.layers)
    typer.echo(
        f"{path}: quality {found.quality(never):.4f} without exits, {found.quality(made.thresholds):.4f}"
    )
    for layer, threshold in zip(made.layers, made.thresholds, strict=True):
        typer.echo(f"  exit {layer}: threshold {threshold:g}")


@exits.command()
def measure(
    model: Model,
    data: Data,
    weights: Directory,
    profile: Annotated[Path, typer.Option(help="The model's profile on this machine (regraft.profile/v1).")],
    output: Annotated[Path, typer.Option(help="Where the profile with exits goes; - is standard output.")],
    scaled: Annotated[
        bool,
        typer.Option(
            "--scaled",
            help="Time ramps on a whole core only, and take them to be as much slower at smaller shares as "
            "the layers are. Otherwise they are timed at every share.",
        ),
    ] = False,
    seed: Seed = 0,
) -> None:
    """Measure who leaves where, the quality that is kept, and what the ramps cost; add it to a profile.

    The last quarter of the data is measured, which training and thresholds have not seen.
    """
    os.environ["REGRAFT_WEIGHTS"] = str(weights)
    import torch

    from planner import formats
    from planner.errors import InputError
    from planner.profile import Profile
    from runtime import exit_training as training
    from runtime.errors import MeasurementError, ServingError
    from runtime.exit_measuring import profile_with_exits
    from runtime.models import open_chain
    from runtime.ramps import load_ramps

    try:
        plain = formats.read(Profile, profile)
        chain = open_chain(model, seed=seed)
        samples = training.read_samples(data, chain).part(0.75, 1.0)
        ramps = load_ramps(model, chain.cut_shapes, weights)
        found = training.opinions(chain, ramps, samples)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # as workers do
        try:
            made = profile_with_exits(plain, chain, ramps, found, hold_shares=not scaled)
        finally:
            torch.set_num_threads(threads)
        formats.write(made, output)
    except InputError as error:
        _complain(str(error), INPUT_WRONG)
    except MeasurementError as error:
        _complain(str(error), CHECK_FAILED)
    except ServingError as error:
        _complain(str(error), INPUT_WRONG)
    for item in made.exits or ():
        alone = made.measured["exits_alone"][str(item.layer)]
        typer.echo(
            f"exit {item.layer}: {item.survival:.3f} go on ({alone:.3f} if it is the only one), quality "
            f"{item.quality:.4f}, the ramp takes {item.ramp_ms[0][-1]} ms at batch {made.batches[0]}",
            err=True,
        )


@exits.command()
def watch(
    gateway: Annotated[str, typer.Argument(help="The gateway's address, such as http://127.0.0.1:8080.")],
    workload: Annotated[Path, typer.Option(help="The workload that was planned (regraft.workload/v1).")],
    profile: Annotated[Path, typer.Option(help="The profile it was planned with, of one model.")],
    output: Annotated[
        Path,
        typer.Option(help="Where the workload with the survival to plan with goes; - is standard output."),
    ],
    every: Annotated[float, typer.Option(min=0.1, help="Seconds a window lasts.")] = 60.0,
    windows: Annotated[int, typer.Option(min=1, help="Give up after so many windows.")] = 1_000_000,
    method: Annotated[str, typer.Option(help="last, mean, or arima (the default).")] = "",
) -> None:
    """Wait until inputs have become easier or harder than planned with, and write the workload to plan for.

    Ends with 0 when that is so: plan and deploy anew then. Ends with 1 after --windows without it.
    """
    from typing import cast

    from planner import formats
    from planner.errors import InputError
    from planner.forecasting import DEFAULT, Method, with_survival
    from planner.profile import Profile
    from planner.workload import Workload
    from runtime.errors import ServingError
    from runtime.exit_watch import counts_of
    from runtime.exit_watch import watch as wait_for_drift

    if (method or DEFAULT) not in ("last", "mean", "arima"):
        _complain(f"--method is {method!r}: expected last, mean or arima", INPUT_WRONG)
    try:
        asked, measured = formats.read(Workload, workload), formats.read(Profile, profile)
        if not measured.exits:
            _complain(f"{profile}: has no exits", INPUT_WRONG)
        found = wait_for_drift(
            counts_of(gateway, every, limit=windows + 1),
            asked,
            measured,
            method=cast(Method, method or DEFAULT),
            tell=lambda window, expected: typer.echo(
                f"{window.answered} answered, left {dict(sorted(window.left.items()))}, expected {expected}",
                err=True,
            ),
        )
        if found is not None:
            formats.write(with_survival(asked, measured.model, found), output)
    except (InputError, ServingError) as error:
        _complain(str(error), INPUT_WRONG)
    if found is None:
        _complain("no drift", CHECK_FAILED)


def _layers(text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        _complain(f"--at is {text!r}: expected cut points such as 2,4", INPUT_WRONG)
        raise


def _complain(message: str, status: int) -> None:
    typer.secho(message, fg="red", err=True)
    raise typer.Exit(status)
