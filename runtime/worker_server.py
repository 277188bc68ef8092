"""A worker's dealings with its gateways: it listens, queues what they send, and answers."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from runtime.batching import Backlog
from runtime.shares import Use
from runtime.transport import Channel, Message, bound_endpoint, clock_ns, listen, machine
from runtime.transport_arena import Mapping
from runtime.worker_stage import Executed, Request

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from runtime.shares import Share
    from runtime.worker_spec import WorkerSpec
    from runtime.worker_stage import Stage

_REPORT_EVERY_S = 1.0


class Server:
    """Listens to gateways and runs what they send, one batch after the other, in one thread.

    `report` is called once a second with what the worker's parent wants to know.
    """

    def __init__(
        self, spec: WorkerSpec, stage: Stage, share: Share, report: Callable[[dict[str, Any]], None]
    ) -> None:
        self._spec = spec
        self._stage = stage
        self._share = share
        self._tell_parent = report
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
        self._tell_parent(
            {"effective_share_pct": effective_pct, "used_share_pct": round(used_pct, 3), **counts}
        )


def _by_channel(requests: Sequence[Request]) -> list[tuple[Channel, list[Request]]]:
    groups: dict[Channel, list[Request]] = {}
    for request in requests:
        groups.setdefault(request.channel, []).append(request)
    return list(groups.items())


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
