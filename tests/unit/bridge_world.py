"""Two chains with a bridge between them, and short ways through its steps."""

from __future__ import annotations

from sim.chain.addresses import address_of
from sim.chain.artifacts import common_abi
from sim.chain.bridge import BridgeTimes, GasTokenBridge
from sim.chain.bridge.standard import StandardTokenBridge
from sim.chain.clients.open_token import OpenToken
from sim.chain.clients.timelock import Timelock
from sim.chain.evm import L1_CHAIN_ID, L2_CHAIN_ID, Chain

ALICE, BOB, CAROL = address_of("alice"), address_of("bob"), address_of("carol")
T0, DAY = 1_757_289_600, 86_400
WINDOW = 7 * DAY
SUPPLY = 10**27


class World:
    """A bridge with its chains; Alice holds all tokens."""

    def __init__(self, kind=GasTokenBridge, times=None):
        self.l1 = Chain(chain_id=L1_CHAIN_ID, genesis_time=T0)
        self.l2 = Chain(chain_id=L2_CHAIN_ID, genesis_time=T0)
        self.token = OpenToken.deploy(
            self.l1, ALICE, name="OpenLedger", symbol="OPEN", cap_wei=SUPPLY, holder=ALICE
        )
        self.bridge = kind(self.l1, self.l2, self.token, times)
        self.portal = self.bridge.deployed.portal
        self.passer = self.bridge.deployed.passer

    def approve(self, owner, amount, spender=None):
        """Let the portal (or another) take tokens."""
        self.token.transact(owner, "approve", spender or self.portal.address, amount)

    def arrive(self):
        """Let every deposit arrive."""
        return self.bridge.advance(self.l2.time + self.bridge.times.deposit_s)

    def funded(self, amount=1_000, account=BOB):
        """Bring coins to an account on L2."""
        self.bridge.deposit(ALICE, amount, account)
        self.arrive()
        return self

    def proved(self, amount=200, account=BOB, to=ALICE):
        """Withdraw and prove; return the number."""
        number, _ = self.bridge.initiate_withdrawal(account, amount, to)
        self.bridge.advance(self.bridge.provable_at(number))
        self.bridge.prove(number)
        return number

    def pay(self, number):
        """Wait for the challenge window and pay."""
        self.bridge.advance(self.bridge.payable_at(number))
        return self.bridge.finalise(number)

    def caller(self):
        """Deploy a contract on L1 through which Alice can call others: a timelock without a delay."""
        lock = Timelock.deploy(self.l1, ALICE, delay_s=0, admin=ALICE)
        for role in ("PROPOSER_ROLE", "EXECUTOR_ROLE"):
            lock.transact(ALICE, "grantRole", lock.read(role), ALICE)
        return lock

    def call_through(self, lock, target, data):
        """Call a contract of L1 from the timelock."""
        call = (target, 0, data, bytes(32), bytes(32))
        lock.transact(ALICE, "schedule", *call, 0)
        return lock.transact(ALICE, "execute", *call)


def names(receipt):
    """Names of a receipt's events."""
    decoded = map(common_abi().decode_event, receipt.logs)
    return [event.name for event in decoded if event is not None]


__all__ = [
    "ALICE", "BOB", "CAROL", "DAY", "SUPPLY", "T0", "WINDOW", "BridgeTimes", "GasTokenBridge", "StandardTokenBridge",
    "World", "names",
]  # fmt: skip
