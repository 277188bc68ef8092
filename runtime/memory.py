"""Freed memory stays with the process that runs a model.

A forward pass allocates and frees its activations, tens of megabytes. By default the allocator gives such
pieces back to the kernel at once, or soon, and asks for them again with the next pass: 26,000 page faults a
batch of four through resnet50, a seventh of its time; or none, by chance of what else was allocated.
What a worker holds at its fullest is what it is planned to hold, so it may as well keep it.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_MMAP_MAX = -4
_MOST = 2**31 - 1


def keep_freed() -> None:
    """From now on keep what is freed; what was freed before is given back first. Harmless without glibc."""
    give_back()
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_M_TRIM_THRESHOLD, _MOST)
        # A piece of memory of its own would go back when it is freed.
        libc.mallopt(_M_MMAP_THRESHOLD, _MOST)
        libc.mallopt(_M_MMAP_MAX, 0)


def settle() -> None:
    """What is here now stays: the collector need not walk through it again.

    It does so every now and then, with all that was imported: some 15 ms for what a gateway needs, 80 ms with
    torch beside it, in which nothing is answered and nothing sent.
    """
    gc.collect()
    gc.freeze()


def give_back() -> None:
    """Return to the system what is free: building a whole model takes more than a few layers of it."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
