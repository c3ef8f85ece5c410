"""Blocks: owned, shared, found again, and never handed out with somebody's content under a false name."""
# ruff: noqa: E402 (imports of torch follow importorskip)

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="needs the node extra (torch)")

from reference_node.dense import DenseRows
from reference_node.kv import SCRATCH, BlockPool, PagedKV, PrefixChain
from reference_node.request import AdapterUse
from tests.node.engine_world import SMALL

pytestmark = pytest.mark.node

HASHES = [bytes([i]) * 32 for i in range(8)]
A, B = AdapterUse("a" * 64), AdapterUse("b" * 64)


def test_scratch_is_never_handed_out_and_blocks_come_back():
    pool = BlockPool(3)
    taken = pool.take(3)
    assert sorted(taken) == [1, 2, 3]
    assert SCRATCH not in taken
    assert (pool.used, pool.available, pool.cached) == (3, 0, 0)
    pool.release(taken)
    assert (pool.used, pool.available, pool.cached) == (0, 3, 0)


def test_a_published_block_is_found_after_its_owner_left_until_room_is_needed():
    pool = BlockPool(3)
    row = pool.take(2)
    for block, value in zip(row, HASHES, strict=False):
        pool.publish(block, value)
    pool.release(row)
    assert (pool.used, pool.available, pool.cached) == (0, 3, 2)
    assert pool.find(HASHES) == row
    pool.share(row)
    assert [pool.references(block) for block in row] == [1, 1]
    pool.share(row)
    pool.release(row)
    assert (pool.used, pool.cached) == (2, 0)
    pool.release(row)
    pool.take(2)  # the empty one, then the deepest of the chain
    assert pool.find(HASHES) == row[:1]
    pool.take(1)
    assert pool.find(HASHES) == []


def test_the_least_recently_used_chain_leaves_first():
    pool = BlockPool(3)
    for value in HASHES[:3]:
        (block,) = pool.take(1)
        pool.publish(block, value)
        pool.release([block])
    pool.share(pool.find(HASHES[:1]))
    pool.release(pool.find(HASHES[:1]))
    pool.take(2)
    assert [len(pool.find([value])) for value in HASHES[:3]] == [1, 0, 0]


def test_a_second_block_of_the_same_content_stays_unnamed():
    pool = BlockPool(2)
    one, two = pool.take(2)
    pool.publish(one, HASHES[0])
    pool.publish(two, HASHES[0])
    pool.release([one, two])
    assert pool.find(HASHES[:1]) == [one]
    assert pool.cached == 1


def test_withdrawn_and_forgotten_blocks_are_not_found():
    pool = BlockPool(4)
    row = pool.take(3)
    for block, value in zip(row, HASHES, strict=False):
        pool.publish(block, value)
    pool.withdraw(row[:1])
    assert pool.find(HASHES) == []
    pool.release(row[:2])
    pool.forget_all()
    assert [len(pool.find([value])) for value in HASHES[:3]] == [0, 0, 0]
    assert (pool.used, pool.available, pool.cached) == (1, 3, 0)
    pool.release(row[2:])
    assert pool.available == 4


def test_without_caching_nothing_is_found():
    pool = BlockPool(1, caching=False)
    pool.publish(pool.take(1)[0], HASHES[0])
    assert pool.find(HASHES) == []


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.sampled_from(["take", "share", "release", "publish", "forget"]), st.integers(0, 7)))
)
def test_any_use_of_the_pool_keeps_its_count(steps):
    pool, owned = BlockPool(6), []
    for what, number in steps:
        if what == "take" and number <= pool.available:
            owned.append(pool.take(number))
        elif what == "share" and (found := pool.find(HASHES[number : number + 1])):
            pool.share(found)
            owned.append(found)
        elif what == "release" and owned:
            pool.release(owned.pop(number % len(owned)))
        elif what == "publish" and owned and owned[-1]:
            pool.publish(owned[-1][0], HASHES[number])
        elif what == "forget":
            pool.forget_all()
        counts = [sum(row.count(block) for row in owned) for block in range(7)]
        assert [pool.references(block) for block in range(7)] == counts
        assert pool.used == sum(1 for count in counts if count)
        assert pool.used + pool.available == 6
        assert pool.cached <= pool.available
    for row in owned:
        pool.release(row)
    assert pool.available == 6


BASE = ("base", (A, B), "tenant", (1, 2, 3, 4, 5, 6))


@pytest.mark.parametrize(
    "other",
    [
        ("other", (A, B), "tenant", (1, 2, 3, 4, 5, 6)),
        ("base", (A,), "tenant", (1, 2, 3, 4, 5, 6)),
        ("base", (), "tenant", (1, 2, 3, 4, 5, 6)),
        ("base", (A, AdapterUse("b" * 64, 0.5)), "tenant", (1, 2, 3, 4, 5, 6)),
        ("base", (A, B), "", (1, 2, 3, 4, 5, 6)),
        ("baset", (A, B), "enant", (1, 2, 3, 4, 5, 6)),
        ("base", (A, B), "tenant", (9, 2, 3, 4, 5, 6)),
    ],
)
def test_a_name_covers_all_that_the_content_depends_on(other):
    def names(base, adapters, tenant, tokens):
        return PrefixChain(base, adapters, tenant, 2).extend(tokens, 3)

    known = names(*BASE)
    assert len(set(known)) == 3
    assert not set(known) & set(names(*other))


def test_a_chain_grows_by_its_tokens_and_does_not_mind_the_order_of_adapters():
    chain = PrefixChain("base", (B, A), "tenant", 2)
    assert chain.extend([1, 2], 1) == PrefixChain(*BASE[:3], 2).extend([1, 2, 3], 1)
    assert chain.extend([1, 2, 3, 4, 5, 6], 3) == PrefixChain(*BASE[:3], 2).extend(BASE[3], 3)
    changed = PrefixChain(*BASE[:3], 2).extend((1, 2, 3, 4, 5, 7), 3)
    assert [one == other for one, other in zip(chain.hashes, changed, strict=True)] == [True, True, False]


def test_a_new_owner_finds_zeros():
    kv = PagedKV(SMALL, 4, 4, torch.zeros(1))
    kv.k.fill_(float("nan"))
    kv.v.fill_(float("nan"))
    kv.clear([2, 4])
    for store in (kv.k, kv.v):
        assert [bool(store[:, block].isnan().any()) for block in range(5)] == [True, True, False, True, False]
    assert kv.flat_k.data_ptr() == kv.k.data_ptr()


def test_a_dense_row_holds_its_tokens_and_zeros_behind_them_whatever_lay_there():
    kv, rows = PagedKV(SMALL, 8, 4, torch.zeros(1)), DenseRows(SMALL, 3, torch.zeros(1))
    for store in (kv.k, kv.v):
        store.copy_(torch.randn(store.shape, generator=torch.Generator().manual_seed(0)))
    rows.load(1, kv, [3, 7, 5, 1], 14)
    rows.load(2, kv, [2, 6], 5)
    for store, source in ((rows.k, kv.k), (rows.v, kv.v)):
        store[:, 2:4, :14] *= float("nan")
        wanted = source[:, [2, 6]].flatten(1, 2)[:, :5].transpose(1, 2)
        assert torch.equal(store[:, 4:6, :5], wanted)
    rows.move(2, 1)
    for store in (rows.k, rows.v):
        assert torch.equal(store[:, 2:4], store[:, 4:6])
        assert not store[:, 2:4, 5:].any()
    rows.save(1, kv, [4, 8], 0, 5)
    for source in (kv.k, kv.v):
        assert torch.equal(source[:, 4], source[:, 2])
        assert torch.equal(source[:, 8, :1], source[:, 6, :1])
        assert not torch.equal(source[:, 8, 1:], source[:, 6, 1:])


def test_dense_rows_grow_and_keep_what_they_hold():
    kv, rows = PagedKV(SMALL, 40, 4, torch.zeros(1)), DenseRows(SMALL, 2, torch.zeros(1))
    kv.k.normal_(generator=torch.Generator().manual_seed(1))
    rows.load(0, kv, [1, 2], 8)
    before, first = rows.k[:, :2, :8].clone(), rows.length
    rows.load(1, kv, list(range(3, 35)), 128)
    assert rows.length > first
    assert torch.equal(rows.k[:, :2, :8], before)
    assert not rows.k[:, :2, 8:].any()
