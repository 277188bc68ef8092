"""A run of HiGHS that was left behind holds nobody up for longer than the time there is."""

from __future__ import annotations

import math
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from scipy import sparse

import solver.highs
from solver.highs import Found, integer_search
from solver.outcome import Limit, Watch


def search(watch: Watch, time_limit_s: float = math.inf) -> Found:
    """min x  s.t.  x ≥ 1, whole."""
    return integer_search(
        cost=np.array([1.0]),
        upper=np.array([5.0]),
        rows=sparse.csr_matrix(np.array([[1.0]])),
        row_lower=np.array([1.0]),
        row_upper=np.array([5.0]),
        integer=np.array([True]),
        start=None,
        cutoff=math.inf,
        watch=watch,
        threads=1,
        seed=0,
        time_limit_s=time_limit_s,
    )


@pytest.mark.parametrize("by_watch", [True, False])
def test_the_next_run_waits_no_longer_than_its_time(by_watch: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    behind = threading.Thread(target=ended.wait, daemon=True)
    behind.start()
    monkeypatch.setattr(solver.highs, "_abandoned", [behind])
    watch = Watch(time_limit_s=0.3 if by_watch else 60.0)
    began = time.perf_counter()
    found = search(watch, math.inf if by_watch else 0.3)
    assert found.values is None
    assert found.lower_bound == 0.0
    assert 0.3 <= time.perf_counter() - began < 5.0
    assert watch.limit is (Limit.TIME if by_watch else None)
    ended.set()
    found = search(Watch())
    assert found.values == pytest.approx([1.0])
    assert found.lower_bound == pytest.approx(1.0)
    assert not solver.highs._abandoned


BUSY = """
import sys, threading, time
import highspy
import numpy as np
import solver.highs
from api import command_line

rng = np.random.default_rng(0)
highs = solver.highs.quiet()
count, rows = 300, 60
everything = np.arange(count, dtype=np.int32)
for _ in range(count):
    highs.addVar(0, 1)
highs.changeColsIntegrality(count, everything, np.array([highspy.HighsVarType.kInteger] * count))
for column in range(count):
    highs.changeColCost(column, -float(rng.integers(1, 100)))
for _ in range(rows):
    weights = rng.integers(1, 100, count).astype(float)
    highs.addRow(-highspy.kHighsInf, weights.sum() // 3, count, everything, weights)
thread = threading.Thread(target=highs.run, name="highs", daemon=True)
thread.start()
time.sleep(0.5)
assert thread.is_alive()
command_line.regraft = lambda prog_name: sys.exit({code})
print("done")
command_line.main()
"""


@pytest.mark.parametrize("code", [0, 3])
def test_a_command_ends_with_its_own_exit_code_while_a_run_goes_on(code: int) -> None:
    made = subprocess.run(
        [sys.executable, "-c", BUSY.replace("{code}", str(code))],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (made.returncode, made.stdout) == (code, "done\n"), made.stderr
