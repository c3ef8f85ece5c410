"""How long a lookup takes: a corpus of stated size, texts of 256 tokens, each looked up once.

Rule decided here: the corpus is text-like and repeatable: documents of 100 tokens made of phrases, both drawn by
Zipf's law from one seed. Of the tokens of a text that is looked up four in ten are copied from documents, four in
ten are phrases that the corpus may hold, the rest are single tokens. A lookup is everything from token ids to length,
count and occurrences of every position. Shown are milliseconds per text, and beside them what the index weighs.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from reference_node.attribution.spans import SpanDocument, SpanIndex

VOCABULARY = 4096
DOCUMENT_TOKENS = 100
TEXT_TOKENS = 256
TEXTS = 200
_PHRASES = 400_000


def span_lookup(corpus_tokens: int = 10_000_000, seed: int = 7) -> dict[str, Any]:
    """Build an index and measure lookups.

    Parameters
    ----------
    corpus_tokens
        Tokens of the corpus.
    seed
        Of corpus and texts.

    Returns
    -------
    dict
        ``value``: median milliseconds per text of 256 tokens; samples, bytes per token and build time beside it.
    """
    rng = np.random.default_rng(seed)
    corpus, phrases = _corpus(corpus_tokens, rng)
    documents = [
        SpanDocument(f"d{i}", f"owner{i % 200}", tuple(row.tolist()))
        for i, row in enumerate(corpus.reshape(-1, DOCUMENT_TOKENS))
    ]
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        SpanIndex.build(documents, Path(folder))
        built_s = time.perf_counter() - began
        index = SpanIndex.open(Path(folder))
        samples, lengths = [], []
        for text in (_text(corpus, phrases, rng) for _ in range(TEXTS)):
            began = time.perf_counter()
            matches = index.longest(text)
            samples.append((time.perf_counter() - began) * 1e3)
            lengths.append(float(matches.length.mean()))
        weight = index.bytes / index.tokens
    return {
        "value": round(float(np.median(samples)), 4),
        "tokens": index.tokens,
        "text_tokens": TEXT_TOKENS,
        "us_per_position": round(float(np.median(samples)) * 1e3 / TEXT_TOKENS, 3),
        "mean_match_tokens": round(float(np.mean(lengths)), 2),
        "bytes_per_token": round(weight, 3),
        "build_s": round(built_s, 2),
        "samples_ms": [round(sample, 4) for sample in samples],
    }


def _corpus(tokens: int, rng: np.random.Generator) -> tuple[np.ndarray, list[np.ndarray]]:
    words = _zipf(VOCABULARY, 1.0)
    sizes = rng.integers(1, 9, _PHRASES)
    phrases = np.split(rng.choice(VOCABULARY, int(sizes.sum()), p=words), np.cumsum(sizes)[:-1])
    whole = tokens // DOCUMENT_TOKENS * DOCUMENT_TOKENS
    order = rng.choice(_PHRASES, whole // 3, p=_zipf(_PHRASES, 0.9))
    text = np.concatenate([phrases[i] for i in order])
    return text[:whole], phrases


def _text(corpus: np.ndarray, phrases: list[np.ndarray], rng: np.random.Generator) -> list[int]:
    found: list[int] = []
    while len(found) < TEXT_TOKENS:
        kind = rng.random()
        if kind < 0.06:  # fewer, because a copied span is longer
            start = int(rng.integers(len(corpus) - 40))
            found += corpus[start : start + int(rng.integers(8, 40))].tolist()
        elif kind < 0.4:
            found += phrases[int(rng.integers(len(phrases)))].tolist()
        else:
            found.append(int(rng.integers(VOCABULARY)))
    return found[:TEXT_TOKENS]


def _zipf(count: int, exponent: float) -> np.ndarray:
    weights = np.arange(1, count + 1, dtype=np.float64) ** -exponent
    return weights / weights.sum()
