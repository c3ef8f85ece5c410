"""Influence in the log: what a record names, what it pays, what the audit finds, and proofs of records and claims."""
# ruff: noqa: E402 (imports follow importorskip)

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

cbor2 = pytest.importorskip("cbor2", reason="needs the node extra (cbor2)")

from models.apportion import apportion_reference
from models.errors import InputError
from models.merkle import log_leaf, log_root
from reference_node.billing import ServedRequest, close_epoch
from reference_node.billing.audit import audit
from reference_node.billing.claim import prove_record
from reference_node.billing.entries import TOP_K
from reference_node.billing.hashes import sha256
from reference_node.billing.measure import log_rates, record_bytes
from reference_node.billing.reading import LogReader, rules_path
from reference_node.billing.rules import Rules
from reference_node.billing.segments import SegmentScan, segment_files
from reference_node.billing.served import Influence
from reference_node.billing.terms import Terms, payees_by_data, statement_entries
from reference_node.manifest import AdapterManifest, ContributorShare, DataNetShare
from tests.node.billing_world import ANA, BEN, CID, LAW, OWNER, adapter, open_log, request
from tests.node.test_node_billing_log import forge

pytestmark = pytest.mark.node

HASH = "1" * 64
ANA_DATA, BEN_DATA, CID_DATA = (
    (HASH, net, who) for net, who in (("law", "ana"), ("law", "ben"), ("tax", "cid"))
)


def influence(weights: dict[tuple[str, str, str], int], **given: Any) -> Influence:
    return Influence("ef_base.v1", weights, **{"params": '{"lambda":"0.1"}', **given})


def measured(number: int, weights: dict[tuple[str, str, str], int], **given: Any) -> ServedRequest:
    return request(number, adapter("1", LAW), influence=influence(weights, **given))


def test_influence_pays_by_weight_and_the_residual_by_fixed_shares(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    whole = log.append(measured(0, {ANA_DATA: 250_000_000, CID_DATA: 750_000_000}))
    data = whole.parts["contributors"]
    expected = apportion_reference(data, [750_000_000, 250_000_000, 0])
    assert whole.payees == {OWNER: whole.parts["model"], CID: expected[0], ANA: expected[1]}
    part = log.append(measured(1, {BEN_DATA: 400_000_000}))
    named, rest = apportion_reference(part.parts["contributors"], [400_000_000, 600_000_000])
    law, tax = apportion_reference(rest, [7_000, 3_000])
    ana, ben = apportion_reference(law, [6_667, 3_333])
    assert part.payees == {OWNER: part.parts["model"], ANA: ana, BEN: named + ben, CID: tax}
    unmeasured = log.append(request(2, adapter("1", LAW)))
    facts = request(2)
    same = {
        "prompt_tokens": facts.prompt_tokens,
        "completion": facts.completion,
        "cached_tokens": facts.cached_tokens,
    }
    nothing = log.append(replace(measured(3, {}), **same))
    assert nothing.payees == unmeasured.payees
    records = [entry.record for entry in LogReader(tmp_path).entries()]
    assert [len(record.top_k) for record in records] == [2, 1, 0, 0]
    assert [record.residual for record in records] == [0, 600_000_000, 10**9, 10**9]


def test_data_ids_are_leaves_of_the_statement(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    log.append(measured(0, {ANA_DATA: 3, BEN_DATA: 5}))
    (entry,) = LogReader(tmp_path).entries()
    terms = [Terms.of(adapter("1", LAW))]
    addresses = payees_by_data(terms)
    assert [addresses[data_id] for data_id, _ in entry.record.top_k] == [BEN, ANA]
    assert len(addresses) == 3 == len(statement_entries(terms)) - 1
    assert {len(data_id) for data_id in addresses} == {8}


def test_only_the_largest_weights_are_named(tmp_path: Path) -> None:
    shares = tuple(ContributorShare(f"c{i:02d}", f"0x{i + 1:040x}", 500) for i in range(20))
    manifest = AdapterManifest(OWNER, (DataNetShare("net", 10_000, shares),))
    weights = {(HASH, "net", f"c{i:02d}"): 1_000_000 * (i + 1) for i in range(20)}
    log = open_log(tmp_path)
    log.append(request(0, adapter("1", manifest), influence=influence(weights)))
    (billed,) = LogReader(tmp_path).bills()
    record = billed.entry.record
    assert [weight // 10**6 for _, weight in record.top_k] == list(range(20, 20 - TOP_K, -1))
    assert record.residual == 10**9 - sum(weight for _, weight in record.top_k)


def test_a_record_that_names_eight_data_has_at_most_400_bytes(tmp_path: Path) -> None:
    assert record_bytes(tmp_path) <= 400


@pytest.mark.parametrize(
    ("weights", "given", "message"),
    [
        ({(HASH, "law", "eve"): 1}, {}, "names data of 'eve' in DataNet 'law' .* no manifest"),
        ({("2" * 64, "law", "ana"): 1}, {}, f"under adapter {'2' * 64}; no manifest"),
        ({ANA_DATA: -1}, {}, "are no whole numbers"),
        ({ANA_DATA: 0.5}, {}, "are no whole numbers"),
        ({ANA_DATA: 10**9, BEN_DATA: 1}, {}, "add up to 1000000000"),
        ({ANA_DATA: 1}, {"params": "{}}"}, "cannot be billed"),
        ({ANA_DATA: 1}, {"params": '{"b":1,"a":2}'}, "canonical JSON"),
    ],
)
def test_influence_that_names_anything_else_is_refused(
    tmp_path: Path, weights: dict[Any, Any], given: dict[str, Any], message: str
) -> None:
    log = open_log(tmp_path)
    with pytest.raises(InputError, match=message):
        log.append(measured(0, weights, **given))
    assert log.size == 0 == len(list(SegmentScan(tmp_path)))


def test_a_group_is_recorded_whole_or_not_at_all(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    good = [measured(i, {ANA_DATA: 10**9}) for i in range(5)]
    with pytest.raises(InputError, match=f"{3:032x}' cannot be billed: it was billed before"):
        log.append_all([*good, good[3]])
    assert log.size == 0
    bills = log.append_all(good)
    log.close()
    assert [billed.bill for billed in LogReader(tmp_path).bills()] == bills
    single = open_log(tmp_path / "single")
    for served in good:
        single.append(served)
    assert single.root() == log.root()
    assert audit(tmp_path).records == 5


def test_the_rules_are_kept_and_checked(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    log.append(measured(0, {ANA_DATA: 10**9}))
    log.append(request(1, adapter("1", LAW)))
    log.close()
    billed = list(LogReader(tmp_path).bills())
    assert [one.rules.method for one in billed] == ["ef_base.v1", "none"]
    assert json.loads(billed[0].rules.params) == {"lambda": "0.1"}
    path = rules_path(tmp_path, billed[0].entry.record.rules_hash)
    path.write_text(path.read_text().replace("0.1", "0.2"))
    with pytest.raises(InputError, match="the rules kept under it hash to") as refused:
        audit(tmp_path)
    assert refused.value.problems[0].path == "rules_hash"


@pytest.mark.parametrize("forgery", ["weights", "payee", "unmeasured"])
def test_forged_influence_is_a_fault(tmp_path: Path, forgery: str) -> None:
    log = open_log(tmp_path)
    log.append(measured(0, {ANA_DATA: 600_000_000, BEN_DATA: 400_000_000}))
    log.append(request(1, adapter("1", LAW)))
    log.close()
    first, second = (entry.record for entry in LogReader(tmp_path).entries())
    swapped = tuple(
        (data_id, w) for (data_id, _), w in zip(first.top_k[::-1], (600_000_000, 400_000_000), strict=True)
    )
    changes: dict[str, Any] = {
        "weights": {"top_k": replace(first, top_k=swapped)},
        "payee": {"top_k": replace(first, top_k=((b"\7" * 8, 10**9),))},
        "unmeasured": {"rules_hash": replace(first, rules_hash=second.rules_hash)},
    }[forgery]
    ((name, record),) = changes.items()
    tree = cbor2.loads(record.encode())
    forge(tmp_path, 0, **{name: tree[12 if name == "top_k" else 8]})
    with pytest.raises(InputError) as refused:
        audit(tmp_path)
    # a change that the bill still follows from breaks the chain at the next record
    expected = {"weights": "prev_hash", "payee": "top_k", "unmeasured": "top_k"}
    assert refused.value.problems[0].path == expected[forgery]


def test_settlements_follow_from_influence(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log")
    log.append_all([measured(i, {ANA_DATA: 10**9 - 10**8 * i, CID_DATA: 10**8 * i}) for i in range(1, 9)])
    settlement = close_epoch(log, tmp_path / "out")
    log.close()
    assert audit(tmp_path / "log", settlement.path).epoch == 1
    paid = {payee["address"]: int(payee["gwei"]) for payee in settlement.payees}
    bills = [billed.bill for billed in LogReader(tmp_path / "log").bills()]
    assert paid == {a: sum(bill.payees.get(a, 0) for bill in bills) for a in (OWNER, ANA, CID)}


def test_records_are_proved_to_be_in_the_log_that_a_settlement_names(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log")
    log.append_all([request(i) for i in range(11)])
    settlement = close_epoch(log, tmp_path / "out")
    log.append_all([request(i) for i in range(20, 25)])
    proof, root = prove_record(tmp_path / "log", 4, settlement.log_size)
    assert root == settlement.log_root
    assert proof.leads_to(settlement.log_root)
    assert not proof.leads_to(log.root())
    for forged in (
        replace(proof, seq=5),
        replace(proof, data=proof.data[:-1] + b"\1"),
        replace(proof, path=proof.path[:-1]),
    ):
        assert not forged.leads_to(settlement.log_root)
    whole, root = prove_record(tmp_path / "log", 15)
    assert root == log.root()
    assert whole.leads_to(root)
    with pytest.raises(InputError, match="record 16 of 16: the log holds 16"):
        prove_record(tmp_path / "log", 16)


def test_every_flipped_bit_of_a_record_is_found_and_named_by_its_byte(tmp_path: Path) -> None:
    """All bits of the last record, which a crash could have torn, and of the frame around it."""
    log = open_log(tmp_path)
    log.append_all([measured(i, {ANA_DATA: 600_000_000, BEN_DATA: 400_000_000 - i}) for i in range(2)])
    log.close()
    (path,) = segment_files(tmp_path)
    whole = path.read_bytes()
    start = [position.offset for position, _ in SegmentScan(tmp_path)][1]
    for spot in range(start, len(whole)):
        for bit in (0, 3, 7):
            path.write_bytes(whole[:spot] + bytes((whole[spot] ^ 1 << bit,)) + whole[spot + 1 :])
            with pytest.raises(InputError) as refused:
                list(SegmentScan(tmp_path))
            assert refused.value.problems[0].where == f"{path}:{spot}"


def test_golden_roots_of_the_log_tree() -> None:
    leaves = [log_leaf(entry, sha256) for entry in (b"a", b"b", b"c")]
    assert log_root([], sha256).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert (
        log_root(leaves, sha256).hex() == "36642e73c2540ab121e3a6bf9545b0a24982cd830eb13d3cd19de3ce6c021ec1"
    )


def test_rates_are_of_whole_logs(tmp_path: Path) -> None:
    found = log_rates(tmp_path / "log", records=200, named=8)
    assert found["records"] == 200
    assert found["segment_bytes_per_record"] <= 408  # with length and checksum
    assert min(found["append_per_s"], found["audit_per_s"]) > 0


def test_rules_name_their_tariff() -> None:
    with pytest.raises(ValueError, match="tariff 'x' is no hash"):
        Rules("x")
