"""Blocks: what a report is made of, before it is HTML or Markdown.

Rule decided here: both documents are written from the same blocks, so that they cannot say different things.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Heading:
    """A section's title."""

    text: str


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Plain prose; `kind` is ``text``, ``verdict`` or ``warning``."""

    text: str
    kind: str = "text"


@dataclass(frozen=True, slots=True)
class Table:
    """A table of texts.

    Parameters
    ----------
    columns
        Headings.
    rows
        Cells, one tuple per row.
    caption
        What it shows.
    folded
        Whether it begins folded, because it is long.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    folded: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure as SVG text, with one sentence that says what it shows."""

    name: str
    svg: str
    caption: str


@dataclass(frozen=True, slots=True)
class Code:
    """Text to be copied: a command, hashes."""

    text: str


Block = Heading | Paragraph | Table | Picture | Code
