"""Inner loops as machine code (numba): a function is compiled when it is first called, and kept on disk.

What is compiled here takes arrays and numbers and returns such; it runs without the interpreter's lock, so
that the thread that reports and watches the clock goes on. The first call ever takes seconds (`python -m
solver.compiled` has it over with), later processes load what was compiled in a fraction of one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from numba import njit

Given = ParamSpec("Given")
Answer = TypeVar("Answer")


def compiled(function: Callable[Given, Answer]) -> Callable[Given, Answer]:
    """The function as machine code; kept on disk where there is a place to write to."""
    try:
        kept: Callable[Given, Answer] = njit(cache=True, nogil=True)(function)
    except RuntimeError:  # neither beside the source nor in the user's own cache
        kept = njit(nogil=True)(function)
    return kept


def main() -> None:
    """Compile all there is, by small calls."""
    import numpy as np

    from solver.facilities import Facilities, Group
    from solver.group_labels import GroupLabels

    one = np.ones(1)
    group = Group(price=one, capacity=one, classes=np.zeros(1, dtype=np.intp), joining=np.zeros((1, 1)))
    members = np.ones(1, dtype=np.intp)
    labels = GroupLabels(Facilities(load=one, members=members, alone=one, groups=(group,)), 0)
    earned, _ = labels.best(2 * one)
    labels.losses(2 * one, earned, 1.0)


if __name__ == "__main__":
    main()
