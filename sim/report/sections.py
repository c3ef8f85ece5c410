"""Sections: the body of a report, from a run to blocks.

Rule decided here: what is said, in which order: who gains and loses, treasury and supply, governance,
serving.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from sim.experiment.statistics import Spread, spread
from sim.report import figures_market, figures_node, figures_people
from sim.report.accuracy import error_text
from sim.report.blocks import Block, Heading, Paragraph, Picture, Table
from sim.report.evidence import evidence_of
from sim.report.headline import Footer, Headline
from sim.report.style import Note
from sim.report.text import GWEI_PER_TOKEN, interval, number
from sim.report.votes import proposals

if TYPE_CHECKING:
    import polars as pl

    from sim.results.reader import Run


EVENT_WORDS = {
    "submitted": "submitted", "refused": "refused: too few votes", "voted": "voted on", "defeated": "defeated",
    "queued": "passed and queued", "executed": "executed", "bound": "a changed parameter came into force",
}  # fmt: skip
"""Kinds of events in words, in the order of a proposal's life."""


def note(run: Run, *columns: str) -> Note:
    """Return the line below a figure of some observables."""
    return Note(run.manifest.runs, evidence_of(run.parameters, columns))


def headline_blocks(head: Headline) -> list[Block]:
    """Return the headline table and what always stands below it."""
    firsts = {line.row: line.key for line in reversed(head.lines)}
    rows = tuple(
        (
            str(line.row) if firsts[line.row] == line.key else "",
            line.label,
            "" if line.unit == "share" else line.unit,
            *_cells(line.at, line.unit),
            *_cells(line.last, line.unit),
            line.evidence,
        )
        for line in head.lines
    )
    columns = (
        "#", "number", "unit", f"{head.as_of}", "5 to 95 %", f"{head.last}", "5 to 95 %", "weakest input",
    )  # fmt: skip
    caption = f"Median and 5 to 95 % of {head.runs} runs, on the reference date and on the last day"
    return [
        Heading("Headline"),
        Table(columns, rows, caption),
        Paragraph(row_notes(head)),
        Paragraph(footer_text(head.footer)),
    ]


def row_notes(head: Headline) -> str:
    """Return what a reader must know of single rows."""
    return (
        "Row 3: fees and buyback of 30 days in USD over the sales of unlocked tokens. Row 4: inflows of 30 days. "
        f"Row 6: {head.serving}; what a token costs also depends on how busy demand keeps the machines. "
        f"Row 7: on {head.as_of} {head.first_pot}. "
        "Row 8: quorum over the votes so far, turnout and parts of the last vote."
    )


def _cells(value: Spread, unit: str) -> tuple[str, str]:
    return number(value.p50, unit), interval(value.p05, value.p95, unit)


def footer_text(footer: Footer) -> str:
    """Return what always stands below the headline."""
    chain = (
        f"chain difference {footer.chain_diff_wei} wei over {footer.reconciled_epochs} reconciled epochs"
        if footer.chain_executed
        else "chain off, 0 reconciled epochs"
    )
    return (
        f"Conservation residual {footer.residual_gwei} gwei; {chain}; "
        f"{number(footer.illustrative_share, 'share')} of parameters still illustrative; "
        f"seed {footer.seed}; command: {footer.command}"
    )


def people_blocks(run: Run, as_of: date) -> list[Block]:
    """Return who gains and who loses: classes and deciles by baseline status."""
    blocks: list[Block] = [Heading("Who gains and who loses")]
    if run.groups.height:
        blocks.append(_groups_table(run, as_of, deciles=False))
        blocks.append(_groups_table(run, as_of, deciles=True))
    else:
        blocks.append(Paragraph("No settlement epoch ended within the run: there are no groups to compare."))
    income = ("contributor_income_median_usd",)
    blocks += [
        Picture(
            "income",
            figures_people.income(run.metrics, note(run, *income)),
            "Monthly income at each epoch's last close; contributors above break-even and without any.",
        ),
        Picture(
            "concentration",
            figures_people.concentration(run.groups, run.metrics, as_of, note(run, "holder_gini")),
            "Left: holders in deciles of their holding on day 0. Right: Gini of holdings and of payouts.",
        ),
    ]
    return blocks


def _groups_table(run: Run, as_of: date, *, deciles: bool) -> Table:
    """Return holdings at the first epoch, the reference date and the end, and income, median over runs."""
    import polars as pl

    groups = run.groups.filter((pl.col("decile") > 0) if deciles else (pl.col("decile") == 0))
    ends = sorted(groups["date"].unique().to_list())
    middle = max((end for end in ends if end <= as_of), default=ends[0] if ends else as_of)
    key = "decile" if deciles else "class"
    names = groups[key].unique(maintain_order=True)
    rows = [
        (str(name), *_group_cells(run, groups.filter(pl.col(key) == name), ends[0], middle, ends[-1]))
        for name in (names.sort() if deciles else names)
    ]
    columns = (
        "decile" if deciles else "class", "agents",
        *(f"held {day}, OPEN" for day in (*ends[:1], middle, *ends[-1:])), "change", "5 to 95 %",
        f"income each to {middle}, USD/month",
    )  # fmt: skip
    who = "Holders by decile of baseline holding" if deciles else "Classes of agents"
    caption = (
        f"{who}, median over runs; income is what reached them: payouts, rewards, grants, emission, unlocks"
    )
    return Table(columns, tuple(rows), caption, folded=deciles)


def _group_cells(run: Run, own: pl.DataFrame, first: date, middle: date, last: date) -> tuple[str, ...]:
    import polars as pl

    held = [_held(own.filter(pl.col("date") == day)) for day in (first, middle, last)]
    change = _change(own, first, last)
    prices = run.metrics.select("run", "date", "price_usd")
    paid = own.filter(pl.col("date") == middle).join(prices, on=["run", "date"])
    each = paid["income_gwei"] / GWEI_PER_TOKEN * paid["price_usd"] / paid["agents"].clip(lower_bound=1)
    return (
        str(own["agents"].max()), *(number(value.p50) for value in held), number(change.p50, "share"),
        interval(change.p05, change.p95, "share"), number(spread(each.to_numpy()).p50),
    )  # fmt: skip


def _held(frame: pl.DataFrame) -> Spread:
    return spread(frame["holding_gwei"].to_numpy() / GWEI_PER_TOKEN)


def _change(frame: pl.DataFrame, first: date, last: date) -> Spread:
    """Return relative change of holdings run by run."""
    import polars as pl

    ends = [
        frame.filter(pl.col("date") == day).select("run", pl.col("holding_gwei").alias(name))
        for day, name in ((first, "before"), (last, "after"))
    ]
    joined = ends[0].join(ends[1], on="run").filter(pl.col("before") > 0)
    return spread((joined["after"] / joined["before"] - 1).to_numpy())


def supply_blocks(run: Run) -> list[Block]:
    """Return treasury, supply, price and what pays for the unlocks."""
    metrics = run.metrics
    calendar = Note(0, evidence_of(run.parameters, ["unlocked_gwei"]))
    bands = run.manifest.bands
    return [
        Heading("Treasury and supply"),
        Picture(
            "unlocks",
            figures_market.unlocks(run.unlocks, calendar),
            "Unlocked tokens by bucket; a dashed line marks a bucket that begins to pay after being locked.",
        ),
        Picture(
            "supplies",
            figures_market.supplies(metrics, note(run, "circulating_gwei")),
            "Trackers count all that is unlocked; circulating leaves pools out; float is free wallets.",
        ),
        Picture(
            "price",
            figures_market.price_fan(metrics, note(run, "price_usd"), bands),
            f"Price over {run.manifest.runs} runs. It is an assumption in disguise: see sensitivity.",
        ),
        Picture(
            "cover",
            figures_market.cover(metrics, note(run, "usage_cover")),
            "Fees and users' purchases against sales of unlocked tokens; outside money fills the gap.",
        ),
        Picture(
            "pots",
            figures_people.pots(metrics, note(run, "treasury_gwei")),
            "What treasury, pools and staking pot hold, and in how many runs they hold anything.",
        ),
    ]


def governance_blocks(run: Run) -> list[Block]:
    """Return turnout, quorum and what happened in votes."""
    import polars as pl

    blocks: list[Block] = [
        Heading("Governance"),
        Picture(
            "turnout",
            figures_people.turnout(run.metrics, note(run, "turnout_gopen")),
            "Turnout of the last vote against the quorum in force; votes that reached it and passed.",
        ),
    ]
    blocks += [Paragraph(f"{outcome.text}.") for outcome in proposals(run)]
    if run.events.height:
        counted = [pl.len().alias("n"), pl.col("run").n_unique().alias("runs")]
        kinds = {kind: (n, runs) for kind, n, runs in run.events.group_by("kind").agg(*counted).iter_rows()}
        total = run.manifest.runs
        rows = tuple(
            (words, number(kinds[kind][0] / total), f"{kinds[kind][1]} of {total}")
            for kind, words in (
                EVENT_WORDS | {kind: kind for kind in sorted({*kinds} - {*EVENT_WORDS})}
            ).items()
            if kind in kinds
        )
        blocks.append(Table(("event", "per run", "runs with any"), rows, "What happened"))
    else:
        blocks.append(Paragraph("No proposal was made in any run."))
    return blocks


SURFACE = ("utilisation", "refused_share", "cache_hit_rate", "latency_p50_s", "latency_p95_s", "ttft_p95_s")
"""What the figure of the fleet shows."""


def serving_blocks(run: Run) -> list[Block]:
    """Return serving and the bridge."""
    off = error_text(run.manifest.surface_error, SURFACE)
    return [
        Heading("Serving and bridge"),
        Picture(
            "serving",
            figures_node.serving(run.metrics, note(run, "utilisation")),
            "Fleet utilisation, refused demand, cache hits and latency from the throughput profile"
            + (f"; {off}." if off else "."),
        ),
        Picture(
            "serving-money",
            figures_node.serving_money(run.metrics, note(run, "serving_cost_usd_per_1m")),
            "What a million tokens cost to serve and what users pay for them.",
        ),
        Picture(
            "bridge",
            figures_node.bridge(run.metrics, note(run, "escrow_gwei")),
            "Tokens escrowed on L1 for L2, and tokens between the chains.",
        ),
    ]
