"""Every command on a page of the documentation is run, or stands in `NOT_RUN` with the reason.

Commands are read from the pages, in their order. What a page leaves open (`WORKLOAD`, `FILE…`) is filled in
with small files that were prepared under the names of the page. Commands that end are run in this process,
since starting it is most of what they cost; those that serve are processes of their own. The pages that
`tests/test_docs.py` follows from top to bottom are not read again here.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from typer.testing import CliRunner

from api.command_line import regraft
from planner import formats
from planner.planning import STRATEGIES
from planner.profile import Profile
from planner.workload import Fragment, Gpu, Workload
from tests.api.conftest import postgres_server  # noqa: F401
from tests.profiles import make_profile, make_workload
from tests.runtime.cluster import TINY, wait_for
from tests.test_docs import FOLLOWED, PAGES, ROOT

DIGITS = "tests.runtime.digit_models:convolutional"
BENCHMARKS = sorted(
    path.stem for path in (ROOT / "benchmarks").glob("*.py") if "__main__" in path.read_text()
)

# Commands as the pages write them, and why they are not run. Their options are checked by tests/test_docs.py.
MINUTES = "measures for minutes; the tutorial measures a small model by the same command"
SHORTER = "takes minutes; tests/test_bench.py runs it shorter"
ON_A_GPU = "needs an NVIDIA GPU; run for a tiny model where there is one"
NOT_RUN = {
    "regraft profile mobilenet_v2 resnet18 vit_b_16 --output profiles": MINUTES,
    "regraft profile package.module:model --output profiles": MINUTES,
    "regraft profile resnet101 vit_b_16 --output profiles --device cuda --batches 1,2,4,8,16 "
    "--shares 10,25,50,100 --neighbour": ON_A_GPU,
    "regraft profile resnet101 vit_b_16 --device cuda --output profiles --batches 1,2,4,8,16,32 "
    "--shares 5,10,25,50,100 --jobs 3 --neighbour": ON_A_GPU,
    "regraft compare workload.json --profile mobilenet_v2.profile.json --profile resnet18.profile.json "
    "--profile vit_b_16.profile.json --strategies gslice,gslice+,nexus,graft,optimal-one,optimal "
    "--time-limit 60 --output result.json": "has six strategies search for up to a minute each",
    "regraft bench PLAN --workload WORKLOAD --profile FILE… [--arrivals paced|poisson|…|FILE]… "
    "[--seconds 60] [--gateway URL] [--on-time 0.999] [--output RESULT]": SHORTER,
    "regraft agent --service URL --name farm --ray auto": "needs a Ray cluster; tests/runtime has one",
    "regraft serve --database sqlite:///regraft.sqlite": "the tutorial and how-to/many-machines.md run it",
    "make demo": "takes minutes; CI runs it before the tests",
    "make test": "is what runs this test",
    "nvidia-cuda-mps-control -d": ON_A_GPU,
    "python -m venv PEERS && PEERS/bin/pip install -r benchmarks/peers/requirements.txt": "installs other "
    "projects' servers to be measured beside ours",
}
# Benchmarks take minutes: of these commands every option is read, and nothing measured.
BENCHMARK = "python -m benchmarks."
FILE_PAGES = [
    "README.md",
    "docs/exits.md",
    "docs/pages.md",
    "docs/partitioning.md",
    "docs/planner.md",
    "docs/how-to/mps.md",
    "docs/how-to/own-gpu.md",
]
SERVED_PAGES = [
    "docs/service.md",
    "docs/runtime.md",
    "docs/how-to/many-machines.md",
    "docs/how-to/postgresql.md",
]


def written(page: Path, start: str = "regraft ") -> list[str]:
    """The commands of a page's blocks that begin with this pattern, as they stand there but for comments."""
    text = re.sub(r"\s*\\\n\s*| *\n {6,}(?=\[--)", " ", page.read_text())  # one may go on in the next line
    found = []
    for line in text.splitlines():
        if re.match(rf"( {{4}})?{start}[a-z]", line):
            bare = re.split(r"\s{2,}|\s#", line.strip())[0]
            found += bare.split(" | ")
    return found


class Reader:
    """Somebody who follows pages: a folder, and values for what they leave open."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.values: dict[str, str] = {}
        self.ran: list[str] = []

    def words(self, command: str) -> list[str]:
        """The arguments after `regraft`, filled in; optional ones are given."""
        self.ran.append(command)
        for name, value in self.values.items():
            command = command.replace(name, value)
        assert "…" not in command, command
        return shlex.split(re.sub(r"[\[\]]", "", command))[1:]

    def run(self, command: str, *, exit_codes: tuple[int, ...] = (0,)) -> str:
        """Run a command that ends; gives what it wrote to standard output."""
        done = CliRunner().invoke(regraft, self.words(command))
        told = (command, done.exit_code, done.output, done.exception)
        assert done.exit_code in exit_codes, told
        return done.stdout

    @contextlib.contextmanager
    def serving(self, command: str, *more: str, host: str = "127.0.0.1") -> Iterator[str]:
        """Run a command that serves, on a free port, until the block ends; gives its address."""
        number = len(self.ran)
        port_file, log = self.folder / f"{number}.port", self.folder / f"{number}.log"
        with log.open("wb") as output:
            code = "from api.command_line import main; main()"
            process = subprocess.Popen(
                [sys.executable, "-c", code, *self.words(command), *more, "--port-file", str(port_file)],
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
            )
        try:
            wait_for(lambda: port_file.exists() or process.poll() is not None, what=f"port of {command}")
            assert port_file.exists(), log.read_text()
            yield f"http://{host}:{port_file.read_text().strip()}"
            assert process.poll() is None, log.read_text()
            process.terminate()
            assert process.wait(30) in (0, -15), log.read_text()
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reader:
    for name in [name for name in os.environ if name.startswith("REGRAFT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("REGRAFT_CACHE", str(tmp_path / "cache"))
    # Commands on exits set this for the workers they would start; it is as before when the test has ended.
    monkeypatch.setenv("REGRAFT_WEIGHTS", "weights")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)
    return Reader(tmp_path)


def prepare(reader: Reader) -> None:
    """Small files under the names that the pages use."""
    demo = ROOT / "api" / "pages" / "demo"
    (reader.folder / "profiles").mkdir()
    shutil.copytree(ROOT / "examples", reader.folder / "examples")
    for model in ("mobilenet_v2", "resnet18", "vit_b_16"):
        shutil.copy(demo / f"{model}.profile.json", reader.folder / "profiles" / f"{model}.cpu.json")
    profile = make_profile("net", "cpu", layers=5)
    (reader.folder / "profile.json").write_bytes(formats.dumps(profile))
    (reader.folder / "workload.json").write_bytes(formats.dumps(make_workload([profile], fragments=4)))


def prepare_results(reader: Reader) -> None:
    """A plan and a comparison of the prepared workload."""
    prepare(reader)
    given = "workload.json --profile profile.json"
    reader.run(f"regraft plan {given} --strategy graft --output plan.json")
    reader.run(f"regraft compare {given} --strategies gslice,graft --output result.json")


def prepare_clients(reader: Reader) -> None:
    """The pages leave profiles open; these are what the example's phones need."""
    prepare(reader)
    given = " ".join(f"--profile {path}" for path in sorted((reader.folder / "profiles").iterdir()))
    reader.values = {
        "--profile profiles/resnet18.json …": given,
        "--profile FILE…": given,
        "CLIENTS": "examples/clients.json",
        "WORKLOAD": "workload.json",
    }


def prepare_readme(reader: Reader) -> None:
    prepare(reader)
    (given,) = re.findall(r'^    P="([^"]+)"$', (ROOT / "README.md").read_text(), re.MULTILINE)
    reader.values = {"$P": given}


def prepare_planner(reader: Reader) -> None:
    prepare(reader)
    reader.values = {"WORKLOAD": "workload.json", "FILE…": "profile.json"}


def prepare_digits(reader: Reader) -> None:
    """A handful of digits, and a made-up profile of the model that reads them."""
    from runtime.models import open_chain

    chain = open_chain(DIGITS)
    rng = np.random.default_rng(0)
    inputs, labels = rng.random((128, 1, 8, 8), dtype=np.float32), np.arange(128) % 10
    np.savez(reader.folder / "digits.npz", inputs=inputs, labels=labels)
    profile = make_profile(DIGITS, "cpu", layers=chain.depth, batches=(1, 2, 4), shares=(50, 100))
    content = json.loads(formats.dumps(profile))
    content["layers"] = list(chain.layers)
    (reader.folder / "profiles").mkdir()
    (reader.folder / "profiles" / "digits.cpu.json").write_text(json.dumps(content))
    fragments = tuple(
        Fragment(id=f"phone-{n}", model=DIGITS, start=0, budget_ms=60.0, rate_rps=5.0) for n in range(3)
    )
    (reader.folder / "workload.json").write_bytes(formats.dumps(Workload(fragments=fragments)))
    reader.values = {"package.module:model": DIGITS, "profiles/…": "profiles/digits.cpu.json"}


PREPARED: dict[str, Callable[[Reader], None]] = {
    "README.md": prepare_readme,
    "docs/exits.md": prepare_digits,
    "docs/pages.md": prepare_results,
    "docs/partitioning.md": prepare_clients,
    "docs/planner.md": prepare_planner,
}


@pytest.mark.parametrize("name", FILE_PAGES)
def test_a_page_on_files_can_be_followed(name: str, reader: Reader) -> None:
    PREPARED.get(name, prepare)(reader)
    for command in written(ROOT / name):
        if command not in NOT_RUN:
            # Without a GPU `doctor` says what is missing, and that is what its exit code 1 is for.
            reader.run(command, exit_codes=(0, 1) if command == "regraft doctor" else (0,))
    made = {path for command in reader.ran for path in re.findall(r"--(?:output|report) ([\w.-]+)", command)}
    missing = [path for path in made if path not in reader.values and not (reader.folder / path).exists()]
    assert missing == []


@pytest.mark.slow
def test_service_and_machines_can_be_followed(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pages on the service, on many machines and on the runtime, on one system of two loopback hosts."""
    service, runtime = (iter(written(ROOT / "docs" / f"{name}.md")) for name in ("service", "runtime"))
    machines = iter(written(ROOT / "docs" / "how-to" / "many-machines.md"))
    profile = make_profile(TINY, "cpu", layers=3, batches=(1, 2), shares=(50, 100))
    write_served(reader, profile)

    reader.run(next(service))  # db upgrade
    key = reader.run(next(service)).strip()
    agents_key = reader.run(
        "regraft keys create --database sqlite:///regraft.sqlite --name agents --scopes agent"
    ).strip()
    (reader.folder / "agent-key").write_text(agents_key)
    assert next(service) in NOT_RUN  # serve
    with contextlib.ExitStack() as running:
        address = running.enter_context(reader.serving(next(machines), "--port", "0"))
        reader.values = {"http://planner:8080": address, "10.0.0.7": "127.0.0.1", "10.0.0.8": "127.0.0.2"}
        reader.values |= {"--port 9100": "--port 0", "--port 9000": "--port 0", "0.0.0.0": "127.0.0.1"}
        reader.values |= {"URL": address, "--key-file KEY": "--key-file agent-key"}
        monkeypatch.setenv("REGRAFT_SERVICE", address)
        monkeypatch.setenv("REGRAFT_KEY", agents_key)
        agents = [
            running.enter_context(
                reader.serving(next(machines), "--state-dir", node, f"--gpu={node}/cpu-0:cpu:4000", host=host)
            )
            for node, host in (("node-a", "127.0.0.1"), ("node-b", "127.0.0.2"))
        ]
        reader.values |= {"http://127.0.0.1:9100": agents[0], "http://127.0.0.2:9100": agents[1]}
        gateway = running.enter_context(reader.serving(next(machines)))

        monkeypatch.setenv("REGRAFT_KEY", key)
        plan = reader.run(next(service)).strip()  # submit --wait
        (run,) = [line.split()[0] for line in reader.run(next(service)).splitlines()]  # runs
        reader.values |= {"RUN": run, "PLAN": plan}
        assert "succeeded" in reader.run(next(service))  # runs RUN
        assert plan in reader.run(next(service))  # plans list
        assert json.loads(reader.run(next(service)))["strategy"] == "optimal"  # plans show
        reader.run(next(service))  # plans diff
        reader.values["PLAN"] = reader.run(next(service)).strip().split()[0]  # plans add
        deploy = next(service)
        reader.run(deploy)
        reader.values["PLAN"] = plan
        reader.run(deploy)
        reader.run(next(service))  # rollback
        nodes = next(service)
        assert "generation 4" in reader.run(next(service))  # deploy --on-drift
        reader.run(next(service))  # drifts
        assert [*service] == []
        wait_for(
            lambda: CliRunner().invoke(regraft, shlex.split(nodes)[1:]).exit_code == 0,
            what="instances that all run",
        )
        told = reader.run(nodes)
        assert "node-a\tlive" in told
        assert "node-b\tlive" in told

        wait_for(
            lambda: httpx.get(f"{gateway}/v2/health/ready", timeout=30).status_code == 200, what="routed plan"
        )
        client = {"fragment": "phone-0", "model": TINY, "start": 0, "rate_rps": 10.0, "budget_ms": 20_000.0}
        spec = {"gateway": gateway, "seconds": 1, "clients": [client]}
        (reader.folder / "spec.json").write_text(json.dumps(spec))
        reader.values |= {"SPEC": "spec", "RESULT": "loaded"}
        both = " ".join(f"--agent {agent}" for agent in agents)
        gateway_values = {"--agent URL [--agent URL …]": both, "--port 8080": "--port 0", "8081": "0"}
        reader.values = {**gateway_values, **reader.values, "node-a": "node-c"}
        own = ("--state-dir", "node-c", "--gpu=node-c/cpu-0:cpu:4000")
        with reader.serving(next(runtime), *own), reader.serving(next(runtime)) as other:
            wait_for(
                lambda: httpx.get(f"{other}/v2/health/ready", timeout=30).status_code == 200,
                what="second gateway",
            )
        reader.run(next(runtime))  # load
        assert [*runtime] == []
        totals = json.loads((reader.folder / "loaded.json").read_text())["totals"]
        assert totals["answered"] == totals["sent"] > 0
        assert totals["wrong"] == 0

        names = {"workload": formats.read(Workload, reader.folder / "workload.json"), "profile": profile}
        exec(python_of("service").replace("http://127.0.0.1:8080", address), {**names, "key": key})
        told = httpx.get(
            f"{address}/v1/deployments/current", timeout=30, headers={"Authorization": f"Bearer {key}"}
        )
        assert told.json()["generation"] == 5
    assert [*machines] == []


def python_of(name: str) -> str:
    """The page's example in Python."""
    text = (ROOT / "docs" / f"{name}.md").read_text()
    (found,) = re.findall(r"^    from .*\n(?:    .*\n)+", text, re.MULTILINE)
    return textwrap.dedent(found)


def write_served(reader: Reader, profile: Profile) -> None:
    """A plan for two GPUs of two nodes, with what it was made from."""
    fragments = tuple(
        Fragment(id=f"phone-{n}", model=TINY, start=0, budget_ms=2000.0, rate_rps=2.0) for n in range(2)
    )
    gpus = tuple(Gpu(id=f"{node}/cpu-0", type="cpu", memory_mb=4000.0) for node in ("node-a", "node-b"))
    (reader.folder / "profile.json").write_bytes(formats.dumps(profile))
    (reader.folder / "workload.json").write_bytes(formats.dumps(Workload(fragments=fragments, gpus=gpus)))
    reader.run("regraft plan workload.json --profile profile.json --strategy gslice --output plan.json")
    reader.ran.clear()


def test_postgresql_can_be_followed(reader: Reader, postgres_server: str) -> None:  # noqa: F811
    reader.values = {
        "postgresql://regraft:secret@db.internal/regraft": postgres_server.replace(" ", "%20"),
        "0.0.0.0": "127.0.0.1",
    }
    upgrade, create, serve = written(ROOT / "docs" / "how-to" / "postgresql.md")
    reader.run(upgrade)
    key = reader.run(create).strip()
    with reader.serving(serve, "--port", "0") as address:
        assert httpx.get(f"{address}/readyz", timeout=30).status_code == 200
        headers = {"Authorization": f"Bearer {key}"}
        assert httpx.get(f"{address}/v1/plans", timeout=30, headers=headers).status_code == 200


@pytest.mark.gpu
@pytest.mark.parametrize("command", [command for command in NOT_RUN if "--device cuda" in command])
def test_a_gpu_is_measured(command: str, reader: Reader) -> None:
    import torch

    from runtime import mps

    if not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU here")
    if not mps.probe().installed:
        pytest.skip(mps.probe().problem)
    started = not mps.probe().running
    mps.start()
    try:
        reader.values = {"resnet101 vit_b_16": f"{TINY} --seconds 2 --runs 1"}
        reader.run(command)
        (made,) = (reader.folder / "profiles").glob("*.json")
        assert formats.read(Profile, made).depth == 3
    finally:
        if started:
            mps.stop()


class Understood(Exception):  # noqa: N818
    """The command line was parsed to its end."""


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_takes_the_options_the_pages_give_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Benchmarks run for minutes, so they are stopped once they have read their command line."""
    parse = argparse.ArgumentParser.parse_args

    def understand(*given: object, **named: object) -> None:
        parse(*given, **named)  # type: ignore[arg-type]
        raise Understood

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", understand)
    pages = [ROOT / "README.md", *PAGES]
    told = [
        command.replace("`", "").replace(" PEERS", " peers")
        for page in pages
        for command in re.findall(rf"python -m benchmarks\.{name}\b[^\n`#]*", page.read_text())
    ]
    # Another test may have imported it, and runpy warns of that.
    monkeypatch.delitem(sys.modules, f"benchmarks.{name}", raising=False)
    for command in told:
        monkeypatch.setattr(sys, "argv", shlex.split(re.split(r"\s{2,}", command)[0])[2:])
        with pytest.raises(Understood):
            runpy.run_module(f"benchmarks.{name}", run_name="__main__")
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(f"benchmarks.{name}", run_name="__main__")
    assert ended.value.code == 0


def test_every_page_with_commands_is_followed_by_some_test() -> None:
    programs = "(?:regraft|python3?|make|pip|curl|docker|psql|sudo|nvidia-[a-z-]+) -?"
    pages = {str(page.relative_to(ROOT)): written(page, programs) for page in [ROOT / "README.md", *PAGES]}
    followed = {*FOLLOWED, *FILE_PAGES, *SERVED_PAGES}
    left_out = [
        (name, command)
        for name, commands in pages.items()
        for command in commands
        if command not in NOT_RUN and not command.startswith(BENCHMARK)
        if name not in followed or not command.startswith("regraft ")
    ]
    assert left_out == []
    known = [command for commands in pages.values() for command in commands]
    assert [command for command in NOT_RUN if command not in known] == []


def test_the_readme_names_every_strategy_and_target() -> None:
    text = (ROOT / "README.md").read_text()
    assert [name for name in STRATEGIES if f"`{name}`" not in text.partition("| strategy |")[2]] == []
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for page in [ROOT / "README.md", *PAGES]:
        assert set(re.findall(r"(?:`|^    )make ([a-z]+)", page.read_text(), re.MULTILINE)) <= {*targets}, (
            page
        )
