"""Instructions: what each EVM instruction is in Python, and what is left to py-evm.

Rule decided here: arithmetic, comparison and reads of the message are expressions over integers; whatever touches
state, hashes, logs or other code is py-evm's own function. A run of instructions fails through the functions below.
"""

from __future__ import annotations

from typing import Any

from eth.exceptions import (
    FullStack,
    Halt,
    InsufficientStack,
    InvalidInstruction,
    InvalidJumpDestination,
    OutOfGas,
)
from eth.vm.forks.prague.computation import PragueComputation

STOP = 0x00
POP, MLOAD, MSTORE, MSTORE8 = range(0x50, 0x54)
JUMP, JUMPI, PC = range(0x56, 0x59)
GAS, JUMPDEST = 0x5A, 0x5B
PUSH0, PUSH32, DUP1, DUP16, SWAP1, SWAP16 = 0x5F, 0x7F, 0x80, 0x8F, 0x90, 0x9F
ENDS = frozenset({STOP, JUMP, JUMPI, 0xF3, 0xFD, 0xFE, 0xFF})
"""After these nothing follows, or not always: STOP, JUMP, JUMPI, RETURN, REVERT, INVALID, SELFDESTRUCT."""
LOOKS_AT_GAS = frozenset({0x55, 0xF0, 0xF1, 0xF2, 0xF4, 0xF5, 0xFA})
"""SSTORE, creations and calls; they charge for themselves."""
PUSHES_NOTHING = frozenset({0x37, 0x39, 0x3C, 0x3E, 0x55, 0x5D, 0x5E, *range(0xA0, 0xA5)})
"""Of the instructions left to py-evm, those that leave no value on the stack."""

EXPRESSIONS = {
    0x01: (2, "({0} + {1}) & M"),
    0x02: (2, "({0} * {1}) & M"),
    0x03: (2, "({0} - {1}) & M"),
    0x04: (2, "{0} // {1} if {1} else 0"),
    0x06: (2, "{0} % {1} if {1} else 0"),
    0x10: (2, "1 if {0} < {1} else 0"),
    0x11: (2, "1 if {0} > {1} else 0"),
    0x12: (2, "1 if ({0} ^ S) < ({1} ^ S) else 0"),
    0x13: (2, "1 if ({0} ^ S) > ({1} ^ S) else 0"),
    0x14: (2, "1 if {0} == {1} else 0"),
    0x15: (1, "0 if {0} else 1"),
    0x16: (2, "{0} & {1}"),
    0x17: (2, "{0} | {1}"),
    0x18: (2, "{0} ^ {1}"),
    0x19: (1, "{0} ^ M"),
    0x1A: (2, "{1} >> (248 - 8 * {0}) & 255 if {0} < 32 else 0"),
    0x1B: (2, "({1} << {0}) & M if {0} < 256 else 0"),
    0x1C: (2, "{1} >> {0} if {0} < 256 else 0"),
    0x30: (0, "number(c.msg.storage_address, 'big')"),
    0x33: (0, "number(c.msg.sender, 'big')"),
    0x34: (0, "c.msg.value"),
    0x35: (1, "number(bytes(c.msg.data[{0}:{0} + 32]).ljust(32, Z), 'big')"),
    0x36: (0, "len(c.msg.data)"),
    0x3D: (0, "len(c.return_data)"),
    0x42: (0, "c.state.timestamp"),
    0x43: (0, "c.state.block_number"),
}
"""Number of operands, the top of the stack first, and the value."""
FOLDED = frozenset(op for op, (arity, _) in EXPRESSIONS.items() if arity and op != 0x35)
"""Computed once where every operand is known."""

CONSTANTS = {"M": 2**256 - 1, "S": 2**255, "Z": b"\x00", "number": int.from_bytes}

OPCODES: dict[int, Any] = {op: getattr(fn, "__wrapped__", fn) for op, fn in PragueComputation.opcodes.items()}
"""py-evm's instructions, without the warning that it gives at each SELFDESTRUCT."""


def jump_targets(code: bytes) -> frozenset[int]:
    """Return where code may be jumped to: a JUMPDEST that is no data of a PUSH."""
    targets, pc = [], 0
    while pc < len(code):
        op = code[pc]
        if op == JUMPDEST:
            targets.append(pc)
        pc += op - PUSH0 + 1 if PUSH0 < op <= PUSH32 else 1
    return frozenset(targets)


def bad_jump(code: bytes, target: int) -> None:
    """Refuse a jump that leads to no jump target."""
    if target < len(code) and code[target] == JUMPDEST:
        raise InvalidInstruction(f"jump to {target}, which is data")
    raise InvalidJumpDestination(f"jump to {target}")


def bad_stack(stack: list[Any], needed: int) -> None:
    """Refuse a stack that is too low or too high for a run."""
    if len(stack) < needed:
        raise InsufficientStack(f"{needed} stack items wanted, there are {len(stack)}")
    raise FullStack("stack limit reached")


def bad_code(op: int, pc: int) -> None:
    """Refuse an instruction that does not exist."""
    raise InvalidInstruction(f"invalid opcode 0x{op:x} at {pc}")


def no_gas(needed: int, left: int) -> None:
    """Refuse a run that costs more than there is."""
    raise OutOfGas(f"{needed} gas needed, {left} left")


def halt() -> None:
    """End the code."""
    raise Halt("STOP")


def grow(computation: Any, end: int) -> Any:
    """Return the memory, long enough to end at a position, which is paid for: 3 gas a word and words^2 / 512."""
    memory = computation._memory
    before, after = len(memory._bytes) >> 5, (end + 31) >> 5
    computation._gas_meter.consume_gas(
        3 * (after - before) + after * after // 512 - before * before // 512, "memory"
    )
    more = bytes(32 * (after - before))
    try:
        memory._bytes.extend(more)
    except BufferError:  # somebody looks at the old bytes and will not write to them
        memory._bytes = memory._bytes + more
    return memory._bytes


NAMES: dict[str, Any] = {
    **CONSTANTS,
    **{f.__name__: f for f in (bad_jump, bad_stack, bad_code, no_gas, halt, grow)},
    **{f"op_{op:x}": fn if op in LOOKS_AT_GAS else fn.logic_fn for op, fn in OPCODES.items()},
}
