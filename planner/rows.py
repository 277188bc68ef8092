"""Rows of recorded files, read without guessing: what is wrong with them is said by row number.

Rows are counted from 1, as an editor counts lines. All that is wrong with a file is reported at once, up to
`MAX_COMPLAINTS`.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

from planner.errors import Complaint, InputError
from planner.formats import MAX_COMPLAINTS, read_bytes

# Nothing real is near it; it keeps absurd rows out of the arithmetic.
_LARGEST = 1e9


class Rows:
    """What is wrong with a file's rows, collected so that one reading reports them all."""

    def __init__(self, path: str | Path) -> None:
        self._source = str(path)
        self._complaints: list[Complaint] = []
        self._last: tuple[int, float] | None = None

    def refuse(self, row: int, problem: str, cure: str = "") -> None:
        """Note a complaint; raises InputError with all of them when there are enough for one reading."""
        self._complaints.append(Complaint(place=f"row {row}", problem=problem, cure=cure))
        if len(self._complaints) >= MAX_COMPLAINTS:
            self.finish()

    def number(self, row: int, name: str, text: str, *, empty: str = "expected a number") -> float | None:
        """The number that stands there, at least 0, or None after a complaint; `empty` cures an empty one."""
        if not text.strip():
            self.refuse(row, f"{name} is empty", empty)
            return None
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or "_" in text:
            self.refuse(row, f"{name} is {text.strip()[:40]!r}", "expected a number")
            return None
        if not 0 <= value <= _LARGEST:
            self.refuse(row, f"{name} is {text.strip()}", f"expected 0 to {_LARGEST:g}")
            return None
        return value

    def whole(self, row: int, name: str, text: str, *, least: int = 0, most: int = 10**9) -> int | None:
        """The whole number that stands there, or None after a complaint."""
        value = self.number(row, name, text)
        if value is None:
            return None
        if value != int(value) or not least <= value <= most:
            self.refuse(row, f"{name} is {text.strip()[:40]}", f"expected a whole number, {least} to {most}")
            return None
        return int(value)

    def timestamp(self, row: int, text: str) -> float | None:
        """The seconds since 1970 of `2023-11-16 18:17:03.9799600`, or None after a complaint."""
        try:
            moment = datetime.fromisoformat(text.strip())
        except ValueError:
            shown = "is empty" if not text.strip() else f"is {text!r:.40}"
            self.refuse(
                row, f"TIMESTAMP {shown}", "expected a date and time like 2023-11-16 18:17:03.9799600"
            )
            return None
        # Without a time zone every row is read in the same one; only differences are used.
        return (moment.replace(tzinfo=None) - (moment.utcoffset() or _ZERO) - _EPOCH).total_seconds()

    def rises(self, row: int, name: str, value: float, *, strictly: bool = True, cure: str = "") -> bool:
        """Whether the value comes after the last good one; a complaint if not."""
        if self._last is not None:
            before, last = self._last
            if value < last or (strictly and value == last):
                self.refuse(
                    row, f"{name} is {value:.15g}, out of order after {last:.15g} in row {before}", cure
                )
                return False
        self._last = (row, value)
        return True

    def finish(self) -> None:
        """Raises InputError with what was refused, if anything was."""
        if self._complaints:
            raise InputError(self._source, self._complaints)


_EPOCH = datetime(1970, 1, 1)
_ZERO = _EPOCH - _EPOCH


def lines_of(path: str | Path) -> list[str]:
    """The file's lines; raises InputError where it is unreadable, not text, or empty."""
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        complaint = Complaint(place=f"byte {error.start}", problem="is not text", cure="expected UTF-8")
        raise InputError(str(path), [complaint]) from None
    lines = text.splitlines()
    if not lines:
        raise InputError(
            str(path), [Complaint(place="file", problem="is empty", cure="expected a row a sample")]
        )
    return lines


def records(
    path: str | Path, rows: Rows, needed: tuple[str, ...], where: Mapping[str, str] | None
) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a CSV file that `where` keeps, each with its number; the needed columns are there."""
    reader = csv.reader(lines_of(path))
    header = [name.strip() for name in next(reader)]
    for name in (*needed, *(where or ())):
        if name not in header:
            known = f"columns here: {', '.join(header)}"
            complaint = Complaint(place="row 1", problem=f"has no column {name!r}", cure=known[:300])
            raise InputError(str(path), [complaint])
    found = False
    others: dict[str, dict[str, None]] = {name: {} for name in where or ()}
    try:
        for values in reader:
            if len(values) != len(header):
                problem = f"has {len(values)} columns" if values else "is empty"
                rows.refuse(reader.line_num, problem, f"expected {len(header)} columns as in row 1")
                continue
            record = dict(zip(header, values, strict=True))
            for name, seen in others.items():
                seen[record[name].strip()] = None
            if any(record[name].strip() != value for name, value in (where or {}).items()):
                continue
            found = True
            yield reader.line_num, record
    except csv.Error as error:
        rows.refuse(reader.line_num, f"is not CSV: {error}")
    rows.finish()
    if not found:
        chosen = f" where {dict(where)}" if where else ""
        known = "; ".join(f"{name}: {', '.join(list(seen)[:12])}" for name, seen in others.items())
        cure = f"values here, one by one: {known}"[:300] if known else "expected a row a sample"
        complaint = Complaint(place="file", problem=f"has no rows{chosen}", cure=cure)
        raise InputError(str(path), [complaint])
