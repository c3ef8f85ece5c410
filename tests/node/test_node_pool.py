"""The pool of adapters: nothing takes a slot away from a request in flight, and no tier serves another content."""
# ruff: noqa: E402 (imports of torch follow importorskip)

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

torch = pytest.importorskip("torch", reason="needs the node extra (torch)")

from models.errors import InputError
from reference_node.adapters import TARGETS, Adapter, random_adapter, save_adapter
from reference_node.config import GROUPS, ModelConfig
from reference_node.pool import AdapterPool, PoolFullError

pytestmark = pytest.mark.node

TINY = ModelConfig(
    vocab_size=64, hidden_size=16, layers=1, heads=2, kv_heads=1, head_dim=8, intermediate_size=24
)
KINDS = [
    (2, TARGETS),
    (4, TARGETS),
    (4, ("q_proj",)),
    (8, TARGETS),
    (8, ("up_proj", "down_proj")),
    (1, TARGETS),
]
ADAPTERS = [random_adapter(TINY, rank, i, targets=targets) for i, (rank, targets) in enumerate(KINDS)]
NAMES = [adapter.sha256 for adapter in ADAPTERS]


def small_pool(slots: int = 2, **settings_of_pool: object) -> AdapterPool:
    return AdapterPool(TINY, **({"slots": slots, "rank_max": 8} | settings_of_pool))


def dense(pool: AdapterPool, slot: int) -> list[torch.Tensor]:
    """Return the whole update that lies in a slot, group by group."""
    shapes, found = TINY.projections(), []
    for group, names in GROUPS.items():
        out = torch.zeros((sum(shapes[name][0] for name in names), shapes[names[0]][1]))
        pool.store.add_dense(slot, 0, group, 1.0, out)
        found.append(out)
    return found


def dense_of(adapter: Adapter) -> list[torch.Tensor]:
    shapes, found = TINY.projections(), []
    for names in GROUPS.values():
        parts = [
            adapter.scale * adapter.b[0, name] @ adapter.a[0, name]
            if name in adapter.targets
            else torch.zeros(shapes[name])
            for name in names
        ]
        found.append(torch.cat(parts))
    return found


def holds(pool: AdapterPool, slot: int, adapter: Adapter) -> bool:
    pairs = zip(dense(pool, slot), dense_of(adapter), strict=True)
    return all(torch.allclose(one, other, atol=1e-6) for one, other in pairs)


class PoolMachine(RuleBasedStateMachine):
    """Any order of the pool's calls, against a ledger of who holds what."""

    pool: AdapterPool
    adapters = st.integers(0, len(ADAPTERS) - 1)

    def __init__(self) -> None:
        super().__init__()
        self.pool = small_pool(slots=3)
        self.known: set[int] = set()
        self.held: dict[int, list[int]] = {}  # adapter -> the slots that its holders were told
        self.pins: dict[int, int] = {}

    @rule(i=adapters)
    def add(self, i: int) -> None:
        assert self.pool.add(ADAPTERS[i]) == NAMES[i]
        self.known.add(i)

    @rule(i=adapters)
    def acquire(self, i: int) -> None:
        if i not in self.known:
            with pytest.raises(InputError, match="unknown adapter"):
                self.pool.acquire(NAMES[i])
            return
        busy = {j for j, slots in self.held.items() if slots} | set(self.pins)
        try:
            slot = self.pool.acquire(NAMES[i])
        except PoolFullError:
            assert len(busy & {NAMES.index(n) for n in self.pool.resident()}) == 3
            assert NAMES[i] not in self.pool.resident()
            return
        assert holds(self.pool, slot, ADAPTERS[i])
        self.held.setdefault(i, []).append(slot)

    @precondition(lambda self: any(self.held.values()))
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        i = data.draw(st.sampled_from(sorted(j for j, slots in self.held.items() if slots)))
        slot = self.held[i].pop()
        assert holds(self.pool, slot, ADAPTERS[i])
        self.pool.release(NAMES[i])

    @rule(i=adapters)
    def forget(self, i: int) -> None:
        self.pool.forget(NAMES[i])
        self.known.discard(i)
        self.pins.pop(i, None)

    @rule(i=adapters)
    def pin(self, i: int) -> None:
        if i in self.known:
            self.pool.pin(NAMES[i])
            self.pins[i] = self.pins.get(i, 0) + 1

    @precondition(lambda self: bool(self.pins))
    @rule(data=st.data())
    def unpin(self, data: st.DataObject) -> None:
        i = data.draw(st.sampled_from(sorted(self.pins)))
        self.pool.unpin(NAMES[i])
        self.pins[i] -= 1
        self.pins = {j: n for j, n in self.pins.items() if n}

    @invariant()
    def nobody_lost_a_slot(self) -> None:
        resident = self.pool.resident()
        assert len(set(resident.values())) == len(resident) <= 3
        assert sorted([*resident.values(), *self.pool._free]) == [0, 1, 2]
        for i, slots in self.held.items():
            assert self.pool.in_flight(NAMES[i]) == len(slots)
            assert set(slots) <= {resident.get(NAMES[i])}
        assert {i for i in range(len(NAMES)) if self.pool.knows(NAMES[i])} == self.known


TestPoolMachine = PoolMachine.TestCase
TestPoolMachine.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


def saved(tmp_path: Path, i: int) -> Path:
    save_adapter(ADAPTERS[i], tmp_path / f"a{i}")
    return tmp_path / f"a{i}"


@pytest.mark.parametrize("slabs", [False, True])
def test_either_layout_holds_what_the_adapter_says(slabs):
    pool = small_pool(1, slabs=slabs)
    for i in (3, 2, 0, 4, 1, 5, 3):
        slot = pool.acquire(pool.add(ADAPTERS[i]))
        pool.release(NAMES[i])
        assert holds(pool, slot, ADAPTERS[i])


def test_a_slot_in_flight_or_pinned_is_never_reused():
    pool = small_pool(2)
    for adapter in ADAPTERS[:4]:
        pool.add(adapter)
    first = pool.acquire(NAMES[0])
    pool.acquire(NAMES[1])
    with pytest.raises(PoolFullError, match="all 2 adapter slots"):
        pool.acquire(NAMES[2])
    pool.release(NAMES[1])
    assert pool.acquire(NAMES[2]) != first
    assert pool.acquire(NAMES[0]) == first
    pool.release(NAMES[2])
    pool.pin(NAMES[2])
    with pytest.raises(PoolFullError):
        pool.acquire(NAMES[3])
    pool.unpin(NAMES[2])
    assert pool.acquire(NAMES[3]) != first
    assert pool.in_flight(NAMES[0]) == 2


def test_the_least_recently_used_leaves_first():
    pool = small_pool(2)
    for i in (0, 1, 0, 2):
        pool.acquire(pool.add(ADAPTERS[i]))
        pool.release(NAMES[i])
    assert list(pool.resident()) == [NAMES[0], NAMES[2]]
    assert pool.counters["eviction"] == 1


@pytest.mark.parametrize(("policy", "hits"), [("lru", 3), ("unload_always", 0), ("resident", 3)])
def test_policies_count_hits_and_loads(policy, hits):
    pool = small_pool(1, policy=policy)
    pool.add(ADAPTERS[0])
    for _ in range(4):
        pool.acquire(NAMES[0])
        pool.release(NAMES[0])
    assert (pool.counters["hit"], pool.counters["host_load"]) == (hits, 4 - hits)
    assert (pool.stats[NAMES[0]].hits, pool.stats[NAMES[0]].host_loads) == (hits, 4 - hits)
    assert pool.counters["loaded_byte"] == (4 - hits) * pool.host_bytes


def test_resident_refuses_what_has_no_slot_and_evicts_nothing():
    pool = small_pool(1, policy="resident")
    pool.add(ADAPTERS[0]), pool.add(ADAPTERS[1])
    pool.acquire(NAMES[0])
    pool.release(NAMES[0])
    with pytest.raises(InputError, match="all 1 adapter slots are resident; policy `resident` evicts none"):
        pool.acquire(NAMES[1])
    assert NAMES[0] in pool.resident()


def test_a_pin_outlives_unload_always():
    pool = small_pool(1, policy="unload_always")
    pool.pin(pool.add(ADAPTERS[0]))
    pool.acquire(NAMES[0])
    pool.release(NAMES[0])
    assert NAMES[0] in pool.resident()
    with pytest.raises(InputError, match="unknown adapter ffff cannot be pinned"):
        pool.pin("ffff")


@pytest.mark.parametrize(
    "wrong", [{"slots": 0}, {"rank_max": 0}, {"host_bytes": 0}, {"policy": "random"}], ids=str
)
def test_pools_that_cannot_work_are_refused(wrong):
    with pytest.raises(InputError, match=r"adapter pool: slots .*: 1 or more; policy .* one of lru"):
        small_pool(**({"slots": 1} | wrong))


def test_ranks_above_the_pools_are_refused(tmp_path):
    pool = small_pool(rank_max=4)
    with pytest.raises(InputError, match="adapter rank 8 exceeds the pool's; allowed 1 to 4"):
        pool.add(ADAPTERS[3])
    with pytest.raises(InputError, match="r: 8 is out of range; allowed 1 to 4"):
        pool.register(saved(tmp_path, 3))


def test_a_failed_load_leaks_neither_slot_nor_reference(monkeypatch):
    pool = small_pool(1)
    pool.add(ADAPTERS[0])

    def fail(*_: object) -> None:
        raise MemoryError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(pool.store, "write", fail)
        with pytest.raises(MemoryError):
            pool.acquire(NAMES[0])
    assert pool.in_flight(NAMES[0]) == 0
    assert holds(pool, pool.acquire(NAMES[0]), ADAPTERS[0])


def test_deletion_refuses_new_requests_and_waits_for_those_in_flight(tmp_path):
    pool = small_pool(2)
    pool.register(saved(tmp_path, 0))
    slot = pool.acquire(NAMES[0])
    pool.acquire(NAMES[0])
    pool.forget(NAMES[0])
    assert not pool.knows(NAMES[0])
    with pytest.raises(InputError, match=f"unknown adapter {NAMES[0][:12]}"):
        pool.acquire(NAMES[0])
    pool.release(NAMES[0])
    assert holds(pool, slot, ADAPTERS[0])
    assert pool.host_bytes > 0
    pool.release(NAMES[0])
    assert (pool.resident(), pool.host_bytes) == ({}, 0)
    pool.add(ADAPTERS[0])
    assert pool.knows(NAMES[0])
