"""NVIDIA MPS: several processes on one GPU at the same time, each held to a share of it.

The control daemon (`nvidia-cuda-mps-control`) must run before the first of them starts CUDA. What a process
is held to stands in its environment (`environment`) and is read once, when CUDA starts: it cannot change
later, and it can only tighten the daemon's own limit. MPS separates neither memory bandwidth nor cache.

Reference: NVIDIA, Multi-Process Service, sections on tools, environment and provisioning.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import MpsError

CONTROL = "nvidia-cuda-mps-control"
PERCENTAGE = "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"
MEMORY_LIMIT = "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"
_PIPE_DIRECTORY = "CUDA_MPS_PIPE_DIRECTORY"
_LOG_DIRECTORY = "CUDA_MPS_LOG_DIRECTORY"
_TIMEOUT_S = 10.0
_ATTEMPTS = 5
_one_at_a_time = threading.Lock()
_MULTIPROCESSOR_COUNT = 16  # CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: under MPS, the client's own

# Arithmetic cores of one multiprocessor, by compute capability (CUDA programming guide, appendix on
# compute capabilities); later ones have 128.
_CORES_PER_MULTIPROCESSOR = {(7, 0): 64, (7, 2): 64, (7, 5): 64, (8, 0): 64}


def environment(share_pct: float, memory_mb: float | None = None) -> dict[str, str]:
    """What a worker's environment must hold before it starts CUDA: its share, and its memory in MiB.

    The memory limit is for device 0: a worker sees one GPU, by CUDA_VISIBLE_DEVICES.
    """
    if not 0 < share_pct <= 100:
        raise MpsError(f"a share of {share_pct:g} percent is none: expected more than 0, at most 100")
    values = {PERCENTAGE: f"{share_pct:g}"}
    if memory_mb is not None:
        values[MEMORY_LIMIT] = f"0={max(1, round(memory_mb))}M"
    return values


@dataclass(frozen=True, kw_only=True)
class Daemon:
    """What is known of the control daemon: whether it is installed, answers, and its servers and default."""

    installed: bool
    running: bool
    servers: tuple[int, ...] = ()
    default_pct: float | None = None
    problem: str = ""


def probe() -> Daemon:
    """Ask the control daemon how it is; never raises."""
    if shutil.which(CONTROL) is None:
        return Daemon(
            installed=False,
            running=False,
            problem=f"{CONTROL} is not on the PATH; it comes with the NVIDIA driver (nvidia-compute-utils)",
        )
    if not (_pipe_directory() / "control").exists():
        # Asking would only wait for a daemon that is not there.
        return Daemon(installed=True, running=False, problem=f"not running; start it with {CONTROL} -d")
    for attempt in range(_ATTEMPTS):
        try:
            with _one_at_a_time:
                servers = tuple(int(word) for word in _ask("get_server_list").split() if word.isdigit())
                default = _ask("get_default_active_thread_percentage")
            break
        except MpsError as error:
            # It talks to one at a time, and another process may just be asking.
            if attempt == _ATTEMPTS - 1:
                return Daemon(installed=True, running=False, problem=str(error))
            time.sleep(0.2)
    default_pct = None
    with contextlib.suppress(ValueError):
        default_pct = float(default)
    return Daemon(installed=True, running=True, servers=servers, default_pct=default_pct)


def start(*, timeout_s: float = _TIMEOUT_S) -> Daemon:
    """Start the control daemon unless it runs already, and wait until it answers. Raises MpsError."""
    daemon = probe()
    if daemon.running:
        return daemon
    if not daemon.installed:
        raise MpsError(f"cannot start MPS: {daemon.problem}")
    for directory in (_pipe_directory(), _log_directory()):
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MpsError(
                f"cannot start MPS: {directory}: {error.strerror}; set {_PIPE_DIRECTORY} and {_LOG_DIRECTORY}"
            ) from None
    _launch()
    until = time.monotonic() + timeout_s
    while not (daemon := probe()).running:
        if time.monotonic() > until:
            raise MpsError(
                f"{CONTROL} -d was started but does not answer ({daemon.problem}); "
                f"see {_log_directory()}/control.log"
            )
        time.sleep(0.1)
    return daemon


def stop() -> None:
    """Stop the control daemon and its servers, unless none runs. Raises MpsError when it will not."""
    if probe().running:
        _ask("quit")


def held() -> float | None:
    """The percentage this process starts CUDA with, when its environment has one and the daemon is there."""
    value = os.environ.get(PERCENTAGE)
    if value is None or not (_pipe_directory() / "control").exists():
        return None
    try:
        return float(value)
    except ValueError:
        raise MpsError(f"{PERCENTAGE} is {value!r}: expected a number from 1 to 100") from None


def effective_pct() -> float | None:
    """The multiprocessors that this process may use, in percent of the GPU's; None where nobody says.

    The driver tells what the current CUDA context is limited to, NVML what the GPU has.
    """
    limited = _multiprocessors_of_context()
    total = _multiprocessors_of_gpu()
    return 100.0 * min(limited, total) / total if limited and total else None


class _ExecAffinity(ctypes.Structure):
    """CUexecAffinityParam with CU_EXEC_AFFINITY_TYPE_SM_COUNT."""

    _fields_ = (("type", ctypes.c_int), ("sm_count", ctypes.c_uint))


def _multiprocessors_of_context() -> int | None:
    """The lesser of what the context's affinity and the device's attribute say; None without a context."""
    counts = []
    try:
        driver = ctypes.CDLL("libcuda.so.1")
        affinity = _ExecAffinity()
        if driver.cuCtxGetExecAffinity(ctypes.byref(affinity), 0) == 0:
            counts.append(int(affinity.sm_count))
        device, count = ctypes.c_int(), ctypes.c_int()
        if driver.cuCtxGetDevice(ctypes.byref(device)) == 0:
            attribute = ctypes.c_int(_MULTIPROCESSOR_COUNT)
            if driver.cuDeviceGetAttribute(ctypes.byref(count), attribute, device) == 0:
                counts.append(count.value)
    except (OSError, AttributeError):
        return None
    return min((number for number in counts if number > 0), default=None)


def _multiprocessors_of_gpu() -> int | None:
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
        handle = (
            pynvml.nvmlDeviceGetHandleByIndex(int(visible))
            if visible.isdigit()
            else pynvml.nvmlDeviceGetHandleByUUID(visible)
        )
        cores = pynvml.nvmlDeviceGetNumGpuCores(handle)
        capability = tuple(pynvml.nvmlDeviceGetCudaComputeCapability(handle))
        return int(cores) // _CORES_PER_MULTIPROCESSOR.get(capability, 128)
    except pynvml.NVMLError:
        return None
    finally:
        pynvml.nvmlShutdown()


def _pipe_directory() -> Path:
    return Path(os.environ.get(_PIPE_DIRECTORY, "/tmp/nvidia-mps"))


def _log_directory() -> Path:
    return Path(os.environ.get(_LOG_DIRECTORY, "/var/log/nvidia-mps"))


def _launch() -> None:
    """Start the daemon in a session of its own, so that it outlives whoever started it.

    What it says goes to a file: a daemon that keeps its standard output open would hold a pipe for ever.
    """
    with tempfile.TemporaryFile() as said:
        try:
            status = subprocess.run(
                [CONTROL, "-d"],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
                timeout=_TIMEOUT_S,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            raise MpsError(f"{CONTROL} -d does not return within {_TIMEOUT_S:g} s; is it hung?") from None
        except OSError as error:
            raise MpsError(f"{CONTROL} cannot be run: {error.strerror}") from None
        if status != 0:
            said.seek(0)
            detail = said.read().decode(errors="replace").strip() or f"exit status {status}"
            raise MpsError(f"{CONTROL} refused -d: {detail}")


def _ask(question: str) -> str:
    return _run([CONTROL], question + "\n").strip()


def _run(command: list[str], text: str) -> str:
    try:
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise MpsError(f"{CONTROL} does not answer within {_TIMEOUT_S:g} s; is it hung?") from None
    except OSError as error:
        raise MpsError(f"{CONTROL} cannot be run: {error.strerror}") from None
    if done.returncode != 0:
        detail = (done.stderr or done.stdout).strip() or f"exit status {done.returncode}"
        raise MpsError(f"{CONTROL} refused {text.strip()}: {detail}")
    return done.stdout
