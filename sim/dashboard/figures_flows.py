"""Interactive figure of the witness run's money: who paid whom in one month.

Rule decided here: payers stand left, payees right, so both sides add up to the same amount; an account that
pays and is paid stands on both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.dashboard.plot import CLASSES, NEUTRAL, PARTIES, blank, transparent, unknown
from sim.report.style import BUCKETS
from sim.report.text import GWEI_PER_TOKEN

if TYPE_CHECKING:
    import plotly.graph_objects as go
    import polars as pl

COLOURS = {
    "vesting (locked)": "#343a40",
    "market maker": BUCKETS["liquidity"],
    "venue": BUCKETS["liquidity"],
    "staked": PARTIES["stakers"],
    "fees in split": PARTIES["platform"],
    **PARTIES,
    **{f"wallets: {name}": colour for name, colour in CLASSES.items()},
}
"""Colour of each group of accounts; the rest are neutral."""
_ROW_PX = 34


def sankey(links: pl.DataFrame, month: str, note: str) -> go.Figure:
    """Return who paid whom.

    Parameters
    ----------
    links
        source, target, amount_gwei between groups, from `sim.dashboard.money_flows.grouped`.
    month
        Which month, for the title.
    note
        What the figure rests on; stands below the title.
    """
    import plotly.graph_objects as go

    payers = _largest_first(links, "source")
    payees = _largest_first(links, "target")
    height = max(420, 120 + _ROW_PX * max(len(payers), len(payees)))
    title = f"Who paid whom, OPEN in the month to {month}"
    figure = blank(title, note, y="", x="", height=height)
    figure.update_layout(margin={"l": 10, "r": 10, "t": 70, "b": 20})
    if not payers:
        return unknown(figure, "nothing moved in this month")
    places = {("source", name): k for k, name in enumerate(payers)}
    places |= {("target", name): len(payers) + k for k, name in enumerate(payees)}
    amounts = (links["amount_gwei"] / GWEI_PER_TOKEN).to_list()
    colours = [COLOURS.get(name, NEUTRAL) for _, name in places]
    figure.add_trace(
        go.Sankey(
            arrangement="snap",
            node={"label": [name for _, name in places], "color": colours, "pad": 14, "thickness": 14},
            link={
                "source": [places["source", name] for name in links["source"]],
                "target": [places["target", name] for name in links["target"]],
                "value": amounts,
                "color": [transparent(COLOURS.get(name, NEUTRAL), 0.35) for name in links["source"]],
            },
            textfont={"size": 13, "color": "#212529"},
            valueformat=",.0f",
            valuesuffix=" OPEN",
        )
    )
    return figure


def _largest_first(links: pl.DataFrame, side: str) -> list[str]:
    import polars as pl

    sums = links.group_by(side).agg(pl.col("amount_gwei").sum())
    return sums.sort(["amount_gwei", side], descending=[True, False])[side].to_list()
