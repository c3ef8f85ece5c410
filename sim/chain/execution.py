"""Execution: one message through py-evm's Prague rules, and what came of it.

Rule decided here: the rules are py-evm's; only the envelope is ours, which needs no signature and no RLP, and the step
from envelope to first call, where py-evm hashes the calldata for a log line that nobody reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eth._utils.address import generate_contract_address
from eth.exceptions import Revert
from eth.vm.forks.prague.state import PragueState, PragueTransactionExecutor
from eth.vm.message import Message as EvmMessage

from sim.chain.intrinsic import start_gas
from sim.chain.message import DYNAMIC_FEE
from sim.chain.tracing import CallFrame, frame_of
from sim.chain.translated import TranslatedComputation

if TYPE_CHECKING:
    from sim.chain.message import AccessList, Message

REFUND_QUOTIENT = 5
"""At most this part of the gas is given back (EIP-3529)."""


@dataclass(frozen=True, slots=True)
class Execution:
    """What one execution did.

    Parameters
    ----------
    status, gas_used
        1 or 0; gas after refunds.
    output
        Return data, or revert data.
    created
        Address of a created contract.
    logs
        Address, topics and data of each event.
    error
        Name of what went wrong, or "".
    nonce, gas
        Of the transaction: its sender's count before it, and its limit.
    gas_spent
        Gas before refunds, which is what a limit has to cover at least.
    frame
        Its tree of calls, if it was traced.
    """

    status: int
    gas_used: int
    output: bytes
    created: bytes | None
    logs: tuple[tuple[bytes, tuple[int, ...], bytes], ...]
    error: str
    nonce: int
    gas: int
    gas_spent: int
    frame: CallFrame | None = None


class Envelope:
    """A message as py-evm reads a transaction.

    Parameters
    ----------
    message
        What is executed.
    nonce, gas
        Its sender's count, and its limit.
    """

    __slots__ = (
        "access_list", "data", "gas", "intrinsic_gas", "max_fee_per_gas", "max_priority_fee_per_gas", "nonce",
        "sender", "to", "value",
    )  # fmt: skip
    type_id = DYNAMIC_FEE
    s = 1  # py-evm looks at it; whoever signed was checked before

    def __init__(self, message: Message, nonce: int, gas: int) -> None:
        self.sender, self.to = message.sender, message.to or b""
        self.data, self.value = message.data, message.value
        self.nonce, self.gas = nonce, gas
        self.max_fee_per_gas = message.max_fee
        self.max_priority_fee_per_gas = message.max_priority_fee
        self.access_list: AccessList = message.access_list
        self.intrinsic_gas = start_gas(message)

    def validate(self) -> None:
        """Pass: fields are checked where they come from, the gas limit before execution."""


class Executor(PragueTransactionExecutor):
    """Prague's executor for envelopes."""

    def build_evm_message(self, transaction: Any) -> Any:
        """Buy gas, count the transaction and return the first call."""
        state, sender = self.vm_state, transaction.sender
        fee = transaction.gas * state.get_gas_price(transaction)
        if fee:
            state.delta_balance(sender, -fee)
        state.increment_nonce(sender)
        created: Any = None
        code, data, delegate = transaction.data, b"", None
        if transaction.to:
            code, delegate = self.get_code_at_address(transaction.to)
            data = transaction.data
        else:
            created = generate_contract_address(sender, state.get_nonce(sender) - 1)
        return EvmMessage(
            gas=transaction.gas - transaction.intrinsic_gas,
            to=transaction.to,
            sender=sender,
            value=transaction.value,
            data=data,
            code=code,
            create_address=created,
            is_delegation=delegate is not None,
        )


class State(PragueState):
    """Prague's state with the executor above."""

    computation_class = TranslatedComputation
    transaction_executor_class = Executor


def outcome(computation: Any, message: Message, nonce: int, gas: int, traced: bool) -> Execution:
    """Return what a finished computation did.

    The refund is taken before the floor that calldata costs, as EIP-7623 says; py-evm's own sum takes it after.
    """
    failed = computation.is_error
    spent = gas - computation.get_gas_remaining()
    refund = min(computation.get_gas_refund(), spent // REFUND_QUOTIENT)
    keeps_output = not failed or isinstance(computation.error, Revert)
    return Execution(
        status=0 if failed else 1,
        gas_used=spent - refund + computation.data_floor_gas,
        output=bytes(computation.output) if keeps_output else b"",
        created=computation.msg.storage_address if message.to is None and not failed else None,
        logs=tuple((a, tuple(t), bytes(d)) for a, t, d in computation.get_log_entries()),
        error=type(computation.error).__name__ if failed else "",
        nonce=nonce,
        gas=gas,
        gas_spent=spent + computation.data_floor_gas,
        frame=frame_of(computation) if traced else None,
    )
