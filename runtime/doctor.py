"""What this machine can do, and what is missing: one finding a line."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import psutil

State = Literal["ok", "degraded", "missing"]

_MIB = 2**20
_GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing looked at: how it is, and what to do about it; `needed` by the chosen device."""

    subject: str
    state: State
    detail: str
    cure: str = ""
    needed: bool = True

    def as_dict(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def examine(device: str) -> list[Finding]:
    """Look at everything that serving with `device` (`cpu` or `cuda`) touches; never raises."""
    looks: list[Callable[[bool], Iterator[Finding]]] = [
        _system,
        _torch,
        _torchvision,
        _cache,
        _shared_memory,
        _shares,
        _gpus,
        _mps,
    ]
    return [finding for look in looks for finding in look(device == "cuda")]


def print_findings(findings: list[Finding]) -> None:
    """One line each on standard output, and under it what to do."""
    from rich.console import Console
    from rich.text import Text

    colours = {"ok": "green", "degraded": "yellow", "missing": "red"}
    console = Console(highlight=False)
    for finding in findings:
        colour = colours[finding.state] if finding.needed else "dim"
        aside = "" if finding.needed or finding.state == "ok" else " (not needed)"
        line = Text.assemble((f"{finding.state:9}", colour), f"{finding.subject:16} {finding.detail}{aside}")
        console.print(line, soft_wrap=True)
        if finding.cure:
            console.print(Text(f"{'':9}{'':16} → {finding.cure}"), soft_wrap=True)


def _system(cuda: bool) -> Iterator[Finding]:
    cores = sorted(os.sched_getaffinity(0))
    total = os.cpu_count() or len(cores)
    yield Finding(
        subject="processor cores",
        state="ok" if cuda or len(cores) > 1 else "degraded",
        detail=f"{len(cores)} of {total} usable ({_processor()})",
        cure="" if len(cores) > 1 else "a gateway and a worker on one core slow each other; give it a second",
    )
    memory = psutil.virtual_memory()
    short = memory.available < 2 * _GIB
    yield Finding(
        subject="memory",
        state="degraded" if short else "ok",
        detail=f"{memory.available / _GIB:.1f} of {memory.total / _GIB:.1f} GiB available",
        cure="a worker takes 0.3 GiB and its layers; close something, or plan with less memory_mb"
        if short
        else "",
    )


def _torch(cuda: bool) -> Iterator[Finding]:
    try:
        import torch
    except Exception as error:  # a broken build raises what it likes
        yield Finding(
            subject="torch", state="missing", detail=_first_line(error), cure="pip install 'regraft[runtime]'"
        )
        return
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU only"
    fits = bool(torch.version.cuda) or not cuda
    yield Finding(
        subject="torch",
        state="ok" if fits else "missing",
        detail=f"{torch.__version__} ({build})",
        cure="" if fits else "install the CUDA build of the same torch version",
    )


def _torchvision(cuda: bool) -> Iterator[Finding]:
    del cuda
    try:
        from runtime.models import import_torchvision, known_models

        yield Finding(
            subject="torchvision",
            state="ok",
            detail=f"{import_torchvision().__version__}, {len(known_models())} classification models",
        )
    except Exception as error:  # as above
        yield Finding(
            subject="torchvision",
            state="missing",
            detail=_first_line(error),
            cure="pip install 'regraft[runtime]'; factories (package.module:factory) work without",
        )


def _cache(cuda: bool) -> Iterator[Finding]:
    del cuda
    root = os.environ.get("REGRAFT_CACHE") or str(Path.home() / ".cache" / "regraft")
    directory = Path(root)
    existing = next(path for path in (directory, *directory.parents) if path.exists())
    writable = existing.is_dir() and os.access(existing, os.W_OK)
    free_gib = shutil.disk_usage(existing).free / _GIB
    state: State = "missing" if not writable else "degraded" if free_gib < 2 else "ok"
    yield Finding(
        subject="weights cache",
        state=state,
        detail=f"{directory}, {free_gib:.1f} GiB free" if writable else f"{directory} cannot be written",
        cure=""
        if state == "ok"
        else "set REGRAFT_CACHE to a directory with room (a large model takes 2 GiB)",
    )


def _shared_memory(cuda: bool) -> Iterator[Finding]:
    del cuda
    directory = Path("/dev/shm")
    if not directory.is_dir() or not os.access(directory, os.W_OK):
        yield Finding(
            subject="shared memory",
            state="missing",
            detail=f"{directory} cannot be written",
            cure="mount a tmpfs there; in a container, --shm-size",
        )
        return
    free_mib = shutil.disk_usage(directory).free / _MIB
    low = free_mib < 256
    yield Finding(
        subject="shared memory",
        state="degraded" if low else "ok",
        detail=f"{free_mib:.0f} MiB free",
        cure="tensors pass through it; in a container, --shm-size=1g" if low else "",
    )


def _shares(cuda: bool) -> Iterator[Finding]:
    from runtime.cgroups import hierarchies, why_no_quota

    found = hierarchies()
    if found:
        kind = f"cgroup v{found[0].version}"
        yield Finding(
            subject="CPU shares", state="ok", detail=f"{kind} quotas in {found[0].parent}", needed=not cuda
        )
        return
    yield Finding(
        subject="CPU shares",
        state="degraded",
        detail=f"by pausing between batches: {why_no_quota()}",
        cure="give it a cgroup it may write: systemd Delegate=cpu, or REGRAFT_CGROUP=DIRECTORY",
        needed=not cuda,
    )


def _gpus(cuda: bool) -> Iterator[Finding]:
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        yield Finding(
            subject="NVIDIA driver",
            state="missing",
            detail=str(error),
            cure="install the NVIDIA driver (and in a container, give it the GPU)" if cuda else "",
            needed=cuda,
        )
        return
    try:
        yield Finding(
            subject="NVIDIA driver", state="ok", detail=str(pynvml.nvmlSystemGetDriverVersion()), needed=cuda
        )
        count = pynvml.nvmlDeviceGetCount()
        if not count:
            yield Finding(
                subject="GPUs", state="missing", detail="none", cure="give this machine one", needed=cuda
            )
        for index in range(count):
            yield _gpu(index, cuda)
    except pynvml.NVMLError as error:
        yield Finding(subject="GPUs", state="missing", detail=str(error), cure="see nvidia-smi", needed=cuda)
    finally:
        pynvml.nvmlShutdown()


def _gpu(index: int, cuda: bool) -> Finding:
    import pynvml

    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    name = pynvml.nvmlDeviceGetName(handle)
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
    volta = (major, minor) >= (7, 0)
    return Finding(
        subject=f"GPU {index}",
        state="ok" if volta else "degraded",
        detail=f"{name}, {memory.free / _GIB:.1f} of {memory.total / _GIB:.1f} GiB free, "
        f"compute capability {major}.{minor}",
        cure="" if volta else "MPS shares need compute capability 7.0 (Volta) or later",
        needed=cuda,
    )


def _mps(cuda: bool) -> Iterator[Finding]:
    from runtime.mps import CONTROL, probe

    daemon = probe()
    if daemon.running:
        default = "" if daemon.default_pct is None else f", default {daemon.default_pct:g} %"
        yield Finding(
            subject="MPS", state="ok", detail=f"running, {len(daemon.servers)} servers{default}", needed=cuda
        )
        return
    yield Finding(
        subject="MPS",
        state="degraded" if daemon.installed else "missing",
        detail=daemon.problem,
        cure=f"start it with {CONTROL} -d; without it GPU workers take turns by pausing" if cuda else "",
        needed=cuda,
    )


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def _processor() -> str:
    from runtime.stopwatch import processor_name

    return f"{processor_name()}, {platform.machine()}"
