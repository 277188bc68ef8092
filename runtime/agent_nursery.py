"""The agent's side of the nursery: workers asked for, born, watched and reaped (see runtime.nursery)."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import asdict

from runtime.errors import ServingError
from runtime.worker_spec import WorkerSpec

_PR_SET_CHILD_SUBREAPER = 36


class Hatchling:
    """A worker process: our child, though we did not fork it."""

    def __init__(self, pid: int, lines: asyncio.StreamReader, transport: asyncio.BaseTransport) -> None:
        self.pid = pid
        self.lines = lines
        self.status: int | None = None
        self._transport = transport
        self._ended = asyncio.Event()
        # Our child cannot be anybody else's pid before we have waited for it.
        self._pidfd = os.pidfd_open(pid)
        asyncio.get_running_loop().add_reader(self._pidfd, self._reap)

    def signal(self, number: int) -> None:
        """Send a signal, if it still lives."""
        if self.status is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    async def wait(self) -> int:
        """Its exit status; negative is the signal that killed it."""
        await self._ended.wait()
        assert self.status is not None
        return self.status

    def _reap(self) -> None:
        _, status = os.waitpid(self.pid, os.WNOHANG)
        self.status = os.waitstatus_to_exitcode(status)
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._transport.close()
        self._ended.set()


class Nursery:
    """Starts workers. Its processes are started when they are first needed, and again when they have died."""

    def __init__(self) -> None:
        # Orphans of the nursery become this process's children.
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
            raise ServingError(f"cannot adopt workers: {os.strerror(ctypes.get_errno())}")
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._models: dict[tuple[str, int], socket.socket] = {}

    def warm_up(self) -> None:
        """Start importing, before the first worker is wanted."""
        if self._control is None:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "runtime.nursery", str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,
                )
            self._control = ours

    async def hatch(self, spec: WorkerSpec) -> Hatchling:
        """A worker of this specification. Raises ServingError when it dies before it is born."""
        reader, writer = os.pipe2(os.O_CLOEXEC)
        try:
            self._ask(spec, writer)
        finally:
            os.close(writer)
        loop = asyncio.get_running_loop()
        lines = asyncio.StreamReader(limit=1 << 20)
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(lines), os.fdopen(reader, "rb")
        )
        try:
            line = await lines.readline()
        except BaseException:
            transport.close()
            raise
        if not line:
            transport.close()
            self._forget(spec)
            raise ServingError(f"the process that holds the model {spec.model} has died")
        return Hatchling(json.loads(line)["pid"], lines, transport)

    def close(self) -> None:
        """End the nursery. Workers go on."""
        for control in self._models.values():
            control.close()
        self._models.clear()
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _ask(self, spec: WorkerSpec, standard_output: int) -> None:
        packet = json.dumps({"worker": asdict(spec)}).encode()
        for _ in range(2):
            try:
                socket.send_fds(self._model(spec), [packet], [standard_output])
                return
            except OSError:
                self._forget(spec)
        raise ServingError("the nursery has died twice; its last words are in the agent's log")

    def _model(self, spec: WorkerSpec) -> socket.socket:
        control = self._models.get((spec.model, spec.seed))
        if control is None:
            self.warm_up()
            assert self._control is not None
            control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            message = {"model": spec.model, "seed": spec.seed, "stand_back": spec.stand_back}
            packet = json.dumps(message).encode()
            with theirs:
                try:
                    socket.send_fds(self._control, [packet], [theirs.fileno()])
                except OSError:
                    control.close()
                    raise
            self._models[(spec.model, spec.seed)] = control
        return control

    def _forget(self, spec: WorkerSpec) -> None:
        """Begin anew with that model, and with the whole nursery if that has died."""
        control = self._models.pop((spec.model, spec.seed), None)
        if control is not None:
            control.close()
        if self._process is not None and self._process.poll() is not None:
            self.close()
