"""Shared memory between a gateway and the workers of its machine: tensors are written once and read in place.

The gateway owns one arena, a memory file without a name (`memfd`): its descriptor is handed to each worker
over their unix socket, and when the last process that has it dies, it is gone, whatever killed them. A
tensor lives in a *slot*. A slot is a memoryview, and is free again when the last reference to it is gone:
the kernel's, while the answer is being sent, as well as our own.

Where the arena is full, or the worker on another machine, tensors travel beside the message instead.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from typing import Any, NamedTuple

# Below this, a tensor costs less beside its message than in a slot.
INLINE_BYTES = 4096

_ALIGN = 64
_PAGE = 4096


class Tensor(NamedTuple):
    """A tensor's bytes, and where in the arena they begin; -1 when they are elsewhere.

    A slot of the arena is free again when nothing refers to its bytes any more.
    """

    data: memoryview
    offset: int = -1


class Arena:
    """Slots in a memory file of `size` bytes; the kernel provides pages as they are first written."""

    def __init__(self, size: int) -> None:
        self.size = -(-size // _PAGE) * _PAGE
        self.descriptor = os.memfd_create("regraft-arena", os.MFD_CLOEXEC)
        os.ftruncate(self.descriptor, self.size)
        self._memory = mmap.mmap(self.descriptor, self.size)
        self._free: dict[int, list[int]] = {}
        self._leases: dict[int, type[Any]] = {}
        self._end = 0
        self.used = 0

    def allocate(self, size: int, lead: int = 0) -> Tensor | None:
        """A slot of `size` bytes, whose byte `lead` is aligned for any tensor; None when there is no room."""
        pad = -lead % _ALIGN
        capacity = _capacity(size + pad)
        begin = self._take(capacity)
        if begin is None:
            return None
        lease = self._lease_type(capacity).from_buffer(self._memory, begin)
        lease.arena, lease.begin = self, begin
        return Tensor(memoryview(lease).cast("B")[pad : pad + size], begin + pad)

    def close(self) -> None:
        """Let go of the file; the memory goes when the slots have."""
        os.close(self.descriptor)

    def give_back(self, begin: int, capacity: int) -> None:
        """A slot is not referred to any more."""
        self.used -= capacity
        if self.used:
            self._free.setdefault(capacity, []).append(begin)
        else:  # whatever sizes it was cut into, it is whole again
            self._free.clear()
            self._end = 0

    def _take(self, capacity: int) -> int | None:
        recent = self._free.get(capacity)
        if recent:
            # The last one that was used is likeliest still in the processor's cache.
            begin = recent.pop()
        elif self._end + capacity <= self.size:
            begin = self._end
            self._end += capacity
        else:
            return None
        self.used += capacity
        return begin

    def _lease_type(self, capacity: int) -> type[Any]:
        """The type of the objects that own slots of this capacity: any view of one keeps it alive."""
        lease = self._leases.get(capacity)
        if lease is None:
            lease = type(f"Lease{capacity}", (_Lease, ctypes.c_ubyte * capacity), {})
            self._leases[capacity] = lease
        return lease


class Mapping:
    """A worker's view of a gateway's arena."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._memory = mmap.mmap(descriptor, size)
        self._view = memoryview(self._memory)
        os.close(descriptor)

    def at(self, offset: int, size: int) -> memoryview:
        """The slot that begins there."""
        return self._view[offset : offset + size]


class _Lease:
    arena: Arena
    begin: int

    def __del__(self) -> None:
        self.arena.give_back(self.begin, ctypes.sizeof(self))  # type: ignore[arg-type]


def _capacity(size: int) -> int:
    """Few different capacities, so that slots are used again: steps of an eighth of the next power of two."""
    if size <= _PAGE:
        return _PAGE
    step = max(_PAGE, 1 << (size - 1).bit_length() - 3)
    return -(-size // step) * step
