"""Transactions: signed ones (types 0, 1 and 2) and unsigned ones, as values and as bytes.

Rule decided here: a signed transaction is taken only with this chain's id in it, a low s and a sender that its
signature gives; refusals use the words of go-ethereum, which wallets recognise. A transaction without a signature
(the sandbox acts for any address; a deposit comes from L1) has the OP Stack's envelope of type 0x7E, whose source
hash makes it unique: that of its deposit, or of sender and nonce.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import rlp
from eth._utils.transactions import extract_chain_id, is_eip_155_signed_transaction
from eth.constants import SECPK1_N
from eth.exceptions import UnrecognizedTransactionType
from eth.vm.forks.prague.transactions import PragueTransactionBuilder
from eth_keys.exceptions import BadSignature
from eth_utils.exceptions import ValidationError

from sim.chain.addresses import hex_address, keccak
from sim.chain.backend import ChainError
from sim.chain.intrinsic import floor_gas, intrinsic_gas
from sim.chain.message import (
    ACCESS_LIST,
    DYNAMIC_FEE,
    LEGACY,
    UNSIGNED,
    BlockEnv,
    Message,
    Rules,
    Transaction,
)

if TYPE_CHECKING:
    from sim.chain.message import AccessList

TYPES = (LEGACY, ACCESS_LIST, DYNAMIC_FEE)

INITCODE_BYTES_MAX = 49_152
"""Longest creation code (EIP-3860)."""


class TransactionRefused(ChainError):  # noqa: N818 - what happened to it
    """A transaction that may not enter a block; the text is what a node would say."""


def encode(transaction: Transaction, chain_id: int) -> bytes:
    """Return the bytes whose hash names a transaction and that its block's root is made of."""
    if transaction.raw:
        return transaction.raw
    message = transaction.message
    fields = [
        source_hash(transaction, chain_id), message.sender, message.to or b"", transaction.mint, message.value,
        transaction.gas, 0, message.data,
    ]  # fmt: skip
    return bytes([UNSIGNED]) + bytes(rlp.encode(fields))


def source_hash(transaction: Transaction, chain_id: int) -> bytes:
    """Return what makes a transaction without a signature unique, 32 bytes."""
    if transaction.source_hash:
        return transaction.source_hash
    sender, nonce = transaction.message.sender, transaction.nonce
    return keccak(b"olsim:unsigned:" + chain_id.to_bytes(32, "big") + sender + nonce.to_bytes(32, "big"))


def decode(raw: bytes, chain_id: int) -> Transaction:
    """Return a signed transaction.

    Parameters
    ----------
    raw
        As `eth_sendRawTransaction` takes it.
    chain_id
        The only chain whose transactions are taken.

    Raises
    ------
    TransactionRefused
        If it is not a transaction of a known type, its signature is not valid, or it is for another chain or any.
    """
    inner = _parse(raw)
    type_id = LEGACY if inner.type_id is None else int(inner.type_id)
    _check_chain(inner, type_id, chain_id)
    message = Message(
        sender=_sender(inner),
        to=bytes(inner.to) or None,
        data=bytes(inner.data),
        value=int(inner.value),
        gas=int(inner.gas),
        max_fee=int(inner.max_fee_per_gas),
        max_priority_fee=int(inner.max_priority_fee_per_gas),
        access_list=_access_list(inner),
    )
    v = int(inner.v) if type_id == LEGACY else int(inner.y_parity)
    signature = (v, int(inner.r), int(inner.s))
    return Transaction(message, int(inner.nonce), type_id, raw=raw, signature=signature)


def _parse(raw: bytes) -> Any:
    if not raw:
        raise TransactionRefused("typed transaction too short")
    if raw[0] < 0xC0 and raw[0] not in TYPES[1:]:
        raise TransactionRefused(f"transaction type not supported: {raw[0]}; expected one of {TYPES}")
    try:
        inner = PragueTransactionBuilder.decode(raw)
        # Reading a lazy field is what shows that it is malformed.
        assert inner.nonce >= 0
    except (
        rlp.exceptions.RLPException, ValidationError, UnrecognizedTransactionType, RecursionError,
        TypeError, ValueError, IndexError,
    ) as error:  # fmt: skip
        raise TransactionRefused(f"not a transaction: {type(error).__name__}") from error
    wide = (inner.value, inner.max_fee_per_gas, inner.max_priority_fee_per_gas, inner.r, inner.s)
    if max(wide) >= 2**256 or inner.gas >= 2**64 or inner.nonce >= 2**64 - 1:
        raise TransactionRefused("a field of the transaction is out of range")
    return inner


def _check_chain(inner: Any, type_id: int, chain_id: int) -> None:
    if type_id == LEGACY and not is_eip_155_signed_transaction(inner):
        raise TransactionRefused("only replay-protected (EIP-155) transactions allowed over RPC")
    have = extract_chain_id(int(inner.v)) if type_id == LEGACY else int(inner.chain_id)
    if have != chain_id:
        raise TransactionRefused(f"invalid chain id for signer: have {have} want {chain_id}")


def _sender(inner: Any) -> bytes:
    if not 0 < inner.r < SECPK1_N or not 0 < inner.s <= SECPK1_N // 2 or inner.y_parity not in (0, 1):
        raise TransactionRefused("invalid transaction v, r, s values")
    try:
        return bytes(inner.sender)
    except (BadSignature, ValidationError, ValueError) as error:
        raise TransactionRefused("invalid transaction v, r, s values") from error


def _access_list(inner: Any) -> AccessList:
    return tuple((bytes(address), tuple(int(slot) for slot in slots)) for address, slots in inner.access_list)


def check(
    transaction: Transaction, rules: Rules, env: BlockEnv, *, balance: int, nonce: int, has_code: bool
) -> None:
    """Refuse a transaction that may not enter a block.

    Parameters
    ----------
    transaction
        The transaction; without a signature it may come from a contract and pays no fee.
    rules, env
        Of the chain, and of the block.
    balance, nonce, has_code
        Of the sender. A nonce above the sender's is not looked at here: it may wait.

    Raises
    ------
    TransactionRefused
        With the first thing that is wrong.
    """
    _check_gas(transaction, rules)
    message, who = transaction.message, hex_address(transaction.message.sender)
    if transaction.nonce < nonce:
        raise TransactionRefused(f"nonce too low: address {who}, tx: {transaction.nonce} state: {nonce}")
    if transaction.type != UNSIGNED:
        if has_code:
            raise TransactionRefused(f"sender not an eoa: address {who}")
        _check_fees(message, env, who)
    cost = transaction.gas * message.max_fee + message.value
    if balance < cost:
        raise TransactionRefused(
            f"insufficient funds for gas * price + value: address {who} have {balance} want {cost}"
        )


def _check_fees(message: Message, env: BlockEnv, who: str) -> None:
    if message.max_priority_fee > message.max_fee:
        raise TransactionRefused(
            f"max priority fee per gas higher than max fee per gas: address {who}, maxPriorityFeePerGas:"
            f" {message.max_priority_fee}, maxFeePerGas: {message.max_fee}"
        )
    if message.max_fee < env.base_fee:
        raise TransactionRefused(
            f"max fee per gas less than block base fee: address {who}, maxFeePerGas: {message.max_fee},"
            f" baseFee: {env.base_fee}"
        )


def _check_gas(transaction: Transaction, rules: Rules) -> None:
    message = transaction.message
    if message.to is None and len(message.data) > INITCODE_BYTES_MAX:
        raise TransactionRefused(
            f"max initcode size exceeded: code size {len(message.data)}, limit {INITCODE_BYTES_MAX}"
        )
    if transaction.gas > rules.gas_limit:
        raise TransactionRefused(f"exceeds block gas limit: {transaction.gas} > {rules.gas_limit}")
    start, floor = intrinsic_gas(message), floor_gas(message)
    if transaction.gas < start:
        raise TransactionRefused(f"intrinsic gas too low: have {transaction.gas}, want {start}")
    if transaction.gas < floor:
        raise TransactionRefused(
            f"insufficient gas for floor data gas cost: have {transaction.gas}, want {floor}"
        )
