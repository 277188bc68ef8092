"""The demo's phones, and the measurement of their models on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from api.processes import Child, Family
from planner import formats
from planner.clients import Client, Clients
from planner.errors import Complaint, InputError
from planner.fleet import example_clients
from planner.partitioning import Partition, partition
from planner.profile import Profile

GPU_TYPE = "cpu"


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """The phones of one model: how many, what each sends, and how the model is measured here.

    A phone in `private` of all runs some layers itself whatever its link, so that no picture leaves it.
    A processor core stands in for a GPU here, so phones are between `slowdown` times slower than a core,
    about as much as phones are slower than GPUs; each leaves the server at least `headroom` times what
    its part takes on a whole core.
    `lane` says which models are measured after one another; lanes run side by side, one a core.
    """

    model: str
    phones: int
    rate_rps: float
    private: float
    slowdown: tuple[float, float]
    headroom: float
    batches: str
    shares: str
    seconds: float
    runs: int
    lane: int

    def profile_arguments(self, folder: Path, measuring: float) -> list[str]:
        """The command line that measures the model into this folder, `measuring` times as long as usual."""
        runs = max(1, round(self.runs * measuring))
        return [
            *("profile", self.model, "--output", str(folder), "--gpu", GPU_TYPE),
            *("--batches", self.batches, "--shares", self.shares),
            *("--seconds", str(self.seconds * measuring), "--runs", str(runs)),
        ]


# Sized for two slow cores: all phones together keep about half of one busy. vit_b_16 takes more than a
# second a picture there, so its phones send rarely, and few cells of it are measured.
FLEETS = (
    Fleet(
        model="mobilenet_v2",
        phones=10,
        rate_rps=0.4,
        private=0.3,
        slowdown=(12.0, 30.0),
        headroom=24.0,
        batches="1,2,4",
        shares="10,25,50,100",
        seconds=30,
        runs=3,
        lane=0,
    ),
    Fleet(
        model="resnet18",
        phones=8,
        rate_rps=0.2,
        private=0.3,
        slowdown=(12.0, 30.0),
        headroom=24.0,
        batches="1,2,4",
        shares="10,25,50,100",
        seconds=35,
        runs=3,
        lane=0,
    ),
    Fleet(
        model="vit_b_16",
        phones=6,
        rate_rps=0.03,
        private=0.0,
        slowdown=(14.0, 18.0),
        headroom=12.0,
        batches="1,2",
        shares="25,50,100",
        seconds=60,
        runs=2,
        lane=1,
    ),
)


def measure(
    members: Family, folder: Path, show: Callable[[str], None], *, measuring: float = 1.0
) -> list[Profile]:
    """Profiles of the demo's models, measured now, or before where they still fit this machine.

    `regraft profile` keeps what it has measured, so a second run on the same machine measures nothing,
    whatever `measuring` (a factor of time and runs) is then.
    """
    folder.mkdir(parents=True, exist_ok=True)
    waiting = list(FLEETS)
    running: dict[int, Child] = {}
    while waiting or running:
        for fleet in list(waiting):
            if fleet.lane not in running:
                waiting.remove(fleet)
                arguments = fleet.profile_arguments(folder, measuring)
                running[fleet.lane] = members.start(f"profile-{fleet.model}", arguments)
        for lane, child in list(running.items()):
            if child.finished():
                del running[lane]
        show("   ".join(f"{child.name}: {child.tail(1)}" for child in running.values()))
        time.sleep(0.2)
    return [formats.read(Profile, folder / f"{fleet.model}.{GPU_TYPE}.json") for fleet in FLEETS]


def choose_cuts(profiles: list[Profile], traces: Path | None, seed: int) -> tuple[Partition, str]:
    """Every phone chooses its cut; also says where the links come from.

    Raises InputError for a folder without traces, or a trace with a row that cannot be true.
    """
    files: list[Path] = []
    if traces is not None:
        files = sorted(path for path in traces.iterdir() if path.is_file()) if traces.is_dir() else []
        if not files:
            cure = "give a folder of files with `seconds Mbps` a line"
            raise InputError(
                str(traces), [Complaint(place="folder", problem="has no trace files", cure=cure)]
            )
    phones: list[Client] = []
    for fleet, profile in zip(FLEETS, profiles, strict=True):
        mine = example_clients(
            [profile],
            files,
            count=fleet.phones,
            frame_rates_rps={fleet.model: fleet.rate_rps},
            seed=seed,
            slowdown=fleet.slowdown,
            headroom=fleet.headroom,
            private=fleet.private,
        )
        phones += mine.clients
    source = f"{len(files)} recorded traces" if files else "a synthetic generator"
    return partition(Clients(clients=tuple(phones)), profiles), source
