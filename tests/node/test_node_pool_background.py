"""Adapters read in the background: nobody waits for a disk but those who asked, and errors find their request."""
# ruff: noqa: E402 (imports of torch follow importorskip)

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the node extra (torch)")

from models.errors import InputError
from reference_node import tiers
from reference_node.adapters import Adapter, save_adapter
from reference_node.pool import AdapterLoadingError, AdapterPool
from tests.node.test_node_pool import ADAPTERS, NAMES, holds, saved, small_pool

pytestmark = pytest.mark.node


class Gate:
    """Holds the reading thread at a folder until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open, self.read = threading.Event(), []
        real = tiers.read_adapter

        def gated(folder: Path, *args: object, **named: object) -> Adapter:
            self.read.append(folder)
            assert self.open.wait(10)
            return real(folder, *args, **named)

        monkeypatch.setattr(tiers, "read_adapter", gated)


def acquire_soon(pool: AdapterPool, sha256: str) -> int:
    """Ask as an engine does, step by step."""
    for _ in range(2000):
        try:
            return pool.acquire(sha256)
        except AdapterLoadingError:
            time.sleep(0.005)
    raise AssertionError("the adapter never came")


@pytest.fixture
def cold(tmp_path) -> AdapterPool:
    """Return a pool that knows adapters 0, 1 and 3 from disk and holds 3 alone in host memory."""
    pool = small_pool(2, host_bytes=1, background=True)
    for i in (0, 1, 3):
        pool.register(saved(tmp_path, i))
    yield pool
    pool.close()


def test_reading_in_the_background_blocks_nobody_and_reads_once(cold, monkeypatch):
    gate = Gate(monkeypatch)
    for _ in range(3):
        with pytest.raises(AdapterLoadingError, match=f"adapter {NAMES[0][:12]} is being read from disk"):
            cold.acquire(NAMES[0])
    assert holds(cold, cold.acquire(NAMES[3]), ADAPTERS[3])
    cold.release(NAMES[3])
    assert cold.in_flight(NAMES[0]) == 0
    gate.open.set()
    assert holds(cold, acquire_soon(cold, NAMES[0]), ADAPTERS[0])
    assert len(gate.read) == 1
    assert (cold.counters["disk_load"], cold.counters["host_load"], cold.counters["hit"]) == (1, 1, 0)


def test_what_was_read_for_a_request_stays_until_it_has_it(cold):
    for name in (NAMES[0], NAMES[1]):
        with pytest.raises(AdapterLoadingError):
            cold.acquire(name)
    for _ in range(2000):
        if NAMES[1] in cold._host:  # read second, with room for neither
            break
        time.sleep(0.005)
    assert NAMES[0] in cold._host
    slots = [cold.acquire(name) for name in (NAMES[0], NAMES[1])]
    assert [holds(cold, slot, ADAPTERS[i]) for i, slot in enumerate(slots)] == [True, True]
    assert cold.counters["disk_load"] == 2


def test_errors_of_the_background_reach_the_next_request_once(cold, tmp_path):
    save_adapter(ADAPTERS[5], tmp_path / "a0")
    with pytest.raises(InputError, match=f"content is now {NAMES[5][:12]}"):
        acquire_soon(cold, NAMES[0])
    save_adapter(ADAPTERS[0], tmp_path / "a0")
    assert holds(cold, acquire_soon(cold, NAMES[0]), ADAPTERS[0])


def test_an_adapter_deleted_while_it_is_read_does_not_come_back(cold, monkeypatch):
    gate = Gate(monkeypatch)
    with pytest.raises(AdapterLoadingError):
        cold.acquire(NAMES[0])
    cold.forget(NAMES[0])
    gate.open.set()
    cold.close()
    with pytest.raises(InputError, match="unknown adapter"):
        cold.acquire(NAMES[0])
    assert NAMES[0] not in cold._host


def test_other_threads_may_register_and_delete_while_requests_come_and_go(tmp_path):
    pool = small_pool(2, background=True)
    folders = [saved(tmp_path, i) for i in range(len(ADAPTERS))]
    failures: list[BaseException] = []

    def churn() -> None:
        try:
            for round_ in range(30):
                pool.register(folders[4 + round_ % 2])
                pool.forget(NAMES[4 + round_ % 2])
        except BaseException as error:
            failures.append(error)

    for folder in folders[:4]:
        pool.register(folder)
    thread = threading.Thread(target=churn)
    thread.start()
    for step in range(120):
        slot = acquire_soon(pool, NAMES[step % 4])
        assert holds(pool, slot, ADAPTERS[step % 4])
        pool.release(NAMES[step % 4])
    thread.join()
    pool.close()
    assert not failures
    assert sum(pool.counters[what] for what in ("hit", "host_load", "disk_load")) == 120
