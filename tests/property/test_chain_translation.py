"""Translated code does, costs and refuses what py-evm's interpreter does."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("eth")

from sim.chain.addresses import address_of
from sim.chain.computation import Computation
from sim.chain.evm import Chain
from sim.chain.execution import State
from sim.chain.instructions import EXPRESSIONS, OPCODES
from sim.chain.translated import Program, TranslatedComputation

ALICE = address_of("alice")
CODE, OTHER = address_of("code"), address_of("other")
EDGES = (0, 1, 2, 31, 32, 33, 255, 256, 1023, 2**16, 2**64, 2**160, 2**255 - 1, 2**255, 2**256 - 1)
SKIPPED = {0xF0, 0xF5, 0xFF}
"""Creations run what lies in memory; the contracts' own tests have them, and self-destruction."""
SIMPLE = sorted(set(OPCODES) - SKIPPED - set(range(0x60, 0x80)) - {0x56, 0x57})


def push(value: int) -> bytes:
    size = max((value.bit_length() + 7) // 8, 1)
    return bytes([0x5F + size]) + value.to_bytes(size, "big")


numbers = st.one_of(st.sampled_from(EDGES), st.integers(0, 300), st.integers(0, 2**256 - 1))
pieces = st.one_of(
    numbers.map(push),
    st.sampled_from(SIMPLE).map(lambda op: bytes([op])),
    st.sampled_from(SIMPLE).map(lambda op: bytes([op])),
    st.tuples(st.lists(numbers, min_size=2, max_size=7), st.sampled_from(SIMPLE)).map(
        lambda t: b"".join(map(push, t[0])) + bytes([t[1]])
    ),
    st.tuples(st.lists(st.integers(0, 600), min_size=3, max_size=6), st.sampled_from(SIMPLE)).map(
        lambda t: b"".join(map(push, t[0])) + bytes([t[1]])
    ),
    # a target within the first bytes: some jumps arrive, some do not, some go back for ever until gas runs out
    st.tuples(st.integers(0, 60), st.sampled_from((0x56, 0x57))).map(
        lambda t: b"\x5b" + push(t[0]) + bytes([t[1]])
    ),
    # forward over one byte, with a condition
    numbers.map(lambda value: push(value) + b"\x58\x60\x06\x01\x57\x00\x5b"),
    st.integers(0, 2**16).map(
        lambda gas: b"\x5f\x5f\x5f\x5f" + push(1) + b"\x73" + OTHER + push(gas) + b"\xf1"
    ),
    st.just(b"\x5f\x5f\x60\x20\x5f\x73" + OTHER + b"\x5a\xf4\x3d\x5f\x5f\x3e"),
)
codes = st.lists(pieces, max_size=40).map(b"".join)
SHOW = b"".join(push(32 * i) + b"\x52" for i in range(4)) + push(128) + b"\x5f\xf3"
"""Returns the four top items of the stack."""
last = st.one_of(
    st.just(SHOW),
    st.just(b"\x5f" * 4 + SHOW),
    st.sampled_from((b"", b"\x59\x5f\xf3", b"\x59\x5f\xfd", b"\x60\x20\x5f\xf3", b"\xfe", b"\x7f\x01")),
)


def outcome(kind, code: bytes, other: bytes, data: bytes, gas: int, rounds: int = 1):
    """Execute on a chain of its own and return everything that can be seen afterwards."""
    previous, State.computation_class = State.computation_class, kind
    try:
        chain = Chain(chain_id=1, genesis_time=10**9, balances={ALICE: 10**20, CODE: 10**6})
        chain.set_code(CODE, code)
        chain.set_code(OTHER, other)
        seen = []
        for _ in range(rounds):
            receipt = chain.send(ALICE, CODE, data, value=3, gas=gas)
            seen.append((receipt.status, receipt.gas_used, receipt.output, receipt.logs))
        return seen, chain.state_root()
    finally:
        State.computation_class = previous


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(codes, last, codes, st.binary(max_size=80), st.integers(60_000, 200_000))
def test_any_code_ends_alike(code, end, other, data, gas):
    arguments = code + end, other + end, data, gas
    expected = outcome(Computation, *arguments)
    after, Program.translate_after = Program.translate_after, 0
    try:
        Program._known.clear()
        assert outcome(TranslatedComputation, *arguments) == expected
    finally:
        Program.translate_after = after


@settings(max_examples=60, deadline=None)
@given(codes, last, codes, st.integers(60_000, 120_000))
def test_translation_may_begin_in_the_midst(code, end, other, gas):
    """Runs are met for the first, second and third time within one transaction and across several."""
    arguments = code + end, other, b"\x01" * 40, gas, 4
    Program._known.clear()
    assert outcome(TranslatedComputation, *arguments) == outcome(Computation, *arguments)


@pytest.mark.parametrize("known", [True, False], ids=["operands in the code", "operands from calldata"])
@pytest.mark.parametrize("op", sorted(op for op, (arity, _) in EXPRESSIONS.items() if arity))
def test_every_expression_at_the_edges(op, known):
    """All pairs of edge values; each result is written to memory, and all of it is returned."""
    code = b""
    for place, pair in enumerate((a, b) for a in range(len(EDGES)) for b in range(len(EDGES))):
        code += b"".join(push(EDGES[i]) if known else push(32 * i) + b"\x35" for i in pair)
        code += bytes([op]) + push(32 * place) + b"\x52"
    code += push(32 * len(EDGES) ** 2) + b"\x5f\xf3"
    data = b"".join(value.to_bytes(32, "big") for value in EDGES)
    after, Program.translate_after = Program.translate_after, 0
    try:
        found = outcome(TranslatedComputation, code, b"", data, 10**6)
    finally:
        Program.translate_after = after
    assert found == outcome(Computation, code, b"", data, 10**6)
    assert found[0][0][0] == 1


def test_code_sees_the_same_gas():
    """GAS between instructions with fixed and with dynamic costs, before and after branches, calls and memory."""
    middle = (
        b"\x60\x07\x54\x50", b"\x5f\x5f\x20\x50", b"\x60\x05\x60\x09\x55", push(3_000) + b"\x51\x50",
        b"\x5f\x5f\x5f\x5f\x5f\x73" + OTHER + push(9_000) + b"\xf1\x50", b"\x60\x01\x58\x60\x06\x01\x57\x00\x5b",
        b"\x5f\x58\x60\x05\x01\x57\x5b\x5b", b"\x58\x60\x05\x01\x56\x5b",
    )  # fmt: skip
    code = b"".join(b"\x5a" + part + b"\x5a" for part in middle)
    code += (
        b"".join(push(32 * i) + b"\x52" for i in range(2 * len(middle)))
        + push(64 * len(middle))
        + b"\x5f\xf3"
    )
    arguments = code, b"\x5a\x5f\x55", b"", 200_000
    after, Program.translate_after = Program.translate_after, 0
    try:
        found = outcome(TranslatedComputation, *arguments)
    finally:
        Program.translate_after = after
    assert found == outcome(Computation, *arguments)
    assert found[0][0][0] == 1
    assert len({found[0][0][2][i : i + 32] for i in range(0, 512, 32)}) == 2 * len(middle)
