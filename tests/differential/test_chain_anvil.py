"""Our chain against anvil (revm): the same signed transactions in the same blocks, 2,000 without fees and with them."""

from __future__ import annotations

import gzip
import json

import pytest

pytest.importorskip("eth_account")

from sim.chain.addresses import keccak
from sim.chain.header import EMPTY_TRIE_ROOT, next_base_fee
from tests.differential.anvil_node import anvil, needs_anvil
from tests.differential.chain_recording import (
    CHAIN_ID,
    FUNDED,
    GAS_LIMIT,
    PASSER,
    PEOPLE,
    T0,
    passer_code,
    storage_root,
)
from tests.differential.chain_sequence import recording

pytestmark = [
    pytest.mark.slow,
    needs_anvil,
    pytest.mark.filterwarnings("ignore:SELFDESTRUCT:DeprecationWarning"),
]

GWEI = 10**9
HISTORY = "0x0000f90827f1c53a10cb7a02335b175320002935"
"""anvil fills the contract of EIP-2935 in its own way; what it holds depends on its genesis."""


def genesis(base_fee):
    account = {"balance": hex(FUNDED), "nonce": "0x0"}
    alloc = {f"0x{person.hex()}": account for person in PEOPLE}
    alloc[f"0x{PASSER.hex()}"] = {"balance": "0x0", "nonce": "0x0", "code": f"0x{passer_code().hex()}"}
    return {
        "config": {"chainId": CHAIN_ID}, "timestamp": hex(T0 - 1), "gasLimit": hex(GAS_LIMIT),
        "baseFeePerGas": hex(base_fee), "difficulty": "0x0", "nonce": "0x0", "extraData": "0x",
        "mixHash": f"0x{0:064x}", "coinbase": f"0x{0:040x}", "alloc": alloc,
    }  # fmt: skip


@pytest.fixture(scope="module", params=[0, GWEI], ids=["free", "fees"])
def pair(request, tmp_path_factory):
    """Play a recording on a node; yield recorder, node and the node's blocks."""
    recorder = recording(request.param)
    path = tmp_path_factory.mktemp("anvil") / "genesis.json"
    path.write_text(json.dumps(genesis(request.param)))
    first_fee = next_base_fee(request.param, 0, GAS_LIMIT)
    options = (
        "--no-mining", "--order", "fifo", "--init", str(path), "--chain-id", str(CHAIN_ID),
        "--gas-limit", str(GAS_LIMIT), "--gas-price", "0", "--block-base-fee-per-gas", str(first_fee),
        "--disable-default-create2-deployer", "--disable-min-priority-fee",
    )  # fmt: skip
    with anvil(*options) as node:
        yield recorder, node, played(node, recorder.blocks)


def played(node, blocks):
    """Give the node the transactions and return its blocks with their receipts."""
    for block in blocks:
        for sent in block.sent:
            node("eth_sendRawTransaction", f"0x{sent.raw.hex()}")
        node("evm_setNextBlockTimestamp", block.timestamp)
        node("evm_mine")
    numbers = [hex(block.number) for block in blocks]
    headers = node.each("eth_getBlockByNumber", [(number, False) for number in numbers])
    receipts = node.each("eth_getBlockReceipts", [(number,) for number in numbers])
    return list(zip(headers, receipts, strict=True))


def test_every_receipt(pair):
    recorder, _, theirs = pair
    compared = 0
    for block, (_, receipts) in zip(recorder.blocks, theirs, strict=True):
        assert len(receipts) == len(block.sent), block.number
        for sent, receipt in zip(block.sent, receipts, strict=True):
            ours = sent.receipt
            assert (ours.status, ours.gas_used) == (
                int(receipt["status"], 16),
                int(receipt["gasUsed"], 16),
            ), sent
            if ours.contract_address:
                assert f"0x{ours.contract_address.hex()}" == receipt["contractAddress"]
            assert [
                (f"0x{log.address.hex()}", [f"0x{t.hex()}" for t in log.topics], f"0x{log.data.hex()}")
                for log in ours.logs
            ] == [(log["address"], log["topics"], log["data"]) for log in receipt["logs"]], sent
            compared += 1
    assert compared >= 2_000
    statuses = [sent.receipt.status for block in recorder.blocks for sent in block.sent]
    assert 0.1 < statuses.count(0) / len(statuses) < 0.45


def test_every_header(pair):
    recorder, _, theirs = pair
    for block, (header, _) in zip(recorder.blocks, theirs, strict=True):
        ours = recorder.header(block.number)
        assert int(header["timestamp"], 16) == block.timestamp
        expected = {
            "receiptsRoot": f"0x{ours.receipts_root.hex()}",
            "transactionsRoot": f"0x{ours.transactions_root.hex()}",
            "logsBloom": f"0x{ours.bloom:0512x}",
            "gasUsed": hex(ours.gas_used),
            "baseFeePerGas": hex(ours.base_fee),
        }
        assert {name: header[name] for name in expected} == expected, block.number


def test_every_account(pair):
    """Balance, nonce, code and every word that is not 0, of every account that the node has."""
    recorder, node, _ = pair
    accounts = json.loads(gzip.decompress(bytes.fromhex(node("anvil_dumpState")[2:])))["accounts"]
    for own in (HISTORY, *node("eth_accounts")):
        accounts.pop(own.lower())
    chain, held, written = recorder.chain, 0, 0
    for name, account in accounts.items():
        address = bytes.fromhex(name[2:])
        slots = {int(slot, 16): int(value, 16) for slot, value in account["storage"].items()}
        proof = chain.proof(address)
        theirs = (
            int(account["balance"], 16), int(account["nonce"]),
            keccak(bytes.fromhex(account["code"][2:])), storage_root(slots),
        )  # fmt: skip
        assert (proof.balance, proof.nonce, proof.code_hash, proof.storage_root) == theirs, name
        held += proof.balance
        written += proof.storage_root != EMPTY_TRIE_ROOT
    assert written >= 8
    burned = sum(
        recorder.header(b.number).base_fee * recorder.header(b.number).gas_used for b in recorder.blocks
    )
    assert held + burned == FUNDED * len(PEOPLE)
