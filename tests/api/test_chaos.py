"""Services, run workers, solves and PostgreSQL are killed at random moments; nothing is lost or done twice.

The short form of `benchmarks.service_chaos`, with a fixed seed.
"""

from __future__ import annotations

import pytest

from api.repositories.runs import FINAL
from benchmarks.service_chaos import chaos


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "services", "killed"),
    [("sqlite", 1, {"service", "run worker"}), ("postgresql", 2, {"service", "run worker", "postgresql"})],
)
def test_whatever_is_killed_every_run_ends_once_and_every_generation_is_whole(
    kind: str, services: int, killed: set[str]
) -> None:
    system = chaos(
        kind,
        seconds=9,
        seed=7,
        every_s=1.3,
        services=services,
        workers=1,
        at_least=4,
        at_most_waiting=6,
    )
    assert system.problems == []
    assert killed <= {what for what, times in system.kills.items() if times}, system.kills
    assert set(system.asked.runs.values()) <= FINAL
    assert len(system.asked.runs) > 3
    assert len(system.asked.generations) > 3
