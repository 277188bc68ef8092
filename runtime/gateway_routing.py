"""Which route a request takes: the plan's fractions, kept to exactly rather than by chance.

A request that names its fragment takes one of that fragment's routes; one that does not takes any route
that starts at its layer, in proportion to the load planned for each. Choices are spread evenly (smooth
weighted round robin): after any number of requests, every route has had its share of them to within one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from runtime.errors import UnknownFragmentError
from runtime.exit_reports import ExitTally
from runtime.filling import Filling
from runtime.gateway_pool import Hop, Pool, StageKind
from runtime.inference_protocol import joined_name


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Route:
    """The stages that `fraction` of a fragment's `rate_rps` requests a second pass through."""

    fragment: str
    model: str
    start: int
    budget_ms: float
    rate_rps: float
    fraction: float
    hops: tuple[Hop, ...]

    @property
    def broken(self) -> bool:
        """Whether some stage of it has no worker any more, or only such as stop."""
        return any(hop.pool.closed for hop in self.hops)


class Choice:
    """Takes turns among routes, by weight."""

    def __init__(self, weighted: Iterable[tuple[Route, float]]) -> None:
        self._routes = [(route, weight) for route, weight in weighted if weight > 0]
        self._credit = [0.0] * len(self._routes)
        self._total = sum(weight for _, weight in self._routes)

    @property
    def routes(self) -> list[Route]:
        """All of them."""
        return [route for route, _ in self._routes]

    def next(self) -> Route:
        """Whose turn it is. Broken routes are passed over while there are others."""
        if len(self._routes) == 1:
            return self._routes[0][0]
        best = -1
        for index, (route, weight) in enumerate(self._routes):
            self._credit[index] += weight
            if (best < 0 or self._credit[index] > self._credit[best]) and not route.broken:
                best = index
        if best < 0:
            best = max(range(len(self._credit)), key=self._credit.__getitem__)
        self._credit[best] -= self._total
        return self._routes[best][0]


class Router:
    """The routes of one generation."""

    def __init__(self, generation: int, routes: Sequence[Route]) -> None:
        self.generation = generation
        self.routes = tuple(routes)
        self.exits = ExitTally()
        self._by_entry: dict[tuple[str, int], Choice] = {}
        self._by_fragment: dict[str, Choice] = {}
        entries: dict[tuple[str, int], list[tuple[Route, float]]] = {}
        fragments: dict[str, list[tuple[Route, float]]] = {}
        for route in routes:
            weight = route.rate_rps * route.fraction
            entries.setdefault((route.model, route.start), []).append((route, weight))
            fragments.setdefault(route.fragment, []).append((route, route.fraction))
        self._by_entry = {entry: Choice(weighted) for entry, weighted in entries.items()}
        self._by_fragment = {fragment: Choice(weighted) for fragment, weighted in fragments.items()}

    def choose(self, model: str, start: int, fragment: str | None = None) -> Route:
        """The route of the next request. Raises UnknownFragmentError."""
        entry = self._by_entry.get((model, start))
        if entry is None:
            raise UnknownFragmentError(self._nothing_serves(model, start))
        if fragment is None:
            return entry.next()
        own = self._by_fragment.get(fragment)
        if own is None or (own.routes[0].model, own.routes[0].start) != (model, start):
            known = sorted({route.fragment for route in entry.routes})
            raise UnknownFragmentError(
                f"there is no fragment {fragment!r} at {joined_name(model, start)}; "
                f"there {'is' if len(known) == 1 else 'are'} {_listed(known)}"
            )
        return own.next()

    def entry(self, model: str, start: int) -> list[Route]:
        """The routes that start there. Raises UnknownFragmentError."""
        choice = self._by_entry.get((model, start))
        if choice is None:
            raise UnknownFragmentError(self._nothing_serves(model, start))
        return choice.routes

    def _nothing_serves(self, model: str, start: int) -> str:
        served = [joined_name(*entry) for entry in sorted(self._by_entry)]
        same = [joined_name(m, s) for m, s in sorted(self._by_entry) if m == model]
        return f"{joined_name(model, start)} is not served; served are: {_listed(same or served) or 'none'}"


def routes_of(document: dict[str, Any], pools: dict[StageKind, Pool], queue_limit: int) -> list[Route]:
    """The routes of an assignment's generation, with their stages' pools, made where they are missing."""
    hops: dict[str, Hop] = {}
    for stage in document["stages"]:
        kind = kind_of(stage)
        pool = pools.get(kind)
        if pool is None:
            pool = pools[kind] = Pool(kind, queue_limit)
        hops[stage["id"]] = Hop(stage["id"], pool)
    leaving = {stage["id"] for stage in document["stages"] if stage.get("exits")}
    for route in document["routes"]:
        for before, name in enumerate(route["stages"]):
            if leaving.intersection(route["stages"][:before]) and hops[name].pool.filling is None:
                hops[name].pool.filling = Filling()
    return [
        Route(
            fragment=route["fragment"],
            model=route["model"],
            start=route["start"],
            budget_ms=route["budget_ms"],
            rate_rps=route["rate_rps"],
            fraction=route["fraction"],
            hops=tuple(hops[stage] for stage in route["stages"]),
        )
        for route in document["routes"]
    ]


def kind_of(stage: dict[str, Any]) -> StageKind:
    """The kind of a plan's stage."""
    return StageKind(
        stage["model"],
        stage["start"],
        stage["end"],
        stage["batch"],
        float(stage["share"]),
        stage["gpu"],
        tuple(stage.get("exits") or ()),
    )


def _listed(names: Sequence[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
