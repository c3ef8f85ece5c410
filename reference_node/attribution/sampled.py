"""Payouts of an epoch in which tier 2 looks at a sample of the answers.

Rule decided here: every answer is paid by tier 1, and each sampled one adds the difference that tier 2 makes, divided
by the sampling rate. The epoch's sum is unbiased for what tier 2 would pay if it looked at all answers; whose sum is
below 0 gets 0, and the others the rest in proportion.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reference_node.attribution.method import shares

Floats = NDArray[np.float64]


def epoch_shares(first: Floats, second: Floats, sampled: NDArray[np.bool_], rate: float) -> Floats:
    """Return everybody's share of an epoch's money.

    Parameters
    ----------
    first, second
        Shares by tier 1 and tier 2, (answers, players); of the latter only sampled rows are read.
    sampled
        Which answers were sampled, (answers,).
    rate
        Sampling rate, above 0 to 1.

    Returns
    -------
    numpy.ndarray
        float64 (players,), summing to 1 where anybody is above 0.

    Examples
    --------
    >>> every = np.array([True, True])
    >>> epoch_shares(np.array([[1.0, 0.0]] * 2), np.array([[0.5, 0.5]] * 2), every, 1.0).tolist()
    [0.5, 0.5]
    """
    if not 0 < rate <= 1:
        raise ValueError(f"sampling rate {rate} is out of range; allowed above 0 to 1")
    found = first.sum(axis=0) + (second[sampled] - first[sampled]).sum(axis=0) / rate
    return shares(found[None])[0]


def sampling_error(
    first: Floats, second: Floats, exact: Floats, rate: float, *, answers: int, epochs: int, seed: int
) -> dict[str, float]:
    """Return how far sampled epochs are from the truth, and from epochs in which tier 2 looks at all.

    Parameters
    ----------
    first, second, exact
        Shares by tier 1, tier 2 and retraining, (queries, players).
    rate
        Sampling rate.
    answers, epochs, seed
        Answers of an epoch, each drawn among the queries; how many epochs; of the draws.

    Returns
    -------
    dict
        Means over epochs of total variation: ``tv_tier1``, ``tv_full`` and ``tv_sampled`` against the truth, and
        ``tv_of_sampling`` between sampled and full.
    """
    drawn = np.random.default_rng(seed)
    found: dict[str, list[float]] = {"tv_tier1": [], "tv_full": [], "tv_sampled": [], "tv_of_sampling": []}
    for _ in range(epochs):
        rows = drawn.integers(0, len(exact), answers)
        sampled = drawn.random(answers) < rate
        true, full = shares(exact[rows].sum(axis=0)[None])[0], shares(second[rows].sum(axis=0)[None])[0]
        part = epoch_shares(first[rows], second[rows], sampled, rate)
        alone = shares(first[rows].sum(axis=0)[None])[0]
        for name, one, other in (
            ("tv_tier1", alone, true),
            ("tv_full", full, true),
            ("tv_sampled", part, true),
            ("tv_of_sampling", part, full),
        ):
            found[name].append(float(np.abs(one - other).sum() / 2))
    return {name: float(np.mean(values)) for name, values in found.items()}
