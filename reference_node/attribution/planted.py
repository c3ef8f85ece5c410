"""Planted documents: random ones that whoever runs the attribution adds, to measure what nothing seems to be worth.

Rule decided here: a planted document is as long as a drawn one of the corpus, begins and ends as that one does, counts
from the same token, and is uniformly random between. It belongs to nobody, no adapter is trained on it, and the span
index does not hold it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from reference_node.attribution.pipeline_money import PLANTED
from reference_node.attribution.spans_corpus import SpanDocument


def planted_documents(
    documents: Sequence[SpanDocument], vocabulary: int, *, count: int, seed: int
) -> list[SpanDocument]:
    """Return planted documents for a corpus.

    Parameters
    ----------
    documents
        The corpus.
    vocabulary
        Token ids go from 0 to below this.
    count
        How many.
    seed
        Of lengths and tokens.
    """
    drawn, made = random.Random(seed), []
    for number in range(count):
        like = drawn.choice(documents)
        first, *inside, last = like.tokens
        tokens = (first, *(drawn.randrange(vocabulary) for _ in inside), last)
        made.append(SpanDocument(f"planted {seed}.{number}", PLANTED, tokens, start=like.start))
    return made
