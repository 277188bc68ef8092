"""The commands that serve: `regraft agent`, `regraft gateway`, `regraft load`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

PortFile = Annotated[
    Path | None, typer.Option(help="Write the port here once it is listening (for --port 0).", dir_okay=False)
]


def agent(
    service: Annotated[str, typer.Option(help="Address of the service, such as http://127.0.0.1:8000.")],
    name: Annotated[str, typer.Option(help="This machine's name, unique among the service's nodes.")],
    key_file: Annotated[
        Path | None,
        typer.Option(
            help="File with the service's key (scope agent). Default: $REGRAFT_KEY.", dir_okay=False
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address on which gateways reach this agent.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Its port; 0 takes a free one.")] = 0,
    port_file: PortFile = None,
    gpu: Annotated[
        list[str] | None,
        typer.Option(
            help="A device to offer, as id:type:memory_mb[:number]; repeatable. number is the CUDA index or "
            "the core. Default: every CUDA GPU, or every core as a device of type cpu."
        ),
    ] = None,
    state_dir: Annotated[
        Path | None,
        typer.Option(help="Where the last assignment is kept. Default: ~/.local/state/regraft/NAME."),
    ] = None,
    tcp: Annotated[
        bool, typer.Option("--tcp", help="Let workers listen on --host too, for gateways on other machines.")
    ] = False,
    tcp_only: Annotated[
        bool, typer.Option("--tcp-only", help="Let workers listen on --host and on no unix socket.")
    ] = False,
    ray: Annotated[
        str | None,
        typer.Option(
            help="Start workers as actors of this Ray cluster (`auto`, or HOST:PORT of its head) and offer "
            "its nodes' devices. Needs regraft[ray] here and on its nodes."
        ),
    ] = None,
    starts: Annotated[int, typer.Option(min=1, help="How many workers may start at once.")] = 2,
    hung_after_s: Annotated[
        float, typer.Option(min=2.0, help="A worker that says nothing for so many seconds is restarted.")
    ] = 10.0,
    model_seed: Annotated[int, typer.Option(help="Seed of the weights of models that have none.")] = 0,
) -> None:
    """Run this machine's part of the deployed plan.

    Registers the machine's devices with the service, follows its assignment, keeps one worker process an
    instance running, and reports what really runs. It goes on with its last assignment while the service
    is away. SIGTERM (or Ctrl-C) lets every worker finish what it has.
    """
    from runtime.serving import AgentSettings, run_agent

    run_agent(
        AgentSettings(
            service=service,
            name=name,
            key_file=key_file,
            host=host,
            port=port,
            port_file=port_file,
            gpus=tuple(gpu or ()),
            state_dir=state_dir,
            tcp=tcp or tcp_only,
            unix=not tcp_only,
            starts=starts,
            hung_after_s=hung_after_s,
            model_seed=model_seed,
            ray=ray,
        )
    )


def gateway(
    agent: Annotated[list[str], typer.Option(help="Address of an agent; repeatable, one for each machine.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="HTTP port; 0 takes a free one.")] = 8080,
    port_file: PortFile = None,
    grpc_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port for gRPC as well; 0 takes a free one. Default: none."),
    ] = None,
    grpc_port_file: PortFile = None,
    queue: Annotated[
        int,
        typer.Option(min=1, help="Samples that may wait in front of a stage before requests are refused."),
    ] = 256,
    max_body_mb: Annotated[int, typer.Option(min=1, help="Largest request taken.")] = 64,
    arena_mb: Annotated[
        int,
        typer.Option(
            min=1,
            help="Shared memory for tensors on their way through workers of this machine; used as needed. "
            "Where it is full, tensors travel over sockets.",
        ),
    ] = 1024,
    drain_s: Annotated[
        float,
        typer.Option(
            min=0, help="Longest time after SIGTERM in which requests accepted before are answered."
        ),
    ] = 30.0,
) -> None:
    """Take requests in the Open Inference Protocol (KServe v2) and run them through the plan's stages.

    A fragment is a model named MODEL@START, such as resnet101@12; plain resnet101 is the whole model. The
    request parameter `fragment` names the phone that asks, `budget_ms` the time its request may take.
    """
    from runtime.serving import GatewaySettings, run_gateway

    run_gateway(
        GatewaySettings(
            agents=tuple(agent),
            host=host,
            port=port,
            port_file=port_file,
            grpc_port=grpc_port,
            grpc_port_file=grpc_port_file,
            queue_limit=queue,
            max_body_bytes=max_body_mb << 20,
            arena_bytes=arena_mb << 20,
            drain_s=drain_s,
        )
    )


def load(
    spec: Annotated[Path, typer.Argument(help="What to send: a JSON file; `-` is standard input.")],
    output: Annotated[Path, typer.Option(help="Where the result goes, as JSON; `-` is standard output.")],
) -> None:
    """Send requests to a gateway like the phones of a plan, and say how its promises were kept.

    \b
    SPEC is {"gateway": "http://…", "seconds": 20, "seed": 0, "arrivals": "paced" or "poisson",
             "clients": [{"fragment": "phone-7", "model": "resnet101", "start": 12,
                          "rate_rps": 30, "budget_ms": 43.2}, …],
             "check": true, "model_seed": 0, "records": false}
    Every client runs its own part of the model beforehand and sends the real tensor of its cut; with
    "check", every answer is compared with the whole model's.
    """
    from planner.errors import InputError
    from runtime.errors import ServingError
    from runtime.load import run_load

    try:
        run_load(spec, output)
    except (InputError, ServingError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
