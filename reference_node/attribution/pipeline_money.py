"""From influence to money: scores of documents become whole weights of contributors.

Rules decided here. Clusters first (`clusters`), then the null level, the value of each cluster, the clip, integer
weights of 10^9 and the split inside, each as the policy names it. Everything before the integer weights is float,
everything after is whole numbers. A score that is not finite is refused with its document; what is not registered
has no score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.attribution import WHOLE
from models.errors import InputError, Problem
from models.value_split import HolderSplit, null_level, split_weights
from reference_node.attribution.clusters import Clusters, find_clusters, holder_clusters
from reference_node.attribution.policy import MoneyPolicy
from reference_node.attribution.spans_corpus import SpanDocument
from reference_node.billing.served import Influence

Ints = NDArray[np.int64]
Floats = NDArray[np.floating]

PLANTED = ""
"""Owner of random documents that were planted to measure the null level; nobody is paid for them."""


@dataclass(frozen=True, slots=True)
class MoneyWeights:
    """Weights of some queries.

    Parameters
    ----------
    documents
        Weight of each cluster at its first registration, int64 `(queries, documents)`.
    holders
        Contributors, in order of their first document.
    weights
        Weight of each contributor, int64 `(queries, holders)`; rows sum to 10^9, or to 0 where nothing had positive
        influence.
    clusters
        Of the documents.
    """

    documents: Ints
    holders: tuple[str, ...]
    weights: Ints
    clusters: Clusters

    @property
    def shares(self) -> NDArray[np.float64]:
        """Weights as parts of 1, for statistics; money never takes this way."""
        return self.weights / WHOLE

    def influence(
        self, query: int, method: str, params: str, place_of: Mapping[str, tuple[str, str, str]]
    ) -> Influence:
        """Return one query's weights as a record takes them.

        Parameters
        ----------
        query
            Its row.
        method, params
            What the rules say; see `MoneyPolicy.params`.
        place_of
            Contributor -> (adapter's content hash, DataNet, contributor's id in it).

        Raises
        ------
        InputError
            Naming a contributor with a weight and without a place.
        """
        pairs = [(h, w) for h, w in zip(self.holders, self.weights[query].tolist(), strict=True) if w]
        missing = [
            Problem("has influence and is in no manifest", where=h) for h, _ in pairs if h not in place_of
        ]
        if missing:
            raise InputError(missing)
        weights: dict[tuple[str, str, str], int] = {}
        for holder, weight in pairs:
            weights[place_of[holder]] = weights.get(place_of[holder], 0) + weight
        return Influence(method, weights, params)


class MoneyPipeline:
    """From scores to weights on one corpus: what does not depend on scores is found once.

    Parameters
    ----------
    documents
        In order of registration; those owned by `PLANTED` measure the null level.
    policy
        The choices.
    clusters
        Of the documents, where they were found before.
    gradients
        `(documents, parameters)` for the third kind of likeness, or None.

    Raises
    ------
    InputError
        If the policy needs planted documents and there are none.
    """

    def __init__(
        self,
        documents: Sequence[SpanDocument],
        policy: MoneyPolicy,
        *,
        clusters: Clusters | None = None,
        gradients: Floats | None = None,
    ) -> None:
        self.documents, self.policy = documents, policy
        self.clusters = clusters or find_clusters(documents, policy.likeness, gradients)
        self._planted = np.array([one.owner == PLANTED for one in documents])
        self._leveled = policy.null_level != "none.v1" and policy.splits.clustered
        if self._leveled and not self._planted.any():
            raise InputError(
                f"null level {policy.null_level!r} needs planted random documents, owned by {PLANTED!r}; there are none"
            )
        self._nothing = self.clusters.duplicates | self._planted
        self.holders = tuple(dict.fromkeys(one.owner for one in documents if one.owner != PLANTED))
        number = {holder: i for i, holder in enumerate((*self.holders, PLANTED))}
        holds = np.array([number[one.owner] for one in documents], np.int64)
        families = holder_clusters(self.clusters, holds, len(number)).leaders
        self._split = HolderSplit(policy.splits, self.clusters.leaders, holds, families)

    def weights(self, scores: Floats) -> MoneyWeights:
        """Turn scores into weights.

        Parameters
        ----------
        scores
            `(queries, documents)`; negative where a document harms.

        Raises
        ------
        InputError
            If the scores are of another number of documents, or naming one with a score that is not finite.
        """
        scores = np.asarray(scores, np.float64)
        _check_scores(scores, self.documents)
        level = null_level(scores, self._planted) if self._leveled else 0.0
        splits, leaders = self.policy.splits, self.clusters.leaders
        found = split_weights(splits, np.where(self._planted, 0.0, scores), leaders, self._nothing, level)
        weights = self._split.weights(found)
        count = len(self.holders)
        assert not weights[:, count:].any(), "planted documents count nothing"
        return MoneyWeights(found, self.holders, weights[:, :count], self.clusters)


def money_weights(
    scores: Floats,
    documents: Sequence[SpanDocument],
    policy: MoneyPolicy,
    *,
    clusters: Clusters | None = None,
    gradients: Floats | None = None,
) -> MoneyWeights:
    """Turn scores into weights; parameters and errors are those of `MoneyPipeline` and its `weights`."""
    return MoneyPipeline(documents, policy, clusters=clusters, gradients=gradients).weights(scores)


def _check_scores(scores: NDArray[np.float64], documents: Sequence[SpanDocument]) -> None:
    if scores.ndim != 2 or scores.shape[1] != len(documents):
        raise InputError(f"scores have the shape {scores.shape}; expected (queries, {len(documents)})")
    wrong = np.argwhere(~np.isfinite(scores))
    if len(wrong):
        query, number = (int(i) for i in wrong[0])
        one = documents[number]
        message = f"query {query} gives it the score {scores[query, number]}; expected finite numbers"
        raise InputError([Problem(message, where=f"document {one.id!r} of {one.owner!r}")])
