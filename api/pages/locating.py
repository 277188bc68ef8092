"""The line of a JSON text at which a complaint points: `fragments[3].budget_ms` → 27."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\r\n]*")
_STEPS = re.compile(r"\[(\d+)\]|([^.\[\]]+)")
_POSITION = re.compile(r"line (\d+) column (\d+)")
_LONGEST = 160


@dataclass(frozen=True, kw_only=True, slots=True)
class Spot:
    """A line of a text, by its number from 1, with the lines around it as (number, text)."""

    line: int
    around: tuple[tuple[int, str], ...]


def spot(text: str, place: str, problem: str = "") -> Spot | None:
    """Where a complaint points; None where the text has no such place."""
    lines = text.splitlines()
    found = _POSITION.search(problem)
    line = int(found[1]) if found else _line(text, place)
    if line is None or not 1 <= line <= len(lines):
        return None
    around = range(max(1, line - 1), min(len(lines), line + 1) + 1)
    return Spot(line=line, around=tuple((number, _cut(lines[number - 1])) for number in around))


def _line(text: str, place: str) -> int | None:
    steps = [int(index) if index else name for index, name in _STEPS.findall(place)]
    at = _skip(text, 0)
    found = False
    for step in steps:
        try:
            inner = _member(text, at, step)
        except (ValueError, IndexError, RecursionError):
            break
        if inner is None:
            break  # a field that is missing: its object's line is as near as one gets
        at, found = inner, True
    return text.count("\n", 0, at) + 1 if found else None


def _member(text: str, at: int, step: int | str) -> int | None:
    """Where the value of this name or number begins in the object or array that begins at `at`."""
    opening = text[at]
    if opening not in "{[" or (opening == "{") != isinstance(step, str):
        return None
    at, number = _skip(text, at + 1), 0
    while text[at] not in "}]":
        name: int | str = number
        if opening == "{":
            name, at = _DECODER.raw_decode(text, at)
            at = _skip(text, _skip(text, at) + 1)
        if name == step:
            return at
        _, at = _DECODER.raw_decode(text, at)
        at, number = _skip(text, at), number + 1
        if text[at] == ",":
            at = _skip(text, at + 1)
    return None


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _cut(line: str) -> str:
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"
