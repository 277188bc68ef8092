"""Recorded profiles and requests: read exactly, and every row that cannot be true is named by number."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from planner import formats
from planner.errors import InputError
from planner.planning import make_plan
from planner.profile import Profile
from planner.recordings import read_openb_nodes, read_openb_requests, read_parvagpu
from planner.workload import Fragment, Workload

DATA = Path(os.environ.get("REGRAFT_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
recorded = pytest.mark.skipif(
    not (DATA / "parvagpu").is_dir() or not (DATA / "openb").is_dir(),
    reason="the recorded data is not at hand (../shared/data or REGRAFT_DATA)",
)

PARVAGPU = "Mig instance,Batch size,Workload Number,Throughput,Latency\n"
PODS = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec\n"
NODES = "sn,cpu_milli,memory_mib,gpu,model\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "net.csv"
    path.write_text(text)
    return path


def complaints(error: pytest.ExceptionInfo[InputError]) -> list[str]:
    return [str(complaint) for complaint in error.value.complaints]


def test_a_measured_model_becomes_a_profile_of_one_layer(tmp_path: Path) -> None:
    rows = "1,1,1,100.0,0.01\n1,2,1,0.0,0.0\n7,1,1,400.0,0.003\n7,2,1,500,0.004\n7,1,2,300.0,0.003\n"
    profile = read_parvagpu(written(tmp_path, PARVAGPU + rows))
    assert (profile.model, profile.layers, profile.batches) == ("net", ("whole",), (1, 2))
    assert profile.shares == (14.2857, 99.9999)
    # Finer than the recorded latency: batch / throughput. What did not run was not measured.
    assert profile.latency_ms == (((10.0, 2.5), (None, 4.0)),)
    assert formats.parse(Profile, formats.dumps(profile), source="x") == profile
    together = read_parvagpu(written(tmp_path, PARVAGPU + rows), processes=2)
    assert (together.shares, together.latency_ms) == ((49.9996,), (((1000 / 300,),),))


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("5.5,1,1,100.0,0.01", "row 3: Mig instance is 5.5 (expected a whole number, 1 to 7)"),
        ("8,1,1,100.0,0.01", "row 3: Mig instance is 8 (expected a whole number, 1 to 7)"),
        ("2,0,1,100.0,0.01", "row 3: Batch size is 0 (expected a whole number, 1 to 65536)"),
        ("2,1,1,-3,0.01", "row 3: Throughput is -3 (expected 0 to 1e+09)"),
        ("2,1,1,fast,0.01", "row 3: Throughput is 'fast' (expected a number)"),
        ("2,1,1,,0.01", "row 3: Throughput is empty (expected a number)"),
        ("2,1,1,100.0", "row 3: has 4 columns (expected 5 columns as in row 1)"),
        ("2,1,1,100.0,0.5", "row 3: Latency is 0.5 s, but Throughput says 10.0 ms (batch / throughput)"),
        (
            "2,1,1,0,0.5",
            "row 3: Latency is 0.5 s, but Throughput says that it did not run (batch / throughput)",
        ),
        ("1,1,1,100.0,0.01", "row 3: measures 1 parts at batch 1 again, after row 2 (once each)"),
    ],
)
def test_a_row_of_a_measured_model_that_cannot_be_true_is_named(
    tmp_path: Path, row: str, complaint: str
) -> None:
    with pytest.raises(InputError) as error:
        read_parvagpu(written(tmp_path, f"{PARVAGPU}1,1,1,100.0,0.01\n{row}\n3,1,1,50,0.02\n"))
    assert complaints(error) == [complaint]


def test_a_model_that_was_not_measured_with_so_many_processes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no measurement of 3 processes in a slice"):
        read_parvagpu(written(tmp_path, PARVAGPU + "1,1,1,100.0,0.01\n"), processes=3)


def test_pods_that_ask_for_gpus_are_read_in_their_order(tmp_path: Path) -> None:
    rows = "a,1,1,0,0,\nb,1,1,1,470,\nc,1,1,2,1000,V100M16\n"
    found = read_openb_requests(written(tmp_path, PODS + rows))
    assert [(item.name, item.gpus, item.share_pct, item.row) for item in found] == [
        ("b", 1, 47.0, 3),
        ("c", 2, 100.0, 4),
    ]


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("b,1,1,1,1001,", "row 3: gpu_milli is 1001 (expected a whole number, 0 to 1000)"),
        ("b,1,1,1,0,", "row 3: asks for 0 thousandths of 1 GPUs (none, or some of each)"),
        ("b,1,1,0,500,", "row 3: asks for 500 thousandths of 0 GPUs (none, or some of each)"),
        ("b,1,1,one,500,", "row 3: num_gpu is 'one' (expected a number)"),
        ("", "row 3: is empty (expected 6 columns as in row 1)"),
    ],
)
def test_a_request_that_cannot_be_true_is_named(tmp_path: Path, row: str, complaint: str) -> None:
    with pytest.raises(InputError) as error:
        read_openb_requests(written(tmp_path, f"{PODS}a,1,1,1,470,\n{row}\nc,1,1,1,470,\n"))
    assert complaints(error) == [complaint]


def test_nodes_have_gpus_of_one_type(tmp_path: Path) -> None:
    [node] = read_openb_nodes(written(tmp_path, NODES + "n0,64000,262144,2,P100\n"))
    assert (node.name, node.gpus, node.type) == ("n0", 2, "P100")
    with pytest.raises(InputError) as error:
        read_openb_nodes(written(tmp_path, NODES + "n0,1,1,0,P100\nn1,1,1,2,\n"))
    assert complaints(error) == [
        "row 2: gpu is 0 (expected a whole number, 1 to 1000)",
        "row 3: model is empty (expected the type of its GPUs)",
    ]


@pytest.mark.parametrize("reader", [read_parvagpu, read_openb_requests, read_openb_nodes])
def test_a_file_of_another_kind_is_refused_with_the_column_it_lacks(tmp_path: Path, reader) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match="row 1: has no column"):
        reader(written(tmp_path, "seconds,mbps\n0,1\n"))


@recorded
def test_the_recorded_models_can_be_planned_for() -> None:
    for name in ("bert", "mobilenetv2", "resnet50", "vgg19"):
        profile = read_parvagpu(DATA / "parvagpu" / "prof_data" / f"{name}.csv")
        assert len(profile.batches) == 9
        assert len(profile.shares) == 5
        fragment = Fragment(id="f", model=name, start=0, budget_ms=100.0, rate_rps=50.0)
        plan = make_plan(Workload(fragments=(fragment,)), [profile], strategy="graft")
        assert plan.objective.share < 100


@recorded
def test_the_recorded_requests_are_all_read() -> None:
    requests = read_openb_requests(DATA / "openb" / "openb_pod_list_gpushare100.csv")
    assert len(requests) == 7064
    assert round(sum(request.share_pct for request in requests)) == 395_267
    nodes = read_openb_nodes(DATA / "openb" / "openb_node_list_gpu_node.csv")
    assert (len(nodes), sum(node.gpus for node in nodes)) == (1213, 6212)
