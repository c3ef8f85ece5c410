"""Highlight: an answer with the spans of it that documents hold, as HTML and as rows.

Rules decided here. A word shows the longest span that covers it, and the earlier one of two as long; the table lists
every span, also one that longer ones hide. All text is escaped: it comes from a node.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from itertools import groupby

from sim.dashboard.node_answers import Attribution, Span
from sim.dashboard.plot import transparent
from sim.report.style import SERIES
from sim.report.text import DASH

COLUMNS = ("span", "document", "DataNet", "contributor", "tokens", "times in the corpus", "words")
WORDS_MAX = 90
_BOX = "white-space: pre-wrap; overflow-wrap: anywhere; line-height: 2; font-size: 1.05rem; margin: 0"


def in_order(spans: Sequence[Span]) -> list[Span]:
    """Return spans as they are numbered: by their first token, longer ones first."""
    return sorted(spans, key=lambda span: (span.start, -span.stop))


def shown(spans: Sequence[Span], size: int) -> list[int | None]:
    """Return which span each token shows, by its place in `spans`; None for a token in no span.

    Parameters
    ----------
    spans
        As `in_order` returns them.
    size
        Tokens of the answer.
    """
    found: list[int | None] = [None] * size
    for place in sorted(range(len(spans)), key=lambda i: spans[i].start - spans[i].stop):
        for token in range(spans[place].start, spans[place].stop):
            if found[token] is None:
                found[token] = place
    return found


def plain(text: str) -> str:
    """Return an answer without spans as HTML."""
    return f'<p style="{_BOX}">{escape(text)}</p>'


def highlighted(found: Attribution) -> str:
    """Return an answer as HTML: spans are coloured and numbered, and say on hovering where their words stand."""
    spans = in_order(found.spans)
    place_of = shown(spans, len(found.tokens))
    seen = sorted({place for place in place_of if place is not None})
    colours = {place: SERIES[i % len(SERIES)] for i, place in enumerate(seen)}
    pieces = []
    for place, tokens in groupby(range(len(found.tokens)), key=lambda token: place_of[token]):
        text = escape("".join(found.tokens[token] for token in tokens))
        pieces.append(text if place is None else _mark(text, place + 1, spans[place], colours[place]))
    return f'<p style="{_BOX}">{"".join(pieces)}</p>'


def _mark(text: str, number: int, span: Span, colour: str) -> str:
    style = f"background: {transparent(colour, 0.2)}; border-bottom: 2px solid {colour}; color: inherit; padding: 2px 0"
    title = escape("\n".join(_says(number, span)), quote=True)
    return f'<mark style="{style}" title="{title}">{text}<sup>{number}</sup></mark>'


def _says(number: int, span: Span) -> Iterator[str]:
    yield f"span {number}: {span.stop - span.start} tokens, {times(span.count)} in the corpus"
    for source in span.sources:
        yield f"{source.document} ({source.datanet}, {source.contributor})"
    if len(span.sources) < span.count:
        yield f"and {span.count - len(span.sources)} more"


def times(count: int) -> str:
    """Return how often in words.

    Examples
    --------
    >>> times(1), times(12)
    ('once', '12 times')
    """
    return "once" if count == 1 else f"{count} times"


def rows(found: Attribution) -> list[list[object]]:
    """Return a row for every document of every span, under `COLUMNS`; one with dashes where none may be named."""
    shown_rows: list[list[object]] = []
    for number, span in enumerate(in_order(found.spans), start=1):
        words = _short("".join(found.tokens[span.start : span.stop]))
        places = [(one.document, one.datanet, one.contributor) for one in span.sources] or [(DASH,) * 3]
        shown_rows += [[number, *place, span.stop - span.start, span.count, words] for place in places]
    return shown_rows


def _short(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= WORDS_MAX else f"{words[: WORDS_MAX - 2]} …"
