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
import selectors
import signal
import socket
import sys
import time
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from runtime import priority
from runtime.batching import Backlog, ExecEstimate, sizes_up_to
from runtime.errors import ServingError
from runtime.memory import keep_freed
from runtime.pacing import Steps
from runtime.shares import Use
from runtime.transport import Channel, Message, bound_endpoint, clock_ns, listen, machine
from runtime.transport_arena import Mapping

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch
    from torch import nn

    from runtime.cuda_graphs import GraphedStage
    from runtime.models import Chain
    from runtime.shares import Share

_PR_SET_PDEATHSIG = 1
_REPORT_EVERY_S = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerSpec:
    """What a worker is to be.

    `key` is unique among all workers; `[start, end)` are its layers; `share` is in percent; `core` pins a
    CPU worker; `device` is `cpu`, or the UUID of a CUDA GPU; `endpoints` are where it listens
    (`unix:PATH`, `tcp:HOST:PORT`); `parent` is the process it must not outlive; with `stand_back`, others
    serve beside it while it starts.
    """

    key: str
    model: str
    start: int
    end: int
    batch: int
    share: float
    endpoints: tuple[str, ...]
    parent: int
    core: int | None = None
    device: str = "cpu"
    gpu: str = ""
    memory_mb: float | None = None
    seed: int = 0
    exits: tuple[int, ...] = ()
    stand_back: bool = False

    @classmethod
    def from_json(cls, text: str) -> WorkerSpec:
        """Read a specification; unknown or missing fields are an error."""
        data = json.loads(text)
        known = {f.name for f in fields(cls)}
        if unknown := set(data) - known:
            raise ServingError(f"worker specification: unknown {', '.join(sorted(unknown))}")
        return cls(**{**data, "endpoints": tuple(data["endpoints"]), "exits": tuple(data.get("exits", ()))})


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
        share.come_forward()
        priority.come_forward()
        priority.take_short_turns()
        server = Server(spec, stage, share, parent)
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


class Stage:
    """The layers `[start, end)`, loaded and ready to run."""

    def __init__(self, spec: WorkerSpec, chain: Chain, device: str, share: Share) -> None:
        import torch

        if not 0 <= spec.start < spec.end <= chain.depth:
            raise ServingError(
                f"{spec.model}: there are no layers [{spec.start}, {spec.end}); it has {chain.depth}"
            )
        self.batch = spec.batch
        self.input_shape = tuple(chain.cut_shapes[spec.start])
        self.output_shape = tuple(chain.cut_shapes[spec.end])
        self.input_dtype = chain.cut_dtypes[spec.start]
        self.output_dtype = chain.cut_dtypes[spec.end]
        self.output_bytes = chain.cut_bytes[spec.end]
        self.estimate = ExecEstimate()
        self._device = device
        self._share = share
        self._share_pct = spec.share
        self._inputs = torch.empty(spec.batch, *self.input_shape, dtype=self.input_dtype)
        self._writes_input = False
        self._module = self._load(chain, spec.start, spec.end)
        self._graphed: GraphedStage | None = None

    def warm_up(self) -> None:
        """Run at the batch sizes that will come, so that the first request is no slower than the others."""
        import torch

        sizes = sizes_up_to(self.batch)
        if self._device != "cpu":
            from runtime.cuda_graphs import GraphedStage

            assert isinstance(self._module, torch.nn.Module)
            with torch.inference_mode():
                self._graphed = GraphedStage(self._module, sizes, self.input_shape, self.input_dtype)
        for size in sizes:
            sample = torch.zeros(size, *self.input_shape, dtype=self.input_dtype)
            for _ in range(3):
                self._share.begin()
                timed = priority.Undisturbed(100 if self._device != "cpu" else self._share_pct)
                self._forward(sample)
                self.estimate.record(size, timed.elapsed_ms(), clock_ns())
        self._writes_input = self._would_write_input()

    def execute(self, requests: Sequence[Request]) -> Executed:
        """Run requests together, as one batch."""
        import torch

        began = clock_ns()
        tensors = [
            torch.frombuffer(request.tensor, dtype=self.input_dtype).view(request.samples, *self.input_shape)
            for request in requests
        ]
        samples = sum(request.samples for request in requests)
        # A single tensor is read where it lies, unless the model would write to it: it may be wanted again.
        joined = len(tensors) > 1 or self._writes_input
        if not joined:
            inputs = tensors[0]
        elif samples <= self.batch:
            inputs = torch.cat(tensors, out=self._inputs[:samples])
        else:
            inputs = torch.cat(tensors)
        if samples <= self.batch:
            output = self._forward(inputs)
        else:  # one request larger than the batch
            output = torch.cat([self._forward(piece) for piece in inputs.split(self.batch)])
        parts = output.split([request.samples for request in requests])
        answers = [memoryview(part.numpy()).cast("B") for part in parts]
        now = clock_ns()
        exec_ms = (now - began) / 1e6
        self.estimate.record(samples, exec_ms, now)
        return Executed(answers, exec_ms, samples, joined)

    def check_device(self) -> None:
        """Raises ServingError where the GPU answers this process no more: after some errors it never does."""
        if self._device != "cpu":
            import torch

            try:
                torch.cuda.synchronize()
            except RuntimeError as error:
                raise ServingError(f"the GPU is lost to this process: {error}") from None

    def _load(self, chain: Chain, start: int, end: int) -> nn.Module | Steps[torch.Tensor]:
        """Layers `[start, end)`; one by one where the process holds to its share from layer to layer."""
        if self._device != "cpu" or self._share_pct >= 100:
            return chain.fragment(start, end, device=self._device)
        return Steps([chain.fragment(layer, layer + 1) for layer in range(start, end)], self._share)

    def _would_write_input(self) -> bool:
        """Whether the first layer works in place; negative numbers show it, zeros survive a ReLU."""
        import torch

        sample = torch.full((1, *self.input_shape), -1.5).to(self.input_dtype)
        before = sample.clone()
        try:
            self._forward(sample)
        except Exception:  # not an input this model takes; then it cannot be told
            return True
        return not torch.equal(sample, before)

    def _forward(self, inputs: torch.Tensor) -> torch.Tensor:
        import torch

        with torch.inference_mode():
            if self._graphed is not None:
                return self._graphed(inputs, self.output_dtype)
            return self._module(inputs.to(self._device)).contiguous().to("cpu", self.output_dtype)


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """What one gateway wants: the answer to one tensor of `samples` samples, in `output` if that is given."""

    channel: Channel
    id: int
    samples: int
    tensor: memoryview
    output: memoryview | None


class Executed(NamedTuple):
    """A batch that was run: each request's answer, and whether the inputs had to be copied together."""

    answers: list[memoryview]
    exec_ms: float
    samples: int
    joined: bool
    # Whom the answers are for, where some have left on the way.
    requests: Sequence[Request] | None = None


class Server:
    """Listens to gateways and runs what they send, one batch after the other, in one thread."""

    def __init__(self, spec: WorkerSpec, stage: Stage, share: Share, parent: TextIO) -> None:
        self._spec = spec
        self._stage = stage
        self._share = share
        self._parent = parent
        self._backlog: Backlog[Request] = Backlog()
        self._channels: dict[Channel, Mapping | None] = {}
        self._draining = False
        self._use = Use(on_cpu=spec.device == "cpu")
        self._gone: set[int] = set()  # of the batch in execution, by the identity of the request
        self._batch: list[Request] = []
        if hasattr(stage, "let_go"):
            stage.let_go = self._let_go
        self._counts = {"busy_s": 0.0, "batches": 0, "samples": 0, "late": 0, "failed": 0}
        self._selector = selectors.DefaultSelector()
        self._listeners = [listen(endpoint) for endpoint in spec.endpoints]
        self.endpoints = [bound_endpoint(listener) for listener in self._listeners]
        for listener in self._listeners:
            self._selector.register(listener, selectors.EVENT_READ)
        # A signal that arrives while the worker waits must end the wait.
        self._woken, wake = socket.socketpair()
        wake.setblocking(False)
        self._wake = wake
        self._selector.register(self._woken, selectors.EVENT_READ)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._drain_asked)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's business
        self._drain_wanted = False

    def serve(self) -> None:
        """Until drained."""
        next_report = time.monotonic() + _REPORT_EVERY_S
        while True:
            wait_s = 0.0 if len(self._backlog) else max(0.0, next_report - time.monotonic())
            for key, _ in self._selector.select(wait_s):
                self._read(key.fileobj)
            if self._drain_wanted and not self._draining:
                self._drain()
            if self._draining and not self._channels and not len(self._backlog):
                return
            if len(self._backlog):
                self._run_batch()
            if time.monotonic() >= next_report:
                next_report = time.monotonic() + _REPORT_EVERY_S
                self._report()

    def close(self) -> None:
        """Hang up, and leave nothing behind."""
        signal.set_wakeup_fd(-1)
        for channel in list(self._channels):
            self._forget(channel)
        for listener in self._listeners:
            _close_listener(listener)
        self._woken.close()
        self._wake.close()
        self._selector.close()

    def _run_batch(self) -> None:
        taken = self._backlog.take(self._spec.batch, clock_ns(), self._stage.estimate)
        if taken.late:
            self._counts["late"] += len(taken.late)
            for channel, group in _by_channel(taken.late):
                self._tell(channel, ["late", *(request.id for request in group)])
        if not taken.batch:
            return
        began = time.monotonic()
        self._gone.clear()
        self._batch = taken.batch
        self._share.begin()
        try:
            executed = self._stage.execute(taken.batch)
        except Exception as error:  # whatever a user's model raises: its senders are told, the rest goes on
            # Where it is not the model's doing, another worker may have them: this one ends.
            self._stage.check_device()
            failed = [request for request in taken.batch if id(request) not in self._gone]
            self._counts["failed"] += len(failed)
            for channel, group in _by_channel(failed):
                self._tell(channel, ["failed", f"{type(error).__name__}: {error}", *(r.id for r in group)])
            return
        self._answer(taken.batch if executed.requests is None else executed.requests, executed)
        self._counts["busy_s"] += executed.exec_ms / 1e3
        self._counts["batches"] += 1
        self._counts["samples"] += executed.samples
        self._share.pace(time.monotonic() - began)

    def _answer(self, requests: Sequence[Request], executed: Executed) -> None:
        """Put the answers where they are wanted, then tell the gateways."""
        told: dict[Channel, tuple[list[list[int]], list[memoryview]]] = {}
        for request, answer in zip(requests, executed.answers, strict=True):
            items, beside = told.setdefault(request.channel, ([], []))
            copied = len(request.tensor) if executed.joined else 0
            if request.output is not None and len(request.output) == len(answer):
                request.output[:] = answer
                copied += len(answer)
                items.append([request.id, request.samples, len(answer), 1, copied])
            else:
                items.append([request.id, request.samples, len(answer), 0, copied])
                beside.append(answer)
        if executed.requests is not None:  # whoever had nobody left is told that the batch is over
            for request in self._batch:
                told.setdefault(request.channel, ([], []))
        for channel, (items, beside) in told.items():
            self._tell(channel, ["done", items, executed.exec_ms, executed.samples], beside)

    def _let_go(
        self,
        requests: Sequence[Request],
        answers: Sequence[memoryview],
        exec_ms: float,
        samples: int,
        layer: int,
    ) -> None:
        """Answer those who leave by an exit while the batch runs on."""
        self._gone.update(id(request) for request in requests)
        told: dict[Channel, tuple[list[list[int]], list[memoryview]]] = {}
        for request, answer in zip(requests, answers, strict=True):
            items, beside = told.setdefault(request.channel, ([], []))
            copied = len(request.tensor)
            items.append([request.id, request.samples, len(answer), 0, copied, layer])
            beside.append(answer)
        for channel, (items, beside) in told.items():
            self._tell(channel, ["done", items, exec_ms, samples], beside)

    def _read(self, source: Any) -> None:
        if isinstance(source, Channel):
            messages = source.receive()
            if messages is None:
                self._forget(source)
                return
            for message in messages:
                self._handle(source, message)
        elif source is self._woken:
            self._woken.recv(4096)
        else:
            self._accept(source)

    def _accept(self, listener: socket.socket) -> None:
        connection, _ = listener.accept()
        if connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        channel = Channel(connection)
        self._channels[channel] = None
        self._selector.register(channel, selectors.EVENT_READ)
        spec, stage = self._spec, self._stage
        self._tell(
            channel,
            [
                "hello",
                {
                    "key": spec.key,
                    "machine": machine(),
                    "pid": os.getpid(),
                    "model": spec.model,
                    "start": spec.start,
                    "end": spec.end,
                    "batch": spec.batch,
                    "share": spec.share,
                    "exits": list(spec.exits),
                    "input": [_datatype(stage.input_dtype), list(stage.input_shape)],
                    "output": [_datatype(stage.output_dtype), list(stage.output_shape)],
                    "output_bytes": stage.output_bytes,
                    "exec_ms": list(stage.estimate.table().items()),
                },
            ],
        )
        if self._draining:
            self._tell(channel, ["drain"])

    def _handle(self, channel: Channel, message: Message) -> None:
        kind, *rest = message.header
        if kind == "run":
            self._enqueue(channel, rest[0], message.payload)
        elif kind == "hello":
            descriptor = channel.take_descriptor()
            if descriptor is not None:
                self._channels[channel] = Mapping(descriptor, rest[0]["arena"])
        elif kind == "ping":
            self._tell(channel, ["pong", rest[0], clock_ns()])

    def _enqueue(self, channel: Channel, items: list[list[int]], payload: memoryview) -> None:
        arena = self._channels[channel]
        output_bytes = self._stage.output_bytes
        position = 0
        for identity, samples, deadline_ns, length, input_at, output_at in items:
            if input_at >= 0 and arena is not None:
                tensor = arena.at(input_at, length)
            else:
                tensor = payload[position : position + length]
                position += length
            output = None
            if output_at >= 0 and arena is not None:
                output = arena.at(output_at, samples * output_bytes)
            request = Request(channel, identity, samples, tensor, output)
            self._backlog.put(request, deadline_ns=deadline_ns, samples=samples)

    def _tell(self, channel: Channel, header: list[Any], tensors: Sequence[memoryview] = ()) -> None:
        if not channel.send(header, tensors):
            self._forget(channel)

    def _forget(self, channel: Channel) -> None:
        """The gateway is gone: nobody waits for what it had sent."""
        if channel not in self._channels:
            return
        del self._channels[channel]
        self._selector.unregister(channel)
        self._backlog.remove(lambda request: request.channel is channel)
        channel.close()

    def _drain_asked(self, *_: object) -> None:
        self._drain_wanted = True

    def _drain(self) -> None:
        self._draining = True
        for channel in list(self._channels):
            self._tell(channel, ["drain"])

    def _report(self) -> None:
        counts = {name: round(value, 6) for name, value in self._counts.items()}
        effective_pct = self._share.effective_pct()
        used_pct = self._use.since_last_pct(counts["busy_s"], effective_pct)
        _say(
            self._parent,
            "report",
            effective_share_pct=effective_pct,
            used_share_pct=round(used_pct, 3),
            **counts,
        )


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


def _by_channel(requests: Sequence[Request]) -> list[tuple[Channel, list[Request]]]:
    groups: dict[Channel, list[Request]] = {}
    for request in requests:
        groups.setdefault(request.channel, []).append(request)
    return list(groups.items())


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


def _datatype(dtype: torch.dtype) -> str:
    """The Open Inference Protocol's name of a type: FP32 for torch.float32."""
    name = str(dtype).removeprefix("torch.")
    return name.replace("float", "fp").upper()


def _close_listener(listener: socket.socket) -> None:
    path = listener.getsockname() if listener.family == socket.AF_UNIX else None
    listener.close()
    if path:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


if __name__ == "__main__":
    sys.exit(main())
