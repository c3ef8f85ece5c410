"""Our chain against eth-tester: the same drawn transactions give the same status, gas, logs and balances."""

from __future__ import annotations

import random

import pytest

pytest.importorskip("eth_tester")

from eth_tester import EthereumTester, PyEVMBackend

from models.governance import ProposalState
from models.merkle import payout_leaf, payout_tree
from sim.chain.addresses import keccak
from sim.chain.artifacts import load
from sim.chain.evm import Chain

pytestmark = [pytest.mark.chain, pytest.mark.slow]

T0, DAY, COIN = 2_208_988_800, 86_400, 10**18  # 2040: the tester's blocks are never before its own clock
GAS = 8_000_000
COMPARED = 300


class Twin:
    """Sends every transaction to both chains and compares what they say."""

    def __init__(self):
        parameters = PyEVMBackend.generate_genesis_params({"timestamp": T0, "gas_limit": 60_000_000})
        parameters["base_fee_per_gas"] = 0  # py-evm burns it; the tester's own function refuses the key
        state = PyEVMBackend.generate_genesis_state(overrides={"balance": 10**27}, num_accounts=4)
        backend = PyEVMBackend(genesis_parameters=parameters, genesis_state=state)
        self.tester = EthereumTester(backend=backend)
        self.accounts = [bytes.fromhex(a[2:]) for a in self.tester.get_accounts()[:4]]
        self.chain = Chain(chain_id=1, genesis_time=T0, balances=dict.fromkeys(self.accounts, 10**27))
        self.compared = 0

    def send(self, sender, to, data=b"", value=0):
        transaction = {
            "from": "0x" + sender.hex(), "data": "0x" + data.hex(), "value": value, "gas": GAS,
            "max_fee_per_gas": 0, "max_priority_fee_per_gas": 0,
        }  # fmt: skip
        if to is not None:
            transaction["to"] = "0x" + to.hex()
        theirs = self.tester.get_transaction_receipt(self.tester.send_transaction(transaction))
        self._follow(theirs["block_number"])
        ours = self.chain.send(sender, to, data, value, gas=GAS)
        assert (ours.status, ours.gas_used) == (theirs["status"], theirs["gas_used"])
        assert [(log.address.hex(), [t.hex() for t in log.topics], log.data.hex()) for log in ours.logs] == [
            (log["address"][2:].lower(), [t[2:] for t in log["topics"]], log["data"][2:])
            for log in theirs["logs"]
        ]
        if to is None:
            assert ours.contract_address.hex() == theirs["contract_address"][2:].lower()
        self.compared += 1
        return ours

    def _follow(self, block_number):
        timestamp = self.tester.get_block_by_number(block_number)["timestamp"]
        if timestamp > self.chain.time:
            self.chain.set_time(timestamp)

    def travel(self, seconds):
        pending = self.tester.get_block_by_number("pending")["timestamp"]
        self.tester.time_travel(pending + seconds)

    def deploy(self, name, *arguments):
        artifact = load(name)
        code = artifact.creation_code + artifact.abi.encode_constructor(*arguments)
        return self.send(self.accounts[0], None, code).contract_address

    def act(self, sender, address, name, function, *arguments, value=0):
        return self.send(sender, address, load(name).abi.encode_call(function, *arguments), value)


@pytest.fixture(scope="module")
def twin():
    twin = Twin()
    first = twin.accounts[0]
    twin.gopen = twin.deploy("GOPEN")
    twin.timelock = twin.deploy("Timelock", DAY, [], [], first)
    twin.governor = twin.deploy("OpenGovernor", twin.gopen, twin.timelock, DAY, 7 * DAY, 10 * COIN, 50_000)
    for role in ("PROPOSER_ROLE", "EXECUTOR_ROLE", "CANCELLER_ROLE"):
        twin.act(first, twin.timelock, "Timelock", "grantRole", keccak(role.encode()), twin.governor)
    twin.act(first, twin.timelock, "Timelock", "renounceRole", bytes(32), first)
    twin.distributor = twin.deploy("AttributionDistributor", twin.timelock, first)
    twin.parameters = twin.deploy("Parameters", twin.timelock, ["fees.split"], [[2, 2, 5]])
    twin.token = twin.deploy("OPEN", "OpenLedger", "OPEN", 10**27, first)
    dates = [T0 + DAY * i for i in range(1, 13)]
    twin.vesting = twin.deploy(
        "TrancheVesting",
        twin.token,
        twin.accounts[3],
        10**24,
        10**23,
        10**9,
        T0,
        dates,
        list(range(1, 13)),
        12,
    )
    twin.act(first, twin.token, "OPEN", "transfer", twin.vesting, 10**24)
    return twin


def test_one_proposal_from_wrap_to_execution(twin):
    first, second, third, _ = twin.accounts
    for account in (first, second):
        twin.act(account, twin.gopen, "GOPEN", "deposit", value=100 * COIN)
        twin.act(account, twin.gopen, "GOPEN", "delegate", account)
    data = load("Parameters").abi.encode_call("set", "fees.split", [2, 1, 6])
    proposal = ([twin.parameters], [0], [data])
    receipt = twin.act(first, twin.governor, "OpenGovernor", "propose", *proposal, "data first")
    number = int.from_bytes(receipt.logs[0].data[:32], "big")
    twin.travel(DAY + 10)
    twin.act(first, twin.governor, "OpenGovernor", "castVote", number, 1)
    twin.act(second, twin.governor, "OpenGovernor", "castVote", number, 2)
    assert twin.act(first, twin.governor, "OpenGovernor", "castVote", number, 1).status == 0
    twin.travel(7 * DAY)
    rest = (*proposal, keccak(b"data first"))
    for name in ("queue", "execute"):
        signature = f"{name}(address[],uint256[],bytes[],bytes32)"
        assert twin.act(third, twin.governor, "OpenGovernor", signature, *rest).status == 1
        twin.travel(DAY)
    state = twin.chain.call(twin.governor, load("OpenGovernor").abi.encode_call("state", number))
    assert int.from_bytes(state.output, "big") == ProposalState.EXECUTED


def test_drawn_transactions(twin):
    """Wrap, unwrap, delegate, transfer, release, post, claim and plain transfers, many of them refused."""
    draw = random.Random(11)
    tree, total, epoch = None, 0, 0
    payouts = [(account, COIN * (i + 1)) for i, account in enumerate(twin.accounts)]
    refused = 0
    while twin.compared < COMPARED:
        sender, other = draw.choice(twin.accounts), draw.choice(twin.accounts)
        amount = draw.choice([0, 1, COIN, 3 * COIN, 500 * COIN])
        kind = draw.randrange(10)
        if kind == 0:
            receipt = twin.act(sender, twin.gopen, "GOPEN", "deposit", value=amount)
        elif kind == 1:
            receipt = twin.act(sender, twin.gopen, "GOPEN", "withdraw", amount)
        elif kind == 2:
            receipt = twin.act(sender, twin.gopen, "GOPEN", "delegate", other)
        elif kind == 3:
            receipt = twin.act(sender, twin.gopen, "GOPEN", "transfer", other, amount)
        elif kind == 4:
            receipt = twin.act(sender, twin.token, "OPEN", "burn", amount)
        elif kind == 5:
            receipt = twin.act(sender, twin.vesting, "TrancheVesting", "release")
        elif kind == 6:
            tree = payout_tree(payouts, keccak)
            arguments = (epoch + 1, bytes(32), epoch, tree.root, total + amount, bytes(32))
            receipt = twin.act(
                sender, twin.distributor, "AttributionDistributor", "postEpoch", *arguments, value=amount
            )
            if receipt.status:
                epoch, total = epoch + 1, total + amount
                payouts = [(account, old + draw.randrange(COIN)) for account, old in payouts]
        elif kind == 7 and tree is not None:
            known = [p for p in payouts if payout_leaf(*p, keccak) in tree.positions] or payouts
            account, owed = draw.choice(known)
            leaf = payout_leaf(account, owed, keccak)
            proof = tree.proof(leaf) if leaf in tree.positions else []
            receipt = twin.act(
                sender, twin.distributor, "AttributionDistributor", "claim", account, owed, proof
            )
        elif kind == 8:
            receipt = twin.send(sender, other, value=amount)
        else:
            twin.travel(draw.randrange(2, 3 * DAY))
            continue
        refused += receipt.status == 0
    for account in (*twin.accounts, twin.gopen, twin.distributor):
        assert twin.chain.balance(account) == twin.tester.get_balance("0x" + account.hex())
        assert twin.chain.nonce(account) == twin.tester.get_nonce("0x" + account.hex())
    assert 10 < refused < COMPARED - 30
