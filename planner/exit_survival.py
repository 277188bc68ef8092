"""Which fraction of a fragment's requests goes on past each exit (docs/exits.md)."""

from __future__ import annotations

from planner.profile import Profile
from planner.workload import Fragment


def relative_survival(profile: Profile, fragment: Fragment) -> dict[int, float]:
    """For the layer of each exit behind the fragment's start: the fraction of its requests that pass it."""
    exits = profile.exits or ()
    fractions = fragment.survival or tuple(item.survival for item in exits)
    at_start = 1.0
    found = {}
    for item, fraction in zip(exits, fractions, strict=True):
        if item.layer <= fragment.start:
            at_start = fraction
        else:
            found[item.layer] = min(1.0, fraction / at_start) if at_start > 0 else 1.0
    return found
