"""What a new assignment changes, and what it leaves running."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.errors import ServiceError
from runtime.reconcile import Post, Signature, check_assignment, reconcile, wanted_posts
from tests.runtime.cluster import TINY, assignment_of, route, stage


def signature(**changes: Any) -> Signature:
    base: dict[str, Any] = {
        "model": TINY,
        "start": 0,
        "end": 3,
        "batch": 4,
        "share": 50.0,
        "gpu": "node-a/cpu-0",
        "memory_mb": 512.0,
    }
    return Signature(**{**base, **changes})


def test_a_worker_that_is_the_same_is_kept_under_its_new_name() -> None:
    changes = reconcile({"w1": signature()}, {Post("renamed", 0): signature()})
    assert changes.kept == {"w1": Post("renamed", 0)}
    assert changes.missing == {}


@pytest.mark.parametrize(
    "difference",
    [{"start": 1}, {"end": 2}, {"batch": 8}, {"share": 25.0}, {"gpu": "node-a/cpu-1"}, {"model": "x"}],
    ids=lambda difference: next(iter(difference)),
)
def test_a_worker_that_differs_in_anything_is_started_beside_the_old_one(difference: dict[str, Any]) -> None:
    changes = reconcile({"w1": signature()}, {Post("s", 0): signature(**difference)})
    assert changes.kept == {}
    assert changes.missing == {Post("s", 0): signature(**difference)}


def test_each_worker_fills_at_most_one_post() -> None:
    wanted = {Post("s", instance): signature() for instance in range(3)}
    changes = reconcile({"w1": signature(), "w2": signature()}, wanted)
    assert set(changes.kept) == {"w1", "w2"}
    assert len(set(changes.kept.values())) == 2
    assert len(changes.missing) == 1
    assert set(changes.kept.values()) | set(changes.missing) == set(wanted)


def test_an_assignment_says_which_posts_this_machine_fills() -> None:
    document = check_assignment(
        assignment_of(
            3,
            [stage("s0", TINY, 0, 1, share=25, instances=2), stage("s1", TINY, 1, 3)],
            [route("p", TINY, 0, ["s0", "s1"])],
            nodes=lambda name, instance: "node-a/cpu-0" if (name, instance) != ("s0", 1) else None,
        )
    )
    assert wanted_posts(document) == {
        Post("s0", 0): signature(end=1, share=25.0),
        Post("s1", 0): signature(start=1, share=100.0),
    }


def test_a_newer_service_may_say_more_than_we_know() -> None:
    document = assignment_of(1, [stage("s", TINY, 0, 3)], [route("p", TINY, 0, ["s"])])
    document["news"] = {"of": "tomorrow"}
    document["stages"][0]["variant"] = "compiled"
    assert check_assignment(document)["generation"] == 1


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda d: d.pop("generation"), "generation"),
        (lambda d: d.update(generation=2**70), "generation"),
        (lambda d: d.update(format="regraft.plan/v1"), "regraft.assignment/v1"),
        (lambda d: d["stages"][0].update(batch="4"), r"stages\.0\.batch"),
        (lambda d: d["routes"][0].update(stages=["nowhere"]), "unknown stage 'nowhere'"),
        (lambda d: d["workers"][0].update(stage="nowhere"), "unknown stage 'nowhere'"),
        (lambda d: d["stages"][0].update(share=0), r"stages\.0\.share"),
    ],
)
def test_an_assignment_that_makes_no_sense_is_refused_with_its_place(spoil: Any, complaint: str) -> None:
    document = assignment_of(1, [stage("s", TINY, 0, 3)], [route("p", TINY, 0, ["s"])])
    spoil(document)
    with pytest.raises(ServiceError, match=complaint):
        check_assignment(document)
    with pytest.raises(ServiceError, match="assignment"):
        check_assignment("nonsense")
