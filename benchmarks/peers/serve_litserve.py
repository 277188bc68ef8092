"""LitServe with the null stage: `python serve_litserve.py --port N`; takes raw tensors at /predict."""

import argparse
from typing import Annotated, Any

import litserve
from fastapi import Body, Response
from null_stage import MAX_BATCH, answer_batch

# LitServe reads the annotation itself, so it must be no string: no `annotations` from the future here.
Raw = Annotated[bytes, Body(media_type="application/octet-stream")]


class Null(litserve.LitAPI):
    """Bytes in, bytes out: declared as bytes, since its own decoding knows JSON and forms only."""

    def setup(self, device: str) -> None:
        del device

    def decode_request(self, request: Raw) -> bytes:
        return request

    def batch(self, inputs: list[bytes]) -> list[bytes]:
        return inputs

    def predict(self, inputs: list[bytes]) -> list[bytes]:
        return answer_batch(inputs)

    def unbatch(self, output: list[bytes]) -> list[bytes]:
        return output

    def encode_response(self, output: bytes) -> Response:
        return Response(output, media_type="application/octet-stream")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    options: Any = parser.parse_args()
    api = Null(max_batch_size=MAX_BATCH, batch_timeout=0.001)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1, fast_queue=True)
    server.run(
        host="127.0.0.1",
        port=options.port,
        num_api_servers=1,
        generate_client_file=False,
        log_level="warning",
        access_log=False,
    )


if __name__ == "__main__":
    main()
