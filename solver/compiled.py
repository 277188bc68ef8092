"""Inner loops as machine code (numba): a function is compiled when it is first called, and kept on disk.

What is compiled here takes arrays and numbers and returns such; it runs without the interpreter's lock, so
that the thread that reports and watches the clock goes on. The first call ever takes seconds (`python -m
solver.compiled` has it over with), later processes load what was compiled in a fraction of one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from numba import njit

Given = ParamSpec("Given")
Answer = TypeVar("Answer")

# Not-a-numbers and the sign of 0 do not matter.
LOOSELY = {"nnan", "nsz"}


def compiled(function: Callable[Given, Answer]) -> Callable[Given, Answer]:
    """The function as machine code; kept on disk where there is a place to write to."""
    return _compiled(function)


def compiled_loosely(function: Callable[Given, Answer]) -> Callable[Given, Answer]:
    """The same where no number is not-a-number: the least of many is then found eight at a time."""
    return _compiled(function, fastmath=LOOSELY)


def _compiled(function: Callable[Given, Answer], **options: Any) -> Callable[Given, Answer]:
    try:
        kept: Callable[Given, Answer] = njit(cache=True, nogil=True, **options)(function)
    except RuntimeError:  # neither beside the source nor in the user's own cache
        kept = njit(nogil=True, **options)(function)
    return kept


def main() -> None:
    """Compile all there is, by small calls."""
    import numpy as np

    from solver.facilities import Facilities, Group
    from solver.group_labels import GroupLabels
    from solver.outcome import Watch
    from solver.route_bound import RouteBound
    from solver.route_graph import route_graph
    from solver.routes import Network

    one = np.ones(1)
    group = Group(price=one, capacity=one, classes=np.zeros(1, dtype=np.intp), joining=np.zeros((1, 1)))
    members = np.ones(1, dtype=np.intp)
    labels = GroupLabels(Facilities(load=one, members=members, alone=one, groups=(group,)), 0)
    earned, _ = labels.best(2 * one)
    labels.losses(2 * one, earned, 1.0)

    first = np.zeros(1, dtype=np.intp)
    network = Network(
        depth=1,
        tail=first,
        head=first + 1,
        time=one,
        capacity=one,
        price=one,
        entry=first,
        budget=one,
        load=one,
    )
    graph = route_graph(network)
    assert graph is not None
    bound = RouteBound(graph, 0.0)
    bound.sweep(Watch())
    bound.run(Watch())
    bound.lean()


if __name__ == "__main__":
    main()
