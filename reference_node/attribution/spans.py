"""Span index: which documents a text was seen in, token by token.

Rules decided here. A span is a run of token ids inside one document. For every position of a text the index knows the
longest span ending there that the corpus holds, how often, and where. Documents come in shards: new ones make a new
shard, which changes no other; `merged` writes one shard of them all, leaving owners out if asked. An empty corpus, an
empty document, a document under a used id, and one that does not hash to what was registered are refused by name.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError, Problem
from reference_node.access.files import locked, write_atomic
from reference_node.attribution.spans_corpus import SpanDocument, checked, content_hash, in_shards
from reference_node.attribution.spans_shard import FILES, Shard, open_shard, write_shard

__all__ = ["Matches", "SpanDocument", "SpanIndex", "content_hash"]

Ints = NDArray[np.int64]

INDEX_FILE = "index.json"
SCHEMA = 1
SHARD_TOKENS = 1 << 26
"""Tokens after which a new shard begins; sorting a shard takes about 30 bytes of memory a token."""
OCCURRENCES_MAX = 8


@dataclass(frozen=True, slots=True)
class Matches:
    """Longest matches of a text, by position.

    Parameters
    ----------
    length
        Tokens of the longest span that ends at the position; 0 where the corpus lacks the token. int64 `(n,)`.
    count
        How often the corpus holds it, int64 `(n,)`.
    position, document, token
        Occurrences, at most the asked number per position, evenly chosen among the sorted ones where there are
        more: position in the text, document's number in the index, number of the token in the document at which
        the span ends. int64 `(occurrences,)` each, ordered by position.
    """

    length: Ints
    count: Ints
    position: Ints
    document: Ints
    token: Ints

    @property
    def starting(self) -> Ints:
        """Tokens of the longest span that *starts* at each position, int64 `(n,)`."""
        ends = np.arange(len(self.length))
        last = np.full(len(self.length), -1, np.int64)
        # a span that ends at j covers its start; spans starting later end no earlier
        np.maximum.at(last, np.minimum(ends - self.length + 1, ends), np.where(self.length > 0, ends, -1))
        return np.maximum(np.maximum.accumulate(last) - ends + 1, 0)


class SpanIndex:
    """A span index on disk; `build` makes one, `open` opens one.

    Parameters
    ----------
    folder
        Its folder.
    shards
        Its open shards.
    """

    def __init__(self, folder: Path, shards: Sequence[Shard]) -> None:
        self.folder, self.shards = folder, tuple(shards)
        self.ids: tuple[str, ...] = tuple(one for shard in self.shards for one in shard.ids)
        self.owners: tuple[str, ...] = tuple(sorted({one for shard in self.shards for one in shard.owners}))
        numbers = [np.searchsorted(self.owners, shard.owners) for shard in self.shards]
        self.owner_of: Ints = np.concatenate(
            [n[s.owner_of] for n, s in zip(numbers, self.shards, strict=True)]
        )
        self._first = np.cumsum([0, *(len(shard.ids) for shard in self.shards)])

    @classmethod
    def build(
        cls, documents: Iterable[SpanDocument], folder: Path, *, shard_tokens: int = SHARD_TOKENS
    ) -> SpanIndex:
        """Make an index in a folder that holds none.

        Raises
        ------
        InputError
            If there is no document, one of them is refused, or the folder holds an index.
        """
        if (folder / INDEX_FILE).exists():
            raise InputError(
                [Problem("holds a span index already; open it and add documents", where=str(folder))]
            )
        return _added(folder, [], documents, shard_tokens)

    @classmethod
    def open(cls, folder: Path, *, verify: bool = True) -> SpanIndex:
        """Open an index.

        Parameters
        ----------
        folder
            Its folder.
        verify
            Whether the hash of every file is computed (about 1 s per 100 million tokens).

        Raises
        ------
        InputError
            If it is no index, or naming the files that are not what was written.
        """
        return cls(folder, [open_shard(folder / s["name"], s["files"], verify=verify) for s in _read(folder)])

    def add(self, documents: Iterable[SpanDocument], *, shard_tokens: int = SHARD_TOKENS) -> SpanIndex:
        """Return the index with new documents, in shards of their own.

        Raises
        ------
        InputError
            As in `build`.
        """
        return _added(self.folder, _read(self.folder), documents, shard_tokens)

    def merged(self, *, without: frozenset[str] = frozenset(), shard_tokens: int = SHARD_TOKENS) -> SpanIndex:
        """Return the index with all documents in as few shards as possible; the old ones are deleted.

        Parameters
        ----------
        without
            Owners whose documents are left out.
        shard_tokens
            As in `build`.
        """
        kept = (one for one in self.documents() if one.owner not in without)
        old = _read(self.folder)
        whole = _added(self.folder, [], kept, shard_tokens, taken={shard["name"] for shard in old})
        for shard in old:
            shutil.rmtree(self.folder / shard["name"])
        return whole

    @property
    def tokens(self) -> int:
        """Tokens of all documents."""
        return sum(shard.tokens for shard in self.shards)

    @property
    def bytes(self) -> int:
        """Bytes of all files."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    def documents(self) -> Iterator[SpanDocument]:
        """Yield the documents in their order."""
        for shard in self.shards:
            for number in range(len(shard.ids)):
                yield shard.document(number)

    def longest(self, tokens: Sequence[int], *, occurrences: int = OCCURRENCES_MAX) -> Matches:
        """Return the longest span that ends at each position of a text, with its count and occurrences.

        Parameters
        ----------
        tokens
            Token ids.
        occurrences
            Most occurrences per position.
        """
        query = np.asarray(tokens, np.int64)
        found = [shard.sorted.search(shard.numbered(query)) for shard in self.shards]
        lengths = np.stack([length for length, _, _ in found])
        length = lengths.max(axis=0, initial=0)
        counts = np.stack([high - low for _, low, high in found])
        counts = np.where((lengths == length) & (length > 0), counts, 0)
        parts = [
            self._occurrences(number, low, counts[number], counts.sum(axis=0), occurrences)
            for number, (_, low, _) in enumerate(found)
        ]
        position, document, token = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        order = np.argsort(position, kind="stable")
        return Matches(length, counts.sum(axis=0), position[order], document[order], token[order])

    def credit(self, tokens: Sequence[int], start: int = 0) -> NDArray[np.float64]:
        """Return each document's credit: of every position from `start` on, 1 / occurrences for each.

        Parameters
        ----------
        tokens
            Prompt and answer.
        start
            Where the answer begins.

        Returns
        -------
        numpy.ndarray
            float64 `(documents,)`; it sums to the number of positions that match anything.
        """
        matches = self.longest(tokens)
        shown = np.bincount(matches.position, minlength=len(matches.length))
        counted = matches.position >= start
        weights = 1.0 / shown[matches.position[counted]]
        return np.bincount(matches.document[counted], weights=weights, minlength=len(self.ids))

    def _occurrences(
        self, number: int, low: Ints, counts: Ints, totals: Ints, most: int
    ) -> tuple[Ints, Ints, Ints]:
        """Return (position, document, token) of one shard's occurrences, in its part of `most` per position."""
        shown = np.where(totals > most, -(-counts * most // np.maximum(totals, 1)), counts)
        position = np.repeat(np.arange(len(low)), shown)
        step = np.arange(len(position)) - np.repeat(np.cumsum(shown) - shown, shown)
        ranks = low[position] + step * counts[position] // np.maximum(shown[position], 1)
        shard = self.shards[number]
        document, token = shard.document_at(shard.sorted.order[ranks].astype(np.int64))
        return position, document + self._first[number], token


def _read(folder: Path) -> list[dict[str, Any]]:
    """Return the shards that the index file names."""
    path = folder / INDEX_FILE
    try:
        document = json.loads(path.read_bytes())
        schema = document["schema"]
        shards = [{"name": str(one["name"]), "files": dict(one["files"])} for one in document["shards"]]
        whole = all(shard["name"].isdecimal() and set(shard["files"]) == FILES for shard in shards)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError([Problem(f"is no span index: {error}", where=str(path))]) from error
    if schema != SCHEMA:
        raise InputError([Problem(f"is {schema}; this version reads {SCHEMA}", "schema", str(path))])
    if not shards or not whole:
        raise InputError(
            [Problem("is no span index: it names no shard, or one of another form", where=str(path))]
        )
    return shards


def _added(
    folder: Path,
    shards: list[dict[str, Any]],
    documents: Iterable[SpanDocument],
    shard_tokens: int,
    taken: Iterable[str] = (),
) -> SpanIndex:
    """Write documents as new shards and the index file that names these and the old ones."""
    with locked(folder / ".lock"):
        used = {one for s in shards for one in open_shard(folder / s["name"], s["files"], verify=False).ids}
        number = 1 + max((int(name) for name in (*taken, *(s["name"] for s in shards))), default=-1)
        fresh: list[dict[str, Any]] = []
        try:
            for batch in in_shards(checked(documents, used), shard_tokens):
                name = f"{number + len(fresh):06d}"
                fresh.append({"name": name, "files": write_shard(folder / name, batch)})
            if not fresh:
                message = "the corpus holds no document; a span index needs at least one"
                raise InputError([Problem(message, where=str(folder))])
        except BaseException:
            for shard in fresh:
                shutil.rmtree(folder / shard["name"])
            raise
        text = json.dumps({"schema": SCHEMA, "shards": [*shards, *fresh]}, indent=1)
        write_atomic(folder / INDEX_FILE, text.encode() + b"\n")
    return SpanIndex.open(folder, verify=False)
