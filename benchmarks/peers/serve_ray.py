"""Ray Serve with the null stage: `python serve_ray.py --port N`; takes raw tensors at /."""

from __future__ import annotations

import argparse
import os
import signal
from typing import Any

# Must be set before ray is imported.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import ray
from null_stage import MAX_BATCH, answer_batch
from ray import serve
from starlette.requests import Request
from starlette.responses import Response


@serve.deployment(num_replicas=1, max_ongoing_requests=4 * MAX_BATCH, ray_actor_options={"num_cpus": 1})
class Null:
    """Bytes in, bytes out."""

    @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=0.001)
    async def answer(self, bodies: list[bytes]) -> list[bytes]:
        return answer_batch(bodies)

    async def __call__(self, request: Request) -> Response:
        return Response(await self.answer(await request.body()), media_type="application/octet-stream")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    options: Any = parser.parse_args()
    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=200 << 20, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": options.port})
    serve.run(Null.bind())
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main()
