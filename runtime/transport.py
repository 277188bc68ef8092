"""Messages between a gateway and a worker: a small msgpack header, and raw tensors beside it.

    ┌───────────────┬────────────────┬────────────────┬──────────────────────────────┐
    │ u32 header    │ u64 payload    │ header         │ payload: the tensors' bytes, │
    │ length        │ length         │ (msgpack list) │ one after the other          │
    └───────────────┴────────────────┴────────────────┴──────────────────────────────┘

Nothing is pickled. The connection is a stream socket: a unix socket on one machine, TCP between machines.
A stream says at once when its other end has died, which a message queue hides, and a unix socket can
carry the file descriptor of shared memory. One connection joins one gateway and one worker; the worker
listens.

A header is a list that starts with its kind:

    gateway → worker    hello   {"gateway", "machine", "arena"}       arena: bytes of the shared memory whose
                                                                      descriptor comes along, if any
                        run     [[id, samples, deadline_ns, bytes, input, output], …]
                        ping    clock_ns
    worker → gateway    hello   {"key", "model", "start", "end", "batch", …, "input", "output", "exec_ms"}
                        done    [[id, samples, bytes, place, copied], …], exec_ms, batch
                        late    id, …                                 dropped: could not be on time
                        failed  message, id, …                        the model raised
                        drain                                         no new work, please
                        pong    clock_ns of the ping, clock_ns here

`input` and `output` are where in the arena a request's tensor is and its answer goes, -1 for beside the
message; `place` is 1 where the answer went into the arena, 0 where it is beside the message; `copied` are the
bytes the worker copied for it.

Deadlines are nanoseconds of the *worker's* monotonic clock: the gateway knows how far apart the two clocks
are (not at all on one machine, measured by pings otherwise).
"""

from __future__ import annotations

import os
import socket
import struct
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgpack

Bytes = bytes | bytearray | memoryview

_PREFIX = struct.Struct("<IQ")
_SCRATCH_BYTES = 1 << 16
# A header is a few dozen bytes a request. More than this is no peer of ours.
_MAX_HEADER_BYTES = 1 << 24
_MAX_PAYLOAD_BYTES = 1 << 36


class Message(NamedTuple):
    """One message: `header[0]` is its kind; `payload` the tensors' bytes."""

    header: list[Any]
    payload: memoryview


class ForeignPeerError(ConnectionError):
    """The other end does not speak this protocol."""


def encode(header: Sequence[Any], tensors: Sequence[Bytes] = ()) -> list[Bytes]:
    """The message as buffers to be written one after the other; the tensors are not copied."""
    packed = msgpack.packb(header)
    length = 0
    for tensor in tensors:
        length += tensor.nbytes if isinstance(tensor, memoryview) else len(tensor)
    return [_PREFIX.pack(len(packed), length) + packed, *tensors]


class Decoder:
    """Takes bytes as they arrive, gives whole messages.

    Bytes are received straight into `space()`; `received(count)` says how many came. A large payload is
    received into memory of its own, so that it is copied once (from the kernel) and not again.
    """

    def __init__(self) -> None:
        self._scratch = memoryview(bytearray(_SCRATCH_BYTES))
        self._filled = 0
        self._header: list[Any] | None = None
        self._payload = memoryview(b"")
        self._payload_filled = 0

    def space(self) -> memoryview:
        """Where the next bytes go."""
        if self._header is not None:
            return self._payload[self._payload_filled :]
        return self._scratch[self._filled :]

    def received(self, count: int) -> list[Message]:
        """`count` bytes have been put into `space()`: the messages that are whole now."""
        if self._header is not None:
            self._payload_filled += count
            if self._payload_filled < len(self._payload):
                return []
            message = Message(self._header, self._payload)
            self._header = None
            return [message]
        self._filled += count
        return self._messages()

    def _messages(self) -> list[Message]:
        messages: list[Message] = []
        position = 0
        while self._filled - position >= _PREFIX.size:
            header_length, payload_length = _PREFIX.unpack_from(self._scratch, position)
            if header_length > _MAX_HEADER_BYTES or payload_length > _MAX_PAYLOAD_BYTES:
                raise ForeignPeerError(
                    f"a message of {header_length} + {payload_length} bytes: is this port a worker's?"
                )
            start = position + _PREFIX.size
            end = start + header_length
            if end > self._filled:
                self._make_room(position, _PREFIX.size + header_length)
                return messages
            header = _unpack(self._scratch[start:end])
            here = min(self._filled - end, payload_length)
            payload = memoryview(bytearray(payload_length))
            payload[:here] = self._scratch[end : end + here]
            position = end + here
            if here < payload_length:
                self._header, self._payload, self._payload_filled = header, payload, here
                break
            messages.append(Message(header, payload))
        self._make_room(position, 0)
        return messages

    def _make_room(self, position: int, needed: int) -> None:
        """Move what is left to the front, into a larger scratch where a header needs it."""
        left = self._filled - position
        if needed > len(self._scratch):
            larger = memoryview(bytearray(needed))
            larger[:left] = self._scratch[position : self._filled]
            self._scratch = larger
        elif position:
            self._scratch[:left] = bytes(self._scratch[position : self._filled])
        self._filled = left


def _unpack(packed: memoryview) -> list[Any]:
    try:
        header = msgpack.unpackb(packed)
    except ValueError as error:
        raise ForeignPeerError("a header that is not msgpack: is this port a worker's?") from error
    if not isinstance(header, list) or not header:
        raise ForeignPeerError("a header without a kind: is this port a worker's?")
    return header


class Channel:
    """The worker's end of a connection: a blocking socket, read when there is something to read."""

    def __init__(self, connection: socket.socket, *, send_timeout_s: float = 5.0) -> None:
        # Without a limit, one gateway that no longer reads would stop the worker for all of them.
        connection.settimeout(send_timeout_s)
        self._socket = connection
        self._decoder = Decoder()
        self._descriptors: list[int] = []
        # Until the greeting is here, a descriptor may come with the bytes.
        self._greeting = connection.family == socket.AF_UNIX

    def fileno(self) -> int:
        """For a selector."""
        return self._socket.fileno()

    def receive(self) -> list[Message] | None:
        """The messages that one read completes; None when the gateway is gone."""
        try:
            if self._greeting:
                count = self._receive_greeting()
            else:
                count = self._socket.recv_into(self._decoder.space())
            return self._decoder.received(count) if count else None
        except (OSError, ForeignPeerError):
            return None

    def send(self, header: Sequence[Any], tensors: Sequence[Bytes] = ()) -> bool:
        """Write a message; False when the gateway is gone or does not read."""
        buffers = [memoryview(buffer).cast("B") for buffer in encode(header, tensors)]
        try:
            while buffers:
                # The kernel takes at most 1024 buffers at once.
                sent = self._socket.sendmsg(buffers[:1000])
                while buffers and sent >= len(buffers[0]):
                    sent -= len(buffers.pop(0))
                if sent:
                    buffers[0] = buffers[0][sent:]
        except OSError:
            return False
        return True

    def take_descriptor(self) -> int | None:
        """The file descriptor that came with the greeting, once; it is the caller's to close."""
        self._greeting = False
        return self._descriptors.pop() if self._descriptors else None

    def close(self) -> None:
        """Hang up."""
        self._socket.close()
        while self._descriptors:
            os.close(self._descriptors.pop())

    def _receive_greeting(self) -> int:
        count, ancillary, _, _ = self._socket.recvmsg_into([self._decoder.space()], socket.CMSG_SPACE(4))
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                self._descriptors.append(int.from_bytes(data[:4], sys.byteorder))
        return count


def listen(endpoint: str) -> socket.socket:
    """A listening socket at `unix:PATH` or `tcp:HOST:PORT` (port 0: any free one)."""
    kind, _, address = endpoint.partition(":")
    if kind == "unix":
        Path(address).unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(address)
        Path(address).chmod(0o600)
    elif kind == "tcp":
        host, _, port = address.rpartition(":")
        listener = socket.create_server((host, int(port)), reuse_port=False)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    else:
        raise ValueError(f"endpoint {endpoint!r}: expected unix:PATH or tcp:HOST:PORT")
    listener.listen(64)
    return listener


def bound_endpoint(listener: socket.socket) -> str:
    """The endpoint of a listening socket, with its real port."""
    if listener.family == socket.AF_UNIX:
        return f"unix:{listener.getsockname()}"
    host, port = listener.getsockname()[:2]
    return f"tcp:{host}:{port}"


def machine() -> str:
    """Names this machine until it boots again: two processes that agree share one monotonic clock."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return socket.gethostname()
    try:
        # A container may have a monotonic clock of its own.
        return f"{boot}/{os.readlink('/proc/self/ns/time')}"
    except OSError:
        return boot


def clock_ns() -> int:
    """The clock of deadlines: monotonic, and the same for all processes of a machine."""
    return time.monotonic_ns()
