"""Demo: the life of OPEN on the two chains, step by step, with gas and decoded events.

Rule decided here: the demo drives the same contracts, bridge and clock as a witness run, from the public
allocation of OPEN; every figure that it shows is read from a receipt. Outputs that were proposed on the way to a step
are a step of their own.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from models.units import Duration
from models.vesting import Schedule
from sim.chain.abi import Event, Reverted
from sim.chain.addresses import address_of, hex_address
from sim.chain.artifacts import common_abi
from sim.chain.bridge import BridgeError
from sim.chain.bridge.deploy import DEPLOYER, PROPOSER
from sim.chain.bridge.derivation import read_deposit
from sim.chain.bridge.predeploys import DEPOSITOR
from sim.chain.clients.governor import Support
from sim.chain.clock import DAY_S
from sim.chain.deployment import BucketSpec, DeploymentSpec, GovernanceSpec
from sim.chain.lifecycle import SetParameter
from sim.chain.witness import ChainWitness

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sim.chain.backend import Receipt

OPEN = 10**18
TGE = date(2025, 9, 8)
DELEGATE = "wallet.l2/delegates/0"
HOME = "wallet.l1/contributors/0"
NAMED = (
    "keeper", "deployer.l1", "deployer.l2", "distributor.poster", "pool.community.l1", DEPLOYER, PROPOSER,
    DELEGATE, "wallet.l2/contributors/0", "wallet.l2/contributors/1", "vesting.liquidity", HOME,
)  # fmt: skip
"""Labels whose addresses the demo shows by name."""

CONTRIBUTORS = ("wallet.l2/contributors/0", "wallet.l2/contributors/1")
SHOWN = 4
"""How many events of one name and step are shown; of more the rest is counted."""


@dataclass(frozen=True, slots=True)
class DemoStep:
    """One step: what was done, on which chain and day, gas of its transactions, decoded events."""

    title: str
    chain: str
    day: int
    gas_used: int
    events: tuple[str, ...]


def open_buckets() -> tuple[BucketSpec, ...]:
    """Return OPEN's public allocation: the rest over 48 months, insiders 36 after a cliff of 12."""
    rows = (
        ("community", 517_100_000, 145_500_000, 0, 48, "pool.community.l1"),
        ("ecosystem", 100_000_000, 20_000_000, 0, 48, "pool.ecosystem.l1"),
        ("liquidity", 50_000_000, 50_000_000, 0, 0, "venue"),
        ("investors", 182_900_000, 0, 12, 36, "wallet.l1/investors/*"),
        ("team", 150_000_000, 0, 12, 36, "wallet.l1/team/*"),
    )
    gwei = 10**9
    return tuple(
        BucketSpec.of_schedule(
            name,
            Schedule.build(
                allocation=allocation * gwei,
                tge=tge * gwei,
                start=TGE,
                cliff=Duration(months=cliff) if cliff else None,
                linear=Duration(months=months) if months else None,
            ),
            beneficiary,
        )
        for name, allocation, tge, cliff, months, beneficiary in rows
    )


def open_spec() -> DeploymentSpec:
    """Return OPEN with the published governance values and the illustrative fee split 2 : 2 : 5."""
    return DeploymentSpec(
        tge_timestamp=day0_timestamp(),
        buckets=open_buckets(),
        governance=GovernanceSpec(10_000 * OPEN, DAY_S, 7 * DAY_S, 5, 100, 7 * DAY_S),
        parameters={"fees.platform": (1_000, 0), "fees.split": (2, 2, 5)},
        stakers_pot="staking_rewards",
    )


def day0_timestamp() -> int:
    """Return the midnight at which OPEN's TGE day begins."""
    return int(datetime(TGE.year, TGE.month, TGE.day, tzinfo=UTC).timestamp())


class Demo:
    """The guided lifecycle; `run` plays it and returns the steps."""

    def __init__(self, tell: Callable[[DemoStep], None] | None = None) -> None:
        self._tell = tell or (lambda step: None)
        self._steps: list[DemoStep] = []
        self._w = ChainWitness(open_spec(), day0_timestamp=day0_timestamp())
        self._abi = common_abi()
        self._labels = {self._w.book.address(label): label for label in NAMED}
        contracts = self._w.deployment.contracts | self._w.bridge.contracts
        self._labels |= {address: name for name, address in contracts.items()} | {
            DEPOSITOR: "depositor of L1"
        }
        self._marks = {"L1": 0, "L2": 0}

    def run(self) -> list[DemoStep]:
        """Play all steps in order."""
        bridge = next(r.index for r in self._w.l1.receipts if r.sender == address_of(DEPLOYER))
        self._note("deploy the token and a vesting contract per bucket", "L1", until=bridge)
        self._note("deploy the bridge: each contract, its proxy, then initialise", "L1")
        self._note("deploy GOPEN, governor, timelock, distributor and parameters; hand over the roles", "L2")
        self._vest_and_bridge_in()
        self._wrap_and_delegate()
        self._govern()
        self._pay_contributors()
        self._bridge_out()
        return self._steps

    def _vest_and_bridge_in(self) -> None:
        w, d = self._w, self._w.deployment
        w.clock.move_to(0, w.clock.noon(0))
        keeper, pool = address_of("keeper"), w.book.address("pool.community.l1")
        d.vesting["community"].release(keeper)
        self._note("release the community bucket's part at TGE", "L1")
        w.bridge.deposit(pool, 2_000_000 * OPEN, w.book.address(DELEGATE))
        self._note("bridge 2,000,000 OPEN to L2: approve, then lock at the portal", "L1")
        w.clock.move_to(1, w.clock.noon(1))
        held = d.l2.balance(w.book.address(DELEGATE)) // OPEN
        self._note(f"the deposits are derived, the gas token's own first: {held:,} native OPEN", "L2")

    def _wrap_and_delegate(self) -> None:
        gopen, delegate = self._w.deployment.gopen, self._w.book.address(DELEGATE)
        gopen.deposit(delegate, 1_500_000 * OPEN)
        self._note("wrap 1,500,000 OPEN into GOPEN", "L2")
        gopen.delegate(delegate, delegate)
        self._note("delegate the votes to itself", "L2")

    def _govern(self) -> None:
        w, governance = self._w, self._w.governance
        action = SetParameter("fees.split", (2, 1, 6))
        proposal = governance.propose(
            2, DELEGATE, [action], "Data first: one ninth from stakers to contributors"
        )
        self._note("propose fees.split [2, 2, 5] -> [2, 1, 6]", "L2")
        governance.cast_vote(3, DELEGATE, proposal, Support.FOR)
        self._note("vote For, one second after the snapshot", "L2")
        governance.queue(10, proposal)
        self._note("queue after the voting period", "L2")
        execution = governance.execute(17, proposal)
        days = (execution.executed_at - proposal.proposed_at) / DAY_S
        self._note(f"execute, {days:.5f} days after the proposal", "L2")
        w.clock.move_to(30, w.clock.noon(30))
        w.deployment.vesting["community"].release(address_of("keeper"))
        self._note("release the community bucket's first month", "L1")

    def _pay_contributors(self) -> None:
        w, d = self._w, self._w.deployment
        d.l2.send(w.book.address(DELEGATE), w.book.address("distributor"), value=9_000 * OPEN)
        first, second = CONTRIBUTORS
        gwei = 10**9
        due = {first: 6_000 * gwei, second: 3_000 * gwei}
        w.claims.post(due, {})
        self._note("fund and post the epoch's payout root", "L2")
        w.claims.claim(first)
        self._note("claim 6,000 OPEN with a Merkle proof", "L2")
        self._refused("claim again", "L2", lambda: w.claims.claim(first))
        w.claims.claim(second)
        self._note("claim 3,000 OPEN with a Merkle proof", "L2")

    def _bridge_out(self) -> None:
        w, owner, home = self._w, self._w.book.address(CONTRIBUTORS[0]), self._w.book.address(HOME)
        number, _ = w.bridge.initiate_withdrawal(owner, 5_000 * OPEN, home)
        self._note("withdraw 5,000 OPEN: a message to L1", "L2")
        w.clock.move_to(31, w.bridge.provable_at(number))
        w.bridge.prove(number)
        self._note("prove the message in L2's state under the output of that day", "L1")
        self._refused("pay before the challenge window ends", "L1", lambda: w.bridge.finalise(number))
        w.clock.move_to(38, w.bridge.payable_at(number))
        w.bridge.finalise(number)
        escrow = w.bridge.escrow() // OPEN
        self._note(f"the window is over: paid on L1; escrow {escrow:,} OPEN equals the coins on L2", "L1")
        self._refused("pay again", "L1", lambda: w.bridge.finalise(number))

    def _refused(self, title: str, chain: str, action: Callable[[], Any]) -> None:
        """Show that something is refused; it is an error of the demo if it is not."""
        try:
            action()
        except (Reverted, BridgeError) as refused:
            self._note(f"{title}: refused", chain, str(refused))
            return
        raise AssertionError(f"{title} was not refused")

    def _note(self, title: str, chain: str, *more: str, until: int | None = None) -> None:
        """Write down what happened on a chain since the last step, or until a transaction."""
        engine = self._w.l1 if chain == "L1" else self._w.l2
        new = engine.receipts[self._marks[chain] : until]
        self._marks[chain] += len(new)
        proposed = [receipt for receipt in new if receipt.sender == address_of(PROPOSER)]
        if proposed:
            what = "an output" if len(proposed) == 1 else f"{len(proposed)} outputs"
            self._add(f"propose {what} of L2's state", chain, proposed)
        self._add(title, chain, [receipt for receipt in new if receipt not in proposed], *more)

    def _add(self, title: str, chain: str, receipts: Sequence[Receipt], *more: str) -> None:
        events = shortened([text for receipt in receipts for text in self._events(receipt)])
        gas = sum(receipt.gas_used for receipt in receipts)
        step = DemoStep(title, chain, self._w.clock.today, gas, (*events, *more))
        self._steps.append(step)
        self._tell(step)

    def _events(self, receipt: Receipt) -> list[str]:
        if receipt.to is None:
            address = receipt.contract_address
            assert address is not None
            return [f"created {self._labels.get(address, hex_address(address))}, {receipt.gas_used:,} gas"]
        decoded = (self._abi.decode_event(log) for log in receipt.logs)
        return [self._show(event) for event in decoded if event is not None]

    def _show(self, event: Event) -> str:
        if event.name == "TransactionDeposited":
            deposit = read_deposit(event, 0, 0)
            told = {
                "from": deposit.sender,
                "to": deposit.to,
                "mint": deposit.mint_wei,
                "value": deposit.value_wei,
            }
            told |= {"gasLimit": deposit.gas_limit, "data": deposit.data}
            event = Event(event.address, event.name, told)
        arguments = ", ".join(f"{name}={self._value(value)}" for name, value in event.arguments.items())
        return f"{event.name}({arguments})"

    def _value(self, value: Any) -> str:
        if isinstance(value, bytes):
            return self._labels.get(value) or f"0x{value.hex()[:8]}{'…' if len(value) > 4 else ''}"
        if isinstance(value, int) and value >= 10**15:
            whole, rest = divmod(value, OPEN)
            return (
                f"{whole:,}{'' if rest == 0 else '…'} OPEN" if value < 10**28 else f"0x{value:x}"[:10] + "…"
            )
        if isinstance(value, tuple):
            return f"[{', '.join(self._value(item) for item in value)}]"
        return str(value)


def shortened(events: Sequence[str]) -> list[str]:
    """Return a step's events with the repetitions of a name counted instead of shown.

    Examples
    --------
    >>> shortened(["A(x=1)", *(f"B(x={i})" for i in range(6))])
    ['A(x=1)', 'B(x=0)', 'B(x=1)', 'B(x=2)', 'B(x=3)', '2 more of B']
    """
    seen: Counter[str] = Counter()
    shown = []
    for text in events:
        name = text.partition("(")[0]
        seen[name] += 1
        if seen[name] <= SHOWN or text.startswith("created "):
            shown.append(text)
    hidden = [(name, n - SHOWN) for name, n in seen.items() if n > SHOWN and not name.startswith("created ")]
    return shown + [f"{n} more of {name}" for name, n in hidden]
