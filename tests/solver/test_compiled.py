"""Inner loops as machine code: the same answers, with and without a place to keep what was compiled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
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


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of its own, with one file that has machine code."""
    source = tmp_path / "package"
    source.mkdir()
    (source / "kernel.py").write_text("@compiled\n")
    monkeypatch.setattr(compiled_module, "__file__", str(source / "compiled.py"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    compiled_module._place.cache_clear()
    yield source
    compiled_module._place.cache_clear()


def test_what_is_kept_is_kept_by_the_source_of_all_that_is_compiled(source: Path) -> None:
    def place() -> Path:
        compiled_module._place.cache_clear()
        return compiled_module._place("")

    before = place()
    assert before.parent == source / "__pycache__"
    (source / "plain.py").write_text("nothing is compiled here")
    assert place() == before
    (source / "kernel.py").write_text("@compiled\n# changed")
    assert place() != before
    assert before.is_dir()
    compiled_module.forget_others()
    assert not before.exists()
    assert place().is_dir()


def test_it_is_kept_where_there_is_a_place_to_write_to(source: Path, tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    assert compiled_module._place(str(asked)).parent == asked
    (source / "__pycache__").write_text("no folder")
    assert compiled_module._place("").parent == tmp_path / "user"
    compiled_module._place.cache_clear()
    (tmp_path / "user").rename(tmp_path / "gone")
    (tmp_path / "user").write_text("no folder either")
    with pytest.raises(OSError, match="nowhere"):
        compiled_module._place("")


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
