"""Numbers as people read them.

Rule decided here: how a number with a unit is written; three significant digits, never a false precision, no
powers of ten below 0.0001, and a null is a dash.
"""

from __future__ import annotations

import math
import re

GWEI_PER_TOKEN = 1e9
DASH = "–"
ABOUT_ZERO = "about 0"
SMALLEST = 0.0001
"""Numbers nearer to 0 are written as below it."""
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
    magnitude = math.floor(math.log10(abs(rounded)))
    if abs(rounded) >= SMALLEST:
        return f"{rounded:,.{max(2 - magnitude, 0)}f}"
    return f"< {SMALLEST}" if value > 0 else f"> -{SMALLEST}"


def interval(p05: float, p95: float, unit: str = "") -> str:
    """Return a 5/95 interval, or that there is none because all runs agree.

    Examples
    --------
    >>> interval(1.0, 2.5), interval(0.152, 0.16, "share"), interval(float("nan"), 1.0)
    ('1.00 to 2.50', '15.2 to 16.0 %', '–')
    >>> interval(0.15001, 0.15002), interval(-1e-5, 2e-6)
    ('same to 3 digits', 'about 0')
    """
    if not (math.isfinite(p05) and math.isfinite(p95)):
        return DASH
    if p05 == p95:
        return "same in all runs"
    if max(abs(p05), abs(p95)) * (100 if unit == "share" else 1) < SMALLEST:
        return ABOUT_ZERO
    low, high = number(p05, unit), number(p95, unit)
    if low == high:
        return "same to 3 digits"
    return f"{low.removesuffix(' %')} to {high}"


def grouped(text: str) -> str:
    """Return a text with marks between the thousands of its whole numbers.

    Examples
    --------
    >>> grouped("1000000 OPEN from 2025-09-08"), grouped("0.15 USD/1M tokens")
    ('1,000,000 OPEN from 2025-09-08', '0.15 USD/1M tokens')
    """
    return re.sub(r"(?<![\d.-])\d{5,}(?![\d-])", lambda found: f"{int(found[0]):,}", text)
