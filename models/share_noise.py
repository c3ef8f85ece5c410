"""Noise on published shares: how much of it hides one request, and what it leaves of the weights.

Rules decided here (``discrete_laplace.v1``). Weights that are published as the mean over an epoch's requests change by
at most 2 * 10^9 / requests in sum when one request is added or taken away. Adding to each weight a whole number from
the discrete Laplace distribution with that sensitivity over epsilon as its scale hides each request with epsilon-
differential privacy, to the precision of the draws. What falls under 0 is cut, and the weights are made to sum to 10^9
again by largest remainder, so that the pot is paid whole: both look only at what was made noisy. A policy may keep at
zero who had nothing; then the guarantee holds for the amounts, not for who is on the list.
"""

from __future__ import annotations

import math

import numpy as np

from models.apportion import apportion
from models.attribution import WHOLE, Floats, Ints

EPSILON_RANGE = (1e-3, 50.0)


def noise_scale(epsilon: float, requests: int) -> float:
    """Return the scale of the noise in weight units of 10^-9: sensitivity over epsilon.

    Examples
    --------
    >>> noise_scale(1.0, 10_000)
    200000.0
    """
    low, high = EPSILON_RANGE
    if not low <= epsilon <= high or requests < 1:
        raise ValueError(
            f"epsilon {epsilon}, {requests} requests: allowed {low} to {high}, and at least one request"
        )
    return 2.0 * WHOLE / requests / epsilon


def noisy_weights(weights: Ints, scale: float, uniforms: Floats, *, keep_nulls: bool) -> Ints:
    """Return weights with noise, which sum to 10^9 again.

    Parameters
    ----------
    weights
        int64 `(payees,)`, residual among them, with a sum of 10^9.
    scale
        By `noise_scale`.
    uniforms
        Draws from 0 to below 1, `(2, payees)`.
    keep_nulls
        Whether a weight of 0 stays 0.

    Returns
    -------
    numpy.ndarray
        int64 `(payees,)`; all 0 where the noise left nobody anything.

    Examples
    --------
    >>> noisy_weights(np.array([10**9, 0]), 1e6, np.full((2, 2), 0.5), keep_nulls=True).tolist()
    [1000000000, 0]
    """
    weights = np.asarray(weights, np.int64)
    if int(weights.sum()) != WHOLE or weights.min(initial=0) < 0:
        raise ValueError(f"weights must be 0 or more and sum to {WHOLE}, not {int(weights.sum())}")
    if uniforms.shape != (2, len(weights)) or not math.isfinite(scale) or scale <= 0:
        raise ValueError(
            f"uniforms of shape {uniforms.shape} and scale {scale}; expected (2, {len(weights)}) and over 0"
        )
    # the difference of two geometric numbers is discrete Laplace
    geometric = np.floor(-scale * np.log1p(-np.asarray(uniforms, np.float64)))
    noisy = np.maximum(weights + (geometric[0] - geometric[1]).astype(np.int64), 0)
    if keep_nulls:
        noisy[weights == 0] = 0
    return np.asarray(apportion(WHOLE, noisy[None, :])[0])
