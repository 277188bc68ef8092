"""Inner loops as machine code (numba): a function is compiled when it is first called, and kept on disk.

What is compiled here takes arrays and numbers and returns such; it runs without the interpreter's lock, so
that the thread that reports and watches the clock goes on. The first call ever takes seconds (`python -m
solver.compiled` has it over with), later processes load what was compiled in a fraction of one.

Two things to know of numba. It compiles anew when the file of a function has changed, but not when that of a
function which it calls has; so what is kept is kept by the source of all that is compiled. And a function
that machine code calls cannot be loaded from disk to be called from Python as well: it needs one of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from shutil import rmtree
from typing import Any, ParamSpec, TypeVar

from numba import config, njit

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
    usual = config.CACHE_DIR
    try:
        config.CACHE_DIR = str(_place(usual))
        kept: Callable[Given, Answer] = njit(cache=True, nogil=True, **options)(function)
    except (RuntimeError, OSError):  # there is no place to write to
        kept = njit(nogil=True, **options)(function)
    finally:
        config.CACHE_DIR = usual
    return kept


@cache
def _place(usual: str) -> Path:
    """Where machine code of this source is kept: where numba is told to, beside the source, or in the user's
    cache. OSError where none of them can be written to."""
    source = Path(__file__).parent
    texts = [text for file in sorted(source.glob("*.py")) if b"@compiled" in (text := file.read_bytes())]
    name = "regraft-" + sha256(b"".join(texts)).hexdigest()[:16]
    users = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    for parent in [Path(usual)] if usual else [source / "__pycache__", users]:
        place = parent / name
        with suppress(OSError):
            place.mkdir(parents=True, exist_ok=True)
            if os.access(place, os.W_OK):
                return place
    raise OSError("machine code can be kept nowhere")


def forget_others() -> None:
    """Remove what was compiled of other source, in the place where this one's is."""
    place = _place(config.CACHE_DIR)
    for other in place.parent.glob("regraft-*"):
        if other != place:
            rmtree(other, ignore_errors=True)


def main() -> None:
    """Compile all there is, by small calls."""
    import numpy as np

    from solver.compact import what_can_matter
    from solver.enumeration import patterns_within
    from solver.exchanges import Exchanges
    from solver.facilities import Facilities, Group, all_alone
    from solver.fractional_bound import Bound
    from solver.group_labels import GroupLabels
    from solver.outcome import Watch
    from solver.packed_bound import PackedAscent
    from solver.recreation import Recreation
    from solver.route_bound import RouteBound, RoutePath
    from solver.route_graph import route_graph
    from solver.routes import Network
    from solver.subset_rows import broken_rows

    with suppress(OSError):
        forget_others()
    one = np.ones(1)
    group = Group(price=one, capacity=one, classes=np.zeros(1, dtype=np.intp), joining=np.zeros((1, 1)))
    members = np.ones(1, dtype=np.intp)
    program = Facilities(load=one, members=members, alone=one, groups=(group,))
    labels = GroupLabels(program, 0)
    earned, _ = labels.best(2 * one)
    labels.losses(2 * one, earned, 1.0)
    labels.best_whole(2 * one, 0.0, earned, 1.0, begin=1.0, grow=1.0, work=10)
    what_can_matter(program, [Bound(value=0.0, worth=one)], 1.0)
    patterns_within(program, one, 1.0, 10)
    broken_rows([[0, 1], [1, 2], [0, 2]], [0.5, 0.5, 0.5], np.ones(5, dtype=np.intp), [], 1, seed=0)
    ascent = PackedAscent(program, Bound(value=0.0, worth=one), [], 1.0)
    ascent.run(Watch(), rounds=2)
    two = Facilities(load=np.ones(2), members=np.ones(2, dtype=np.intp), alone=np.ones(2), groups=())
    apart = PackedAscent(two, Bound(value=0.0, worth=np.ones(2)), all_alone(two), 1.0)
    Exchanges(two, apart, seed=0).improve(all_alone(two), Watch())

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
    Recreation(graph, 1.0, [(RoutePath(k=0, arcs=(0,)), 1.0)], 0).improve(Watch(), 0.01)


if __name__ == "__main__":
    main()
