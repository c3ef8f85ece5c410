"""Standard normals from uniforms, in the middle of the distribution.

Rule decided here: Wichura's algorithm AS 241 (PPND16), "The percentage points of the normal distribution", Applied
Statistics 37 (1988), as Python's `statistics.NormalDist.inv_cdf` evaluates it, operation by operation. Tails take a
logarithm, which is left to the reference.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Float = NDArray[np.float64]

CENTRE = 0.425
"""Uniforms within this of one half belong to the middle."""


@njit(cache=True, nogil=True)
def _centre(u, out):  # type: ignore[no-untyped-def]
    """Fill `out` where `u` belongs to the middle; returns whether all of it does."""
    everything = True
    for i in range(u.shape[0]):
        q = u[i] - 0.5
        if abs(q) > CENTRE:
            everything = False
            continue
        r = 0.180625 - q * q
        over = 2.5090809287301226727e3 * r + 3.3430575583588128105e4
        over = over * r + 6.7265770927008700853e4
        over = over * r + 4.5921953931549871457e4
        over = over * r + 1.3731693765509461125e4
        over = over * r + 1.9715909503065514427e3
        over = over * r + 1.3314166789178437745e2
        over = (over * r + 3.3871328727963666080e0) * q
        under = 5.2264952788528545610e3 * r + 2.8729085735721942674e4
        under = under * r + 3.9307895800092710610e4
        under = under * r + 2.1213794301586595867e4
        under = under * r + 5.3941960214247511077e3
        under = under * r + 6.8718700749205790830e2
        under = under * r + 4.2313330701600911252e1
        out[i] = over / (under * r + 1.0)
    return everything


def centre(u: Float) -> tuple[Float, bool]:
    """Return the normals of uniforms in the middle, unfilled elsewhere, and whether all are in the middle.

    Parameters
    ----------
    u
        Uniforms between 0 and 1, (draws,).
    """
    out = np.empty(u.shape)
    return out, _centre(u, out)
