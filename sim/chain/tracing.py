"""Tracing: the tree of calls that an execution made.

Rule decided here: a frame is read from the finished execution, in the words that tools know from go-ethereum's
`callTracer`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from eth.exceptions import OutOfGas, Revert

KINDS = {
    0xF0: "CREATE",
    0xF1: "CALL",
    0xF2: "CALLCODE",
    0xF4: "DELEGATECALL",
    0xF5: "CREATE2",
    0xFA: "STATICCALL",
}


@dataclass(frozen=True, slots=True)
class FrameLog:
    """An event of a frame: address, topics, data, and its number within the transaction."""

    address: bytes
    topics: tuple[bytes, ...]
    data: bytes
    index: int


@dataclass(frozen=True, slots=True)
class CallFrame:
    """One call with those that it made.

    Parameters
    ----------
    kind
        Opcode that made it; the transaction itself is a CALL or a CREATE.
    sender, to
        Who called; whose code ran, or the address that was created (None if that failed).
    value
        Native coins sent, wei; None for a static call, which sends none.
    gas, gas_used
        Gas given and gas used before refunds.
    data, output
        Calldata or creation code; return or revert data.
    error
        Why it failed, or "".
    calls
        In order.
    logs
        Events of this frame alone, those of failed calls included.
    """

    kind: str
    sender: bytes
    to: bytes | None
    value: int | None
    gas: int
    gas_used: int
    data: bytes
    output: bytes
    error: str
    calls: tuple[CallFrame, ...]
    logs: tuple[FrameLog, ...]


def frame_of(computation: Any) -> CallFrame:
    """Return the frame of a finished traced computation."""
    message = computation.msg
    kind = "CREATE" if message.is_create and message.depth == 0 else KINDS[computation.opcode]
    failed = computation.is_error
    delegated = kind in ("DELEGATECALL", "CALLCODE")
    to = message.storage_address if message.is_create else message.code_address
    return CallFrame(
        kind=kind,
        sender=bytes(message.storage_address if delegated else message.sender),
        to=None if failed and message.is_create else bytes(to),
        value=None if kind == "STATICCALL" else int(message.value),
        gas=int(message.gas),
        gas_used=int(computation.get_gas_used()),
        data=bytes(message.code if message.is_create else message.data),
        output=bytes(computation.output),
        error=_error(computation.error) if failed else "",
        calls=tuple(frame_of(child) for child in computation.children),
        logs=tuple(
            FrameLog(address, tuple(t.to_bytes(32, "big") for t in topics), bytes(data), number)
            for number, address, topics, data in computation._log_entries
        ),
    )


def _error(error: Exception) -> str:
    """Return a failure in the words that tools know."""
    if isinstance(error, Revert):
        return "execution reverted"
    if isinstance(error, OutOfGas):
        return "out of gas"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
