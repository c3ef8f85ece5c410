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
from reference_node.billing.record import AdapterEntry, LogRecord, RecordError
from reference_node.billing.rules import Rules
from reference_node.billing.segments import SegmentScan
from reference_node.billing.terms import Terms, statement_root
from reference_node.billing.top_k import largest, pack, unpack
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
        0: 2,
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
        8: Rules(Tariff.illustrative().sha256).digest,
        9: 100,
        10: 20,
        11: bill.fee_gwei,
        12: b"",
        13: 10**9,
        14: START_MS,
        15: 0,
    }
    assert list(tree) == sorted(tree)
    assert log.head() == hashlib.sha256(data).digest()
    assert log.root() == hashlib.sha256(b"\x00" + data).digest()


def test_record_bytes() -> None:
    """A record with eight influences of 8-byte ids has at most 400 bytes, at the 4 billionth request too."""
    top = tuple((i.to_bytes(8, "big"), 10**8) for i in range(8))
    record = LogRecord(
        2**32 - 1, bytes(32), bytes(16), bytes(32), (AdapterEntry(bytes(32), 1.0),), bytes(32), bytes(32), bytes(32),
        1000, 300, 300_000, START_MS, START_MS, top, 2 * 10**8,
    )  # fmt: skip
    assert len(record.encode()) == 388
    assert LogRecord.decode(record.encode()) == record


digests = st.binary(min_size=32, max_size=32)
numbers = st.integers(0, 2**64 - 1)
tokens = st.integers(0, 2**32)
entries = st.dictionaries(st.binary(min_size=8, max_size=8), st.integers(0, 10**8), max_size=10).map(
    lambda weights: largest(weights, 8)
)
plain = st.builds(
    LogRecord, numbers, digests, st.binary(min_size=16, max_size=16), digests,
    st.lists(st.builds(AdapterEntry, digests, st.floats(allow_nan=False)), max_size=3).map(tuple),
    digests, digests, digests, tokens, st.just(0), tokens, numbers, numbers,
)  # fmt: skip
records = st.builds(
    lambda record, top: replace(record, top_k=top, residual=10**9 - sum(weight for _, weight in top)),
    plain,
    entries,
)


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
        ("version", 1),
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


def packed(*rows: tuple[bytes, int]) -> bytes:
    return pack(rows)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (packed((b"a" * 7, 1)), "ids of 7 bytes; allowed 8 to 32"),
        (packed((b"a" * 8, 1))[:-1], "are no 1 to 64 entries"),
        (b"\x08", "are no 1 to 64 entries"),
        (packed((b"a" * 8, 0)), "weights outside 1 to"),
        (packed((b"a" * 8, 10**9 + 1)), "weights outside 1 to"),
        (packed((b"a" * 8, 1), (b"b" * 8, 2)), "not ordered by weight"),
        (packed((b"b" * 8, 2), (b"a" * 8, 2)), "not ordered by weight, then id"),
        (packed((b"a" * 8, 2), (b"a" * 8, 1)), "names data twice"),
    ],
)
def test_another_form_of_the_entries_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        unpack(data)


def test_rules_are_named_by_one_hash() -> None:
    rules = Rules("ab" * 32, "ef_base.v1", '{"lambda":"0.1"}')
    assert Rules.from_document(rules.document()) == rules
    assert replace(rules, params='{"lambda":"0.2"}').digest != rules.digest
    for wrong, message in (
        ({"params": '{"lambda": "0.1"}'}, "canonical JSON"),
        ({"params": "[]"}, "canonical JSON"),
        ({"method": ""}, "1 to 64 printable"),
        ({"tariff_sha256": "ab"}, "no hash"),
    ):
        with pytest.raises(ValueError, match=message):
            replace(rules, **wrong)
