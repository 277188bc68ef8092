"""Where workers are born quickly: a process that has torch imported, and forks (`python -m runtime.nursery`).

Importing torch and tracing a model take seconds of a core; a plan of twenty workers would wait a minute for
them. So the agent keeps one *nursery*, which imports what every worker needs, and below it one process for
each model, which has that model's chain open. A worker is a fork of the latter and loads only its own
weights. A model whose code crashes takes down its own process, and no worker.

A worker is forked twice, so that it is an orphan, and the agent has declared itself the one that adopts
orphans (`PR_SET_CHILD_SUBREAPER`): the agent is the worker's parent in every respect, and the nursery may
come and go. Control comes over a socket of packets, each JSON with one file descriptor beside it:

    {"model": name, "seed": n, "stand_back": whether others serve meanwhile}
                                 + the model process's own control socket     to the nursery
    {"worker": specification}    + the worker's standard output               to a model's process

A closed control socket ends its process.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from runtime import priority
from runtime.worker import be_worker
from runtime.worker_spec import WorkerSpec

if TYPE_CHECKING:
    from torch import nn

    from runtime.models import Chain

MAX_PACKET_BYTES = 1 << 17


def main() -> None:
    """Be the nursery on the control socket whose descriptor is the first argument."""
    control = socket.socket(fileno=int(sys.argv[1]))
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    # A process that has started CUDA cannot fork workers that use it: NVML is asked whether there is a GPU.
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
    _import_what_workers_need()

    def hatch_model(message: dict[str, object], descriptor: int) -> None:
        if os.fork() == 0:
            control.close()
            if message["stand_back"]:
                os.setsid()  # a session that others see by its own weight
                priority.stand_back()
            _be_model(str(message["model"]), int(str(message["seed"])), socket.socket(fileno=descriptor))

    _serve(control, hatch_model)


def example() -> nn.Module:
    """A model whose tracing imports what tracing any model imports."""
    from torch import nn

    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU(), nn.Flatten(), nn.Linear(4, 1))
    model.example_input = (1, 2, 2)  # type: ignore[assignment]
    return model


def _import_what_workers_need() -> None:
    import torch

    from runtime.models import import_torchvision, open_chain

    torch.set_num_threads(1)
    open_chain("runtime.nursery:example")
    import_torchvision()
    # What is here now stays: the collector need not touch it, and so not copy it, in every fork.
    gc.collect()
    gc.freeze()


def _be_model(model: str, seed: int, control: socket.socket) -> None:
    from runtime.errors import ModelError
    from runtime.models import open_chain

    chain: Chain | None
    try:
        chain = open_chain(model, seed=seed)
    except ModelError:
        chain = None  # each worker tries for itself, and says what is wrong
    priority.come_forward()
    gc.freeze()

    def hatch_worker(message: dict[str, object], descriptor: int) -> None:
        if os.fork() == 0:
            control.close()
            _be_orphan(WorkerSpec.from_json(json.dumps(message["worker"])), chain, descriptor)

    _serve(control, hatch_worker)


def _be_orphan(spec: WorkerSpec, chain: Chain | None, standard_output: int) -> None:
    if os.fork() != 0:
        os._exit(0)
    os.setsid()
    os.dup2(standard_output, 1)
    os.close(standard_output)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    status = 1
    try:
        status = be_worker(lambda: spec, chain)
    finally:
        # Not sys.exit: what the nursery registered to be done at its end is not ours to do.
        sys.stderr.flush()
        os._exit(status)


def _serve(control: socket.socket, hatch: Callable[[dict[str, object], int], None]) -> None:
    """Fork on demand until the control socket is closed; ends the process."""
    # The intermediate processes are reaped by the kernel.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        packet, descriptors, _, _ = socket.recv_fds(control, MAX_PACKET_BYTES, 1)
        if not packet:
            os._exit(0)
        hatch(json.loads(packet), descriptors[0])
        os.close(descriptors[0])


if __name__ == "__main__":
    main()
