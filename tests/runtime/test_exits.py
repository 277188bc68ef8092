"""Models that let easy inputs go: trained on real digits, planned, and served as evaluated offline."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import tritonclient.http as triton
from typer.testing import CliRunner

from planner import formats
from planner.planning import make_plan
from planner.problem import PlanSettings
from planner.profile import Profile
from planner.workload import Fragment, Workload
from runtime import exit_training as training
from runtime.commands_exits import exits
from runtime.errors import ModelError, SettingError, WeightsError
from runtime.exit_measuring import profile_with_exits, survivors
from runtime.models import Chain, open_chain
from runtime.ramps import Ramps, check_layers, load_ramps, save_ramps
from runtime.shares import Share
from tests.runtime.cluster import assignment_of, cluster_in, ready, route, stage, wait_for
from tests.runtime.digit_models import write_digits

CONVOLUTIONAL = "tests.runtime.digit_models:convolutional"
TRANSFORMER = "tests.runtime.digit_models:transformer"


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A model that lets go at two exits, and what is known of the digits it was not trained with."""

    chain: Chain
    ramps: Ramps
    rest: training.Samples
    found: training.Opinions
    weights: Path
    data: Path


def trained(directory: Path, model: str, layers: tuple[int, ...], epochs: int) -> Trained:
    os.environ["REGRAFT_WEIGHTS"] = str(directory)
    data = write_digits(directory / "digits.npz")
    chain = open_chain(model)
    samples = training.read_samples(data, chain)
    training.train_model(chain, samples.part(0, 0.5), directory, epochs=epochs, seed=0)
    ramps = training.train_ramps(chain, samples.part(0, 0.5), layers, epochs=10)
    ramps = training.choose_thresholds(
        ramps, training.opinions(chain, ramps, samples.part(0.5, 0.75)), floor=0.99
    )
    save_ramps(ramps, directory)
    rest = samples.part(0.75, 1.0)
    return Trained(
        chain=chain,
        ramps=ramps,
        rest=rest,
        found=training.opinions(chain, ramps, rest),
        weights=directory,
        data=data,
    )


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield trained(tmp_path_factory.mktemp("digits"), CONVOLUTIONAL, (3, 5), 10)
    torch.set_num_threads(threads)
    os.environ.pop("REGRAFT_WEIGHTS", None)


def test_a_convolutional_network_learns_digits_and_lets_most_of_them_go(digits: Trained) -> None:
    never = [training.NEVER] * 2
    whole, kept = digits.found.quality(never), digits.found.quality(digits.ramps.thresholds)
    assert whole > 0.96
    # Thresholds were chosen on other digits, so a little more than 1 % may be lost on these.
    assert kept > whole - 0.03
    leaving = digits.found.leaving(digits.ramps.thresholds)
    assert (leaving < 2).float().mean() > 0.5


@pytest.mark.slow
def test_a_vision_transformer_does_too(tmp_path: Path, digits: Trained) -> None:
    found = trained(tmp_path, TRANSFORMER, (2, 4), 30)
    os.environ["REGRAFT_WEIGHTS"] = str(digits.weights)
    whole = found.found.quality([training.NEVER] * 2)
    assert whole > 0.85
    assert found.found.quality(found.ramps.thresholds) > whole - 0.03
    assert (found.found.leaving(found.ramps.thresholds) < 2).float().mean() > 0.5


def test_ramps_are_written_and_read_back(digits: Trained, tmp_path: Path) -> None:
    again = load_ramps(digits.ramps.model, digits.chain.cut_shapes, digits.weights)
    assert (again.layers, again.thresholds) == (digits.ramps.layers, digits.ramps.thresholds)
    found = training.opinions(digits.chain, again, digits.rest)
    assert torch.equal(found.answers, digits.found.answers)
    with pytest.raises(WeightsError, match="cannot be read"):
        load_ramps(digits.ramps.model, digits.chain.cut_shapes, tmp_path)
    odd = [(7,) for _ in digits.chain.cut_shapes]
    with pytest.raises(WeightsError, match="does not fit the ramp at 3"):
        load_ramps(digits.ramps.model, odd, digits.weights)


@pytest.mark.parametrize("layers", [(), (0, 3), (3, 3), (5, 3), (3, 7)])
def test_ramps_stand_inside_the_model_by_rising_layer(layers: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match="expected rising cut points inside the model, 1 to 6"):
        check_layers("net", 7, layers)


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"inputs": np.zeros((12, 1, 8, 8))}, "has no labels"),
        ({"inputs": np.zeros((12, 8, 8)), "labels": np.zeros(12, int)}, r"takes \[N, 1, 8, 8\]"),
        ({"inputs": np.zeros((12, 1, 8, 8)), "labels": np.zeros(12)}, "expected whole numbers"),
        ({"inputs": np.zeros((12, 1, 8, 8)), "labels": np.full(12, 10)}, "from 0 to 9"),
        ({"inputs": np.zeros((2, 1, 8, 8)), "labels": np.zeros(2, int)}, "at least 10 labels"),
    ],
)
def test_data_that_do_not_fit_the_model_are_refused(
    digits: Trained, tmp_path: Path, arrays: dict[str, Any], expected: str
) -> None:
    np.savez(tmp_path / "data.npz", **arrays)
    with pytest.raises(SettingError, match=expected):
        training.read_samples(tmp_path / "data.npz", digits.chain)


def test_survivors_of_batches_are_counted_over_neighbours() -> None:
    going_on = torch.tensor([True, True, False, False])
    assert survivors(going_on, 1) == (0.5, 0.5)
    assert survivors(going_on, 2) == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    assert survivors(going_on, 4) == (0.0, 0.0, 1.0, 0.0, 0.0)


def test_a_threshold_is_as_low_as_the_floor_allows() -> None:
    labels = torch.zeros(10, dtype=torch.long)
    # The ramp is wrong about the three it is least sure of; the model is always right.
    found = training.Opinions(
        sure=torch.arange(1, 11).view(1, 10) / 16,
        answers=torch.stack([torch.tensor([1, 1, 1, 0, 0, 0, 0, 0, 0, 0]), labels]),
        labels=labels,
    )
    ramps = Ramps(model="m", classes=2, layers=(1,), thresholds=(2.0,), modules=(torch.nn.Identity(),))
    chosen = [
        training.choose_thresholds(ramps, found, floor=floor).thresholds[0] for floor in (1.0, 0.8, 0.0)
    ]
    assert chosen == pytest.approx([4 / 16, 2 / 16, 1 / 16])


def profiled(digits: Trained) -> Profile:
    """A made-up profile of the model's layers, with the exits as they were measured."""
    plain = Profile(
        model=CONVOLUTIONAL,
        gpu="cpu",
        layers=digits.chain.layers,
        batches=(1, 4, 8),
        shares=(25, 50),
        latency_ms=tuple(((4.0, 2.0), (7.0, 3.5), (11.0, 5.5)) for _ in digits.chain.layers),
    )
    return profile_with_exits(plain, digits.chain, digits.ramps, digits.found)


def test_what_was_measured_makes_a_profile_that_can_be_planned_with(digits: Trained, tmp_path: Path) -> None:
    made = profiled(digits)
    formats.write(made, tmp_path / "profile.json")
    assert formats.read(Profile, tmp_path / "profile.json") == made
    listed = made.exits or ()
    leaving = digits.found.leaving(digits.ramps.thresholds)
    assert [item.survival for item in listed] == [
        pytest.approx(float((leaving > number).float().mean())) for number in range(2)
    ]
    assert listed[1].quality == pytest.approx(digits.found.quality(digits.ramps.thresholds))
    # A ramp at half the share takes twice as long, as the layers of this profile do.
    assert listed[0].ramp_ms[1][0] == pytest.approx(2 * (listed[0].ramp_ms[1][1] or 0), rel=1e-3)
    workload = Workload(
        fragments=(Fragment(id="f", model=CONVOLUTIONAL, start=0, budget_ms=400.0, rate_rps=400.0),)
    )
    plan = make_plan(workload, [made], strategy="graft", settings=PlanSettings(time_limit_s=2))
    plain = make_plan(
        workload, [replace(made, exits=None)], strategy="graft", settings=PlanSettings(time_limit_s=2)
    )
    assert plan.objective.share < plain.objective.share


def test_a_slow_moment_is_not_the_measurement_of_one_share(
    digits: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = profiled(digits)
    plain = replace(
        plain,
        exits=None,
        shares=(25, 50, 100),
        latency_ms=tuple(tuple((*row, row[-1]) for row in layer) for layer in plain.latency_ms),
    )
    runs = iter(range(1000))
    slow = len(digits.ramps.layers) * len(plain.batches)

    def paced(_chain: Chain, _ramps: Ramps, _layer: int, batch: int, share: Share) -> float:
        # A neighbour is there while the first share is measured for the first time.
        return batch * 100 / share.share_pct * (10 if next(runs) < slow else 1)

    monkeypatch.setattr("runtime.exit_measuring._paced_ms", paced)
    monkeypatch.setattr("runtime.exit_measuring.ramp_ms", lambda *given: [float(batch) for batch in given[3]])
    made = profile_with_exits(plain, digits.chain, digits.ramps, digits.found, hold_shares=True)
    for item in made.exits or ():
        assert item.ramp_ms == tuple((4.0 * batch, 2.0 * batch, float(batch)) for batch in plain.batches)


def test_the_commands_train_and_measure(digits: Trained, tmp_path: Path) -> None:
    common = [CONVOLUTIONAL, "--data", str(digits.data), "--weights", str(tmp_path)]
    runner = CliRunner()
    try:
        done = runner.invoke(exits, ["train", *common, "--at", "3", "--epochs", "1", "--model-epochs", "1"])
        assert done.exit_code == 0, done.output
        assert "exit 3: threshold" in done.output
        plain = replace(profiled(digits), exits=None)
        formats.write(plain, tmp_path / "plain.json")
        files = ["--profile", str(tmp_path / "plain.json"), "--output", str(tmp_path / "made.json")]
        done = runner.invoke(exits, ["measure", *common, *files])
        assert done.exit_code == 0, done.output
        measured = formats.read(Profile, tmp_path / "made.json")
        [item] = measured.exits or ()
        assert item.layer == 3
        # The ramp was run at both shares, which it was held to.
        assert measured.measured["ramps_held_by"] in ("cgroup-v1", "cgroup-v2", "pause")
        for less, more in item.ramp_ms:
            assert less is not None
            assert more is not None
            assert 1.2 < less / more < 4
        done = runner.invoke(exits, ["measure", *common, *files, "--scaled"])
        assert done.exit_code == 0, done.output
        [scaled] = formats.read(Profile, tmp_path / "made.json").exits or ()
        assert scaled.ramp_ms[1][0] == pytest.approx(2 * (scaled.ramp_ms[1][1] or 0), rel=1e-3)
        formats.write(replace(plain, layers=plain.layers[1:], latency_ms=plain.latency_ms[1:]), files[1])
        assert runner.invoke(exits, ["measure", *common, *files]).exit_code == 1
        assert runner.invoke(exits, ["train", *common, "--at", "9"]).exit_code == 2
        assert runner.invoke(exits, ["train", *common, "--at", "x"]).exit_code == 2
    finally:
        os.environ["REGRAFT_WEIGHTS"] = str(digits.weights)


@pytest.mark.parametrize("stages", ["split", "whole"])
def test_served_answers_equal_an_offline_evaluation_of_every_sample(
    digits: Trained, tmp_path: Path, stages: str
) -> None:
    depth = digits.chain.depth
    # In the split plan the second stage ends with an exit, and two workers feed the last one.
    whole = [{**stage("whole", CONVOLUTIONAL, 0, depth), "exits": [3, 5]}]
    split = [
        {**stage("first", CONVOLUTIONAL, 0, 3, instances=2), "exits": [3]},
        {**stage("rest", CONVOLUTIONAL, 3, depth), "exits": [5]},
    ]
    chosen = split if stages == "split" else whole
    with cluster_in(tmp_path) as cluster:
        routes = [route("phone", CONVOLUTIONAL, 0, [one["id"] for one in chosen], budget_ms=20_000.0)]
        cluster.service.assign(node_a=assignment_of(1, chosen, routes))
        gateway = cluster.gateway(cluster.agent())
        wait_for(lambda: ready(gateway), what="routed generation")
        inputs = digits.rest.inputs.numpy()[:120]

        def ask(numbers: range) -> list[tuple[int, int]]:
            # Its client is for one thread.
            with triton.InferenceServerClient(gateway.url.removeprefix("http://")) as client:
                found = []
                for number in numbers:
                    given = triton.InferInput("input", [1, 1, 8, 8], "FP32")
                    given.set_data_from_numpy(inputs[number : number + 1])
                    answer = client.infer(CONVOLUTIONAL, [given])
                    passed = str(answer.get_response()["parameters"]["stages"]).count('"stage"')
                    found.append((int(answer.as_numpy("output").argmax()), passed))
                return found

        with ThreadPoolExecutor(12) as pool:
            parts = pool.map(ask, [range(first, first + 10) for first in range(0, len(inputs), 10)])
            answered = [one for part in parts for one in part]
    leaving = digits.found.leaving(digits.ramps.thresholds)[: len(inputs)]
    expected = digits.found.answers[:, : len(inputs)].gather(0, leaving.view(1, -1))[0]
    assert [label for label, _ in answered] == expected.tolist()
    if stages == "split":
        assert [passed for _, passed in answered] == [1 if left == 0 else 2 for left in leaving.tolist()]
