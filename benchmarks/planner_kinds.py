"""The profiles that the planner's benchmarks plan for: synthetic kinds, and measured models where they are.

Synthetic ones come from tests/profiles.py with fixed seeds:

    fine      20 layers, 20 shares, 6 batches; batching pays a little
    deep      40 layers, a slower model
    batching  a full batch costs little more than one request
    coarse    10 layers, 3 shares, 3 batches, a fifth of the cells not measured

Measured ones are ParvaGPU's (../shared/data, or REGRAFT_DATA). It measured whole models, so what a layer
takes is *our* split of them: fixed random parts of the whole, the same at every batch and share.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from planner.profile import Profile
from planner.recordings import read_parvagpu
from tests.profiles import make_coarse_profile, make_profile

DATA = Path(os.environ.get("REGRAFT_DATA", Path(__file__).parents[2] / "shared" / "data"))
MEASURED = ("bert", "mobilenetv2", "resnet50", "vgg19")
MEASURED_LAYERS = 16


def synthetic_kinds() -> dict[str, Profile]:
    """The synthetic kinds by name."""
    return {
        "fine": make_profile(layers=20),
        "deep": make_profile(layers=40, total_ms=30, seed=1),
        "batching": make_profile(layers=20, alpha=0.85, seed=2),
        "coarse": make_coarse_profile(null_cells=0.2, seed=3),
    }


def measured_kinds() -> dict[str, Profile]:
    """ParvaGPU's models in layers, by name; none where the data is not at hand."""
    folder = DATA / "parvagpu" / "prof_data"
    if not folder.is_dir():
        return {}
    return {name: split(read_parvagpu(folder / f"{name}.csv")) for name in MEASURED}


def all_kinds() -> dict[str, Profile]:
    """Synthetic and measured."""
    return {**synthetic_kinds(), **measured_kinds()}


def split(profile: Profile, layers: int = MEASURED_LAYERS, seed: int = 0) -> Profile:
    """A profile of one layer cut into several, each a fixed part of its latency."""
    parts = np.random.default_rng(seed).uniform(0.4, 1.6, layers)
    parts /= parts.sum()
    [whole] = profile.latency_ms
    return replace(
        profile,
        layers=tuple(f"part{number}" for number in range(layers)),
        latency_ms=tuple(
            tuple(tuple(None if cell is None else cell * part for cell in row) for row in whole)
            for part in parts.tolist()
        ),
    )
