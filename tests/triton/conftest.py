"""Turns Triton's interpreter on where it can run, before any kernel is decorated.

Triton 3.6's interpreter fails on numpy 2.3 and newer, which the main environment has; there the variable stays unset,
so that nothing else of the suite runs interpreted by accident, and the tests of this folder skip with the reason.
"""

from __future__ import annotations

import os
from importlib.util import find_spec

import numpy as np


def can_interpret() -> bool:
    """Return whether this environment can run Triton's interpreter."""
    old_numpy = tuple(int(part) for part in np.__version__.split(".")[:2]) < (2, 3)
    return old_numpy and find_spec("triton") is not None


if can_interpret():
    os.environ["TRITON_INTERPRET"] = "1"
