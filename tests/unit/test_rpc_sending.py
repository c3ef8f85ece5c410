"""What the methods answer about sending and traces, in the shapes that clients read."""

from __future__ import annotations

import pytest

pytest.importorskip("eth")

from tests.unit.rpc_network import GOPEN, NOBODY, OPEN, call_of, number, restored, send, wrap


@pytest.fixture
def l2():
    yield from restored("l2")


def test_what_a_client_leaves_open_is_filled_in(l2):
    receipt = send(l2, {"from": l2.accounts[2], "to": NOBODY, "value": "0x1"})
    transaction = l2("eth_getTransactionByHash", receipt["transactionHash"])
    assert (transaction["type"], transaction["nonce"], transaction["gas"]) == ("0x2", "0x0", hex(26_250))
    legacy = send(l2, {"from": l2.accounts[2], "to": NOBODY, "gasPrice": "0x0"})
    assert legacy["type"] == "0x0"
    for fields, code in (
        ({"to": NOBODY}, -32602),
        ({"from": NOBODY, "to": NOBODY}, -32000),
        ({"from": l2.accounts[2], "to": NOBODY, "chainId": "0x1"}, -32602),
        ({"from": l2.accounts[2], "to": NOBODY, "type": "0x3"}, -32602),
        ({"from": l2.accounts[2], "to": NOBODY, "gasPrice": "0x1", "maxFeePerGas": "0x1"}, -32602),
        ({"from": l2.accounts[2], "to": NOBODY, "nonce": "0x0"}, -32000),
        ({"from": l2.accounts[2], "to": NOBODY, "gas": "0x1"}, -32000),
    ):
        assert l2.refused("eth_sendTransaction", fields).code == code, fields


def test_a_signed_transaction_can_be_made_first_and_sent_later(l2):
    made = l2("eth_signTransaction", {"from": l2.accounts[1], "to": NOBODY, "value": "0x3", "gas": "0x5208"})
    moment = l2.moment()
    assert l2("eth_getTransactionByHash", made["tx"]["hash"]) is None
    assert l2.moment() == moment
    assert l2("eth_sendRawTransaction", made["raw"]) == made["tx"]["hash"]
    assert number(l2("eth_getBalance", NOBODY)) == 3
    again = l2.refused("eth_sendRawTransaction", made["raw"])
    assert (again.code, again.message.split(":")[0]) == (-32000, "nonce too low")


def test_signatures_are_the_account_s(l2):
    from eth_account import Account
    from eth_account.messages import encode_defunct, encode_typed_data

    message = "0x" + b"hello".hex()
    for signature in (
        l2("eth_sign", l2.accounts[0], message),
        l2("personal_sign", message, l2.accounts[0], ""),
    ):
        assert (
            Account.recover_message(encode_defunct(b"hello"), signature=signature).lower() == l2.accounts[0]
        )
    typed = {
        "domain": {"name": "olsim", "chainId": 900_161},
        "types": {"EIP712Domain": [{"name": "name", "type": "string"}, {"name": "chainId", "type": "uint256"}],
                  "Vote": [{"name": "support", "type": "uint8"}]},
        "primaryType": "Vote",
        "message": {"support": 1},
    }  # fmt: skip
    signature = l2("eth_signTypedData_v4", l2.accounts[0], typed)
    assert (
        Account.recover_message(encode_typed_data(full_message=typed), signature=signature).lower()
        == l2.accounts[0]
    )
    import json

    assert l2("eth_signTypedData_v4", l2.accounts[0], json.dumps(typed)) == signature
    assert l2.refused("eth_signTypedData_v4", l2.accounts[0], {"types": {}}).code == -32602
    assert l2.refused("eth_sign", NOBODY, message).code == -32000


def test_a_trace_shows_the_calls_of_a_transaction(l2):
    """GOPEN pays out by a call to the account: one frame within another."""
    wrap(l2, 5 * OPEN)
    fields = {
        "from": l2.accounts[0],
        "to": l2.contract("GOPEN"),
        "data": call_of(GOPEN, "withdraw", 2 * OPEN),
    }
    receipt = send(l2, fields)
    frame = l2("debug_traceTransaction", receipt["transactionHash"], {"tracer": "callTracer"})
    assert (frame["type"], frame["from"], frame["to"]) == (
        "CALL",
        l2.accounts[0],
        l2.contract("GOPEN").lower(),
    )
    assert frame["gasUsed"] == receipt["gasUsed"]
    (inner,) = frame["calls"]
    assert (inner["type"], inner["to"], inner["value"]) == ("CALL", l2.accounts[0], hex(2 * OPEN))
    options = {"tracer": "callTracer", "tracerConfig": {"withLog": True, "onlyTopCall": True}}
    top = l2("debug_traceTransaction", receipt["transactionHash"], options)
    assert "calls" not in top
    assert len(top["logs"]) == len(receipt["logs"])
    failed = l2(
        "debug_traceCall",
        {**fields, "data": call_of(GOPEN, "withdraw", 10**30)},
        "latest",
        {"tracer": "callTracer"},
    )
    assert failed["error"] == "execution reverted"
    assert failed["revertReason"].startswith("ERC20InsufficientBalance")
    assert l2.refused("debug_traceTransaction", "0x" + "11" * 32).code == -32000
    assert (
        l2.refused("debug_traceTransaction", receipt["transactionHash"], {"tracer": "prestateTracer"}).code
        == -32602
    )


def test_kinds_of_calls_are_told_apart(l2):
    """A contract that makes one call of each kind, and creates one contract each way."""
    target = NOBODY[2:]
    calls = "".join(
        f"5f5f5f5f{'5f' if op in ('f1', 'f2') else ''}73{target}5a{op}50" for op in ("f1", "f2", "f4", "fa")
    )
    code = f"0x{calls}5f5f5ff0505f5f5f5ff55000"
    caller = "0x" + "77" * 20
    l2("anvil_setCode", caller, code)
    receipt = send(l2, {"from": l2.accounts[0], "to": caller})
    frame = l2("debug_traceTransaction", receipt["transactionHash"])
    kinds = [one["type"] for one in frame["calls"]]
    assert kinds == ["CALL", "CALLCODE", "DELEGATECALL", "STATICCALL", "CREATE", "CREATE2"]
    assert {one["from"] for one in frame["calls"]} == {caller}
    assert [one["to"] for one in frame["calls"][:4]] == [NOBODY] * 4
