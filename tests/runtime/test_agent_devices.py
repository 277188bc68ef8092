"""What a machine offers."""

from __future__ import annotations

import os

import pytest

from runtime.agent_devices import discover
from runtime.errors import ServingError


@pytest.fixture(autouse=True)
def no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without a driver, wherever the tests run."""
    monkeypatch.setattr("runtime.agent_devices._cuda_gpus", lambda: [])


def test_a_machine_without_gpus_offers_its_cores() -> None:
    devices = discover("node-a", [])
    cores = sorted(os.sched_getaffinity(0))
    assert [device.id for device in devices] == [f"node-a/cpu-{core}" for core in cores]
    assert [device.core for device in devices] == cores
    assert {device.type for device in devices} == {"cpu"}
    assert all(device.memory_mb > 100 for device in devices)


def test_a_machine_with_gpus_offers_those(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [
        ("GPU-1", "Tesla V100-SXM2-16GB", 16384.0),
        ("GPU-2", "NVIDIA H100 80GB HBM3", 81559.0),
        ("GPU-3", "NVIDIA A100-SXM4-40GB", 40960.0),
    ]
    monkeypatch.setattr("runtime.agent_devices._cuda_gpus", lambda: found)
    assert [(d.id, d.type, d.memory_mb, d.uuid) for d in discover("n", [])] == [
        ("n/gpu-0", "v100", 16384.0, "GPU-1"),
        ("n/gpu-1", "h100", 81559.0, "GPU-2"),
        ("n/gpu-2", "a100", 40960.0, "GPU-3"),
    ]
    [given] = discover("n", ["mine:v100:8000:2"])
    assert (given.id, given.memory_mb, given.uuid, given.core) == ("mine", 8000.0, "GPU-3", None)
    [core] = discover("n", ["mine:cpu:8000:0"])
    assert (core.uuid, core.core) == (None, min(os.sched_getaffinity(0)))
    with pytest.raises(ServingError, match="this machine has 3 CUDA GPUs"):
        discover("n", ["mine:v100:8000:3"])


@pytest.mark.parametrize(
    "text", ["x", "x:cpu", "x:cpu:much", "x:cpu:-1", ":cpu:1", "x:cpu:1:one", "x:cpu:1:0:0"]
)
def test_a_device_that_cannot_be_read_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ServingError, match="such as node-a/cpu-0:cpu:4000:0"):
        discover("node-a", [text])
