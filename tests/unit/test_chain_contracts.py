"""The contracts: gas, counting, vesting to the wei, and who may do what."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from fractions import Fraction

import pytest

pytest.importorskip("eth")

from models.governance import ProposalState
from models.merkle import payout_leaf, payout_tree
from models.units import Duration
from models.vesting import Schedule, vested_on
from sim.chain.abi import Reverted
from sim.chain.addresses import address_of, keccak
from sim.chain.clients.distributor import Posted
from sim.chain.clients.gopen import Gopen
from sim.chain.clients.governor import Call, Governor, Support
from sim.chain.clients.open_token import OpenToken
from sim.chain.clients.parameters import Parameters
from sim.chain.clients.timelock import ADMIN_ROLE, GOVERNOR_ROLES, role_id
from sim.chain.clients.vesting import TrancheVesting
from sim.chain.demo import day0_timestamp, open_spec
from sim.chain.deployment import BucketSpec, GovernanceSpec, deploy_all
from sim.chain.evm import Chain

OPEN, DAY = 10**18, 86_400
T0 = day0_timestamp()
ALICE, BOB, CAROL = (address_of(name) for name in ("alice", "bob", "carol"))


@pytest.fixture
def deployed():
    l1 = Chain(chain_id=900_001, genesis_time=T0 - DAY)
    coins = dict.fromkeys((ALICE, BOB, CAROL), 10**26) | {address_of("distributor.poster"): 10**24}
    l2 = Chain(chain_id=900_161, genesis_time=T0 - DAY, balances=coins)
    return deploy_all(l1, l2, open_spec())


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


SCHEDULES = {
    "community": {"allocation": 517_100_000, "tge": 145_500_000, "linear": Duration(months=48)},
    "investors": {"allocation": 182_900_000, "cliff": Duration(months=12), "linear": Duration(months=36)},
    "catch-up": {
        "allocation": 332_900_000, "cliff": Duration(months=12), "linear": Duration(months=48),
        "catch_up": True,
    },
    "gross": {
        "allocation": 617_100_001, "tge": 165_500_000, "linear": Duration(months=48),
        "linear_of": "allocation",
    },
    "daily": {"allocation": 1_000_003, "linear": Duration(months=3), "every": "day"},
    "per second": {"allocation": 1_000_003, "linear": Duration(months=3), "every": "second"},
    "table": {
        "allocation": 100, "tge": 7,
        "table": [(date(2026, 1, 31), 33 * 10**9 + 1), (date(2027, 2, 28), 60 * 10**9 - 1)],
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "unit"),
    [(name, 10**9) for name in SCHEDULES] + [(name, 1) for name in SCHEDULES if name != "table"],
)
def test_vesting_equals_the_formula_at_every_date(name, unit):
    """In gwei with unit 10^9, in wei with unit 1: at each date, and 0 in the second before the first."""
    words = dict(SCHEDULES[name])
    scale = OPEN // unit
    words["allocation"] *= scale
    words["tge"] = words.get("tge", 0) * scale
    start = date(2025, 8, 31)
    schedule = Schedule.build(start=start, tge_date=date(2025, 9, 8), **words)
    bucket = BucketSpec.of_schedule("b", schedule, "pool", unit)
    chain = Chain(chain_id=1_000, genesis_time=int(datetime(2025, 8, 1, tzinfo=UTC).timestamp()))
    token = OpenToken.deploy(chain, ALICE, name="T", symbol="T", cap_wei=bucket.allocation_wei, holder=ALICE)
    contract = TrancheVesting.deploy(
        chain, ALICE, token=token.address, beneficiary=BOB, allocation_wei=bucket.allocation_wei,
        tge_wei=bucket.tge_wei, unit_wei=unit, start=bucket.start, dates=bucket.dates,
        numerators=bucket.numerators, denominator=bucket.denominator,
    )  # fmt: skip
    token.transfer(ALICE, contract.address, bucket.allocation_wei)
    days = sorted({schedule.tge_date, *schedule.dates})
    assert contract.vested(min(bucket.dates[0], bucket.start) - 1) == 0
    shown = days if len(days) < 60 else [*days[:: len(days) // 12], days[-1]]
    for day in shown:
        midnight = int(datetime.combine(day, time.min, UTC).timestamp())
        assert contract.vested(midnight) == vested_on(schedule, day) * unit
    chain.set_time(midnight)
    amount, _ = contract.release(CAROL)
    assert amount == token.balance_of(BOB) == contract.released() == bucket.allocation_wei
    with pytest.raises(Reverted, match="NothingToRelease"):
        contract.release(CAROL)


def test_piecewise_steps_vest_as_the_formula_says():
    steps = [(1, 12, Fraction(1, 4)), (13, 18, Fraction(3, 8)), (19, 36, Fraction(3, 8))]
    schedule = Schedule.build(allocation=10**9 + 7, start=date(2025, 9, 8), steps=steps)
    bucket = BucketSpec.of_schedule("b", schedule, "pool")
    chain = Chain(chain_id=1_000, genesis_time=T0)
    contract = TrancheVesting.deploy(
        chain, ALICE, token=ALICE, beneficiary=BOB, allocation_wei=bucket.allocation_wei, tge_wei=0,
        unit_wei=10**9, start=bucket.start, dates=bucket.dates, numerators=bucket.numerators,
        denominator=bucket.denominator,
    )  # fmt: skip
    for day, timestamp in zip(schedule.dates, bucket.dates, strict=True):
        assert contract.vested(timestamp) == vested_on(schedule, day) * 10**9


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"unit_wei": 0}, "InvalidUnit"),
        ({"allocation_wei": 10**18 + 1}, "InvalidUnit"),
        ({"tge_wei": 2 * 10**18}, "TgePartAboveAllocation"),
        ({"dates": (T0, T0)}, "DatesNotIncreasing"),
        ({"numerators": (2, 1)}, "NumeratorsDecreasing"),
        ({"numerators": (1, 2, 3)}, "LengthMismatch"),
        ({"denominator": 3}, "NeverVestsFully"),
        ({"dates": (), "numerators": ()}, "NeverVestsFully"),
    ],
)
def test_vesting_tables_that_make_no_sense_are_refused(changes, error):
    chain = Chain(chain_id=1_000, genesis_time=T0)
    words = {
        "token": ALICE, "beneficiary": BOB, "allocation_wei": 10**18, "tge_wei": 0, "unit_wei": 10**9,
        "start": T0, "dates": (T0 + 1, T0 + 2), "numerators": (1, 2), "denominator": 2,
    } | changes  # fmt: skip
    with pytest.raises(Reverted, match=error):
        TrancheVesting.deploy(chain, ALICE, **words)


def test_parameters_keep_their_vectors():
    chain = Chain(chain_id=1_000, genesis_time=T0)
    store = Parameters.deploy(
        chain, ALICE, governance=BOB, initial={"fees.split": (2, 2, 5), "fees.burn": (0,)}
    )
    receipt = store.transact(BOB, "set", "fees.split", [2, 1, -6])
    (change,) = store.changes(receipt)
    assert (change.name, change.old, change.new) == ("fees.split", (2, 2, 5), (2, 1, -6))
    assert (store.get("fees.split"), store.get("fees.burn"), store.get("other")) == ((2, 1, -6), (0,), ())
    with pytest.raises(Reverted, match="EmptyValue"):
        store.transact(BOB, "set", "fees.burn", [])


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


def test_the_whole_governor_fits_the_size_limit():
    assert len(Governor.artifact().deployed_code) <= 24_576
