"""The commands that look at this machine: `regraft profile`, `regraft doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

INPUT_WRONG = 2
CHECK_FAILED = 1


def profile(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...",
            help="torchvision classification models by name (resnet101, vit_b_16), or "
            "package.module:factory; either may end in the shape of one sample, such as :3x224x224.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", file_okay=False, help="Directory for the profiles, MODEL.GPU.json."),
    ],
    batches: Annotated[str, typer.Option(help="Batch sizes to measure.")] = "1,2,4,8",
    shares: Annotated[
        str, typer.Option(help="Shares to measure, in percent of the device (on a CPU: of one core).")
    ] = "10,25,50,100",
    gpu: Annotated[
        str | None,
        typer.Option(
            help="Name of this type of GPU in the profiles. Default: as the agent calls the device."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="What to measure: cpu, cuda, cuda:1.")] = "cpu",
    seconds: Annotated[
        float,
        typer.Option(min=0.1, help="Time for one model; taken longer only for the least number of runs."),
    ] = 60.0,
    runs: Annotated[int, typer.Option(min=1, help="The least number of runs of each batch and share.")] = 3,
    jobs: Annotated[
        int,
        typer.Option(
            min=1,
            help="Models measured at the same time, each on a core of its own. On a GPU they are made ready "
            "at the same time, and measured in turn.",
        ),
    ] = 1,
    seed: Annotated[int, typer.Option(help="Seed of the weights of models that have none.")] = 0,
    neighbour: Annotated[
        bool,
        typer.Option(
            "--neighbour",
            help="Measure each share below 100 also beside a process that has the rest of the device.",
        ),
    ] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Measure again what was measured before.")] = False,
) -> None:
    """Measure what a model costs on this machine, layer by layer.

    Every layer is measured at every batch and share, each share enforced as a worker's is: by MPS on a
    GPU, by a control group (or by pausing) on a processor core. What was measured is kept: an interrupted
    profile goes on where it stopped, and a finished one is measured again only with --fresh, or where
    the device, its driver, torch, the batches or the shares are others.
    """
    from runtime.errors import MeasurementError, ModelError, ServingError
    from runtime.profiles import Wish, profile_all

    batch_list = _numbers("--batches", batches, whole=True, most=65536)
    share_list = _numbers("--shares", shares, whole=False, most=100)
    wish = Wish(
        models=tuple(dict.fromkeys(models)),
        output=output,
        batches=tuple(int(batch) for batch in batch_list),
        shares=tuple(share_list),
        gpu=gpu,
        device=device,
        seconds=seconds,
        runs=runs,
        jobs=jobs,
        seed=seed,
        fresh=fresh,
        neighbour=neighbour,
    )
    try:
        profile_all(wish)
    except ModelError as error:
        _complain(str(error), INPUT_WRONG)
    except MeasurementError as error:
        _complain(str(error), CHECK_FAILED)
    except ServingError as error:
        _complain(str(error), INPUT_WRONG)


def doctor(
    device: Annotated[
        str, typer.Option(help="What this machine is to serve with: cpu or cuda.", metavar="cpu|cuda")
    ] = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Say it as JSON on standard output.")] = False,
) -> None:
    """Say what this machine can do, and what is missing.

    Each line is ok, degraded (it works, but less well; what to do about it) or missing. Exit code 1 when
    something is missing that serving with --device needs.
    """
    import json

    from runtime.doctor import examine, print_findings

    if device not in ("cpu", "cuda"):
        _complain(f"--device is {device!r}: expected cpu or cuda", INPUT_WRONG)
    findings = examine(device)
    if as_json:
        print(json.dumps([finding.as_dict() for finding in findings], indent=1))
    else:
        print_findings(findings)
    if any(finding.state == "missing" and finding.needed for finding in findings):
        raise typer.Exit(CHECK_FAILED)


def _numbers(option: str, text: str, *, whole: bool, most: float) -> Sequence[float]:
    try:
        values = [float(word) for word in text.split(",")]
        if not all(0 < value <= most and (value.is_integer() or not whole) for value in values):
            raise ValueError(text)
    except ValueError:
        kind = "whole numbers" if whole else "numbers"
        _complain(
            f"{option} is {text!r}: expected {kind} above 0, at most {most:g}, such as 1,2,4", INPUT_WRONG
        )
        raise
    return sorted(set(values))


def _complain(message: str, status: int) -> None:
    typer.secho(message, fg="red", err=True)
    raise typer.Exit(status)
