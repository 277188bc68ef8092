"""Writing at once never loses, repeats or reorders a byte, however little the kernel takes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import pytest
import uvloop

from runtime.eager import EagerWriter

LOOPS = pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])


class Quiet(asyncio.Protocol):
    """Takes note of the end."""

    def __init__(self) -> None:
        self.lost = asyncio.get_running_loop().create_future()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)


@LOOPS
@pytest.mark.parametrize("sizes", [[10], [3, 100_000, 0, 7], [1_000_000, 1_000_000], [5] * 1500])
def test_what_is_written_arrives_in_order(
    new_loop: Callable[[], asyncio.AbstractEventLoop], sizes: list[int]
) -> None:
    messages = [
        [memoryview(bytes([number % 251, place % 251]) * size) for place, size in enumerate(sizes)]
        for number in range(5)
    ]
    expected = b"".join(bytes(buffer) for message in messages for buffer in message)

    async def exchange() -> bytes:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        transport, _ = await loop.create_connection(Quiet, sock=ours)
        writer = EagerWriter(transport)
        for number, message in enumerate(messages):
            if number == 2:
                transport.write(b"")  # whoever else writes to it
            writer.write(message)
        received = bytearray()
        with theirs:
            while len(received) < len(expected):
                received += await loop.sock_recv(theirs, 1 << 16)
        writer.close()
        transport.close()
        return bytes(received)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(exchange()) == expected


@LOOPS
def test_a_reader_that_has_gone_ends_the_connection_and_raises_nothing(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def exchange() -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        transport, protocol = await loop.create_connection(Quiet, sock=ours)
        writer = EagerWriter(transport)
        theirs.close()
        writer.write([b"nobody", b"reads"])
        writer.write([b"this"])
        await asyncio.wait_for(protocol.lost, 10)
        writer.close()
        writer.close()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(exchange())
