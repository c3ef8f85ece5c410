"""One record of the billing log: its bytes, and what is no record."""
# ruff: noqa: E402 (imports follow importorskip)

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

cbor2 = pytest.importorskip("cbor2", reason="needs the node extra (cbor2)")

from reference_node.billing import Tariff
from reference_node.billing.record import NO_PARAMS_HASH, AdapterEntry, LogRecord, RecordError
from reference_node.billing.segments import SegmentScan
from reference_node.billing.terms import Terms, statement_root
from tests.node.billing_world import (
    BASE,
    LAW,
    START_MS,
    TOKENIZER,
    adapter,
    filled_log,
    open_log,
    request,
)

pytestmark = pytest.mark.node


def frames(folder: Path) -> list[tuple[Path, int, bytes]]:
    return [(position.path, position.offset, data) for position, data in SegmentScan(folder)]


def test_record_is_the_documented_map(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    served = request(0, adapter("1", LAW, weight=0.5), adapter("2"))
    bill = log.append(served)
    ((_, _, data),) = frames(tmp_path)
    tree = cbor2.loads(data)
    ids = b"".join(token.to_bytes(4, "big") for token in served.completion)
    assert tree == {
        0: 1,
        1: 0,
        2: bytes(32),
        3: bytes(16),
        4: bytes.fromhex(BASE),
        5: [
            [b"\x11" * 32, bytes.fromhex("3fe0000000000000")],
            [b"\x22" * 32, bytes.fromhex("3ff0000000000000")],
        ],
        6: statement_root([Terms.of(one) for one in served.adapters]),
        7: hashlib.sha256(bytes.fromhex(TOKENIZER) + ids).digest(),
        8: "none",
        9: hashlib.sha256(b"\xa0").digest(),
        10: 100,
        11: 20,
        12: bill.fee_gwei,
        13: [],
        14: 10**9,
        15: START_MS,
        16: 0,
        17: bytes.fromhex(Tariff.illustrative().sha256),
    }
    assert list(tree) == sorted(tree)
    assert log.head() == hashlib.sha256(data).digest()
    assert log.root() == hashlib.sha256(b"\x00" + data).digest()


def test_record_bytes() -> None:
    """Bytes with eight influences of 8-byte ids: 352 without weights, tariff and cached tokens."""
    top = tuple((i.to_bytes(8, "big"), 10**8) for i in range(8))
    record = LogRecord(
        10**6, bytes(32), bytes(16), bytes(32), (AdapterEntry(bytes(32), 1.0),), bytes(32), bytes(32), bytes(32),
        1000, 0, 200, 300_000, START_MS, "influence.v1", NO_PARAMS_HASH, top, 2 * 10**8,
    )  # fmt: skip
    assert len(record.encode()) == 450
    assert LogRecord.decode(record.encode()) == record


digests = st.binary(min_size=32, max_size=32)
numbers = st.integers(0, 2**64 - 1)
tokens = st.integers(0, 2**32)
records = st.builds(
    LogRecord, numbers, digests, st.binary(min_size=16, max_size=16), digests,
    st.lists(st.builds(AdapterEntry, digests, st.floats(allow_nan=False)), max_size=3).map(tuple),
    digests, digests, digests, tokens, st.just(0), tokens, numbers, numbers,
)  # fmt: skip


@given(records)
def test_records_survive_their_bytes(record: LogRecord) -> None:
    assert LogRecord.decode(record.encode()) == record


@given(st.binary(max_size=64) | st.builds(LogRecord.encode, records).map(lambda data: data[:-1]))
def test_foreign_bytes_are_no_record(data: bytes) -> None:
    with pytest.raises(RecordError):
        LogRecord.decode(data)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", 2),
        ("seq", -1),
        ("prev_hash", bytes(31)),
        ("residual", 1),
        ("fee_gwei", 2**64),
        ("cached_tokens", 9**9),
    ],
)
def test_fields_are_checked(field: str, value: object) -> None:
    record = LogRecord(0, bytes(32), bytes(16), bytes(32), (), bytes(32), bytes(32), bytes(32), 1, 0, 1, 1, 1)
    with pytest.raises(RecordError) as refused:
        replace(record, **{field: value})
    assert refused.value.field == field


def test_another_encoding_of_a_record_is_refused(tmp_path: Path) -> None:
    filled_log(tmp_path, 1)
    ((_, _, data),) = frames(tmp_path)
    loose = cbor2.dumps(dict(reversed(cbor2.loads(data).items())))
    with pytest.raises(RecordError, match="deterministic"):
        LogRecord.decode(loose)
