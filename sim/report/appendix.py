"""Appendix: what the numbers rest on: sensitivity, assumptions, parameters, missing columns, reproduction.

Rule decided here: every parameter is listed with class and place, every observable without a value with the
reason.
"""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from typing import TYPE_CHECKING

from models.parameters import CLASSES
from sim.experiment.statistics import MeanInterval, mean_interval, paired_difference, spread
from sim.observables import BY_NAME, OBSERVABLES
from sim.report import figures_market
from sim.report.blocks import Block, Code, Heading, Paragraph, Picture, Table
from sim.report.evidence import evidence_of
from sim.report.headline import day_of
from sim.report.style import Note
from sim.report.text import ABOUT_ZERO, GWEI_PER_TOKEN, interval, number

if TYPE_CHECKING:
    import polars as pl

    from sim.results.reader import Run

COMPARED = {
    "price_usd": "price",
    "usage_cover": "usage cover",
    "circulating_gwei": "circulating supply",
    "contributor_income_median_usd": "contributor's income, median",
    "operator_margin": "operator margin over cost",
    "treasury_gwei": "treasury",
    "turnout_gopen": "turnout of GOPEN, last vote",
}
"""Observables whose difference between a run and its twin is shown, with short labels."""
TWIN_WORDS = {
    "no_unlock": "investors' and team's tokens stay locked",
    "no_outside_inflow": "no outside net inflow",
}


def sensitivity_blocks(run: Run, as_of: date) -> list[Block]:
    """Return what the counterfactual twins differ by, run by run."""
    blocks: list[Block] = [Heading("Sensitivity")]
    names = run.manifest.twins.names
    if not names or not run.twins.height:
        blocks.append(
            Paragraph("The scenario asks for no twins: set runs.twins to see what unlocks and inflow do.")
        )
        return blocks
    days = tuple(dict.fromkeys((as_of, run.start + timedelta(days=run.manifest.days))))
    blocks += [_twin_table(run, twin, days) for twin in names]
    twin_note = Note(run.manifest.twins.runs, evidence_of(run.parameters, ["price_usd"]))
    picture = figures_market.twins(run.metrics, run.twins, twin_note)
    blocks.append(
        Picture("twins", picture, "Median and 5 to 95 % of the price, with and without each mechanism.")
    )
    return blocks


def _twin_table(run: Run, twin: str, days: tuple[date, ...]) -> Table:
    """Return a twin's differences: a row for each number, the dates side by side."""
    import polars as pl

    other = run.twins.filter(pl.col("twin") == twin)
    rows = tuple(_difference_row(run, other, column, days) for column in COMPARED)
    dated = [text for day in days for text in (f"{day}: mean (95 % interval)", "5 to 95 %")]
    words = TWIN_WORDS.get(twin, twin)
    caption = f"{twin}: {words}. Run less twin over {run.manifest.twins.runs} runs: what the mechanism adds"
    return Table(("number", "unit", *dated), rows, caption)


def _difference_row(run: Run, other: pl.DataFrame, column: str, days: tuple[date, ...]) -> tuple[str, ...]:
    observable = BY_NAME[column]
    cells = []
    for day in days:
        difference = paired_difference(run.metrics, other, column, day_of(run, column, day))
        if column.endswith("_gwei"):
            difference = difference / GWEI_PER_TOKEN
        mean, range_ = mean_interval(difference), spread(difference)
        cells += [
            _mean_text(mean, observable.unit),
            interval(range_.p05, range_.p95, observable.unit),
        ]
    unit = "percentage points" if observable.unit == "share" else observable.unit
    return (COMPARED[column], unit, *cells)


def _mean_text(mean: MeanInterval, unit: str) -> str:
    between = interval(mean.low, mean.high, unit)
    if between == ABOUT_ZERO or mean.low == mean.high:
        return between if between == ABOUT_ZERO else number(mean.mean, unit)
    return f"{number(mean.mean, unit)} ({between})"


def assumption_blocks(run: Run) -> list[Block]:
    """Return how much of each section is measured, documented, estimated or illustrative."""
    counts = run.manifest.parameters
    by_section = Counter((row.path.partition(".")[0], row.evidence) for row in run.parameters)
    sections = list(dict.fromkeys(row.path.partition(".")[0] for row in run.parameters))
    rows = tuple((name, *(str(by_section[name, kind]) for kind in CLASSES)) for name in sections)
    uncertain = [row for row in run.parameters if "(" in row.value and ")" in row.value]
    drawn = tuple((row.path, row.value, row.evidence, row.source) for row in uncertain)
    text = (
        f"{counts.illustrative} of {counts.total} parameters "
        f"({number(counts.illustrative_share, 'share')}) are still illustrative, "
        f"{counts.estimated} estimated, {counts.documented} documented, {counts.measured} measured."
    )
    blocks: list[Block] = [
        Heading("Assumptions"),
        Paragraph(text),
        Table(("section", *CLASSES), rows, "Parameters by section and class"),
    ]
    if drawn:
        blocks.append(
            Table(("parameter", "distribution", "class", "source"), drawn, "Drawn anew in each run")
        )
    return blocks


def parameter_blocks(run: Run) -> list[Block]:
    """Return every parameter with its value, class, source and place."""
    rows = tuple(
        (row.path, row.value, row.range, row.evidence, row.source, row.place) for row in run.parameters
    )
    columns = ("parameter", "value", "range", "class", "source", "file:line:column")
    return [Heading("Parameters"), Table(columns, rows, "Every parameter of the scenario", folded=True)]


def missing_blocks(run: Run) -> list[Block]:
    """Return the observables that are null in every run on every day, and why."""
    counts = run.metrics.null_count().row(0, named=True)
    rows = tuple(
        (o.name, o.label, o.mechanism or "did not occur in this run: too short, or nothing to divide by")
        for o in OBSERVABLES
        if counts[o.name] == run.metrics.height
    )
    text = "Every column has values." if not rows else ""
    table = Table(("column", "meaning", "why it is null"), rows, "Columns without any value")
    return [Heading("Columns without values"), Paragraph(text) if text else table]


def reproduce_blocks(run: Run) -> list[Block]:
    """Return the command and the hashes."""
    manifest = run.manifest
    profile = manifest.profile
    lines = [
        f"command            {manifest.command}",
        f"scenario           {manifest.scenario} (sha256 {manifest.scenario_sha256})",
        f"world              sha256 {manifest.world_sha256}",
        f"code               sha256 {manifest.code_version}",
        f"contract artifacts sha256 {manifest.artifacts_sha256}",
        f"profile            {profile.id} (sha256 {profile.sha256})"
        if profile
        else "profile            none",
        f"seed {manifest.seed}, {manifest.runs} runs, {manifest.agents} agents, {manifest.days} days",
        f"metrics.parquet    sha256 {manifest.files['metrics.parquet']}",
        "packages           " + ", ".join(f"{name} {version}" for name, version in manifest.packages.items()),
    ]
    return [Heading("Reproduce"), Code("\n".join(lines))]
