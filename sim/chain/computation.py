"""Computation: py-evm's Prague interpreter, with two notes of our own.

Rule decided here: nothing of what code does is changed. Which positions of a code are jump targets is remembered from
one run of the code to the next, instead of being found out again; and a traced run notes the opcode of each call,
because nothing tells CREATE from CREATE2, or CALL from STATICCALL inside a static call, afterwards.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from eth.vm.forks.prague.computation import PragueComputation

KEPT_CODES = 512

Positions = tuple[set[int], set[int]]
"""Positions known to be instructions, and those known to be the data of one."""


class Computation(PragueComputation):  # type: ignore[misc,unused-ignore]
    """Prague's rules."""

    _known: OrderedDict[bytes, Positions] = OrderedDict()  # noqa: RUF012 - shared on purpose: code does not change

    def __init__(self, state: Any, message: Any, transaction_context: Any) -> None:
        super().__init__(state, message, transaction_context)
        stream: Any = self.code
        stream.valid_positions, stream.invalid_positions = self._positions(message.code)

    @classmethod
    def _positions(cls, code: bytes) -> Positions:
        found = cls._known.get(code)
        if found is None:
            found = cls._known[code] = (set(), set())
            if len(cls._known) > KEPT_CODES:
                cls._known.popitem(last=False)
        return found


class TracedComputation(Computation):
    """The same, with the opcode of each call noted."""

    opcode = 0xF1

    def generate_child_computation(self, child_msg: Any) -> Any:
        """Run a call and note the opcode at which its caller stands."""
        opcode = self.code[self.code.program_counter - 1]
        child: Any = super().generate_child_computation(child_msg)
        child.opcode = opcode
        return child
