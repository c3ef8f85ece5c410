"""The envelope of JSON-RPC, and that no argument of the wrong kind gets past a method."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("eth")

from sim.chain.rpc import dispatcher as module
from sim.chain.rpc.dispatcher import BATCH_MAX, DEPTH_MAX, REQUEST_BYTES_MAX
from sim.chain.rpc.methods import METHODS, WRITES
from tests.unit.rpc_network import restored


@pytest.fixture
def l2():
    yield from restored("l2")


def ask(l2, text):
    answer = l2.dispatcher.handle(text if isinstance(text, bytes) else json.dumps(text).encode())
    return None if answer is None else json.loads(answer)


def request(method="eth_chainId", params=(), number=1):
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": list(params)}


def test_an_answer_repeats_the_id(l2):
    for number in (1, "one", None, 1.5):
        assert ask(l2, request(number=number)) == {"jsonrpc": "2.0", "id": number, "result": "0xdbc41"}


def test_params_may_be_missing(l2):
    assert ask(l2, {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId"})["result"] == "0xdbc41"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"", -32700),
        (b"{", -32700),
        (b"\xff\xfe", -32700),
        (b'{"jsonrpc": "2.0", "id": NaN}', -32700),
        (b"[" * 100, -32700),
        (b'{"a":' * (DEPTH_MAX + 1) + b"1" + b"}" * (DEPTH_MAX + 1), -32700),
        (b"1" * 5_000, -32700),
        (b"17", -32600),
        (b"null", -32600),
        (b'"eth_chainId"', -32600),
        (b"[]", -32600),
        (b"{}", -32600),
        (b'{"jsonrpc": "1.0", "id": 1, "method": "eth_chainId"}', -32600),
        (b'{"jsonrpc": "2.0", "id": {}, "method": "eth_chainId"}', -32600),
        (b'{"jsonrpc": "2.0", "id": 1, "method": 7}', -32600),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "eth_nope"}', -32601),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "__init__"}', -32601),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": {"a": 1}}', -32602),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": "0x"}', -32602),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": [1]}', -32602),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "eth_getBalance", "params": []}', -32602),
    ],
)
def test_what_is_no_request_gets_the_specification_s_number(l2, text, code):
    answer = ask(l2, text)
    assert answer.get("id") in (None, 1)
    assert (answer["jsonrpc"], answer["error"]["code"]) == ("2.0", code)
    assert answer["error"]["message"]


def test_a_batch_is_answered_one_by_one_in_order(l2):
    answers = ask(l2, [request(number=1), request("nope", number=2), 3, request("eth_getBalance", ["0x"], 4)])
    assert [a["id"] for a in answers] == [1, 2, None, 4]
    assert [a.get("error", {}).get("code") for a in answers] == [None, -32601, -32600, -32602]


def test_a_request_without_an_id_is_done_and_not_answered(l2):
    blocks = l2.chain.block_number
    assert ask(l2, {"jsonrpc": "2.0", "method": "evm_mine"}) is None
    assert ask(l2, [{"jsonrpc": "2.0", "method": "evm_mine"}]) is None
    assert l2.chain.block_number == blocks + 2


def test_long_texts_batches_and_answers_are_refused(l2, monkeypatch):
    assert ask(l2, b" " * (REQUEST_BYTES_MAX + 1))["error"]["code"] == -32600
    assert "1001 requests" in ask(l2, [request()] * (BATCH_MAX + 1))["error"]["message"]
    monkeypatch.setattr(module, "ANSWER_BYTES_MAX", 3_000)
    block = request("eth_getBlockByNumber", ["latest", False])
    answers = ask(l2, [block] * 5)
    assert ["result" in answer for answer in answers] == [True, True, False, False, False]
    monkeypatch.setattr(module, "ANSWER_BYTES_MAX", 300)
    assert "the answer has" in ask(l2, block)["error"]["message"]


def test_the_methods_that_change_something_are_listed():
    assert set(METHODS) >= WRITES
    assert {"eth_sendRawTransaction", "evm_mine", "anvil_setBalance", "hardhat_mine"} <= WRITES
    assert not {"eth_call", "eth_estimateGas", "anvil_dumpState", "eth_newFilter"} & WRITES


WANTED = """
web3_clientVersion net_version net_listening eth_chainId eth_syncing eth_accounts eth_blockNumber eth_getBalance
eth_getTransactionCount eth_getCode eth_getStorageAt eth_getProof eth_call eth_estimateGas eth_createAccessList
eth_gasPrice eth_maxPriorityFeePerGas eth_feeHistory eth_getBlockByNumber eth_getBlockByHash
eth_getBlockTransactionCountByNumber eth_getBlockTransactionCountByHash eth_getTransactionByHash
eth_getTransactionByBlockNumberAndIndex eth_getTransactionByBlockHashAndIndex eth_getTransactionReceipt
eth_getBlockReceipts eth_getLogs eth_newFilter eth_newBlockFilter eth_newPendingTransactionFilter
eth_getFilterChanges eth_getFilterLogs eth_uninstallFilter eth_sendRawTransaction eth_sendTransaction personal_sign
eth_sign eth_signTransaction eth_signTypedData_v4 evm_mine evm_snapshot evm_revert evm_increaseTime
evm_setNextBlockTimestamp debug_traceTransaction txpool_status txpool_content
anvil_setBalance anvil_setNonce anvil_setCode anvil_setStorageAt anvil_impersonateAccount
anvil_stopImpersonatingAccount anvil_mine anvil_dumpState anvil_loadState
"""


def test_every_method_that_wallets_and_scripts_need_is_there():
    wanted = set(WANTED.split())
    wanted |= {name.replace("anvil_", "hardhat_") for name in wanted}
    assert sorted(wanted - set(METHODS)) == []


ODD = (
    None,
    True,
    0,
    -1,
    1.5,
    2**300,
    "",
    "0x",
    "0xzz",
    "latest",
    "0x" + "1" * 70,
    [],
    [[]],
    {},
    {"a": {}},
    "\ud800",
)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_arguments_of_the_wrong_kind_are_refused_by_every_method(l2, method):
    """Each odd value in each of the first three places: a result or a proper error, never an internal one."""
    moment = l2.moment()
    for value in ODD:
        for params in ([value], [value, value], [value] * 3, ["0x" + "11" * 20, value], [value] * 9):
            text = json.dumps(request(method, params)).encode()
            answer = json.loads(l2.dispatcher.handle(text))
            code = answer.get("error", {}).get("code")
            assert code in (None, -32602, -32000, -32005, 3), (params, answer)
            if method in WRITES and code is not None:
                assert l2.moment() == moment, params
            moment = l2.moment()
