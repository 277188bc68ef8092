"""Recorded files that a plan can be made from: measured models (ParvaGPU) and GPU requests (OpenB).

Nothing is guessed: a row that cannot be true is refused with its number (see `planner.rows`).

*ParvaGPU* measured whole models on an A100 whose MIG slices have 1, 2, 3, 4 or 7 of its 7 parts, each
shared by 1 to 5 processes. A slice is taken for a share of g/7 of the GPU; what did not run is a cell not
measured. Layers were not measured one by one, so such a profile has a single layer, the whole model.

*OpenB* lists what the pods of a production cluster asked for, in thousandths of a GPU, and its nodes' GPUs.
How much memory a pod needs of its GPU is not recorded.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from planner.errors import Complaint, InputError
from planner.profile import Profile
from planner.rows import Rows, records

# Parts of an A100 that MIG slices are made of, and of the whole GPU.
MIG_PARTS = 7

# Milliseconds by which latency and throughput of a row may contradict each other: latencies are recorded to
# 1 ms.
_ROUNDED_MS = 0.6


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuRequest:
    """What one pod asks for: `share_pct` of each of `gpus` GPUs, in `row` of the file."""

    name: str
    gpus: int
    share_pct: float
    row: int


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuNode:
    """A machine with `gpus` GPUs of one type."""

    name: str
    gpus: int
    type: str


def read_parvagpu(
    path: str | Path, *, model: str | None = None, gpu: str = "a100-80gb", processes: int = 1
) -> Profile:
    """Read a ParvaGPU profile: a model of one layer at batch and share, as `processes` in a slice had it.

    `model` is the file's name unless given. Shares are g times a seventh of the GPU / processes, in
    percent, the seventh rounded down to a ten-thousandth, so that seven of them fit a GPU and are one. The
    latency of a batch is batch / throughput, which is recorded more finely than the latency itself; a
    throughput of 0 means that it did not run. Raises InputError naming each wrong row, and where the file
    has no rows of so many processes.
    """
    rows = Rows(path)
    cells: dict[tuple[int, int], tuple[int, float | None]] = {}
    needed = ("Mig instance", "Batch size", "Workload Number", "Throughput", "Latency")
    for row, fields in records(path, rows, needed, None):
        parts = rows.whole(row, "Mig instance", fields["Mig instance"], least=1, most=MIG_PARTS)
        batch = rows.whole(row, "Batch size", fields["Batch size"], least=1, most=65536)
        together = rows.whole(row, "Workload Number", fields["Workload Number"], least=1, most=48)
        throughput = rows.number(row, "Throughput", fields["Throughput"])
        latency_s = rows.number(row, "Latency", fields["Latency"])
        if parts is None or batch is None or together is None or throughput is None or latency_s is None:
            continue
        if together != processes:
            continue
        if (parts, batch) in cells:
            before = cells[parts, batch][0]
            rows.refuse(
                row, f"measures {parts} parts at batch {batch} again, after row {before}", "once each"
            )
            continue
        latency_ms = 1000 * batch / throughput if throughput else None
        if abs((latency_ms or 0.0) - 1000 * latency_s) > _ROUNDED_MS:
            said = f"{latency_ms:.1f} ms" if latency_ms else "that it did not run"
            rows.refuse(row, f"Latency is {latency_s:g} s, but Throughput says {said}", "batch / throughput")
            continue
        cells[parts, batch] = (row, latency_ms)
    rows.finish()
    measured = [cell for cell, (_, latency_ms) in cells.items() if latency_ms is not None]
    if not measured:
        problem = f"has no measurement of {processes} processes in a slice"
        raise InputError(str(path), [Complaint(place="file", problem=problem, cure="1 to 5 were measured")])
    # A batch or slice that never ran would only be a row of nulls.
    slices = sorted({parts for parts, _ in measured})
    batches = sorted({batch for _, batch in measured})
    nothing = (0, None)
    part_pct = int(1e6 / (MIG_PARTS * processes)) / 1e4
    latency = tuple(tuple(cells.get((parts, batch), nothing)[1] for parts in slices) for batch in batches)
    return Profile(
        model=model or Path(path).stem,
        gpu=gpu,
        layers=("whole",),
        batches=tuple(batches),
        shares=tuple(round(parts * part_pct, 4) for parts in slices),
        latency_ms=(latency,),
        measured={"source": f"ParvaGPU, {Path(path).name}", "processes": processes},
    )


def read_openb_requests(path: str | Path) -> list[GpuRequest]:
    """The pods of an OpenB list that ask for GPUs, in the file's order; those that ask for none are left out.

    Raises InputError naming each wrong row, and where no pod asks for a GPU.
    """
    rows = Rows(path)
    found = []
    for row, fields in records(path, rows, ("name", "num_gpu", "gpu_milli"), None):
        gpus = rows.whole(row, "num_gpu", fields["num_gpu"], most=1000)
        milli = rows.whole(row, "gpu_milli", fields["gpu_milli"], most=1000)
        if gpus is None or milli is None:
            continue
        if (gpus == 0) != (milli == 0):
            rows.refuse(row, f"asks for {milli} thousandths of {gpus} GPUs", "none, or some of each")
        elif gpus:
            found.append(GpuRequest(name=fields["name"], gpus=gpus, share_pct=milli / 10, row=row))
    rows.finish()
    if not found:
        complaint = Complaint(place="file", problem="has no pod that asks for a GPU", cure="num_gpu above 0")
        raise InputError(str(path), [complaint])
    return found


def read_openb_nodes(path: str | Path) -> list[GpuNode]:
    """The nodes of an OpenB list, in the file's order. Raises InputError naming each wrong row."""
    rows = Rows(path)
    found = []
    for row, fields in records(path, rows, ("sn", "gpu", "model"), None):
        gpus = rows.whole(row, "gpu", fields["gpu"], least=1, most=1000)
        if not fields["model"].strip():
            rows.refuse(row, "model is empty", "expected the type of its GPUs")
        elif gpus is not None:
            found.append(GpuNode(name=fields["sn"], gpus=gpus, type=fields["model"].strip()))
    rows.finish()
    return found
