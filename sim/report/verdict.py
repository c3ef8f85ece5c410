"""Verdict and warnings: what a reader must know who reads one sentence only.

Rule decided here: the sentence names usage cover and price with their intervals, the outside inflow that was
assumed and the one that would have held the price; a warning is printed for whatever makes a number mean less
than it seems.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.report.headline import Headline, Line
from sim.report.text import interval, number

if TYPE_CHECKING:
    from sim.results.manifest import Manifest

MIN_RUNS = 20
SIZE_FACTOR = 2
"""Models whose parameter counts differ by more than this are not of one class."""


def verdict(head: Headline) -> str:
    """Return the one-sentence verdict."""
    cover = head.line("usage_cover")
    price, assumed, holding = (
        head.line(key) for key in ("price_usd", "outside_inflow_usd", "holding_inflow_usd")
    )
    if cover.at.known:
        usage = (
            f"On {head.as_of} fees and buyback pay for {_median(cover)} times the unlocked tokens "
            f"that are sold ({_range(cover)})"
        )
    else:
        usage = f"On {head.as_of} there is no usage cover: nothing that was unlocked has been sold"
    return (
        f"{usage}; the price of {_median(price)} USD ({_range(price)}) rests on an outside inflow of "
        f"{_median(assumed)} USD a month ({_range(assumed)}), and {_median(holding)} USD a month "
        f"({_range(holding)}) would have held it flat. Intervals are 5 to 95 % of {head.runs} runs; "
        f"weakest input: {price.evidence}."
    )


def _median(line: Line) -> str:
    return number(line.at.p50, line.unit)


def _range(line: Line) -> str:
    return interval(line.at.p05, line.at.p95, line.unit)


def warnings(manifest: Manifest) -> list[str]:
    """Return what makes numbers of this run mean less than they seem to."""
    found = list(manifest.notes)
    profile, priced = manifest.profile, manifest.priced_for
    if profile is None or not profile.measured:
        found.append("The serving profile was not measured: serving cost and latency are assumptions.")
    if profile is not None and priced is not None and not _same_class(profile.model_params, priced.params):
        found.append(
            f"The fees price a model like {priced.model} ({number(float(priced.params))} parameters), but "
            f"profile {profile.id} measured {profile.model} with {number(float(profile.model_params))} "
            f"parameters on {profile.device}: serving cost, margin and latency are not those of that model."
        )
    if not manifest.chain.executed:
        found.append("The chain was off: no contract was executed, the witness run rests on formulas alone.")
    if manifest.runs < MIN_RUNS:
        found.append(f"{manifest.runs} runs are too few for 5/95 intervals; {MIN_RUNS} or more are advised.")
    return found


def _same_class(one: int, other: int) -> bool:
    return min(one, other) > 0 and max(one, other) <= SIZE_FACTOR * min(one, other)
