"""One shard of the span index: the files of a batch of documents, and what must hold before they are believed.

Rules decided here. A shard is a folder of flat little-endian files that are mapped, not read. Tokens are numbered anew
in each shard (its alphabet), so that two bytes hold any of them whatever the vocabulary. Per token of the corpus:

    2 bytes   text.bin: the token (and one separator per document)
    4 bytes   order.bin: its place in the backward order
    8 / 16    anchors.bin: one word of four tokens for every 16 places
    -------
    6.5 bytes, with 8 bytes and two names per document and 4 bytes per distinct token beside them

At 100 tokens a document that is under 7 bytes a token. A file of another size or hash than the index names is refused
under its name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError, Problem
from reference_node.access.files import write_atomic
from reference_node.attribution.spans_corpus import ABSENT, SpanDocument
from reference_node.attribution.spans_order import backward_order
from reference_node.attribution.spans_search import ANCHOR_EVERY, WORD, SortedText, words_at

Ints = NDArray[np.int64]

_ROW = np.dtype([("start", "<u4"), ("owner", "<u4")])
_FILES = {
    "text.bin": "<u2",
    "order.bin": "<u4",
    "anchors.bin": "<u8",
    "alphabet.bin": "<u4",
    "documents.bin": _ROW,
}
_NAMES = "names.json"
FILES = {*_FILES, _NAMES}
"""Names of the files of a shard."""


@dataclass(frozen=True, slots=True)
class Shard:
    """An open shard.

    Parameters
    ----------
    folder
        Where its files lie.
    sorted
        Text, order and anchors.
    alphabet
        int64, ascending: token of number 1, 2, ...
    starts, owner_of
        Of each document: where it begins in the text, and number of its owner. int64.
    ids, owners
        Names of the documents, and of those whom `owner_of` numbers.
    """

    folder: Path
    sorted: SortedText
    alphabet: Ints
    starts: Ints
    owner_of: Ints
    ids: tuple[str, ...]
    owners: tuple[str, ...]

    @property
    def tokens(self) -> int:
        """Tokens of all its documents."""
        return len(self.sorted.order)

    def numbered(self, query: Ints) -> NDArray[np.uint16]:
        """Return a query in the shard's own numbers, `ABSENT` for tokens that it lacks."""
        place = np.minimum(self.alphabet.searchsorted(query), len(self.alphabet) - 1)
        return np.where(self.alphabet[place] == query, place + 1, ABSENT).astype(np.uint16)

    def document_at(self, positions: Ints) -> tuple[Ints, Ints]:
        """Return the document of each position of the text, and the token's number in it."""
        document = self.starts.searchsorted(positions, side="right") - 1
        return document, positions - self.starts[document]

    def document(self, number: int) -> SpanDocument:
        """Return a document as it was given."""
        ends = np.append(self.starts[1:], len(self.sorted.text))
        text = self.sorted.text[self.starts[number] : ends[number] - 1]
        tokens = self.alphabet[text.astype(np.int64) - 1]
        return SpanDocument(self.ids[number], self.owners[self.owner_of[number]], tuple(tokens.tolist()))


def write_shard(folder: Path, documents: Sequence[SpanDocument]) -> dict[str, Any]:
    """Write the files of a shard and return their hashes by name.

    Parameters
    ----------
    folder
        Where to; made anew.
    documents
        At least one, none of them empty, with at most `DISTINCT_MAX` distinct tokens together.
    """
    lengths = np.array([len(one.tokens) for one in documents], np.int64)
    every = np.fromiter((token for one in documents for token in one.tokens), np.int64, int(lengths.sum()))
    alphabet, number = np.unique(every, return_inverse=True)
    starts = WORD + np.cumsum(lengths + 1) - (lengths + 1)
    text = np.zeros(WORD + len(every) + len(documents), np.uint16)
    text[np.arange(len(every)) + WORD + np.repeat(np.arange(len(documents)), lengths)] = number + 1
    order = backward_order(text)[len(text) - len(every) :]  # separators come first
    anchors = words_at(text, order[::ANCHOR_EVERY].astype(np.int64))
    owners = sorted({one.owner for one in documents})
    rows = np.zeros(len(documents), _ROW)
    rows["start"], rows["owner"] = starts, np.searchsorted(owners, [one.owner for one in documents])
    arrays = (text, order, anchors, alphabet.astype("<u4"), rows)
    data = {name: np.ascontiguousarray(array).tobytes() for name, array in zip(_FILES, arrays, strict=True)}
    names = {"ids": [one.id for one in documents], "owners": owners}
    data[_NAMES] = json.dumps(names, separators=(",", ":")).encode()
    for name, content in data.items():
        write_atomic(folder / name, content)
    return {name: {"bytes": len(c), "sha256": hashlib.sha256(c).hexdigest()} for name, c in data.items()}


def open_shard(folder: Path, files: dict[str, Any], *, verify: bool) -> Shard:
    """Map the files of a shard.

    Parameters
    ----------
    folder
        Where they lie.
    files
        What `write_shard` returned.
    verify
        Whether their hashes are computed; their sizes always are compared.

    Raises
    ------
    InputError
        Naming every file that is missing or is not what was written.
    """
    problems = [
        problem
        for name in (*_FILES, _NAMES)
        for problem in _file_problems(folder / name, files[name], verify)
    ]
    if problems:
        raise InputError(problems)
    text, order, anchors, alphabet, rows = (
        np.memmap(folder / name, kind, "r") for name, kind in _FILES.items()
    )
    names = json.loads((folder / _NAMES).read_bytes())
    # plain views: every operation on a memmap object itself costs a call into Python
    plain = [np.asarray(one) for one in (text, order, anchors)]
    ids, owners = tuple(names["ids"]), tuple(names["owners"])
    tables = [np.asarray(one, np.int64) for one in (alphabet, rows["start"], rows["owner"])]
    return Shard(folder, SortedText(*plain), *tables, ids, owners)


def _file_problems(path: Path, expected: dict[str, Any], verify: bool) -> list[Problem]:
    try:
        size = path.stat().st_size
    except OSError as error:
        return [Problem(f"cannot be read: {error.strerror}", where=str(path))]
    if size != expected["bytes"]:
        return [Problem(f"has {size} bytes; the index names {expected['bytes']}", where=str(path))]
    if not verify:
        return []
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found == expected["sha256"]:
        return []
    return [
        Problem(f"hashes to {found}; the index names {expected['sha256']}: it was changed", where=str(path))
    ]
