"""Headline: the eight rows that every reader sees first, as data.

Rule decided here: which numbers stand in the headline table, on which date, over how many runs and how good
their weakest input is. The reference date is the scenario's ``report.as_of``, else the end of month 12 (of a
shorter run: its last month end from which the next month's unlock is still inside); the last day stands
beside it. Each number is taken run by run and then summarised by median and 5/95, so a ratio is a median of
ratios.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.calendar import add_months, month_index
from models.errors import InputError
from sim.experiment.statistics import Spread, spread
from sim.observables import BY_NAME
from sim.report.accuracy import error_text
from sim.report.evidence import evidence_of
from sim.report.pots import first_pot_text
from sim.report.text import GWEI_PER_TOKEN
from sim.report.votes import ProposalOutcome, proposals
from sim.results.reader import Run

Float = NDArray[np.float64]
DEFAULT_MONTH = 12
WINDOW_DAYS = 30


@dataclass(frozen=True, slots=True)
class Line:
    """One number of the headline.

    Parameters
    ----------
    row
        Row of the table, 1 to 8.
    key
        Name for programs.
    label
        Name for people.
    unit
        Unit; shares are fractions of 1.
    evidence
        Class of the weakest input.
    at, last
        Spread over runs on the reference date and on the last day.
    """

    row: int
    key: str
    label: str
    unit: str
    evidence: str
    at: Spread
    last: Spread


@dataclass(frozen=True, slots=True)
class Footer:
    """What always stands below the table.

    Parameters
    ----------
    residual_gwei
        Conservation residual.
    chain_executed
        Whether a witness run was executed on chain.
    chain_diff_wei
        Largest difference between ledger and chain.
    reconciled_epochs
        Epochs in which they were compared.
    illustrative_share
        Share of parameters that are illustrative.
    seed
        The seed.
    command
        The command that gives these numbers again.
    """

    residual_gwei: int
    chain_executed: bool
    chain_diff_wei: int
    reconciled_epochs: int
    illustrative_share: float
    seed: int
    command: str


@dataclass(frozen=True, slots=True)
class Headline:
    """The table.

    Parameters
    ----------
    as_of, last
        Reference date and date of the last day.
    runs
        Number of runs.
    lines
        The numbers in order.
    serving
        Profile behind row 6 and its date.
    first_pot
        Which pot is the first to be empty (row 7).
    proposals
        What became of the scenario's own proposals (row 8).
    footer
        What stands below.
    """

    as_of: date
    last: date
    runs: int
    lines: tuple[Line, ...]
    serving: str
    first_pot: str
    proposals: tuple[ProposalOutcome, ...]
    footer: Footer

    def line(self, key: str) -> Line:
        """Return a line by its key.

        Raises
        ------
        KeyError
            If there is none.
        """
        for line in self.lines:
            if line.key == key:
                return line
        raise KeyError(key)


@dataclass(frozen=True, slots=True)
class _Source:
    """How one line is computed: its place, its words, its inputs and a function of run and date."""

    row: int
    key: str
    label: str
    unit: str
    columns: tuple[str, ...]
    values: Callable[[Run, date], Float]


def day_of(run: Run, column: str, day: date) -> int:
    """Return the day of the run on which an observable is read for a date.

    That is the date itself, and for a monthly observable the last month end not after it.
    """
    import polars as pl

    index = (day - run.start).days
    if column not in BY_NAME or not BY_NAME[column].monthly:
        return index
    known = run.metrics.lazy().filter(pl.col("day") <= index).select("day", column).drop_nulls()
    found = known.select(pl.col("day").max()).collect().item()
    return index if found is None else int(found)


def on_day(run: Run, column: str, day: date) -> Float:
    """Return an observable of every run on a date, float64 (runs,), null as NaN; amounts in whole tokens."""
    import polars as pl

    rows = run.metrics.lazy().filter(pl.col("day") == day_of(run, column, day)).sort("run")
    values = rows.select(pl.col(column).cast(pl.Float64).fill_null(float("nan"))).collect()[column].to_numpy()
    return np.asarray(values / GWEI_PER_TOKEN if column.endswith("_gwei") else values)


def per_month(run: Run, column: str, day: date) -> Float:
    """Return the sum of a daily observable over 30 days up to a date, float64 (runs,); null counts as 0."""
    import polars as pl

    window = (pl.col("date") <= day) & (pl.col("date") > day - timedelta(days=WINDOW_DAYS))
    summed = run.metrics.lazy().filter(window).group_by("run").agg(pl.col(column).fill_null(0).sum())
    return np.asarray(summed.sort("run").collect()[column].to_numpy(), np.float64)


def next_unlock(run: Run, day: date) -> float:
    """Return the tokens that unlock in the month after a date; NaN beyond the calendar."""
    import polars as pl

    until = add_months(day, 1)
    calendar = run.unlocks.lazy().filter(pl.col("date").is_in([day, until]))
    by_date = calendar.group_by("date").agg(pl.col("vested_gwei").sum()).sort("date").collect()
    sums = by_date["vested_gwei"].to_list()
    return (sums[1] - sums[0]) / GWEI_PER_TOKEN if len(sums) == 2 else float("nan")


def _column(row: int, column: str, label: str) -> _Source:
    unit = BY_NAME[column].unit
    return _Source(row, column, label, unit, (column,), lambda run, day: on_day(run, column, day))


def _monthly_sum(row: int, column: str, label: str) -> _Source:
    return _Source(row, column, label, "USD/month", (column,), lambda run, day: per_month(run, column, day))


def _unlock(run: Run, day: date) -> Float:
    return np.full(run.manifest.runs, next_unlock(run, day))


def _unlock_over(column: str) -> Callable[[Run, date], Float]:
    def share(run: Run, day: date) -> Float:
        whole = on_day(run, column, day)
        return np.asarray(_unlock(run, day) / np.where(whole > 0, whole, np.nan), np.float64)

    return share


_SOURCES = (
    _Source(1, "next_unlock", "next month's unlock", "OPEN", ("unlocked_gwei",), _unlock),
    _Source(
        1, "next_unlock_of_circulating", "… of circulating supply", "share", ("circulating_gwei",),
        _unlock_over("circulating_gwei"),
    ),
    _Source(1, "next_unlock_of_float", "… of float", "share", ("float_gwei",), _unlock_over("float_gwei")),
    _column(2, "circulating_gwei", "circulating supply"),
    _column(2, "float_gwei", "float (free wallets)"),
    _column(2, "circulating_tracker_gwei", "circulating as trackers print it"),
    _column(3, "usage_cover", "usage cover: (fees + buyback) / unlocked tokens sold, 30 days"),
    _column(4, "price_usd", "price"),
    _monthly_sum(4, "outside_inflow_usd", "outside net inflow assumed"),
    _column(4, "holding_inflow_usd", "outside inflow that would have held the price"),
    _column(5, "contributor_income_median_usd", "contributor's income, median"),
    _column(5, "contributor_above_break_even", "contributors above break-even"),
    _column(5, "payout_top1_share", "payouts to the top 1 % of contributors"),
    _column(6, "serving_cost_usd_per_1m", "serving cost"),
    _column(6, "fee_usd_per_1m", "fee paid for tokens"),
    _column(6, "operator_margin", "operator margin over cost, 30 days"),
    _column(6, "latency_p95_s", "request latency, 95th percentile"),
    _column(7, "first_empty_months", "months until the first pot is empty, at the last 30 days' pace"),
    _column(8, "quorum_rate", "probability that a vote reaches quorum"),
    _column(8, "turnout_gopen", "turnout of GOPEN, last vote"),
    _column(8, "small_votes_share", "small holders' and contributors' part of votes"),
)  # fmt: skip


def headline(run: Run, as_of: date | None = None) -> Headline:
    """Return the headline table of a run.

    Parameters
    ----------
    run
        A complete run.
    as_of
        Reference date; None for the scenario's, else the default of this module.

    Raises
    ------
    InputError
        If the date lies outside the run.
    """
    manifest = run.manifest
    last = run.start + timedelta(days=manifest.days)
    reference = as_of or default_as_of(run)
    if not run.start <= reference <= last:
        raise InputError(f"as-of date {reference} is outside the run; allowed {run.start} to {last}")
    return Headline(
        as_of=reference,
        last=last,
        runs=manifest.runs,
        lines=tuple(_line(run, source, reference, last) for source in _SOURCES),
        serving=_serving(run),
        first_pot=first_pot_text(run, reference, day_of(run, "first_empty_months", reference)),
        proposals=proposals(run),
        footer=Footer(
            residual_gwei=manifest.conservation_residual_gwei,
            chain_executed=manifest.chain.executed,
            chain_diff_wei=manifest.chain.max_abs_diff_wei,
            reconciled_epochs=manifest.chain.reconciled_epochs,
            illustrative_share=manifest.parameters.illustrative_share,
            seed=manifest.seed,
            command=manifest.command,
        ),
    )


def default_as_of(run: Run) -> date:
    """Return the reference date: the scenario's, else month 12's end, else the last month end but one."""
    if run.manifest.as_of:
        return date.fromisoformat(run.manifest.as_of)
    last = run.start + timedelta(days=run.manifest.days)
    months = month_index(run.start, last)
    return add_months(run.start, max(0, min(DEFAULT_MONTH, months - 1)))


def _line(run: Run, source: _Source, reference: date, last: date) -> Line:
    off = error_text(run.manifest.surface_error, source.columns)
    return Line(
        row=source.row,
        key=source.key,
        label=f"{source.label} ({off})" if off else source.label,
        unit=source.unit,
        evidence=evidence_of(run.parameters, source.columns),
        at=spread(source.values(run, reference)),
        last=spread(source.values(run, last)),
    )


def _serving(run: Run) -> str:
    profile = run.manifest.profile
    if profile is None:
        return ""
    kind = "measured" if profile.measured else "not measured"
    return f"profile {profile.id} ({profile.device}, {profile.model}), {kind} {profile.created[:10]}".rstrip()


def headline_object(head: Headline) -> dict[str, Any]:
    """Return the headline as plain data for JSON; unknown numbers are null."""
    return {
        "as_of": str(head.as_of),
        "last": str(head.last),
        "runs": head.runs,
        "lines": [
            {
                "row": line.row, "key": line.key, "label": line.label, "unit": line.unit,
                "class": line.evidence,
                "as_of": _spread_object(line.at), "last": _spread_object(line.last),
            }
            for line in head.lines
        ],
        "first_pot": head.first_pot,
        "proposals": [{**asdict(one), "dates": [str(day) for day in one.dates or ()]} for one in head.proposals],
        "footer": asdict(head.footer),
    }  # fmt: skip


def _spread_object(value: Spread) -> dict[str, float | int | None]:
    known = value.known
    return {
        "p05": value.p05 if known else None, "p50": value.p50 if known else None,
        "p95": value.p95 if known else None, "n": value.n,
    }  # fmt: skip
