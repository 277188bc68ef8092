"""Profiles of several models: which are measured already, on which cores, and how far they are."""

from __future__ import annotations

import fcntl
import os
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from planner import formats
from planner.errors import InputError
from planner.profile import WAVERING_PCT, Profile
from runtime.errors import SettingError
from runtime.profiler import file_name, is_current, measure
from runtime.stopwatch import identity

# Less smoothing than this is no news; the profile has it all the same.
_WORTH_SAYING_PCT = 1.0

_notes = Console(stderr=True, highlight=False)


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What `regraft profile` was asked for."""

    models: tuple[str, ...]
    output: Path
    batches: tuple[int, ...]
    shares: tuple[float, ...]
    gpu: str | None
    device: str
    seconds: float
    runs: int
    jobs: int
    seed: int
    fresh: bool
    neighbour: bool = False


def profile_all(wish: Wish) -> list[Path]:
    """Measure every model that is not measured already; returns the profiles' files, in the models' order.

    Raises ModelError before anything is measured when a model's name is wrong, SettingError for a device
    that is not there or a directory that cannot be written, MeasurementError where measuring fails. What
    was measured until then is kept.
    """
    from runtime.models import check_name

    for model in wish.models:
        check_name(model)
    gpu_type = wish.gpu or _gpu_type(wish.device)
    try:
        wish.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingError(f"{wish.output}: {error.strerror}; give a directory that can be written") from None
    paths = [wish.output / file_name(model, gpu_type) for model in wish.models]
    waiting = [
        (model, path)
        for model, path in zip(wish.models, paths, strict=True)
        if wish.fresh or not _is_measured(wish, path)
    ]
    if waiting:
        _measure_side_by_side(wish, gpu_type, waiting)
    return paths


def _measure_side_by_side(wish: Wish, gpu_type: str, waiting: list[tuple[str, Path]]) -> None:
    cores = sorted(os.sched_getaffinity(0))
    on_cpu = wish.device == "cpu"
    jobs = min(wish.jobs, len(waiting), len(cores)) if on_cpu else min(wish.jobs, len(waiting))
    # Cores are measured side by side; on a GPU models are made ready together and measured in turn.
    turn = None if on_cpu else threading.Lock()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    pool = ThreadPoolExecutor(jobs)
    halt = threading.Event()
    try:
        with Progress(*columns, console=_notes, refresh_per_second=2) as bars:

            def work(model: str, path: Path) -> None:
                bar = bars.add_task(f"{model} (preparing)", total=len(wish.batches) * len(wish.shares))
                partial = path.with_suffix(".partial.json")
                if wish.fresh:
                    partial.unlink(missing_ok=True)
                with _core_of_its_own(cores if on_cpu else []) as core:
                    profile = measure(
                        model,
                        device=wish.device,
                        gpu_type=gpu_type,
                        batches=wish.batches,
                        shares=wish.shares,
                        seconds_budget=wish.seconds,
                        min_runs=wish.runs,
                        seed=wish.seed,
                        core=core,
                        partial=partial,
                        progress=lambda done, _, name: bars.update(bar, completed=done, description=name),
                        halt=halt,
                        neighbour=wish.neighbour,
                        turn=turn,
                    )
                formats.write(profile, path)
                bars.update(bar, description=f"{model} → {path}")
                _warn(profile)

            futures: list[Future[None]] = [pool.submit(work, model, path) for model, path in waiting]
            # A model that fails takes no other with it; what it had measured is in its partial file.
            wait(futures)
            for future in futures:
                future.result()
    except BaseException:
        # The user has seen enough, say: the others need not go on for minutes.
        halt.set()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _core_of_its_own(cores: list[int]) -> Iterator[int | None]:
    """A core on which nobody else on this machine measures now; None where every one is taken.

    Taken by a lock on a file, so that commands that run side by side do not measure each other. The last
    cores come first: the first is everybody else's favourite.
    """
    for core in reversed(cores):
        path = Path(tempfile.gettempdir()) / f"regraft-measures-on-core-{core}.lock"
        try:
            # Not removed afterwards: whoever waits for it would hold the lock of a file that is gone.
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError:  # somebody else's file; his cores are not ours to take
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            continue
        try:
            yield core
        finally:
            os.close(descriptor)
        return
    yield None


def _warn(profile: Profile) -> None:
    """Say where the measurements are worth less than they should be."""
    cells = len(profile.batches) * len(profile.shares)
    smoothed = int(profile.measured["smoothed_cells"])
    if profile.measured["smoothed_by_pct"] >= _WORTH_SAYING_PCT:
        _notes.print(
            f"{profile.model}: noise made {smoothed} of {cells} cells faster at less share, or slower at a "
            f"smaller batch; smoothed, by up to {profile.measured['smoothed_by_pct']:.1f} %",
            style="yellow",
            soft_wrap=True,
        )
    faster = int(profile.measured["faster_batches"])
    if faster:
        _notes.print(
            f"{profile.model}: {faster} of {len(profile.layers)} layers are faster at a larger batch (by up "
            f"to {profile.measured['faster_batches_pct']:.0f} %); planned as if they were not",
            style="yellow",
            soft_wrap=True,
        )
    scatter_pct = float(profile.measured["scatter_pct"])
    if scatter_pct > WAVERING_PCT:
        _notes.print(
            f"{profile.model}: runs of a cell differ by {scatter_pct:.0f} % (standard deviation): "
            "the machine did not keep its speed, and means are worth as little; measure again (--fresh)",
            style="yellow",
            soft_wrap=True,
        )
    disturbed = int(profile.measured["disturbed_cells"])
    if disturbed:
        _notes.print(
            f"{profile.model}: other processes disturbed {disturbed} of {cells} cells (by up to "
            f"{profile.measured['disturbed_pct']:.0f} %); processor time corrects them, but a quiet machine "
            "measures better (--fresh)",
            style="yellow",
            soft_wrap=True,
        )


def _is_measured(wish: Wish, path: Path) -> bool:
    if not path.exists():
        return False
    try:
        profile = formats.read(Profile, path)
    except InputError:
        return False
    if not is_current(profile, identity(wish.device), wish.batches, wish.shares):
        return False
    _notes.print(f"{profile.model}: measured already, {path} (--fresh measures again)")
    return True


def _gpu_type(device: str) -> str:
    if device == "cpu":
        return "cpu"
    from runtime.agent_devices import discover

    kind, _, number = device.partition(":")
    if kind != "cuda" or not (number.isdigit() or device == "cuda"):
        raise SettingError(f"--device {device}: expected cpu, cuda, or cuda:1 for the second GPU")
    index = int(number or 0)
    gpus = [found for found in discover("here", []) if found.uuid]
    if index >= len(gpus):
        raise SettingError(
            f"--device {device}: this machine has {len(gpus)} CUDA GPUs; "
            "`regraft doctor --device cuda` says more"
        )
    return gpus[index].type
