"""Arrival processes: whatever the kind, requests come at the rate, sorted, and within the time asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.arrivals import KINDS, Arrivals, arrivals_of
from planner.errors import InputError

DATA = Path(__file__).parents[3] / "shared" / "data"
AZURE = DATA / "azure" / "AzureLLMInferenceTrace_code.csv"

RECORD = np.concatenate([[0.0], np.cumsum(np.random.default_rng(5).exponential(2.0, 999))])
ALL = {
    **{kind: Arrivals(kind=kind) for kind in KINDS},  # type: ignore[arg-type]
    "recorded": Arrivals(kind="recorded", recorded=RECORD),
}


def times(kind: str, rate_rps: float, count: int, seconds: float, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return ALL[kind].times(rate_rps=rate_rps, count=count, seconds=seconds, random=random)


@given(
    st.sampled_from(sorted(ALL)),
    st.floats(0.01, 200),
    st.integers(1, 20),
    st.floats(0.1, 50),
    st.integers(0, 99),
)
def test_arrivals_are_sorted_and_within_the_time(
    kind: str, rate: float, count: int, seconds: float, seed: int
) -> None:
    found = times(kind, rate, count, seconds, seed)
    assert (np.diff(found) >= 0).all()
    assert not len(found) or 0 <= found[0] <= found[-1] < seconds
    assert np.array_equal(found, times(kind, rate, count, seconds, seed))


@pytest.mark.parametrize("kind", sorted(ALL))
@pytest.mark.parametrize(("rate", "count"), [(2.0, 1), (0.3, 40), (30.0, 5)])
def test_requests_come_at_the_rate(kind: str, rate: float, count: int) -> None:
    found = [len(times(kind, rate, count, 100.0, seed)) for seed in range(40)]
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found) - 100 * rate * count) <= 4 * error + 1e-9 + (kind == "synchronised") * count


@pytest.mark.parametrize(("kind", "irregular"), [("poisson", 1.0), ("bursty", 3.0)])
def test_gaps_are_as_irregular_as_they_should_be(kind: str, irregular: float) -> None:
    gaps = np.diff(times(kind, 10.0, 5, 4000.0))
    assert gaps.std() / gaps.mean() == pytest.approx(irregular, rel=0.05)


def test_paced_clients_keep_their_distance_and_start_anywhere() -> None:
    found = times("paced", 10.0, 3, 5.0)
    assert len(found) == 150
    phases = np.unique(np.round(found * 10 % 1, 6))
    assert len(phases) == 3


def test_synchronised_clients_all_send_at_once() -> None:
    assert times("synchronised", 2.0, 3, 1.0).tolist() == [0.0, 0.0, 0.0, 0.5, 0.5, 0.5]


def test_a_record_is_replayed_at_the_rate_from_a_drawn_place_and_over_again() -> None:
    record = Arrivals(kind="recorded", recorded=np.array([0.0, 1.0, 4.0]))
    found = record.times(rate_rps=2.0, count=1, seconds=50.0, random=np.random.default_rng(1))
    # two arrivals in 4 seconds are half an arrival a second: four times too slow
    assert np.unique(np.round(np.diff(found), 9)).tolist() == [0.25, 0.75]
    assert 99 <= len(found) <= 101


def test_a_name_is_a_kind_or_a_file(tmp_path: Path) -> None:
    assert arrivals_of("poisson").kind == "poisson"
    (tmp_path / "record").write_text("0\n2\n3\n")
    found = arrivals_of(str(tmp_path / "record"))
    assert found.kind == "recorded"
    assert found.recorded is not None
    assert found.recorded.tolist() == [0.0, 2.0, 3.0]
    with pytest.raises(
        InputError, match=r"arrivals: is 'sometimes' \(one of paced, synchronised, poisson, bursty"
    ):
        arrivals_of("sometimes")


@pytest.mark.skipif(not AZURE.exists(), reason="the recorded arrivals are not beside this checkout")
def test_the_recorded_hour_is_burstier_than_poisson() -> None:
    found = arrivals_of(str(AZURE)).times(
        rate_rps=5.0, count=4, seconds=300.0, random=np.random.default_rng(0)
    )
    gaps = np.diff(found)
    assert gaps.std() / gaps.mean() > 1.5
