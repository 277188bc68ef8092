"""How arithmetic is done on a GPU, the same when it is measured and when it serves."""

from __future__ import annotations

import os

from runtime.errors import SettingError

VARIABLE = "REGRAFT_TF32"


def exact_arithmetic() -> bool:
    """Let 32-bit numbers be multiplied as such; true when that is so.

    torch lets cuDNN round the factors of convolutions to 19 bits (TF32) otherwise, and then a fragment's
    answer is no longer the whole model's to floating-point tolerance. REGRAFT_TF32=1 allows it, for matrix
    products too: several times faster on GPUs of compute capability 8.0 and later, errors near 1e-3.
    """
    import torch

    asked = os.environ.get(VARIABLE, "0")
    if asked not in ("0", "1"):
        raise SettingError(f"{VARIABLE} is {asked!r}: expected 0 or 1")
    allowed = asked == "1"
    torch.backends.cudnn.allow_tf32 = allowed
    torch.backends.cuda.matmul.allow_tf32 = allowed
    return not allowed
