"""Attacks on the pipeline: copies, near copies and splits of a contributor's data, and what they gain.

Rules decided here. The attacker's family is the contributor whose data is copied together with all names that hold the
copies; the gain is the family's share of the money with the attack over its share without, both as means over queries.
Scores are computed on the documents that count alone (first registrations), so that a found copy cannot change them.
A near copy has exactly the stated number of token edits, each a replacement, an insertion or a deletion.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from reference_node.attribution.clusters import Clusters, find_clusters
from reference_node.attribution.minhash import TOKENS_PER_EDIT
from reference_node.attribution.pipeline_money import PLANTED, money_weights
from reference_node.attribution.policy import MoneyPolicy
from reference_node.attribution.spans_corpus import SpanDocument

Score = Callable[[Sequence[SpanDocument]], NDArray[np.floating]]
"""Documents -> scores `(queries, documents)`, as some method gives them."""


@dataclass(frozen=True, slots=True)
class Gain:
    """What an attack gained.

    Parameters
    ----------
    ratio
        Share of the family with the attack over that without; 1 is nothing.
    honest, attacked
        The two shares, means over queries.
    found
        Part of the copies that the clusters recognised.
    """

    ratio: float
    honest: float
    attacked: float
    found: float


def exact_copies(documents: Sequence[SpanDocument], owner: str, names: int) -> list[SpanDocument]:
    """Return the corpus with all of an owner's documents given again under new names."""
    copies = [
        replace(one, id=f"{one.id}+{name}", owner=f"{owner}+{name}")
        for name in range(names)
        for one in documents
        if one.owner == owner
    ]
    return [*documents, *_some(copies, owner)]


def near_copies(
    documents: Sequence[SpanDocument],
    owner: str,
    names: int,
    generator: np.random.Generator,
    *,
    tokens_per_edit: int = TOKENS_PER_EDIT,
) -> list[SpanDocument]:
    """Return the corpus with edited copies: one edit for every `tokens_per_edit` tokens, at least one."""
    vocabulary = sorted({token for one in documents for token in one.tokens})
    copies = [
        replace(
            one, tokens=edited(one.tokens, max(len(one.tokens) // tokens_per_edit, 1), vocabulary, generator)
        )
        for one in exact_copies(documents, owner, names)[len(documents) :]
    ]
    return [*documents, *copies]


def split_names(documents: Sequence[SpanDocument], owner: str, names: int) -> list[SpanDocument]:
    """Return the corpus with an owner's documents dealt out over so many names."""
    dealt = iter(range(len(documents)))
    return [
        replace(one, owner=f"{owner}+{next(dealt) % names}") if one.owner == owner else one
        for one in documents
    ]


def edited(
    tokens: Sequence[int], edits: int, vocabulary: Sequence[int], generator: np.random.Generator
) -> tuple[int, ...]:
    """Return a document with so many token edits, of random kind and place."""
    found = list(tokens)
    for _ in range(edits):
        kind = generator.integers(3) if len(found) > 1 else 1
        place = int(generator.integers(len(found) + (kind == 1)))
        token = vocabulary[int(generator.integers(len(vocabulary)))]
        found[place : place + (kind != 1)] = [] if kind == 2 else [token]
    return tuple(found)


def measure_gain(
    honest: Sequence[SpanDocument],
    attacked: Sequence[SpanDocument],
    owner: str,
    score: Score,
    policy: MoneyPolicy,
) -> Gain:
    """Measure what an attack on an owner's documents gains the family.

    Parameters
    ----------
    honest, attacked
        The corpus without and with the attack; the attack's names begin with the owner's and a plus sign.
    owner
        Whose documents were copied or dealt out.
    score
        The method.
    policy
        From its scores to money.
    """
    before, _ = _family_share(honest, owner, score, policy)
    after, clusters = _family_share(attacked, owner, score, policy)
    if before <= 0:
        raise InputError(f"{owner!r} earns nothing without the attack: there is no gain to measure")
    copies = np.array([one.owner.startswith(f"{owner}+") for one in attacked])
    found = float(clusters.duplicates[copies].mean()) if copies.any() else 0.0
    return Gain(after / before, before, after, found)


def copy_gains(
    documents: Sequence[SpanDocument],
    owner: str,
    score: Score,
    policy: MoneyPolicy,
    *,
    names: Sequence[int] = (1, 3),
    seeds: Sequence[int] = (0, 1, 2),
) -> dict[str, list[Gain]]:
    """Measure the attacks of the benchmark on one owner.

    Parameters
    ----------
    documents, owner, score, policy
        As in `measure_gain`.
    names
        Under how many names the copies are given.
    seeds
        Of the edits of near copies, one attack each.

    Returns
    -------
    dict
        ``exact``, ``near`` (one edit for every eight tokens) and ``split``: gains, of which the largest counts.
    """
    exact = [exact_copies(documents, owner, count) for count in names]
    near = [
        near_copies(documents, owner, count, np.random.default_rng(seed)) for count in names for seed in seeds
    ]
    split = [split_names(documents, owner, count + 1) for count in names]
    return {
        kind: [measure_gain(documents, attacked, owner, score, policy) for attacked in attacks]
        for kind, attacks in (("exact", exact), ("near", near), ("split", split))
    }


def _family_share(
    documents: Sequence[SpanDocument], owner: str, score: Score, policy: MoneyPolicy
) -> tuple[float, Clusters]:
    clusters = find_clusters(documents, policy.likeness)
    counted = clusters.firsts
    scores = score([documents[i] for i in counted])
    whole = np.zeros((len(scores), len(documents)))
    whole[:, counted] = scores
    result = money_weights(whole, documents, policy, clusters=clusters)
    family = [h == owner or h.startswith(f"{owner}+") for h in result.holders if h != PLANTED]
    return float(result.shares[:, family].sum(axis=1).mean()), clusters


def _some(copies: list[SpanDocument], owner: str) -> list[SpanDocument]:
    if not copies:
        raise InputError(f"{owner!r} has no document, or no name was given: there is nothing to copy")
    return copies
