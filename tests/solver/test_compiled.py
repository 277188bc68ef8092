"""Inner loops as machine code: the same answers, with and without a place to keep what was compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from solver import compiled as compiled_module
from solver.compiled import compiled, main


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


def test_everything_can_be_compiled_ahead() -> None:
    main()
