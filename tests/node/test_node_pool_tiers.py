"""The tiers behind the slots: host memory under its budget, folders that bring content back, content held once."""
# ruff: noqa: E402 (imports of torch follow importorskip)

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs the node extra (torch)")

from models.errors import InputError
from reference_node.adapters import save_adapter
from tests.node.test_node_pool import ADAPTERS, NAMES, TINY, holds, saved, small_pool

pytestmark = pytest.mark.node


def test_host_memory_keeps_its_budget_and_the_disk_brings_back_what_left(tmp_path):
    one = small_pool().store.pack(ADAPTERS[1]).nbytes
    pool = small_pool(1, host_bytes=2 * one)
    for i in (0, 1, 3, 5):
        pool.register(saved(tmp_path, i))
        assert pool.host_bytes <= 2 * one
    assert not pool._host._held.keys() & {NAMES[0], NAMES[1]}
    slot = pool.acquire(NAMES[0])
    assert holds(pool, slot, ADAPTERS[0])
    assert (pool.counters["disk_load"], pool.counters["host_load"], pool.stats[NAMES[0]].disk_loads) == (
        1,
        0,
        1,
    )


def test_an_adapter_without_folder_is_refused_where_it_would_break_the_budget(tmp_path):
    one = small_pool().store.pack(ADAPTERS[1]).nbytes
    pool = small_pool(1, host_bytes=one)
    pool.register(saved(tmp_path, 0))
    pool.add(ADAPTERS[1])  # the one with a folder makes room
    with pytest.raises(InputError, match=f"no folder and no room in host memory; allowed {one} bytes"):
        pool.add(ADAPTERS[5])
    assert pool.knows(NAMES[1])
    assert not pool.knows(NAMES[5])
    assert pool.host_bytes <= one


def test_content_that_changed_or_broke_on_disk_is_refused_with_both_names(tmp_path):
    pool = small_pool(1, host_bytes=1)
    folder = saved(tmp_path, 0)
    pool.register(folder)
    pool.register(saved(tmp_path, 1))  # pushes the first out of the host tier
    save_adapter(ADAPTERS[3], folder)
    expected = f"content is now {NAMES[3][:12]}, the request asked for {NAMES[0][:12]}"
    with pytest.raises(InputError, match=expected):
        pool.acquire(NAMES[0])
    (folder / "adapter_model.safetensors").write_bytes(b"junk")
    with pytest.raises(InputError, match=f"adapter {NAMES[0][:12]} cannot be read again"):
        pool.acquire(NAMES[0])
    assert pool.in_flight(NAMES[0]) == 0
    save_adapter(ADAPTERS[0], folder)
    assert holds(pool, pool.acquire(NAMES[0]), ADAPTERS[0])


def test_an_adapter_registered_again_while_its_deletion_waits_is_served_on(tmp_path):
    pool = small_pool(1)
    folder = saved(tmp_path, 0)
    pool.register(folder)
    slot = pool.acquire(NAMES[0])
    pool.forget(NAMES[0])
    pool.register(folder)
    assert pool.acquire(NAMES[0]) == slot
    pool.release(NAMES[0]), pool.release(NAMES[0])
    assert pool.resident() == {NAMES[0]: slot}


def test_content_that_is_held_is_not_packed_again_and_its_deletion_is_called_off(monkeypatch):
    pool, packed = small_pool(), []
    pack = pool.store.pack
    monkeypatch.setattr(pool.store, "pack", lambda adapter: (packed.append(adapter.sha256), pack(adapter))[1])
    for _ in range(3):
        assert pool.add(ADAPTERS[0]) == NAMES[0]
    assert packed == NAMES[:1]
    pool.acquire(NAMES[0])
    pool.forget(NAMES[0])
    assert not pool.knows(NAMES[0])
    pool.add(ADAPTERS[0])
    pool.release(NAMES[0])
    assert pool.knows(NAMES[0])
    assert packed == NAMES[:1]
    pool.forget(NAMES[0])
    pool.add(ADAPTERS[0])
    assert packed == NAMES[:1] * 2


def test_bytes_are_those_of_the_tables_and_of_the_flat_copies():
    pool = small_pool(3)
    width = sum(out + inp for out, inp in TINY.projections().values())
    assert pool.nbytes_per_adapter(8) == 8 * width * 4
    assert pool.device_bytes == 3 * pool.nbytes_per_adapter(8)
    pool.add(ADAPTERS[3])
    assert pool.host_bytes == pool.nbytes_per_adapter(8)
