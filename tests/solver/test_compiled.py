"""Inner loops as machine code: the same answers, with and without a place to keep what was compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from solver import compiled as compiled_module
from solver import route_kernel
from solver.compiled import compiled, main
from solver.enumeration_kernel import written
from solver.group_kernel import most_earned, most_with
from solver.group_labels import GroupLabels
from solver.one_stage import solve_one_stage
from solver.outcome import Watch
from solver.packed_kernel import packed, penalties, promising
from solver.route_bound import RouteBound
from tests.solver.programs import random_program
from tests.solver.test_routes import case, graph_of

ROUTE_KERNELS = ("to_end", "from_entry", "without", "paths", "needs", "knapsacks", "shares", "play")


def doubled(number: int) -> int:
    return 2 * number


def test_it_answers_as_the_function_does() -> None:
    assert compiled(doubled)(21) == 42


def test_without_a_place_to_keep_it_it_is_compiled_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    njit, asked = compiled_module.njit, []

    def nowhere(**options: Any) -> Callable[..., Any]:
        asked.append(options.get("cache", False))
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        found: Callable[..., Any] = njit(**options)
        return found

    monkeypatch.setattr(compiled_module, "njit", nowhere)
    assert compiled(doubled)(21) == 42
    assert asked == [True, False]


KERNELS: list[Any] = [
    *(most_earned, most_with, written, promising, packed, penalties),
    *(getattr(route_kernel, name) for name in ROUTE_KERNELS),
]


def test_what_is_compiled_ahead_is_what_programs_call() -> None:
    main()
    compiled_ahead = [set(kernel.signatures) for kernel in KERNELS]
    for seed in range(5):
        program = random_program(seed, classes=6)
        for number in range(len(program.groups)):
            labels = GroupLabels(program, number)
            earned, _ = labels.best(program.alone)
            labels.losses(program.alone, earned, 10.0)
        solve_one_stage(program, watch=Watch())
        bound = RouteBound(graph_of(*case(seed)), 10.0)
        bound.sweep(Watch())
        bound.run(Watch(time_limit_s=1.0))
        bound.lean()
        bound.useful(1_000.0, Watch())
    assert all(compiled_ahead)
    assert [set(kernel.signatures) for kernel in KERNELS] == compiled_ahead
