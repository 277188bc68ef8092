"""Extensions of the Open Inference Protocol that Triton's clients use: taken, or refused."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from runtime.errors import BadRequestError


def check_tensor_parameters(parameters: Iterable[str], owner: str) -> None:
    """Refuse extensions that change where a tensor is, or what is answered. Raises BadRequestError."""
    for name in parameters:
        if name.startswith("shared_memory_"):
            raise BadRequestError(
                f"{owner} is in shared memory ({name}), which is not offered; send its bytes"
            )
        if name == "classification":
            raise BadRequestError(
                f"{owner} asks for classification, which is not offered; it is given as it is"
            )


def decompress(body: memoryview, encoding: bytes, limit: int) -> memoryview:
    """A body sent in gzip or deflate, as Triton's client may. Raises BadRequestError; `limit` is in bytes."""
    if encoding not in (b"gzip", b"deflate"):
        raise BadRequestError(
            f"Content-Encoding {encoding.decode('latin-1')!r} is not taken; send it plain, in gzip or deflate"
        )
    # 32: whichever header it has, zlib's or gzip's
    inflating = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        plain = inflating.decompress(body, limit)
    except zlib.error as error:
        raise BadRequestError(f"the body is not {encoding.decode()}: {error}") from None
    if not inflating.eof:
        problem = f"is larger than {limit} bytes when unpacked" if len(plain) == limit else "ends too soon"
        raise BadRequestError(f"the body, in {encoding.decode()}, {problem}")
    return memoryview(plain)
