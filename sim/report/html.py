"""HTML: one file that opens offline.

Rule decided here: styles and figures are inside the file, it runs no script and loads nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from sim.report.blocks import Block, Code, Heading, Paragraph, Picture, Table

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1b1b1b; max-width: 58rem; margin: 2rem auto; padding: 0
1rem; } h1 { font-size: 1.6rem; margin-bottom: .2rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem;
border-bottom: 1px solid #ddd; } p.verdict { font-size: 1.1rem; background: #eef4f8; border-left: 4px solid
#2a6f97; padding: .7rem 1rem; } p.warning { background: #fdf3e7; border-left: 4px solid #c77d0a; padding:
.5rem 1rem; } table { border-collapse: collapse; font-size: .85rem; margin: .6rem 0; width: 100%; } th, td {
border-bottom: 1px solid #e5e5e5; padding: .25rem .5rem; text-align: left; vertical-align: top; } th {
background: #f6f6f6; } caption { text-align: left; font-weight: 600; padding: .3rem 0; } td {
font-variant-numeric: tabular-nums; overflow-wrap: anywhere; } td.short { white-space: nowrap; }
figure { margin: 1.2rem 0; } figure svg {
max-width: 100%; height: auto; } figcaption { font-size: .85rem; color: #555; } pre { background: #f6f6f6;
padding: .7rem; overflow-x: auto; font-size: .8rem; white-space: pre-wrap; } summary { cursor: pointer;
font-weight: 600; } @media print { body { max-width: none; margin: 0; font-size: 11px; } figure, tr {
break-inside: avoid; } h2 { break-after: avoid; } }
"""


SHORT = 20
"""Cells of at most so many characters are kept on one line."""


def render(title: str, blocks: Iterable[Block]) -> str:
    """Return the document.

    Parameters
    ----------
    title
        Title of the page and its first heading.
    blocks
        The report.
    """
    body = "\n".join(_block(block) for block in blocks)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n"
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )


def _block(block: Block) -> str:
    match block:
        case Heading():
            return f"<h2>{escape(block.text)}</h2>"
        case Paragraph():
            return f'<p class="{block.kind}">{escape(block.text)}</p>'
        case Table():
            return _table(block)
        case Picture():
            return f"<figure>\n{block.svg}\n<figcaption>{escape(block.caption)}</figcaption>\n</figure>"
        case Code():
            return f"<pre>{escape(block.text)}</pre>"


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in table.columns)
    rows = "\n".join("<tr>" + "".join(_cell(cell) for cell in row) + "</tr>" for row in table.rows)
    caption = f"<caption>{escape(table.caption)}</caption>" if table.caption and not table.folded else ""
    text = f"<table>{caption}\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>"
    if table.folded:
        summary = f"{escape(table.caption)} ({len(table.rows)} rows)"
        return f"<details>\n<summary>{summary}</summary>\n{text}\n</details>"
    return text


def _cell(text: str) -> str:
    short = ' class="short"' if len(text) <= SHORT else ""
    return f"<td{short}>{escape(text)}</td>"
