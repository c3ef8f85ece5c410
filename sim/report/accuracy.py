"""Accuracy: how far a number that is read from a response surface may be off, in words beside it.

Rule decided here: a number from a surface stands with the surface's median and its largest relative error; of several
numbers together, with the worst of each. Numbers that no surface is behind have none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

Errors = Mapping[str, tuple[float, float]]
"""Observable -> median and largest relative error of the surface behind it, see `sim.fleet.stated_errors`."""


def error_of(errors: Errors, columns: Iterable[str]) -> tuple[float, float] | None:
    """Return the worst median and the largest error among some observables; None where none is read off a surface.

    Examples
    --------
    >>> errors = {"ttft_p50_s": (0.004, 0.031), "ttft_p99_s": (0.012, 0.025)}
    >>> error_of(errors, ["ttft_p50_s", "ttft_p99_s", "price_usd"]), error_of(errors, ["price_usd"])
    ((0.012, 0.031), None)
    """
    found = [errors[column] for column in columns if column in errors]
    return (max(median for median, _ in found), max(largest for _, largest in found)) if found else None


def error_text(errors: Errors, columns: Iterable[str]) -> str:
    """Return the surface's error of some observables in words, empty where none is read from it.

    Examples
    --------
    >>> error_text({"ttft_p50_s": (0.0123, 0.31)}, ["ttft_p50_s"])
    'surface off by 1.2 % (median), 31 % (worst)'
    """
    found = error_of(errors, columns)
    if found is None:
        return ""
    return f"surface off by {100 * found[0]:.2g} % (median), {100 * found[1]:.2g} % (worst)"
