"""The span index: exact against a search by hand, its files, its shards, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import InputError
from reference_node.attribution import spans_order
from reference_node.attribution.spans import SpanDocument, SpanIndex, content_hash
from reference_node.attribution.spans_corpus import DISTINCT_MAX
from reference_node.attribution.spans_highlight import Source, highlights
from reference_node.attribution.spans_order import backward_order, backward_order_reference

pytestmark = pytest.mark.node


def document(number: int, *tokens: int, owner: str = "ana", **given: object) -> SpanDocument:
    return SpanDocument(f"d{number}", owner, tokens, **given)


def by_hand(documents: list[SpanDocument], query: list[int], end: int) -> tuple[int, set[tuple[int, int]]]:
    """Return the longest span that ends at `end`, and (document, token) of every place where it ends."""
    for length in range(end + 1, 0, -1):
        wanted = tuple(query[end - length + 1 : end + 1])
        places = {
            (number, start + length - 1)
            for number, one in enumerate(documents)
            for start in range(len(one.tokens) - length + 1)
            if one.tokens[start : start + length] == wanted
        }
        if places:
            return length, places
    return 0, set()


small_documents = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=40), min_size=1, max_size=6)


@settings(max_examples=60)
@given(small_documents, st.lists(st.integers(0, 4), max_size=30), st.sampled_from([5, 30, 1000]))
def test_longest_spans_counts_and_places_are_those_found_by_hand(
    tmp_path_factory: pytest.TempPathFactory, texts: list[list[int]], extra: list[int], shard_tokens: int
) -> None:
    documents = [document(i, *text) for i, text in enumerate(texts)]
    folder = tmp_path_factory.mktemp("index")
    index = SpanIndex.build(documents, folder, shard_tokens=shard_tokens)
    query = [*extra, *texts[-1], *texts[0]]
    matches = index.longest(query, occurrences=10**6)
    for end in range(len(query)):
        length, places = by_hand(documents, query, end)
        rows = matches.position == end
        found = set(zip(matches.document[rows].tolist(), matches.token[rows].tolist(), strict=True))
        assert (matches.length[end], matches.count[end], found) == (length, len(places), places)
    for start, length in enumerate(matches.starting.tolist()):
        assert length == max(
            [e - start + 1 for e, n in enumerate(matches.length) if e - n < start <= e], default=0
        )
    assert list(index.documents()) == documents


@settings(max_examples=40)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=200))
def test_the_sorter_and_prefix_doubling_give_one_order(text: list[int]) -> None:
    pytest.importorskip("pydivsufsort", reason="needs the node extra (pydivsufsort)")
    tokens = np.array([0, *text, 0, 700], np.uint16)
    order = backward_order(tokens)
    assert (order == backward_order_reference(tokens)).all()
    keys = [tokens[: place + 1][::-1].tolist() for place in order]
    assert keys == sorted(keys)


def test_without_the_sorter_the_index_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    documents = [document(i, *np.random.default_rng(i).integers(0, 9, 50).tolist()) for i in range(5)]
    SpanIndex.build(documents, tmp_path / "with")
    monkeypatch.setattr(spans_order, "find_spec", lambda name: None)
    SpanIndex.build(documents, tmp_path / "without")
    files = [(tmp_path / name / "index.json").read_bytes() for name in ("with", "without")]
    assert files[0] == files[1]


def test_new_documents_make_a_new_shard_and_merging_makes_one(tmp_path: Path) -> None:
    first = SpanIndex.build([document(0, 1, 2, 3)], tmp_path)
    grown = first.add([document(1, 2, 3, 4, owner="ben"), document(2, 9, 9)])
    assert [shard.folder.name for shard in grown.shards] == ["000000", "000001"]
    query = [1, 2, 3, 4]
    assert grown.longest(query).length.tolist() == [1, 2, 3, 3]
    assert grown.credit(query).tolist() == [3.0, 1.0, 0.0]
    merged = grown.merged()
    assert [shard.folder.name for shard in merged.shards] == ["000002"]
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["000002"]
    assert merged.credit(query).tolist() == grown.credit(query).tolist()
    without = SpanIndex.open(tmp_path).merged(without=frozenset({"ben"}))
    assert without.owners == ("ana",)
    assert without.longest(query).length.tolist() == [1, 2, 3, 0]


def test_credit_is_one_over_occurrences_for_the_answer_alone(tmp_path: Path) -> None:
    index = SpanIndex.build([document(0, 5, 6, 7), document(1, 5, 6, 7), document(2, 8)], tmp_path)
    credit = index.credit([5, 6, 7, 8, 42], start=1)
    assert credit.tolist() == [1.0, 1.0, 1.0]
    assert credit.sum() == 3  # positions of the answer that match anything


def test_many_occurrences_are_shown_in_part_and_counted_whole(tmp_path: Path) -> None:
    documents = [document(i, 7, 8, owner=f"o{i % 4}") for i in range(100)]
    index = SpanIndex.build(documents, tmp_path, shard_tokens=50)
    matches = index.longest([7, 8], occurrences=8)
    assert matches.count.tolist() == [100, 100]
    shown = np.bincount(matches.position)
    assert (shown >= 8).all()
    assert (shown <= 8 + len(index.shards)).all()
    assert len(set(matches.document.tolist())) >= 8


def test_highlights_lead_back_to_documents_and_owners(tmp_path: Path) -> None:
    index = SpanIndex.build(
        [document(0, 1, 2, 3, 4, 5), document(1, 3, 4, 5, 6, owner="ben"), document(2, 90, 91)], tmp_path
    )
    text = [50, 2, 3, 4, 5, 6, 90, 91]
    found = highlights(index, text, tokens_min=3)
    assert [(one.start, one.stop, one.count) for one in found] == [(1, 5, 1), (2, 6, 1)]
    assert found[0].sources == (Source("d0", "ana", 1),)
    assert found[1].sources == (Source("d1", "ben", 0),)
    assert highlights(index, text, start=5, tokens_min=3) == found[1:]
    assert [one.stop for one in highlights(index, text, tokens_min=2)] == [5, 6, 8]


def test_any_vocabulary_fits_and_too_many_distinct_tokens_cut_a_shard(tmp_path: Path) -> None:
    wide = document(0, *range(2**31, 2**31 + DISTINCT_MAX))
    index = SpanIndex.build([wide, document(1, 5, 2**32 - 1)], tmp_path)
    assert len(index.shards) == 2
    assert index.longest([2**31 + 7, 2**31 + 8, 5, 2**32 - 1, 6]).length.tolist() == [1, 2, 1, 2, 0]


def test_bytes_per_token(tmp_path: Path) -> None:
    """6.5 bytes a token, 8 and two names a document: under 7 at a hundred tokens a document."""
    rng = np.random.default_rng(0)
    documents = [
        document(i, *rng.integers(0, 4096, 100).tolist(), owner=f"owner{i % 50}") for i in range(2_000)
    ]
    index = SpanIndex.build(documents, tmp_path)
    assert index.tokens == 200_000
    assert index.bytes / index.tokens <= 7


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ([], "the corpus holds no document"),
        ([document(0)], "document 'd0' of 'ana': holds no token"),
        ([document(0, 1), document(0, 2)], "the id is used already"),
        ([document(0, 1, sha256="0" * 64)], "registered is 0000"),
        ([document(0, -1)], "-1 is no token id"),
        ([document(0, 2**32)], "4294967296 is no token id"),
        ([document(0, 1, restricted=True)], "never enters a plain span index"),
    ],
)
def test_bad_documents_are_refused_by_name_and_nothing_is_left(
    tmp_path: Path, documents: list[SpanDocument], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        SpanIndex.build([document(9, 1), *documents] if documents else [], tmp_path, shard_tokens=1)
    assert not [path for path in tmp_path.iterdir() if path.name != ".lock"]
    assert (
        SpanIndex.build([replace(document(1, 1, 2), sha256=content_hash([1, 2]).hex())], tmp_path).tokens == 2
    )
    with pytest.raises(InputError, match="holds a span index already"):
        SpanIndex.build([document(3, 1)], tmp_path)


@pytest.mark.parametrize(
    "name", ["text.bin", "order.bin", "anchors.bin", "alphabet.bin", "documents.bin", "names.json"]
)
def test_a_changed_file_is_refused_under_its_name(tmp_path: Path, name: str) -> None:
    SpanIndex.build([document(i, *range(i, i + 9)) for i in range(9)], tmp_path)
    path = tmp_path / "000000" / name
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes((whole[-1] ^ 1,)))
    with pytest.raises(InputError, match=r"hashes to .*: it was changed") as refused:
        SpanIndex.open(tmp_path)
    assert refused.value.problems[0].where == str(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(InputError, match=f"has {len(whole) + 1} bytes; the index names {len(whole)}"):
        SpanIndex.open(tmp_path, verify=False)
    path.unlink()
    with pytest.raises(InputError, match="cannot be read: No such file"):
        SpanIndex.open(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 9}, "schema: is 9; this version reads 1"),
        ({"shards": [{}]}, "is no span index"),
        ({"shards": [{"name": "../evil", "files": {}}]}, "is no span index"),
        ({"shards": [{"name": "000000", "files": {"text.bin": {}}}]}, "is no span index"),
        ({"shards": []}, "is no span index"),
    ],
)
def test_a_foreign_index_file_is_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    SpanIndex.build([document(0, 1)], tmp_path)
    path = tmp_path / "index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError, match=message):
        SpanIndex.open(tmp_path)
    path.write_text("{")
    with pytest.raises(InputError, match="is no span index"):
        SpanIndex.open(tmp_path)
