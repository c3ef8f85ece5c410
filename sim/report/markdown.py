"""Markdown: the report's twin for pull requests.

Rule decided here: the same blocks as the HTML file; a figure is its caption, a long table is folded.
"""

from __future__ import annotations

from collections.abc import Iterable

from sim.report.blocks import Block, Code, Heading, Paragraph, Picture, Table


def render(title: str, blocks: Iterable[Block]) -> str:
    """Return the document.

    Parameters
    ----------
    title
        First heading.
    blocks
        The report.
    """
    return "\n\n".join([f"# {title}", *(_block(block) for block in blocks)]) + "\n"


def _block(block: Block) -> str:
    match block:
        case Heading():
            return f"## {block.text}"
        case Paragraph():
            return {"verdict": f"**{block.text}**", "warning": f"> Warning: {block.text}"}.get(
                block.kind, block.text
            )
        case Table():
            return _table(block)
        case Picture():
            return f"*Figure {block.name} (in report.html): {block.caption}*"
        case Code():
            return f"```text\n{block.text}\n```"


def _table(table: Table) -> str:
    lines = [_row(table.columns), "|" + "---|" * len(table.columns), *(_row(row) for row in table.rows)]
    text = "\n".join(lines)
    if table.folded:
        return f"<details><summary>{table.caption} ({len(table.rows)} rows)</summary>\n\n{text}\n\n</details>"
    return f"{table.caption}\n\n{text}" if table.caption else text


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
