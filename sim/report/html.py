"""HTML: one file that opens offline.

Rule decided here: styles and figures are inside the file, it runs no script and loads nothing; the list of sections
stands behind the verdict; columns of numbers stand to the right.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape

from sim.report.blocks import Block, Code, Heading, Paragraph, Picture, Table
from sim.report.text import DASH

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1b1b1b; max-width: 66rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: .2rem; }
h2 { font-size: 1.2rem; margin-top: 2.2rem; border-bottom: 1px solid #ddd; }
p { max-width: 60rem; }
p.verdict { font-size: 1.1rem; background: #eef4f8; border-left: 4px solid #2a6f97; padding: .7rem 1rem; }
p.warning { background: #fdf3e7; border-left: 4px solid #c77d0a; padding: .5rem 1rem; }
nav { font-size: .9rem; margin: 1rem 0; columns: 15rem 4; }
nav a { display: block; color: #2a6f97; text-decoration: none; }
nav a:hover { text-decoration: underline; }
table { border-collapse: collapse; font-size: .85rem; margin: .8rem 0 1.2rem; width: 100%; }
th, td { border-bottom: 1px solid #e5e5e5; padding: .25rem .5rem; text-align: left; vertical-align: top; }
th { background: #f6f6f6; }
th.number, td.number { text-align: right; }
caption { text-align: left; font-weight: 600; padding: .3rem 0; }
td { font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.short { white-space: nowrap; }
figure { margin: 1.2rem 0; max-width: 56rem; }
figure svg { width: 100%; height: auto; }
figcaption { font-size: .85rem; color: #555; }
pre { background: #f6f6f6; padding: .7rem; overflow-x: auto; font-size: .8rem; white-space: pre-wrap;
overflow-wrap: anywhere; }
summary { cursor: pointer; font-weight: 600; }
@media print {
@page { margin: 15mm 12mm; }
body { max-width: none; margin: 0; padding: 0; font-size: 10px; }
nav { display: none; }
p.verdict, p.warning, th { print-color-adjust: exact; }
figure, tr { break-inside: avoid; }
h2, caption { break-after: avoid; }
thead { display: table-header-group; }
}
"""


_NUMBER = re.compile(r"[<>] -?[\d.]+|-?[\d.,]+( [kMBT%])?( %)?")
_UNIT = re.compile(r"(?<=\d) (?=(?:[kMBT]|%)(?:\W|$))")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
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
    parts = list(blocks)
    text = [_block(block) for block in parts]
    first = next((index for index, block in enumerate(parts) if isinstance(block, Heading)), len(parts))
    body = "\n".join([*text[:first], *_contents(parts), *text[first:]])
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n"
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )


def _contents(blocks: Iterable[Block]) -> list[str]:
    """Return the list of sections, with a link to each."""
    titles = [block.text for block in blocks if isinstance(block, Heading)]
    links = "\n".join(f'<a href="#{anchor(title)}">{escape(title)}</a>' for title in titles)
    return [f'<nav aria-label="Contents">\n{links}\n</nav>'] if titles else []


def anchor(title: str) -> str:
    """Return the name by which a section is linked.

    Examples
    --------
    >>> anchor("Who is paid, and why")
    'who-is-paid-and-why'
    """
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def _block(block: Block) -> str:
    match block:
        case Heading():
            return f'<h2 id="{anchor(block.text)}">{escape(block.text)}</h2>'
        case Paragraph():
            return f'<p class="{block.kind}">{_text(block.text)}</p>'
        case Table():
            return _table(block)
        case Picture():
            return f"<figure>\n{block.svg}\n<figcaption>{escape(block.caption)}</figcaption>\n</figure>"
        case Code():
            return f"<pre>{escape(block.text)}</pre>"


def _text(text: str) -> str:
    """Return a text whose numbers do not part from their units at the end of a line."""
    return _UNIT.sub("&nbsp;", escape(text))


def _table(table: Table) -> str:
    numeric = [_is_numeric([row[index] for row in table.rows]) for index in range(len(table.columns))]
    head = "".join(map(_heading, table.columns, numeric))
    rows = "\n".join("<tr>" + "".join(map(_cell, row, numeric)) + "</tr>" for row in table.rows)
    caption = f"<caption>{escape(table.caption)}</caption>" if table.caption and not table.folded else ""
    text = f"<table>{caption}\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>"
    if table.folded:
        summary = f"{escape(table.caption)} ({len(table.rows)} rows)"
        return f"<details>\n<summary>{summary}</summary>\n{text}\n</details>"
    return text


def _is_numeric(cells: Iterable[str]) -> bool:
    """Return whether a column holds numbers and dashes only; such columns stand to the right."""
    known = [cell for cell in cells if cell not in ("", DASH)]
    return bool(known) and all(_NUMBER.fullmatch(cell) for cell in known)


def _heading(text: str, numeric: bool) -> str:
    kind = ' class="number"' if numeric else ""
    return f"<th{kind}>{_DATE.sub(_unbroken, escape(text))}</th>"


def _unbroken(found: re.Match[str]) -> str:
    return f'<span class="short">{found[0]}</span>'


def _cell(text: str, numeric: bool) -> str:
    classes = [name for name, holds in (("short", len(text) <= SHORT), ("number", numeric)) if holds]
    kind = f' class="{" ".join(classes)}"' if classes else ""
    return f"<td{kind}>{_text(text)}</td>"
