"""Translation: runs of EVM instructions as Python functions.

Rule decided here: what an instruction costs and does is py-evm's; here stack positions become local variables, and
instructions that only compute become expressions. The fixed gas of a run is taken at its start: a run either goes on to
its end or fails, and every failure takes all gas, so no code can tell. After a branch, and after each instruction that
looks at the gas that is left, the charge for what follows is taken there. Jumps whose target is known are followed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from sim.chain.instructions import (
    CONSTANTS,
    DUP1,
    DUP16,
    ENDS,
    EXPRESSIONS,
    FOLDED,
    GAS,
    JUMP,
    JUMPDEST,
    JUMPI,
    LOOKS_AT_GAS,
    MLOAD,
    MSTORE,
    MSTORE8,
    NAMES,
    OPCODES,
    PC,
    POP,
    PUSH0,
    PUSH32,
    PUSHES_NOTHING,
    STOP,
    SWAP1,
    SWAP16,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[[Any, list[Any]], int]

LONGEST = 128
"""Most instructions of one run."""


class Writer:
    """Writes one function, keeping in mind what lies on the stack.

    Between two flushes the real stack is as it was; `a3` is its third item from the top at the last flush.
    """

    def __init__(self) -> None:
        self.lines: list[str] = ["g = c._gas_meter"]
        self._variables = 0
        self._charge_at, self._charge = 0, 0
        self.begin_charge()
        self._open()

    def _open(self, *known: str) -> None:
        self.body: list[str] = []
        self.stack: list[int | str] = list(known)
        self.taken, self.growth = 0, len(known)
        self._checked: tuple[int, int] = (0, 0)
        self._loaded: set[str] = set()
        self._has_memory = False

    def begin_charge(self) -> None:
        """Charge here for what follows; what was charged before is complete."""
        self.end_charge()
        self._charge_at, self._charge = len(self.lines), 0
        self.lines.append("")

    def end_charge(self) -> None:
        """Write down what was charged last."""
        gas = self._charge
        if gas:
            self.lines[self._charge_at] = (
                f"r = g.gas_remaining - {gas}\n if r < 0: no_gas({gas}, g.gas_remaining)\n g.gas_remaining = r"
            )

    def charge(self, gas: int) -> None:
        """Add to what is charged."""
        self._charge += gas

    def pop(self) -> int | str:
        """Take the top of the stack."""
        self.reach(1)
        return self.stack.pop()

    def reach(self, depth: int) -> None:
        """Name stack items until so many are known."""
        while len(self.stack) < depth:
            self.taken += 1
            self.stack.insert(0, f"a{self.taken}")

    def push(self, value: int | str) -> None:
        """Put a number, or the name of a variable, on the stack."""
        self.stack.append(value)
        self.growth = max(self.growth, len(self.stack) - self.taken)

    def compute(self, op: int) -> None:
        """Put the value of an expression on the stack."""
        arity, template = EXPRESSIONS[op]
        operands = [self.pop() for _ in range(arity)]
        if op in FOLDED and all(isinstance(operand, int) for operand in operands):
            self.push(eval(template.format(*operands), dict(CONSTANTS)))
        else:
            self.assign(template.format(*operands))

    def assign(self, expression: str) -> None:
        """Put the value of Python code on the stack."""
        self._variables += 1
        self.body.append(f"t{self._variables} = {expression}")
        self.push(f"t{self._variables}")

    def memory_at(self, position: int | str, size: int) -> None:
        """Make `m` the memory with room for some bytes at a position."""
        if not self._has_memory:
            self.body.append("m = c._memory._bytes")
            self._has_memory = True
        self.body.append(f"if {position} + {size} > len(m): m = grow(c, {position} + {size})")

    def branch(self, condition: int | str, way: str) -> None:
        """Leave by some Python code if a condition holds; what follows is charged after it."""
        new = self._settle(condition, way)
        self.lines += [f"if {condition}:", *(f" {line}" for line in self._replace(new)), f" {way}"]
        self.begin_charge()

    def flush(self, *needed: int | str) -> None:
        """Write everything down, so that the stack is as it would be here; values in `needed` are used later."""
        self.lines += self._replace(self._settle(*needed))
        self._open()

    def _settle(self, *needed: int | str) -> tuple[int, list[int | str]]:
        """Write down what is open; return how many items of the real stack to drop, and what comes instead."""
        entry = [f"a{i}" for i in range(self.taken, 0, -1)]
        keep = 0
        while keep < min(len(entry), len(self.stack)) and entry[keep] == self.stack[keep]:
            keep += 1
        new = self.stack[keep:]
        if (self.taken, self.growth) != self._checked:
            self._checked = self.taken, self.growth
            limit = f" <= {1024 - self.growth}" if self.growth > 0 else ""
            self.lines.append(f"if not {self.taken} <= len(s){limit}: bad_stack(s, {self.taken})")
        used = set(re.findall(r"\ba\d+\b", "\n".join([*self.body, *map(str, (*new, *needed))])))
        self.lines += [f"{name} = s[-{name[1:]}]" for name in sorted(used - self._loaded)]
        self._loaded |= used
        self.lines += self.body
        self.body = []
        return self.taken - keep, new

    @staticmethod
    def _replace(change: tuple[int, list[int | str]]) -> list[str]:
        drop, new = change
        items = "".join(f"{value}, " for value in new)
        if drop and new:
            return [f"s[-{drop}:] = ({items})"]
        if drop:
            return [f"del s[-{drop}:]"]
        if len(new) == 1:
            return [f"s.append({new[0]})"]
        return [f"s += ({items})"] if new else []

    def gas_left(self) -> None:
        """Put the gas that is left on the stack, with all charged that was to be charged."""
        self.flush()
        self._variables += 1
        self.lines.append(f"t{self._variables} = g.gas_remaining")
        self._open(f"t{self._variables}")
        self.begin_charge()

    def leave_to_py_evm(self, op: int) -> None:
        """Call py-evm's own function for an instruction; what it pushes may be bytes."""
        self.flush()
        self.lines.append(f"op_{op:x}(c)")
        if op not in PUSHES_NOTHING and op not in ENDS:
            self._variables += 1
            name = f"t{self._variables}"
            self.lines += [
                f"{name} = s.pop()",
                f"if {name}.__class__ is bytes: {name} = number({name}, 'big')",
            ]
            self._open(name)


def translate(code: bytes, targets: frozenset[int], start: int) -> Run:
    """Return the function of the run that begins at a position.

    Parameters
    ----------
    code, targets
        The code, and where it may be jumped to.
    start
        Position of the first instruction.

    Returns
    -------
    Callable
        Takes the computation and its stack of integers, and returns the position to go on at.
    """
    writer, pc = Writer(), start
    seen: set[int] = set()
    while len(seen) < LONGEST and pc not in seen:
        seen.add(pc)
        op = code[pc] if pc < len(code) else STOP
        following = _instruction(writer, code, targets, op, pc)
        if following is None:
            break
        pc = following
    else:
        writer.flush()
        writer.lines.append(f"return {pc}")
    writer.end_charge()
    names: dict[str, Any] = NAMES | {"J": targets, "code": code}
    exec("def run(c, s):\n " + "\n ".join(line for line in writer.lines if line), names)
    run: Run = names["run"]
    return run


def _instruction(writer: Writer, code: bytes, targets: frozenset[int], op: int, pc: int) -> int | None:
    """Write an instruction; return the position after it, or None where nothing follows."""
    if op not in OPCODES:
        writer.flush()
        writer.lines.append(f"bad_code({op}, {pc})")
        return None
    if op in LOOKS_AT_GAS:
        writer.leave_to_py_evm(op)
        writer.begin_charge()
        return pc + 1
    writer.charge(OPCODES[op].gas_cost)
    if op in (JUMP, JUMPI):
        return _jump(writer, targets, op, pc)
    if PUSH0 <= op <= PUSH32:
        size = op - PUSH0
        writer.push(int.from_bytes(code[pc + 1 : pc + 1 + size].ljust(size, b"\x00"), "big"))
        return pc + 1 + size
    _simple(writer, op, pc)
    return None if op in ENDS else pc + 1


def _simple(writer: Writer, op: int, pc: int) -> None:
    if DUP1 <= op <= DUP16:
        depth = op - DUP1 + 1
        writer.reach(depth)
        writer.push(writer.stack[-depth])
    elif SWAP1 <= op <= SWAP16:
        depth = op - SWAP1 + 2
        writer.reach(depth)
        stack = writer.stack
        stack[-1], stack[-depth] = stack[-depth], stack[-1]
    elif op in EXPRESSIONS:
        writer.compute(op)
    elif op == POP:
        writer.pop()
    elif op == PC:
        writer.push(pc)
    elif op == GAS:
        writer.gas_left()
    elif op in (MLOAD, MSTORE, MSTORE8):
        _memory(writer, op)
    elif op == STOP:
        writer.flush()
        writer.lines.append("halt()")
    elif op != JUMPDEST:
        writer.leave_to_py_evm(op)


def _memory(writer: Writer, op: int) -> None:
    position = writer.pop()
    value = 0 if op == MLOAD else writer.pop()
    writer.memory_at(position, 1 if op == MSTORE8 else 32)
    if op == MLOAD:
        writer.assign(f"number(m[{position}:{position} + 32], 'big')")
    elif op == MSTORE:
        writer.body.append(f"m[{position}:{position} + 32] = ({value}).to_bytes(32, 'big')")
    else:
        writer.body.append(f"m[{position}] = {value} & 255")


def _jump(writer: Writer, targets: frozenset[int], op: int, pc: int) -> int | None:
    """Write a jump; one that is known and always taken is followed at once."""
    target = writer.pop()
    known = isinstance(target, int) and target in targets
    way = f"return {target}" if known else f"return {target} if {target} in J else bad_jump(code, {target})"
    if op == JUMPI:
        writer.branch(writer.pop(), way)
        return pc + 1
    if known:
        assert isinstance(target, int)
        return target
    writer.flush(target)
    writer.lines.append(way)
    return None
