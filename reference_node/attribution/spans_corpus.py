"""Corpus of the span index: its documents, which of them are refused, and how they are cut into shards.

Rules decided here. A document is known by the hash of its token ids, whatever its name. Refused by name: a document
of a restricted DataNet, an empty one, a token id that does not fit 32 bits, a used id, and a document that does not
hash to what was registered. A shard is cut where its tokens or its distinct tokens would be too many.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from models.errors import InputError, Problem

ABSENT = 0xFFFF
"""Stands in a shard for any token that it lacks."""
DISTINCT_MAX = ABSENT - 1
"""Distinct tokens in a shard: 0 is the separator, 65,535 stands for none of them."""


@dataclass(frozen=True, slots=True)
class SpanDocument:
    """A document of the corpus.

    Parameters
    ----------
    id
        Name, unique in the index.
    owner
        Who gave it.
    tokens
        Token ids, each from 0 to 2^32 - 1.
    sha256
        `content_hash` of the tokens as registered, 64 hexadecimal digits; "" where none is registered.
    restricted
        Whether it is of a restricted DataNet, whose text must not be found again.
    start
        First token that was learned; what comes before it (a row's prompt) is context.
    """

    id: str
    owner: str
    tokens: tuple[int, ...]
    sha256: str = ""
    restricted: bool = False
    start: int = 1


def content_hash(tokens: Sequence[int]) -> bytes:
    """Return SHA-256 of token ids as unsigned 32-bit big-endian numbers, 32 bytes: what a document is known by."""
    return hashlib.sha256(np.asarray(tokens, ">u4").tobytes()).digest()


def checked(documents: Iterable[SpanDocument], used: set[str]) -> Iterator[SpanDocument]:
    """Yield documents that may enter the index, noting their ids in `used`.

    Raises
    ------
    InputError
        At the first one that is refused.
    """
    for one in documents:
        where = f"document {one.id!r} of {one.owner!r}"
        if one.restricted:
            message = "is of a restricted DataNet: its text never enters a plain span index"
            raise InputError([Problem(message, where=where)])
        if not one.tokens:
            raise InputError([Problem("holds no token", where=where)])
        if not all(0 <= token < 2**32 for token in one.tokens):
            bad = next(token for token in one.tokens if not 0 <= token < 2**32)
            raise InputError([Problem(f"{bad} is no token id; allowed 0 to 2^32 - 1", "tokens", where)])
        if one.id in used:
            raise InputError([Problem("the id is used already; each document has its own", "id", where)])
        if one.sha256 and content_hash(one.tokens).hex() != one.sha256:
            found = content_hash(one.tokens).hex()
            raise InputError([Problem(f"hashes to {found}; registered is {one.sha256}", "sha256", where)])
        used.add(one.id)
        yield one


def in_shards(documents: Iterable[SpanDocument], shard_tokens: int) -> Iterator[list[SpanDocument]]:
    """Yield the documents of each shard: as many as its size and its alphabet allow, at least one.

    Parameters
    ----------
    documents
        In their order.
    shard_tokens
        Tokens that a shard holds at most, unless one document has more.
    """
    batch: list[SpanDocument] = []
    size, distinct = 0, set[int]()
    for one in documents:
        new = set(one.tokens) - distinct
        if batch and (size + len(one.tokens) > shard_tokens or len(distinct) + len(new) > DISTINCT_MAX):
            yield batch
            batch, size, distinct, new = [], 0, set(), set(one.tokens)
        batch.append(one)
        size += len(one.tokens)
        distinct |= new
    if batch:
        yield batch
