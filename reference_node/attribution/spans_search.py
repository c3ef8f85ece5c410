"""Longest match of a phrase in one sorted text, for every position of a query.

Rules decided here. For each position of the query: the longest run of tokens *ending there* that occurs in the text,
and the ranks in the backward order of all places where it ends. The first four tokens backwards, as one 64-bit word
with the last token highest, are looked up among the words of every sixteenth rank (the anchors), which fit a cache;
what is left of the search probes the order itself. These are the node's only loops for numba: a lookup is some twenty
loads of memory that wait for one another, and neither an interpreter nor arrays of probes come near what they cost.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from reference_node.attribution.spans_corpus import ABSENT

Ints = NDArray[np.int64]
Words = NDArray[np.uint64]

ANCHOR_EVERY = 16
WORD = 4
"""Tokens in a word; so many separators precede a text."""
_TOKEN_BITS = 16


@dataclass(frozen=True, slots=True)
class SortedText:
    """A text, its backward order and the anchors.

    Parameters
    ----------
    text
        uint16; `WORD` zeros, then tokens from 1 with a zero after each document.
    order
        uint32: positions of all tokens that are not 0, in backward order.
    anchors
        uint64: words of the ranks 0, 16, 32, ...
    """

    text: NDArray[np.uint16]
    order: NDArray[np.uint32]
    anchors: Words

    def search(self, query: NDArray[np.uint16]) -> tuple[Ints, Ints, Ints]:
        """Return `length`, `low` and `high` for every position of a query.

        Parameters
        ----------
        query
            uint16 `(positions,)`; `ABSENT` where the text lacks the token.

        Returns
        -------
        tuple of numpy.ndarray
            Length of the longest match, and the ranks from `low` to below `high` at which it ends; all 0 where
            the token does not occur.
        """
        padded = np.full(WORD + len(query), ABSENT, np.uint16)
        padded[WORD:] = query
        found = np.zeros((3, len(query)), np.int64)
        _search(self.text, self.order, self.anchors, padded, found)
        return found[0], found[1], found[2]


def words_at(text: NDArray[np.uint16], positions: Ints) -> Words:
    """Return the word that ends at each position: its token highest, then the one before, and so on."""
    # a little-endian load of 8 bytes has the last token highest
    words: Words = np.ndarray((len(text) - WORD + 1,), "<u8", text, strides=(2,))
    return words[positions - (WORD - 1)]


@njit(cache=True)
def _search(text, order, anchors, query, found):
    for j in range(WORD, len(query)):
        if query[j] == ABSENT:
            continue
        word = _word(query, j)
        low = _first_rank(text, order, anchors, word)
        high = _first_rank(text, order, anchors, word + np.uint64(1))
        if low < high:
            length, low, high = _beyond_word(text, order, query, j, low, high)
        else:
            length = max(_common(text, order, query, j, low - 1), _common(text, order, query, j, low))
            unmatched = np.uint64(1) << np.uint64((WORD - length) * _TOKEN_BITS)
            least = word & ~(unmatched - np.uint64(1))
            low = _first_rank(text, order, anchors, least)
            high = _first_rank(text, order, anchors, least + unmatched)
        if length:
            found[0, j - WORD], found[1, j - WORD], found[2, j - WORD] = length, low, high


@njit(cache=True)
def _beyond_word(text, order, query, j, low, high):
    """Return length and ranks of the longest match among the ranks whose words are the query's."""
    start, stop = low, high
    while low < high:  # the query's own place among them
        middle = (low + high) >> 1
        if _compare(text, order[middle], query, j, len(query)) < 0:
            low = middle + 1
        else:
            high = middle
    length = 0
    for near in (low - 1, low):
        if start <= near < stop:
            length = max(length, _common(text, order, query, j, near))
    first, last = low, low
    low = start
    while low < first:
        middle = (low + first) >> 1
        if _compare(text, order[middle], query, j, length) < 0:
            low = middle + 1
        else:
            first = middle
    high = stop
    while last < high:
        middle = (last + high) >> 1
        if _compare(text, order[middle], query, j, length) > 0:
            high = middle
        else:
            last = middle + 1
    return length, low, high


@njit(cache=True)
def _first_rank(text, order, anchors, word):
    """Return the first rank whose word is not below `word`."""
    low, high = 0, len(anchors)
    while low < high:
        middle = (low + high) >> 1
        if anchors[middle] < word:
            low = middle + 1
        else:
            high = middle
    low, high = max(low * ANCHOR_EVERY - ANCHOR_EVERY + 1, 0), min(low * ANCHOR_EVERY, len(order))
    while low < high:
        middle = (low + high) >> 1
        if _word(text, np.int64(order[middle])) < word:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True)
def _word(tokens, last):
    word = np.uint64(0)
    for back in range(WORD):
        word = (word << np.uint64(_TOKEN_BITS)) | np.uint64(tokens[last - back])
    return word


@njit(cache=True)
def _compare(text, position, query, j, most):
    """Compare backwards, at most so many tokens: below 0 where the text is smaller, 0 where all are equal."""
    place = np.int64(position)
    for back in range(min(most, j)):
        difference = np.int64(text[place - back]) - np.int64(query[j - back])
        if difference:
            return difference
    return 0


@njit(cache=True)
def _common(text, order, query, j, rank):
    """Return how many tokens the query shares with the text at a rank, reading backwards."""
    if not 0 <= rank < len(order):
        return 0
    place, back = np.int64(order[rank]), 0
    while query[j - back] == text[place - back]:  # the query begins with tokens that no text has
        back += 1
    return back
