"""`ef_spans`, tier 1: empirical-Fisher influence at the base model with span credit, online.

Rule decided here. Influence is divided by its positive sum, credit by the answer's length, and credit counts three
tenths: it names the words, influence says what they did. Both see first registrations and planted documents alone;
duplicates score 0. One backward pass and one search in the index for each answer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reference_node.attribution.cache import Cache
from reference_node.attribution.corpus import Corpus
from reference_node.attribution.ef_base import EfBase
from reference_node.attribution.likelihood import Text, Window
from reference_node.attribution.method import Floats
from reference_node.attribution.poa_llm import PoaLlm
from reference_node.attribution.retrain import Recipe
from reference_node.attribution.spans import SpanIndex
from reference_node.attribution.start_gradients import StartPoint
from reference_node.model import Llama

CREDIT_WEIGHT = 0.3
LEAST_TOKENS = 2
SEED = 301
SKETCH = 64


class Tier1:
    """Tier 1.

    Parameters
    ----------
    model
        Base weights.
    recipe
        Shape of the adapter whose start gradients are taken at.
    corpus
        Documents with planted ones.
    index
        Span index of the documents that are not planted; restricted ones are missing. None where all are restricted.
    cache
        Where the documents' gradients are kept.
    window
        How much of an answer influence reads; credit reads all of it.
    """

    name = "ef_spans"

    def __init__(
        self,
        model: Llama,
        recipe: Recipe,
        corpus: Corpus,
        index: SpanIndex | None,
        cache: Cache,
        window: Window | None = None,
    ) -> None:
        texts, point = corpus.texts, StartPoint(model, recipe, SEED, SKETCH)
        self.corpus = corpus
        firsts = [texts[i] for i in corpus.clusters.firsts]
        self.influence = EfBase(point, firsts, cache, window or Window())
        self.credit = None if index is None else self._credit(index)

    @property
    def params(self) -> dict[str, int | str]:
        """Parameters of both parts, and the weight of credit in millionths."""
        own: dict[str, int | str] = {"credit_per_million": round(CREDIT_WEIGHT * 10**6)}
        return own | {
            f"{part.name}.{key}": value
            for part in (self.influence, self.credit)
            if part is not None
            for key, value in part.params.items()
        }

    def scores(self, queries: Sequence[Text]) -> Floats:
        """Return the score of every document, float64 (queries, documents)."""
        influence = self.corpus.widened(self.influence.scores(queries))
        positive = np.maximum(influence, 0.0).sum(axis=1, keepdims=True)
        found = influence / np.where(positive > 0, positive, 1.0)
        if self.credit is not None:
            lengths = np.array([len(query.tokens) - query.start for query in queries])
            found[:, : self.corpus.real] += CREDIT_WEIGHT * self.credit.scores(queries) / lengths[:, None]
        return found

    def _credit(self, index: SpanIndex) -> PoaLlm:
        number = {one.id: i for i, one in enumerate(self.corpus.documents)}
        leaders = self.corpus.clusters.leaders[[number[one] for one in index.ids]]
        return PoaLlm(index, LEAST_TOKENS, leaders, self.corpus.real)
