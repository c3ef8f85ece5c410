"""Payees: who was paid in a month, out of what, by which flow.

Rule decided here: which flow pays whom, and for what reason: users' fees, a programme of the pools, or something
else (grants, gas, slashes, votes). The parts of a fee add up to what users paid; what contributors' part leaves
because nobody had influence is booked with the treasury. Fees are valued at the price at which they were billed,
all else at the month's mean close.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sim.report.text import GWEI_PER_TOKEN

if TYPE_CHECKING:
    import polars as pl

    from sim.results.reader import Run

Float = NDArray[np.float64]
FEES, PROGRAMMES, OTHER = "fees", "programmes", "other"
NAMES = {
    "contributors": "contributors", "builders": "model builders", "stakers": "stakers", "operators": "operators",
    "treasury": "treasury", "sequencer": "sequencer", "burned": "burned", "holders": "holders",
    "public_goods": "public goods",
}  # fmt: skip
"""Payees in the order of the tables, with their names for people."""
_REASONS = {
    "B2": FEES, "B3": FEES, "B4": FEES, "B5": FEES, "B6": FEES, "A1": FEES, "E1": PROGRAMMES, "E2": PROGRAMMES,
    "E3": PROGRAMMES, "E4": PROGRAMMES, "R1": OTHER, "C2": OTHER, "A2": OTHER, "V1": OTHER,
}  # fmt: skip
_BY_FLOW = {"B3": "builders", "B4": "stakers", "B5": "contributors", "E3": "stakers", "E4": "operators"}
_BY_TARGET = {
    "operators_pot": "operators", "treasury": "treasury", "burned": "burned", "staking_rewards": "stakers",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Payment:
    """What one flow paid one payee in the month.

    Parameters
    ----------
    payee
        A key of `NAMES`.
    reason
        `FEES`, `PROGRAMMES` or `OTHER`.
    flow
        Id of the flow.
    gwei
        Amount; negative where it was taken back.
    """

    payee: str
    reason: str
    flow: str
    gwei: int


@dataclass(frozen=True, slots=True)
class Month:
    """What was paid in a month.

    Parameters
    ----------
    after, until
        The month is the days after `after` up to `until`.
    users_gwei
        What users paid in fees in the witness run.
    payments
        The witness run's payments.
    fee_price, mean_price
        USD per token of the witness run: of the fees billed, and the mean close.
    over_runs
        Whole tokens by name over all runs, float64 (runs,): users, platform, builders, stakers, contributors and
        ``programme.stakers``, ``programmes``; NaN where the tables do not say.
    users_usd
        What users paid in USD, float64 (runs,).
    """

    after: date
    until: date
    users_gwei: int
    payments: tuple[Payment, ...]
    fee_price: float
    mean_price: float
    over_runs: Mapping[str, Float]
    users_usd: Float

    def gwei(self, payee: str = "", reason: str = "", flow: str = "") -> int:
        """Return the sum of the payments that match what is given."""
        return sum(
            one.gwei
            for one in self.payments
            if payee in ("", one.payee) and reason in ("", one.reason) and flow in ("", one.flow)
        )

    def usd(self, payee: str = "", reason: str = "", flow: str = "") -> float:
        """Return the worth of the payments that match what is given, USD."""
        fees = sum(
            one.gwei
            for one in self.payments
            if one.reason == FEES
            and payee in ("", one.payee)
            and reason in ("", FEES)
            and flow in ("", one.flow)
        )
        rest = self.gwei(payee, reason, flow) - fees
        return (
            fees * self.fee_price if fees else 0.0
        ) / GWEI_PER_TOKEN + rest * self.mean_price / GWEI_PER_TOKEN


def paid_month(run: Run, as_of: date) -> Month | None:
    """Return what was paid in the last settlement month that ended by a date.

    Parameters
    ----------
    run
        A complete run.
    as_of
        Reference date.

    Returns
    -------
    Month or None
        None where no month had ended by then.
    """
    import polars as pl

    ends = sorted(run.flows["day"].unique().to_list())
    by_then = [day for day in ends if day <= (as_of - run.start).days]
    if not by_then:
        return None
    last = by_then[-1]
    first = max((day for day in ends if day < last), default=-1)
    days = run.metrics.filter((pl.col("day") > first) & (pl.col("day") <= last))
    flows = run.flows.filter(pl.col("day") == last)
    witness = days.filter(pl.col("run") == run.manifest.chain.witness_run)
    over_runs, users_usd = _over_runs(days)
    billed = float(witness["fee_gross_gwei"].sum()) / GWEI_PER_TOKEN
    return Month(
        after=run.start + timedelta(days=first),
        until=run.start + timedelta(days=last),
        users_gwei=int(flows.filter(pl.col("flow") == "B1")["amount_gwei"].sum()),
        payments=payments(flows.select("flow", "source", "target", "amount_gwei").iter_rows(), _budgets(run)),
        fee_price=float(witness["fee_gross_usd"].sum()) / billed if billed else float("nan"),
        mean_price=float(witness.select(pl.col("price_usd").mean()).item() or float("nan")),
        over_runs=over_runs,
        users_usd=users_usd,
    )


def payments(rows: Iterable[tuple[str, str, str, int]], budgets: Mapping[str, int]) -> tuple[Payment, ...]:
    """Return the payments of a month's flows.

    Parameters
    ----------
    rows
        (flow, source, target, gwei).
    budgets
        Budgets of the two programmes that share the flow E2, by payee; it is divided by them.

    Examples
    --------
    >>> paid = payments([("B5", "clearing", "distributor", 9), ("A1", "distributor", "treasury.l2", 2)], {})
    >>> [(one.payee, one.flow, one.gwei) for one in paid]
    [('contributors', 'B5', 9), ('contributors', 'A1', -2), ('treasury', 'A1', 2)]
    """
    sums: defaultdict[tuple[str, str, str], int] = defaultdict(int)
    for flow, source, target, gwei in rows:
        reason = _REASONS.get(flow)
        if reason is None:
            continue
        if flow == "A1":
            sums["contributors", reason, flow] -= gwei
        for payee, part in _payees(flow, source, target, gwei, budgets):
            sums[payee, reason, flow] += part
    return tuple(Payment(*key, gwei) for key, gwei in sums.items())


def _payees(
    flow: str, source: str, target: str, gwei: int, budgets: Mapping[str, int]
) -> list[tuple[str, int]]:
    """Return who is paid by a flow; nobody where money is only on its way."""
    if flow == "E2":
        whole = sum(budgets.values())
        part = gwei * budgets.get("contributors", 0) // whole if whole else gwei
        return [("contributors", part), ("builders", gwei - part)]
    if flow == "C2" and source != "gas_vault":
        return []
    if flow in _BY_FLOW:
        return [(_BY_FLOW[flow], gwei)]
    name = _BY_TARGET.get(target.partition(".")[0], target.rpartition("/")[2])
    return [(name, gwei)] if name in NAMES else []


def _budgets(run: Run) -> dict[str, int]:
    """Return the monthly budgets of the two earners' programmes; 0 where one is off or not given."""
    found = {}
    for payee in ("contributors", "builders"):
        rows = [row for row in run.parameters if row.path == f"emission.monthly.{payee}"]
        amount = rows[0].value.rpartition(": ")[2].split()[0] if rows else "0"
        found[payee] = int(amount) if amount.isdigit() else 0
    return found


def _over_runs(days: pl.DataFrame) -> tuple[dict[str, Float], Float]:
    """Return what the tables say of all runs, whole tokens, and what users paid in USD."""
    import polars as pl

    whole = pl.sum_horizontal("split_model_weight", "split_stakers_weight", "split_contributors_weight")
    per_weight = pl.col("stakers_fee_gwei") / pl.col("split_stakers_weight")
    gross, net = pl.col("fee_gross_gwei"), pl.col("fee_net_gwei")
    named = {
        "users": gross,
        "platform": gross - net,
        "stakers": pl.col("stakers_fee_gwei"),
        "builders": per_weight * pl.col("split_model_weight"),
        "contributors": per_weight * pl.col("split_contributors_weight"),
        "burned": net - per_weight * whole,
        "programme.stakers": pl.col("stakers_emission_gwei"),
        "programmes": pl.col("emission_gwei"),
    }
    sums = [
        pl.when(expression.is_not_nan().all()).then(expression.sum()).alias(name)
        for name, expression in ((name, one.cast(pl.Float64)) for name, one in named.items())
    ]
    by_run = days.group_by("run").agg(*sums, pl.col("fee_gross_usd").sum()).sort("run")
    tokens = {
        name: by_run[name].fill_null(float("nan")).to_numpy().astype(np.float64) / GWEI_PER_TOKEN
        for name in named
    }
    return tokens, by_run["fee_gross_usd"].to_numpy().astype(np.float64)
