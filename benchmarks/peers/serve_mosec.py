"""Mosec with the null stage: `python serve_mosec.py --port N`; takes raw tensors at /inference."""

from __future__ import annotations

from mosec import Server, Worker
from null_stage import MAX_BATCH, answer_batch


class Null(Worker):
    """Bytes in, bytes out: no JSON in either direction."""

    def deserialize(self, data: bytes) -> bytes:
        return data

    def serialize(self, data: bytes) -> bytes:
        return data

    def forward(self, data: list[bytes]) -> list[bytes]:
        return answer_batch(data)


if __name__ == "__main__":
    server = Server()
    # Wait 1 ms for a batch: less than a millisecond cannot be said, and its default of 10 ms is slower here.
    server.append_worker(Null, max_batch_size=MAX_BATCH, max_wait_time=1)
    server.run()
