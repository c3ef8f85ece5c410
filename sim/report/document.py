"""Document: the whole report of a run directory.

Rule decided here: the order of a report (verdict, headline, payees, gains and losses, treasury and supply,
governance, serving, chain, sensitivity, assumptions, parameters, missing columns, reproduction), and that it is
written from the run directory alone: the engine is not needed to read a run.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

from sim.report import appendix, html, markdown, paid, proof, sections
from sim.report.blocks import Block, Paragraph
from sim.report.headline import Headline, headline
from sim.report.verdict import verdict, warnings
from sim.results.directory import REPORT_HTML, REPORT_MD
from sim.results.reader import Run


def report_blocks(run: Run, head: Headline) -> list[Block]:
    """Return the report of a run.

    Parameters
    ----------
    run
        A complete run.
    head
        Its headline.
    """
    return [
        Paragraph(verdict(head), "verdict"),
        *(Paragraph(text, "warning") for text in warnings(run.manifest)),
        *sections.headline_blocks(head),
        *paid.paid_blocks(run, head.as_of),
        *sections.people_blocks(run, head.as_of),
        *sections.supply_blocks(run),
        *sections.governance_blocks(run),
        *sections.serving_blocks(run),
        *proof.proof_blocks(run),
        *appendix.sensitivity_blocks(run, head.as_of),
        *appendix.assumption_blocks(run),
        *appendix.parameter_blocks(run),
        *appendix.missing_blocks(run),
        *appendix.reproduce_blocks(run),
    ]


def write_report(run: Run, as_of: date | None = None) -> tuple[Path, Path, Headline]:
    """Write ``report.html`` and ``report.md`` into the run directory.

    Parameters
    ----------
    run
        A complete run.
    as_of
        Reference date; None for the default.

    Returns
    -------
    tuple
        Paths of the HTML and the Markdown file, and the headline.

    Raises
    ------
    InputError
        If the date lies outside the run or a table is damaged.
    """
    head = headline(run, as_of)
    blocks = report_blocks(run, head)
    title = f"{run.manifest.name}: {run.start} to {head.last}"
    targets = []
    for file, render in ((REPORT_HTML, html.render), (REPORT_MD, markdown.render)):
        target = run.directory / file
        temporary = target.with_name(f".{file}.part")
        temporary.write_text(render(title, blocks), encoding="utf-8")
        temporary.replace(target)
        targets.append(target)
    return targets[0], targets[1], head
