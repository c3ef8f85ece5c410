"""Verdict and warnings: what a reader must know who reads one paragraph only.

Rule decided here: the first sentence is the next month's unlock as a share of supply; usage cover, price with the
outside inflow that was assumed and the one that would have held it, and votes follow, each with its interval. A
warning is printed for whatever makes a number mean less than it seems.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.report.headline import Headline, Line
from sim.report.text import interval, number

if TYPE_CHECKING:
    from sim.results.manifest import Manifest, PricedFor, ProfileFacts

MIN_RUNS = 20
SIZE_FACTOR = 2
"""Models whose parameter counts differ by more than this are not of one class."""


def verdict(head: Headline) -> str:
    """Return the verdict: what unlocks, who pays for it, what the price rests on, whether votes are valid."""
    sentences = (
        _unlock(head),
        _usage(head),
        _price(head),
        _votes(head),
        *(f"{proposal.text}." for proposal in head.proposals),
        f"Intervals are 5 to 95 % of {head.runs} runs; weakest input: {head.line('price_usd').evidence}.",
    )
    return " ".join(sentences)


def _unlock(head: Headline) -> str:
    unlock, circulating, float_ = (
        head.line(key) for key in ("next_unlock", "next_unlock_of_circulating", "next_unlock_of_float")
    )
    if not unlock.at.known:
        return f"The calendar does not reach a month beyond {head.as_of}."
    if unlock.at.p50 == 0:
        return f"In the month after {head.as_of} nothing unlocks."
    return (
        f"In the month after {head.as_of}, {_median(unlock)} OPEN unlock: {_median(circulating)} of circulating "
        f"supply ({_range(circulating)}) and {_median(float_)} of float ({_range(float_)})."
    )


def _usage(head: Headline) -> str:
    cover = head.line("usage_cover").at
    if not cover.known:
        return "There is no usage cover: nothing that was unlocked has been sold."
    return (
        f"Fees and buyback pay for {number(cover.p50, 'share')} of the unlocked tokens that are sold "
        f"({interval(cover.p05, cover.p95, 'share')})."
    )


def _price(head: Headline) -> str:
    price, assumed, holding = (
        head.line(key) for key in ("price_usd", "outside_inflow_usd", "holding_inflow_usd")
    )
    return (
        f"The price of {_median(price)} USD ({_range(price)}) rests on an assumed outside inflow of "
        f"{_median(assumed)} USD a month ({_range(assumed)}); {_median(holding)} USD a month "
        f"({_range(holding)}) would have held it flat."
    )


def _votes(head: Headline) -> str:
    quorum = head.line("quorum_rate")
    if not quorum.at.known:
        return "No vote has been held by then."
    return f"A vote reaches quorum with a probability of {_median(quorum)} ({_range(quorum)})."


def _median(line: Line) -> str:
    return number(line.at.p50, line.unit)


def _range(line: Line) -> str:
    return interval(line.at.p05, line.at.p95, line.unit)


def warnings(manifest: Manifest) -> list[str]:
    """Return what makes numbers of this run mean less than they seem to."""
    found = [*manifest.notes, *profile_warnings(manifest.profile, manifest.priced_for)]
    if not manifest.chain.executed:
        found.append("The chain was off: no contract was executed, the witness run rests on formulas alone.")
    if manifest.runs < MIN_RUNS:
        found.append(f"{manifest.runs} runs are too few for 5/95 intervals; {MIN_RUNS} or more are advised.")
    return found


def profile_warnings(profile: ProfileFacts | None, priced: PricedFor | None) -> list[str]:
    """Return what a serving profile does not say: that it was no measurement, or is of another model."""
    found = []
    if profile is None or not profile.measured:
        found.append("The serving profile was not measured: serving cost and latency are assumptions.")
    if profile is not None and priced is not None and not _same_class(profile.model_params, priced.params):
        found.append(
            f"The fees price a model like {priced.model} ({number(float(priced.params))} parameters), but "
            f"profile {profile.id} measured {profile.model} with {number(float(profile.model_params))} "
            f"parameters on {profile.device}: serving cost, margin and latency are not those of that model."
        )
    return found


def _same_class(one: int, other: int) -> bool:
    return min(one, other) > 0 and max(one, other) <= SIZE_FACTOR * min(one, other)
