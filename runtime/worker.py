"""A worker: one instance of a stage, in a process of its own (`python -m runtime.worker`).

It is given its specification as JSON (as its argument, or on standard input), then, in this order: binds
its fate to its parent's, takes its share, loads only its layers, warms up at its batch sizes, listens,
and says `ready` to its parent, as a line of JSON on standard output. From then on it is work-conserving:
whenever it is free it takes what is queued, up to its batch, runs it, and answers.

Lines to the parent, each with "event":

    born     pid
    ready    endpoints, enforced_by, effective_share_pct, warm_up_s, exec_ms (by batch size)
    report   once a second: effective_share_pct, used_share_pct (in the last second); and since the start:
             busy_s, batches, samples, late, failed
    fatal    error: why it ends; the exit status is 1

SIGTERM drains: it tells its gateways, goes on until the last of them has hung up, and ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, TextIO

from runtime import priority
from runtime.errors import ServingError
from runtime.memory import keep_freed, settle
from runtime.worker_server import Server
from runtime.worker_spec import WorkerSpec
from runtime.worker_stage import Executed, Request, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runtime.models import Chain
    from runtime.shares import Share

__all__ = ["Executed", "Request", "Stage", "WorkerSpec", "be_worker", "die_with", "main"]

_PR_SET_PDEATHSIG = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Be the worker that the first argument, or a line on standard input, specifies."""
    arguments = sys.argv[1:] if arguments is None else arguments
    return be_worker(lambda: WorkerSpec.from_json(arguments[0] if arguments else sys.stdin.readline()))


def be_worker(specify: Callable[[], WorkerSpec], chain: Chain | None = None) -> int:
    """Be a worker until told to stop; returns the exit status. `chain` is its model's, if it is open."""
    parent = _take_standard_output()
    try:
        spec = specify()
        die_with(spec.parent)
        _say(parent, "born", pid=os.getpid())
        run(spec, parent, chain)
    except ServingError as error:
        _say(parent, "fatal", error=str(error))
        return 1
    except Exception as error:
        _say(parent, "fatal", error=f"{type(error).__name__}: {error}")
        raise
    return 0


def run(spec: WorkerSpec, parent: TextIO, chain: Chain | None) -> None:
    """Be the worker of this specification, and tell `parent` about it."""
    began = time.monotonic()
    cuda = spec.device != "cpu"
    if cuda:
        from runtime.shares import mps_environment

        # All of this is read when CUDA starts, so it must be there before.
        os.environ["CUDA_VISIBLE_DEVICES"] = spec.device
        os.environ.update(mps_environment(spec.share, spec.memory_mb))
    else:
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ[name] = "1"

    import torch

    from runtime.arithmetic import exact_arithmetic
    from runtime.models import open_chain
    from runtime.shares import hold

    if spec.stand_back:
        priority.stand_back()
    torch.set_num_threads(1)
    exact_arithmetic()
    # A CPU worker has its whole core while it loads, or one at 5 percent would take a minute for it; an MPS
    # percentage is fixed when CUDA starts.
    share = hold(spec.share if cuda else 100, core=spec.core, device="cuda" if cuda else "cpu")
    with contextlib.ExitStack() as stack:
        stack.callback(share.close)
        if spec.stand_back:
            share.stand_back()
        if chain is None:
            chain = open_chain(spec.model, seed=spec.seed)
        stage = _stage(spec, chain, "cuda" if cuda else "cpu", share)
        if not cuda:
            share.change(spec.share)
        keep_freed()
        stage.warm_up()
        settle()
        share.come_forward()
        priority.come_forward()
        if not cuda and spec.share < 100:
            priority.take_short_turns()
        server = Server(spec, stage, share, lambda facts: _say(parent, "report", **facts))
        stack.callback(server.close)
        _say(
            parent,
            "ready",
            pid=os.getpid(),
            endpoints=server.endpoints,
            enforced_by=share.enforced_by,
            effective_share_pct=share.effective_pct(),
            warm_up_s=round(time.monotonic() - began, 3),
            exec_ms=stage.estimate.table(),
        )
        server.serve()


def _stage(spec: WorkerSpec, chain: Chain, device: str, share: Share) -> Stage:
    if not spec.exits:
        return Stage(spec, chain, device, share)
    from runtime.exit_stage import ExitStage

    return ExitStage(spec, chain, device, share)


def die_with(parent: int) -> None:
    """Be killed when the process `parent`, which must be this one's parent, is gone."""
    # A fork of the nursery is an orphan that `parent` adopts, once the process between them has ended; the
    # kernel's promise must be asked for after that, since it is about whoever is the parent then.
    deadline = time.monotonic() + 5.0
    while os.getppid() != parent and time.monotonic() < deadline:
        time.sleep(0.001)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        raise ServingError(f"process {parent} is not this worker's parent")


def _take_standard_output() -> TextIO:
    """The way to the parent. Whatever else prints (a model's module, a library) goes to standard error."""
    parent = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    return parent


def _say(parent: TextIO, event: str, **data: Any) -> None:
    try:
        parent.write(json.dumps({"event": event, **data}) + "\n")
    except OSError:  # the parent is gone, and the kernel about to tell us
        os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
