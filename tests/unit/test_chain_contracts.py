"""The contracts: gas, counting, vesting to the wei, and who may do what."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("eth")

from models.governance import ProposalState
from models.merkle import payout_leaf, payout_tree
from sim.chain.abi import Reverted
from sim.chain.addresses import address_of, keccak
from sim.chain.artifacts import load, names
from sim.chain.clients.distributor import Posted
from sim.chain.clients.fee_splitter import Settlement
from sim.chain.clients.gopen import Gopen
from sim.chain.clients.governor import Call, Support
from sim.chain.clients.open_token import OpenToken
from sim.chain.clients.registry import Kind
from sim.chain.clients.staking import Lock
from sim.chain.clients.timelock import ADMIN_ROLE, GOVERNOR_ROLES, role_id
from sim.chain.demo import day0_timestamp, open_spec
from sim.chain.deployment import GovernanceSpec, deploy_all
from sim.chain.deployment_spec import ARBITER, LOG_POSTER, REWARDER, SETTLER
from sim.chain.evm import Chain

OPEN, DAY = 10**18, 86_400
T0 = day0_timestamp()
ALICE, BOB, CAROL = (address_of(name) for name in ("alice", "bob", "carol"))


@pytest.fixture
def deployed():
    l1 = Chain(chain_id=900_001, genesis_time=T0 - DAY)
    coins = dict.fromkeys((ALICE, BOB, CAROL), 10**26) | {address_of("distributor.poster"): 10**24}
    l2 = Chain(chain_id=900_161, genesis_time=T0 - DAY, balances=coins)
    rules = {
        "staking.locks.flexible": (7 * DAY,), "staking.locks.long": (365 * DAY,),
        "attribution.slash.duplicate": (1_000,), "fees.burn": (0,),
    }  # fmt: skip
    spec = open_spec()
    return deploy_all(l1, l2, replace(spec, parameters={**spec.parameters, **rules}))


def pass_time(chain, seconds):
    chain.set_time(chain.time + seconds)


def wrap(d, *holdings):
    for account, amount in holdings:
        d.gopen.deposit(account, amount)
        d.gopen.delegate(account, account)
    pass_time(d.l2, 1)


def test_gas_table(deployed):
    """Gas of each step, measured; a change of contract, compiler or engine shows here."""
    d = deployed
    gas = {}
    deployer = address_of("deployer.l1")
    d.l1.set_time(T0)
    gas["OPEN transfer, new holder"] = d.token.transfer(
        address_of("vesting.liquidity"), ALICE, 50 * OPEN
    ).gas_used
    gas["OPEN burn"] = d.token.burn(ALICE, OPEN).gas_used
    gas["vesting release"] = d.vesting["community"].release(deployer)[1].gas_used
    gas["GOPEN deposit, first"] = d.gopen.deposit(ALICE, 10**24).gas_used
    pass_time(d.l2, 1)
    gas["GOPEN deposit, later"] = d.gopen.deposit(ALICE, 10**24).gas_used
    gas["delegate(self)"] = d.gopen.delegate(ALICE, ALICE).gas_used
    pass_time(d.l2, 1)
    gas["GOPEN withdraw"] = d.gopen.withdraw(ALICE, 10**24).gas_used
    wrap(d, (BOB, 10**23))
    calls = tuple(
        Call(d.governor.address, d.governor.abi.encode_call(name, value))
        for name, value in (("setVotingPeriod", 9 * DAY), ("updateQuorumNumerator", 40_000))
    )
    text = "x" * 200
    number, receipt = d.governor.propose(ALICE, calls, text)
    gas["propose, 2 actions and 200 bytes"] = receipt.gas_used
    pass_time(d.l2, DAY + 1)
    gas["castVote, first"] = d.governor.cast_vote(ALICE, number, Support.FOR).gas_used
    gas["castVote, later"] = d.governor.cast_vote(BOB, number, Support.FOR).gas_used
    pass_time(d.l2, 7 * DAY)
    gas["queue, 2 actions"] = d.governor.queue(CAROL, calls, text).gas_used
    pass_time(d.l2, 7 * DAY)
    gas["execute, 2 settings"] = d.governor.execute(CAROL, calls, text).gas_used
    poster = address_of("distributor.poster")
    payouts = [(i.to_bytes(20, "big"), OPEN) for i in range(1, 1023)] + [(ALICE, 5 * OPEN), (BOB, 7 * OPEN)]
    tree = payout_tree(payouts, keccak)
    for label, number in (("first", 1), ("later", 2)):
        posted = Posted(number, bytes(32), 0, tree.root, 2000 * OPEN * number, bytes(32))
        gas[f"post epoch, {label}"] = d.distributor.post_epoch(poster, posted, 2000 * OPEN).gas_used
    for label, account, amount in (("first", ALICE, 5 * OPEN), ("later", BOB, 7 * OPEN)):
        proof = tree.proof(payout_leaf(account, amount, keccak))
        assert len(proof) == 10
        gas[f"claim, {label}, depth 10"] = d.distributor.claim(account, account, amount, proof)[1].gas_used
    assert gas == {
        "OPEN transfer, new holder": 51_647,
        "OPEN burn": 33_780,
        "vesting release": 92_532,
        "GOPEN deposit, first": 119_265,
        "GOPEN deposit, later": 70_650,
        "delegate(self)": 95_654,
        "GOPEN withdraw": 110_709,
        "propose, 2 actions and 200 bytes": 401_870,
        "castVote, first": 83_155,
        "castVote, later": 66_055,
        "queue, 2 actions": 155_975,
        "execute, 2 settings": 164_881,
        "post epoch, first": 99_561,
        "post epoch, later": 45_461,
        "claim, first, depth 10": 88_101,
        "claim, later, depth 10": 70_947,
    }


def test_gas_table_of_fees_stake_registry_and_log(deployed):
    """The same for what is called every day, with the rules of the published split."""
    d = deployed
    gas = {}
    settler, rewarder, word = address_of(SETTLER), address_of(REWARDER), b"w" * 32
    for label in ("first", "later"):
        gas[f"pay a bill, {label}"] = d.splitter.pay(ALICE, word, word, OPEN)[1].gas_used
    parts = d.splitter.quote(d.l2.time // DAY, 9 * OPEN)
    d.l2.send(ALICE, d.splitter.address, value=9 * OPEN)
    settlement = Settlement(d.l2.time // DAY, 3, parts, parts.platform // 2)
    gas["settle an epoch"] = d.splitter.settle(settler, settlement)[1].gas_used
    gas["stake, first"] = d.staking.stake(BOB, Lock.LONG, OPEN).gas_used
    gas["stake, later"] = d.staking.stake(BOB, Lock.LONG, OPEN).gas_used
    d.staking.stake(CAROL, Lock.LONG, OPEN)
    d.l2.send(ALICE, d.staking.address, value=OPEN)
    gas["pay rewards, 2 positions"] = d.staking.distribute(rewarder, OPEN)[1].gas_used
    number, receipt = d.staking.unbond(BOB, Lock.LONG, OPEN)
    gas["unbond"] = receipt.gas_used
    pass_time(d.l2, 365 * DAY)
    gas["withdraw"] = d.staking.withdraw(BOB, number).gas_used
    dispute, receipt = d.staking.open_dispute(ALICE, BOB, word, OPEN)
    gas["open a dispute"] = receipt.gas_used
    gas["decide and slash"] = d.staking.decide(address_of(ARBITER), dispute, upheld=True).gas_used
    net, receipt = d.registry.register(ALICE, Kind.DATANET, "net", b"n" * 32)
    gas["register a DataNet"] = receipt.gas_used
    adapter, receipt = d.registry.register(BOB, Kind.ADAPTER, "adapter", b"a" * 32, [net])
    gas["register an adapter on 1 DataNet"] = receipt.gas_used
    gas["publish a version"] = d.registry.publish(BOB, adapter, b"b" * 32, [net])[1].gas_used
    gas["roll back"] = d.registry.roll_back(BOB, adapter, 1).gas_used
    poster = address_of(LOG_POSTER)
    for label, root, size, before in (("first", b"1" * 32, 1, bytes(32)), ("later", b"2" * 32, 2, b"1" * 32)):
        gas[f"anchor a log head, {label}"] = d.log_anchor.anchor(poster, root, size, before)[1].gas_used
    assert gas == {
        "pay a bill, first": 146_001,
        "pay a bill, later": 103_901,
        "settle an epoch": 154_011,
        "stake, first": 136_176,
        "stake, later": 38_729,
        "pay rewards, 2 positions": 81_312,
        "unbond": 143_366,
        "withdraw": 41_306,
        "open a dispute": 182_734,
        "decide and slash": 116_023,
        "register a DataNet": 169_287,
        "register an adapter on 1 DataNet": 214_949,
        "publish a version": 173_164,
        "roll back": 34_654,
        "anchor a log head, first": 93_762,
        "anchor a log head, later": 81_730,
    }


def test_governor_settings_change_by_proposal_alone(deployed):
    d = deployed
    wrap(d, (ALICE, 10**24))
    calls = (Call(d.governor.address, d.governor.abi.encode_call("setVotingPeriod", 9 * DAY)),)
    with pytest.raises(Reverted, match="GovernorOnlyExecutor"):
        d.governor.transact(ALICE, "setVotingPeriod", 9 * DAY)
    number, _ = d.governor.propose(ALICE, calls, "longer")
    pass_time(d.l2, DAY + 1)
    d.governor.cast_vote(ALICE, number, Support.FOR)
    pass_time(d.l2, 7 * DAY)
    d.governor.queue(BOB, calls, "longer")
    pass_time(d.l2, 7 * DAY - 1)
    with pytest.raises(Reverted, match="TimelockUnexpectedOperationState"):
        d.governor.execute(BOB, calls, "longer")
    pass_time(d.l2, 1)  # exactly the delay is accepted
    d.governor.execute(BOB, calls, "longer")
    assert d.governor.state(number) is ProposalState.EXECUTED
    assert d.governor.settings()["period_s"] == 9 * DAY


@pytest.mark.parametrize(
    ("for_", "against", "abstain", "idle", "state"),
    [
        (60_000, 40_000, 0, 0, ProposalState.SUCCEEDED),
        (50_000, 50_000, 0, 0, ProposalState.DEFEATED),  # a tie
        (10_001, 10_000, 0, 0, ProposalState.SUCCEEDED),
        (15_000, 0, 35_000, 950_000, ProposalState.SUCCEEDED),  # For and Abstain make the quorum of 5 %
        (15_000, 0, 34_999, 950_001, ProposalState.DEFEATED),
        (40_000, 20_000, 0, 940_000, ProposalState.DEFEATED),  # Against does not count
        (0, 0, 60_000, 0, ProposalState.DEFEATED),  # quorum alone is not enough
    ],
)
def test_counting(deployed, for_, against, abstain, idle, state):
    """Undelegated GOPEN raises the quorum and does not vote; a tie is Defeated."""
    d = deployed
    voters = {"for": for_, "against": against, "abstain": abstain}
    poster = address_of("distributor.poster")
    wrap(d, (poster, 10_000 * OPEN))
    number, _ = d.governor.propose(poster, (Call(d.timelock.address, b""),), "count")
    d.gopen.withdraw(poster, 10_000 * OPEN)
    for name, votes in voters.items():
        account = address_of(name)
        d.l2.send(ALICE, account, value=max(votes, 1) * OPEN)
        if votes:
            wrap(d, (account, votes * OPEN))
    if idle:
        d.gopen.deposit(BOB, idle * OPEN)
    pass_time(d.l2, DAY + 1)
    for name, support in (("for", Support.FOR), ("against", Support.AGAINST), ("abstain", Support.ABSTAIN)):
        if voters[name]:
            d.governor.cast_vote(address_of(name), number, support)
    assert d.governor.quorum(d.governor.snapshot(number)) == sum((for_, against, abstain, idle)) * OPEN // 20
    pass_time(d.l2, 7 * DAY)
    assert d.governor.state(number) is state


def test_votes_are_those_of_the_snapshot(deployed):
    d = deployed
    wrap(d, (ALICE, 20_000 * OPEN))
    number, _ = d.governor.propose(ALICE, (Call(d.timelock.address, b""),), "late")
    pass_time(d.l2, DAY + 1)
    wrap(d, (BOB, 10**24))
    d.governor.cast_vote(BOB, number, Support.AGAINST)
    d.governor.cast_vote(ALICE, number, Support.FOR)
    tally = d.governor.tally(number)
    assert (tally.for_, tally.against) == (20_000 * OPEN, 0)
    with pytest.raises(Reverted, match="GovernorAlreadyCastVote"):
        d.governor.cast_vote(ALICE, number, Support.FOR)


def test_a_proposer_needs_the_threshold_a_second_before(deployed):
    d = deployed
    wrap(d, (ALICE, 10_000 * OPEN - 1))
    with pytest.raises(Reverted) as refused:
        d.governor.propose(ALICE, (Call(d.timelock.address, b""),), "poor")
    assert refused.value.error == "GovernorInsufficientProposerVotes"
    assert refused.value.arguments["threshold"] == 10_000 * OPEN


def test_nobody_but_governance_has_rights_after_deployment(deployed):
    d = deployed
    for role in GOVERNOR_ROLES:
        assert d.timelock.has_role(role_id(role), d.governor.address)
        assert not d.timelock.has_role(role_id(role), address_of("deployer.l2"))
    assert d.timelock.has_role(ADMIN_ROLE, d.timelock.address)
    assert not d.timelock.has_role(ADMIN_ROLE, address_of("deployer.l2"))
    with pytest.raises(Reverted, match="NotGovernance"):
        d.parameters.transact(ALICE, "set", "fees.split", [9, 0, 0])
    with pytest.raises(Reverted, match="AccessControlUnauthorizedAccount"):
        d.distributor.post_epoch(ALICE, Posted(1, bytes(32), 0, bytes(32), 0, bytes(32)), 0)
    with pytest.raises(Reverted, match="AccessControlUnauthorizedAccount"):
        d.timelock.grant_role(address_of("deployer.l2"), ADMIN_ROLE, ALICE)


def test_the_cap_holds_by_construction(deployed):
    token = deployed.token
    assert token.total_supply() == token.cap() == 10**27
    assert not [name for name in token.abi.functions if "mint" in name.lower()]
    token.burn(address_of("vesting.liquidity"), 7)
    assert (token.total_supply(), token.cap()) == (10**27 - 7, 10**27)
    for arguments, error in ((("n" * 33, "O", 1), "NameTooLong"), (("n", "O", 0), "ZeroCap")):
        name, symbol, cap = arguments
        with pytest.raises(Reverted, match=error):
            OpenToken.deploy(deployed.l1, ALICE, name=name, symbol=symbol, cap_wei=cap, holder=ALICE)


@pytest.mark.parametrize(
    ("numerator", "denominator", "message"),
    [
        (1, 3, "whole number of millionths"),
        (3, 2, "expected 0 to 1"),
        (-1, 2, "expected 0 to 1"),
        (1, 0, "0 to 1"),
    ],
)
def test_a_quorum_that_the_contract_cannot_hold_is_refused(numerator, denominator, message):
    spec = GovernanceSpec(0, 0, 1, numerator, denominator, 0)
    with pytest.raises(ValueError, match=message):
        _ = spec.quorum_ppm


def test_gopen_is_always_backed_by_native_coins():
    chain = Chain(chain_id=1_000, genesis_time=T0, balances={ALICE: 10 * OPEN})
    gopen = Gopen.deploy(chain, BOB)
    gopen.deposit(ALICE, 4 * OPEN)
    gopen.transfer(ALICE, BOB, OPEN)
    gopen.withdraw(BOB, OPEN)
    assert gopen.total_supply() == chain.balance(gopen.address) == 3 * OPEN
    assert chain.balance(BOB) == OPEN
    with pytest.raises(Reverted, match="ERC20InsufficientBalance"):
        gopen.withdraw(BOB, 1)


def test_every_contract_fits_the_size_limit():
    sizes = {name: len(load(name).deployed_code) for name in names()}
    assert max(sizes.values()) <= 24_576
    assert sizes == {
        "AttributionDistributor": 3_014,
        "FeeSplitter": 7_637,
        "GOPEN": 7_745,
        "LogAnchor": 3_390,
        "OPEN": 1_935,
        "OpenGovernor": 20_401,
        "Parameters": 2_595,
        "Registry": 5_608,
        "Staking": 10_761,
        "Timelock": 6_500,
        "TrancheVesting": 2_168,
    }
