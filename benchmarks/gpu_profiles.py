"""The five models of the field's papers on one NVIDIA GPU under MPS: `python -m benchmarks.gpu_profiles`.

Steps, each in a process of its own with a time limit, each writing its file into `--output` as soon as it
has something; one that fails does not stop the next:

    machine   what there is: driver, torch, `regraft doctor`                                   machine.json
    mps       starts the MPS control daemon, and shows with clients at several shares whether
              each has the multiprocessors of its share, and runs beside others                mps.json
    profile   every model, layer by layer, at each share and batch, alone and beside a
              neighbour that has the rest of the GPU                                           profiles.json
    serve     fragments of these models planned by `gslice` (every fragment alone) and `graft`
              (re-aligned), their workers as MPS clients of the one GPU, and load              serving.json
    tests     the tests marked `gpu`                                                           tests.txt

`log.txt` has what all of them said. `--device cpu` tries the same on processor cores. Nothing of the GPU's
settings is changed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[1]
MODELS = ("resnet101", "mobilenet_v2", "vit_b_16", "inception_v3", "vgg11")
STEPS = ("machine", "mps", "profile", "serve", "tests")
# The driver's own tools are here in some containers.
TOOLS = ("/usr/local/nvidia/bin", "/usr/lib/nvidia", "/usr/lib/wsl/lib")
LARGEST_TENSOR = 900_000
RATE_RPS = 25.0
BUDGETS_MS = (45.0, 60.0, 80.0, 100.0, 120.0, 150.0)
MOST_PHONES = 8


def main() -> None:
    """Run the steps, or with --step one of them."""
    options = _options()
    options.output.mkdir(parents=True, exist_ok=True)
    if options.step:
        globals()[f"step_{options.step}"](options)
        return
    os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", ""), *TOOLS])
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="regraft-gpu-") as work,
        (options.output / "log.txt").open("ab", buffering=0) as log,
    ):
        os.environ.setdefault("REGRAFT_CACHE", f"{work}/cache")
        os.environ.setdefault("CUDA_MPS_LOG_DIRECTORY", f"{work}/mps-log")
        os.environ.setdefault("CUDA_MPS_PIPE_DIRECTORY", f"{work}/mps")
        limits = {
            "machine": 60.0,
            "mps": 75.0,
            "tests": 120.0,
            "profile": options.profile_s,
            "serve": options.serve_s,
        }
        try:
            for step in [name for name in STEPS if name not in options.skip.split(",")]:
                left_s = options.minutes * 60 - (time.monotonic() - began)
                _run_step(step, work, min(limits[step], left_s), log)
        finally:
            _end_mps(log)
            for name in ("control.log", "server.log"):
                with contextlib.suppress(OSError):
                    log.write(b"\n== MPS " + name.encode() + b"\n")
                    log.write(Path(work, "mps-log", name).read_bytes()[-20_000:])
        _say(log, f"all steps took {time.monotonic() - began:.0f} s")


def step_machine(options: argparse.Namespace) -> None:
    """What there is to work with."""
    found: dict[str, Any] = {"cores": os.cpu_count(), "kernel": os.uname().release}
    for command in (["nvidia-smi"], ["nvidia-smi", "-q", "-d", "COMPUTE,CLOCK"]):
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
            found[" ".join(command)] = done.stdout[-6000:]
    found["tools"] = {
        name: shutil.which(name)
        for name in ("nvidia-smi", "nvidia-cuda-mps-control", "nvidia-cuda-mps-server")
    }
    _write(options, "machine.json", found)
    import torch

    found["torch"] = torch.__version__
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        found["gpu"] = {
            "name": properties.name,
            "multiprocessors": properties.multi_processor_count,
            "memory_mb": properties.total_memory / 2**20,
        }
    _write(options, "machine.json", found)
    from runtime.doctor import examine, print_findings

    findings = examine("cuda" if options.device != "cpu" else "cpu")
    print_findings(findings)
    found["doctor"] = [finding.as_dict() for finding in findings]
    _write(options, "machine.json", found)


CLIENT = """
import sys, time, torch
from runtime import mps
from runtime.shares import hold
torch.zeros(1, device="cuda")
share = hold(float(sys.argv[1]), device="cuda")
properties = torch.cuda.get_device_properties(0)
size = 4096
a = torch.randn(size, size, device="cuda"); b = torch.randn(size, size, device="cuda")
for _ in range(5): a @ b
torch.cuda.synchronize()
sys.stdout.write("ready\\n"); sys.stdout.flush()
sys.stdin.readline()
began = time.perf_counter(); runs = 0
while time.perf_counter() - began < 2.0:
    for _ in range(5): a @ b
    torch.cuda.synchronize(); runs += 5
spent = time.perf_counter() - began
print(share.enforced_by, share.effective_pct(), properties.multi_processor_count, spent / runs * 1e3)
"""


def step_mps(options: argparse.Namespace) -> None:
    """Whether MPS works here: the daemon by our own code, then clients alone and side by side."""
    from runtime import mps
    from runtime.errors import ServingError

    found: dict[str, Any] = {"works": False}
    if options.device == "cpu":
        found["problem"] = "not tried: --device cpu"
        _write(options, "mps.json", found)
        return
    try:
        daemon = mps.start()
        found["daemon"] = {"running": daemon.running, "default_pct": daemon.default_pct}
        _write(options, "mps.json", found)
        found["alone"] = [_clients([float(share)])[0] for share in options.clients.split(",")]
        _write(options, "mps.json", found)
        if "," in options.clients:
            found["side_by_side"] = _clients([50, 50])
        found["works"] = all(client["enforced_by"] == "mps" for client in found["alone"])
    except (ServingError, RuntimeError, OSError) as error:
        found["problem"] = f"{type(error).__name__}: {error}"
    _write(options, "mps.json", found)
    print(json.dumps(found, indent=1))
    if not found["works"]:
        with contextlib.suppress(ServingError):
            mps.stop()
        sys.exit(1)


def step_tests(options: argparse.Namespace) -> None:
    """The tests marked gpu; torch of another version may warn of what ours does not."""
    files = [f"tests/runtime/test_{name}.py" for name in ("shares", "profiler", "gpu")]
    arguments = ["-m", "gpu", "-v", "-o", "filterwarnings=default", "-p", "no:cacheprovider", *files]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    (options.output / "tests.txt").write_bytes(done.stdout[-200_000:])
    print(done.stdout.decode(errors="replace")[-3000:])


def step_profile(options: argparse.Namespace) -> None:
    """Every model; what is finished is in profiles.json, what is not in its partial files."""
    folder = Path(os.environ["REGRAFT_GPU_WORK"]) / "profiles"
    arguments = [
        *options.models.split(","),
        f"--output={folder}",
        f"--device={options.device}",
        f"--batches={options.batches}",
        f"--shares={options.shares}",
        f"--seconds={options.seconds}",
        f"--runs={options.runs}",
        f"--jobs={options.jobs}",
        "--neighbour",
    ]
    code = "import typer; from runtime import commands_measure; typer.run(commands_measure.profile)"
    for _ in range(2):  # what failed goes on where it stopped
        process = subprocess.Popen([sys.executable, "-c", code, *arguments], cwd=REPOSITORY)
        while True:
            ended = process.poll() is not None
            files = sorted(folder.glob("*.json"))
            with contextlib.suppress(OSError, ValueError):  # one is being renamed into its place
                _write(options, "profiles.json", {path.stem: json.loads(path.read_text()) for path in files})
            if ended:
                break
            time.sleep(2.0)
        if not process.returncode:
            return
    sys.exit(1)


def step_serve(options: argparse.Namespace) -> None:
    """Plans of the same fragments with and without re-alignment, served and loaded."""
    from planner.formats import parse
    from planner.profile import Profile

    content = json.loads((options.output / "profiles.json").read_text())
    profiles = [
        parse(Profile, json.dumps(profile).encode(), source=name)
        for name, profile in content.items()
        if profile.get("format") == Profile.FORMAT
    ]
    found: dict[str, Any] = {"rate_rps": RATE_RPS, "planned": [], "served": []}
    if not profiles:
        sys.exit("no profile is complete")
    phones, most = 0, 100.0 * options.gpus
    for count in range(1, MOST_PHONES + 1):
        shares = {name: _share(name, profiles, count) for name in ("gslice", "gslice+", "graft", "optimal")}
        found["planned"].append({"phones_per_model": count, "share": shares})
        if shares["gslice"] is not None and shares["gslice"] <= most:
            phones = count
        _write(options, "serving.json", found)
    phones = options.phones or phones
    found["phones_per_model"] = phones
    if not phones:
        found["problem"] = "not even one phone of each model fits the GPU under gslice"
        _write(options, "serving.json", found)
        sys.exit(1)
    from tests.runtime.cluster import cluster_in

    with (
        tempfile.TemporaryDirectory(dir=os.environ["REGRAFT_GPU_WORK"]) as directory,
        cluster_in(Path(directory)) as cluster,
    ):
        # Without a device named, an agent offers the GPUs there are.
        offered = ["--starts=8"] if options.device != "cpu" else []
        agent = cluster.agent("node-a", 0 if options.device != "cpu" else options.gpus, *offered)
        gateway = cluster.gateway(agent)
        try:
            for strategy in ("gslice", "graft", "optimal"):
                served = _serve(options, cluster, gateway, strategy, profiles, phones)
                found["served"].append(served)
                _write(options, "serving.json", found)
        finally:
            for process in (agent, gateway):
                print(f"== {process.log.name}\n{process.log.read_text(errors='replace')[-15_000:]}")


def _serve(
    options: argparse.Namespace,
    cluster: Any,
    gateway: Any,
    strategy: str,
    profiles: Sequence[Any],
    phones: int,
) -> dict[str, Any]:
    from planner import laws
    from planner.formats import to_json
    from tests.runtime.cluster import ready, wait_for

    plan = _plan(strategy, profiles, phones)
    if plan is None:
        return {"strategy": strategy, "problem": "no plan: see the log"}
    workload = _workload(profiles, phones)
    document = to_json(plan)
    served: dict[str, Any] = {
        "strategy": strategy,
        "plan": document,
        "workload": to_json(workload),
        "loads": [],
    }
    by_model = {profile.model: profile for profile in profiles}
    fragments = {fragment.id: fragment for fragment in workload.fragments}
    routes = [
        {
            **route,
            "model": fragments[route["fragment"]].model,
            "start": fragments[route["fragment"]].start,
            "budget_ms": fragments[route["fragment"]].budget_ms,
            "rate_rps": fragments[route["fragment"]].load_rps,
        }
        for route in document["routes"]
    ]
    gpus = sorted(gpu["id"] for gpu in cluster.service.nodes.get("node-a", {}).get("gpus", []))
    if not gpus:
        wait_for(lambda: "node-a" in cluster.service.nodes, what="registered agent")
        gpus = sorted(gpu["id"] for gpu in cluster.service.nodes["node-a"]["gpus"])
    for limited in (True, False):
        workers = [
            {
                "stage": stage.id,
                "instance": instance,
                "gpu": gpus[number % len(gpus)],
                "memory_mb": laws.memory_mb(by_model[stage.model], stage.start, stage.end, stage.batch)
                if limited
                else None,
            }
            for number, (stage, instance) in enumerate(
                (stage, instance) for stage in plan.stages for instance in range(stage.instances)
            )
        ]
        generation = max((a["generation"] for a in cluster.service.assignments.values()), default=0) + 1
        assignment = {
            "format": "regraft.assignment/v1",
            "generation": generation,
            "deployment": f"d-{generation}",
            "plan": f"p-{generation}",
            "stages": document["stages"],
            "routes": routes,
            "workers": workers,
        }
        began = time.monotonic()
        cluster.service.assign(node_a=assignment)
        up = _comes_up(cluster, generation, timeout_s=60)
        served["up_after_s"] = round(time.monotonic() - began, 1)
        served["memory_limited"] = limited
        served["workers"] = cluster.service.status("node-a")["workers"]
        if up:
            break
        print(f"{strategy}: not all workers came up; memory limited: {limited}")
    with contextlib.suppress(AssertionError):
        wait_for(lambda: ready(gateway), what="routed generation", timeout_s=20)
    time.sleep(1.0)
    for arrivals in ("paced", "poisson"):
        served["loads"].append(_load(options, gateway, workload, arrivals))
    served["workers_after"] = cluster.service.status("node-a")["workers"]
    return served


def _comes_up(cluster: Any, generation: int, *, timeout_s: float) -> bool:
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        if cluster.serving(generation):
            return True
        status = cluster.service.status("node-a")
        failed = [worker for worker in status["workers"] if worker["restarts"] > 1]
        if status["generation"] == generation and failed:
            print(f"worker failed: {failed[0]}")
            return False
        time.sleep(0.1)
    return False


def _load(options: argparse.Namespace, gateway: Any, workload: Any, arrivals: str) -> dict[str, Any]:
    work = Path(os.environ["REGRAFT_GPU_WORK"])
    spec = {
        "gateway": gateway.listening(),
        "seconds": options.load_s,
        "arrivals": arrivals,
        "clients": [
            {
                "fragment": fragment.id,
                "model": fragment.model,
                "start": fragment.start,
                "rate_rps": fragment.rate_rps,
                "budget_ms": fragment.budget_ms,
            }
            for fragment in workload.fragments
        ],
    }
    (work / "load.json").write_text(json.dumps(spec))
    code = "import typer; from runtime import commands_serve; typer.run(commands_serve.load)"
    arguments = [str(work / "load.json"), f"--output={work / 'load-result.json'}"]
    (work / "load-result.json").unlink(missing_ok=True)
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=REPOSITORY, timeout=120, check=False)
    if done.returncode:
        return {"arrivals": arrivals, "problem": f"the load ended with {done.returncode}"}
    result: dict[str, Any] = json.loads((work / "load-result.json").read_text())
    totals = result["totals"]
    print(f"{arrivals}: {json.dumps(totals)}", flush=True)
    return result


def _workload(profiles: Sequence[Any], phones: int) -> Any:
    """`phones` a model, each cut elsewhere in the first half, where the tensor is not too large to send."""
    from planner.workload import Fragment, Workload

    fragments = []
    for profile in profiles:
        assert profile.cut_bytes is not None
        cuts = [
            cut for cut in range(max(1, profile.depth * 2 // 3)) if profile.cut_bytes[cut] <= LARGEST_TENSOR
        ] or [0]
        for number in range(phones):
            fragments.append(
                Fragment(
                    id=f"{profile.model.replace(':', '.')}-{number}",
                    model=profile.model,
                    start=cuts[number * len(cuts) // phones],
                    budget_ms=BUDGETS_MS[number % len(BUDGETS_MS)] * SLOWER[0],
                    rate_rps=RATE_RPS / SLOWER[0],
                )
            )
    return Workload(fragments=tuple(fragments))


# On a processor core budgets are longer and rates lower, by this factor.
SLOWER = [1.0]


def _plan(strategy: str, profiles: Sequence[Any], phones: int) -> Any:
    from planner.errors import PlannerError
    from planner.planning import make_plan
    from planner.problem import PlanSettings

    settings = PlanSettings(time_limit_s=6, threads=8, queueing="headroom")
    try:
        return make_plan(_workload(profiles, phones), profiles, strategy=strategy, settings=settings)
    except (PlannerError, ImportError) as error:
        print(f"{strategy}, {phones} phones a model: {type(error).__name__}: {str(error)[:500]}")
        return None


def _share(strategy: str, profiles: Sequence[Any], phones: int) -> float | None:
    if strategy == "optimal" and phones > 4:
        return None
    plan = _plan(strategy, profiles, phones)
    return None if plan is None else float(plan.objective.share)


def _clients(shares: Sequence[float]) -> list[dict[str, Any]]:
    """MPS clients that multiply matrices for two seconds at the same time."""
    from runtime import mps

    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CLIENT, f"{share:g}"],
            cwd=REPOSITORY,
            env={**os.environ, **mps.environment(share)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for share in shares
    ]
    watchdog = [signal.SIGKILL, processes]
    found = []
    try:
        signal.signal(signal.SIGALRM, lambda *_: [p.kill() for p in watchdog[1]])  # type: ignore[union-attr,call-overload]
        signal.alarm(45)
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        for process in processes:
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write("go\n")
                process.stdin.flush()
        for share, process in zip(shares, processes, strict=True):
            said, complaints = process.communicate()
            if process.returncode:
                raise RuntimeError(
                    f"a client at {share:g} % ended with {process.returncode}: {complaints[-800:]}"
                )
            kind, effective, multiprocessors, each_ms = said.split()
            found.append(
                {
                    "share_pct": share,
                    "enforced_by": kind,
                    "effective_pct": float(effective),
                    "multiprocessors_seen": int(multiprocessors),
                    "matrix_product_ms": round(float(each_ms), 3),
                }
            )
    finally:
        signal.alarm(0)
        for process in processes:
            process.kill()
            process.wait()
    return found


def _run_step(step: str, work: str, limit_s: float, log: Any) -> None:
    """One step as a process group that is ended at its time."""
    if limit_s < 10:
        _say(log, f"== {step}: left out, no time")
        return
    _say(log, f"== {step} (at most {limit_s:.0f} s)")
    began = time.monotonic()
    command = [sys.executable, "-m", "benchmarks.gpu_profiles", *sys.argv[1:], "--step", step]
    process = subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env={**os.environ, "REGRAFT_GPU_WORK": work, "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    try:
        status: int | str = process.wait(limit_s)
    except subprocess.TimeoutExpired:
        status = "out of time"
        # Its own children (an agent, say) are told first, and may end in order.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        time.sleep(3.0)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    _say(log, f"== {step}: {status}, after {time.monotonic() - began:.0f} s")


def _end_mps(log: Any) -> None:
    from runtime import mps
    from runtime.errors import ServingError

    try:
        mps.stop()
    except ServingError as error:
        _say(log, f"MPS: {error}")


def _write(options: argparse.Namespace, name: str, content: Any) -> None:
    """Whole or not at all."""
    temporary = options.output / f".{name}"
    temporary.write_text(json.dumps(content, indent=1) + "\n")
    temporary.replace(options.output / name)


def _say(log: Any, text: str) -> None:
    print(text, flush=True)
    log.write(text.encode() + b"\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for the results")
    parser.add_argument("--device", default="cuda", help="cuda, or cpu to try the steps")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--batches", default="1,2,4,8,16,32")
    parser.add_argument("--shares", default="5,10,25,50,75,100")
    parser.add_argument("--seconds", type=float, default=10.0, help="for the cells of one model")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=3, help="models made ready at the same time")
    parser.add_argument("--gpus", type=int, default=1, help="how many devices plans may fill")
    parser.add_argument("--phones", type=int, default=0, help="a model; default: as many as gslice can fit")
    parser.add_argument("--load-s", type=float, default=8.0)
    parser.add_argument("--minutes", type=float, default=8.5, help="for all steps together")
    parser.add_argument("--profile-s", type=float, default=280.0)
    parser.add_argument("--serve-s", type=float, default=180.0)
    parser.add_argument("--clients", default="100,50,25,10", help="shares at which MPS is tried")
    parser.add_argument("--skip", default="", help="steps left out, by comma")
    parser.add_argument("--slower", type=float, default=1.0, help="longer budgets, lower rates: for a CPU")
    parser.add_argument("--step", choices=STEPS, default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    SLOWER[0] = options.slower
    return options


if __name__ == "__main__":
    main()
