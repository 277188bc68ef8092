"""What a worker is told to be, as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields

from runtime.errors import ServingError


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerSpec:
    """What a worker is to be.

    `key` is unique among all workers; `[start, end)` are its layers; `share` is in percent; `core` pins a
    CPU worker; `device` is `cpu`, or the UUID of a CUDA GPU; `endpoints` are where it listens
    (`unix:PATH`, `tcp:HOST:PORT`); `parent` is the process it must not outlive; with `stand_back`, others
    serve beside it while it starts.
    """

    key: str
    model: str
    start: int
    end: int
    batch: int
    share: float
    endpoints: tuple[str, ...]
    parent: int
    core: int | None = None
    device: str = "cpu"
    gpu: str = ""
    memory_mb: float | None = None
    seed: int = 0
    exits: tuple[int, ...] = ()
    stand_back: bool = False

    @classmethod
    def from_json(cls, text: str) -> WorkerSpec:
        """Read a specification; unknown or missing fields are an error."""
        data = json.loads(text)
        known = {f.name for f in fields(cls)}
        if unknown := set(data) - known:
            raise ServingError(f"worker specification: unknown {', '.join(sorted(unknown))}")
        return cls(**{**data, "endpoints": tuple(data["endpoints"]), "exits": tuple(data.get("exits", ()))})
