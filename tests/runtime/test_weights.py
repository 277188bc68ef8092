"""Weights on disk: written once, read by the layer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from runtime.errors import WeightsError
from runtime.models import open_chain

# vgg11 is 507 MiB, most of it in its first fully connected layer, number 8.
MEMORY_OF_FRAGMENTS = """
import json
import psutil
import torch
from runtime.models import open_chain

def grown_mb(start, end):
    before = psutil.Process().memory_info().rss
    fragment = chain.fragment(start, end)
    fragment(torch.zeros(1, *chain.cut_shapes[start]))
    held.append(fragment)
    return (psutil.Process().memory_info().rss - before) / 2**20

held = []
torch.set_num_threads(1)
chain = open_chain("vgg11:3x64x64")
print(json.dumps([chain.weights_file.stat().st_size / 2**20, grown_mb(0, 4), grown_mb(8, 9)]))
"""


def test_a_workers_memory_is_its_layers_not_the_models() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEMORY_OF_FRAGMENTS], capture_output=True, text=True, check=True
    )
    file_mb, features_mb, classifier_mb = json.loads(done.stdout)
    chain = open_chain("vgg11:3x64x64")
    assert file_mb > 500
    assert sum(chain.weight_mb[:4]) < 5
    assert chain.weight_mb[8] > 390
    # A run takes some memory of its own. This process has written the weights as well, if nobody had before:
    # what that took it has given back.
    assert features_mb < 60
    assert chain.weight_mb[8] - 10 < classifier_mb < chain.weight_mb[8] + 60


def test_the_process_that_writes_the_weights_gives_their_memory_back(tmp_path: Path) -> None:
    program = (
        "import psutil; from runtime.models import open_chain\n"
        "chain = open_chain('tests.runtime.cuttable:heavy')\n"
        "before = psutil.Process().memory_info().rss\n"
        "chain.fragment(0, 1)\n"
        "print((psutil.Process().memory_info().rss - before) / 2**20)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "REGRAFT_CACHE": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert next((tmp_path / "models").glob("*.safetensors")).stat().st_size > 250 * 2**20
    assert float(done.stdout) < 60


def test_processes_that_start_together_write_the_weights_once(tmp_path: Path) -> None:
    program = (
        "from runtime.models import open_chain; print(open_chain('squeezenet1_1').weights_file.stat().st_ino)"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            env={**os.environ, "REGRAFT_CACHE": str(tmp_path)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    inodes = {process.communicate()[0] for process in processes}
    assert [process.returncode for process in processes] == [0, 0]
    assert len(inodes) == 1
    assert len(list((tmp_path / "models").glob("*.safetensors"))) == 1
    assert not list((tmp_path / "models").glob("*.tmp"))


def test_trained_weights_are_used_where_there_are_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = open_chain("squeezenet1_1:3x64x64")
    state = load_file(chain.weights_file)
    state["features.0.bias"] = torch.full_like(state["features.0.bias"], 7.0)
    save_file(state, tmp_path / "squeezenet1_1.safetensors")
    monkeypatch.setenv("REGRAFT_WEIGHTS", str(tmp_path))
    fragment = open_chain("squeezenet1_1:3x64x64").fragment(0, 1)
    assert torch.equal(fragment.get_parameter("features.0.bias"), torch.full((64,), 7.0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("features.0.bias"), "has no tensor 'features.0.bias'"),
        (
            lambda state: state.update({"features.0.bias": torch.zeros(3)}),
            r"is \[3\], the model wants \[64\]",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(
    change: object, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = load_file(open_chain("squeezenet1_1").weights_file)
    change(state)  # type: ignore[operator]
    save_file(state, tmp_path / "squeezenet1_1.safetensors")
    monkeypatch.setenv("REGRAFT_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match=message):
        open_chain("squeezenet1_1").fragment(0, 1)


def test_a_broken_file_is_refused_with_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "squeezenet1_1.safetensors").write_bytes(b"not safetensors")
    monkeypatch.setenv("REGRAFT_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match=r"squeezenet1_1\.safetensors: cannot be read"):
        open_chain("squeezenet1_1").fragment(0, 1)


def test_a_cache_that_cannot_be_written_is_an_error_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("REGRAFT_CACHE", str(tmp_path / "file"))
    with pytest.raises(WeightsError, match="REGRAFT_CACHE"):
        open_chain("squeezenet1_1").fragment(0, 1)
