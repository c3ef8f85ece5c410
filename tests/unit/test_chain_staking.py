"""Staking on chain: rewards as the formula divides them, delays of the day, slashes that nobody can stop."""

from __future__ import annotations

import random

import numpy as np
import pytest

pytest.importorskip("eth")

from models.attribution import slashed
from models.staking import matures_on, rewards
from models.units import Duration
from sim.chain.abi import Reverted
from sim.chain.addresses import DEAD_ADDRESS, address_of
from sim.chain.clients.parameters import Parameters
from sim.chain.clients.staking import Exit, Lock, Officers, Position, SlashParts, Staking
from sim.chain.demo import day0_timestamp
from sim.chain.evm import Chain

DAY, UNIT = 86_400, 10**9
T0 = day0_timestamp()
NOON = T0 + DAY // 2
ADMIN, TREASURY, REWARDER, SLASHER, ARBITER, BANK = (
    address_of(name) for name in ("admin", "treasury", "rewarder", "slasher", "arbiter", "bank")
)
ALICE, BOB, CAROL = (address_of(name) for name in ("alice", "bob", "carol"))
RULES = {
    "staking.locks.flexible": (7 * DAY,),
    "staking.locks.long": (365 * DAY,),
    "attribution.slash.duplicate": (1_000,),
}
REFUSES, BURNS_GAS = bytes.fromhex("60006000fd"), bytes.fromhex("5b600056")
"""Code that reverts, and code that never ends."""


def deploy(unit=UNIT, rules=RULES, **words):
    funded = dict.fromkeys((ALICE, BOB, CAROL, BANK), 10**27)
    chain = Chain(chain_id=1_000, genesis_time=NOON, balances=funded)
    store = Parameters.deploy(chain, BANK, governance=ADMIN, initial=rules)
    officers = Officers(REWARDER, SLASHER, ARBITER)
    words = {"min_stake_wei": unit} | words
    return Staking.deploy(
        chain, BANK, admin=ADMIN, officers=officers, parameters=store.address, treasury=TREASURY,
        unit_wei=unit, **words,
    )  # fmt: skip


@pytest.fixture
def staking():
    return deploy()


def fund(staking, wei):
    staking.chain.send(BANK, staking.address, value=wei)


def set_rule(staking, name, *values):
    store = Parameters(staking.chain, bytes(staking.read("parameters")))
    store.transact(ADMIN, "set", name, list(values))


def holds_what_it_owes(staking):
    totals = staking.totals()
    assert totals["staked"] == sum(p.stake_wei for p in staking.positions())
    assert staking.chain.balance(staking.address) == sum(totals.values()) + staking.reward_pot()


def test_stake_unbond_and_withdraw_after_the_delay(staking):
    staking.stake(ALICE, Lock.FLEXIBLE, 10 * UNIT)
    staking.stake(ALICE, Lock.LONG, 5 * UNIT)
    number, _ = staking.unbond(ALICE, Lock.FLEXIBLE, 4 * UNIT)
    assert staking.exit_(number) == Exit(ALICE, NOON + 7 * DAY, 4 * UNIT)
    assert staking.totals() == {"staked": 11 * UNIT, "unbonding": 4 * UNIT, "bonds": 0}
    staking.chain.set_time(NOON + 7 * DAY - 1)
    with pytest.raises(Reverted) as early:
        staking.withdraw(BOB, number)
    assert (early.value.error, early.value.arguments["freeAt"]) == ("StillUnbonding", NOON + 7 * DAY)
    staking.chain.set_time(NOON + 7 * DAY)
    before = staking.chain.balance(ALICE)
    staking.withdraw(BOB, number)  # anybody may; the owner is paid
    assert staking.chain.balance(ALICE) - before == 4 * UNIT
    with pytest.raises(Reverted, match="AlreadyDone"):
        staking.withdraw(ALICE, number)
    assert staking.exit_(number).owner is None
    holds_what_it_owes(staking)


@pytest.mark.parametrize("delay", [0, 1, DAY - 1, DAY, DAY + 1, 7 * DAY, 365 * DAY])
def test_stake_is_free_by_the_noon_that_the_formula_names(delay):
    """The simulation counts whole days from noon to noon; the contract's second lies in the day before it."""
    staking = deploy(rules=RULES | {"staking.locks.flexible": (delay,)})
    staking.stake(ALICE, Lock.FLEXIBLE, UNIT)
    number, _ = staking.unbond(ALICE, Lock.FLEXIBLE, UNIT)
    noon = NOON + matures_on(0, Duration(seconds=delay)) * DAY
    assert noon - DAY < staking.exit_(number).free_at <= noon


def test_the_delay_is_that_of_the_moment_when_unbonding_begins(staking):
    staking.stake(ALICE, Lock.FLEXIBLE, 2 * UNIT)
    first, _ = staking.unbond(ALICE, Lock.FLEXIBLE, UNIT)
    set_rule(staking, "staking.locks.flexible", 30 * DAY)
    second, _ = staking.unbond(ALICE, Lock.FLEXIBLE, UNIT)
    assert staking.exit_(second).free_at - staking.exit_(first).free_at == 23 * DAY
    assert staking.delay_seconds(Lock.LONG) == 365 * DAY


def test_an_empty_pot_pays_nothing(staking):
    staking.stake(ALICE, Lock.LONG, 10 * UNIT)
    staking.open_dispute(BOB, CAROL, bytes(32), UNIT)
    staking.unbond(ALICE, Lock.LONG, UNIT)
    assert (staking.reward_pot(), staking.distribute(REWARDER, 100 * UNIT)[0]) == (0, 0)
    fund(staking, 3 * UNIT + 1)
    assert staking.distribute(REWARDER, 100 * UNIT)[0] == 3 * UNIT
    assert staking.reward_pot() == 1  # less than a unit stays
    assert staking.positions() == [Position(ALICE, Lock.LONG, 12 * UNIT)]
    holds_what_it_owes(staking)


def test_where_nobody_stakes_the_pot_keeps_everything(staking):
    fund(staking, 5 * UNIT)
    assert staking.distribute(REWARDER, 5 * UNIT)[0] == 0
    staking.stake(ALICE, Lock.LONG, UNIT)
    staking.unbond(ALICE, Lock.LONG, UNIT)
    assert staking.distribute(REWARDER, 5 * UNIT)[0] == 0
    assert staking.reward_pot() == 5 * UNIT


@pytest.mark.slow
@pytest.mark.parametrize("unit", [1, UNIT])
def test_rewards_are_divided_as_the_formula_says(unit):
    """Drawn stakes, ties and zeros among them, from a unit to the cap: every position, to the unit."""
    draw = random.Random(41)
    for case in range(60):
        staking = deploy(unit=unit)
        count = draw.randint(1, 12)
        top = draw.choice([3, 1_000, 10**12, 10**16, 10**17])
        stakes = [draw.randint(1, top) if draw.random() < 0.7 else 1 + case % 3 for _ in range(count)]
        owners = [address_of(f"staker {i}") for i in range(count)]
        for owner, units in zip(owners, stakes, strict=True):
            staking.chain.send(BANK, owner, value=units * unit)
            staking.stake(owner, Lock(draw.randint(0, 1)), units * unit)
        pot = draw.choice([0, 1, count - 1, draw.randint(0, 10**6), draw.randint(0, 10**17)])
        due = draw.choice([0, 1, count, draw.randint(0, 10**18), pot])
        fund(staking, pot * unit)
        expected = rewards(np.array([pot]), np.array([due]), np.array([stakes]))[0]
        paid, _ = staking.distribute(REWARDER, due * unit)
        got = [p.stake_wei // unit - s for p, s in zip(staking.positions(), stakes, strict=True)]
        assert got == expected.tolist()
        assert paid == sum(got) * unit
        assert staking.totals()["staked"] == (sum(stakes) + sum(got)) * unit


def test_a_position_that_is_empty_gets_nothing(staking):
    for owner in (ALICE, BOB):
        staking.stake(owner, Lock.LONG, 3 * UNIT)
    staking.unbond(ALICE, Lock.LONG, 3 * UNIT)
    fund(staking, 2 * UNIT)
    staking.distribute(REWARDER, 2 * UNIT)
    assert [p.stake_wei for p in staking.positions()] == [0, 5 * UNIT]


def test_rewards_cost_the_same_gas_for_every_position():
    """At most 20,000 gas each with large stakes, so that a block of 60 million holds 3,000 positions."""
    gas = {}
    for count in (20, 60):
        staking = deploy()
        for i in range(count):
            owner, amount = address_of(f"staker {i}"), (10**15 + 7_919 * i) * UNIT
            staking.chain.send(BANK, owner, value=amount)
            staking.stake(owner, Lock.LONG, amount)
        fund(staking, 10**15 * UNIT)
        gas[count] = staking.distribute(REWARDER, (10**15 - 7) * UNIT)[1].gas_used
    assert 18_000 < (gas[60] - gas[20]) / 40 < 20_000


def test_a_slash_takes_the_voted_share_of_every_position_to_the_treasury(staking):
    staking.stake(ALICE, Lock.FLEXIBLE, 1_005 * UNIT)
    staking.stake(ALICE, Lock.LONG, 7 * UNIT)
    staking.stake(BOB, Lock.LONG, 50 * UNIT)
    parts, _ = staking.slash(SLASHER, ALICE, b"a" * 32)
    stakes = np.array([[1_005, 7]])
    expected = slashed(stakes, np.array([1_000]), np.array([[True, True]]))
    assert parts == SlashParts(0, 0, int(expected.sum()) * UNIT)
    assert [p.stake_wei // UNIT for p in staking.positions()] == [905, 7, 50]
    assert staking.chain.balance(TREASURY) == 100 * UNIT
    with pytest.raises(Reverted, match="AlreadySlashed"):
        staking.slash(SLASHER, ALICE, b"a" * 32)
    staking.slash(SLASHER, ALICE, b"b" * 32)
    holds_what_it_owes(staking)


def test_stake_on_its_way_out_is_not_slashed(staking):
    staking.stake(ALICE, Lock.FLEXIBLE, 100 * UNIT)
    staking.unbond(ALICE, Lock.FLEXIBLE, 100 * UNIT)
    assert staking.slash(SLASHER, ALICE, bytes(32))[0] == SlashParts(0, 0, 0)


def test_a_dispute_that_is_right_gives_bond_and_part_to_the_challenger():
    staking = deploy(burn_bps=2_500, challenger_bps=5_000)
    staking.stake(ALICE, Lock.LONG, 1_010 * UNIT)
    before = staking.chain.balance(BOB)
    number, _ = staking.open_dispute(BOB, ALICE, bytes(32), 20 * UNIT)
    assert staking.dispute(number).bond_wei == staking.totals()["bonds"] == 20 * UNIT
    with pytest.raises(Reverted, match="DisputeIsOpen"):
        staking.open_dispute(CAROL, ALICE, bytes(32), UNIT)
    staking.decide(ARBITER, number, upheld=True)
    assert staking.chain.balance(BOB) - before == 50 * UNIT
    assert staking.chain.balance(DEAD_ADDRESS) == 25 * UNIT  # floor of 101 * 25 %
    assert staking.chain.balance(TREASURY) == 26 * UNIT
    assert staking.dispute(number).challenger is None
    with pytest.raises(Reverted, match="AlreadyDone"):
        staking.decide(ARBITER, number, upheld=True)
    with pytest.raises(Reverted, match="AlreadySlashed"):
        staking.open_dispute(CAROL, ALICE, bytes(32), UNIT)
    holds_what_it_owes(staking)


def test_a_dispute_that_is_wrong_pays_the_accused(staking):
    staking.stake(ALICE, Lock.LONG, 1_000 * UNIT)
    number, _ = staking.open_dispute(BOB, ALICE, bytes(32), 20 * UNIT)
    before = staking.chain.balance(ALICE)
    staking.decide(ARBITER, number, upheld=False)
    assert staking.chain.balance(ALICE) - before == 20 * UNIT
    assert staking.stake_of(ALICE) == 1_000 * UNIT
    staking.open_dispute(CAROL, ALICE, bytes(32), UNIT)  # another may try again


def test_what_an_audit_finds_first_is_the_open_disputes_too():
    """The challenger gets its part once, and the bond back whatever the arbiter says."""
    staking = deploy(challenger_bps=10_000)
    staking.stake(ALICE, Lock.LONG, 1_000 * UNIT)
    number, _ = staking.open_dispute(BOB, ALICE, bytes(32), 20 * UNIT)
    before = staking.chain.balance(BOB)
    assert staking.slash(SLASHER, ALICE, bytes(32))[0] == SlashParts(0, 100 * UNIT, 0)
    staking.decide(ARBITER, number, upheld=False)
    assert staking.chain.balance(BOB) - before == 120 * UNIT
    assert staking.stake_of(ALICE) == 900 * UNIT


@pytest.mark.parametrize("code", [REFUSES, BURNS_GAS])
def test_nobody_stops_a_slash_by_refusing_coins(code):
    staking = deploy(challenger_bps=10_000)
    staking.stake(ALICE, Lock.LONG, 1_000 * UNIT)
    number, _ = staking.open_dispute(BOB, ALICE, bytes(32), 20 * UNIT)
    staking.chain.set_code(BOB, code)
    receipt = staking.decide(ARBITER, number, upheld=True)
    assert [e.arguments["amount"] for e in staking.events(receipt, "PaymentRefused")] == [
        100 * UNIT,
        20 * UNIT,
    ]
    assert staking.chain.balance(TREASURY) == 120 * UNIT
    holds_what_it_owes(staking)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda s: s.stake(ALICE, Lock.LONG, UNIT + 1), "NotWholeUnits"),
        (lambda s: s.stake(ALICE, Lock.LONG, 0), "ZeroAmount"),
        (lambda s: s.stake(ALICE, Lock.LONG, 4 * UNIT), "BelowMinimum"),
        (lambda s: s.unbond(BOB, Lock.LONG, 11 * UNIT), "InsufficientStake"),
        (lambda s: s.unbond(BOB, Lock.FLEXIBLE, UNIT), "InsufficientStake"),
        (lambda s: s.unbond(BOB, Lock.LONG, 6 * UNIT), "BelowMinimum"),
        (lambda s: s.withdraw(BOB, 0), "NoSuchNumber"),
        (lambda s: s.dispute(0), "NoSuchNumber"),
        (lambda s: s.distribute(ALICE, 1), "AccessControlUnauthorizedAccount"),
        (lambda s: s.slash(ALICE, BOB, bytes(32)), "AccessControlUnauthorizedAccount"),
        (lambda s: s.decide(ALICE, 0, upheld=True), "AccessControlUnauthorizedAccount"),
        (lambda s: s.transact(ALICE, "setSlashParts", 0, 0), "AccessControlUnauthorizedAccount"),
        (lambda s: s.transact(ADMIN, "setSlashParts", 6_000, 4_001), "PartsAboveWhole"),
    ],
)
def test_what_is_refused(call, error):
    staking = deploy(min_stake_wei=5 * UNIT)
    staking.stake(BOB, Lock.LONG, 10 * UNIT)
    with pytest.raises(Reverted, match=error):
        call(staking)


def test_parameters_that_were_never_set_are_named(staking):
    bare = deploy(rules={"staking.locks.long": (-1,)})
    bare.stake(ALICE, Lock.LONG, UNIT)
    bare.stake(ALICE, Lock.FLEXIBLE, UNIT)
    with pytest.raises(Reverted, match=r"ParameterMissing\(name=staking.locks.flexible, index=0\)"):
        bare.unbond(ALICE, Lock.FLEXIBLE, UNIT)
    with pytest.raises(Reverted, match=r"ParameterNegative\(name=staking.locks.long, index=0, value=-1\)"):
        bare.unbond(ALICE, Lock.LONG, UNIT)
    with pytest.raises(Reverted, match="ParameterMissing"):
        bare.slash(SLASHER, ALICE, bytes(32))
    set_rule(staking, "attribution.slash.duplicate", 10_001)
    with pytest.raises(Reverted, match="PartsAboveWhole"):
        staking.slash(SLASHER, ALICE, bytes(32))


def test_a_unit_or_a_minimum_that_makes_no_sense_is_refused():
    for words in ({"unit": 0, "min_stake_wei": 1}, {"min_stake_wei": 0}, {"min_stake_wei": UNIT + 1}):
        with pytest.raises(Reverted, match="InvalidUnit"):
            deploy(**words)
