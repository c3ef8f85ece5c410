"""Time, blocks, snapshots, the pool, accounts set by hand, states taken out and in, and the two chains together."""

from __future__ import annotations

from itertools import pairwise

import pytest

pytest.importorskip("eth")

from sim.chain.addresses import address_of
from sim.chain.artifacts import load
from sim.chain.rpc.devnet import BASE_FEE_VAULT, SEQUENCER_FEE_VAULT, Devnet, DevnetOptions
from tests.unit.rpc_network import OPEN, Asked, open_spec, restored

NOBODY = "0x" + address_of("nobody").hex()
DAY = 86_400


@pytest.fixture
def l2():
    yield from restored("l2")


@pytest.fixture
def l1(l2):
    return Asked(l2.network, "l1")


def number(text):
    return int(text, 16)


def block(node, name="latest"):
    return node("eth_getBlockByNumber", name, False)


def pay(node, account=0, **fields):
    return node(
        "eth_sendTransaction", {"from": node.accounts[account], "to": NOBODY, "value": "0x1", **fields}
    )


def test_mining_makes_blocks_a_second_apart_or_at_a_time(l2):
    first = block(l2)
    assert l2("evm_mine") == "0x0"
    assert number(first["timestamp"]) < number(block(l2)["timestamp"]) < l2.chain.time
    l2("evm_mine", number(first["timestamp"]) + 1_000)
    assert number(block(l2)["timestamp"]) == number(first["timestamp"]) + 1_000
    l2("anvil_mine", "0x3", "0x3c")
    blocks = [block(l2, hex(number(block(l2)["number"]) - back)) for back in (2, 1, 0)]
    times = [number(one["timestamp"]) for one in blocks]
    assert [after - before for before, after in pairwise(times)] == [60, 60]
    l2("evm_mine", {"blocks": 5})
    assert number(block(l2)["number"]) == number(blocks[-1]["number"]) + 5
    l2("hardhat_mine", "0x0")
    assert number(block(l2)["number"]) == number(blocks[-1]["number"]) + 5


def test_time_jumps_without_blocks_between(l2):
    before = block(l2)
    added = l2("evm_increaseTime", DAY)
    assert added == DAY
    assert block(l2) == before
    l2("evm_mine")
    assert number(block(l2)["timestamp"]) >= number(before["timestamp"]) + DAY
    later = number(block(l2)["timestamp"]) + 50
    l2("evm_setNextBlockTimestamp", later)
    pay(l2)
    assert number(block(l2)["timestamp"]) == later
    moment = l2.moment()
    for method, value in (
        ("evm_setNextBlockTimestamp", later),
        ("evm_setNextBlockTimestamp", 1_757_000_000_000),  # milliseconds by mistake
        ("evm_increaseTime", 2**40),
        ("evm_increaseTime", "soon"),
        ("evm_mine", later - 9),
        ("evm_mine", {"blocks": 10**9}),
        ("anvil_mine", hex(10**9)),
    ):
        assert l2.refused(method, value).code == -32602, method
    assert l2.refused("anvil_mine", "0x3e8", hex(DAY * 400)).code == -32602
    assert l2.moment() == moment


def test_both_chains_are_at_one_time(l2, l1):
    for act in (
        lambda: pay(l2),
        lambda: pay(l1),
        lambda: l1("evm_increaseTime", 777),
        lambda: l2("evm_mine"),
    ):
        act()
        assert l1.chain.time == l2.chain.time


def test_deposits_come_over_and_outputs_are_proposed_by_themselves(l2, l1):
    network = l2.network
    holder, outputs = l2.node.accounts[0], len(network.bridge.outputs.proposed)
    before = l2.chain.balance(holder)
    token, portal = load("OPEN").abi, network.bridge.contracts["OptimismPortal"]
    approve = token.encode_call("approve", portal, 7 * OPEN)
    l1(
        "eth_sendTransaction",
        {"from": l1.accounts[0], "to": l1.contract("OPEN"), "data": "0x" + approve.hex()},
    )
    order = network.bridge.deployed.portal.abi.encode_call(
        "depositERC20Transaction", holder, 7 * OPEN, 7 * OPEN, 21_000, False, b""
    )
    l1("eth_sendTransaction", {"from": l1.accounts[0], "to": "0x" + portal.hex(), "data": "0x" + order.hex()})
    assert l2.chain.balance(holder) == before + 7 * OPEN
    deposit = l2("eth_getBlockByNumber", "latest", True)["transactions"][0]
    assert (deposit["type"], deposit["mint"]) == ("0x7e", hex(7 * OPEN))
    l2("evm_increaseTime", 3 * DAY)
    assert len(network.bridge.outputs.proposed) >= outputs + 3


def test_a_bridge_that_was_broken_by_hand_stops_nothing_else(l2, l1):
    assert l2("olsim_withdrawals") == []
    taken = l2("evm_snapshot")
    oracle = l1.contract("L2OutputOracle")
    l1("anvil_setCode", oracle, "0x5f5ffd")
    l2("evm_increaseTime", 2 * DAY)
    assert l1.chain.time == l2.chain.time
    assert l2("eth_getTransactionReceipt", pay(l2))["status"] == "0x1"
    assert l2.refused("olsim_withdrawals").message.startswith("the bridge stands still: ")
    l2("evm_revert", taken)
    pay(l2)
    assert l2("olsim_withdrawals") == []


def test_a_snapshot_is_of_both_chains_and_is_used_once(l2, l1):
    moment, filters = l2.moment(), l2("eth_newBlockFilter")
    taken = l2("evm_snapshot")
    pay(l2)
    pay(l1)
    l1("evm_increaseTime", 5 * DAY)
    l2("anvil_impersonateAccount", NOBODY)
    later = l2("evm_snapshot")
    assert l1("evm_revert", taken) is True
    assert l2.moment() == moment
    assert NOBODY not in l2.node.impersonated
    assert (l1("evm_revert", taken), l2("evm_revert", later), l2("evm_revert", "0xffff")) == (
        False,
        False,
        False,
    )
    assert l2("eth_getFilterChanges", filters) == []
    l2("evm_mine")
    assert l2("eth_getFilterChanges", filters) == [block(l2)["hash"]]


def test_accounts_can_be_set_by_hand(l2):
    for prefix in ("anvil", "hardhat"):
        assert l2(f"{prefix}_setBalance", NOBODY, hex(9 * OPEN)) is True
        assert number(l2("eth_getBalance", NOBODY, "latest")) == 9 * OPEN
        l2(f"{prefix}_setNonce", NOBODY, "0x7")
        assert l2("eth_getTransactionCount", NOBODY, "latest") == "0x7"
        l2(f"{prefix}_setCode", NOBODY, "0x5f545f5260205ff3")
        word = "0x" + "2a".rjust(64, "0")
        l2(f"{prefix}_setStorageAt", NOBODY, "0x0", word)
        assert l2("eth_call", {"to": NOBODY}) == l2("eth_getStorageAt", NOBODY, "0x0") == word
        l2(f"{prefix}_setCode", NOBODY, "0x")
    l2("evm_mine")
    proof = l2("eth_getProof", NOBODY, ["0x0"], "latest")
    assert (proof["balance"], proof["nonce"], proof["storageProof"][0]["value"]) == (
        hex(9 * OPEN),
        "0x7",
        "0x2a",
    )


def test_any_account_can_be_impersonated(l2):
    treasury = l2.contract("Timelock")
    fields = {"from": treasury, "to": NOBODY, "value": hex(3 * OPEN)}
    assert l2.refused("eth_sendTransaction", fields).code == -32000
    l2("hardhat_impersonateAccount", treasury)
    digest = l2("eth_sendTransaction", fields)
    transaction = l2("eth_getTransactionByHash", digest)
    assert (transaction["type"], transaction["from"], transaction["r"]) == ("0x7e", treasury.lower(), "0x0")
    assert number(l2("eth_getBalance", NOBODY)) == 3 * OPEN
    assert l2("anvil_stopImpersonatingAccount", treasury) is True
    assert l2.refused("eth_sendTransaction", fields).code == -32000


def test_roles_without_a_key_are_acted_for(l2):
    poster = "0x" + address_of("distributor.poster").hex()
    assert l2("eth_sendTransaction", {"from": poster, "to": NOBODY, "value": "0x1"})
    assert l2.refused("eth_sign", poster, "0x00").code == -32000


def test_without_automine_transactions_wait_and_share_a_block(l2):
    l2("evm_setAutomine", False)
    start = number(l2("eth_getTransactionCount", l2.accounts[0], "latest"))
    hashes = [pay(l2) for _ in range(3)]
    ahead = pay(l2, nonce=hex(start + 5))
    assert l2("txpool_status") == {"pending": "0x3", "queued": "0x1"}
    assert number(l2("eth_getTransactionCount", l2.accounts[0], "pending")) == start + 3
    assert number(l2("eth_getTransactionCount", l2.accounts[0], "latest")) == start
    content = l2("txpool_content")
    assert sorted(content["pending"][l2.accounts[0]]) == [str(start + i) for i in range(3)]
    assert content["queued"][l2.accounts[0]][str(start + 5)]["hash"] == ahead
    assert l2("eth_getTransactionByHash", hashes[0])["blockNumber"] is None
    assert l2("eth_getTransactionReceipt", hashes[0]) is None
    assert block(l2, "pending")["transactions"] == hashes
    assert l2("eth_getBlockTransactionCountByNumber", "pending") == "0x3"
    assert l2("eth_getTransactionByBlockNumberAndIndex", "pending", "0x1")["hash"] == hashes[1]
    l2("evm_mine")
    assert block(l2)["transactions"] == hashes
    assert l2("txpool_status") == {"pending": "0x0", "queued": "0x1"}
    receipts = [l2("eth_getTransactionReceipt", one) for one in hashes]
    assert [r["cumulativeGasUsed"] for r in receipts] == [hex(21_000 * (i + 1)) for i in range(3)]
    assert len({r["blockHash"] for r in receipts}) == 1
    for _ in range(2):
        pay(l2)
    l2("evm_setAutomine", True)
    assert l2("eth_getTransactionReceipt", ahead)["status"] == "0x1"
    assert l2("txpool_status") == {"pending": "0x0", "queued": "0x0"}


def test_a_transaction_ahead_of_its_turn_waits_for_it(l2):
    start = number(l2("eth_getTransactionCount", l2.accounts[0], "latest"))
    ahead = pay(l2, nonce=hex(start + 1))
    assert l2("eth_getTransactionReceipt", ahead) is None
    same = {"from": l2.accounts[0], "to": NOBODY, "value": "0x1", "nonce": hex(start + 1), "gas": hex(26_250)}
    assert l2.refused("eth_sendTransaction", same).message == "already known"
    underpriced = l2.refused("eth_sendTransaction", {**same, "value": "0x9"})
    assert underpriced.message == "replacement transaction underpriced"
    dearer = {**same, "value": "0x9", "maxFeePerGas": "0x9", "maxPriorityFeePerGas": "0x9"}
    replacing = l2("eth_sendTransaction", dearer)
    assert l2("eth_getTransactionByHash", ahead) is None
    pay(l2)
    assert l2("eth_getTransactionReceipt", replacing)["status"] == "0x1"
    assert l2.refused("eth_sendTransaction", {**same, "nonce": hex(start + 500)}).code == -32005


def test_a_full_block_leaves_the_rest_waiting(l2):
    l2("evm_setAutomine", False)
    hashes = [pay(l2, account=i, gas=hex(25_000_000)) for i in range(3)]
    l2("evm_mine")
    assert block(l2)["transactions"] == hashes
    l2("anvil_setCode", NOBODY, "0xfe")
    burning = [pay(l2, account=i, gas=hex(25_000_000)) for i in range(3)]
    l2("evm_mine")
    mined = block(l2)
    assert mined["transactions"] == burning[:2]
    assert number(mined["gasUsed"]) == 50_000_000
    assert all(l2("eth_getTransactionReceipt", one)["status"] == "0x0" for one in burning[:2])
    l2("anvil_setCode", NOBODY, "0x")
    l2("evm_mine")
    assert block(l2)["transactions"] == burning[2:]


def test_a_transaction_that_can_no_longer_run_is_dropped(l2):
    l2("evm_setAutomine", False)
    rich = pay(l2, account=1, value=hex(OPEN), gas="0x5208")
    l2("anvil_setBalance", l2.accounts[1], "0x1")
    l2("evm_mine")
    assert (block(l2)["transactions"], l2("eth_getTransactionByHash", rich)) == ([], None)
    assert l2("eth_getTransactionCount", l2.accounts[1], "latest") == "0x0"


def test_a_state_is_taken_out_and_in(l2):
    l2("anvil_setBalance", NOBODY, "0x2a")
    pay(l2)
    packed = l2("anvil_dumpState")
    assert l2("anvil_dumpState") == packed
    l2("anvil_setBalance", NOBODY, "0x1")
    pay(l2)
    blocks = block(l2)["number"]
    assert l2("anvil_loadState", packed) is True
    assert l2("eth_getBalance", NOBODY, "latest") == "0x2b"
    assert block(l2)["number"] == blocks
    pay(l2)
    assert l2("eth_getBalance", NOBODY, "latest") == "0x2c"
    moment = l2.moment()
    for wrong in ("0x", "0x1f8b", packed[:-10], "0x" + b"{}".hex(), packed[:200] + "00" + packed[202:]):
        assert l2.refused("hardhat_loadState", wrong).code == -32602
    assert l2.moment() == moment


def test_fees_can_be_switched_on():
    """With a base fee, coins move to the vaults, suggestions follow the market, and none is lost."""
    network = Devnet(open_spec(), DevnetOptions(accounts=2, base_fee=10**9))
    node = Asked(network, "l2")
    escrow = network.bridge.escrow()
    price = number(node("eth_gasPrice"))
    assert price == network.l2.chain.base_fee + 10**9 > 10**9
    receipt = node("eth_getTransactionReceipt", pay(node))
    base_fee, gas = number(block(node)["baseFeePerGas"]), number(receipt["gasUsed"])
    assert number(receipt["effectiveGasPrice"]) == base_fee + 10**9
    chain = network.l2.chain
    assert (chain.balance(BASE_FEE_VAULT), chain.balance(SEQUENCER_FEE_VAULT)) == (
        base_fee * gas,
        10**9 * gas,
    )
    named = [
        *network.l2.keys,
        *network.l2.named.values(),
        network.deployed.timelock.address,
        address_of("nobody"),
    ]
    assert sum(map(chain.balance, [*named, BASE_FEE_VAULT, SEQUENCER_FEE_VAULT])) == escrow
    cheap = node.refused(
        "eth_sendTransaction",
        {"from": node.accounts[0], "to": NOBODY, "maxFeePerGas": "0x1", "maxPriorityFeePerGas": "0x0"},
    )
    assert cheap.message.startswith("max fee per gas less than block base fee")
    assert node("eth_feeHistory", "0x1", "latest", [50])["reward"] == [[hex(10**9)]]
    assert node("eth_call", {"from": NOBODY, "to": node.accounts[0]}) == "0x"


def test_blocks_at_intervals_leave_transactions_waiting():
    network = Devnet(open_spec(), DevnetOptions(accounts=1, block_time=2))
    node = Asked(network, "l2")
    sent = pay(node)
    assert node("eth_getTransactionReceipt", sent) is None
    before = number(block(node)["timestamp"])
    network.tick()
    assert node("eth_getTransactionReceipt", sent)["status"] == "0x1"
    for _ in range(20):
        network.tick()
    assert 0 <= number(block(node)["timestamp"]) - before - 21 * 2 <= 4


def test_two_networks_are_the_same_to_the_last_bit():
    """Fixed genesis, clock, keys and addresses: equal blocks in every run."""
    nodes = [Asked(Devnet(open_spec(), DevnetOptions(accounts=1)), "l2") for _ in range(2)]
    for node in nodes:
        pay(node)
        node("evm_increaseTime", 2 * DAY)
        pay(node)
    assert block(nodes[0]) == block(nodes[1])
    assert nodes[0].moment() == nodes[1].moment()
