"""Errors of JSON-RPC: which number stands for what.

Rule decided here: a request that cannot be understood has the numbers of the JSON-RPC specification; one that was
understood and refused has -32000 in a node's words; a revert has 3 and carries its raw bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sim.chain.execution import Execution

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
REFUSED = -32000
LIMIT_EXCEEDED = -32005
REVERTED = 3

FAILURES = {
    "OutOfGas": "out of gas",
    "InvalidInstruction": "invalid opcode",
    "InvalidJumpDestination": "invalid jump destination",
    "InsufficientStack": "stack underflow",
    "WriteProtection": "write protection",
    "StackDepthLimit": "max call depth exceeded",
    "ContractCreationCollision": "contract address collision",
    "ReservedBytesInCode": "invalid code: must not begin with 0xef",
}
"""Failures of the interpreter in go-ethereum's words."""


class RpcError(Exception):
    """An answer that is an error.

    Parameters
    ----------
    code
        As above.
    message
        In words.
    data
        Revert data as hexadecimal text, or None.
    """

    def __init__(self, code: int, message: str, data: str | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.data = code, message, data

    def as_json(self) -> dict[str, Any]:
        """Return the `error` member of a response."""
        body: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.data is not None:
            body["data"] = self.data
        return body


def failed_execution(execution: Execution) -> RpcError:
    """Return the error that a call which failed is answered with."""
    if execution.error != "Revert":
        return RpcError(REFUSED, FAILURES.get(execution.error, execution.error or "execution failed"))
    reason = revert_reason(execution.output)
    message = f"execution reverted: {reason}" if reason else "execution reverted"
    return RpcError(REVERTED, message, "0x" + execution.output.hex())


def revert_reason(data: bytes) -> str:
    """Return revert data in words: the text of a `require`, a known custom error with its values, or nothing."""
    from sim.chain.artifacts import common_abi

    if len(data) < 4:
        return ""
    try:
        reverted = common_abi().decode_revert(data)
    except Exception:  # a contract can revert with anything, and the decoder's errors are its library's own
        return ""
    if reverted.error == "Error":
        return str(reverted.arguments["message"])
    return "" if not reverted.error else str(reverted).removeprefix("reverted with ")
