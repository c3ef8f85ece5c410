"""Highlights: the longest spans of an answer that the corpus holds, and the documents they lead back to.

Rule decided here. A span is shown if no longer one covers it and it has at least the asked number of tokens; spans may
overlap. Each names the documents that hold it, with the place, up to a number that is asked for. Shown is where words
were seen, not why the model said them: that is the business of the scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reference_node.attribution.spans import SpanIndex


@dataclass(frozen=True, slots=True)
class Source:
    """A place that holds a span: document, its owner, and number of the span's first token in it."""

    document: str
    owner: str
    token: int


@dataclass(frozen=True, slots=True)
class Highlight:
    """A span of the text.

    Parameters
    ----------
    start, stop
        Its tokens are `start` to below `stop`.
    count
        How often the corpus holds it.
    sources
        Some of those places.
    """

    start: int
    stop: int
    count: int
    sources: tuple[Source, ...]


def highlights(
    index: SpanIndex, tokens: Sequence[int], *, start: int = 0, tokens_min: int = 4, sources: int = 8
) -> list[Highlight]:
    """Return the highlighted spans of a text, in order.

    Parameters
    ----------
    index
        The corpus.
    tokens
        Prompt and answer.
    start
        Where the answer begins: spans that end before it are left out.
    tokens_min
        Tokens of the shortest span that is shown.
    sources
        Most places named per span.
    """
    matches = index.longest(tokens, occurrences=sources)
    longer_follows = np.append(matches.length[1:] == matches.length[:-1] + 1, False)
    ends = np.flatnonzero((matches.length >= tokens_min) & ~longer_follows)
    found = []
    for end in ends[ends >= start].tolist():
        length = int(matches.length[end])
        rows = slice(*np.searchsorted(matches.position, (end, end + 1)).tolist())
        places = zip(matches.document[rows].tolist(), matches.token[rows].tolist(), strict=True)
        named = tuple(
            Source(index.ids[document], index.owners[index.owner_of[document]], last - length + 1)
            for document, last in places
        )
        found.append(Highlight(end - length + 1, end + 1, int(matches.count[end]), named))
    return found
