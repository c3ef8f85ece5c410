"""Settlement: the file of an epoch, its identities, and posting it to the real contract on a real EVM."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("cbor2", reason="needs the node extra (cbor2)")
pytest.importorskip("web3", reason="needs the dev extra (web3, eth-tester)")

from models.errors import InputError
from models.merkle import verify_consistency
from reference_node.billing import BillingLog, close_epoch
from reference_node.billing.distributor import Deployment
from reference_node.billing.hashes import sha256
from reference_node.billing.post import PostingFailed, post_settlement
from reference_node.billing.reading import LogReader
from reference_node.billing.sender import Sender
from reference_node.billing.settlement_file import Settlement
from tests.node.billing_world import ANA, CID, filled_log, mixed_requests, open_log, request
from tests.node.devnet import Devnet

pytestmark = pytest.mark.node

KEY = "0x" + "5e" * 32


@pytest.fixture
def log(tmp_path: Path) -> BillingLog:
    return filled_log(tmp_path / "log")


@pytest.fixture
def devnet() -> Iterator[Devnet]:
    found = Devnet()
    yield found
    found.close()


def two_epochs(log: BillingLog, folder: Path) -> tuple[Settlement, Settlement]:
    first = close_epoch(log, folder)
    for served in mixed_requests(9, first=100):
        log.append(served)
    return first, close_epoch(log, folder)


def post(
    settlement: Settlement, devnet: Devnet, tmp_path: Path, sender: Sender | None = None, **given: object
):
    deployment = devnet.deployment(tmp_path / "deployment.json")
    who = sender or Sender.unlocked(devnet.poster)
    return post_settlement(settlement, deployment, devnet.url, who, sleep=lambda seconds: None, **given)


def test_bills_equal_parts_equal_payees_and_accounts(tmp_path: Path, log: BillingLog) -> None:
    first, second = two_epochs(log, tmp_path / "out")
    bills = [billed.bill for billed in LogReader(log.folder).bills()]
    for settlement, part in ((first, bills[:12]), (second, bills[12:])):
        document = settlement.document
        fee = sum(bill.fee_gwei for bill in part)
        assert int(document["bills"]["fee_gwei"]) == fee > 0
        assert sum(map(int, document["bills"]["parts_gwei"].values())) == fee
        paid = sum(int(payee["gwei"]) for payee in document["payees"])
        kept = sum(int(account["gwei"]) for account in document["accounts"])
        assert paid + kept == fee
        assert document["rounding_dust_gwei"] == "0"
        lines = (settlement.path.parent / document["bills"]["file"]).read_text().splitlines()
        rows = [json.loads(line) for line in lines]
        assert [row["request_id"] for row in rows] == [bill.request_id for bill in part]
        assert sum(int(row["fee_gwei"]) for row in rows) == fee
    total = sum(sum(bill.payees.values()) for bill in bills)
    assert second.total_wei == total * 10**9
    assert second.previous_wei == first.total_wei
    assert {p["address"]: int(p["cumulative_gwei"]) for p in second.payees} == {
        address: sum(bill.payees.get(address, 0) for bill in bills)
        for address in {a for bill in bills for a in bill.payees}
    }
    assert log.usage().total.fee_gwei == sum(int(s.document["bills"]["fee_gwei"]) for s in (first, second))


@settings(max_examples=15)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=4))
def test_cumulative_amounts_never_fall_however_epochs_are_cut(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("cuts")
    log, paid, number = open_log(folder / "log"), {}, 0
    for count in cuts:
        for served in mixed_requests(count, first=number):
            log.append(served)
        number += count
        settlement = close_epoch(log, folder / "out")
        now = {p["address"]: int(p["cumulative_gwei"]) for p in settlement.payees}
        assert all(now[address] >= amount for address, amount in paid.items())
        paid = now
    log.close()
    whole = close_epoch(LogReader(folder / "log"), folder / "at once")
    assert whole.payout_root == settlement.payout_root
    assert whole.total_wei == settlement.total_wei


def test_closing_twice_is_closing_once(tmp_path: Path, log: BillingLog) -> None:
    first = close_epoch(log, tmp_path / "a")
    data = first.path.read_bytes()
    assert close_epoch(log, tmp_path / "a") == Settlement.read(first.path)
    assert first.path.read_bytes() == data
    assert close_epoch(log, tmp_path / "b").path.read_bytes() == data
    assert sorted(p.name for p in (tmp_path / "a").glob("epoch*")) == [
        "epoch-000001.bills.jsonl",
        "epoch-000001.json",
    ]


def test_a_crash_between_the_two_files_is_closed_again(tmp_path: Path, log: BillingLog) -> None:
    whole = close_epoch(log, tmp_path / "a").path
    crashed = tmp_path / "b"
    crashed.mkdir()
    (crashed / "epoch-000001.bills.jsonl").write_text("half")
    assert close_epoch(log, crashed).path.read_bytes() == whole.read_bytes()


def test_nothing_to_settle(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to settle"):
        close_epoch(open_log(tmp_path / "log"), tmp_path / "out")


def test_free_requests_settle_without_payees(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log")
    log.append(request(0, prompt_tokens=(), completion=(), cached_tokens=0))
    settlement = close_epoch(log, tmp_path / "out")
    assert (settlement.payees, settlement.payout_root, settlement.total_wei) == ([], bytes(32), 0)
    assert Settlement.read(settlement.path) == settlement


def test_another_log_is_not_settled_on_top(tmp_path: Path, log: BillingLog) -> None:
    close_epoch(log, tmp_path / "out")
    other = open_log(tmp_path / "other")
    for number in range(20):
        other.append(request(number))
    with pytest.raises(InputError, match="settled 12 records with the root"):
        close_epoch(other, tmp_path / "out")
    assert not (tmp_path / "out" / "epoch-000002.bills.jsonl").exists()


def test_the_log_extends_the_one_settled_before(tmp_path: Path, log: BillingLog) -> None:
    first, second = two_epochs(log, tmp_path / "out")
    proof = [bytes.fromhex(node[2:]) for node in second.document["log"]["consistency"]]
    assert verify_consistency(first.log_root, 12, second.log_root, 21, proof, sha256)
    assert second.document["previous"]["sha256"] == first.sha256


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ('"gwei": "', '"gwei": "1', "payees"),
        ('"cumulative_gwei": "', '"cumulative_gwei": "1', "payout.total_gwei"),
        ('"total_wei": "', '"total_wei": "1', "payout.total_wei"),
        ('"epoch": 1', '"epoch": 0', "epoch"),
        ('"rounding_dust_gwei": "0"', '"rounding_dust_gwei": "1"', "rounding_dust_gwei"),
        ('"proof": [\n    "0x', '"proof": [\n    "0xabcd', "proof"),
        ('"sha256": "', '"sha256": "f', "bills.sha256"),
        ('{\n "schema"', '{\n  "schema"', "written anew"),
    ],
)
def test_an_edited_settlement_is_refused(
    tmp_path: Path, log: BillingLog, old: str, new: str, place: str
) -> None:
    path = close_epoch(log, tmp_path / "out").path
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError) as refused:
        Settlement.read(path)
    assert place in str(refused.value)


def test_two_epochs_are_posted_and_claimed_to_the_wei(
    tmp_path: Path, log: BillingLog, devnet: Devnet
) -> None:
    first, second = two_epochs(log, tmp_path / "out")
    posting = post(first, devnet, tmp_path)
    assert (posting.epoch, posting.value_wei) == (1, first.total_wei)
    assert posting.block == devnet.web3.eth.block_number
    assert devnet.claim(first.payee(ANA)) == int(first.payee(ANA)["cumulative_wei"])
    post(second, devnet, tmp_path)
    latest = devnet.distributor.functions.latest().call()
    assert latest == [2, 21, second.log_root, second.payout_root, second.uri_hash, second.total_wei]
    for payee in second.payees:
        before = int(first.payee(ANA)["cumulative_wei"]) if payee["address"] == ANA else 0
        assert devnet.claim(payee) == int(payee["cumulative_wei"]) - before
    assert devnet.distributor.functions.claimedTotal().call() == second.total_wei
    assert devnet.web3.eth.get_balance(devnet.distributor.address) == 0


def test_posting_again_sends_nothing(tmp_path: Path, log: BillingLog, devnet: Devnet) -> None:
    first = close_epoch(log, tmp_path / "out")
    post(first, devnet, tmp_path)
    devnet.calls.clear()
    again = post(first, devnet, tmp_path)
    assert (again.value_wei, again.transaction, again.block) == (0, None, None)
    assert not [call for call in devnet.calls if "send" in call]


@pytest.mark.parametrize("answered", [False, True])
def test_a_lost_answer_does_not_post_twice(
    tmp_path: Path, log: BillingLog, devnet: Devnet, answered: bool
) -> None:
    """The connection breaks before (False) or after (True) the chain executed the transaction."""
    lost: list[str] = []

    def breaks(method: str, done: bool) -> None:
        if method == "eth_sendTransaction" and done == answered and not lost:
            lost.append(method)
            raise ConnectionError

    devnet.breaks = breaks
    first = close_epoch(log, tmp_path / "out")
    posting = post(first, devnet, tmp_path)
    assert lost
    assert posting.value_wei == first.total_wei
    assert devnet.web3.eth.get_balance(devnet.distributor.address) == first.total_wei
    assert devnet.calls.count("eth_sendTransaction") == (1 if answered else 2)


def test_reads_are_asked_again_and_an_absent_node_is_said(
    tmp_path: Path, log: BillingLog, devnet: Devnet
) -> None:
    first, failures = close_epoch(log, tmp_path / "out"), []

    def breaks(method: str, done: bool) -> None:
        if not done and len(failures) < 3:
            failures.append(method)
            raise ConnectionError

    devnet.breaks = breaks
    assert post(first, devnet, tmp_path).block is not None
    devnet.close()
    with pytest.raises(PostingFailed, match="gave no answer to eth_chainId"):
        post(first, devnet, tmp_path)


def test_signed_here_with_a_key_file(tmp_path: Path, log: BillingLog, devnet: Devnet) -> None:
    path = tmp_path / "poster.key"
    path.write_text(KEY + "\n")
    path.chmod(0o644)
    with pytest.raises(InputError, match="chmod 600"):
        Sender.from_key_file(path)
    path.chmod(0o600)
    sender = Sender.from_key_file(path)
    assert KEY[2:] not in repr(sender)
    first = close_epoch(log, tmp_path / "out")
    account = devnet.web3.to_checksum_address(sender.address)
    with pytest.raises(InputError, match=r"has 0 OPEN; epoch 1 needs 0\.0\d* OPEN and 0 OPEN for gas"):
        post(first, devnet, tmp_path, sender)
    devnet.web3.eth.send_transaction({"from": devnet.admin, "to": account, "value": 10**18})
    with pytest.raises(PostingFailed, match=rf"AccessControlUnauthorizedAccount\({sender.address}, 0x"):
        post(first, devnet, tmp_path, sender)
    role = devnet.distributor.functions.POSTER_ROLE().call()
    devnet.distributor.functions.grantRole(role, account).transact({"from": devnet.admin})
    posting = post(first, devnet, tmp_path, sender)
    assert devnet.web3.eth.get_transaction(posting.transaction)["from"] == account
    assert "eth_sendRawTransaction" in devnet.calls


@pytest.mark.parametrize("text", ["", "xyz", "0x12", "00" * 32])
def test_a_file_without_a_key_is_refused_and_not_quoted(tmp_path: Path, text: str) -> None:
    path = tmp_path / "key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(InputError, match="holds no private key") as refused:
        Sender.from_key_file(path)
    assert refused.value.__cause__ is None


def test_wrong_chain_and_wrong_contract(tmp_path: Path, log: BillingLog, devnet: Devnet) -> None:
    first = close_epoch(log, tmp_path / "out")
    sender = Sender.unlocked(devnet.poster)

    def refused(message: str, **changes: object) -> None:
        path = devnet.deployment(tmp_path / "deployment.json", **changes)
        with pytest.raises(InputError, match=message):
            post_settlement(first, path, devnet.url, sender)

    contracts = json.loads(devnet.deployment(tmp_path / "d.json").read_text())["contracts"]
    contract = contracts["AttributionDistributor"]
    refused("is chain 131277322940537; the deployment is on chain 7", chain_id=7)
    refused("schema: 1 was expected", schema=2)
    empty = {"AttributionDistributor": {**contract, "address": "0x" + "12" * 20}}
    refused("there is no contract at 0x1212", contracts=empty)
    bare = {"AttributionDistributor": {**contract, "abi": []}}
    refused("has no postEpoch", contracts=bare)
    refused("'AttributionDistributor' is a required property", contracts={})
    assert not [call for call in devnet.calls if "send" in call]


def test_epochs_out_of_order(tmp_path: Path, log: BillingLog, devnet: Devnet) -> None:
    first, second = two_epochs(log, tmp_path / "out")
    with pytest.raises(
        InputError, match="epoch 2 is out of order: the contract has epoch 0 and takes 1 next"
    ):
        post(second, devnet, tmp_path)
    post(first, devnet, tmp_path)
    post(second, devnet, tmp_path)
    with pytest.raises(InputError, match="epoch 1 is out of order: the contract has epoch 2"):
        post(first, devnet, tmp_path)
    log.close()
    other = filled_log(tmp_path / "other", 14)
    stranger = two_epochs(other, tmp_path / "other_out")[1]
    with pytest.raises(InputError, match="it has another epoch of this number"):
        post(stranger, devnet, tmp_path)


def test_another_history_is_not_continued(tmp_path: Path, log: BillingLog, devnet: Devnet) -> None:
    post(close_epoch(log, tmp_path / "out"), devnet, tmp_path)
    stranger = two_epochs(filled_log(tmp_path / "other", 14), tmp_path / "other_out")[1]
    with pytest.raises(InputError, match="epoch 1 is not the one this settlement follows"):
        post(stranger, devnet, tmp_path)


def test_an_account_that_the_node_does_not_hold(tmp_path: Path, log: BillingLog, devnet: Devnet) -> None:
    with pytest.raises(InputError, match="does not hold 0xdddd"):
        post(close_epoch(log, tmp_path / "out"), devnet, tmp_path, Sender.unlocked(CID))


def test_deployment_explains_reverts(tmp_path: Path, devnet: Devnet) -> None:
    deployment = Deployment.read(devnet.deployment(tmp_path / "deployment.json"))
    from eth_hash.auto import keccak

    revert = keccak(b"EpochOutOfOrder(uint64,uint64)")[:4] + (3).to_bytes(32, "big") + (2).to_bytes(32, "big")
    assert deployment.explain(revert) == "EpochOutOfOrder(3, 2)"
    assert deployment.explain(b"") == "reverted without a reason"
    assert deployment.explain(b"\x01\x02") == "reverted with 0x0102"
