"""One figure of a bench: what was measured, against which bar.

Rule decided here: a figure is met when its value is on the good side of its bar or on it; without a value (something is
not installed) or without a bar there is no verdict.
"""

from __future__ import annotations

from typing import Any


def bench_figure(
    name: str, value: float | None, unit: str, better: str, bar: float | None, detail: dict[str, Any]
) -> dict[str, Any]:
    """Return a figure in the bench format.

    Parameters
    ----------
    name, value, unit, bar, detail
        As in the format.
    better
        ``higher`` or ``lower``.

    Examples
    --------
    >>> bench_figure("f1.tier2.tv", 0.12, "share", "lower", 0.15, {})["ok"]
    True
    """
    if better not in ("higher", "lower"):
        raise ValueError(f"better is {better!r}; allowed higher, lower")
    met = None if value is None or bar is None else (value >= bar if better == "higher" else value <= bar)
    rounded = None if value is None else round(value, 6)
    return {
        "id": name,
        "value": rounded,
        "unit": unit,
        "better": better,
        "bar": bar,
        "ok": met,
        "detail": detail,
    }
