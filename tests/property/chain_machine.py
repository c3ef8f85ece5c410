"""The chains of a witness run as a state machine: who is there, and what they do with money and over the bridge."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine

from sim.chain.abi import Reverted
from sim.chain.addresses import ZERO_ADDRESS, address_of
from sim.chain.backend import InsufficientFunds
from sim.chain.bridge import BridgeError, BridgeTimes
from sim.chain.clients.staking import Lock
from sim.chain.deployment import POSTER, BucketSpec, DeploymentSpec, GovernanceSpec
from sim.chain.witness import ChainWitness
from tests.property.chain_oracle import Payouts, Votes

HOUR, DAY, COIN = 3_600, 86_400, 10**18
T0 = 1_757_289_600
QUORUM_PPM = 200_000
PEOPLE = tuple(address_of(f"person {i}") for i in range(4))
GOVERNANCE = GovernanceSpec(100 * COIN, 2 * HOUR, DAY, 20, 100, HOUR)
TIMES = BridgeTimes(deposit_s=1_200, output_every_s=6 * HOUR, window_s=2 * DAY)
UNLOCKS = tuple(T0 + DAY * i for i in range(1, 11))
LOCKS = {Lock.FLEXIBLE: 2 * HOUR, Lock.LONG: 3 * DAY}
SPEC = DeploymentSpec(
    tge_timestamp=T0,
    buckets=(
        BucketSpec("free", 500_000 * COIN, 500_000 * COIN, (), (), 1, "free"),
        BucketSpec("team", 100_000 * COIN, 10_000 * COIN, UNLOCKS, tuple(range(1, 11)), 10, "team"),
    ),
    governance=GOVERNANCE,
    parameters={
        "fees.split": (2, 2, 5), "staking.locks.flexible": (2 * HOUR,), "staking.locks.long": (3 * DAY,),
    },
)  # fmt: skip


@dataclass(frozen=True)
class Draw:
    """What an action may need: people, an amount in wei, which of several things, and whether to wait.

    `patience` is None to act at once, else seconds from the moment at which it becomes possible.
    """

    who: bytes
    other: bytes
    wei: int
    which: int
    patience: int | None
    lock: Lock
    seldom: bool
    small: int


draws = st.builds(
    Draw,
    who=st.sampled_from(PEOPLE),
    other=st.sampled_from(PEOPLE),
    wei=st.sampled_from([10**9, COIN, 90 * COIN, 400 * COIN, 5_000 * COIN]),
    which=st.integers(0, 2),
    patience=st.sampled_from([None, -1, 0, 0]),
    lock=st.sampled_from(Lock),
    seldom=st.sampled_from([False, False, False, True]),
    small=st.integers(0, 10**6),
)
MONEY = {
    "jump": 3, "wrap": 3, "unwrap": 2, "give": 2, "delegate": 3, "stake": 3, "unbond": 3, "take_stake": 2, "burn": 1,
    "release": 1, "bridge_in": 2, "bridge_out": 3, "prove": 2, "finalise": 4,
}  # fmt: skip


@contextmanager
def refused(unless, *errors):
    """Demand that the block raises one of some errors, unless something holds: then it has to pass."""
    if unless:
        yield
        return
    with pytest.raises(errors):
        yield


class MoneyMachine(RuleBasedStateMachine):
    """Setting up, time, coins, GOPEN, stake, and the bridge."""

    def __init__(self):
        super().__init__()
        self.w = ChainWitness(SPEC, day0_timestamp=T0, times=TIMES)
        self.d, self.bridge = self.w.deployment, self.w.bridge
        self.votes, self.payouts = Votes(), Payouts()
        self.burned, self.released = 0, 0
        self.exits, self.staked = [], 0
        self.unpaid, self.proven = {}, {}
        self.go(T0)
        free = address_of("vesting.free")
        for who in PEOPLE:
            self.d.token.transfer(free, who, 40_000 * COIN)
            self.bridge.deposit(who, 4_000 * COIN)
        self.bridge.deposit(free, 2_000 * COIN, address_of(POSTER))
        self.go(T0 + 2 * HOUR)
        for who in PEOPLE:
            self.d.gopen.deposit(who, 200 * COIN)
            self.d.gopen.delegate(who, who)
            self.votes.held[who], self.votes.delegate[who] = 200 * COIN, who
        self.votes.note(self.now)
        self.go(self.now + 1)

    @property
    def now(self):
        return self.d.l2.time

    def go(self, timestamp):
        self.w.clock.go(timestamp)

    def jump(self, draw):
        self.go(self.now + (1, 60, HOUR, 3 * HOUR, DAY, 2 * DAY)[draw.small % 6])

    def wrap(self, draw):
        with refused(self.d.l2.balance(draw.who) >= draw.wei, InsufficientFunds):
            self.d.gopen.deposit(draw.who, draw.wei)
            self.votes.held[draw.who] += draw.wei
            self.votes.note(self.now)

    def unwrap(self, draw):
        with refused(self.votes.held[draw.who] >= draw.wei, Reverted):
            self.d.gopen.withdraw(draw.who, draw.wei)
            self.votes.held[draw.who] -= draw.wei
            self.votes.note(self.now)

    def give(self, draw):
        with refused(self.votes.held[draw.who] >= draw.wei, Reverted):
            self.d.gopen.transfer(draw.who, draw.other, draw.wei)
            self.votes.held[draw.who] -= draw.wei
            self.votes.held[draw.other] += draw.wei
            self.votes.note(self.now)

    def delegate(self, draw):
        other = ZERO_ADDRESS if draw.seldom else draw.other
        self.d.gopen.delegate(draw.who, other)
        self.votes.delegate[draw.who] = other
        self.votes.note(self.now)

    def stake(self, draw):
        with refused(self.d.l2.balance(draw.who) >= draw.wei, InsufficientFunds):
            self.d.staking.stake(draw.who, draw.lock, draw.wei)
            self.staked += draw.wei

    def unbond(self, draw):
        positions = {(p.owner, p.lock): p.stake_wei for p in self.d.staking.positions()}
        held = positions.get((draw.who, draw.lock), 0)
        wei = draw.wei if draw.seldom else min(draw.wei, held) or draw.wei
        with refused(held >= wei, Reverted):
            number, receipt = self.d.staking.unbond(draw.who, draw.lock, wei)
            assert number == len(self.exits)
            self.exits.append([draw.who, receipt.timestamp + LOCKS[draw.lock], wei, False])
            self.staked -= wei

    def take_stake(self, draw):
        """Ask for unbonded stake: at once, in the last second that is too early, or in the first that is not."""
        if not self.exits:
            return
        number = -1 - draw.which % len(self.exits) + len(self.exits)
        owner, free_at, wei, done = self.exits[number]
        if draw.patience is not None:
            self.go(free_at + draw.patience)
        before = self.d.l2.balance(owner)
        with refused(not done and self.now >= free_at, Reverted):
            self.d.staking.withdraw(owner, number)
            self.exits[number][3] = True
            assert self.d.l2.balance(owner) == before + wei

    def burn(self, draw):
        with refused(self.d.token.balance_of(draw.who) >= draw.wei, Reverted):
            self.d.token.burn(draw.who, draw.wei)
            self.burned += draw.wei

    def release(self, draw):
        passed = sum(date <= self.now for date in UNLOCKS)
        due = (10_000 + 90_000 * passed // 10) * COIN - self.released
        with refused(due > 0, Reverted):
            paid, _ = self.d.vesting["team"].release(draw.who)
            assert paid == due
            self.released += paid

    def bridge_in(self, draw):
        with refused(self.d.token.balance_of(draw.who) >= draw.wei, Reverted):
            self.bridge.deposit(draw.who, draw.wei)

    def bridge_out(self, draw):
        with refused(self.d.l2.balance(draw.who) >= draw.wei, InsufficientFunds):
            number, _ = self.bridge.initiate_withdrawal(draw.who, draw.wei)
            self.unpaid[number] = (draw.who, draw.wei)

    def prove(self, draw):
        if not self.unpaid:
            return
        number = self._withdrawal(draw)
        if draw.patience is not None:
            self.go(self.bridge.provable_at(number) + draw.patience)
        possible = number not in self.proven and self.bridge.provable_at(number) <= self.now
        with refused(possible, BridgeError, Reverted):
            self.bridge.prove(number)
            self.proven[number] = self.d.l1.time

    def finalise(self, draw):
        """Ask for a payment: at once, in the last second that is too early, or in the first that is not."""
        if not self.unpaid:
            return
        number = self._withdrawal(draw)
        who, wei = self.unpaid[number]
        if draw.patience is not None:
            if number not in self.proven:
                self.prove(replace(draw, patience=0))
            self.go(self.bridge.payable_at(number) + draw.patience)
        before = self.d.token.balance_of(who)
        late = number in self.proven and self.now > self.proven[number] + TIMES.window_s
        with refused(late and self.now >= self.bridge.payable_at(number), BridgeError, Reverted):
            self.bridge.finalise(number)
            del self.unpaid[number], self.proven[number]
            assert self.d.token.balance_of(who) == before + wei

    def _withdrawal(self, draw):
        numbers = sorted(self.unpaid)
        return numbers[draw.which % len(numbers)]
