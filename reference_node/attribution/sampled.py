"""Payouts where tier 2 looks at a sample of the answers.

Rule decided here: a sampled answer is paid by tier 2, every other one by tier 1, so that each record stands on its own.
Whether an answer is sampled follows from its request id, which the one who asks cannot choose.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from reference_node.attribution.evaluation import total_variation
from reference_node.attribution.method import shares

Floats = NDArray[np.float64]
_PER_MILLION = 10**6


def is_sampled(request_id: str, per_million: int) -> bool:
    """Return whether tier 2 looks at an answer.

    Parameters
    ----------
    request_id
        32 hexadecimal digits.
    per_million
        Part of the answers, 0 to 10^6.

    Examples
    --------
    >>> is_sampled("00" * 16, 1_000_000), is_sampled("00" * 16, 0)
    (True, False)
    """
    digest = hashlib.sha256(b"tier 2" + bytes.fromhex(request_id)).digest()
    return int.from_bytes(digest[:8], "big") % _PER_MILLION < per_million


def sampling_error(
    first: Floats, second: Floats, exact: Floats, rate: float, *, answers: int, epochs: int, seed: int
) -> dict[str, float]:
    """Return how far sampled payouts are from the truth, by answer and by epoch.

    Parameters
    ----------
    first, second, exact
        Shares by tier 1, tier 2 and retraining, (queries, players).
    rate
        Sampling rate, 0 to 1.
    answers, epochs, seed
        Answers of an epoch, each drawn among the queries; how many epochs; of the draws.

    Returns
    -------
    dict
        Means of total variation: ``tv_answer`` of single answers as they are paid; of epochs ``tv_tier1``, ``tv_full``
        and ``tv_sampled`` against the truth, and ``tv_of_sampling`` between sampled and full.
    """
    drawn = np.random.default_rng(seed)
    found: dict[str, list[float]] = {}
    for _ in range(epochs):
        rows = drawn.integers(0, len(exact), answers)
        sampled = drawn.random(answers) < rate
        paid = np.where(sampled[:, None], second[rows], first[rows])
        true, full, part, alone = (_epoch(one) for one in (exact[rows], second[rows], paid, first[rows]))
        for name, one, other in (
            ("tv_answer", paid, exact[rows]),
            ("tv_tier1", alone, true),
            ("tv_full", full, true),
            ("tv_sampled", part, true),
            ("tv_of_sampling", part, full),
        ):
            found.setdefault(name, []).append(float(total_variation(one, other).mean()))
    return {name: float(np.mean(values)) for name, values in found.items()}


def _epoch(paid: Floats) -> Floats:
    """Return everybody's share of an epoch's money, (1, players)."""
    return shares(paid.sum(axis=0)[None])
