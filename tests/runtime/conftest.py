"""What all tests of the runtime share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

# On machines with few cores, threads that wait for each other take most of the time. Set before torch is
# imported; processes that tests start inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def weights_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Weights are written where the tests are, not into the cache of whoever runs them."""
    before = {
        name: os.environ.pop(name, None) for name in ("REGRAFT_CACHE", "REGRAFT_WEIGHTS", "REGRAFT_SHARES")
    }
    os.environ["REGRAFT_CACHE"] = str(tmp_path_factory.mktemp("regraft-cache"))
    yield
    for name, value in before.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
