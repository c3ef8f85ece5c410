"""Requests billed, written and audited together: the same bytes, bills and faults as one by one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("cbor2", reason="needs the node extra (cbor2)")

from models.errors import InputError, Problem
from models.fees import LARGEST_RATE
from models.merkle import log_leaf, log_root
from reference_node.billing import ServedRequest, Tariff
from reference_node.billing.audit import audit
from reference_node.billing.bill import Tokens, make_bill
from reference_node.billing.columns import ColumnReader
from reference_node.billing.group_bills import GroupBilling
from reference_node.billing.hashes import sha256
from reference_node.billing.layout import NUMBERS, adapters_bytes, adapters_of, layout_of, shape_of
from reference_node.billing.log_audit import first_repeated
from reference_node.billing.operations import OperationsJoin, Repeated, agrees, operations_lines
from reference_node.billing.reading import LogReader
from reference_node.billing.record import FIELDS, LogRecord
from reference_node.billing.segments import SegmentScan, segment_files
from reference_node.billing.served import Influence
from reference_node.billing.subtrees import Subtrees
from reference_node.billing.tariff import Rates
from reference_node.billing.terms import Contributor, DataNet, Terms, payees_by_data
from reference_node.billing.top_k import pack
from tests.node.billing_world import ANA, LAW, adapter, mixed_requests, open_log, request
from tests.node.test_node_billing_log import forge
from tests.node.test_node_billing_record import records

pytestmark = pytest.mark.node

HASH = "1" * 64
ADDRESSES = ["", *(f"0x{i:040x}" for i in range(1, 5))]
TARIFF = Tariff.illustrative()

rates = st.builds(Rates, *[st.integers(0, 10**10) | st.integers(0, LARGEST_RATE)] * 3)
shares = st.integers(0, 10_000) | st.integers(0, 10**30)
contributors = st.builds(Contributor, st.uuids().map(str), st.sampled_from(ADDRESSES), shares)
nets = st.builds(DataNet, st.uuids().map(str), shares, st.lists(contributors, max_size=4).map(tuple))
served_by = st.builds(
    Terms,
    st.sampled_from([HASH, "2" * 64]),
    st.just(""),
    st.sampled_from(ADDRESSES),
    st.lists(nets, max_size=3).map(tuple),
)
tariffs = st.builds(
    lambda base, own, bps, flat, burn, weights: replace(
        TARIFF, base=base, adapters={HASH: own}, platform_bps=bps, platform_flat=flat, burn_bps=burn,
        weights=dict(zip(TARIFF.weights, weights, strict=True)),
    ),
    rates, rates, st.integers(0, 10_000), st.integers(0, 10**18), st.integers(0, 10_000),
    st.lists(st.integers(0, 10**6), min_size=3, max_size=3).filter(any),
)  # fmt: skip
tokens = st.tuples(st.integers(0, 4096), st.integers(0, 4096), st.integers(0, 10**6)).map(
    lambda row: (max(row[:2]), min(row[:2]), row[2])
)


@settings(max_examples=150)
@given(tariffs, st.lists(st.tuples(served_by, st.floats(-4, 4)), max_size=3), st.data())
def test_bills_made_together_are_those_made_alone(
    tariff: Tariff, adapters: list[tuple[Terms, float]], data: st.DataObject
) -> None:
    terms, weights = tuple(one for one, _ in adapters), tuple(weight for _, weight in adapters)
    address_of = payees_by_data(terms)
    rows = data.draw(st.lists(tokens, min_size=1, max_size=6))
    some = st.lists(st.sampled_from(sorted(address_of)), max_size=3) if address_of else st.just([])
    named = [[(one, data.draw(st.integers(1, 3 * 10**8))) for one in data.draw(some)] for _ in rows]
    group, width = GroupBilling(tariff, terms, weights, address_of), max(map(len, named))
    numbers, places = np.zeros((2, len(rows), width), np.int64)
    for i, one in enumerate(named):
        numbers[i, : len(one)] = [weight for _, weight in one]
        places[i, : len(one)] = [group.place_of[data_id] for data_id, _ in one]
    found = group.amounts(np.array(rows), numbers, places)
    if found is None:  # too large for int64: 2^62 gwei, or shares beyond 2^61
        return
    ids = [f"{i:032x}" for i in range(len(rows))]
    for bill, one, data_of in zip(group.bills(ids, np.array(rows), found), rows, named, strict=True):
        attributed = [(address_of[data_id], weight) for data_id, weight in data_of]
        assert bill == make_bill(bill.request_id, Tokens(*one), tariff, terms, weights, attributed)


def test_common_bills_are_made_together() -> None:
    """The form for large numbers is the exception: an ensemble of the bundled tariff is not one."""
    terms = tuple(Terms.of(one) for one in (adapter("1", LAW), adapter("2")))
    group = GroupBilling(TARIFF, terms, (0.7, -0.3), payees_by_data(terms))
    empty = np.zeros((2, 0), np.int64)
    assert group.amounts(np.array([[100, 0, 20], [10**6, 10, 10**6]]), empty, empty) is not None


@given(records)
def test_a_layout_writes_and_reads_what_a_record_encodes(record: LogRecord) -> None:
    shape = shape_of(record)
    if shape is None:
        assert max(getattr(record, name) for name in NUMBERS) >= 2**63
        return
    plain = {name: getattr(record, name) for name in FIELDS if name != "version"}
    pairs = tuple(zip(*record.adapters, strict=True)) or ((), ())
    packed = {"adapters": adapters_bytes(*pairs), "top_k": pack(record.top_k)}
    data = record.encode()
    assert layout_of(shape).written(*{**plain, **packed}.values()) == data
    assert adapters_of(packed["adapters"]) == pairs
    columns = ColumnReader().read([data], record.seq, [record.prev_hash])
    if record.cached_tokens <= record.tokens_in:
        assert columns is not None
        (one,) = columns
        assert {name: int(one.numbers[name][0]) for name in NUMBERS} == {
            name: getattr(record, name) for name in NUMBERS
        }
        ids = [int.from_bytes(data_id, "big") for data_id, _ in record.top_k]
        assert (one.data_ids[0].tolist(), one.weights[0].tolist()) == (ids, [w for _, w in record.top_k])


@settings(max_examples=200)
@given(records, st.data())
def test_no_altered_record_passes_as_columns(record: LogRecord, data: st.DataObject) -> None:
    """What columns take, the reader takes, with the same values."""
    whole = bytearray(record.encode())
    spot = data.draw(st.integers(0, len(whole) - 1))
    whole[spot] ^= data.draw(st.integers(1, 255))
    columns = ColumnReader().read([bytes(whole)], record.seq, [record.prev_hash])
    if columns is not None:
        again = LogRecord.decode(bytes(whole))
        assert (again.seq, again.prev_hash) == (record.seq, record.prev_hash)


@given(st.integers(0, 80), st.integers(0, 80), st.integers(1, 9))
def test_subtrees_of_parts_give_the_root_of_the_whole(count: int, cut: int, step: int) -> None:
    leaves = [log_leaf(bytes((i,)), sha256) for i in range(count)]
    cut = min(cut, count)
    first, second = Subtrees(), Subtrees(cut)
    first.extend(leaves[:cut])
    for start in range(cut, count, step):
        second.extend(leaves[start : start + step])
    first.follow(second)
    assert first.root() == log_root(leaves, sha256)


@given(st.lists(st.integers(0, 9), max_size=20))
def test_the_first_repeated_id(numbers: list[int]) -> None:
    found = first_repeated(b"".join(number.to_bytes(16, "big") for number in numbers))
    again = (i for i, number in enumerate(numbers) if number in numbers[:i])
    assert found == next(again, None)


def many_requests(count: int) -> list[ServedRequest]:
    """Requests of all kinds, measured ones among them."""
    ana, cid = (HASH, "law", "ana"), (HASH, "tax", "cid")
    found = mixed_requests(count)
    for i in range(0, count, 3):
        weights = {ana: 10**8 + i, cid: 10**8 * (i % 4)}
        by = Influence("ef_base.v1", weights if i % 2 else {}, '{"lambda":"0.1"}')
        found[i] = request(i, adapter("1", LAW), influence=by)
    return found


def test_a_group_has_the_bytes_of_single_appends(tmp_path: Path) -> None:
    served = many_requests(60)
    group, single = (open_log(tmp_path / name, entropy=bytes) for name in ("group", "single"))
    bills = group.append_all(served)
    assert bills == [single.append(one) for one in served]
    assert (group.root(), group.head(), group.usage()) == (single.root(), single.head(), single.usage())
    for log in (group, single):
        log.close()
    left, right = (sorted(path.glob("*.*")) for path in (tmp_path / "group", tmp_path / "single"))
    assert [path.name for path in left] == [path.name for path in right]
    assert [path.read_bytes() for path in left] == [path.read_bytes() for path in right]


@pytest.fixture
def logged(tmp_path: Path) -> Path:
    """A log of 60 records in several segments, which the reader and the audit find whole."""
    log = open_log(tmp_path / "log", segment_bytes=3000)
    served = many_requests(60)
    for start in range(0, 60, 10):
        log.append_all(served[start : start + 10])
    log.close()
    return tmp_path / "log"


def one_by_one(folder: Path) -> Problem | None:
    """Return the first fault as the record-by-record reader and join of the operations lines tell it."""
    lines = OperationsJoin(operations_lines(folder))
    try:
        for billed in LogReader(folder).bills():
            said = Repeated.of(billed.entry.record)
            found = lines.line_of(said)
            if found is not None and not agrees(found[1], said):
                return Problem("a line that contradicts its record", where=str(found[0]))
    except InputError as error:
        return error.problems[0]
    return None


def test_the_audit_sums_what_the_reader_reads(logged: Path) -> None:
    report = audit(logged)
    bills = [billed.bill for billed in LogReader(logged).bills()]
    assert report.records == 60 == len(bills)
    assert report.fee_gwei == sum(bill.fee_gwei for bill in bills)
    assert report.parts == {name: sum(bill.parts[name] for bill in bills) for name in report.parts}
    assert (report.tokens_in, report.tokens_out) == (
        sum(bill.tokens_in for bill in bills),
        sum(bill.tokens_out for bill in bills),
    )
    leaves = [log_leaf(data, sha256) for _, data in SegmentScan(logged)]
    assert report.root == log_root(leaves, sha256).hex()
    assert len(segment_files(logged)) > 2


def test_processes_change_nothing(logged: Path) -> None:
    assert audit(logged, processes=2) == audit(logged)
    forge(logged, 41, fee_gwei=1)
    forge(logged, 12, tokens_out=1)
    told = []
    for processes in (1, 2):
        with pytest.raises(InputError) as refused:
            audit(logged, processes=processes)
        told.append(refused.value.problems)
    assert told[0] == told[1] == (one_by_one(logged),)
    with pytest.raises(InputError, match="0 processes cannot check a log"):
        audit(logged, processes=0)


FORGERIES: list[dict[str, Any]] = [
    {"tokens_out": 1},
    {"fee_gwei": 2**63},
    {"cached_tokens": 10**6},
    {"datanet_root": bytes(32)},
    {"rules_hash": bytes(32)},
    {"top_k": b"\x08" + bytes(8) + (10**9).to_bytes(4, "big"), "residual": 0},
    {"residual": 1},
    {"adapters": []},
    {"version": 9},
    {"seq": 7},
    {"prev_hash": bytes(32)},
    {"request_id": bytes(16)},
    {"request_id": (1).to_bytes(16, "big")},
    {"output_hash": bytes(32)},
]


@pytest.mark.parametrize("changes", FORGERIES, ids=lambda changes: "+".join(changes))
@pytest.mark.parametrize("number", [0, 20, 59])
def test_the_audit_names_the_fault_that_the_reader_names(
    logged: Path, changes: dict[str, Any], number: int
) -> None:
    forge(logged, number, **changes)
    expected = one_by_one(logged)
    if expected is None:  # a change to what was there
        audit(logged)
        return
    with pytest.raises(InputError) as refused:
        audit(logged)
    found = refused.value.problems[0]
    assert found == expected or (found.where, expected.path) == (expected.where, "")


@settings(max_examples=40)
@given(st.data())
def test_any_flipped_bit_of_any_segment_is_named_by_its_byte(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("flip")
    log = open_log(folder, segment_bytes=3000)
    for start in range(0, 30, 10):
        log.append_all(many_requests(30)[start : start + 10])
    log.close()
    path = data.draw(st.sampled_from(segment_files(folder)))
    whole = bytearray(path.read_bytes())
    spot = data.draw(st.integers(0, len(whole) - 1))
    whole[spot] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(whole)
    with pytest.raises(InputError) as refused:
        audit(folder)
    assert refused.value.problems[0].where == f"{path}:{spot}"


def test_a_lost_segment_is_named(logged: Path) -> None:
    files = segment_files(logged)
    files[1].rename(files[1].with_suffix(".gone"))
    with pytest.raises(InputError, match="a segment is missing") as refused:
        audit(logged, processes=2)
    assert refused.value.problems[0].where == f"{files[2]}:0"


def test_a_record_without_a_layout_is_logged_and_audited(tmp_path: Path) -> None:
    crowd = [adapter(mark, weight=i + 1.0) for i, mark in enumerate("0123456789abcdef")]
    twice = [replace(one, sha256=one.sha256[::-1][:-1] + "7") for one in crowd]
    log = open_log(tmp_path)
    log.append_all([request(i, *crowd, *twice) for i in range(9)])
    log.append(request(20, adapter("1", LAW), influence=Influence("m.v1", {(HASH, "law", "ana"): 10**9})))
    log.close()
    assert audit(tmp_path).records == 10
    assert ANA in list(LogReader(tmp_path).bills())[-1].bill.payees  # type: ignore[union-attr]
