"""Clusters: exact and near duplicates, likeness of gradients, and that who comes later changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import InputError
from reference_node.attribution.clusters import KINDS, Likeness, find_clusters, holder_clusters
from reference_node.attribution.clusters_attack import edited, exact_copies, near_copies, split_names
from reference_node.attribution.minhash import TOKENS_PER_EDIT, NearIndex, edit_distance, signature
from reference_node.attribution.spans_corpus import SpanDocument

pytestmark = pytest.mark.node


def document(number: int, tokens: list[int], owner: str = "ana") -> SpanDocument:
    return SpanDocument(f"d{number}", owner, tuple(tokens))


def random_documents(count: int, length: int = 24, seed: int = 0) -> list[SpanDocument]:
    rng = np.random.default_rng(seed)
    return [document(i, rng.integers(0, 500, length).tolist(), f"o{i % 3}") for i in range(count)]


def full_edit_distance(one: list[int], other: list[int]) -> int:
    row = list(range(len(other) + 1))
    for i, token in enumerate(one, 1):
        fresh = [i]
        for j, second in enumerate(other, 1):
            fresh.append(min(row[j - 1] + (token != second), row[j] + 1, fresh[j - 1] + 1))
        row = fresh
    return row[-1]


words = st.lists(st.integers(0, 3), min_size=1, max_size=14)


@given(words, words, st.integers(0, 15))
def test_edit_distance_is_that_of_the_whole_table_up_to_its_limit(
    one: list[int], other: list[int], most: int
) -> None:
    assert edit_distance(one, other, most) == min(full_edit_distance(one, other), most + 1)


@settings(max_examples=30)
@given(st.integers(8, 80), st.integers(0, 10**6))
def test_near_duplicates_at_the_stated_distance_are_found_and_others_are_not(length: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    tokens = rng.integers(0, 4000, length).tolist()
    index = NearIndex()
    index.add(tokens)
    near = edited(tokens, length // TOKENS_PER_EDIT, range(4000), rng)
    allowed = max(length, len(near)) // TOKENS_PER_EDIT
    if length >= 16:  # shorter ones are missed once in 300 times
        assert index.nearest(near) == 0
    far = edited(tokens, 2 * allowed + 4, range(4000, 8000), rng)
    if edit_distance(tokens, far, length) > max(length, len(far)) // TOKENS_PER_EDIT:
        assert index.nearest(far) is None


def test_hardly_any_near_duplicate_of_ten_tokens_is_missed() -> None:
    rng = np.random.default_rng(1)
    missed = 0
    for _ in range(300):
        tokens = rng.integers(0, 200, 10).tolist()
        index = NearIndex()
        index.add(tokens)
        missed += index.nearest(edited(tokens, 1, range(200), rng)) is None
    # an inserted token may make nine of eight-token documents; none of ten is out of reach
    assert missed <= 2


def test_signatures_are_the_same_in_every_process() -> None:
    assert [int(word) for word in signature([1, 2, 3, 4])[:2]] == [9360073604342581245, 10863899932581397696]
    assert signature([7]).shape == signature(range(50)).shape


def test_the_first_registration_leads_and_each_kind_is_named() -> None:
    base = random_documents(1)[0].tokens
    documents = [
        document(0, list(base)),
        document(1, list(base), "ben"),
        document(2, [*base[:5], 999, *base[6:]], "cid"),
        document(3, list(range(600, 624)), "dan"),
    ]
    gradients = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [5.0, 0.1, 0]])
    clusters = find_clusters(documents, gradients=gradients)
    assert clusters.leaders.tolist() == [0, 0, 0, 0]
    assert [KINDS[kind] for kind in clusters.kinds] == ["alone", "exact", "near", "gradient"]
    assert find_clusters(documents).leaders.tolist() == [0, 0, 0, 3]
    assert clusters.firsts.tolist() == [0]


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.integers(1, 4))
def test_what_is_registered_later_changes_no_cluster(seed: int, names: int) -> None:
    documents = random_documents(12, seed=seed)
    before = find_clusters(documents)
    for attacked in (
        exact_copies(documents, "o1", names),
        near_copies(documents, "o1", names, np.random.default_rng(seed)),
    ):
        after = find_clusters(attacked)
        assert after.leaders[:12].tolist() == before.leaders.tolist()
        assert after.duplicates[12:].all()
        assert (after.leaders[12:] < 12).all()


def test_a_chain_of_small_changes_joins_no_unlike_documents() -> None:
    tokens = list(range(40))
    chain = [document(0, tokens)]
    for step in range(1, 9):
        tokens = [
            *tokens[: 4 * step],
            *(t + 1000 for t in tokens[4 * step : 4 * step + 4]),
            *tokens[4 * step + 4 :],
        ]
        chain.append(document(step, tokens))
    leaders = find_clusters(chain).leaders.tolist()
    assert leaders[1] == 0
    assert leaders[2] == 2  # eight edits from the first, though four from the second
    assert len(set(leaders)) > 3


def test_contributors_are_joined_when_most_of_what_one_gave_is_anothers() -> None:
    documents = random_documents(12)
    copied = exact_copies(documents, "o0", 1)
    mixed = [*copied, document(99, list(range(900, 930)), "o0+0")]
    owners = [*sorted({one.owner for one in documents}), "o0+0"]
    holders = np.array([owners.index(one.owner) for one in mixed])
    joined = holder_clusters(find_clusters(mixed), holders, len(owners))
    assert joined.leaders.tolist() == [0, 1, 2, 0]
    assert joined.duplicates.tolist() == [False, False, False, True]
    apart = holder_clusters(find_clusters(mixed), holders, len(owners), share=0.9)
    assert apart.leaders.tolist() == [0, 1, 2, 3]


def test_dealing_out_documents_makes_names_and_no_documents() -> None:
    documents = random_documents(9)
    dealt = split_names(documents, "o0", 2)
    assert [one.tokens for one in dealt] == [one.tokens for one in documents]
    assert {one.owner for one in dealt} == {"o0+0", "o0+1", "o1", "o2"}


def test_bad_corpora_are_refused_by_name() -> None:
    with pytest.raises(InputError, match="holds no document"):
        find_clusters([])
    with pytest.raises(InputError, match="document 'd0' of 'ana': holds no token"):
        find_clusters([document(0, [])])
    documents = random_documents(3)
    gradients = np.ones((3, 4))
    gradients[1, 2] = np.nan
    with pytest.raises(InputError, match="document 'd1' of 'o1': its gradient is not finite"):
        find_clusters(documents, gradients=gradients)
    with pytest.raises(InputError, match=r"shape \(2, 4\); expected \(3, parameters\)"):
        find_clusters(documents, gradients=gradients[:2])
    with pytest.raises(ValueError, match="tokens_per_edit at least 2"):
        Likeness(tokens_per_edit=1)
    with pytest.raises(InputError, match="'nobody' has no document"):
        exact_copies(documents, "nobody", 1)
