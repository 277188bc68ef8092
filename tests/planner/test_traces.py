"""Bandwidth traces and arrival times: what is read, what is refused, and what is made up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from planner.clients import Client, Clients, Device, Link
from planner.errors import InputError
from planner.traces import (
    SYNTHETIC_KINDS,
    constant_trace,
    read_5gophers,
    read_arrivals,
    read_links,
    read_rtts,
    read_trace,
    synthetic_trace,
)

DATA = Path(__file__).parents[3] / "shared" / "data"
LUMOS = sorted(DATA.glob("lumos5g/*/*g_trace_*"))
recorded = pytest.mark.skipif(not LUMOS, reason="the recorded traces are not beside this checkout")


def write(folder: Path, content: str) -> Path:
    path = folder / "trace"
    path.write_text(content)
    return path


def refused(path: Path) -> str:
    with pytest.raises(InputError) as error:
        read_trace(path)
    return str(error.value)


def test_a_sample_holds_until_the_next_and_the_trace_starts_again_at_its_end(tmp_path: Path) -> None:
    trace = read_trace(write(tmp_path, "5 10\n6\t20\n8 0.0\n"))
    assert trace.seconds.tolist() == [0.0, 1.0, 3.0]
    assert trace.duration_s == 5.0
    moments = [0, 0.99, 1, 2.9, 3, 4.9, 5, 6]
    assert [trace.mbps_at(moment) for moment in moments] == [10, 10, 20, 20, 0, 0, 10, 20]


def test_a_constant_link_never_changes() -> None:
    assert [constant_trace(7.5).mbps_at(moment) for moment in (0, 3.2, 1e6)] == [7.5, 7.5, 7.5]


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("2 -1", "row 3: Mbps is -1 (expected 0 to"),
        ("2 nan", "row 3: Mbps is 'nan' (expected a number)"),
        ("2 inf", "row 3: Mbps is 'inf' (expected a number)"),
        ("2 1_0", "row 3: Mbps is '1_0' (expected a number)"),
        ("2 fast", "row 3: Mbps is 'fast' (expected a number)"),
        ("-2 5", "row 3: seconds is -2"),
        ("2", "row 3: has 1 columns (expected two: seconds and Mbps)"),
        ("2 3 4", "row 3: has 3 columns"),
        ("", "row 3: is empty"),
        ("1 5", "row 3: seconds is 1, out of order after 1 in row 2"),
        ("0.5 5", "row 3: seconds is 0.5, out of order after 1 in row 2"),
    ],
)
def test_a_row_that_cannot_be_true_is_refused_by_its_number(tmp_path: Path, row: str, complaint: str) -> None:
    path = write(tmp_path, f"0 10\n1 10\n{row}\n3 10\n")
    message = refused(path)
    assert message.startswith(f"{path}: {complaint}")
    assert "\n" not in message


def test_every_wrong_row_is_reported_at_once(tmp_path: Path) -> None:
    message = refused(write(tmp_path, "0 10\nx 10\n2 y\n3 -3\n"))
    assert [line.split(": ")[1] for line in message.splitlines()] == ["row 2", "row 3", "row 4"]


def test_an_empty_a_missing_and_a_binary_file_are_refused(tmp_path: Path) -> None:
    assert "is empty" in refused(write(tmp_path, ""))
    assert "No such file" in refused(tmp_path / "absent")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    assert "is not text" in refused(tmp_path / "binary")


CSV = "run,seq_num,throughput_mbps,other_mbps\na,0,10,\na,1,20,x\nb,0,30,3\nb,4,0,4\n"


def test_one_run_of_a_csv_file_is_a_trace(tmp_path: Path) -> None:
    path = write(tmp_path, CSV)
    assert read_trace(path, where={"run": "b"}).mbps.tolist() == [30.0, 0.0]
    assert read_5gophers(path, where={"run": "b"}, column="other_mbps").mbps.tolist() == [3.0, 4.0]
    assert read_5gophers(path, where={"run": "b"}).duration_s == 8.0


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({}, "row 4: seq_num is 0, out of order after 1 in row 3 (if the file holds several runs, keep one"),
        ({"column": "other_mbps", "where": {"run": "a"}}, "row 2: other_mbps is empty"),
        (
            {"column": "mbps"},
            "row 1: has no column 'mbps' (columns here: run, seq_num, throughput_mbps, other_mbps)",
        ),
        ({"where": {"carrier": "a"}}, "row 1: has no column 'carrier'"),
        (
            {"where": {"run": "c"}},
            "file: has no rows where {'run': 'c'} (values here, one by one: run: a, b)",
        ),
    ],
)
def test_what_a_csv_file_cannot_give_is_refused(
    tmp_path: Path, options: dict[str, object], complaint: str
) -> None:
    path = write(tmp_path, CSV)
    with pytest.raises(InputError) as error:
        read_trace(path, **options)  # type: ignore[arg-type]
    assert str(error.value).startswith(f"{path}: {complaint}")


def test_a_csv_row_of_another_width_or_without_values_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "seq_num,throughput_mbps\n0,10\n1,10,3\n\n3,5\n")
    assert [line.split(": ")[1] for line in refused(path).splitlines()] == ["row 3", "row 4"]


@pytest.mark.parametrize(
    "content",
    [
        "TIMESTAMP,N\n2023-11-16 18:17:03.9799600,8\n2023-11-16 18:17:04.0799600,8\n2023-11-16 18:17:05,8\n",
        "0.0\n0.1\n1.02004\n",
        "2023\n2023.1\n2024.02004\n",
    ],
)
def test_arrival_times_count_from_the_first(tmp_path: Path, content: str) -> None:
    assert read_arrivals(write(tmp_path, content)) == pytest.approx([0.0, 0.1, 1.02004], abs=1e-5)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("TIMESTAMP\n2023-11-16 18:17:03\n2023-11-16 18:17:02\n", "row 3: TIMESTAMP is"),
        ("TIMESTAMP\n2023-11-16 18:17:03\nyesterday\n", "row 3: TIMESTAMP is 'yesterday'"),
        ("TIMESTAMP\n2023-11-16 18:17:03\n\n2023-11-16 18:17:04\n", "row 3: is empty"),
        ("0\n2\n1\n", "row 3: seconds is 1, out of order after 2 in row 2"),
        ("0\n\n1\n", "row 2: seconds is empty"),
        ("1\n1\n", "file: spans no time"),
        ("1\n", "file: spans no time"),
    ],
)
def test_arrival_times_that_cannot_be_true_are_refused(tmp_path: Path, content: str, complaint: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(InputError) as error:
        read_arrivals(path)
    assert str(error.value).startswith(f"{path}: {complaint}")


@pytest.mark.parametrize("kind", SYNTHETIC_KINDS)
def test_a_synthetic_link_says_so_and_its_seed_is_all_there_is_to_it(kind: str) -> None:
    trace, same, other = (synthetic_trace(seed, 600, kind) for seed in (1, 1, 2))  # type: ignore[arg-type]
    assert trace.source == f"synthetic {kind}, seed 1"
    assert np.array_equal(trace.mbps, same.mbps)
    assert not np.array_equal(trace.mbps, other.mbps)
    assert len(trace.mbps) == trace.duration_s == 600
    assert trace.mbps.min() >= 0


def test_a_driving_link_has_outages_and_a_standing_one_has_none() -> None:
    down = {
        kind: [(synthetic_trace(seed, 600, kind).mbps == 0).mean() for seed in range(20)]
        for kind in SYNTHETIC_KINDS
    }  # type: ignore[arg-type]
    assert max(down["static"]) == 0
    assert 0.01 < np.mean(down["driving"]) < 0.1
    assert 0.001 < np.mean(down["walking"]) < 0.1


def test_links_are_read_from_where_the_clients_say(tmp_path: Path) -> None:
    write(tmp_path, "0 10\n1 20\n")
    links = (
        Link(trace="trace"),
        Link(trace="trace", offset_s=1.0),
        Link(mbps=3.0),
        Link(synthetic="static", seed=4),
    )
    clients = tuple(
        Client(
            id=str(number),
            model="net",
            device=Device(slowdown=2.0),
            link=link,
            frame_rate_rps=1.0,
            slo_ms=1.0,
        )
        for number, link in enumerate(links)
    )
    found = read_links(Clients(clients=clients), tmp_path)
    assert found["0"] is found["1"]
    assert found["0"].mbps.tolist() == [10.0, 20.0]
    assert found["2"].mbps_at(5) == 3.0
    assert np.array_equal(found["3"].mbps, synthetic_trace(4, kind="static").mbps)


@recorded
@pytest.mark.parametrize("path", LUMOS, ids=lambda path: path.name)
def test_the_recorded_lumos5g_traces_are_read(path: Path) -> None:
    trace = read_trace(path)
    assert len(trace.mbps) == len(path.read_text().splitlines()) > 200
    assert 0 <= trace.mbps.min() < trace.mbps.max() < 2000


@recorded
def test_the_recorded_5gophers_files_are_read() -> None:
    folder = DATA / "5gophers"
    assert len(read_trace(folder / "walking-trace.csv").mbps) == 603
    for name in ("car-driving-trace-1.csv", "car-driving-trace-2.csv"):
        for carrier in ("Sprint", "TMobile", "Verizon"):
            assert len(read_trace(folder / name, column=f"{carrier}_throughput_mbps").mbps) == 120
    run = {"carrier": "SPRINT", "num_tcp_conn": "1", "server_location": "US-East", "run_num": "1"}
    assert len(read_trace(folder / "throughput.csv", where=run).mbps) == 60
    with pytest.raises(InputError, match="row 62: seq_num is 0, out of order"):
        read_trace(folder / "throughput.csv")
    rtts = read_rtts(folder / "rtt.csv")
    assert len(rtts) == 720
    assert len(read_rtts(folder / "rtt.csv", where={"carrier": "SPRINT"})) == 240
    assert 20 < rtts.min() < rtts.max() < 200


@recorded
def test_the_recorded_arrivals_are_read() -> None:
    arrivals = read_arrivals(DATA / "azure" / "AzureLLMInferenceTrace_code.csv")
    assert len(arrivals) == 8819
    assert arrivals[0] == 0
    assert 3400 < arrivals[-1] < 3600
