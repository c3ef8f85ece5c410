"""Clusters: which documents are evidence of one origin, in the order in which they were registered.

Rules decided here. Three kinds of likeness, each looked for where the one before finds none: the same tokens, near
duplicates by edit distance (`minhash`), and, where gradients are given, a cosine of at least the threshold. A document
joins the cluster of the *earliest registration* that it is like, and counts as its duplicate; it is compared with first
registrations alone. So what is registered later never changes who is in a cluster or who leads it, and a chain of small
changes joins no two documents that are unlike. Contributors are joined when a stated part of what one gave
duplicates another's. Whoever registers first is taken for the origin: an earlier copyist is a matter for disputes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError, Problem
from reference_node.attribution.minhash import TOKENS_PER_EDIT, NearIndex
from reference_node.attribution.spans_corpus import SpanDocument, content_hash

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

KINDS = ("alone", "exact", "near", "gradient")
COSINE = 0.98
HOLDER_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Likeness:
    """When two documents are of one origin (``likeness.v1``).

    Parameters
    ----------
    tokens_per_edit
        Near duplicates have one edit for so many tokens of the longer one, or fewer edits.
    cosine
        Least cosine of gradients; only used where gradients are given.
    """

    tokens_per_edit: int = TOKENS_PER_EDIT
    cosine: float = COSINE

    def __post_init__(self) -> None:
        if self.tokens_per_edit < 2 or not 0 < self.cosine <= 1:
            raise ValueError(f"{self}: tokens_per_edit at least 2, cosine over 0 to 1")


@dataclass(frozen=True, slots=True)
class Clusters:
    """Clusters of items.

    Parameters
    ----------
    leaders
        Index of the first registration of each item's cluster, int64 `(items,)`.
    kinds
        Why the item is in it, index in `KINDS`; 0 for first registrations. int64 `(items,)`.
    """

    leaders: Ints
    kinds: Ints

    @property
    def duplicates(self) -> Bools:
        """Which items count nothing, `(items,)`."""
        return self.kinds > 0

    @property
    def firsts(self) -> Ints:
        """Indices of the first registrations."""
        return np.flatnonzero(self.kinds == 0)


def find_clusters(
    documents: Sequence[SpanDocument],
    likeness: Likeness | None = None,
    gradients: NDArray[np.floating] | None = None,
) -> Clusters:
    """Return the clusters of documents.

    Parameters
    ----------
    documents
        In order of registration.
    likeness
        What is alike.
    gradients
        `(documents, parameters)`, or None to leave the third kind out.

    Raises
    ------
    InputError
        If there is no document, one has no token, or naming a document with a gradient that is not finite.
    """
    if not documents:
        raise InputError("the corpus holds no document; there is nothing to attribute to")
    empty = [Problem("holds no token", where=_where(one)) for one in documents if not one.tokens]
    if empty:
        raise InputError(empty)
    units = None if gradients is None else _unit_rows(documents, np.asarray(gradients, np.float64))
    firsts = _Firsts(likeness or Likeness(), units)
    found = [firsts.place(number, one.tokens) for number, one in enumerate(documents)]
    leaders, kinds = (np.array(column, np.int64) for column in zip(*found, strict=True))
    return Clusters(leaders, kinds)


class _Firsts:
    """First registrations so far, and how a new document is like one of them."""

    def __init__(self, likeness: Likeness, units: NDArray[np.float64] | None) -> None:
        self._likeness, self._units = likeness, units
        self._by_hash: dict[bytes, int] = {}
        self._near, self._numbers = NearIndex(likeness.tokens_per_edit), list[int]()

    def place(self, number: int, tokens: tuple[int, ...]) -> tuple[int, int]:
        """Return the first registration of a document's cluster and the kind of likeness; it may be its own."""
        digest = content_hash(tokens)
        for kind, like in (("exact", self._exact), ("near", self._nearest), ("gradient", self._aligned)):
            found = like(number, tokens, digest)
            if found is not None:
                self._by_hash.setdefault(digest, found)
                return found, KINDS.index(kind)
        self._near.add(tokens)
        self._numbers.append(number)
        self._by_hash[digest] = number
        return number, KINDS.index("alone")

    def _exact(self, number: int, tokens: tuple[int, ...], digest: bytes) -> int | None:
        return self._by_hash.get(digest)

    def _nearest(self, number: int, tokens: tuple[int, ...], digest: bytes) -> int | None:
        place = self._near.nearest(tokens)
        return None if place is None else self._numbers[place]

    def _aligned(self, number: int, tokens: tuple[int, ...], digest: bytes) -> int | None:
        if self._units is None or not self._numbers:
            return None
        alike = self._units[self._numbers] @ self._units[number] >= self._likeness.cosine
        return self._numbers[int(np.argmax(alike))] if alike.any() else None


def holder_clusters(
    clusters: Clusters, holders: Ints, holder_count: int, share: float = HOLDER_SHARE
) -> Clusters:
    """Join contributors of whom one duplicates the other.

    Parameters
    ----------
    clusters
        Of the documents.
    holders
        Who gave each document, `(documents,)`; contributors are numbered in order of registration.
    holder_count
        How many there are.
    share
        Least part of a contributor's documents that duplicate those of one other.

    Returns
    -------
    Clusters
        Of contributors; a joined one counts as a duplicate.
    """
    given = np.bincount(holders, minlength=holder_count)
    copied = np.zeros((holder_count, holder_count))
    np.add.at(copied, (holders, holders[clusters.leaders]), clusters.duplicates)
    copied = np.tril(copied, -1)  # who was there first is the origin
    leaders, kinds = np.arange(holder_count), np.zeros(holder_count, np.int64)
    for holder in range(holder_count):
        origin = int(np.argmax(copied[holder]))
        if given[holder] and copied[holder, origin] >= share * given[holder]:
            leaders[holder], kinds[holder] = leaders[origin], KINDS.index("near")
    return Clusters(leaders, kinds)


def _unit_rows(documents: Sequence[SpanDocument], gradients: NDArray[np.float64]) -> NDArray[np.float64]:
    if gradients.ndim != 2 or len(gradients) != len(documents):
        raise InputError(
            f"gradients have the shape {gradients.shape}; expected ({len(documents)}, parameters)"
        )
    finite = np.isfinite(gradients).all(axis=1)
    if not finite.all():
        wrong = [documents[i] for i in np.flatnonzero(~finite)]
        raise InputError(
            [
                Problem("its gradient is not finite", where=f"document {one.id!r} of {one.owner!r}")
                for one in wrong
            ]
        )
    norms = np.linalg.norm(gradients, axis=1, keepdims=True)
    return gradients / np.where(norms > 0, norms, 1.0)


def _where(one: SpanDocument) -> str:
    return f"document {one.id!r} of {one.owner!r}"
