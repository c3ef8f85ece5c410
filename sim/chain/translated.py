"""Translated computation: py-evm's Prague rules, with code that runs often as Python functions.

Rule decided here: code is interpreted by py-evm until a run of it has been met a few times, and translated from then
on; what code does, costs and refuses is the same either way. A traced computation is always interpreted.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from typing import TYPE_CHECKING, Any, ClassVar

from eth.vm.code_stream import CodeStream

from sim.chain.computation import Computation
from sim.chain.instructions import (
    ENDS,
    JUMPDEST,
    OPCODES,
    STOP,
    bad_code,
    jump_targets,
)
from sim.chain.translation import translate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sim.chain.translation import Run

KEPT_PROGRAMS = 512
RUN = 0x100
"""Stands for a whole code: no byte is this instruction."""


class Program:
    """One code with the runs of it that were translated.

    Parameters
    ----------
    code
        Bytes.
    """

    translate_after: ClassVar[int] = 2
    """How often a run is interpreted first."""
    _known: ClassVar[OrderedDict[bytes, Program]] = OrderedDict()

    def __init__(self, code: bytes) -> None:
        self.code = code
        self.targets = jump_targets(code)
        self.runs: dict[int, Run] = {}
        self.met: defaultdict[int, int] = defaultdict(int)

    @classmethod
    def of(cls, code: bytes) -> Program:
        """Return the program of a code, with what is known of it."""
        found = cls._known.get(code)
        if found is None:
            found = cls._known[code] = cls(code)
            if len(cls._known) > KEPT_PROGRAMS:
                cls._known.popitem(last=False)
        return found

    def execute(self, computation: Any) -> None:
        """Run the code from its start until py-evm's `Halt` or an error is raised."""
        runs, stack, pc = self.runs, computation._stack.values, 0
        while True:
            run = runs.get(pc)
            if run is not None:
                pc = run(computation, stack)
            elif self.met[pc] < self.translate_after:
                self.met[pc] += 1
                pc = self._interpret(computation, stack, pc)
            else:
                runs[pc] = translate(self.code, self.targets, pc)

    def _interpret(self, computation: Any, stack: list[Any], pc: int) -> int:
        """Let py-evm execute up to where a run would end, and leave integers on the stack."""
        code, stream = self.code, computation.code
        while True:
            op = code[pc] if pc < len(code) else STOP
            stream.program_counter = pc + 1
            if op not in OPCODES:
                bad_code(op, pc)
            OPCODES[op](computation)
            pc = stream.program_counter
            if op in ENDS or (pc < len(code) and code[pc] == JUMPDEST):
                break
        for i, value in enumerate(stack):
            if value.__class__ is bytes:
                stack[i] = int.from_bytes(value, "big")
        return pc


class _WholeCode(CodeStream):
    """A code that py-evm's loop sees as one instruction."""

    def __iter__(self) -> Iterator[int]:
        yield RUN


def _run(computation: Any) -> None:
    Program.of(computation.msg.code).execute(computation)


_INSTRUCTIONS: dict[int, Any] = {**OPCODES, RUN: _run}


class TranslatedComputation(Computation):
    """Prague's rules, with translated code."""

    opcodes = _INSTRUCTIONS

    def __init__(self, state: Any, message: Any, transaction_context: Any) -> None:
        super().__init__(state, message, transaction_context)
        known: Any = self.code
        stream: Any = _WholeCode(message.code)
        stream.valid_positions, stream.invalid_positions = known.valid_positions, known.invalid_positions
        self.code = stream
