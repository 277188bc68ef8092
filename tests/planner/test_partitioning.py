"""Phones become fragments: the promises of partitioning, whatever the phones and links."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner import formats
from planner.clients import Client, Clients, Device, Link
from planner.errors import InfeasibleError, InputError
from planner.partitioning import Choice, partition
from planner.profile import Profile
from planner.traces import Trace
from planner.workload import Gpu, Workload
from tests.profiles import make_profile

NET = make_profile("net", layers=8, memory=True, total_ms=40.0)
HOLES = make_profile("net", layers=8, memory=True, total_ms=40.0, null_cells=0.4, seed=3)


def make_client(**changes: Any) -> Client:
    client = {
        "id": "phone",
        "model": "net",
        "device": Device(slowdown=6.0),
        "link": Link(mbps=20.0),
        "frame_rate_rps": 5.0,
        "slo_factor": 0.9,
        **changes,
    }
    return Client(**client)  # type: ignore[arg-type]


def choose(client: Client, profile: Profile = NET, **options: Any) -> Choice:
    return partition(Clients(clients=(client,)), [profile], **options).choices[0]


PHONES = st.builds(
    make_client,
    device=st.one_of(
        st.floats(0.1, 50).map(lambda slowdown: Device(slowdown=slowdown)),
        st.lists(st.floats(0, 200), min_size=8, max_size=8).map(lambda ms: Device(latency_ms=tuple(ms))),
    ),
    link=st.floats(0, 500).map(lambda mbps: Link(mbps=mbps)),
    rtt_ms=st.floats(0, 200),
    frame_rate_rps=st.floats(0.01, 100),
    slo_factor=st.floats(0.1, 5),
    min_cut=st.integers(0, 8),
)
PROFILES = st.sampled_from([NET, HOLES])


@given(PHONES, PROFILES)
def test_no_cut_a_client_may_take_is_faster_than_the_chosen_one(client: Client, profile: Profile) -> None:
    choice = choose(client, profile)
    latencies = {other.cut: other.latency_ms for other in choice.alternatives}
    assert set(latencies) == set(range(client.min_cut, 9))
    assert choice.latency_ms == latencies[choice.cut]
    assert choice.latency_ms == min(latency for latency in latencies.values() if latency is not None)
    assert choice.latency_ms == choice.least_latency_ms


@given(PHONES, PROFILES)
def test_budget_phone_and_upload_make_up_the_slo(client: Client, profile: Profile) -> None:
    choice = choose(client, profile)
    if choice.status == "offloaded":
        assert choice.budget_ms is not None
        assert choice.upload_ms is not None
        assert choice.budget_ms > 0
        assert choice.budget_ms + choice.device_ms + choice.upload_ms == pytest.approx(
            choice.slo_ms, rel=1e-12
        )
    else:
        assert choice.budget_ms is None


@given(PHONES, PROFILES)
def test_a_fragment_leaves_time_for_an_idle_server(client: Client, profile: Profile) -> None:
    choice = choose(client, profile)
    if choice.status == "offloaded":
        assert choice.server_ms is not None
        assert choice.server_ms <= choice.budget_ms * (1 + 1e-9)  # type: ignore[operator]
        assert choice.latency_ms <= choice.slo_ms  # type: ignore[operator]


@given(PHONES, PROFILES, st.floats(1, 10))
def test_more_bandwidth_never_makes_it_slower(client: Client, profile: Profile, factor: float) -> None:
    mbps = client.link.mbps or 0.0
    faster = replace(client, link=Link(mbps=mbps * factor))
    slow, fast = choose(client, profile), choose(faster, profile)
    assert fast.latency_ms <= slow.latency_ms  # type: ignore[operator]
    assert fast.cut <= slow.cut or fast.latency_ms == slow.latency_ms


@given(PHONES)
def test_the_link_never_sends_more_than_it_can(client: Client) -> None:
    choice = choose(client)
    if choice.status == "offloaded":
        sent_mbit = choice.rate_rps * NET.cut_bytes[choice.cut] * 8e-6  # type: ignore[operator,index]
        assert sent_mbit <= choice.mbps * (1 + 1e-9)
        assert choice.rate_rps <= client.frame_rate_rps  # type: ignore[operator]


@given(PHONES, st.floats(0.01, 1))
def test_a_weight_on_energy_saves_energy_and_keeps_the_slo(client: Client, weight: float) -> None:
    fastest, saving = choose(client), choose(replace(client, energy_weight=weight))
    assert (saving.status == "unservable") == (fastest.status == "unservable")
    if saving.status != "unservable":
        assert saving.latency_ms <= saving.slo_ms  # type: ignore[operator]
        assert saving.energy_mj <= fastest.energy_mj * (1 + 1e-9)  # type: ignore[operator]


def test_the_figures_are_those_of_the_formulas() -> None:
    profile = Profile(
        model="net",
        gpu="g",
        layers=("a", "b"),
        batches=(1, 2),
        shares=(50, 100),
        latency_ms=(((20.0, 10.0), (30.0, 16.0)), ((8.0, 4.0), (None, 7.0))),
        stage_overhead_ms=1.0,
        cut_bytes=(100_000, 25_000, 400),
    )
    client = make_client(
        device=Device(slowdown=5.0, compute_w=3.0, transmit_w=2.0), link=Link(mbps=8.0), rtt_ms=10.0
    )
    # phone: 50 + 20 ms; upload 10 + 100 or 10 + 25 ms; server 1 + 14 or 1 + 4 ms
    choice = choose(replace(client, slo_factor=2.0, frame_rate_rps=50.0), profile)
    assert [
        (other.device_ms, other.upload_ms, other.server_ms, other.latency_ms) for other in choice.alternatives
    ] == [
        (0.0, 110.0, 15.0, 125.0),
        (50.0, 35.0, 5.0, 90.0),
        (70.0, 0.0, 0.0, 70.0),
    ]
    assert [other.energy_mj for other in choice.alternatives] == [200.0, 200.0, 210.0]
    assert (choice.status, choice.cut, choice.slo_ms) == ("local", 2, 140.0)
    offloaded = choose(
        replace(client, slo_factor=None, slo_ms=100.0, fixed_cut=1, frame_rate_rps=50.0), profile
    )
    assert (offloaded.status, offloaded.cut, offloaded.budget_ms, offloaded.rate_rps) == (
        "offloaded",
        1,
        15.0,
        40.0,
    )


def test_of_equally_fast_cuts_the_one_that_leaves_the_server_least_is_taken() -> None:
    profile = replace(
        NET,
        latency_ms=(((0.0,),),) * 8,
        batches=(1,),
        shares=(100,),
        stage_overhead_ms=0.0,
        cut_bytes=(0,) * 9,
    )
    assert choose(make_client(slo_factor=None, slo_ms=1.0), profile).cut == 8


def test_without_a_link_the_phone_runs_all_of_it_if_it_can() -> None:
    down = make_client(link=Link(mbps=0.0))
    alone = choose(replace(down, slo_factor=1.1))
    assert (alone.status, alone.cut, alone.reason) == ("local", 8, None)
    cannot = choose(down)
    assert (cannot.status, cannot.reason) == ("unservable", "link_down")
    assert choose(replace(down, fixed_cut=2)).reason == "link_down"


def test_a_promise_no_cut_can_keep_is_reported_with_what_it_would_take() -> None:
    hopeless = make_client(slo_factor=None, slo_ms=3.0)
    choice = choose(hopeless)
    assert (choice.status, choice.reason) == ("unservable", "slo_too_small")
    assert choose(replace(hopeless, slo_ms=choice.least_latency_ms)).status != "unservable"
    with pytest.raises(InfeasibleError) as error:
        partition(Clients(clients=(hopeless,)), [NET]).workload()
    assert error.value.reasons[0].detail["least_latency_ms"] == choice.least_latency_ms
    assert str(error.value).startswith("no cut keeps the promises of ")


def test_phones_that_need_no_server_are_not_called_broken_promises() -> None:
    alone = replace(make_client(link=Link(mbps=0.0)), slo_factor=1.1)
    with pytest.raises(
        InfeasibleError, match="nothing to plan: the whole model is fastest on the phone for "
    ):
        partition(Clients(clients=(alone,)), [NET]).workload()
    broken = replace(alone, id="other", slo_factor=None, slo_ms=3.0)
    with pytest.raises(InfeasibleError, match="1 need no server, no cut serves the others of "):
        partition(Clients(clients=(alone, broken)), [NET]).workload()


def test_a_fixed_cut_is_kept_whatever_the_link_does() -> None:
    client = make_client(fixed_cut=3, slo_factor=5.0)
    assert [choose(replace(client, link=Link(mbps=mbps))).cut for mbps in (1.0, 50.0, 5000.0)] == [3, 3, 3]
    assert choose(client, fixed_cuts={"net": 5}).cut == 5


def test_a_phone_that_keeps_its_first_layers_to_itself_never_cuts_before_them() -> None:
    fast_link = make_client(link=Link(mbps=1000.0))
    assert choose(fast_link).cut == 0
    assert choose(replace(fast_link, min_cut=4)).cut == 4


def test_the_cut_follows_the_link_over_time() -> None:
    client = make_client(link=Link(synthetic="walking", seed=1, offset_s=1.0, scale=0.5), slo_factor=3.0)
    trace = Trace(seconds=np.array([0.0, 1.0, 2.0]), mbps=np.array([7.0, 1000.0, 0.0]), source="by hand")
    found = [choose(client, at_s=moment, links={"phone": trace}) for moment in (0.0, 1.0, 2.0)]
    assert [choice.mbps for choice in found] == [500.0, 0.0, 3.5]
    assert [choice.cut for choice in found] == [0, 8, 5]
    assert found[0].scale == 0.5


def test_a_cut_whose_layers_were_nowhere_measured_together_is_not_taken() -> None:
    cells = [[list(row) for row in layer] for layer in NET.latency_ms]
    for batch in range(len(NET.batches)):
        cells[5][batch][-1] = None
        cells[6][batch][:-1] = [None] * (len(NET.shares) - 1)
    profile = replace(NET, latency_ms=tuple(tuple(tuple(row) for row in layer) for layer in cells))
    choice = choose(make_client(link=Link(mbps=1000.0)), profile)
    assert [other.cut for other in choice.alternatives if other.latency_ms is None] == [0, 1, 2, 3, 4, 5]
    assert choice.cut == 6


def test_the_fastest_gpu_type_is_what_a_phone_counts_on() -> None:
    quick = replace(make_profile("net", layers=8, memory=True, total_ms=4.0), gpu="quick")
    both = partition(Clients(clients=(make_client(),)), [NET, quick]).choices[0]
    alone = choose(make_client(), replace(quick))
    assert both.server_ms == choose(make_client(fixed_cut=both.cut), quick).server_ms
    assert both.slo_ms == choose(make_client()).slo_ms != alone.slo_ms


def test_the_workload_can_be_written_and_has_the_gpus_of_the_clients(tmp_path: Path) -> None:
    clients = Clients(
        clients=tuple(
            make_client(id=f"p{number}", device=Device(slowdown=4.0 + number)) for number in range(4)
        ),
        gpus=(Gpu(id="g0", type="v100", memory_mb=16000.0),),
    )
    found = partition(clients, [NET])
    formats.write(found.workload(), tmp_path / "workload.json")
    workload = formats.read(Workload, tmp_path / "workload.json")
    assert workload == found.workload()
    assert workload.gpus == clients.gpus
    assert [fragment.id for fragment in workload.fragments] == [
        choice.client for choice in found.choices if choice.status == "offloaded"
    ]


@pytest.mark.parametrize(
    ("client", "profile", "complaint"),
    [
        (
            make_client(model="other"),
            NET,
            "clients[0].model: no profile of 'other' was given (profiles given: net)",
        ),
        (make_client(fixed_cut=9), NET, "clients[0].fixed_cut: is 9, but net has 8 layers (0 to 8)"),
        (make_client(min_cut=9), NET, "clients[0].min_cut: is 9"),
        (
            make_client(device=Device(latency_ms=(1.0, 2.0))),
            NET,
            "clients[0].device.latency_ms: has 2 entries (expected one for each of the 8 layers)",
        ),
        (
            make_client(),
            make_profile("net", batches=(2, 4), memory=True),
            "clients[0].device.slowdown: scales the profile's latency at batch 1, but layer 0 has none",
        ),
        (make_client(), make_profile("net"), "profile of net: has no cut_bytes"),
    ],
)
def test_clients_that_do_not_fit_the_profiles_are_refused(
    client: Client, profile: Profile, complaint: str
) -> None:
    with pytest.raises(InputError) as error:
        choose(client, profile)
    assert complaint in str(error.value)


@pytest.mark.parametrize("at_s", [-1.0, math.inf, math.nan])
def test_a_moment_outside_time_is_refused(at_s: float) -> None:
    with pytest.raises(InputError, match="at_s"):
        choose(make_client(), at_s=at_s)


@settings(max_examples=20)
@given(PHONES)
def test_the_same_clients_make_the_same_workload(client: Client) -> None:
    assert choose(client) == choose(client)
