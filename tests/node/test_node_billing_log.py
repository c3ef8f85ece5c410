"""The billing log: what it records, what a crash or a hand does to it, and that its sums agree."""
# ruff: noqa: E402 (imports follow importorskip)

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import zlib
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

cbor2 = pytest.importorskip("cbor2", reason="needs the node extra (cbor2)")

from models.errors import InputError
from models.merkle import inclusion_proof, log_leaf, log_root, verify_inclusion
from reference_node.billing import ServedAdapter, Tariff
from reference_node.billing.hashes import sha256
from reference_node.billing.log import SyncPolicy
from reference_node.billing.reading import LogReader, rules_path, statement_path, tariff_path
from reference_node.billing.record import FIELDS, LogRecord
from reference_node.billing.segments import SegmentScan, segment_files
from reference_node.billing.terms import Terms, statement_entries, statement_root
from tests.node.billing_world import (
    LAW,
    START_MS,
    adapter,
    filled_log,
    mixed_requests,
    open_log,
    request,
)

pytestmark = pytest.mark.node


def frames(folder: Path) -> list[tuple[Path, int, bytes]]:
    return [(position.path, position.offset, data) for position, data in SegmentScan(folder)]


def rewrite(path: Path, offset: int, old: bytes, new: bytes) -> None:
    """Replace a frame by another one with a right length and checksum, as a forger would."""
    data = path.read_bytes()
    frame = len(new).to_bytes(4, "big") + zlib.crc32(new).to_bytes(4, "big") + new
    path.write_bytes(data[:offset] + frame + data[offset + 8 + len(old) :])


def forge(folder: Path, number: int, **changes: object) -> None:
    path, offset, data = frames(folder)[number]
    tree = cbor2.loads(data)
    for name, value in changes.items():
        tree[FIELDS.index(name)] = value
    rewrite(path, offset, data, cbor2.dumps(tree, canonical=True))


def test_chain_root_and_inclusion(tmp_path: Path) -> None:
    log = filled_log(tmp_path, 13)
    data = [payload for _, _, payload in frames(tmp_path)]
    for before, after in pairwise(data):
        assert LogRecord.decode(after).prev_hash == sha256(before)
    leaves = [log_leaf(entry, sha256) for entry in data]
    assert log.root() == log_root(leaves, sha256)
    assert verify_inclusion(log.root(), leaves[5], 5, 13, inclusion_proof(leaves, 5, sha256), sha256)


def test_a_contributor_can_prove_its_share() -> None:
    terms = [Terms.of(adapter("1", LAW))]
    entries = statement_entries(terms)
    leaves = [log_leaf(entry, sha256) for entry in entries]
    proof = inclusion_proof(leaves, 2, sha256)
    assert cbor2.loads(entries[2])[2:5] == ["law", 7_000, "ben"]
    assert verify_inclusion(statement_root(terms), leaves[2], 2, 4, proof, sha256)


def test_sums_of_log_usage_and_bills_agree_and_survive_a_restart(tmp_path: Path) -> None:
    """Invariant 5: logged tokens = usage = bills, across segments and a restart."""
    log = open_log(tmp_path, segment_bytes=1500)
    bills = [log.append(served) for served in mixed_requests(20)]
    usage = log.usage()
    log.close()
    assert len(segment_files(tmp_path)) > 3
    records = [LogRecord.decode(data) for _, _, data in frames(tmp_path)]
    for source in (bills, records):
        assert usage.total.fee_gwei == sum(one.fee_gwei for one in source)
        assert usage.total.tokens_in == sum(one.tokens_in for one in source)
        assert usage.total.cached_tokens == sum(one.cached_tokens for one in source)
        assert usage.total.tokens_out == sum(one.tokens_out for one in source)
    assert [billed.bill for billed in LogReader(tmp_path).bills()] == bills
    again = open_log(tmp_path, segment_bytes=1500)
    assert again.usage() == usage
    keys = [again.usage(key_id=f"key{i}").total for i in (0, 1)]
    assert keys[0].requests + keys[1].requests == 20
    assert sum(one.fee_gwei for one in usage.by_adapter.values()) == usage.total.fee_gwei
    assert again.usage(tenant="somebody").total.requests == 0
    assert (again.size, again.root(), again.recovered) == (20, log.root(), None)
    again.append(request(99))
    assert again.usage().total.requests == 21


def test_usage_since_counts_whole_hours(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    hour = 3_600_000
    start = START_MS // hour * hour
    for i in range(4):
        log.append(request(i, ts=start + i * hour + 5))
    usage = log.usage(since=start + 2 * hour + 59 * 60_000)
    assert (usage.total.requests, usage.since_ms) == (2, start + 2 * hour)
    assert log.usage(since=start + 4 * hour).total.requests == 0


def test_a_request_is_billed_once(tmp_path: Path) -> None:
    log = filled_log(tmp_path, 3)
    for logged in (log, None):
        if logged is None:
            log.close()
            logged = open_log(tmp_path)
        with pytest.raises(InputError, match="billed before"):
            logged.append(request(1))
        assert logged.size == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"request_id": "xyz"}, "non-hexadecimal"),
        ({"request_id": "00"}, "not 16 bytes"),
        ({"base_sha256": "00" * 32}, "is not the one this log serves"),
        ({"cached_tokens": 1000}, "no more cached than in"),
        ({"adapters": (ServedAdapter("short"),)}, "is no hash"),
        ({"adapters": (ServedAdapter("1" * 64, weight=float("nan")),)}, "must be finite"),
        ({"completion": (-1,)}, "cannot be billed"),
        ({"ts": -1}, "unsigned 64-bit"),
    ],
)
def test_malformed_facts_record_nothing(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    log = open_log(tmp_path)
    with pytest.raises(InputError, match=message):
        log.append(request(0, **changes))
    assert (log.size, frames(tmp_path)) == (0, [])
    log.append(request(0))


def test_a_full_disk_records_nothing_and_the_next_append_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = filled_log(tmp_path, 2)
    head, write = log.head(), os.write

    def short(descriptor: int, data: bytes) -> int:
        return write(descriptor, data[:10]) if data[:2] == b"\0\0" else write(descriptor, data)

    monkeypatch.setattr(os, "write", short)
    with pytest.raises(OSError, match="10 of"):
        log.append(request(50))
    monkeypatch.undo()
    assert (log.size, log.head()) == (2, head)
    log.append(request(50))
    assert [one.record.seq for one in LogReader(tmp_path).entries()] == [0, 1, 2]
    assert log.usage().total.requests == 3


@settings(max_examples=20)
@given(st.data())
def test_any_truncation_loses_the_torn_record_alone(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("torn")
    filled_log(folder, 6).close()
    path = segment_files(folder)[-1]
    whole, starts = path.read_bytes(), [offset for _, offset, _ in frames(folder)]
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    kept = sum(end <= cut for end in [*starts[1:], len(whole)])
    log = open_log(folder)
    assert log.size == kept
    torn = cut - ([*starts, len(whole)][kept])
    assert (log.recovered is not None) == (torn > 0)
    if log.recovered:
        assert f"{path}:{starts[kept]}" in str(log.recovered)
        assert (folder / f"torn-{path.stem}-{starts[kept]}.bin").read_bytes() == whole[starts[kept] : cut]
    log.append(request(40))
    log.close()
    again = open_log(folder)
    assert (again.size, again.recovered) == (kept + 1, None)
    again.close()


def test_zeros_after_power_loss_are_cut(tmp_path: Path) -> None:
    filled_log(tmp_path, 3).close()
    with segment_files(tmp_path)[-1].open("ab") as file:
        file.write(bytes(300))
    log = open_log(tmp_path)
    assert (log.size, len(log.recovered.data)) == (3, 300)


@settings(max_examples=30)
@given(st.data())
def test_any_flipped_bit_is_refused_with_its_byte(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("flip")
    filled_log(folder, 4).close()
    path = segment_files(folder)[-1]
    whole = bytearray(path.read_bytes())
    spot = data.draw(st.integers(0, len(whole) - 1))
    whole[spot] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(whole)
    with pytest.raises(InputError) as refused:
        open_log(folder)
    assert refused.value.problems[0].where == f"{path}:{spot}"
    assert path.read_bytes() == whole


def test_a_missing_segment_is_noticed(tmp_path: Path) -> None:
    open_log(tmp_path, segment_bytes=600).close()
    log = filled_log(tmp_path, 6, segment_bytes=600)
    log.close()
    segment_files(tmp_path)[1].unlink()
    with pytest.raises(InputError, match="a segment is missing"):
        open_log(tmp_path)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"tokens_out": 1}, "fee_gwei"),
        ({"fee_gwei": 1}, "fee_gwei"),
        ({"datanet_root": bytes(32)}, "datanet_root"),
        ({"rules_hash": bytes(32)}, "rules_hash"),
        ({"top_k": b"\x08" + bytes(8) + (10**9).to_bytes(4, "big"), "residual": 0}, "top_k"),
        ({"residual": 1}, "residual"),
        ({"adapters": []}, "adapters"),
        ({"version": 9}, "version"),
        ({"seq": 7}, "seq"),
        ({"prev_hash": bytes(32)}, "prev_hash"),
        ({"request_id": bytes(16)}, "request_id"),
    ],
)
def test_a_forged_record_is_named_by_its_field(
    tmp_path: Path, changes: dict[str, object], field: str
) -> None:
    filled_log(tmp_path, 4).close()
    path, offset, _ = frames(tmp_path)[1]
    forge(tmp_path, 1, **changes)
    with pytest.raises(InputError) as refused:
        list(LogReader(tmp_path).bills())
    problem = refused.value.problems[0]
    assert (problem.where, problem.path) == (f"{path}:{offset}", field)


def test_what_no_bill_depends_on_breaks_the_chain(tmp_path: Path) -> None:
    filled_log(tmp_path, 4).close()
    forge(tmp_path, 1, output_hash=bytes(32))
    path, offset, _ = frames(tmp_path)[2]
    with pytest.raises(InputError, match="the record before hashes to") as refused:
        open_log(tmp_path)
    assert refused.value.problems[0].where == f"{path}:{offset}"


def test_tariff_and_statement_are_kept_with_the_log(tmp_path: Path) -> None:
    log = filled_log(tmp_path, 5)
    log.close()
    dear = replace(Tariff.illustrative(), platform_bps=2000)
    log = open_log(tmp_path, dear)
    bill = log.append(request(70))
    assert bill.parts["platform"] == bill.fee_gwei // 5
    records = [entry.record for entry in LogReader(tmp_path).entries()]
    assert len({record.rules_hash for record in records}) == 2
    assert all(rules_path(tmp_path, record.rules_hash).exists() for record in records)
    assert tariff_path(tmp_path, bytes.fromhex(dear.sha256)).exists()
    statement = statement_path(tmp_path, records[1].datanet_root)
    statement.write_text(statement.read_text().replace("6667", "6668"))
    with pytest.raises(InputError, match="has the root") as refused:
        list(LogReader(tmp_path).bills())
    assert refused.value.problems[0].path == "datanet_root"


def test_operations_hold_no_prompt_and_salt_its_hash(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    for number in (0, 30):
        log.append(request(number, adapter("1", LAW), prompt_tokens=(5, 6, 7)))
    (path,) = tmp_path.glob("operations-*.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[0]["prompt_sha256"] != lines[1]["prompt_sha256"]
    ids = b"".join(token.to_bytes(4, "big") for token in (5, 6, 7))
    assert lines[0]["prompt_sha256"] == sha256(bytes.fromhex(lines[0]["prompt_salt"]) + ids).hex()
    assert lines[0]["prompt_tokens"] == 3
    assert set(lines[0]) >= {
        "request_id", "ts", "key_id", "base_sha256", "adapter_sha256", "adapter_version", "data_ids", "prompt_sha256",
        "prompt_tokens", "completion_tokens", "completion_sha256", "seed", "params", "ttft_ms", "e2e_ms", "finish",
    }  # fmt: skip
    assert lines[0]["data_ids"] == ["law", "tax"]
    assert path.stat().st_mode & 0o077 == 0


def test_lost_operations_lose_no_total(tmp_path: Path) -> None:
    log = filled_log(tmp_path, 4)
    total = log.usage().total
    log.close()
    (path,) = tmp_path.glob("operations-*.jsonl")
    path.write_bytes(path.read_bytes()[:-10])
    again = open_log(tmp_path)
    assert again.usage().total == total
    assert again.usage(tenant="acme").total.requests == 3
    again.append(request(80))
    again.close()
    assert open_log(tmp_path).usage(tenant="acme").total.requests == 4


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    with pytest.raises(InputError, match=f"written by process {os.getpid()}"):
        open_log(tmp_path)
    log.close()
    open_log(tmp_path).close()


def test_threads_lose_no_record(tmp_path: Path) -> None:
    log = open_log(tmp_path, sync=SyncPolicy(every=8))

    def work(part: int) -> None:
        for served in mixed_requests(25, part * 25):
            log.append(served)

    threads = [threading.Thread(target=work, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert log.size == 100 == log.usage().total.requests
    assert sum(billed.bill.fee_gwei for billed in LogReader(tmp_path).bills()) == log.usage().total.fee_gwei


def test_a_killed_process_loses_nothing_that_it_billed(tmp_path: Path) -> None:
    """Each append is with the operating system before the bill is returned: kill -9 takes none of them back."""
    program = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from pathlib import Path\n"
        "from billing_world import open_log, request\n"
        f"log = open_log(Path({str(tmp_path)!r}))\n"
        "for i in range(10**6): print(log.append(request(i, completion=(1, 2))).request_id, flush=True)\n"
    )
    worker = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    told = [worker.stdout.readline().strip() for _ in range(50)]
    worker.kill()
    told += worker.communicate()[0].split()
    whole = [request_id for request_id in told if len(request_id) == 32]
    log = open_log(tmp_path)
    logged = [one.record.request_id.hex() for one in LogReader(tmp_path).entries()]
    assert logged[: len(whole)] == whole
    assert len(whole) <= log.size <= len(whole) + 1
    log.append(request(999_999))


def test_sync_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    log = open_log(tmp_path, sync=SyncPolicy(every=4, after_ms=10**6))
    log.append(request(0))
    log.append(request(1))
    synced.clear()
    log.append(request(2))
    assert synced == []
    log.append(request(3))
    assert len(synced) == 2
    assert frames(tmp_path)[-1]
