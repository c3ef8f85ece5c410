"""A tiny world for attribution: a random model, eleven documents of four names (one copies another), three queries."""

from __future__ import annotations

import numpy as np

from reference_node.attribution.corpus import Corpus, make_corpus
from reference_node.attribution.likelihood import Text
from reference_node.attribution.planted import planted_documents
from reference_node.attribution.retrain import Recipe
from reference_node.attribution.spans_corpus import SpanDocument
from reference_node.config import ModelConfig
from reference_node.model import Llama, random_model

WORDS = 40
CONFIG = ModelConfig(
    vocab_size=WORDS,
    hidden_size=32,
    layers=2,
    heads=4,
    kv_heads=2,
    head_dim=8,
    intermediate_size=48,
    tied=True,
)
RECIPE = Recipe(rank=4, alpha=8.0, epochs=3, batch=4)


def small_model(config: ModelConfig = CONFIG) -> Llama:
    return random_model(config, 3, max_length=32)


def small_documents() -> list[SpanDocument]:
    """Three documents of `ana` and of `ben`, two of `cid`, and `dan`, who copies all of `ben`."""
    drawn = np.random.default_rng(8)

    def tokens() -> tuple[int, ...]:
        return (1, *(int(t) for t in drawn.integers(3, WORDS, int(drawn.integers(6, 11)))), 2)

    made = [
        SpanDocument(f"{owner}{i}", owner, tokens())
        for owner, count in (("ana", 3), ("ben", 3), ("cid", 2))
        for i in range(count)
    ]
    return made + [SpanDocument(f"dan{i}", "dan", made[3 + i].tokens) for i in range(3)]


def small_corpus(*, clustered: bool = True, planted: int = 4) -> Corpus:
    documents = small_documents()
    return make_corpus(
        documents, planted_documents(documents, WORDS, count=planted, seed=1), clustered=clustered
    )


def small_queries() -> list[Text]:
    """What ana, ben and cid wrote in their first documents, asked from the fourth token on."""
    return [Text(one.tokens, start=4) for one in small_documents() if one.id in ("ana0", "ben0", "cid0")]


class Flat:
    """A method that gives every first registration one point: the least that tier 2 and 3 need of a tier 1."""

    name = "flat"

    def __init__(self, corpus: Corpus) -> None:
        self.corpus = corpus

    @property
    def params(self) -> dict[str, int | str]:
        return {}

    def scores(self, queries: list[Text]) -> np.ndarray:
        found = np.zeros((len(queries), len(self.corpus.documents)))
        found[:, self.corpus.clusters.firsts] = 1.0
        found[:, self.corpus.real :] = 0.0
        return found
