"""Operators: revenue against the USD cost of a replica, and who enters or leaves.

Rules decided here. The margin is (revenue - cost) / cost over a window of days: it stays finite when nothing is
earned. Pay goes to replicas, and between kinds of machine by the tokens that one of each served. A replica is added
where the margin was above a threshold on each of the last N days, and taken away where it was below another on each
of them; after a change the count starts anew. A fleet keeps some replicas whatever the margin.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.exact import mul_div

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def margin(revenue_usd: Floats, cost_usd: Floats) -> Floats:
    """Return (revenue - cost) / cost, 0 where nothing was spent.

    Parameters
    ----------
    revenue_usd, cost_usd
        USD of the same days, any shape.

    Examples
    --------
    >>> margin(np.array([120.0, 0.0]), np.array([100.0, 0.0])).round(9).tolist()
    [0.2, 0.0]
    """
    revenue, cost = np.asarray(revenue_usd, np.float64), np.asarray(cost_usd, np.float64)
    spent = cost > 0
    return np.where(spent, (revenue - cost) / np.where(spent, cost, 1.0), 0.0)


def days_in_a_row(days: Ints, holds: NDArray[np.bool_]) -> Ints:
    """Return the length of the unbroken run of days on which something holds, `days` being yesterday's."""
    return np.where(holds, days + 1, 0)


def leaving(replicas: Ints, willing: NDArray[np.bool_], keep: int) -> NDArray[np.bool_]:
    """Return which willing operators take a replica away, so that at least `keep` stay in every run.

    Parameters
    ----------
    replicas
        Replicas by operator, `(runs, operators)`.
    willing
        Who wants to take one away, `(runs, operators)`; operators without a replica cannot.
    keep
        Replicas that stay; where not all may leave, the last operators leave first.

    Examples
    --------
    >>> leaving(np.array([[1, 1, 1]]), np.array([[True, True, True]]), 1).tolist()
    [[False, True, True]]
    """
    able = willing & (replicas > 0)
    room = np.maximum(replicas.sum(axis=1) - keep, 0)
    behind = np.cumsum(able[:, ::-1], axis=1)[:, ::-1]
    return np.asarray(able & (behind <= room[:, None]))


def claim_gwei(served_tokens: Ints, rate_gwei_per_million: Ints) -> Ints:
    """Return the operators' claim, floor(served tokens * posted rate / 10^6), `(runs,)`.

    Examples
    --------
    >>> int(claim_gwei(np.array(2_500_000), np.array(3)))
    7
    """
    return mul_div(served_tokens, rate_gwei_per_million, 1_000_000)[0]


def pay_weights(served_tokens: Floats, replicas: Ints) -> Ints:
    """Return how a replica of each kind is weighed in the pay, by the tokens that one of its kind served.

    Parameters
    ----------
    served_tokens, replicas
        Tokens served by each kind of machine, and its replicas, `(runs, kinds)`.

    Returns
    -------
    numpy.ndarray
        `(runs, kinds)`, 2^20 for the kind that served most; 1 for all where there is one kind alone or nothing
        was served.

    Examples
    --------
    >>> pay_weights(np.array([[300.0, 50.0]]), np.array([[3, 2]])).tolist()
    [[1048576, 262144]]
    >>> pay_weights(np.array([[300.0]]), np.array([[3]])).tolist()
    [[1]]
    """
    if replicas.shape[1] == 1:
        return np.ones(replicas.shape, np.int64)
    each = np.divide(served_tokens, replicas, out=np.zeros(replicas.shape), where=replicas > 0)
    most = each.max(axis=1, keepdims=True)
    scaled = np.divide(each, most, out=np.full(each.shape, 2.0**-20), where=most > 0)
    return np.asarray(np.rint(scaled * 2.0**20), np.int64)
