"""Files are read strictly, refused with what, where and what would be right, and written whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from planner import formats
from planner.errors import InputError
from planner.plan import Plan
from planner.profile import Profile
from planner.workload import Workload

GOLDEN = Path(__file__).parent.parent / "formats"

WORKLOAD: dict[str, Any] = {
    "format": "regraft.workload/v1",
    "fragments": [{"id": "phone-7", "model": "resnet101", "start": 1, "budget_ms": 43.2, "rate_rps": 30.0}],
}
PROFILE: dict[str, Any] = {
    "format": "regraft.profile/v1",
    "model": "resnet101",
    "gpu": "v100",
    "layers": ["conv1", "layer1.0"],
    "batches": [1, 2],
    "shares": [25, 100],
    "latency_ms": [[[4.0, 1.0], [6.0, None]], [[8.0, 2.0], [12.0, 3.0]]],
}


def complaints(kind: type, document: Any) -> list[str]:
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    with pytest.raises(InputError) as caught:
        formats.parse(kind, content, source="given.json")
    return [str(complaint) for complaint in caught.value.complaints]


def changed(document: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**document, **changes}


def fragment(**changes: Any) -> dict[str, Any]:
    return changed(WORKLOAD, fragments=[{**WORKLOAD["fragments"][0], **changes}])


@pytest.mark.parametrize("variant", ["", "_exits"])
@pytest.mark.parametrize("kind", [Workload, Profile, Plan])
def test_a_golden_file_of_each_format_reads_and_writes_back_to_the_same_content(
    kind: type, variant: str, tmp_path: Path
) -> None:
    golden = GOLDEN / f"{kind.__name__.lower()}{variant}.json"
    document = formats.read(kind, golden)
    formats.write(document, tmp_path / "copy.json")
    assert json.loads((tmp_path / "copy.json").read_text()) == json.loads(golden.read_text())


def test_the_least_a_profile_needs_is_enough() -> None:
    profile = formats.parse(Profile, json.dumps(PROFILE).encode(), source="p")
    assert (profile.stage_overhead_ms, profile.context_mb, profile.cost_per_share) == (0.0, 0.0, 1.0)
    assert profile.cut_bytes is None


def test_the_digest_names_the_content_and_not_the_spelling() -> None:
    one = formats.parse(Workload, json.dumps(WORKLOAD).encode(), source="a")
    other = formats.parse(
        Workload, json.dumps(fragment(count=1, budget_ms=43.20), indent=4).encode(), source="b"
    )
    third = formats.parse(Workload, json.dumps(fragment(budget_ms=43.3)).encode(), source="c")
    assert formats.digest(one) == formats.digest(other) != formats.digest(third)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (b"", "file: is empty"),
        (b"{", "file: Invalid JSON"),
        (b"[" * 100_000, "file: Invalid JSON: recursion limit exceeded"),
        (b"\xff\xfe\x00", "file: Invalid JSON"),
        ([], "file: is a list (expected an object)"),
        ({"fragments": WORKLOAD["fragments"]}, 'format: is required (expected "regraft.workload/v1")'),
        (changed(WORKLOAD, format="regraft.plan/v1"), "format: is 'regraft.plan/v1'"),
        (changed(WORKLOAD, fragments=[]), "fragments: is empty"),
        (changed(WORKLOAD, gpus=[]), "gpus: is empty"),
        (changed(WORKLOAD, fragment=[]), "fragment: unknown field (known here: format, fragments, gpus)"),
        (fragment(budget=3), "fragments[0].budget: unknown field"),
        (fragment(budget_ms="43"), "fragments[0].budget_ms: is '43'"),
        (fragment(budget_ms=0), "fragments[0].budget_ms: is 0"),
        (fragment(budget_ms=float("nan")), "fragments[0].budget_ms: is nan"),
        (fragment(rate_rps=float("inf")), "fragments[0].rate_rps: is inf"),
        (fragment(rate_rps=-1), "fragments[0].rate_rps: is -1"),
        (fragment(start=True), "fragments[0].start: is True"),
        (fragment(start=1.5), "fragments[0].start: is 1.5"),
        (fragment(start=-1), "fragments[0].start: is -1"),
        (fragment(count=0), "fragments[0].count: is 0"),
        (fragment(id=""), "fragments[0].id: is ''"),
        (
            changed(WORKLOAD, fragments=WORKLOAD["fragments"] * 2),
            "fragments[1].id: 'phone-7' is already used",
        ),
    ],
)
def test_a_wrong_workload_is_refused_by_place(document: Any, expected: str) -> None:
    assert complaints(Workload, document)[0].startswith(expected)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"layers": []}, "layers: is empty"),
        ({"shares": [0, 100]}, "shares[0]: is 0"),
        ({"shares": [25, 101]}, "shares[1]: is 101"),
        ({"shares": [25, 25]}, "shares: 25 stands there 2 times"),
        ({"batches": [1, 1]}, "batches: 1 stands there 2 times"),
        ({"batches": [1, 2.5]}, "batches[1]: is 2.5"),
        (
            {"latency_ms": PROFILE["latency_ms"][:1]},
            "latency_ms: has 1 rows (expected one for each of the 2 layers)",
        ),
        ({"latency_ms": [[[1.0, 2.0]], [[1.0, 2.0], [1.0]]]}, "latency_ms[0]: has 1 rows"),
        (
            {"latency_ms": [[[1.0, -2.0], [1.0, 1.0]], PROFILE["latency_ms"][1]]},
            "latency_ms[0][0][1]: is -2.0",
        ),
        ({"cut_bytes": [1, 2]}, "cut_bytes: has 2 entries (expected 3)"),
        ({"weight_mb": [1.0]}, "weight_mb: has 1 entries (expected 2)"),
        ({"measured": {"error": [1.0, float("nan")]}}, "measured.error[1]: is not a finite number"),
        ({"cost_per_share": 0}, "cost_per_share: is 0"),
        ({"stage_overhead_ms": None}, "stage_overhead_ms: is None"),
    ],
)
def test_a_wrong_profile_is_refused_by_place(change: dict[str, Any], expected: str) -> None:
    assert complaints(Profile, changed(PROFILE, **change))[0].startswith(expected)


def test_all_complaints_come_at_once_but_never_endlessly() -> None:
    both = changed(fragment(start=-1, rate_rps=0), extra=1)
    assert len(complaints(Workload, both)) == 3
    endless = changed(WORKLOAD, fragments=[{**WORKLOAD["fragments"][0], "start": -1}] * 1000)
    assert len(complaints(Workload, endless)) == formats.MAX_COMPLAINTS


def test_a_missing_file_and_a_directory_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(InputError, match=str(path)):
            formats.read(Workload, path)


def test_a_file_over_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large.json"
    path.write_bytes(json.dumps(WORKLOAD).encode())
    monkeypatch.setattr(formats, "MAX_FILE_MB", 1e-5)
    with pytest.raises(InputError, match="REGRAFT_MAX_FILE_MB"):
        formats.read(Workload, path)


def test_two_profiles_for_the_same_model_and_gpu_are_refused(tmp_path: Path) -> None:
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text(json.dumps(PROFILE))
    with pytest.raises(InputError, match=r"b\.json.*already given by .*a\.json"):
        formats.read_profiles([tmp_path / "a.json", tmp_path / "b.json"])


def test_a_write_that_fails_leaves_the_old_file_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "plan.json"
    target.write_text("old")

    def fail(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(formats.os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        formats.write_bytes(b"new", target)
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]


def test_a_path_that_cannot_be_written_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        formats.write_bytes(b"x", tmp_path / "no" / "such" / "folder.json")
