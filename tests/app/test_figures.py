"""Figures without Streamlit: pure functions from frames to plotly figures."""

from __future__ import annotations

import json
from datetime import date
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import small_run

from models.serving import StepFit, step_time_ms
from sim.dashboard import (
    figures_flows,
    figures_money,
    figures_node,
    figures_people,
    figures_supply,
    figures_votes,
    money_flows,
)
from sim.dashboard.plot import CLASSES, DAILY, PARTIES, blank, plain_log, transparent
from sim.report.style import BUCKETS, SERIES, Note
from sim.results import Run, load_run
from sim.scenario import load_token
from sim.unlocks import unlocks_of

NOTE = Note(6, "illustrative")


@pytest.fixture(scope="module")
def run(written: Path) -> Run:
    return load_run(written / "small")


def test_insiders_and_pots_have_their_buckets_colours() -> None:
    assert CLASSES["team"] == BUCKETS["team"]
    assert CLASSES["investors"] == BUCKETS["investors"]
    assert PARTIES["community pool"] == figures_flows.COLOURS["community pool"] == BUCKETS["community"]
    assert len(set(CLASSES.values())) == len(CLASSES)


def test_a_note_is_below_the_title_and_axes_are_named() -> None:
    figure = blank("Title", NOTE, y="USD")
    assert figure.layout.title.subtitle.text == "6 runs; weakest input: illustrative"
    assert (figure.layout.xaxis.title.text, figure.layout.yaxis.title.text) == (DAILY, "USD")


def test_a_fan_is_made_of_shades_and_one_line(run: Run) -> None:
    figure = figures_supply.price(run.metrics, NOTE, (5, 25, 50, 75, 95))
    shades = [trace for trace in figure.data if trace.fill == "tonexty"]
    assert len(figure.data) == 5
    assert len(shades) == 2
    assert figure.data[-1].name == "median of 6 runs; shades end at 5, 25, 75, 95 %"
    assert figure.data[-1].y[0] == pytest.approx(0.5 * 1.025)
    assert figure.layout.yaxis.type == "log"


def test_months_leave_the_first_day_out_and_sum_whole_months(run: Run) -> None:
    months = figures_supply.by_month(run.metrics)
    assert months["month"].to_list() == [1, 2, 3]
    assert months["until"].to_list() == [date(2025, 10, 8), date(2025, 11, 8), date(2025, 12, 8)]
    days = np.arange(1, 31)
    expected = np.median([0.3 * (1 + 0.01 * run_) * (1 + 0.001 * days).sum() for run_ in range(6)])
    assert months["unlock_flow_gwei"][0] / 1e15 == pytest.approx(expected)
    share = (0.3 * (1 + 0.001 * days).sum()) / 60
    assert months["share"][0] == pytest.approx(share)
    assert figures_supply.by_month(run.metrics.filter(pl.col("day") < 20)).height == 0


def test_a_run_without_a_whole_month_says_so(run: Run) -> None:
    short = figures_supply.by_month(run.metrics.filter(pl.col("day") < 20))
    assert (
        figures_supply.unlock_share(short, NOTE).layout.annotations[0].text == "no whole month within the run"
    )


def test_buckets_of_one_role_have_different_colours() -> None:
    colours = figures_supply.bucket_colours(["a", "b", "c"], {"a": "team", "b": "team", "c": ""})
    assert colours["a"] == BUCKETS["team"]
    assert len(set(colours.values())) == 3


@pytest.mark.parametrize("file", ["baseline.yaml", "tokens/streaming.yaml", "tokens/piecewise.yaml"])
def test_a_calendar_ends_at_the_cap(file: str) -> None:
    token = load_token(Path(__file__).resolve().parents[2] / "scenarios" / file)
    answer = unlocks_of(token)
    figure = figures_supply.calendar(
        answer, {name: bucket.role or "" for name, bucket in token.token.buckets.items()}
    )
    areas = [trace for trace in figure.data if trace.stackgroup]
    assert [trace.name for trace in areas] == list(answer.allocated)
    total = sum(trace.y[-1] for trace in areas) * 1e6 * 10**answer.decimals
    assert total == pytest.approx(answer.cap - answer.unallocated)


def test_what_is_not_positive_is_left_out_of_a_log_axis(run: Run) -> None:
    none = run.metrics.with_columns(pl.lit(0.0).alias("fee_gross_usd"))
    names = [trace.name for trace in figures_money.demand(none, NOTE).data if trace.showlegend is not False]
    assert names == [
        "users' purchases of tokens",
        "unlocked and emitted tokens sold",
        "outside net inflow (traders)",
    ]


def test_no_line_spans_days_that_a_log_axis_cannot_show(run: Run) -> None:
    column = "outside_inflow_usd"
    lost = pl.when(pl.col("day").is_between(40, 80)).then(-1e7).otherwise(pl.col(column)).alias(column)
    figure = figures_money.demand(run.metrics.with_columns(lost), NOTE)
    parts = [trace for trace in figure.data if trace.name == "outside net inflow (traders)"]
    assert [trace.showlegend for trace in parts] == [True, False]
    start = small_run.START
    assert (parts[0].x[-1] - start).days == 39
    assert (parts[1].x[0] - start).days == 110  # the mean of 30 days is above zero again


def test_net_fees_keep_the_ratio_of_amounts(run: Run) -> None:
    half = run.metrics.with_columns((pl.col("fee_gross_gwei") // 2).alias("fee_net_gwei"))
    figure = figures_money.fees(half, NOTE)
    lines = {trace.name: trace.y[-1] for trace in figure.data if trace.showlegend is not False}
    assert lines["net of the platform part"] == pytest.approx(lines["gross"] / 2, rel=1e-6)


def test_parts_of_a_fee_sum_to_all_of_it(run: Run) -> None:
    figure = figures_money.split(run.metrics, NOTE)
    assert [trace.y[0] for trace in figure.data] == pytest.approx([0.1, 0.2, 0.2, 0.5])
    assert [trace.line.color for trace in figure.data] == [PARTIES[trace.name] for trace in figure.data]
    off = run.metrics.with_columns(pl.lit(None, pl.Float64).alias("fees_platform_bps"))
    assert figures_money.split(off, NOTE).layout.annotations[0].text == "no fee is in force on any day"


def test_a_wide_log_axis_has_whole_decades_only() -> None:
    import plotly.graph_objects as go

    assert plain_log(go.Figure(go.Scatter(y=[0.3, 0.4]))).layout.yaxis.dtick is None
    assert plain_log(go.Figure(go.Scatter(y=[1, 400]))).layout.yaxis.dtick == "D2"
    assert plain_log(go.Figure(go.Scatter(y=[1, None, 4_000_000]))).layout.yaxis.dtick == 1


def test_payouts_are_medians_over_runs_at_the_months_price(run: Run) -> None:
    paid = figures_people.paid(run.groups, run.metrics)
    team = paid.filter((pl.col("class") == "team") & (pl.col("day") == 30))
    assert team["income_tokens"][0] == 10_000
    assert team["paid_usd"][0] == pytest.approx(10_000 * 0.5 * 1.025 * 1.03)
    assert team["each_usd"][0] == pytest.approx(team["paid_usd"][0] / 100)
    figure = figures_people.paid_classes(paid, NOTE)
    assert [(bar.name, bar.marker.color) for bar in figure.data] == list(CLASSES.items())
    assert figure.layout.barmode == "stack"


def test_deciles_stop_at_the_date(run: Run) -> None:
    paid = figures_people.paid(run.groups, run.metrics)
    figure = figures_people.paid_deciles(paid, date(2025, 11, 30), NOTE)
    assert figure.data[0].name == "held on 2025-11-08"
    assert list(figure.data[0].y) == pytest.approx([2.0**k * 1000 for k in range(1, 11)])
    assert (
        figures_people.paid_deciles(paid, date(2025, 9, 9), NOTE)
        .layout.annotations[0]
        .text.startswith("no deciles")
    )


def test_concentration_curves_begin_at_nothing_and_end_at_all(run: Run) -> None:
    figure = figures_people.lorenz(run.groups, date(2025, 11, 30), NOTE)
    assert [trace.name for trace in figure.data] == ["2025-10-08", "2025-11-08", "2025-12-08", "equal"]
    for trace in figure.data:
        assert (trace.x[0], trace.y[0]) == (0, 0)
        assert (trace.x[-1], trace.y[-1]) == pytest.approx((1, 1))
    empty = figures_people.lorenz(run.groups.clear(), date(2025, 11, 30), NOTE)
    assert "no settlement epoch" in empty.layout.annotations[0].text


def test_groups_keep_every_gwei_that_moves_between_them(run: Run) -> None:
    month = money_flows.month(run.flows, run.accounts, 61)
    assert month.imbalance_gwei == 0
    for smallest in (0.0, 0.05, 0.5):
        links = money_flows.grouped(month.links, smallest)
        inside = ("pool.community.l1", "pool.community.l2"), ("wallet.l1/users", "wallet.l2/users")
        between = month.links.filter(
            ~pl.concat_list("source", "target").is_in([list(pair) for pair in inside])
        )
        assert links["amount_gwei"].sum() == between["amount_gwei"].sum()
    few = money_flows.grouped(month.links, 0.2)
    assert {name.partition(" (")[0] for name in few["target"]} == {
        "community pool",
        "wallets: holders",
        "others",
    }


def test_a_month_begins_where_the_month_before_ended(run: Run) -> None:
    months = [money_flows.month(run.flows, run.accounts, end) for end in money_flows.month_ends(run.flows)]
    for before, after in pairwise(months):
        ended = dict(before.balance.select("account", "closing_gwei").iter_rows())
        began = dict(after.balance.select("account", "opening_gwei").iter_rows())
        assert {name: began[name] for name in ended if ended[name]} == {k: v for k, v in ended.items() if v}
    assert months[0].balance["opening_gwei"].sum() == 0


def test_payers_stand_left_of_payees(run: Run) -> None:
    links = money_flows.grouped(money_flows.month(run.flows, run.accounts, 61).links)
    (sankey,) = figures_flows.sankey(links, "2025-11-08", "witness run 0").data
    payers = links["source"].n_unique()
    assert max(sankey.link.source) < payers <= min(sankey.link.target)
    assert sum(sankey.link.value) == pytest.approx(links["amount_gwei"].sum() / 1e9)
    nothing = figures_flows.sankey(links.clear(), "2025-11-08", "witness run 0")
    assert nothing.layout.annotations[0].text == "nothing moved in this month"


def test_votes_are_read_from_events(run: Run) -> None:
    cast = figures_votes.last_votes(run.events)
    assert cast.filter(pl.col("run") == 1).row(0, named=True) == {
        "run": 1, "day": 22, "date": date(2025, 9, 30), "subject": "Raise the quorum", "proposal": 0, "voters": 40,
        "for_gwei": 4 * 10**15, "against_gwei": 9 * 10**15, "abstain_gwei": 5 * 10**14,
    }  # fmt: skip
    figure = figures_votes.votes(cast, 1, NOTE)
    assert [(bar.name, bar.y[0]) for bar in figure.data] == [("for", 4.0), ("against", 9.0), ("abstain", 0.5)]
    assert "no vote was held in run 99" in figures_votes.votes(cast, 99, NOTE).layout.annotations[0].text
    assert figures_votes.last_votes(run.events.clear()).height == 0


def test_turnout_over_runs_counts_each_run_once() -> None:
    figure = figures_votes.histogram(np.array([0.02, 0.02, 0.5, np.nan]), 0.05, NOTE)
    assert sum(figure.data[0].y) == 3
    assert figure.layout.shapes[0].x0 == 0.05
    nobody = figures_votes.histogram(np.array([np.nan]), 0.05, NOTE)
    assert nobody.layout.annotations[0].text == figures_votes.NO_VOTE


def test_fitted_lines_are_the_formula() -> None:
    fit = StepFit(1.0, 0.5, 0.1, 0.001, 0.99, 0.1)
    rows = [
        {
            "batch": b,
            "distinct_adapters": d,
            "rank": 16 if d else 0,
            "context": 100,
            "tok_s": 10.0 * b,
            "step_ms_p50": 3.0,
        }
        for b in (1, 4, 8)
        for d in (0, 1, b)
    ]
    figure = figures_node.decode(rows, fit, 16, 100, "profile")
    line = figure.data[-1]
    assert list(line.y) == pytest.approx([1000 * b / float(step_time_ms(fit, b, b, 16, 100)) for b in line.x])
    scatter = figures_node.calibration(rows, fit, "profile").data[1]
    assert len(scatter.x) == len(rows)
    assert "no such rows" in figures_node.decode(rows, fit, 16, 7, "profile").layout.annotations[0].text


@pytest.mark.parametrize(
    "make",
    [
        figures_money.cover, figures_people.income, figures_people.inequality, figures_votes.turnout,
        figures_votes.quorum, figures_votes.capture, figures_node.latency, figures_node.margin, figures_node.cost,
    ],
)  # fmt: skip
def test_a_figure_without_values_says_so(make: object, run: Run) -> None:
    kept = {"run", "day", "date", "quorum_bps"}
    empty = run.metrics.with_columns(
        pl.lit(None, pl.Float64).alias(c) for c in run.metrics.columns if c not in kept
    )
    figure = make(empty, NOTE)  # type: ignore[operator]
    texts = [note.text for note in figure.layout.annotations]
    assert any(text.startswith("no ") for text in texts)


def test_figures_are_the_same_every_time(run: Run) -> None:
    one, two = (figures_supply.supplies(run.metrics, NOTE).to_json() for _ in range(2))
    assert json.loads(one) == json.loads(two)


def test_transparent_colours_keep_their_colour() -> None:
    assert transparent(SERIES[0], 0.5) == "rgba(42, 111, 151, 0.5)"
    assert small_run.PROFILE.is_file()
