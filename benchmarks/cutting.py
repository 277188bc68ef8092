"""Every torchvision classifier cut at every cut point: `python -m benchmarks.cutting`.

For each model, and each cut k of its L layers, layers [0, k) and layers [k, L) run one after the other, each
with its own weights only; their answer must be that of the model as torchvision alone builds and runs it,
with the same weights. So must the layers' one by one, and the whole as one fragment.

The input is the smallest of a few sizes that the model takes, and at which it still tells two samples apart
(otherwise equal answers would prove nothing). Every model runs in a process of its own, with its own
directory for weights, so that eighty models need neither the memory nor the disk of all of them.

Prints a row a model as it is done; with `--output` the rows are kept as JSON lines, and models that are there
already are left out: what was interrupted goes on. Ends with status 1 where a model failed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from runtime.errors import UncuttableModelError
from runtime.models import Chain, import_torchvision, known_models, open_chain

# Models of fixed size take none of these, but what they were trained for.
SIZES = (64, 75, 96, 128)
SAMPLES = 2
# As far as an answer may be off, in deviations of the answers themselves.
TOLERANCE = 1e-4
# Two samples' answers are this far apart at least, in the same unit.
APART = 0.02


def main() -> int:
    """Check and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", default="", help="by comma; default: all of torchvision's classifiers")
    parser.add_argument("--output", type=Path, help="a file of JSON lines, gone on with where it exists")
    parser.add_argument("--one", action="store_true", help="the model in this process, its row as JSON")
    options = parser.parse_args()
    models = [name for name in options.models.split(",") if name] or list(known_models())
    if options.one:
        print(json.dumps(every_cut(models[0])))
        return 0
    rows = _kept(options.output)
    print(
        "| model | input | layers | cuts | most off, deviations | seconds | |\n|---|---|---|---|---|---|---|"
    )
    for number, name in enumerate(models, 1):
        if name not in rows:
            rows[name] = _in_a_process(name)
            if options.output is not None:
                with options.output.open("a") as file:
                    file.write(json.dumps(rows[name]) + "\n")
        print(row_of(rows[name]), flush=True)
        print(f"{number} of {len(models)}", end="\r", file=sys.stderr, flush=True)
    failed = [name for name in models if rows[name]["problem"]]
    cuts = sum(rows[name]["cuts"] for name in models)
    print(f"\n{len(models)} models, {cuts} cuts; failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


def every_cut(name: str) -> dict[str, Any]:
    """Cut one model everywhere; the row says how far answers were off at most, and what is wrong.

    The weights are written below `REGRAFT_CACHE`.
    """
    torch.set_num_threads(1)
    began = time.monotonic()
    chain, inputs, expected = _smallest(name)
    scale = expected.std().item()
    off: dict[str, float] = {}

    def compare(what: str, answer: torch.Tensor) -> None:
        same_shape = answer.shape == expected.shape
        off[what] = (answer - expected).abs().max().item() / scale if same_shape else float("inf")

    with torch.inference_mode():
        compare("whole", chain.fragment(0, chain.depth)(inputs))
        value = inputs
        for cut in range(1, chain.depth):
            value = chain.fragment(cut - 1, cut)(value)
            crossing = chain.fragment(0, cut)(inputs)
            if crossing.shape != (len(inputs), *chain.cut_shapes[cut]):
                off[f"shape at {cut}"] = float("inf")
            compare(f"cut {cut}", chain.fragment(cut, chain.depth)(crossing))
        compare("layer by layer", chain.fragment(chain.depth - 1, chain.depth)(value))
    worst = max(off, key=lambda what: off[what])
    wrong = [what for what, error in off.items() if not error <= TOLERANCE]
    return {
        "model": name,
        "input": list(chain.cut_shapes[0]),
        "layers": chain.depth,
        "cuts": chain.depth - 1,
        "most_off": off[worst],
        "seconds": round(time.monotonic() - began, 1),
        "problem": f"not the whole model's answer: {', '.join(wrong)}" if wrong else "",
    }


def torchvisions_own(chain: Chain) -> nn.Module:
    """The same model, built and run by torchvision alone, with the weights from the chain's file."""
    name = chain.name.split(":")[0]
    settings = {"init_weights": False} if name in ("inception_v3", "googlenet") else {}
    model = import_torchvision().models.get_model(name, weights=None, **settings)
    state = OrderedDict(load_file(chain.weights_file))
    # MNASNet asks for its format's version, which torch keeps beside the tensors.
    state._metadata = model.state_dict()._metadata  # type: ignore[attr-defined]
    model.load_state_dict(state)
    return model.eval()


def row_of(row: dict[str, Any]) -> str:
    """A line of the table."""
    size = "×".join(map(str, row["input"]))
    cells = (row["model"], size, row["layers"], row["cuts"], f"{row['most_off']:.1e}", row["seconds"])
    return f"| {' | '.join(map(str, cells))} | {row['problem'] or 'equal'} |"


def _smallest(name: str) -> tuple[Chain, torch.Tensor, torch.Tensor]:
    """The model at the smallest size that will do, a batch for it, and torchvision's answer to that."""
    for size in (*(f":3x{size}x{size}" for size in SIZES), ""):
        try:
            chain = open_chain(name + size)
        except UncuttableModelError:
            if not size:
                raise
            continue
        inputs = chain.example(SAMPLES)
        with torch.inference_mode():
            expected = torchvisions_own(chain)(inputs)
        apart = (expected[0] - expected[1]).abs().max().item()
        if not size or (torch.isfinite(expected).all() and apart > APART * expected.std().item() > 0):
            return chain, inputs, expected
    raise AssertionError("the last size is taken, or raises")


def _in_a_process(name: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as directory:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.cutting", "--models", name, "--one"],
            env={**os.environ, "REGRAFT_CACHE": directory},
            capture_output=True,
            text=True,
        )
    if done.returncode == 0:
        row: dict[str, Any] = json.loads(done.stdout)
        return row
    said = done.stderr.strip().splitlines()
    problem = f"status {done.returncode}: {said[-1] if said else 'it said nothing'}"
    return {
        "model": name, "input": [], "layers": 0, "cuts": 0,
        "most_off": float("nan"), "seconds": 0.0, "problem": problem,
    }  # fmt: skip


def _kept(path: Path | None) -> dict[str, dict[str, Any]]:
    if path is None or not path.exists():
        return {}
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return {row["model"]: row for row in rows if not row["problem"]}


if __name__ == "__main__":
    sys.exit(main())
