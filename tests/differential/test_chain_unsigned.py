"""Unsigned transactions, by which the simulation drives the chain, do what signed ones without a fee do."""

from __future__ import annotations

from collections import defaultdict

import pytest

pytest.importorskip("eth_account")

from sim.chain.evm import Chain
from tests.differential.chain_recording import CHAIN_ID, FUNDED, GAS_LIMIT, PASSER, PEOPLE, T0, passer_code
from tests.differential.chain_sequence import WEIGHTS, recording

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:SELFDESTRUCT:DeprecationWarning")]

NEVER_REFUSED = {"deploy", "fill", "program", "OPEN.approve", "Timelock.grantRole", "Timelock.renounceRole"}


@pytest.fixture(scope="module")
def recorder():
    return recording(0)


def test_same_receipts_and_state(recorder):
    chain = Chain(
        chain_id=CHAIN_ID, genesis_time=T0, balances=dict.fromkeys(PEOPLE, FUNDED), block_gas_limit=GAS_LIMIT,
        sealed=True,
    )  # fmt: skip
    chain.set_code(PASSER, passer_code())
    accounts = set(PEOPLE)
    for block in recorder.blocks:
        if block.timestamp > chain.time:
            chain.set_time(block.timestamp)
        for sent in block.sent:
            signed = sent.receipt
            message = recorder.chain.blocks.transactions[signed.index].message
            if message.access_list:  # an unsigned transaction names nothing beforehand
                chain.include(recorder.chain.blocks.transactions[signed.index])
                continue
            receipt = chain.send(message.sender, message.to, message.data, message.value, message.gas)
            assert receipt == signed, sent.kind
            accounts |= {receipt.to or receipt.contract_address, *(log.address for log in receipt.logs)}
    for account in accounts - {None}:
        ours, theirs = chain.proof(account), recorder.chain.proof(account)
        assert (ours.balance, ours.nonce, ours.code_hash, ours.storage_root) == (
            theirs.balance, theirs.nonce, theirs.code_hash, theirs.storage_root,
        )  # fmt: skip


def test_every_kind_was_drawn_with_both_outcomes(recorder):
    outcomes = defaultdict(set)
    for block in recorder.blocks:
        for sent in block.sent:
            outcomes[sent.kind].add(sent.receipt.status)
    both = set(outcomes) - NEVER_REFUSED
    assert {kind for kind in both if outcomes[kind] != {0, 1}} == set()
    assert all(1 in outcomes[kind] for kind in NEVER_REFUSED)
    assert len(outcomes) > len(WEIGHTS)
    types = {transaction.type for transaction in recorder.chain.blocks.transactions}
    assert types == {0, 1, 2}
    assert any(len(block.sent) > 4 for block in recorder.blocks)
