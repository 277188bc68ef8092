"""What a machine offers: its CUDA GPUs, or, where it has none, its processor cores."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any

from runtime.errors import ServingError


@dataclass(frozen=True, kw_only=True, slots=True)
class Device:
    """One GPU, or one core that plays a GPU: 100 percent of share, and `memory_mb`.

    `core` is the processor core of a `cpu` device, `uuid` the CUDA GPU of any other. In a Ray cluster
    `ray_node` is the node that has it, and `address` where workers there listen.
    """

    id: str
    type: str
    memory_mb: float
    core: int | None = None
    uuid: str | None = None
    address: str | None = None
    ray_node: str | None = None

    def offer(self) -> dict[str, Any]:
        """As the service registers it."""
        return {"id": self.id, "type": self.type, "memory_mb": self.memory_mb}


def discover(name: str, given: list[str]) -> list[Device]:
    """The devices of this machine, or those the user gave as `id:type:memory_mb[:number]`.

    `number` is the CUDA index, or the core, that the device stands for; without it, the device's place in
    the list. A device of any type runs on a core where there is no CUDA GPU.
    """
    gpus = _cuda_gpus()
    cores = sorted(os.sched_getaffinity(0))
    if not given:
        if gpus:
            return [
                Device(id=f"{name}/gpu-{index}", type=_type_of(model), memory_mb=memory_mb, uuid=uuid)
                for index, (uuid, model, memory_mb) in enumerate(gpus)
            ]
        each_mb = _memory_mb() // len(cores)
        return [Device(id=f"{name}/cpu-{core}", type="cpu", memory_mb=each_mb, core=core) for core in cores]
    devices = []
    for place, text in enumerate(given):
        parts = text.split(":")
        try:
            identity, kind = parts[0], parts[1]
            memory_mb = float(parts[2])
            number = int(parts[3]) if len(parts) > 3 else place
            if len(parts) > 4 or not identity or not kind or not memory_mb > 0 or number < 0:
                raise ValueError(text)
        except (IndexError, ValueError):
            raise ServingError(
                f"--gpu {text!r}: expected id:type:memory_mb[:number], such as node-a/cpu-0:cpu:4000:0"
            ) from None
        if kind != "cpu" and gpus:
            if number >= len(gpus):
                raise ServingError(f"--gpu {text!r}: this machine has {len(gpus)} CUDA GPUs")
            devices.append(Device(id=identity, type=kind, memory_mb=memory_mb, uuid=gpus[number][0]))
        else:
            devices.append(
                Device(id=identity, type=kind, memory_mb=memory_mb, core=cores[number % len(cores)])
            )
    if len({device.id for device in devices}) < len(devices):
        raise ServingError("--gpu: the same id is given twice; a GPU's id is unique in the whole system")
    return devices


def _cuda_gpus() -> list[tuple[str, str, float]]:
    """(UUID, name, memory in MB) of each CUDA GPU; none where there is no driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        found = []
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            memory_mb = pynvml.nvmlDeviceGetMemoryInfo(handle).total / 2**20
            found.append(
                (_text(pynvml.nvmlDeviceGetUUID(handle)), _text(pynvml.nvmlDeviceGetName(handle)), memory_mb)
            )
        return found
    finally:
        pynvml.nvmlShutdown()


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _type_of(model: str) -> str:
    """`Tesla V100-SXM2-16GB` is a v100: what a user calls it, and a profile's `gpu`."""
    match = re.search(r"\b([A-Z]{1,3}\d{1,4}[A-Z]?)\b", model.replace("-", " "))
    return match.group(1).lower() if match else re.sub(r"\W+", "-", model.lower()).strip("-")


def _memory_mb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**20
