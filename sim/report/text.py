"""Numbers as people read them.

Rule decided here: how a number with a unit is written; three significant digits, never a false precision, and
a null is a dash.
"""

from __future__ import annotations

import math

GWEI_PER_TOKEN = 1e9
DASH = "–"
_SCALES = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e4, "k"))


def number(value: float, unit: str = "") -> str:
    """Return a number in its unit.

    Parameters
    ----------
    value
        The number; shares as fractions of 1.
    unit
        ``share`` is written in per cent, ``USD`` gets thousands marks; any other unit is left to the caller.

    Examples
    --------
    >>> number(0.0512, "share"), number(1_234_567.0), number(0.001234), number(float("nan"))
    ('5.12 %', '1.23 M', '0.00123', '–')
    """
    if not math.isfinite(value):
        return DASH
    if unit == "share":
        return f"{_digits(value * 100)} %"
    for scale, letter in _SCALES:
        if abs(value) >= scale:
            return f"{_digits(value / (1e3 if letter == 'k' else scale))} {letter}"
    return _digits(value)


def _digits(value: float) -> str:
    if value == 0:
        return "0"
    magnitude = math.floor(math.log10(abs(value)))
    rounded = round(value, 2 - magnitude)
    if abs(rounded) >= 1e-4:
        return f"{rounded:,.{max(2 - magnitude, 0)}f}"
    return f"{value:.2e}"


def interval(p05: float, p95: float, unit: str = "") -> str:
    """Return a 5/95 interval, or that there is none because all runs agree.

    Examples
    --------
    >>> interval(1.0, 2.5), interval(float("nan"), 1.0)
    ('1.00 to 2.50', '–')
    """
    if not (math.isfinite(p05) and math.isfinite(p95)):
        return DASH
    if p05 == p95:
        return "same in all runs"
    return f"{number(p05, unit)} to {number(p95, unit)}"
