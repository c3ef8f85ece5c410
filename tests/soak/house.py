"""The house of the soak: a small node, four times its load, and what must hold when everybody has left."""

from __future__ import annotations

import gc
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from reference_node.adapters import Adapter
from reference_node.billing.reading import Billed, LogReader
from reference_node.serve.limits import Limits
from tests.node.api_world import Live, Reference, live, small, wait_until
from tests.soak.load import CHURN, LEFT_TOKENS, PROMPTS, STEADY, TOKENS, Ledger, Load

ROWS = 4
ASKERS, LEAVERS = 4 * ROWS, 2
GROWTH_BYTES = 48 << 20
KV_BLOCKS, BLOCK_BYTES = 14, 16 * 2 * 2 * 2 * 12 * 4  # one long answer fills it, so others are set back


def said_alone(base: Path) -> dict[tuple[str, str], list[int]]:
    """Return what the base and every adapter say to every prompt, alone, and on beyond the end-of-text token."""
    reference, found = Reference(base), {}
    reference.codec.eos_ids = ()
    made: list[Adapter | None] = [None, *STEADY.values(), *CHURN]
    for one in made:
        for prompt in PROMPTS:
            tokens = reference.tokens(reference.codec.prompt(prompt), one, max(TOKENS, LEFT_TOKENS))
            found[one.sha256 if one else "base", prompt] = tokens
    return found


def soak(base: Path, expected: dict[tuple[str, str], list[int]], data: Path, seconds: float) -> None:
    limits = Limits(queue=ROWS, streams=3 * ROWS, queue_wait_s=0.5, wall_s=20)
    options = small(base, data, batch_max=ROWS, slots=4, limits=limits, kv_bytes=KV_BLOCKS * BLOCK_BYTES)
    with live(options) as node:
        for alias, made in STEADY.items():
            node.upload(alias, made)
        load = Load(node, expected, time.monotonic() + seconds)
        resident = list(run(load, seconds))
        report(load, resident, seconds)
        assert load.ledger.faults == []
        check_nothing_is_held(node)
        check_the_books(node, load.ledger)
        grown = max(resident[-3:]) - max(resident[len(resident) // 3 :][:3])
        assert grown < GROWTH_BYTES, f"resident memory grew by {grown >> 20} MiB"
        assert load.ledger.counts["answered"] > seconds
        for what in ("429", "left", "gave up", "bad requests", "POST 201", "POST 200", "DELETE 200"):
            assert load.ledger.counts[what] > 0, (
                f"no {what}: the load was not the one that this test is about"
            )
        assert node.metrics()["olsim_preemptions_total"] > 0


def run(load: Load, seconds: float) -> Iterator[int]:
    """Run all clients to the end and yield the resident memory now and then."""
    work: list[tuple[Callable[[int], None], int]] = [
        *[(load.ask, seed) for seed in range(ASKERS)],
        *[(load.leave, 100 + seed) for seed in range(LEAVERS)],
        (load.churn, 200),
        (load.annoy, 300),
    ]
    threads = [threading.Thread(target=guarded, args=(load, *one), daemon=True) for one in work]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert time.monotonic() < load.until + 60, "a client did not come to its end"
        time.sleep(max(0.1, seconds / 60))
        yield resident_bytes()


def guarded(load: Load, work: Callable[[int], None], seed: int) -> None:
    try:
        work(seed)
    except Exception as error:
        load.ledger.fault(f"{work.__name__}: {error!r}")


def resident_bytes() -> int:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def report(load: Load, resident: list[int], seconds: float) -> None:
    node, counts = load.node, dict(sorted(load.ledger.counts.items()))
    figures = node.metrics()
    shown = {
        "seconds": seconds,
        **counts,
        "log": node.node.log.size,
        "tokens": int(figures["olsim_completion_tokens_total"]),
        "preemptions": int(figures["olsim_preemptions_total"]),
        "evictions": int(figures.get("olsim_adapter_evictions_total", 0)),
        "resident MiB": [value >> 20 for value in resident[:: max(1, len(resident) // 6)]],
    }
    print(json.dumps(shown))


def check_nothing_is_held(node: Live) -> None:
    """After the last answer every block, slot, hold and place in the house is free."""
    backend = node.node.backend
    engine, service = backend._engine, backend.service  # type: ignore[attr-defined]
    wait_until(lambda: node.node.open_requests == 0 and service.in_flight == 0 and not node.node._tasks)
    assert engine.idle
    assert engine.stats().kv_blocks_used == 0
    assert not +engine.pool._in_flight
    assert not +node.node._holds
    assert not node.node._doomed
    assert not +node.node.registry._shelf._holds
    assert service._streams == {}
    listed = {
        v.sha256 for alias in node.node.registry.listing() for v in node.node.registry.versions(alias.alias)
    }
    assert {path.name for path in (node.options.registry_folder / "blobs").iterdir()} == listed
    known = {made.sha256 for made in (*STEADY.values(), *CHURN) if engine.pool.knows(made.sha256)}
    assert known <= listed


def check_the_books(node: Live, ledger: Ledger) -> None:
    """Every admitted request is in the log once; log, usage, metrics and bills have the same sums."""
    node.node.log.sync()
    read = list(LogReader(node.node.log.folder).bills())  # checks chain, frames, fees
    ids = [found.entry.record.request_id.hex() for found in read]
    assert len(ids) == len(set(ids)) == node.node.log.size
    assert set(ledger.served) <= set(ids)
    check_records(read, ledger)
    figures, used = node.metrics(), node.http.get("/v1/usage?scope=all").json()
    records = [found.entry.record for found in read]
    assert figures["olsim_requests_total"] == used["requests"] == len(records)
    sums = {"prompt_tokens": "tokens_in", "completion_tokens": "tokens_out", "fees_gwei": "fee_gwei"}
    for metric, name in sums.items():
        logged = sum(getattr(record, name) for record in records)
        assert figures[f"olsim_{metric}_total"] == used[name] == logged


def check_records(read: list[Billed], ledger: Ledger) -> None:
    """The log names the adapter that each answer named, and the tokens that its usage block counted."""
    assert ledger.used
    for found in read:
        record = found.entry.record
        name = record.request_id.hex()
        if name in ledger.served:
            logged = ", ".join(adapter.sha256.hex() for adapter in record.adapters) or "base"
            assert logged == ledger.served[name], name
        if name in ledger.used:
            used = ledger.used[name]
            assert (record.tokens_in, record.tokens_out) == (used["prompt_tokens"], used["completion_tokens"])
