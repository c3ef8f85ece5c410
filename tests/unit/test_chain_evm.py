"""The chain class: clock, receipts, snapshots, events, and what cannot be included."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("eth")

from sim.chain.abi import ContractAbi, Reverted
from sim.chain.addresses import DEAD_ADDRESS, address_of, hex_address, to_address
from sim.chain.backend import ChainError, InsufficientFunds, Log
from sim.chain.clients.gopen import Gopen
from sim.chain.clients.open_token import OpenToken
from sim.chain.evm import Chain
from sim.chain.logindex import LogIndex

ALICE, BOB = address_of("alice"), address_of("bob")
OPEN = 10**18


@pytest.fixture
def chain():
    return Chain(chain_id=900_161, genesis_time=1_757_289_600, balances={ALICE: 100 * OPEN})


@pytest.fixture
def token(chain):
    return OpenToken.deploy(chain, ALICE, name="OpenLedger", symbol="OPEN", cap_wei=10**27, holder=ALICE)


def test_transfers_cost_what_they_cost_and_nothing_is_lost(chain):
    receipt = chain.send(ALICE, BOB, value=40 * OPEN)
    assert (receipt.status, receipt.gas_used) == (1, 21_000)
    assert (chain.balance(ALICE), chain.balance(BOB)) == (60 * OPEN, 40 * OPEN)


def test_gas_of_later_transactions_is_not_cheaper_for_being_later(chain, token):
    """Without locking, storage stays warm and the second transfer reports too little."""
    gas = [token.transfer(ALICE, BOB, 5).gas_used for _ in range(3)]
    assert gas == [51_575, 34_475, 34_475]


def test_reads_change_nothing(chain, token):
    before = chain.state_root()
    assert token.balance_of(ALICE) == 10**27
    assert chain.call(token.address, token.abi.encode_call("transfer", BOB, 5), sender=ALICE).status == 1
    assert chain.state_root() == before


def test_a_value_that_the_sender_does_not_have_is_refused_with_both_amounts(chain):
    with pytest.raises(InsufficientFunds, match=f"has {100 * OPEN} wei and sends {101 * OPEN} wei"):
        chain.send(ALICE, BOB, value=101 * OPEN)
    assert chain.transaction_count == 0


def test_a_gas_limit_below_the_start_is_refused_and_changes_nothing(chain):
    before = chain.state_root()
    with pytest.raises(ChainError, match="cannot be included: gas limit 20999 is below the 21000"):
        chain.send(ALICE, BOB, gas=20_999)
    assert (chain.state_root(), chain.nonce(ALICE)) == (before, 0)


def test_a_revert_is_a_receipt_and_is_named_from_the_abi(chain, token):
    data = token.abi.encode_call("transfer", BOB, 7)
    receipt = chain.send(BOB, token.address, data)
    assert (receipt.status, receipt.logs) == (0, ())
    error = token.abi.decode_revert(receipt.output)
    assert (error.error, error.arguments) == (
        "ERC20InsufficientBalance",
        {"sender": BOB, "balance": 0, "needed": 7},
    )
    with pytest.raises(Reverted, match=r"OPEN.transfer: reverted with ERC20InsufficientBalance"):
        token.transfer(BOB, ALICE, 7)


def test_unknown_revert_data_is_shown_as_bytes():
    assert "data 0xdeadbeef" in str(ContractAbi([]).decode_revert(bytes.fromhex("deadbeef")))


def test_solidity_s_own_errors_are_named():
    data = bytes.fromhex("4e487b71") + (0x11).to_bytes(32, "big")
    assert ContractAbi([]).decode_revert(data).arguments == {"code": 0x11}


def test_time_is_explicit_and_never_goes_back(chain):
    chain.set_time(chain.time + 86_400 * 365)
    assert chain.block_number == 2
    with pytest.raises(ChainError, match="is not after the present block"):
        chain.set_time(chain.time)


def test_snapshots_hold_over_transactions_and_time(chain, token):
    token.transfer(ALICE, BOB, 5)
    mark = chain.snapshot()
    later = chain.snapshot()
    time, block, count, events = chain.time, chain.block_number, chain.transaction_count, chain.logs()
    chain.set_time(time + 10)
    token.transfer(ALICE, BOB, 6)
    chain.send(ALICE, BOB, value=3)
    chain.revert(mark)
    assert (chain.time, chain.block_number, chain.transaction_count) == (time, block, count)
    assert chain.logs() == events
    assert (token.balance_of(BOB), chain.balance(BOB)) == (5, 0)
    assert token.transfer(ALICE, BOB, 6).gas_used == 34_475
    with pytest.raises(ChainError, match=f"snapshot {later} is unknown"):
        chain.revert(later)
    chain.revert(mark)
    assert token.balance_of(BOB) == 5


def test_events_are_decoded_with_indexed_arguments(chain):
    gopen = Gopen.deploy(chain, BOB)
    receipt = gopen.deposit(ALICE, 3 * OPEN)
    event = gopen.event(receipt, "Deposit")
    assert (event.address, event.arguments) == (gopen.address, {"account": ALICE, "amount": 3 * OPEN})
    with pytest.raises(LookupError, match="0 events Withdrawal"):
        gopen.event(receipt, "Withdrawal")


def test_plain_coins_are_wrapped_too(chain):
    gopen = Gopen.deploy(chain, BOB)
    chain.send(ALICE, gopen.address, value=2 * OPEN)
    assert gopen.balance_of(ALICE) == gopen.total_supply() == chain.balance(gopen.address) == 2 * OPEN


def test_log_queries_equal_a_walk_through_all_logs():
    index, logs = LogIndex(), []
    for i in range(300):
        topics = (bytes([i % 3]) * 32, bytes([i % 7]) * 32)[: 1 + i % 2]
        logs.append(Log(bytes([i % 5]) * 20, topics, b"", i // 10, i, i))
    index.extend(logs)
    for address in (None, b"\x02" * 20, b"\x09" * 20):
        for topics in ((), (b"\x01" * 32,), (None, b"\x03" * 32), (b"\x02" * 32, b"\x05" * 32)):
            expected = [
                log
                for log in logs
                if 4 <= log.block_number <= 25
                and (address is None or log.address == address)
                and len(log.topics) >= len(topics)
                and all(t in (None, found) for t, found in zip(topics, log.topics, strict=False))
            ]
            chosen = [() if topic is None else (topic,) for topic in topics]
            assert index.query(4, 25, () if address is None else (address,), chosen) == expected
    several = {b"\x01" * 20, b"\x03" * 20}
    either = [(), {b"\x03" * 32, b"\x05" * 32}]
    assert index.query(0, 99, several, either) == [
        log for log in logs if log.address in several and len(log.topics) == 2 and log.topics[1] in either[1]
    ]
    index.truncate(100)
    assert index.query(0, 99) == logs[:100]
    assert index.query(0, 99, (b"\x02" * 20,)) == [log for log in logs[:100] if log.address == b"\x02" * 20]
    index.extend(logs[100:])
    assert index.query(0, 99) == logs


def test_addresses_are_read_and_written_with_their_checksum():
    assert hex_address(DEAD_ADDRESS) == "0x000000000000000000000000000000000000dEaD"
    assert to_address("0x" + ALICE.hex()) == ALICE
    with pytest.raises(ValueError, match="19 bytes; expected 20"):
        to_address("0x" + "ab" * 19)


def test_the_package_and_its_command_import_without_any_ethereum_library():
    code = (
        "import sys\n"
        "for name in ('eth', 'eth_abi', 'eth_hash', 'eth_utils', 'web3'): sys.modules[name] = None\n"
        "import sim, sim.chain, sim.chain.cli, sim.chain.witness, sim.chain.gateway, sim.chain.plan\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
