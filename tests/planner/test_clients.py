"""The CLIENTS file, the example fleet, and `regraft partition` on files."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from planner import formats
from planner.clients import Clients
from planner.commands_offline import partition as partition_command
from planner.errors import InputError
from planner.fleet import example_clients
from planner.partitioning import partition
from planner.profile import Profile
from planner.workload import Gpu, Workload
from tests.profiles import make_profile

ROOT = Path(__file__).parents[2]
PHONE: dict[str, Any] = {
    "id": "phone-7",
    "model": "net",
    "device": {"name": "an old phone", "slowdown": 6.0},
    "link": {"mbps": 20.0},
    "rtt_ms": 20,
    "slo_factor": 0.9,
    "frame_rate_rps": 5,
}


def parse(*phones: dict[str, Any], **more: Any) -> Clients:
    document = {"format": "regraft.clients/v1", "clients": list(phones), **more}
    return formats.parse(Clients, json.dumps(document).encode(), source="clients.json")


def test_a_clients_file_is_read_and_written_as_it_was() -> None:
    clients = parse(
        PHONE,
        {
            **PHONE,
            "id": "b",
            "device": {"latency_ms": [1, 2.5]},
            "link": {"trace": "walk", "scale": 0.2, "offset_s": 9},
        },
        {
            **PHONE,
            "id": "c",
            "link": {"synthetic": "driving", "seed": 3},
            "fixed_cut": 4,
            "energy_weight": 0.5,
        },
        at_s=12.5,
        gpus=[{"id": "g", "type": "cpu", "memory_mb": 100}],
    )
    assert clients.at_s == 12.5
    assert clients.clients[1].device.latency_ms == (1.0, 2.5)
    assert [client.link.factor for client in clients.clients] == [1.0, 0.2, 0.1]
    again = formats.parse(Clients, formats.dumps(clients), source="again")
    assert again == clients
    assert "null" not in formats.dumps(clients).decode()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            {"device": {}},
            "clients[0].device: has none of slowdown, latency_ms (exactly one of slowdown, latency_ms)",
        ),
        (
            {"device": {"slowdown": 2.0, "latency_ms": [1.0]}},
            "clients[0].device: has slowdown and latency_ms",
        ),
        ({"device": {"slowdown": 0}}, "clients[0].device.slowdown: is 0"),
        ({"device": {"slowdown": "6"}}, "clients[0].device.slowdown: is '6'"),
        ({"link": {}}, "clients[0].link: has none of trace, mbps, synthetic"),
        ({"link": {"mbps": 2.0, "trace": "t"}}, "clients[0].link: has trace and mbps"),
        ({"link": {"mbps": -2.0}}, "clients[0].link.mbps: is -2.0"),
        ({"link": {"mbps": 2.0, "scale": 0.1}}, "clients[0].link.scale: stands there beside mbps"),
        ({"link": {"mbps": 2.0, "seed": 1}}, "clients[0].link.seed: stands there without synthetic"),
        ({"link": {"mbps": 2.0, "column": "x"}}, "clients[0].link.column: stands there without trace"),
        ({"link": {"synthetic": "driving"}}, "clients[0].link.seed: is required"),
        ({"link": {"synthetic": "flying", "seed": 1}}, "clients[0].link.synthetic: is 'flying'"),
        ({"slo_ms": 250}, "clients[0]: has slo_ms and slo_factor (exactly one of slo_ms, slo_factor)"),
        ({"slo_factor": None}, "clients[0]: has none of slo_ms, slo_factor"),
        ({"frame_rate_rps": 0}, "clients[0].frame_rate_rps: is 0"),
        ({"energy_weight": 2}, "clients[0].energy_weight: is 2"),
        ({"fixed_cut": 1, "min_cut": 2}, "clients[0].fixed_cut: is 1 (at least min_cut, which is 2)"),
        ({"bandwidth": 2}, "clients[0].bandwidth: unknown field"),
        ({"id": ""}, "clients[0].id: is ''"),
    ],
)
def test_a_phone_that_makes_no_sense_is_refused_by_its_place(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError) as error:
        parse({**PHONE, **change})
    assert str(error.value).startswith(f"clients.json: {complaint}")
    assert "\n" not in str(error.value)


def test_an_id_is_given_once() -> None:
    with pytest.raises(InputError, match=r"clients\[1\].id: 'phone-7' is already used by clients\[0\]"):
        parse(PHONE, PHONE)


@pytest.fixture(scope="module")
def profiles() -> list[Profile]:
    return [
        make_profile("small", gpu="cpu", layers=12, total_ms=50.0, memory=True, seed=1),
        make_profile("large", gpu="cpu", layers=8, total_ms=400.0, memory=True, seed=2),
    ]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_example_fleet_mostly_offloads_at_several_cuts_of_each_model(
    profiles: list[Profile], seed: int
) -> None:
    fleet = example_clients(profiles, count=24, seed=seed)
    found = partition(fleet, profiles)
    assert Counter(client.model for client in fleet.clients) == {"small": 12, "large": 12}
    assert found.count("offloaded") >= 22
    for model in ("small", "large"):
        fragments = [fragment for fragment in found.fragments() if fragment.model == model]
        assert len({fragment.start for fragment in fragments}) >= 3
    slowdowns = {client.device.slowdown for client in fleet.clients}
    assert len(slowdowns) > 12
    assert all(4 <= (slowdown or 0) <= 10 for slowdown in slowdowns)
    assert all(choice.link.startswith("synthetic") for choice in found.choices)


def test_the_example_fleet_is_what_was_asked_for(profiles: list[Profile], tmp_path: Path) -> None:
    traces = [tmp_path / "a", tmp_path / "b"]
    for trace in traces:
        trace.write_text("".join(f"{second} {300 + second}\n" for second in range(60)))
    gpu = Gpu(id="g", type="cpu", memory_mb=1000.0)
    asked: dict[str, Any] = {
        "counts": {"large": 5},
        "frame_rates_rps": {"large": 0.25},
        "gpus": [gpu],
        "seed": 4,
    }
    fleet = example_clients(profiles, traces, **asked)
    assert fleet == example_clients(profiles, traces, **asked)
    assert [client.frame_rate_rps for client in fleet.clients] == [0.25] * 5
    assert [Path(client.link.trace or "").name for client in fleet.clients] == ["a", "b", "a", "b", "a"]
    assert len({client.link.offset_s for client in fleet.clients}) > 2
    assert fleet.gpus == (gpu,)
    with pytest.raises(InputError, match="no profile of 'huge' was given"):
        example_clients(profiles, counts={"huge": 1})


def test_the_committed_example_can_be_partitioned() -> None:
    clients = formats.read(Clients, ROOT / "examples" / "clients.json")
    models = Counter(client.model for client in clients.clients)
    made = [make_profile(model, gpu="cpu", layers=14, total_ms=60.0, memory=True) for model in models]
    assert partition(clients, made).count("offloaded") > 0


@pytest.fixture
def folder(profiles: list[Profile], tmp_path: Path) -> Path:
    (tmp_path / "trace").write_text("0 200\n10 400\n20 0\n")
    for profile in profiles:
        formats.write(profile, tmp_path / f"{profile.model}.json")
    fleet = example_clients(profiles, [tmp_path / "trace"], count=8, headroom=2.5)
    document = formats.to_json(fleet)
    for client in document["clients"]:
        client["link"] = {"trace": "trace", "scale": 0.1}
    (tmp_path / "clients.json").write_text(json.dumps(document))
    return tmp_path


def regraft(folder: Path, *arguments: str) -> Result:
    """Run the command in this process, from another folder than the files'."""
    app = typer.Typer()
    app.command()(partition_command)
    given = [
        str(folder / word) if word.endswith((".json", "moments")) or word == "s" else word
        for word in arguments
    ]
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, given)


PROFILES = ("--profile", "small.json", "--profile", "large.json")


def test_the_command_writes_a_workload_and_a_report(folder: Path) -> None:
    done = regraft(folder, "clients.json", *PROFILES, "--output", "workload.json", "--report", "report.json")
    assert done.exit_code == 0, done.stderr
    workload = formats.read(Workload, folder / "workload.json")
    report = json.loads((folder / "report.json").read_text())
    assert report["format"] == "regraft.partition/v1"
    assert report["offloaded"] == len(workload.fragments) > 0
    assert len(report["clients"]) == 8
    assert "8 recorded (times 0.1)" in done.stderr


def test_a_series_has_one_workload_a_moment_at_which_somebody_offloads(folder: Path) -> None:
    series = ("--series", "moments", "--every", "10", "--until", "40", "--report", "report.json")
    done = regraft(folder, "clients.json", *PROFILES, *series)
    assert done.exit_code == 0, done.stderr
    # the link is down from 20 s to 30 s, and then starts again
    assert sorted(path.name for path in (folder / "moments").iterdir()) == [
        "workload-00.json",
        "workload-10.json",
        "workload-30.json",
        "workload-40.json",
    ]
    again = [(folder / "moments" / f"workload-{at}.json").read_bytes() for at in ("00", "10", "30", "40")]
    assert again[0] == again[2] != again[1] == again[3]
    report = json.loads((folder / "report.json").read_text())
    assert [moment["at_s"] for moment in report["moments"]] == [0, 10, 20, 30, 40]
    assert report["moments"][2]["unservable"] == 8


def test_nobody_to_serve_is_exit_code_3_with_reasons_and_no_file(folder: Path) -> None:
    done = regraft(folder, "clients.json", *PROFILES, "--output", "workload.json", "--at", "20")
    assert done.exit_code == 3
    reasons = json.loads(done.stdout)["unplanned"]
    assert [reason["reason"] for reason in reasons] == ["link_down"] * 8
    assert not (folder / "workload.json").exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "neither was given"),
        (("--output", "w.json", "--series", "s"), "both were given"),
        (("--output", "w.json", "--until", "3"), "belongs to --series"),
        (("--series", "s", "--until", "30", "--every", "0"), "--every: is 0"),
        (("--series", "s", "--until", "30", "--every", "1e-9"), "more than 100000 moments"),
        (("--series", "s", "--until", "-1"), "--until: is -1"),
        (("--output", "w.json", "--fixed-cut", "x=3"), "--fixed-cut: is 'x=3'"),
        (("--output", "w.json", "--fixed-cut", "13"), "fixed_cuts: is 13 for small (0 to 12)"),
        (("--output", "w.json", "--at", "-3"), "at_s: is -3"),
        (("--output", "w.json", "--traces", "elsewhere"), "elsewhere/trace: file: No such file"),
    ],
)
def test_wrong_options_are_exit_code_2_with_the_cure(
    folder: Path, arguments: tuple[str, ...], complaint: str
) -> None:
    done = regraft(folder, "clients.json", *PROFILES, *arguments)
    assert done.exit_code == 2, done.stderr
    assert complaint in done.stderr
    assert not (folder / "w.json").exists()
    assert not (folder / "s").exists()


def test_all_clients_can_be_made_to_cut_at_one_place(folder: Path) -> None:
    cuts = ("--fixed-cut", "5", "--fixed-cut", "large=3")
    done = regraft(folder, "clients.json", *PROFILES, "--output", "workload.json", *cuts)
    assert done.exit_code == 0, done.stderr
    workload = formats.read(Workload, folder / "workload.json")
    assert {(fragment.model, fragment.start) for fragment in workload.fragments} <= {
        ("small", 5),
        ("large", 3),
    }
