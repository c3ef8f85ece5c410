"""Trace: where a metric's value on a day comes from.

Rule decided here: for each of the standard outputs, which flows feed it and which parameters decide it. A
trace is read from the run directory: values over runs, the witness run's flows of the month, the parameters
in force with the place where each was set, and what votes have changed by then.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from models.errors import InputError
from sim.experiment.statistics import Spread, spread
from sim.observables import BY_NAME, Observable
from sim.report.evidence import evidence_of
from sim.report.headline import on_day
from sim.results.reader import ParameterRow, Run

if TYPE_CHECKING:
    import polars as pl

_FEES = ("B1", "B2", "B3", "B4", "B5", "B6", "D1")
_UNLOCKS = ("U1", "U2", "U3")
_MARKET = ("M1", "M2", "M3")
_BRIDGE = ("U4", "X1", "X2", "X3", "X4")
FEEDS: Mapping[int, tuple[tuple[str, ...], tuple[str, ...]]] = {
    1: (("B6", "M3"), ("token.cap", "fees.burn", "market.buyback")),
    2: (_UNLOCKS, ("token",)),
    3: ((*_UNLOCKS, "E1", "E2", "E3", "E4", "R1"), ("token", "emission", "grants")),
    4: ((*_UNLOCKS, "E1", "C1", "S1", "H1", "D1"), ("token", "emission", "staking", "agents")),
    5: (_UNLOCKS, ("token",)),
    6: ((*_UNLOCKS, "E1"), ("token", "emission")),
    7: (_MARKET, ("market", "agents.investors.sell", "agents.team.sell")),
    8: (_MARKET, ("market", "token")),
    9: (_MARKET, ("market", "token.cap")),
    10: (_MARKET, ("market", "token")),
    11: ((*_UNLOCKS, "M1"), ("market", "agents.investors.sell", "agents.team.sell", "agents.holders.sell")),
    12: ((*_FEES, *_MARKET), ("fees", "market")),
    13: (("M2", "U3"), ("market.depth_2pct", "token.buckets.liquidity")),
    14: (_MARKET, ("market.volatility", "market.outside_net_inflow")),
    15: (_FEES, ("fees", "demand", "agents.users.prepaid")),
    16: (_FEES, ("fees", "demand", "agents.users")),
    17: ((*_FEES, "E1", "E2", "E3", "E4"), ("fees", "emission")),
    18: (_FEES, ("fees", "demand", "token.cap")),
    19: (("S1", "S2"), ("staking", "agents")),
    20: (("B4", "E3", "S2"), ("fees.split", "emission.monthly.stakers", "staking")),
    21: (
        ("B5", "E2", "C1", "A1"),
        ("fees.split", "emission.monthly.contributors", "attribution", "agents.contributors"),
    ),
    22: (("B5", "E2"), ("attribution", "agents.contributors")),
    23: (("E1", "M1", "U2"), ("agents.holders", "emission")),
    24: (("E1", "M1", "U2"), ("agents.holders", "emission")),
    25: (("E1", "M1", "H1"), ("agents.holders", "governance")),
    26: (("H1",), ("governance", "agents.delegates")),
    27: (("B2", "U1", "E1", "E2", "E3", "E4", "V1", "R1", "S2"), ("fees.platform", "emission", "grants")),
    28: (("O1", "B2", "E4", *_BRIDGE), ("serving", "operator_pay", "bridge")),
    0: ((*_FEES, *_UNLOCKS, "M1"), ("fees", "market", "emission")),
}  # fmt: skip
"""Number of the standard output -> (flows that feed it, parameters that decide it)."""


@dataclass(frozen=True, slots=True)
class FlowRow:
    """A flow's total in the month, gwei."""

    flow: str
    source: str
    target: str
    amount_gwei: int


@dataclass(frozen=True, slots=True)
class EventRow:
    """Something that happened in the witness run by the day."""

    day: int
    kind: str
    subject: str
    detail: str


@dataclass(frozen=True, slots=True)
class Trace:
    """How a metric came about.

    Parameters
    ----------
    metric
        What is traced.
    day, date
        When.
    over_runs, witness
        Spread over runs and the witness run's value; amounts in whole tokens.
    evidence
        Class of the weakest input.
    month_end
        Last day of the month whose flows are listed, or None where no month ended from that day on.
    flows
        The witness run's flows that feed the metric (or touch the account), the largest first.
    balances
        The account's balances at that month's end, by label, in gwei.
    parameters
        Parameters that decide it, with the value in force on the day.
    events
        Executed votes of the witness run up to the day; votes that changed nothing are left out.
    """

    metric: Observable
    day: int
    date: date
    over_runs: Spread
    witness: float
    evidence: str
    month_end: int | None
    flows: tuple[FlowRow, ...]
    balances: tuple[tuple[str, int], ...]
    parameters: tuple[ParameterRow, ...]
    events: tuple[EventRow, ...]


def trace(run: Run, metric: str, day: int, account: str = "") -> Trace:
    """Return how a metric's value on a day came about.

    Parameters
    ----------
    run
        A complete run.
    metric
        Name of an observable.
    day
        Day of the run.
    account
        Beginning of an account label, such as ``wallet.l2/holders``; flows are then those of the account.

    Raises
    ------
    InputError
        If there is no such metric, day or account.
    """
    if metric not in BY_NAME:
        raise InputError(f"metric '{metric}' is unknown; one of {', '.join(sorted(BY_NAME))}")
    if not 0 <= day <= run.manifest.days:
        raise InputError(f"day {day} is outside the run; allowed 0 to {run.manifest.days}")
    observable = BY_NAME[metric]
    flow_ids, prefixes = FEEDS[observable.output]
    when = run.start + timedelta(days=day)
    values = on_day(run, metric, when)
    witness = run.manifest.chain.witness_run
    month_end = _month_end(run.flows, day)
    return Trace(
        metric=observable,
        day=day,
        date=when,
        over_runs=spread(values),
        witness=float(values[witness]) if witness < len(values) else float("nan"),
        evidence=evidence_of(run.parameters, [metric]),
        month_end=month_end,
        flows=_flows(run, month_end, flow_ids, account),
        balances=_balances(run, month_end, account) if account else (),
        parameters=tuple(in_force(row, when) for row in run.parameters if _under(row.path, prefixes)),
        events=executed_votes(run, witness, day),
    )


def _under(path: str, prefixes: tuple[str, ...]) -> bool:
    return any(path == prefix or path.startswith(f"{prefix}.") for prefix in prefixes)


def _month_end(flows: pl.DataFrame, day: int) -> int | None:
    ends = [end for end in flows["day"].unique().to_list() if end >= day]
    return min(ends, default=None)


def _flows(run: Run, month_end: int | None, flow_ids: tuple[str, ...], account: str) -> tuple[FlowRow, ...]:
    import polars as pl

    rows = run.flows.filter(pl.col("day") == (-1 if month_end is None else month_end))
    if account:
        touches = pl.col("source").str.starts_with(account) | pl.col("target").str.starts_with(account)
        rows = rows.filter(touches)
    else:
        rows = rows.filter(pl.col("flow").is_in(flow_ids))
    ordered = rows.sort(["amount_gwei", "flow", "source", "target"], descending=[True, False, False, False])
    return tuple(
        FlowRow(*row) for row in ordered.select("flow", "source", "target", "amount_gwei").iter_rows()
    )


def _balances(run: Run, month_end: int | None, account: str) -> tuple[tuple[str, int], ...]:
    import polars as pl

    named = run.accounts.filter(pl.col("account").str.starts_with(account))
    if run.accounts.height and not named.height:
        known = ", ".join(sorted({label.partition("/")[0] for label in run.accounts["account"].unique()}))
        raise InputError(f"account '{account}' is unknown; labels begin with one of {known}")
    at_end = named.filter(pl.col("day") == (-1 if month_end is None else month_end))
    return tuple(at_end.select("account", "amount_gwei").iter_rows())


def in_force(row: ParameterRow, when: date) -> ParameterRow:
    """Return a parameter with the one of its dated values that holds on a date."""
    pairs = [part.partition(": ") for part in row.value.split("; ")]
    try:
        dated = [(date.fromisoformat(first), value) for first, _, value in pairs]
    except ValueError:
        return row
    held = [value for first, value in dated if first <= when]
    value = held[-1] if held else f"off until {dated[0][0]}"
    return ParameterRow(row.path, value, row.evidence, row.source, row.range, row.place)


def executed_votes(run: Run, witness: int, day: int) -> tuple[EventRow, ...]:
    """Return the executed votes of a run up to a day; votes that changed nothing are left out."""
    import polars as pl

    rows = run.events.filter(
        (pl.col("run") == witness) & (pl.col("day") <= day) & pl.col("kind").str.contains("execut")
    )
    found = [EventRow(*row) for row in rows.select("day", "kind", "subject", "detail").iter_rows()]
    return tuple(event for event in found if json.loads(event.detail).get("changes") != 0)
