"""Signed transactions: three types are executed as their fields say, and what is wrong with one is refused in a node's
words with nothing changed."""

from __future__ import annotations

import pytest

pytest.importorskip("eth")
pytest.importorskip("eth_account")

import rlp
from eth.constants import SECPK1_N
from eth_account import Account

from sim.chain.addresses import address_of, hex_address, keccak
from sim.chain.backend import ChainError
from sim.chain.clients.open_token import OpenToken
from sim.chain.evm import Chain
from sim.chain.intrinsic import floor_gas, intrinsic_gas
from sim.chain.message import UNSIGNED, Message, Transaction
from sim.chain.transactions import TransactionRefused, decode, encode

CHAIN_ID, OPEN = 900_161, 10**18
ACCOUNT = Account.from_key(bytes(31) + b"\x07")
SIGNER, BOB = bytes.fromhex(ACCOUNT.address[2:]), address_of("bob")
TO = hex_address(BOB)
FEES = {
    0: {"gasPrice": 0},
    1: {"gasPrice": 0, "accessList": []},
    2: {"maxFeePerGas": 0, "maxPriorityFeePerGas": 0},
}


@pytest.fixture
def chain():
    return Chain(chain_id=CHAIN_ID, genesis_time=1_757_289_600, balances={SIGNER: 100 * OPEN}, sealed=True)


def sign(type_id=2, **fields):
    whole = {
        "chainId": CHAIN_ID,
        "nonce": 0,
        "gas": 60_000,
        "to": TO,
        "value": 7,
        "data": b"",
        **FEES[type_id],
    }
    whole |= {} if type_id == 0 else {"type": type_id}
    return bytes(ACCOUNT.sign_transaction({**whole, **fields}).raw_transaction)


@pytest.mark.parametrize("type_id", [0, 1, 2])
def test_each_type_is_executed(chain, type_id):
    slots = ["0x" + "01".rjust(64, "0"), "0x" + "02".rjust(64, "0")]
    listed = {"accessList": [{"address": TO, "storageKeys": slots}]} if type_id else {}
    raw = sign(type_id, **listed)
    receipt = chain.send_signed(raw)
    assert (receipt.status, receipt.sender, receipt.to) == (1, SIGNER, BOB)
    assert receipt.gas_used == 21_000 + (2_400 + 2 * 1_900 if type_id else 0)
    assert (chain.balance(BOB), chain.nonce(SIGNER)) == (7, 1)
    assert chain.blocks.transaction_hash(0) == keccak(raw)
    assert chain.blocks.find(keccak(raw)) == 0
    transaction = chain.blocks.transactions[0]
    assert (transaction.type, transaction.nonce, transaction.raw) == (type_id, 0, raw)


def test_a_creation_and_a_revert_are_receipts(chain):
    token = OpenToken.deploy(chain, SIGNER, name="OpenLedger", symbol="OPEN", cap_wei=10**27, holder=BOB)
    data = token.abi.encode_call("transfer", BOB, 5)
    failed = chain.send_signed(sign(nonce=1, to=hex_address(token.address), data=data, value=0))
    assert (failed.status, failed.logs) == (0, ())
    assert token.abi.decode_revert(failed.output).error == "ERC20InsufficientBalance"
    made = chain.send_signed(
        sign(nonce=2, to="", data=bytes.fromhex("600a600c600039600a6000f3602a60005260206000f3"))
    )
    assert (made.status, chain.code(made.contract_address).hex()) == (1, "602a60005260206000f3")


def _with_fields(raw, **changes):
    """Return a dynamic-fee transaction with other fields under the old signature."""
    names = ("chain", "nonce", "tip", "fee", "gas", "to", "value", "data", "list", "parity", "r", "s")
    fields = dict(zip(names, rlp.decode(raw[1:]), strict=True))
    return b"\x02" + rlp.encode([*{**fields, **changes}.values()])


UNPROTECTED = {"nonce": 0, "gas": 60_000, "to": TO, "value": 7, "gasPrice": 0}
HIGH_S = (SECPK1_N // 2 + 1).to_bytes(32, "big")
WRONG = {
    "wrong chain": (sign(chainId=1), "invalid chain id for signer: have 1 want 900161"),
    "wrong chain, legacy": (sign(0, chainId=1), "invalid chain id for signer: have 1 want 900161"),
    "any chain": (
        bytes(ACCOUNT.sign_transaction(UNPROTECTED).raw_transaction),
        "only replay-protected",
    ),
    "nonce ahead": (sign(nonce=3), "nonce too high: address .*, tx: 3 state: 0"),
    "no gas to begin": (sign(gas=20_999), "intrinsic gas too low: have 20999, want 21000"),
    "no gas for calldata": (sign(gas=22_000, data=b"\x01" * 60), "floor data gas cost: have 22000, want 23400"),
    "more than a block": (sign(gas=60_000_001), "exceeds block gas limit: 60000001 > 60000000"),
    "too much value": (sign(value=101 * OPEN), r"insufficient funds for gas \* price \+ value: .* want 101"),
    "too dear": (sign(maxFeePerGas=OPEN), "insufficient funds"),
    "tip above fee": (sign(maxFeePerGas=1, maxPriorityFeePerGas=2), "max priority fee per gas higher than max fee"),
    "long creation": (sign(to="", data=bytes(49_153), gas=10**7), "max initcode size exceeded: code size 49153"),
    "signature of another": (_with_fields(sign(), value=b"\x08"), "insufficient funds"),
    "high s": (_with_fields(sign(), s=HIGH_S), "invalid transaction v, r, s"),
    "no signature": (_with_fields(sign(), r=b"", s=b""), "invalid transaction v, r, s"),
    "parity 2": (_with_fields(sign(), parity=b"\x02"), "invalid transaction v, r, s"),
    "long address": (_with_fields(sign(), to=bytes(21)), "not a transaction"),
    "huge value": (_with_fields(sign(), value=b"\x01" * 33), "out of range"),
    "blobs": (b"\x03" + sign()[1:], "transaction type not supported: 3"),
    "unknown type": (b"\x7e" + sign()[1:], "transaction type not supported: 126"),
    "nothing": (b"", "typed transaction too short"),
    "text": (b"hello", "transaction type not supported: 104"),
    "cut off": (sign()[:-1], "not a transaction"),
    "too long": (sign() + b"\x00", "not a transaction"),
    "a list": (rlp.encode([]), "not a transaction"),
    "lists for fields": (rlp.encode([[]] * 9), "not a transaction"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_refused_and_nothing_changes(chain, name):
    raw, words = WRONG[name]
    before = (chain.state_root(), chain.transaction_count, chain.block_number)
    with pytest.raises(TransactionRefused, match=words):
        chain.send_signed(raw)
    assert (chain.state_root(), chain.transaction_count, chain.block_number) == before


def test_a_nonce_is_used_once(chain):
    chain.send_signed(sign())
    with pytest.raises(TransactionRefused, match=r"nonce too low: address .*, tx: 0 state: 1"):
        chain.send_signed(sign())


def test_an_account_with_code_does_not_sign(chain):
    chain.set_code(SIGNER, b"\x00")
    with pytest.raises(TransactionRefused, match="sender not an eoa"):
        chain.send_signed(sign())
    chain.set_code(SIGNER, bytes.fromhex("ef0100") + BOB)
    assert chain.send_signed(sign()).status == 1


def test_a_fee_below_the_base_fee_is_refused():
    chain = Chain(chain_id=CHAIN_ID, genesis_time=1, balances={SIGNER: OPEN}, base_fee=1_000)
    with pytest.raises(
        TransactionRefused,
        match=r"max fee per gas less than block base fee: .* maxFeePerGas: 874, baseFee: 875",
    ):
        chain.send_signed(sign(maxFeePerGas=874))
    assert chain.send_signed(sign(maxFeePerGas=875)).status == 1


def test_unsigned_transactions_are_told_apart_by_sender_and_nonce(chain):
    chain.set_balance(BOB, OPEN)
    for sender in (SIGNER, BOB, SIGNER):
        chain.send(sender, address_of("carol"), value=1)
    hashes = [chain.blocks.transaction_hash(i) for i in range(3)]
    assert len(set(hashes)) == 3
    assert encode(chain.blocks.transactions[0], CHAIN_ID)[0] == UNSIGNED
    elsewhere = keccak(encode(chain.blocks.transactions[0], CHAIN_ID + 1))
    assert elsewhere != hashes[0]


def test_a_deposit_is_named_by_its_source(chain):
    source = keccak(b"source")
    receipt = chain.execute_deposit(BOB, SIGNER, mint=9, value=4, gas=50_000, source_hash=source)
    assert (receipt.status, chain.balance(BOB)) == (1, 5)
    body = rlp.decode(encode(chain.blocks.transactions[0], CHAIN_ID)[1:])
    assert body == [source, BOB, SIGNER, b"\x09", b"\x04", (50_000).to_bytes(2, "big"), b"", b""]
    failed = chain.execute_deposit(BOB, SIGNER, mint=1, value=OPEN, gas=50_000)
    assert (failed.status, chain.balance(BOB), chain.nonce(BOB)) == (0, 6, 2)


def test_calldata_has_a_floor_price(chain):
    """EIP-7623: 40 gas a byte that is not zero, where execution itself is cheaper."""
    data = b"\x01" * 1_000
    receipt = chain.send_signed(sign(data=data, gas=100_000))
    message = Message(SIGNER, BOB, data)
    assert (intrinsic_gas(message), floor_gas(message)) == (21_000 + 16_000, 21_000 + 40_000)
    assert receipt.gas_used == 61_000


def test_decoding_gives_the_sender_and_the_fields():
    transaction = decode(sign(maxFeePerGas=9, maxPriorityFeePerGas=4, data=b"ab"), CHAIN_ID)
    message = transaction.message
    assert (message.sender, message.to, message.data, message.value) == (SIGNER, BOB, b"ab", 7)
    assert (message.max_fee, message.max_priority_fee, transaction.price(3)) == (9, 4, 7)
    assert Transaction(message, 0).price(0) == 4


def test_an_unsigned_transaction_out_of_turn_is_refused(chain):
    with pytest.raises(ChainError, match="nonce too high"):
        chain.include(Transaction(Message(SIGNER, BOB, gas=21_000), 1))
