"""The processes behind `regraft agent` and `regraft gateway`: put together, run until told to stop."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
import typer
import uvloop

from planner.errors import Complaint, InputError
from planner.formats import write_bytes
from runtime.errors import ServingError
from runtime.memory import settle

if TYPE_CHECKING:
    from runtime.agent_ray import RayNursery
    from runtime.gateway_grpc import GrpcFront

log = structlog.get_logger()

# For answers on their way out, once all are made.
_CLOSING_S = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentSettings:
    """What `regraft agent` was told."""

    service: str
    name: str
    key_file: Path | None = None
    host: str = "127.0.0.1"
    port: int = 0
    port_file: Path | None = None
    gpus: tuple[str, ...] = ()
    state_dir: Path | None = None
    tcp: bool = False
    unix: bool = True
    starts: int = 2
    hung_after_s: float = 10.0
    model_seed: int = 0
    ray: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class GatewaySettings:
    """What `regraft gateway` was told."""

    agents: tuple[str, ...]
    host: str = "127.0.0.1"
    port: int = 8080
    port_file: Path | None = None
    grpc_port: int | None = None
    grpc_port_file: Path | None = None
    queue_limit: int = 256
    max_body_bytes: int = 64 << 20
    arena_bytes: int = 1 << 30
    drain_s: float = 30.0


def run_agent(settings: AgentSettings) -> None:
    """Be the agent until SIGTERM or SIGINT."""
    _run(_agent(settings))


def run_gateway(settings: GatewaySettings) -> None:
    """Be the gateway until SIGTERM or SIGINT."""
    _run(_gateway(settings))


async def _agent(settings: AgentSettings) -> None:
    from runtime.agent import Agent, ServiceLoop
    from runtime.agent_devices import discover
    from runtime.agent_front import AgentFront
    from runtime.http_server import HttpServer
    from runtime.service_client import ServiceClient

    key = _key(settings.key_file)
    state_dir = settings.state_dir or Path.home() / ".local/state/regraft" / settings.name
    nursery: RayNursery | None = None
    if settings.ray is None:
        devices = discover(settings.name, list(settings.gpus))
    else:
        from runtime.agent_ray import RayNursery, connect, devices_of

        cluster = connect(settings.ray)
        devices = devices_of(cluster, settings.name)
        nursery = RayNursery(cluster, devices)
    # After Ray, which has a handler of its own for the same signals.
    stop = _stop_signal()
    agent = Agent(
        name=settings.name,
        devices=devices,
        directory=state_dir,
        worker_address=settings.host if settings.tcp else None,
        unix=settings.unix and nursery is None,
        starts=settings.starts,
        hung_after_s=settings.hung_after_s,
        seed=settings.model_seed,
        nursery=nursery,
    )
    server = HttpServer(AgentFront(agent).handle)
    client = ServiceClient(settings.service, key)
    tasks: list[asyncio.Task[None]] = []
    try:
        await server.start(settings.host, settings.port)
        agent.restore()
        settle()
        _announce(settings.port_file, server.port)
        service = ServiceLoop(agent, client, f"http://{settings.host}:{server.port}")
        await service.register_first()
        log.info("agent", name=settings.name, port=server.port, devices=sorted(agent.devices))
        tasks = [asyncio.create_task(service.run()), asyncio.create_task(_tick(agent.tick))]
        await _first(stop, *tasks)
    finally:
        log.info("agent stops", name=settings.name)
        await agent.close()
        await _cancel(tasks)
        await server.stop(grace_s=1.0)
        await client.close()


async def _gateway(settings: GatewaySettings) -> None:
    from runtime.gateway import Gateway
    from runtime.gateway_exits import ExitReporter
    from runtime.gateway_front import Front
    from runtime.gateway_metrics import gateway_metrics
    from runtime.gateway_tables import AgentWatcher
    from runtime.http_server import HttpServer
    from runtime.metrics import Metrics
    from runtime.transport_arena import Arena

    _allow_many_connections()
    stop = _stop_signal()
    watchers: list[AgentWatcher] = []

    def routed(generation: int) -> None:
        log.info("routed", generation=generation)
        for watcher in watchers:
            watcher.routed()

    grpc: GrpcFront | None = None
    arena = Arena(settings.arena_bytes)
    gateway = Gateway(queue_limit=settings.queue_limit, arena=arena, on_routed=routed)
    watchers += [AgentWatcher(gateway, url) for url in dict.fromkeys(settings.agents)]
    front = Front(
        gateway,
        arena,
        Metrics(lambda: gateway_metrics(gateway, arena)),
        max_body_bytes=settings.max_body_bytes,
    )
    server = HttpServer(front.handle, max_body_bytes=settings.max_body_bytes, allocate=front.allocate)
    tasks: list[asyncio.Task[None]] = []
    try:
        gateway.start()
        await server.start(settings.host, settings.port)
        if settings.grpc_port is not None:
            from runtime.gateway_grpc import GrpcFront

            grpc = GrpcFront(gateway, max_body_bytes=settings.max_body_bytes)
            _announce(settings.grpc_port_file, await grpc.start(settings.host, settings.grpc_port))
        settle()
        _announce(settings.port_file, server.port)
        log.info("gateway", port=server.port, agents=list(settings.agents))
        reporter = ExitReporter(gateway, list(dict.fromkeys(settings.agents)))
        tasks = [asyncio.create_task(watcher.run()) for watcher in watchers]
        tasks.append(asyncio.create_task(reporter.run()))
        await _first(stop, *tasks)
    finally:
        log.info("gateway stops", in_flight=gateway.in_flight)
        # Whoever asks whether it is ready hears of it first; what was accepted is answered.
        gateway.stop_taking()
        server.stop_soon()
        deadline = time.monotonic() + settings.drain_s
        while (gateway.in_flight or server.busy) and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        if gateway.in_flight:
            log.warning("not answered in time", in_flight=gateway.in_flight, drain_s=settings.drain_s)
        # What is answered by now is on its way out; whoever is not hears that this gateway is gone.
        await asyncio.gather(server.stop(_CLOSING_S), *([grpc.stop(_CLOSING_S)] if grpc is not None else []))
        await _cancel(tasks)
        await gateway.close()
        arena.close()


def _allow_many_connections() -> None:
    """A connection takes two file descriptors; the usual soft limit is 1024, for the sake of `select`."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _run(main: Coroutine[Any, Any, None]) -> None:
    _log_to_standard_error()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main)
    except (InputError, ServingError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    except OSError as error:  # a port in use, a directory that cannot be written
        typer.echo(f"{error.filename or 'cannot start'}: {error.strerror or error}", err=True)
        raise typer.Exit(2) from None


def _stop_signal() -> asyncio.Task[bool]:
    """Done when the process is asked to stop. A second signal ends it the usual way."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop() -> None:
        stopping.set()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    return loop.create_task(stopping.wait())


async def _first(*tasks: asyncio.Task[Any]) -> None:
    """Until one of them is done; its failure is ours."""
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _tick(action: Any, every_s: float = 1.0) -> None:
    while True:
        await asyncio.sleep(every_s)
        action()


def _announce(path: Path | None, port: int) -> None:
    if path is not None:
        write_bytes(f"{port}\n".encode(), path)


def _key(path: Path | None) -> str:
    if path is None:
        key = os.environ.get("REGRAFT_KEY", "")
        if not key:
            complaint = Complaint(
                place="key", problem="is missing", cure="give --key-file or set REGRAFT_KEY"
            )
            raise InputError("regraft agent", [complaint])
        return key
    try:
        key = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        complaint = Complaint(place="file", problem=str(error), cure="give a readable file with one key")
        raise InputError(str(path), [complaint]) from None
    if not key:
        raise InputError(str(path), [Complaint(place="file", problem="is empty", cure="it holds one key")])
    return key


def _log_to_standard_error() -> None:
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
        ],
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
    )
