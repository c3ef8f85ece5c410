"""Our chain against eth-tester: the same signed transactions in the same blocks, 2,000 of them."""

from __future__ import annotations

import pytest

pytest.importorskip("eth_tester")

from eth_tester import EthereumTester, PyEVMBackend

from sim.chain.addresses import keccak
from sim.chain.tries import account_proof
from tests.differential.chain_recording import CHAIN_ID, FUNDED, GAS_LIMIT, PASSER, PEOPLE, T0, passer_code
from tests.differential.chain_sequence import recording

pytestmark = [
    pytest.mark.chain,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:SELFDESTRUCT:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def pair():
    """Play a recording on the tester; return recorder and tester."""
    recorder = recording(0)
    parameters = PyEVMBackend.generate_genesis_params({"timestamp": T0 - 1, "gas_limit": GAS_LIMIT})
    parameters["base_fee_per_gas"] = 0  # py-evm burns it; the tester's own function refuses the key
    plain = {"balance": FUNDED, "nonce": 0, "code": b"", "storage": {}}
    state = dict.fromkeys(PEOPLE, plain) | {PASSER: plain | {"balance": 0, "code": passer_code()}}
    backend = PyEVMBackend(genesis_parameters=parameters, genesis_state=state)
    backend.chain.chain_id = CHAIN_ID
    tester = EthereumTester(backend=backend)
    for block in recorder.blocks:
        pending = tester.get_block_by_number("pending")
        assert pending["number"] == block.number
        if pending["timestamp"] < block.timestamp:  # mines an empty block one second before it arrives
            assert not block.sent
            tester.time_travel(block.timestamp + 1)
            continue
        for sent in block.sent:
            backend.send_raw_transaction(sent.raw)
        tester.mine_block()
    return recorder, tester


def test_every_receipt(pair):
    recorder, tester = pair
    chain, compared = tester.backend.chain, 0
    for block in recorder.blocks:
        theirs = chain.get_canonical_block_by_number(block.number).get_receipts(chain.chaindb)
        assert len(theirs) == len(block.sent), block.number
        before = 0
        for sent, receipt in zip(block.sent, theirs, strict=True):
            ours = sent.receipt
            status = int(receipt.state_root == b"\x01")
            assert (ours.status, ours.gas_used) == (status, receipt.gas_used - before), sent
            assert [(log.address, log.topics, log.data) for log in ours.logs] == [
                (log.address, tuple(topic.to_bytes(32, "big") for topic in log.topics), log.data)
                for log in receipt.logs
            ], sent
            before = receipt.gas_used
            compared += 1
    assert compared >= 2_000


def test_receipts_as_the_tester_tells_them(pair):
    """The tester's own answers, for a few transactions: they take milliseconds each."""
    recorder, tester = pair
    for block in recorder.blocks[::100]:
        for sent in block.sent[:1]:
            theirs = tester.get_transaction_receipt("0x" + keccak(sent.raw).hex())
            assert (sent.receipt.status, sent.receipt.gas_used) == (theirs["status"], theirs["gas_used"])
            assert len(sent.receipt.logs) == len(theirs["logs"])
            assert theirs["block_number"] == block.number


def test_every_header(pair):
    recorder, tester = pair
    for block in recorder.blocks:
        ours = recorder.header(block.number)
        theirs = tester.backend.chain.get_canonical_block_header_by_number(block.number)
        assert (ours.timestamp, ours.receipts_root, ours.transactions_root, ours.bloom, ours.gas_used) == (
            theirs.timestamp, theirs.receipt_root, theirs.transaction_root, theirs.bloom, theirs.gas_used,
        ), block.number  # fmt: skip


def test_every_account(pair):
    """Balance, nonce, code and storage root of every account that a transaction named or created."""
    recorder, tester = pair
    chain = tester.backend.chain
    root = chain.get_canonical_head().state_root
    receipts = [sent.receipt for block in recorder.blocks for sent in block.sent]
    accounts = {receipt.to or receipt.contract_address for receipt in receipts} - {None} | {
        *PEOPLE,
        bytes(20),
    }
    accounts |= {log.address for receipt in receipts for log in receipt.logs}
    assert len(accounts) > 40
    for account in accounts:
        ours, theirs = recorder.chain.proof(account), account_proof(chain.chaindb.db, root, account, ())
        assert (ours.balance, ours.nonce, ours.code_hash, ours.storage_root) == (
            theirs.balance, theirs.nonce, theirs.code_hash, theirs.storage_root,
        ), account.hex()  # fmt: skip
