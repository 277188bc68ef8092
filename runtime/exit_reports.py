"""What gateways count at exits, and how agents report it to the service (docs/protocol.md)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# A status that is too large is refused, and its node with it. What the busiest do says enough of all.
MOST_FRAGMENTS = 2000


@dataclass(slots=True)
class ExitTally:
    """What became of the requests of one generation at exits, by fragment, and by fragment and layer.

    `answered` are all that were, `left` those of them that an exit answered. `lost` were dropped or failed
    after they had gone on past an exit, that one the last: whoever counted answers alone would find inputs
    the easier the more hard ones are late.
    """

    answered: Counter[str] = field(default_factory=Counter)
    left: Counter[tuple[str, int]] = field(default_factory=Counter)
    lost: Counter[tuple[str, int]] = field(default_factory=Counter)

    def report(self, fragments: set[str]) -> dict[str, Any]:
        """{fragment: {"answered": n, "left": {layer: n}, "lost": {layer: n}}} of these, where any."""
        found: dict[str, Any] = {
            name: {"answered": self.answered[name], "left": {}, "lost": {}} for name in sorted(fragments)
        }
        for field_name, counts in (("left", self.left), ("lost", self.lost)):
            for (name, layer), count in counts.items():
                if name in found:
                    found[name][field_name][str(layer)] = count
        return {name: item for name, item in found.items() if item["answered"] or item["lost"]}


def exit_reports(
    said: Mapping[str, tuple[int, Mapping[str, Any]]], *, most: int = MOST_FRAGMENTS
) -> list[dict[str, Any]]:
    """What gateways said, by their ids: the generation they route, and its counts by fragment.

    Of all together, the `most` fragments that were answered most often.
    """
    every = [
        (-counts["answered"], gateway, name)
        for gateway, (_, fragments) in said.items()
        for name, counts in fragments.items()
    ]
    kept: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for _, gateway, name in sorted(every)[:most]:
        kept[gateway][name] = said[gateway][1][name]
    return [
        {"gateway": gateway, "generation": said[gateway][0], "fragments": fragments}
        for gateway, fragments in kept.items()
    ]
