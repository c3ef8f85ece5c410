"""The one interface of all attribution methods.

Rule decided here. A method knows its corpus and scores its documents for queries: a query is a prompt with the answer
that counts, a score is positive where a document made the answer likelier. Scores become values of players (clusters of
contributors, or contributors as they call themselves) by sums, and the clip comes after the sum. Method and parameters
are named in every record, so that a score can be computed again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError, Problem
from reference_node.attribution.likelihood import Text
from reference_node.attribution.spans_corpus import SpanDocument

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Method(Protocol):
    """What every attribution method offers."""

    name: str

    @property
    def params(self) -> dict[str, int | str]:
        """Its parameters in whole numbers and texts, as records name them."""

    def scores(self, queries: Sequence[Text]) -> Floats:
        """Return the score of every document, float64 (queries, documents)."""


def document_texts(documents: Sequence[SpanDocument]) -> list[Text]:
    """Return documents as texts that count from the first token that was learned.

    Raises
    ------
    InputError
        If there is none, or naming those of fewer than two tokens.
    """
    if not documents:
        raise InputError("the corpus holds no document; there is nothing to attribute to")
    short = [
        Problem("has fewer than two tokens; nothing in it can be predicted", where=f"document {one.id!r}")
        for one in documents
        if len(one.tokens) < 2
    ]
    if short:
        raise InputError(short)
    return [Text(one.tokens, one.start) for one in documents]


def player_sums(scores: Floats, player_of: Ints, players: int) -> Floats:
    """Sum the scores of each player's documents.

    Parameters
    ----------
    scores
        (queries, documents).
    player_of
        Player of each document, (documents,).
    players
        How many there are.

    Returns
    -------
    numpy.ndarray
        float64 (queries, players).
    """
    found = np.zeros((len(scores), players))
    np.add.at(found.T, player_of, np.asarray(scores, np.float64).T)
    return found


def shares(values: Floats, level: Floats | float = 0.0) -> Floats:
    """Return what part of an answer's pot each player gets: value above the null level, at least 0, of the sum.

    Parameters
    ----------
    values
        (queries, players).
    level
        Null level of each query, (queries,), or one number.

    Returns
    -------
    numpy.ndarray
        float64 (queries, players); rows sum to 1, or to 0 where nobody is above the level.
    """
    above = np.maximum(
        values - np.broadcast_to(np.asarray(level, np.float64), values.shape[:1])[:, None], 0.0
    )
    total = above.sum(axis=1, keepdims=True)
    return above / np.where(total > 0, total, 1.0)


def inside_players(values: Floats, scores: Floats, player_of: Ints) -> Floats:
    """Spread each player's value over his documents.

    Parameters
    ----------
    values
        Of players, (queries, players).
    scores
        Of documents by another method, (queries, documents): positive ones divide the value, and where a player has
        none, his documents have equal parts.

    Returns
    -------
    numpy.ndarray
        float64 (queries, documents), whose sums by player are the values.
    """
    weights = np.maximum(scores, 0.0)
    players = values.shape[1]
    empty = player_sums(weights, player_of, players)[:, player_of] <= 0
    weights = np.where(empty, 1.0, weights)
    return values[:, player_of] * weights / player_sums(weights, player_of, players)[:, player_of]
