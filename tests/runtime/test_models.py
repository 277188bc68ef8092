"""Models by name: torchvision's and one's own, and what their fragments promise."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch

from benchmarks.cutting import every_cut, torchvisions_own
from runtime.errors import ModelError, UnknownModelError
from runtime.models import Chain, known_models, open_chain

# Sizes as small as a model takes, to keep this quick; vit_b_16 takes one size only.
PAPER_MODELS = [
    "inception_v3:3x75x75",
    "resnet101:3x64x64",
    "vgg11:3x64x64",
    "mobilenet_v2:3x64x64",
    "vit_b_16",
]
MORE_MODELS = ["efficientnet_b0:3x64x64", "squeezenet1_1:3x64x64"]
SLOWER_MODELS = [
    "alexnet:3x64x64",
    "convnext_tiny:3x64x64",
    "densenet121:3x64x64",
    "googlenet:3x64x64",
    "maxvit_t",
    "mnasnet0_5:3x64x64",
    "mobilenet_v3_small:3x64x64",
    "regnet_y_400mf:3x64x64",
    "shufflenet_v2_x1_0:3x64x64",
    "swin_t:3x64x64",
    "swin_v2_t:3x64x64",
]


def slow(names: list[str]) -> list[Any]:
    """These cases, marked as slow."""
    return [pytest.param(name, marks=pytest.mark.slow) for name in names]


@lru_cache
def answered(name: str) -> tuple[Chain, torch.Tensor, torch.Tensor]:
    """A model, a batch for it, and what torchvision's own model answers to that."""
    chain = open_chain(name)
    inputs = chain.example(1 if name == "vit_b_16" else 2)
    with torch.inference_mode():
        expected = torchvisions_own(chain)(inputs)
    assert expected.std() > 0
    return chain, inputs, expected


def some_cuts(chain: Chain) -> list[int]:
    """The first cut and the last, and a few between them; `make exhaustive` takes every one."""
    between = Random(chain.name).sample(range(2, chain.depth - 1), 2)
    return [1, *sorted(between), chain.depth - 1]


@pytest.mark.parametrize("name", ["resnet18:3x64x64", *slow(PAPER_MODELS)])
def test_at_a_cut_the_two_fragments_give_torchvisions_answer(name: str) -> None:
    chain, inputs, expected = answered(name)
    scale = expected.std().item()
    with torch.inference_mode():
        torch.testing.assert_close(chain.fragment(0, chain.depth)(inputs), expected)
        for cut in some_cuts(chain) if name in PAPER_MODELS else range(1, chain.depth):
            crossing = chain.fragment(0, cut)(inputs)
            assert crossing.shape == (len(inputs), *chain.cut_shapes[cut])
            assert crossing.element_size() * crossing[0].numel() == chain.cut_bytes[cut]
            answer = chain.fragment(cut, chain.depth)(crossing)
            torch.testing.assert_close(answer, expected, rtol=1e-4, atol=1e-5 * scale)


@pytest.mark.parametrize("name", [*PAPER_MODELS, *MORE_MODELS, *slow(SLOWER_MODELS)])
def test_layer_after_layer_gives_torchvisions_answer(name: str) -> None:
    chain, value, expected = answered(name)
    with torch.inference_mode():
        for layer in range(chain.depth):
            value = chain.fragment(layer, layer + 1)(value)
            assert value.shape == (len(expected), *chain.cut_shapes[layer + 1])
    torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-5 * expected.std().item())


@pytest.mark.exhaustive
@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", known_models())
def test_every_torchvision_model_gives_torchvisions_answer_at_every_cut(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its own cache, since eighty models are ten gigabytes.
    monkeypatch.setenv("REGRAFT_CACHE", str(tmp_path))
    row = every_cut(name)
    assert row["cuts"] > 4
    assert row["problem"] == ""
    for file in tmp_path.glob("models/*"):
        file.unlink()


@pytest.mark.parametrize(
    "name", ["resnet18:3x64x64", "vgg11:3x64x64", "mobilenet_v2:3x64x64", "convnext_tiny:3x64x64"]
)
def test_answers_tell_inputs_apart_and_miss_every_layer(name: str) -> None:
    """Otherwise comparing answers would prove nothing."""
    chain = open_chain(name)
    inputs = chain.example(2)
    with torch.inference_mode():
        answers = chain.fragment(0, chain.depth)(inputs)
        assert torch.isfinite(answers).all()
        assert (answers[0] - answers[1]).norm() > 0.02 * answers[0].norm()
        alike = [k for k in range(chain.depth) if chain.cut_shapes[k] == chain.cut_shapes[k + 1]]
        assert alike
        for layer in alike[:3]:
            before = chain.fragment(0, layer)(inputs)
            without = chain.fragment(layer + 1, chain.depth)(before)
            assert (without - answers).abs().max() > 0.01 * answers.std(), chain.layers[layer]


def test_layers_are_the_blocks_of_the_model() -> None:
    stages = [f"layer{stage}.{block}" for stage in (1, 2, 3, 4) for block in (0, 1)]
    assert open_chain("resnet18").layers == ("conv1", *stages, "fc")
    assert open_chain("mobilenet_v2").layers == (*(f"features.{block}" for block in range(19)), "classifier")
    encoder = [f"encoder.layers.encoder_layer_{block}" for block in range(12)]
    assert open_chain("vit_b_16").layers == ("conv_proj", *encoder, "heads")
    convolutions = [f"features.{place}" for place in (0, 3, 6, 8, 11, 13, 16, 18)]
    assert open_chain("vgg11").layers == (*convolutions, "classifier.0", "classifier.3", "classifier.6")
    assert len(open_chain("resnet101").layers) == 35
    assert open_chain("inception_v3").layers[4:7] == ("Conv2d_4a_3x3", "Mixed_5b", "Mixed_5c")


def test_models_take_the_size_they_were_trained_for() -> None:
    assert open_chain("inception_v3").cut_shapes[0] == (3, 299, 299)
    assert open_chain("vit_b_16").cut_shapes[0] == (3, 224, 224)
    assert open_chain("resnet18").cut_shapes[0] == (3, 224, 224)
    assert open_chain("resnet18:3x96x128").cut_shapes[0] == (3, 96, 128)


def test_weights_are_the_same_in_every_process_and_others_for_another_seed(tmp_path: Path) -> None:
    program = "from runtime.models import open_chain; print(open_chain('squeezenet1_1').weights_file)"
    elsewhere = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "REGRAFT_CACHE": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    here = open_chain("squeezenet1_1").weights_file
    assert Path(elsewhere.stdout.strip()) != here
    assert Path(elsewhere.stdout.strip()).read_bytes() == here.read_bytes()
    assert open_chain("squeezenet1_1", seed=1).weights_file.read_bytes() != here.read_bytes()


def test_a_factory_is_a_model_too() -> None:
    chain = open_chain("tests.runtime.cuttable:trained")
    with torch.inference_mode():
        answer = chain.fragment(0, 2)(torch.tensor([[1.0, 1.0]]))
    # (1+2) - (3+4) + 0.5, by the weights it brings along.
    torch.testing.assert_close(answer, torch.tensor([[-3.5]]))


def test_a_factory_may_take_whole_numbers() -> None:
    chain = open_chain("tests.runtime.cuttable:words")
    assert chain.cut_dtypes[0] is torch.int64
    inputs = torch.tensor([[0, 1, 0], [1, 1, 1]])
    with torch.inference_mode():
        whole = chain.fragment(0, chain.depth)(inputs)
        parts = chain.fragment(1, chain.depth)(chain.fragment(0, 1)(inputs))
    torch.testing.assert_close(parts, whole)


def test_a_factorys_input_may_be_given_with_its_name() -> None:
    assert open_chain("tests.runtime.cuttable:shapeless:4").cut_shapes == ((4,), (4,), (2,))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet19", "did you mean resnet1"),
        ("nonsense", "give a torchvision classification model"),
        ("tests.runtime.cuttable:block", "did you mean blocks"),
        ("tests.runtime.no_such_module:model", "cannot import 'tests.runtime.no_such_module'"),
        ("tests.runtime.cuttable:not_a_factory", "not callable"),
        ("a:b:c", "is no model"),
        (":", "is no model"),
        ("", "there is no model"),
    ],
)
def test_a_wrong_name_is_refused_with_what_would_be_right(name: str, message: str) -> None:
    with pytest.raises(UnknownModelError, match=message):
        open_chain(name)


@pytest.mark.parametrize(("start", "end"), [(0, 0), (-1, 2), (2, 1), (0, 11)])
def test_a_range_that_is_none_is_refused(start: int, end: int) -> None:
    with pytest.raises(ModelError, match="cut points 0 to 10"):
        open_chain("resnet18").fragment(start, end)


def test_opening_a_model_warns_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_chain("googlenet").fragment(0, 1)
