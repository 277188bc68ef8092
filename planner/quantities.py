"""Numbers with their unit and range, and names, as the formats of the project allow them."""

from __future__ import annotations

from typing import Annotated, Any

from annotated_types import Ge, Gt, Le, Len

# How the edges (planner.formats, the service) read our dataclasses: unknown fields are refused, "30" is
# not a number, and neither is NaN.
STRICT: dict[str, Any] = {"extra": "forbid", "strict": True, "allow_inf_nan": False}

# Nothing real is near these limits; they keep absurd input out of the arithmetic.
Name = Annotated[str, Len(1, 200)]
PositiveMs = Annotated[float, Gt(0), Le(1e9)]
Ms = Annotated[float, Ge(0), Le(1e9)]
PositiveRate = Annotated[float, Gt(0), Le(1e9)]
SharePct = Annotated[int, Gt(0), Le(100)] | Annotated[float, Gt(0), Le(100)]
Batch = Annotated[int, Gt(0), Le(65536)]
Megabytes = Annotated[float, Ge(0), Le(1e9)]
Fraction = Annotated[float, Ge(0), Le(1)]
