"""Where a model is cut, and where it is not."""

from __future__ import annotations

import pytest
import torch

from runtime.errors import UncuttableModelError
from runtime.models import Chain, open_chain

HERE = "tests.runtime.cuttable"


def chain_of(factory: str) -> Chain:
    return open_chain(f"{HERE}:{factory}")


def assert_every_cut_gives_the_whole(chain: Chain) -> None:
    inputs = chain.example(3)
    with torch.inference_mode():
        whole = chain.fragment(0, chain.depth)(inputs)
        for cut in range(1, chain.depth):
            crossing = chain.fragment(0, cut)(inputs)
            assert crossing.shape == (3, *chain.cut_shapes[cut])
            torch.testing.assert_close(chain.fragment(cut, chain.depth)(crossing), whole)


def test_a_residual_block_is_one_layer_and_so_is_its_sibling_without_the_residual() -> None:
    chain = chain_of("blocks")
    assert chain.layers == ("0", "3.0", "3.1", "4", "7")
    assert_every_cut_gives_the_whole(chain)


def test_what_does_no_work_belongs_to_the_layer_before_and_the_smallest_tensor_is_cut() -> None:
    chain = chain_of("blocks")
    # Batch norm and activation went with the stem; pooling and flattening with the last block, so that
    # four numbers cross instead of 4x8x8.
    assert chain.cut_shapes == ((3, 8, 8), (4, 8, 8), (4, 8, 8), (4, 8, 8), (4,), (10,))
    assert chain.cut_bytes == (768, 1024, 1024, 1024, 16, 40)


def test_a_number_taken_from_a_shape_crosses_like_a_tensor() -> None:
    chain = chain_of("reshaping")
    # Between the convolutions the batch size is still needed behind them: two things cross, so they and the
    # reshape are one layer.
    assert chain.layers == ("first…second", "third", "last")
    assert chain.cut_shapes == ((3, 8, 8), (256,), (5,), (2,))
    assert_every_cut_gives_the_whole(chain)


def test_what_is_computed_from_parameters_alone_does_not_cross() -> None:
    chain = chain_of("offsetting")
    assert chain.layers == ("first", "second", "third")
    assert "offset" not in dict(chain.fragment(0, 2).named_parameters())
    assert "offset" in dict(chain.fragment(2, 3).named_parameters())
    assert_every_cut_gives_the_whole(chain)


def test_a_tensor_that_is_neither_parameter_nor_buffer_comes_along() -> None:
    chain = chain_of("carrying")
    first = chain.fragment(0, 1)
    assert_every_cut_gives_the_whole(chain)
    with torch.inference_mode():
        zero = torch.zeros(1, 4)
        steps = first(zero) - torch.nn.functional.linear(zero, first.first.weight, first.first.bias)
    torch.testing.assert_close(steps, torch.arange(4.0).reshape(1, 4))


def test_a_fragment_leaves_its_input_as_it_is() -> None:
    chain = chain_of("eager")
    for start in range(chain.depth):
        inputs = -torch.ones(2, *chain.cut_shapes[start])
        chain.fragment(start, chain.depth)(inputs)
        assert torch.equal(inputs, -torch.ones_like(inputs))
    assert_every_cut_gives_the_whole(chain)


def test_a_layer_that_is_called_twice_is_two_layers_with_different_names() -> None:
    chain = chain_of("twice")
    assert chain.layers == ("layer", "layer#2")
    assert_every_cut_gives_the_whole(chain)


def test_a_fragment_holds_the_tensors_of_its_layers_only() -> None:
    chain = chain_of("blocks")
    names = {name for name, _ in chain.fragment(1, 2).named_parameters()}
    assert names == {"3.0.first.weight", "3.0.first.bias", "3.0.second.weight", "3.0.second.bias"}


def test_sizes_are_those_of_the_tensors() -> None:
    chain = chain_of("blocks")
    convolution_bytes = 4 * (4 * 4 * 9 + 4)
    assert chain.weight_mb[1] * 2**20 == pytest.approx(2 * convolution_bytes)
    # In a residual block its input, the inner activation and the next are alive at once: 3 of 4x8x8 floats.
    assert chain.activation_mb[1] * 2**20 == pytest.approx(3 * 1024)
    # 3x3 convolutions of 4 to 4 channels on 8x8, twice; a multiplication and an addition each.
    assert chain.flops[1] == 2 * 2 * 4 * 4 * 9 * 64


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("deciding", "cannot be traced"),
        ("pair", "takes 2 inputs"),
        ("transposing", "first dimension is the batch"),
        ("idle", "no layer that does work"),
        ("shapeless", "example_input"),
    ],
)
def test_a_model_that_cannot_be_cut_is_refused_with_the_reason(factory: str, message: str) -> None:
    with pytest.raises(UncuttableModelError, match=message) as caught:
        chain_of(factory)
    assert factory in str(caught.value)


def test_an_input_the_model_cannot_take_is_refused_with_its_shape() -> None:
    with pytest.raises(UncuttableModelError, match="input of 3x8x9"):
        open_chain(f"{HERE}:reshaping:3x8x9")
