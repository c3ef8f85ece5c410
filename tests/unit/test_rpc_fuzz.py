"""Whatever is asked: the answer is proper JSON-RPC, never an internal error, and a refusal changes nothing."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("eth")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sim.chain.addresses import address_of
from sim.chain.rpc.methods import METHODS, WRITES
from tests.unit.rpc_network import Asked, network

pytestmark = pytest.mark.slow

CODES = {-32700, -32600, -32601, -32602, -32000, -32005, 3}
SLOW = {"anvil_mine", "hardhat_mine", "evm_mine", "evm_increaseTime", "evm_setNextBlockTimestamp"}
"""Methods that may well do millions of blocks or outputs when they are asked to."""

ADDRESSES = st.sampled_from(
    ["0x" + address_of(name).hex() for name in ("a", "distributor.poster")]
) | st.just("0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266")
QUANTITIES = (
    st.integers(0, 2**256 - 1).map(hex) | st.integers(-3, 300) | st.sampled_from(["0x", "0x00", "0x5208"])
)
DATA = st.binary(max_size=70).map(lambda raw: "0x" + raw.hex())
BLOCKS = st.sampled_from(["latest", "pending", "earliest", "safe", "0x1", "0xfff", {"blockNumber": "0x2"}])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=9)
    | ADDRESSES | QUANTITIES | DATA | BLOCKS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
CALLS = st.fixed_dictionaries(
    {},
    optional={
        "from": ADDRESSES, "to": ADDRESSES | st.none(), "value": QUANTITIES, "data": DATA, "input": DATA,
        "gas": st.integers(0, 400_000).map(hex) | QUANTITIES, "gasPrice": QUANTITIES, "maxFeePerGas": QUANTITIES,
        "nonce": QUANTITIES, "type": st.sampled_from(["0x0", "0x1", "0x2", "0x7e"]), "chainId": QUANTITIES,
        "accessList": st.lists(st.fixed_dictionaries({"address": ADDRESSES, "storageKeys": st.lists(DATA, max_size=2)}),
                               max_size=2),
    },
)  # fmt: skip
ARGUMENTS = st.lists(JSON | CALLS | ADDRESSES | QUANTITIES | DATA | BLOCKS, max_size=4)
FUZZED = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module", params=["l1", "l2"])
def node(request):
    whole = network()
    number = whole.snapshot()
    yield Asked(whole, request.param)
    assert whole.revert(number)


def check(node, text, writes):
    """Ask, and hold the answer against the rules."""
    before = node.moment()
    answer = node.dispatcher.handle(text)
    answers = [] if answer is None else json.loads(answer)
    listed = answers if isinstance(answers, list) else [answers]
    assert all(("result" in one) != ("error" in one) for one in listed), listed
    codes = {one["error"]["code"] for one in listed if "error" in one}
    assert codes <= CODES, listed
    done = any("result" in one for one in listed) or answer is None
    if not (writes and done):
        assert node.moment() == before, listed
    assert json.loads(node.dispatcher.handle(b'{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber"}'))[
        "result"
    ]


@FUZZED
@given(method=st.sampled_from(sorted(set(METHODS) - SLOW)), params=ARGUMENTS)
def test_any_arguments(node, method, params):
    request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    check(node, json.dumps(request).encode(), method in WRITES)


@FUZZED
@given(method=st.sampled_from(["eth_call", "eth_estimateGas", "eth_sendTransaction", "eth_createAccessList",
                               "debug_traceCall", "eth_signTransaction"]),
       call=CALLS, block=BLOCKS)  # fmt: skip
def test_any_call(node, method, call, block):
    takes_block = method not in ("eth_sendTransaction", "eth_signTransaction")
    params = [call, block] if takes_block else [call]
    request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    check(node, json.dumps(request).encode(), method in WRITES)


@FUZZED
@given(raw=st.binary(max_size=200) | st.binary(max_size=60).map(lambda tail: b"\x02\xf8\x6b" + tail))
def test_any_bytes_for_a_transaction(node, raw):
    request = {"jsonrpc": "2.0", "id": 1, "method": "eth_sendRawTransaction", "params": ["0x" + raw.hex()]}
    check(node, json.dumps(request).encode(), True)


@FUZZED
@given(
    text=st.binary(max_size=120)
    | st.text(max_size=80).map(str.encode)
    | JSON.map(lambda one: json.dumps(one).encode())
)
def test_any_text(node, text):
    check(node, text, False)


@FUZZED
@given(code=st.binary(max_size=60), data=st.binary(max_size=40))
def test_any_code(node, code, data):
    """Code made of random bytes answers, reverts or fails, and leaves nothing behind."""
    target = "0x" + address_of("target").hex()
    call = {"to": target, "data": "0x" + data.hex(), "gas": hex(100_000), "value": "0x0"}
    params = [call, "latest", {target: {"code": "0x" + code.hex()}}]
    for method in ("eth_call", "eth_estimateGas"):
        check(
            node, json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode(), False
        )


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 1_000_000,
        b'{"a":' * 100_000,
        b'"' + b"\\" * 1_000_000,
        b'{"jsonrpc":"2.0","id":1,"method":"eth_call","params":[' + b"1," * 900_000 + b"1]}",
        b'{"jsonrpc":"2.0","id":1,"method":"eth_sendRawTransaction","params":["0x' + b"f8" * 1_000_000 + b'"]}',
        b'{"jsonrpc":"2.0","id":1,"method":"' + b"x" * 1_000_000 + b'"}',
        b'{"jsonrpc":"2.0","id":"' + b"x" * 1_000_000 + b'","method":"eth_chainId"}',
        b'[' + b'{"jsonrpc":"2.0","id":1,"method":"nope"},' * 1_000 + b"7]",
        b"\x00" * 1_000_000,
        b"9" * 1_000_000,
        b"6" * 6_000_000,
    ],
)  # fmt: skip
def test_long_and_deep_texts(node, text):
    check(node, text, False)


def test_a_contract_that_calls_itself_for_ever(node):
    """1,024 nested calls are an ordinary failure, not the end of the process."""
    target = "0x" + address_of("target").hex()
    nesting = "0x5f5f5f5f5f305af1505f5f5f5f5f305af1505f5f5f5f5f305af1"
    call = {"to": target, "gas": hex(30_000_000)}
    text = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "eth_call",
        "params": [call, "latest", {target: {"code": nesting[:18]}}],
    }
    check(node, json.dumps(text).encode(), False)
