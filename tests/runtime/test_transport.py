"""Messages between gateway and worker arrive whole, however the network cuts them up."""

from __future__ import annotations

import itertools
import socket
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.transport import Channel, Decoder, ForeignPeerError, bound_endpoint, encode, listen
from runtime.transport_arena import Arena, Tensor

MESSAGES = st.lists(
    st.tuples(
        st.lists(st.one_of(st.integers(-(2**63), 2**63 - 1), st.text(max_size=50)), max_size=30),
        st.lists(st.binary(max_size=400), max_size=3),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=200, deadline=None)
@given(messages=MESSAGES, data=st.data())
def test_messages_survive_any_fragmentation(
    messages: list[tuple[list[int | str], list[bytes]]], data: st.DataObject
) -> None:
    stream = b"".join(
        b"".join(map(bytes, encode(["kind", *header], tensors))) for header, tensors in messages
    )
    decoder = Decoder()
    heard = []
    position = 0
    while position < len(stream):
        space = decoder.space()
        size = min(len(space), data.draw(st.integers(1, 700)), len(stream) - position)
        space[:size] = stream[position : position + size]
        heard += [(m.header, bytes(m.payload)) for m in decoder.received(size)]
        position += size
    assert heard == [(["kind", *header], b"".join(tensors)) for header, tensors in messages]


def test_headers_larger_than_the_receive_buffer_arrive() -> None:
    ours, theirs = socket.socketpair()
    sender, receiver = Channel(ours), Channel(theirs)
    header = ["run", [[number, "x" * 100] for number in range(5000)]]
    thread = threading.Thread(target=sender.send, args=(header, [b"tensor"]))
    thread.start()
    messages = []
    while not messages:
        received = receiver.receive()
        assert received is not None
        messages += received
    thread.join()
    assert messages[0].header == header
    assert bytes(messages[0].payload) == b"tensor"
    sender.close()
    assert receiver.receive() is None
    receiver.close()


def test_many_large_tensors_go_through_one_connection() -> None:
    ours, theirs = socket.socketpair()
    sender, receiver = Channel(ours), Channel(theirs)
    tensors = [bytes([number % 256]) * (number * 37) for number in range(1500)]
    thread = threading.Thread(target=sender.send, args=(["run", [len(t) for t in tensors]], tensors))
    thread.start()
    messages = []
    while not messages:
        received = receiver.receive()
        assert received is not None
        messages += received
    thread.join()
    assert bytes(messages[0].payload) == b"".join(tensors)
    sender.close()
    receiver.close()


def test_a_peer_that_speaks_something_else_is_hung_up_on() -> None:
    ours, theirs = socket.socketpair()
    receiver = Channel(theirs)
    ours.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert receiver.receive() is None
    ours.close()
    receiver.close()
    decoder = Decoder()
    nonsense = b"".join(map(bytes, encode({"not": "a list"})))  # type: ignore[arg-type]
    decoder.space()[: len(nonsense)] = nonsense
    with pytest.raises(ForeignPeerError, match="without a kind"):
        decoder.received(len(nonsense))


def test_a_reader_that_does_not_read_does_not_stop_the_sender_for_ever() -> None:
    ours, theirs = socket.socketpair()
    sender = Channel(ours, send_timeout_s=0.1)
    assert not sender.send(["run"], [bytes(1 << 24)])
    sender.close()
    theirs.close()


def test_workers_listen_on_unix_sockets_and_on_tcp(tmp_path: Path) -> None:
    for endpoint in (f"unix:{tmp_path / 'w.sock'}", "tcp:127.0.0.1:0"):
        with listen(endpoint) as listener:
            where = bound_endpoint(listener)
            assert not where.endswith(":0")
            kind, _, address = where.partition(":")
            if kind == "unix":
                with socket.socket(socket.AF_UNIX) as caller:
                    caller.connect(address)
            else:
                host, port = address.split(":")
                socket.create_connection((host, int(port))).close()
    with pytest.raises(ValueError, match="expected unix:PATH or tcp:HOST:PORT"):
        listen("carrier-pigeon:loft")


def test_slots_of_the_arena_do_not_overlap_and_come_back() -> None:
    arena = Arena(1 << 20)
    sizes = [1, 100, 4096, 5000, 70_000, 5000]
    slots = []
    for number, size in enumerate(sizes):
        slot = arena.allocate(size, lead=number * 13)
        assert slot is not None
        assert len(slot.data) == size
        assert (slot.offset + number * 13) % 64 == 0
        slot.data[:] = bytes([number]) * size
        slots.append(slot)
    for number, slot in enumerate(slots):
        assert bytes(slot.data) == bytes([number]) * len(slot.data)
    part = slots[4].data[100:]
    used = arena.used
    del slots, slot
    assert 0 < arena.used < used  # a part of a slot keeps the slot
    del part
    assert arena.used == 0
    arena.close()


def test_a_full_arena_says_so_and_recovers() -> None:
    arena = Arena(1 << 16)
    slots = []
    while (slot := arena.allocate(5000)) is not None:
        slots.append(slot)
    assert len(slots) == 8  # of 8 KiB each
    assert arena.allocate(1 << 20) is None
    offset = slots.pop(3).offset
    again = arena.allocate(5001)
    assert again is not None
    assert again.offset == offset
    del slots, again
    whole = arena.allocate(1 << 16)
    assert whole is not None
    arena.close()


@settings(max_examples=100, deadline=None)
@given(steps=st.lists(st.tuples(st.booleans(), st.integers(0, 40_000), st.integers(0, 200)), max_size=60))
def test_the_arena_never_gives_a_byte_to_two_tensors(steps: list[tuple[bool, int, int]]) -> None:
    arena = Arena(1 << 18)
    held: list[Tensor] = []
    for take, size, lead in steps:
        if take:
            slot = arena.allocate(size + 1, lead)
            if slot is not None:
                held.append(slot)
        elif held:
            held.pop(size % len(held))
        spans = sorted((slot.offset, slot.offset + len(slot.data)) for slot in held)
        assert all(first[1] <= second[0] for first, second in itertools.pairwise(spans))
        assert all(begin >= 0 and end <= arena.size for begin, end in spans)
    arena.close()
