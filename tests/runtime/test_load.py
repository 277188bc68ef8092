"""The load generator: it sends what it was told to, and its score can be trusted."""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from planner.errors import InputError
from runtime.load import Sample, drive, parse_spec, percentile, prepare
from runtime.load_client import GatewayClient
from tests.runtime.cluster import (
    REPOSITORY,
    SLOW,
    TINY,
    Process,
    answer_of,
    assignment_of,
    cluster_in,
    ready,
    route,
    stage,
    wait_for,
)
from tests.runtime.tiny_models import PAUSE_S

CLIENT = {"fragment": "phone-0", "model": TINY, "start": 1, "rate_rps": 50.0, "budget_ms": 5000.0}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with cluster_in(tmp_path_factory.mktemp("load")) as cluster:
        stages = [stage("s", TINY, 1, 3), stage("slow", SLOW, 0, 3, batch=2)]
        routes = [route("phone-0", TINY, 1, ["s"]), route("phone-1", SLOW, 0, ["slow"])]
        cluster.service.assign(node_a=assignment_of(1, stages, routes))
        gateway = cluster.gateway(cluster.agent())
        wait_for(lambda: ready(gateway), what="routed generation")
        yield gateway


def spec_of(gateway: str, *clients: dict[str, Any], **options: Any) -> bytes:
    return json.dumps({"gateway": gateway, "seconds": 1, "clients": clients or [CLIENT], **options}).encode()


def sent(gateway: str, *clients: dict[str, Any], **options: Any) -> dict[str, Any]:
    spec = parse_spec(spec_of(gateway, *clients, **options), source="test")
    return asyncio.run(drive(spec, prepare(spec)))


@pytest.mark.parametrize("arrivals", ["paced", "poisson"])
def test_it_sends_at_the_rate_asked_and_reports_how_it_went(gateway: Process, arrivals: str) -> None:
    result = sent(gateway.url, seconds=2, arrivals=arrivals)
    [client] = result["clients"]
    if arrivals == "paced":
        assert client["sent"] in (99, 100, 101)
    else:
        assert 60 < client["sent"] < 140
    assert client["answered"] == client["sent"]
    assert client["on_time"] == client["gateway_on_time"] == client["answered"]
    assert client["on_time_fraction"] == 1.0
    assert (client["wrong"], client["errors"], client["dropped"], client["refused"]) == (0, 0, 0, 0)
    assert 0 < client["max_abs_error"] < 1e-3 or client["max_abs_error"] == 0.0
    assert 0 < client["gateway_p50_ms"] <= client["gateway_p99_ms"]
    assert client["gateway_p50_ms"] < client["p50_ms"] <= client["p99_ms"]
    [of_stage] = client["stages"]
    assert of_stage["stage"] == "s"
    assert of_stage["requests"] == client["answered"]
    assert of_stage["exec_ms"] > 0
    assert result["totals"]["sent"] == client["sent"]


def test_the_collector_does_not_walk_through_what_was_there_before_while_it_sends(
    gateway: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen: list[int] = []

    class Client(GatewayClient):
        def close(self) -> None:
            frozen.append(gc.get_freeze_count())
            super().close()

    monkeypatch.setattr("runtime.load.GatewayClient", Client)
    everything = len(gc.get_objects())
    sent(gateway.url)
    assert frozen[-1] > everything / 2
    assert gc.get_freeze_count() == 0


def test_the_same_seed_sends_at_the_same_times(gateway: Process) -> None:
    counts = [
        sent(gateway.url, arrivals="poisson", seed=seed, check=False)["totals"]["sent"] for seed in (1, 1, 2)
    ]
    assert counts[0] == counts[1]


def test_it_sends_at_given_times_and_keeps_a_record_of_each_request(gateway: Process) -> None:
    times_s = [0.1, 0.11, 0.5, 0.9]
    result = sent(gateway.url, {**CLIENT, "times_s": times_s}, records=True)
    [client] = result["clients"]
    assert client["sent"] == client["answered"] == 4
    assert "times_s" not in client
    records = sorted(client["records"])
    for (at_s, status, latency_ms, gateway_ms, stages), planned_s in zip(records, times_s, strict=True):
        # Never early; late only as far as this machine is busy.
        assert planned_s - 0.002 < at_s < planned_s + 2
        assert status == 200
        assert 0 < gateway_ms < latency_ms
        [[name, queue_ms, exec_ms, batch]] = stages
        assert (name, batch >= 1) == ("s", True)
        assert queue_ms >= 0 < exec_ms
    assert "records" not in sent(gateway.url)["clients"][0]


def test_it_does_not_wait_for_answers(gateway: Process) -> None:
    # Two a batch of PAUSE_S: this is twice what the stage can do, and late ones are dropped.
    rate_rps = 4 / PAUSE_S
    client = {
        **CLIENT,
        "fragment": "phone-1",
        "model": SLOW,
        "start": 0,
        "rate_rps": rate_rps,
        "budget_ms": 150.0,
    }
    result = sent(gateway.url, client, seconds=2)
    assert result["totals"]["sent"] == pytest.approx(2 * rate_rps, abs=2)
    assert result["totals"]["dropped"] > 0.2 * result["totals"]["sent"]
    assert result["totals"]["answered"] + result["totals"]["dropped"] == result["totals"]["sent"]
    assert "504: dropped before stage slow" in result["clients"][0]["complaints"][0]


def test_a_wrong_answer_is_noticed(gateway: Process) -> None:
    spec = parse_spec(spec_of(gateway.url), source="test")
    samples = prepare(spec)
    first, second = samples[(TINY, 1)]
    assert first.expected is not None
    spoiled = first.expected + np.float32([[0.01 * np.abs(first.expected).max()] + [0.0] * 9])
    result = asyncio.run(drive(spec, {(TINY, 1): [Sample(first.tensor, spoiled), second]}))
    assert result["totals"]["wrong"] == result["totals"]["sent"] / 2
    assert result["totals"]["max_abs_error"] > 0


def test_phones_send_the_tensor_of_their_cut(gateway: Process) -> None:
    spec = parse_spec(spec_of(gateway.url), source="test")
    for sample in prepare(spec)[(TINY, 1)]:
        assert sample.expected is not None
        np.testing.assert_allclose(sample.expected, answer_of(TINY, 1, sample.tensor), rtol=1e-4, atol=1e-5)


def test_a_fragment_that_is_not_served_counts_as_an_error(gateway: Process) -> None:
    result = sent(gateway.url, {**CLIENT, "fragment": "phone-9"})
    assert result["totals"]["errors"] == result["totals"]["sent"]
    assert "there is no fragment 'phone-9'" in result["clients"][0]["complaints"][0]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "file"),
        (b"[]", "file"),
        (spec_of("http://x", {**CLIENT, "rate_rps": 0}), "clients.0.rate_rps"),
        (spec_of("http://x", {**CLIENT, "speed": 1}), "clients.0.speed"),
        (spec_of("http://x", {**CLIENT, "times_s": [2.0, 1.0]}), "clients.0.times_s"),
        (spec_of("http://x", seconds="2"), "seconds"),
        (spec_of("http://x", arrivals="bursty"), "arrivals"),
    ],
)
def test_a_wrong_specification_is_refused_with_its_place(content: bytes, complaint: str) -> None:
    with pytest.raises(InputError, match=f"load.json: {complaint}"):
        parse_spec(content, source="load.json")


def test_the_command_writes_its_result_and_names_what_is_wrong(gateway: Process, tmp_path: Path) -> None:
    def run(content: bytes) -> tuple[int, str]:
        (tmp_path / "spec.json").write_bytes(content)
        code = "import typer; from runtime import commands_serve; typer.run(commands_serve.load)"
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                code,
                str(tmp_path / "spec.json"),
                "--output",
                str(tmp_path / "result.json"),
            ],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stderr

    assert run(spec_of(gateway.url))[0] == 0
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["format"] == "regraft.load-result/v1"
    assert result["totals"]["answered"] == result["totals"]["sent"]
    status, problem = run(spec_of("http://127.0.0.1:1"))
    assert status == 2
    assert "http://127.0.0.1:1" in problem


def test_a_cut_that_the_model_does_not_have_is_refused() -> None:
    spec = parse_spec(spec_of("http://127.0.0.1:1", {**CLIENT, "start": 3}), source="test")
    with pytest.raises(InputError, match=r"start 3 .*layers 0 to 2"):
        prepare(spec)


def test_percentiles_are_of_the_nearest_rank() -> None:
    values = [float(number) for number in range(1, 101)]
    assert percentile(values, 50) == 50
    assert percentile(values, 99) == 99
    assert percentile([7.0], 99) == 7
    assert percentile([], 50) is None


def test_help_comes_without_torch() -> None:
    code = "import sys; import runtime.commands_serve; assert not {'torch', 'uvloop'} & set(sys.modules)"
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True)
    assert time.monotonic() - began < 20
