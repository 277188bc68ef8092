"""What no single field of a profile's exits, or of a fragment's survival, can show to be wrong."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

from planner.errors import Complaint
from planner.profile import Exit, Profile

# What the rows of a histogram may differ from 1 by: they are written with few digits.
_ROUNDING = 1e-3


def exit_contradictions(profile: Profile) -> Iterable[Complaint]:
    """Complaints about the exits of a profile: where they stand, their sizes, and their survivals."""
    exits = profile.exits or ()
    for number, item in enumerate(exits):
        place = f"exits[{number}]"
        if not 0 < item.layer < profile.depth:
            yield Complaint(
                place=f"{place}.layer",
                problem=f"is {item.layer}",
                cure=f"a cut point inside the model, 1 to {profile.depth - 1}",
            )
        yield from _ramp_contradictions(profile, item, place)
        yield from _survivor_contradictions(profile, item, place)
    for number, (before, after) in enumerate(pairwise(exits), start=1):
        if after.layer <= before.layer:
            yield Complaint(
                place=f"exits[{number}].layer",
                problem=f"is {after.layer}, after {before.layer}",
                cure="exits by rising layer, one a cut point",
            )
    yield from rising_survival("exits", [item.survival for item in exits], ".survival")


def rising_survival(place: str, survival: Sequence[float], field: str = "") -> Iterable[Complaint]:
    """Complaints about survivals that rise: whoever left does not come back."""
    for number, (before, after) in enumerate(pairwise(survival), start=1):
        if after > before:
            yield Complaint(
                place=f"{place}[{number}]{field}",
                problem=f"is {after}, above the {before} of the exit before",
                cure="fractions of all the model's inputs, which cannot rise from exit to exit",
            )


def _ramp_contradictions(profile: Profile, item: Exit, place: str) -> Iterable[Complaint]:
    if len(item.ramp_ms) != len(profile.batches):
        yield Complaint(
            place=f"{place}.ramp_ms",
            problem=f"has {len(item.ramp_ms)} rows",
            cure=f"expected one for each of the {len(profile.batches)} batches",
        )
    for batch, cells in enumerate(item.ramp_ms):
        if len(cells) != len(profile.shares):
            yield Complaint(
                place=f"{place}.ramp_ms[{batch}]",
                problem=f"has {len(cells)} cells",
                cure=f"expected one for each of the {len(profile.shares)} shares",
            )


def _survivor_contradictions(profile: Profile, item: Exit, place: str) -> Iterable[Complaint]:
    if item.survivors is None:
        return
    if len(item.survivors) != len(profile.batches):
        yield Complaint(
            place=f"{place}.survivors",
            problem=f"has {len(item.survivors)} rows",
            cure=f"expected one for each of the {len(profile.batches)} batches",
        )
        return
    for number, (batch, row) in enumerate(zip(profile.batches, item.survivors, strict=True)):
        if len(row) != batch + 1:
            yield Complaint(
                place=f"{place}.survivors[{number}]",
                problem=f"has {len(row)} entries",
                cure=f"expected {batch + 1}: how often 0 … {batch} of {batch} go on",
            )
        elif abs(math.fsum(row) - 1.0) > _ROUNDING:
            yield Complaint(
                place=f"{place}.survivors[{number}]",
                problem=f"adds up to {math.fsum(row):g}",
                cure="expected fractions that add up to 1",
            )
