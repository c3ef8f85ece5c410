"""Explanation of one answer: what every method at hand would pay to whom, and which words stand in which documents.

Rule decided here. Methods are the published span formula as it was published, the influence of tier 1 alone, tier 1
and, where the bundle holds a bank, tier 2. Shares are parts of the contributors' money. A record pays by the method
that it names; the others stand beside it and pay nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from reference_node.attribution.attributor import Attributor
from reference_node.attribution.likelihood import Text
from reference_node.attribution.method import Floats
from reference_node.attribution.pipeline_money import money_weights
from reference_node.attribution.poa_llm import PoaLlm
from reference_node.attribution.policy import MoneyPolicy
from reference_node.attribution.spans_highlight import Highlight, highlights

PUBLISHED = MoneyPolicy("published_clip_sum.v1", null_level="none.v1")
"""The published order: every document by itself, clipped, then summed, without a null level."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """An answer explained.

    Parameters
    ----------
    shares
        Method -> contributor (``datanet/contributor``) -> part of the contributors' money; methods in the order of
        their table, contributors in that of registration, without zeros.
    spans
        Longest spans of the answer that open documents hold, by token of prompt and answer.
    """

    shares: dict[str, dict[str, float]]
    spans: tuple[Highlight, ...]


def explain(one: Attributor, answer: Text) -> Explanation:
    """Explain an answer.

    Parameters
    ----------
    one
        The adapter's attributor.
    answer
        Prompt and answer.
    """
    shares = {name: _named(one.money.holders, found()[0]) for name, found in _methods(one, answer).items()}
    spans = () if one.index is None else tuple(highlights(one.index, answer.tokens, start=answer.start))
    return Explanation(shares, spans)


def _methods(one: Attributor, answer: Text) -> dict[str, Callable[[], Floats]]:
    """Return how to find shares by every method, (1, contributors)."""
    tier1, corpus = one.tier1, one.corpus

    def paid(scores: Floats) -> Floats:
        return one.money.weights(scores).shares

    found: dict[str, Callable[[], Floats]] = {}
    if one.index is not None:
        found["poa_llm"] = lambda: _published(one, answer)
    found["ef_base"] = lambda: paid(corpus.widened(tier1.influence.scores([answer])))
    found["ef_spans"] = lambda: paid(tier1.scores([answer]))
    bank = one.bank
    if bank is not None:
        found["coalition_bank"] = lambda: paid(bank.scores([answer]))
    return found


def _published(one: Attributor, answer: Text) -> Floats:
    assert one.index is not None, "somebody's words are open"
    number = {document.id: i for i, document in enumerate(one.corpus.documents)}
    scores = np.zeros((1, one.corpus.real))
    scores[:, [number[name] for name in one.index.ids]] = PoaLlm(one.index).scores([answer])
    documents = one.corpus.documents[: one.corpus.real]
    clusters = one.corpus.clusters_of(one.corpus.real)
    return money_weights(scores, documents, PUBLISHED, clusters=clusters).shares


def _named(holders: tuple[str, ...], shares: Floats) -> dict[str, float]:
    return {holder: float(share) for holder, share in zip(holders, shares, strict=True) if share}
