"""A small ledger in pure Python with its journal, and the steps by which a chain witness replays it."""

from __future__ import annotations

import random
from collections import defaultdict

from sim.chain.demo import day0_timestamp, open_spec
from sim.chain.journal import JournalEntry
from sim.chain.witness import ChainWitness

CLASSES = ("holders", "users", "contributors", "investors", "team", "operators")
SPEC = open_spec()
T0 = day0_timestamp()


class Ledger:
    """A small ledger in pure Python: random but legal flows of every kind, and their journal."""

    def __init__(self, seed=1, exit_days=9):
        self.draw = random.Random(seed)
        self.weights = (2, 2, 5)
        self.balances = defaultdict(int)
        self.entries, self.day, self.exit_days = [], 0, exit_days
        self.arrivals = defaultdict(list)
        self.vested = defaultdict(int)
        self.agents = [f"{name}/{i}" for name in CLASSES for i in ("*", 17)]
        for bucket in SPEC.buckets:
            self.move("G1", "mint", f"vesting.{bucket.name}", bucket.allocation_wei // 10**9)

    def move(self, flow, source, target, amount):
        """Book a move and write it into the journal; nothing is written of an amount of 0."""
        if amount <= 0:
            return
        if source != "mint":
            assert self.balances[source] >= amount
            self.balances[source] -= amount
        self.balances[target] += amount
        self.entries.append(JournalEntry(self.day, flow, source, target, amount))

    def some(self, flow, source, target, share):
        """Move a random part, at most `share`, of what the source holds."""
        self.move(flow, source, target, int(self.balances[source] * share * self.draw.random()))

    def send(self, flow, source, transit, target, share, days):
        """Move a random part into transit; it arrives after some days."""
        amount = int(self.balances[source] * share * self.draw.random())
        if amount:
            self.move(flow, source, transit, amount)
            self.arrivals[self.day + days].append((flow, transit, target, amount))

    def take(self):
        """Return the journal since the last time, and empty it."""
        taken, self.entries = self.entries, []
        return taken

    def run_day(self, settle):
        """Live one day with flows of every kind; claims only where the day settles."""
        self.unlock()
        for arrival in self.arrivals.pop(self.day, []):
            self.move(*arrival)
        self.some("E1", "pool.community.l1", "wallet.l1/holders/*", 0.01)
        for flow, target in (("E2", "distributor"), ("E3", "staking_rewards"), ("E4", "operators_pot")):
            self.some(flow, "pool.community.l2", target, 0.01)
        for agent in self.agents:
            self.live(agent)
        self.bill()
        self.bridge()
        if settle:
            for agent in ("contributors/*", "contributors/17"):
                self.some("C1", "distributor", f"wallet.l2/{agent}", 0.2)
        for agent in self.agents:
            self.some("C2", f"wallet.l2/{agent}", "gas_vault", 1e-6)
        self.some("C2", "gas_vault", "wallet.l2/sequencer/*", 1)
        self.day += 1

    def unlock(self):
        """Release what has vested by this day."""
        now = T0 + self.day * 86_400
        for bucket in SPEC.buckets:
            k = sum(date <= now for date in bucket.dates)
            rest = (bucket.allocation_wei - bucket.tge_wei) // 10**9
            vested = bucket.tge_wei // 10**9
            vested += rest * bucket.numerators[k - 1] // bucket.denominator if k else 0
            amount, self.vested[bucket.name] = vested - self.vested[bucket.name], vested
            source = f"vesting.{bucket.name}"
            if bucket.name == "liquidity":
                self.move("U3", source, "venue", amount // 3)
                self.move("U3", source, "market_maker", amount - amount // 3)
            elif bucket.name in ("investors", "team"):
                self.move("U2", source, f"wallet.l1/{bucket.name}/17", amount // 7)
                self.move("U2", source, f"wallet.l1/{bucket.name}/*", amount - amount // 7)
            else:
                self.move("U1", source, f"pool.{bucket.name}.l1", amount)

    def live(self, agent):
        """Let an agent deposit, pay, stake, wrap, trade and be slashed."""
        l1, l2 = f"wallet.l1/{agent}", f"wallet.l2/{agent}"
        if agent.startswith("users"):
            self.some("D1", l2, f"prepaid/{agent}", 0.3)
            self.some("D1", f"prepaid/{agent}", l2, 0.05)
            self.some("B1", f"prepaid/{agent}", "clearing", 0.2)
        self.some("S1", l2, f"stake/{agent}", 0.05)
        self.some("S1", f"stake/{agent}", f"unbonding/{agent}", 0.02)
        self.some("S1", f"unbonding/{agent}", l2, 0.1)
        self.some("H1", l2, f"wrapped/{agent}", 0.05)
        self.some("H1", f"wrapped/{agent}", l2, 0.02)
        self.some("M1", l1, "venue", 0.1)
        self.some("M1", "venue", l1, 0.02)
        self.some("S2", "staking_rewards", l2, 0.02)
        self.some("A2", f"stake/{agent}", "burned.l2", 0.001)

    def bill(self):
        """Divide the fees in clearing, and pay operators, market maker, burn and grants."""
        fee = self.balances["clearing"]
        platform = fee // 10
        self.move("B2", "clearing", "operators_pot", platform // 2)
        self.move("B2", "clearing", "treasury.l2", platform - platform // 2)
        net = fee - platform
        model, stakers, _ = self.weights
        self.move("B3", "clearing", "distributor", net * model // 9)
        self.move("B4", "clearing", "staking_rewards", net * stakers // 9)
        self.move("B5", "clearing", "distributor", self.balances["clearing"])
        self.some("A1", "distributor", "treasury.l2", 0.01)
        self.some("O1", "operators_pot", "wallet.l2/operators/*", 0.3)
        self.some("M2", "market_maker", "venue", 0.02)
        self.some("M3", "venue", "treasury.l1", 0.01)
        self.some("M3", "treasury.l1", "burned.l1", 0.1)
        self.some("R1", "pool.ecosystem.l2", "wallet.l2/contributors/*", 0.01)

    def bridge(self):
        """Send money of agents, pools and treasury over the bridge."""
        for agent in self.agents:
            if agent.endswith("*") or self.draw.random() < 0.2:
                l1, l2 = f"wallet.l1/{agent}", f"wallet.l2/{agent}"
                self.send("X1", l1, f"transit_deposit/{agent}", l2, 0.2, 1)
                self.send("X2", l2, f"transit_withdraw/{agent}", l1, 0.1, self.exit_days)
        for pool in ("community", "ecosystem"):
            transit = f"transit_deposit.pool.{pool}"
            self.send("U4", f"pool.{pool}.l1", transit, f"pool.{pool}.l2", 0.02, 1)
        self.send("X2", "treasury.l2", "transit_withdraw.treasury", "treasury.l1", 0.1, self.exit_days)


def witness():
    """Return a witness of freshly deployed chains."""
    return ChainWitness(SPEC, day0_timestamp=T0)


def play(ledger, days, *, settle_on_last=True):
    """Let the ledger live for some days and return its journal."""
    for i in range(days):
        ledger.run_day(settle_on_last and i == days - 1)
    return ledger.take()


def reconciled(chain, ledger, epoch=0):
    """Compare the chains with the ledger at the end of its last day."""
    return chain.reconcile(ledger.balances, epoch=epoch, day=ledger.day - 1)


def settled(chain, ledger, entries):
    """Replay a journal and compare."""
    chain.replay(entries, through_day=ledger.day - 1)
    return reconciled(chain, ledger)
