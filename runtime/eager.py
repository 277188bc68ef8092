"""Writing at once: what the kernel takes now it gets now, the rest is left to the event loop.

uvloop keeps what is written until everything that was read together has been handled: of sixteen answers that
come from a worker at once, the first would wait for the sixteenth, and its client, on another core, with it.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence

from runtime.transport import Bytes

# The kernel takes at most 1024 buffers at once.
_MOST_BUFFERS = 1000


class EagerWriter:
    """Writes to the connected socket of a transport, in order with whatever else is written to that."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        connection = transport.get_extra_info("socket")
        # The transport's own object may not be written to; another descriptor of the same socket may.
        self._socket = socket.socket(fileno=os.dup(connection.fileno())) if connection is not None else None

    def write(self, buffers: Sequence[Bytes]) -> None:
        """Write these, one after the other. They must not change while the transport may hold them."""
        if self._socket is None or self._transport.get_write_buffer_size() or len(buffers) > _MOST_BUFFERS:
            self._transport.writelines(buffers)
            return
        try:
            sent = self._socket.sendmsg(buffers, (), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except OSError:  # it takes nothing now, or never again: the transport knows what to do in either case
            sent = 0
        rest = _after(buffers, sent)
        if rest:
            self._transport.writelines(rest)

    def close(self) -> None:
        """Give the descriptor back; the connection stays the transport's."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _after(buffers: Sequence[Bytes], sent: int) -> list[Bytes]:
    """What is left of the buffers after their first `sent` bytes."""
    rest: list[Bytes] = []
    for buffer in buffers:
        size = buffer.nbytes if isinstance(buffer, memoryview) else len(buffer)
        if sent >= size:
            sent -= size
        else:
            rest.append(memoryview(buffer).cast("B")[sent:] if sent else buffer)
            sent = 0
    return rest
