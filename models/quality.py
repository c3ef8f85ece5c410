"""Quality of the models on offer, as an index that is 1 on day 0.

Rule decided here: quality is a power of the data stock over its stock on day 0, times a power of 1 + the
grant milestones reached. The exponent of data is that of the data scaling law of Kaplan et al. 2020,
"Scaling laws for neural language models" (loss ~ data^-0.095); the exponent of milestones is an assumption
of the scenario.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def quality(
    stock: Floats, stock_at_start: Floats, data_exponent: float, milestones: Ints, exponent: float
) -> Floats:
    """Return the quality index.

    Parameters
    ----------
    stock, stock_at_start
        Data today and on day 0, `(runs,)`, in any one unit. Where nobody brought data on day 0 there is
        nothing to compare with, and the ratio counts as 1.
    data_exponent
        Exponent of their ratio, 0 or more.
    milestones
        Grant milestones reached so far, `(runs,)`.
    exponent
        Exponent of 1 + milestones, 0 or more.

    Examples
    --------
    >>> float(quality(np.array(4.0), np.array(1.0), 0.5, np.array(0), 0.02))
    2.0
    """
    stock, start = np.broadcast_arrays(np.asarray(stock, np.float64), np.asarray(stock_at_start, np.float64))
    ratio = np.divide(stock, start, out=np.ones(stock.shape), where=start > 0)
    ratio = np.maximum(ratio, np.finfo(np.float64).tiny)
    return np.asarray(ratio**data_exponent * (1.0 + np.asarray(milestones)) ** exponent)


def grow_stock(stock: Floats, fresh_per_year: Floats, days: int = 1) -> Floats:
    """Return the data stock after days in which contributors add fresh data.

    Parameters
    ----------
    stock
        Data before, `(runs,)`.
    fresh_per_year
        What active contributors add per year, `(runs,)`.
    days
        Days that pass.
    """
    return np.asarray(np.asarray(stock, np.float64) + np.asarray(fresh_per_year) * (days / 365.0))
