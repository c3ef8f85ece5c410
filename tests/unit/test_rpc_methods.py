"""What the methods answer about state, calls, fees, blocks and events, in the shapes that clients read."""

from __future__ import annotations

import pytest

pytest.importorskip("eth")

from sim.chain.abi import encode_values
from sim.chain.addresses import address_of, keccak
from sim.chain.artifacts import load
from sim.chain.rpc.devnet import ACCOUNT_OPEN
from tests.unit.rpc_network import GOPEN, NOBODY, OPEN, TOKEN, call_of, number, restored, send, wrap


@pytest.fixture
def l2():
    yield from restored("l2")


@pytest.fixture
def l1():
    yield from restored("l1")


def test_the_network_says_who_it_is(l2, l1):
    assert (l2("eth_chainId"), l1("eth_chainId")) == (hex(900_161), hex(900_001))
    assert (l2("net_version"), l1("net_version")) == ("900161", "900001")
    assert l2("web3_clientVersion").startswith("olsim/")
    assert (l2("eth_syncing"), l2("net_listening")) == (False, True)
    assert l2("web3_sha3", "0x") == "0x" + keccak(b"").hex()
    accounts = l2("eth_accounts")
    assert accounts[:3] == l2.accounts
    assert "0x" + address_of("distributor.poster").hex() in accounts


def test_development_accounts_have_money_on_both_chains(l2, l1):
    for account in l2.accounts:
        assert number(l2("eth_getBalance", account, "latest")) == ACCOUNT_OPEN
        assert number(l1("eth_getBalance", account)) == 10_000 * 10**18
        held = l1(
            "eth_call",
            {"to": l1.contract("OPEN"), "data": call_of(TOKEN, "balanceOf", bytes.fromhex(account[2:]))},
        )
        assert number(held) == ACCOUNT_OPEN


def test_the_bridge_holds_what_is_on_l2(l2, l1):
    network = l2.network
    supply = network.bridge.escrow()
    named = [*network.l2.keys, address_of("distributor.poster"), network.deployed.timelock.address]
    assert sum(map(l2.chain.balance, named)) == supply > 0


def test_quantities_are_minimal_and_words_are_padded(l2):
    assert l2("eth_getBalance", NOBODY) == "0x0"
    assert l2("eth_getCode", NOBODY) == "0x"
    assert l2("eth_getStorageAt", l2.contract("GOPEN"), "0x0", "latest") == "0x" + "00" * 32
    assert l2("eth_getStorageAt", l2.contract("GOPEN"), "0x" + "00" * 32) == "0x" + "00" * 32


def test_blocks_are_named_in_every_way(l2):
    wrap(l2, OPEN)
    latest = l2("eth_getBlockByNumber", "latest", False)
    wanted = number(l2("eth_getBalance", l2.accounts[0], "latest"))
    for name in (latest["number"], latest["hash"], {"blockHash": latest["hash"], "requireCanonical": True},
                 {"blockNumber": latest["number"]}, "safe", "finalized", "pending"):  # fmt: skip
        assert number(l2("eth_getBalance", l2.accounts[0], name)) == wanted
    before = hex(number(latest["number"]) - 1)
    assert number(l2("eth_getBalance", l2.accounts[0], before)) == wanted + OPEN
    assert number(l2("eth_getBalance", l2.accounts[0], "earliest")) == 0
    unknown = {"blockHash": "0x" + "11" * 32}
    assert l2.refused("eth_getBalance", l2.accounts[0], unknown).code == -32000
    assert l2.refused("eth_getBalance", l2.accounts[0], "0xffffff").code == -32000
    assert l2.refused("eth_getBalance", l2.accounts[0], "newest").code == -32602
    assert l2("eth_getBlockByHash", "0x" + "11" * 32, False) is None
    assert l2("eth_getBlockByNumber", "0xffffff", True) is None


def test_a_transaction_its_receipt_and_its_block_agree(l2):
    receipt = wrap(l2, 5 * OPEN)
    block = l2("eth_getBlockByNumber", receipt["blockNumber"], True)
    (transaction,) = block["transactions"]
    assert transaction == l2("eth_getTransactionByHash", receipt["transactionHash"])
    for name in ("blockHash", "blockNumber", "transactionIndex", "from", "to"):
        assert transaction[name] == receipt[name]
    assert (block["hash"], block["gasUsed"]) == (receipt["blockHash"], receipt["gasUsed"])
    assert (receipt["status"], receipt["contractAddress"], receipt["type"]) == ("0x1", None, "0x2")
    assert transaction["value"] == hex(5 * OPEN)
    assert [log["logIndex"] for log in receipt["logs"]] == [hex(i) for i in range(len(receipt["logs"]))]
    place = (receipt["blockNumber"], "0x0")
    assert l2("eth_getTransactionByBlockNumberAndIndex", *place) == transaction
    assert l2("eth_getTransactionByBlockHashAndIndex", block["hash"], "0x0") == transaction
    assert l2("eth_getTransactionByBlockNumberAndIndex", place[0], "0x1") is None
    assert l2("eth_getBlockReceipts", receipt["blockNumber"]) == [receipt]
    assert l2("eth_getBlockTransactionCountByHash", block["hash"]) == "0x1"
    assert l2("eth_getTransactionReceipt", "0x" + "11" * 32) is None
    assert l2("eth_getTransactionByHash", "0x" + "11" * 32) is None
    assert all(
        name in block
        for name in ("stateRoot", "receiptsRoot", "logsBloom", "baseFeePerGas", "withdrawalsRoot")
    )


def test_a_creation_has_no_receiver(l2):
    code = "0x600a600c600039600a6000f3602a60005260206000f3"
    receipt = send(l2, {"from": l2.accounts[0], "input": code})
    assert receipt["to"] is None
    assert l2("eth_getTransactionByHash", receipt["transactionHash"])["to"] is None
    assert l2("eth_getCode", receipt["contractAddress"]) == "0x602a60005260206000f3"
    assert number(l2("eth_call", {"to": receipt["contractAddress"]})) == 42


def test_input_and_data_are_one_field(l2):
    data = call_of(GOPEN, "totalSupply")
    wrap(l2, 3)
    for fields in ({"data": data}, {"input": data}, {"data": data, "input": data}):
        assert number(l2("eth_call", {"to": l2.contract("GOPEN"), **fields}, "latest")) == 3
    both = {"to": l2.contract("GOPEN"), "data": data, "input": "0x01"}
    assert l2.refused("eth_call", both).code == -32602


def test_reverts_have_code_3_and_their_bytes(l2):
    data = call_of(GOPEN, "transfer", bytes(19) + b"\x01", 9)
    fields = {"from": l2.accounts[0], "to": l2.contract("GOPEN"), "data": data}
    wanted = "0x" + (keccak(b"ERC20InsufficientBalance(address,uint256,uint256)")[:4]).hex()
    for method in ("eth_call", "eth_estimateGas", "eth_sendTransaction"):
        error = l2.refused(method, fields)
        assert (error.code, error.data[:10]) == (3, wanted)
        assert error.message.startswith("execution reverted: ERC20InsufficientBalance(sender=0x")
    receipt = send(l2, {**fields, "gas": hex(100_000)})
    assert (receipt["status"], receipt["logs"]) == ("0x0", [])


def test_a_text_reason_and_no_reason(l2):
    reason = "0x" + (keccak(b"Error(string)")[:4] + encode_values(["string"], ["no way"])).hex()
    size = (len(reason) - 2) // 2
    code = f"0x60{size:02x}80600b5f395ffd{reason[2:]}".replace("600b5f39", "60095f39")
    error = l2.refused("eth_call", {"to": NOBODY}, "latest", {NOBODY: {"code": code}})
    assert (error.code, error.message, error.data) == (3, "execution reverted: no way", reason)
    bare = l2.refused("eth_call", {"to": NOBODY}, "latest", {NOBODY: {"code": "0x5f5ffd"}})
    assert (bare.code, bare.message, bare.data) == (3, "execution reverted", "0x")
    gas = l2.refused("eth_call", {"to": NOBODY, "gas": "0x10000"}, "latest", {NOBODY: {"code": "0x5b5f56"}})
    assert (gas.code, gas.message, gas.data) == (-32000, "out of gas", None)
    junk = l2.refused("eth_call", {"to": NOBODY}, "latest", {NOBODY: {"code": "0xfe"}})
    assert (junk.code, junk.message) == (-32000, "invalid opcode")


def test_overrides_hold_for_one_call(l2):
    """Balance, code, single words and whole storage; afterwards everything is as it was."""
    reads = "0x5f545f5260015460205260405ff3"  # returns words 0 and 1
    moment = l2.moment()

    def words(override):
        out = l2("eth_call", {"to": NOBODY}, "latest", {NOBODY: {"code": reads, **override}})
        return number(out[:66]), int(out[66:], 16)

    assert words({}) == (0, 0)
    assert words({"stateDiff": {"0x0": "0x7"}}) == (7, 0)
    gopen = l2.contract("GOPEN")
    word = "0x" + "00" * 31 + "01"
    whole = l2(
        "eth_call", {"to": gopen}, "latest", {gopen: {"code": reads, "state": {word: "0x" + "09".zfill(64)}}}
    )
    assert (number(whole[:66]), int(whole[66:], 16)) == (0, 9)
    value = {"from": NOBODY, "to": l2.accounts[0], "value": "0x5"}
    assert l2.refused("eth_call", value).message.startswith("insufficient funds")
    assert l2("eth_call", value, "latest", {NOBODY: {"balance": "0x5"}}) == "0x"
    both = {NOBODY: {"state": {}, "stateDiff": {}}}
    assert l2.refused("eth_call", {"to": NOBODY}, "latest", both).code == -32602
    assert l2.moment() == moment


def test_an_estimate_is_enough_and_hardly_more(l2):
    gopen = l2.contract("GOPEN")
    wrap(l2, 10 * OPEN)
    send(
        l2,
        {
            "from": l2.accounts[0],
            "to": gopen,
            "data": call_of(GOPEN, "delegate", bytes.fromhex(l2.accounts[0][2:])),
        },
    )
    for fields in (
        {"to": NOBODY, "value": "0x1"},
        {"to": gopen, "data": call_of(GOPEN, "transfer", bytes.fromhex(l2.accounts[1][2:]), 5)},
        {"to": gopen, "data": call_of(GOPEN, "withdraw", OPEN)},
        {"data": "0x" + load("GOPEN").creation_code.hex()},
    ):
        whole = {"from": l2.accounts[0], **fields}
        gas = number(l2("eth_estimateGas", whole))
        receipt = send(l2, {**whole, "gas": hex(gas)})
        assert receipt["status"] == "0x1"
        assert gas <= number(receipt["gasUsed"]) * 6 // 5


def test_an_estimate_sees_the_time_of_the_next_block(l2):
    """After a jump without a block, what will be allowed then can be estimated and sent."""
    gate, opens = "0x" + "77" * 20, l2.chain.time + 5_000
    l2("anvil_setCode", gate, f"0x63{opens:08x}4210600b57005b5f5ffd")
    fields = {"from": l2.accounts[0], "to": gate}
    assert l2.refused("eth_estimateGas", fields).code == 3
    l2("evm_increaseTime", 5_000)
    assert l2.refused("eth_call", fields).code == 3
    assert l2("eth_call", fields, "pending") == "0x"
    assert number(l2("eth_estimateGas", fields)) > 21_000
    assert send(l2, fields)["status"] == "0x1"


def test_an_access_list_names_what_is_touched_and_saves_gas(l2):
    gopen = l2.contract("GOPEN").lower()
    fields = {"from": l2.accounts[0], "to": gopen, "data": call_of(GOPEN, "deposit"), "value": "0x1"}
    answer = l2("eth_createAccessList", fields, "latest")
    (entry,) = answer["accessList"]
    assert entry["address"] == gopen
    assert entry["storageKeys"]
    receipt = send(l2, {**fields, "accessList": answer["accessList"], "type": "0x1", "gasPrice": "0x0"})
    assert (receipt["type"], receipt["gasUsed"]) == ("0x1", answer["gasUsed"])
    failing = {"from": l2.accounts[0], "to": gopen, "data": call_of(GOPEN, "withdraw", 10**30)}
    assert "error" in l2("eth_createAccessList", failing)


def test_proofs_hold_against_the_header(l2):
    import rlp
    from trie import HexaryTrie

    wrap(l2, OPEN)
    gopen, key = l2.contract("GOPEN"), "0x0"
    supply = next(hex(i) for i in range(12) if number(l2("eth_getStorageAt", gopen, hex(i))) == OPEN)
    proof = l2("eth_getProof", gopen, [supply, key], "latest")
    root = bytes.fromhex(l2("eth_getBlockByNumber", "latest", False)["stateRoot"][2:])
    nodes = [rlp.decode(bytes.fromhex(node[2:])) for node in proof["accountProof"]]
    account = rlp.decode(HexaryTrie.get_from_proof(root, keccak(bytes.fromhex(gopen[2:])), nodes))
    assert account[2].hex() == proof["storageHash"][2:]
    first = proof["storageProof"][0]
    nodes = [rlp.decode(bytes.fromhex(node[2:])) for node in first["proof"]]
    word = HexaryTrie.get_from_proof(account[2], keccak(int(supply, 16).to_bytes(32, "big")), nodes)
    assert int.from_bytes(rlp.decode(word), "big") == number(first["value"]) == OPEN
    assert (first["key"], proof["storageProof"][1]["value"]) == (
        supply,
        "0x0" if supply != "0x0" else hex(OPEN),
    )
    absent = l2("eth_getProof", NOBODY, [], "latest")
    assert (absent["nonce"], absent["codeHash"]) == ("0x0", "0x" + keccak(b"").hex())


def test_fees_are_off_and_history_has_a_row_for_each_block(l2):
    wrap(l2, 1)
    assert (l2("eth_gasPrice"), l2("eth_maxPriorityFeePerGas")) == ("0x0", "0x0")
    history = l2("eth_feeHistory", "0x3", "latest", [0, 50, 100])
    assert history["baseFeePerGas"] == ["0x0"] * 4
    assert (len(history["gasUsedRatio"]), history["reward"]) == (3, [["0x0"] * 3] * 3)
    assert history["gasUsedRatio"][-1] > 0
    assert l2("eth_feeHistory", 0, "latest")["gasUsedRatio"] == []
    assert l2.refused("eth_feeHistory", "0x3", "latest", [50, 10]).code == -32602


def test_events_by_contract_topic_and_range(l2):
    receipts = [wrap(l2, i + 1, account=i % 2) for i in range(4)]
    gopen, topic = l2.contract("GOPEN"), "0x" + keccak(b"Deposit(address,uint256)").hex()
    first, last = receipts[0]["blockNumber"], receipts[-1]["blockNumber"]
    sender = "0x" + l2.accounts[1][2:].rjust(64, "0")

    def amounts(**query):
        return [number(log["data"]) for log in l2("eth_getLogs", {"fromBlock": first, **query})]

    assert amounts(address=gopen, topics=[topic]) == [1, 2, 3, 4]
    assert amounts(address=[gopen, NOBODY], topics=[[topic, "0x" + "22" * 32], sender]) == [2, 4]
    assert amounts(topics=[topic, None], toBlock=receipts[1]["blockNumber"]) == [1, 2]
    assert amounts(topics=[[None], sender], address=[], toBlock="latest")[-1] == 4
    assert amounts(address=NOBODY) == amounts(topics=["0x" + "22" * 32]) == []
    by_hash = l2("eth_getLogs", {"blockHash": receipts[2]["blockHash"], "address": gopen, "topics": [topic]})
    assert by_hash == [log for log in receipts[2]["logs"] if log["topics"][0] == topic]
    assert l2("eth_getLogs", {"topics": [topic]})[0]["blockNumber"] == last
    for wrong in ({"fromBlock": last, "toBlock": first}, {"topics": [topic] * 5}, {"topics": ["0x11"]},
                  {"blockHash": receipts[0]["blockHash"], "toBlock": "latest"}, {"address": "0x11"}):  # fmt: skip
        assert l2.refused("eth_getLogs", wrong).code == -32602


def test_filters_tell_what_is_new_once(l2):
    topic = "0x" + keccak(b"Deposit(address,uint256)").hex()
    logs = l2("eth_newFilter", {"topics": [topic]})
    blocks, pending = l2("eth_newBlockFilter"), l2("eth_newPendingTransactionFilter")
    receipt = wrap(l2, 7)
    assert [number(log["data"]) for log in l2("eth_getFilterChanges", logs)] == [7]
    assert l2("eth_getFilterChanges", blocks) == [receipt["blockHash"]]
    assert l2("eth_getFilterChanges", pending) == [receipt["transactionHash"]]
    assert all(l2("eth_getFilterChanges", one) == [] for one in (logs, blocks, pending))
    assert [number(log["data"]) for log in l2("eth_getFilterLogs", logs)][-1] == 7
    assert l2.refused("eth_getFilterLogs", blocks).code == -32000
    assert (l2("eth_uninstallFilter", logs), l2("eth_uninstallFilter", logs)) == (True, False)
    assert l2.refused("eth_getFilterChanges", logs).message == "filter not found"
