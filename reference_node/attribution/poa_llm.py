"""`poa_llm`: the published formula for large models, credit for the longest matching span of every answer token.

Rule decided here: at each position of the answer the longest span of the corpus that ends there, prompt included; one
unit of credit in equal parts to its occurrences. As published an occurrence is one in the corpus, and a match of the
token alone counts. Tier 1 asks for a phrase, two tokens at least, and counts first registrations: a copy adds nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reference_node.attribution.likelihood import Text
from reference_node.attribution.method import Floats, Ints
from reference_node.attribution.spans import SpanIndex

OCCURRENCES_MAX = 64
"""Occurrences of one match that are credited; more are so common that they say little."""


class PoaLlm:
    """Span credit.

    Parameters
    ----------
    index
        Span index of the corpus.
    least
        Tokens of the shortest match that counts.
    leaders
        First registration of each document of the index, int64 (documents of the index,), as its number in a corpus;
        None counts every occurrence, by the index's own numbers.
    count
        Documents of that corpus.
    """

    name = "poa_llm"

    def __init__(
        self, index: SpanIndex, least: int = 1, leaders: Ints | None = None, count: int | None = None
    ) -> None:
        self.index, self.least, self.leaders = index, least, leaders
        self.count = len(index.ids) if count is None else count

    @property
    def params(self) -> dict[str, int | str]:
        """Shortest match, occurrences credited, and what counts as one."""
        unit = "occurrence" if self.leaders is None else "first_registration"
        return {"least_tokens": self.least, "occurrences": OCCURRENCES_MAX, "unit": unit}

    def scores(self, queries: Sequence[Text]) -> Floats:
        """Return the credit of every document, float64 (queries, documents), at most 1 for each token."""
        return np.stack([self._credit(query) for query in queries])

    def _credit(self, query: Text) -> Floats:
        matches = self.index.longest(query.tokens, occurrences=OCCURRENCES_MAX)
        counted = (matches.position >= query.start) & (matches.length[matches.position] >= self.least)
        position, document = matches.position[counted], matches.document[counted]
        if self.leaders is not None:
            pairs = np.unique(position * self.count + self.leaders[document])
            position, document = np.divmod(pairs, self.count)
        shown = np.bincount(position, minlength=len(query.tokens))
        return np.bincount(document, weights=1.0 / shown[position], minlength=self.count)
