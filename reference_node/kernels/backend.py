"""Where kernels run: on CUDA tensors by Triton, on any tensor by Triton's interpreter, else nowhere.

The interpreter is on when `TRITON_INTERPRET=1` was set before the first kernel module was imported. Its matrix product
takes the bit patterns of bfloat16 for integers, so kernels widen their operands there.
"""

from __future__ import annotations

import functools
import os
from importlib.util import find_spec

from torch import Tensor


def interpreted() -> bool:
    """Return whether Triton's interpreter runs the kernels."""
    return os.environ.get("TRITON_INTERPRET") == "1"


@functools.cache
def find_triton() -> bool:
    """Return whether Triton is installed."""
    return find_spec("triton") is not None


def runs_triton(tensor: Tensor) -> bool:
    """Return whether operations on this tensor run as Triton kernels."""
    return (tensor.is_cuda or interpreted()) and find_triton()
