"""Fees and payouts: what users pay, whether it carries the unlocks, and who is paid how much.

Rule decided here: money in and money out stand side by side; the witness run's moves are shown only with the
proof that they balance.
"""

from __future__ import annotations

from datetime import timedelta

import streamlit as st

from sim.dashboard import figures_flows, figures_money, figures_people, money_flows
from sim.dashboard.shell import note_of, page, plot, run_or_advice, spread_help, table, tiles, two
from sim.experiment.statistics import spread
from sim.report.headline import on_day, per_month
from sim.report.text import GWEI_PER_TOKEN, number
from sim.results.reader import Run

SCOPES = ("without the market", "everything")


def show() -> None:
    """Draw the page."""
    with page(
        "Fees and payouts", "What users pay, whether it carries what unlocks, and who gets how much of it."
    ):
        run = run_or_advice()
        if run is not None:
            _fees(run)
            _contributors(run)
            _classes(run)
            _flows(run)


def _fees(run: Run) -> None:
    metrics, last = run.metrics, run.start + timedelta(days=run.manifest.days)
    shown = {
        "Fees, USD in 30 days": spread(per_month(run, "fee_gross_usd", last)),
        "Usage cover": spread(on_day(run, "usage_cover", last)),
        "Fee, USD per 1M tokens": spread(on_day(run, "fee_usd_per_1m", last)),
        "Unclaimed payouts, OPEN": spread(on_day(run, "distributor_gwei", last)),
    }
    tiles([(words, number(value.p50), spread_help(value, last)) for words, value in shown.items()])
    two(
        figures_money.fees(metrics, note_of(run, "fee_gross_usd")),
        figures_money.cover(metrics, note_of(run, "usage_cover")),
        "fees",
    )
    plot(figures_money.demand(metrics, note_of(run, "unlock_sold_usd")), "demand")
    st.caption("A band is drawn where its 5 % quantile is above zero, because the axis is logarithmic.")
    two(
        figures_money.split(metrics, note_of(run, "split_model_weight")),
        figures_money.pots(metrics, note_of(run, "treasury_gwei")),
        "split",
    )


def _contributors(run: Run) -> None:
    st.subheader("Contributors of data")
    metrics, income = run.metrics, "contributor_income_median_usd"
    two(
        figures_people.income(metrics, note_of(run, income)),
        figures_people.break_even(metrics, note_of(run, "contributor_above_break_even")),
        "income",
    )
    last = run.start + timedelta(days=run.manifest.days)
    two(
        figures_people.inequality(metrics, note_of(run, "payout_gini")),
        figures_people.lorenz(run.groups, last, note_of(run, "holder_gini")),
        "concentration",
    )


def _classes(run: Run) -> None:
    st.subheader("Who was paid")
    st.caption(
        "Payouts, rewards, grants, emission and unlocks that reached a class in the month; USD at the price of "
        "its last day. Deciles are those of the holding on day 0, so every month speaks of the same holders."
    )
    note, last = note_of(run, "emission_gwei"), run.start + timedelta(days=run.manifest.days)
    paid = figures_people.paid(run.groups, run.metrics)
    plot(figures_people.paid_classes(paid, note), "paid-classes")
    plot(figures_people.paid_deciles(paid, last, note), "paid-deciles")
    if not paid.height:
        return
    end = paid.filter(paid["day"] == paid["day"].max())
    with st.expander(f"Classes and deciles in the month to {end['date'][0]}"):
        rows = [
            [
                row["class"], row["decile"] or "all", row["agents"], number(row["holding_tokens"]),
                number(row["income_tokens"]), number(row["paid_usd"]), number(row["each_usd"]),
            ]
            for row in end.iter_rows(named=True)
        ]  # fmt: skip
        columns = [
            "class",
            "decile",
            "agents",
            "held, OPEN",
            "paid, OPEN",
            "paid, USD",
            "paid per agent, USD",
        ]
        table(columns, [[str(cell) for cell in row] for row in rows], height=420)


def _flows(run: Run) -> None:
    st.subheader("Who paid whom")
    flows, witness = run.flows, run.manifest.chain.witness_run
    ends = money_flows.month_ends(flows)
    if not ends:
        st.caption("The witness run recorded no month: no settlement epoch ended within the run.")
        return
    left, right = st.columns([2, 1])
    names = {end: str(run.start + timedelta(days=end)) for end in ends}
    with left:
        end = st.select_slider(
            "Month to", ends, value=ends[-1], format_func=names.__getitem__, key="flow-month"
        )
    with right:
        scope = st.segmented_control("Moves", SCOPES, default=SCOPES[0], required=True, key="flow-scope")
    month = money_flows.month(flows, run.accounts, end)
    links = month.links
    if scope == SCOPES[0]:
        links = links.filter(~links["flow"].is_in(money_flows.MARKET))
    picture = figures_flows.sankey(money_flows.grouped(links), names[end], f"witness run {witness}")
    plot(picture, "sankey")
    _balance(month)


def _balance(month: money_flows.Month) -> None:
    moved = int(month.links["amount_gwei"].sum())
    explains = "Held at the beginning + received - paid - held at the end; absolute values, over all accounts"
    tiles(
        [
            ("Moved in the month, OPEN", number(moved / GWEI_PER_TOKEN), "All moves, the market's included"),
            ("Accounts", str(month.balance.height), "That held or moved anything"),
            ("Imbalance", f"{month.imbalance_gwei} gwei", explains),
        ]
    )
    with st.expander("Every account: held, received, paid, in OPEN"):
        rows = [
            [account, *(f"{amount / GWEI_PER_TOKEN:,.2f}" for amount in amounts), str(imbalance)]
            for account, *amounts, imbalance in month.balance.iter_rows()
        ]
        columns_ = ["account", "at the beginning", "received", "paid", "at the end", "imbalance, gwei"]
        table(columns_, rows, height=420)
