"""The corpus as attribution sees it: documents, clusters, players.

Rules decided here. Clusters come before scores: methods of tier 1 see first registrations alone, so that a copy changes
no score. Players, whose coalitions are retrained, are contributors joined where one of them mostly copies another
(`holder_clusters`); an adapter is trained on all documents of its players, copies included, as the one that serves was.
Planted documents come last and belong to no player.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.errors import InputError
from reference_node.attribution.clusters import Clusters, Likeness, find_clusters, holder_clusters
from reference_node.attribution.likelihood import Text
from reference_node.attribution.method import Floats, Ints, document_texts
from reference_node.attribution.pipeline_money import PLANTED
from reference_node.attribution.spans_corpus import SpanDocument


@dataclass(frozen=True, slots=True)
class Corpus:
    """Documents in order of registration, then planted ones.

    Parameters
    ----------
    documents
        All of them.
    clusters
        Of the documents.
    holders
        Contributors in order of their first document.
    player_of
        Player of each document that is not planted, int64 (documents,), numbered without gaps.
    """

    documents: tuple[SpanDocument, ...]
    clusters: Clusters
    holders: tuple[str, ...]
    player_of: Ints

    @property
    def real(self) -> int:
        """Number of documents that are not planted."""
        return len(self.player_of)

    @property
    def players(self) -> int:
        """Number of players."""
        return int(self.player_of.max()) + 1

    @property
    def texts(self) -> list[Text]:
        """All documents as texts."""
        return document_texts(self.documents)

    def player_of_holder(self) -> Ints:
        """Return the player of each contributor."""
        first = {
            one.owner: self.player_of[i] for i, one in reversed([*enumerate(self.documents[: self.real])])
        }
        return np.array([first[holder] for holder in self.holders], np.int64)

    def clusters_of(self, count: int) -> Clusters:
        """Return the clusters of the first documents: what comes later changes none of them."""
        return Clusters(self.clusters.leaders[:count], self.clusters.kinds[:count])

    def widened(self, scores: Floats) -> Floats:
        """Return scores of first registrations as scores of all documents, duplicates having 0."""
        found = np.zeros((len(scores), len(self.documents)))
        found[:, self.clusters.firsts] = scores
        return found

    def folded(self, scores: Floats) -> Floats:
        """Return scores in which each first registration has those of its duplicates too, and these have 0."""
        found = np.zeros_like(scores)
        np.add.at(found.T, self.clusters.leaders, scores.T)
        return found


def make_corpus(
    documents: Sequence[SpanDocument],
    planted: Sequence[SpanDocument] = (),
    likeness: Likeness | None = None,
    *,
    clustered: bool = True,
) -> Corpus:
    """Find clusters and players.

    Parameters
    ----------
    documents
        In order of registration.
    planted
        See `planted_documents`.
    likeness
        What is alike.
    clustered
        False takes every document and every name for itself, copies or not.

    Raises
    ------
    InputError
        If there is no document.
    """
    if not documents:
        raise InputError("the corpus holds no document; there is nothing to attribute to")
    everything = (*documents, *planted)
    holders = tuple(dict.fromkeys(one.owner for one in documents))
    assert PLANTED not in holders, "documents are somebody's"
    number = {holder: i for i, holder in enumerate(holders)}
    of = np.array([number[one.owner] for one in documents], np.int64)
    if not clustered:
        alone = np.arange(len(everything))
        return Corpus(everything, Clusters(alone, np.zeros_like(alone)), holders, of)
    clusters = find_clusters(everything, likeness)
    own = Clusters(clusters.leaders[: len(of)], clusters.kinds[: len(of)])
    _, player = np.unique(holder_clusters(own, of, len(holders)).leaders, return_inverse=True)
    return Corpus(everything, clusters, holders, player[of])
