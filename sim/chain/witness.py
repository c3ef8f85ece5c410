"""Witness: one run of the simulation executed on two chains and compared with its ledger.

Rule decided here: the chains replay the journal of flows, never differences of balances, and contracts
compute what they have a formula for. After each epoch every account is compared; a disagreement of one wei
stops the run and names the account and the day.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from sim.chain.accounts import AccountBook
from sim.chain.addresses import address_of
from sim.chain.bridge import BridgeTimes, GasTokenBridge
from sim.chain.claims import ClaimBook
from sim.chain.clock import DAY_S, SandboxClock
from sim.chain.cohorts import Cohorts, wrapped_labels
from sim.chain.deployment import DeploymentSpec, deploy_all
from sim.chain.deployment_spec import SETTLER
from sim.chain.evm import L1_CHAIN_ID, L2_CHAIN_ID, Chain
from sim.chain.executor import Executor
from sim.chain.journal import (
    TIMELOCK_LABEL,
    JournalEntry,
    Kind,
    Reconciliation,
    ReconciliationError,
    chain_of,
    kind_of,
)
from sim.chain.lifecycle import Execution, Lifecycle, Proposal
from sim.chain.moves import Holdings
from sim.chain.opening import open_accounts
from sim.chain.plan import POSTED, Delays, plan
from sim.chain.settlements import Settler

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sim.chain.backend import SandboxChain

_L2_KINDS = frozenset({Kind.L2, Kind.DISTRIBUTOR, Kind.WRAPPED})
_ESCROWED = _L2_KINDS | {Kind.DEPOSIT, Kind.WITHDRAWAL, Kind.BURNED_L2}


class ChainWitness:
    """The chains of one run.

    Parameters
    ----------
    spec
        What is deployed.
    day0_timestamp
        Midnight at which day 0 begins, seconds.
    times
        Delays of the bridge.
    l1, l2
        Chains that begin a day before day 0; chains in this process when None.

    Notes ----- Everything that happened before a governance step has to be replayed before the step is taken:
    time does not go back, and entries of a day that the chains have passed are refused.
    """

    def __init__(
        self,
        spec: DeploymentSpec,
        *,
        day0_timestamp: int,
        times: BridgeTimes | None = None,
        l1: SandboxChain | None = None,
        l2: SandboxChain | None = None,
    ) -> None:
        genesis = day0_timestamp - DAY_S
        self.l1: SandboxChain = l1 or Chain(chain_id=L1_CHAIN_ID, genesis_time=genesis)
        self.l2: SandboxChain = l2 or Chain(chain_id=L2_CHAIN_ID, genesis_time=genesis)
        self.deployment = deploy_all(self.l1, self.l2, spec)
        self.bridge = GasTokenBridge(self.l1, self.l2, self.deployment.token, times)
        self.book = AccountBook(self.deployment, self.bridge)
        self.clock = SandboxClock(day0_timestamp, self.l2, self.bridge)
        self.claims = ClaimBook(self.deployment.distributor, self.book.address, spec.unit_wei)
        self.governance = Lifecycle(self.deployment, self.book, self.clock)
        self.cohorts = Cohorts(self.deployment, self.book, self._wrapped)
        self.settler = Settler(self.deployment.splitter, address_of(SETTLER), day0_timestamp, spec.unit_wei)
        self._executor = Executor(
            self.deployment, self.bridge, self.book, self.claims, self.settler, self.clock
        )
        self._delays = _delays(self.bridge.times)
        self._holdings = Holdings()
        for bucket in spec.buckets:
            self._holdings.balances[f"vesting.{bucket.name}"] = bucket.allocation_wei // spec.unit_wei
        self._day = 0
        self._spent_by_vote: list[JournalEntry] = []
        self.chain_rows: list[Reconciliation] = []

    @property
    def transactions(self) -> int:
        """Transactions on both chains so far."""
        return self.l1.transaction_count + self.l2.transaction_count

    @property
    def reconciled_epochs(self) -> int:
        """Number of epochs compared so far."""
        return len({row.epoch for row in self.chain_rows})

    @property
    def max_abs_diff_wei(self) -> int:
        """Largest disagreement found; 0 in a run that was not stopped."""
        return max((abs(row.diff_wei) for row in self.chain_rows), default=0)

    def open(self, balances: Mapping[str, int]) -> None:
        """Begin with balances other than those of the token generation event; before anything else.

        Parameters
        ----------
        balances
            By account label, ledger units.

        Raises
        ------
        InputError
            If they do not add up to the cap, or money is between the chains.
        ReconciliationError
            If a bucket's schedule has released another amount.
        """
        open_accounts(self.deployment, self.book, self.clock, balances)
        self._holdings.balances.clear()
        self._holdings.balances.update(balances)

    def execute(self, day: int, proposal: Proposal) -> Execution:
        """Execute a queued proposal; the journal's V1 entries for its spends are then known as done."""
        execution = self.governance.execute(day, proposal)
        for spend in execution.spends:
            entry = JournalEntry(day, "V1", TIMELOCK_LABEL, spend.target, spend.amount_gwei)
            self._spent_by_vote.append(entry)
            self._holdings.balances[entry.source] -= entry.amount_gwei
            self._holdings.balances[entry.target] += entry.amount_gwei
        return execution

    def replay(
        self,
        entries: Iterable[JournalEntry],
        *,
        through_day: int,
        earned: Mapping[str, int] | None = None,
        bills: Mapping[int, int] | None = None,
    ) -> None:
        """Execute a batch of journal entries.

        Parameters
        ----------
        entries
            Entries since the last batch, in the ledger's order.
        through_day
            Last day of the batch; the chains stand on it afterwards.
        earned
            Cumulative payouts earned, claimed or not, of accounts with an address of their own, ledger units.
            A claim then pays what this says, whatever the journal says.
        bills
            Number of bills by day; the payments into clearing are counted when None.

        Raises
        ------
        ReconciliationError
            If an entry cannot be executed, or a contract computes another amount.
        """
        batch = self._without_done(entries)
        days = range(self._day, through_day + 1)
        self._check_days(batch, days)
        self.settler.count(Counter(e.day for e in batch if e.flow == "B1") if bills is None else bills)
        steps, self._holdings = plan(batch, self._holdings, self._delays, days)
        by_day = defaultdict(list)
        for step in steps:
            by_day[step.day].append(step)
        for day in days:
            self._executor.begin_day(day)
            self._executor.execute(by_day[day], earned or {})
        self._day = through_day

    def post_epoch(
        self, earned: Mapping[str, int] | None = None, log_root: bytes = bytes(32), log_size: int = 0
    ) -> None:
        """Post a payout root with everything that waits, for an epoch in which nobody claimed."""
        self._executor.post_epoch(earned or {}, log_root, log_size)
        balances = self._holdings.balances
        balances[POSTED] += balances.pop("distributor", 0)

    def reconcile(self, balances: Mapping[str, int], *, epoch: int, day: int) -> list[Reconciliation]:
        """Compare every account after an epoch.

        Parameters
        ----------
        balances
            Ledger balances by account label, ledger units. Accounts that the journal touched and that are
            missing here count as 0.
        epoch, day
            Settlement epoch and its last day.

        Returns
        -------
        list[Reconciliation]
            One line per account and four totals; also kept in `chain_rows`.

        Raises
        ------
        ReconciliationError
            Naming the first account that disagrees, and in its text the next ones.
        """
        unit = self.deployment.spec.unit_wei
        known = {label for label, held in self._holdings.balances.items() if held and label != POSTED}
        known |= {transit.label for transit in self._holdings.transits}
        rows = [
            self._row(epoch, day, label, chain_of(label), balances.get(label, 0), self._chain_wei(label))
            for label in sorted({*balances, *known})
        ]
        rows += [self._row(epoch, day, *total) for total in self._totals(balances)]
        self._executor.spent.clear()
        self.chain_rows += rows
        wrong = [row for row in rows if row.diff_wei]
        if wrong:
            row = wrong[0]
            others = "".join(f"; {other.account} by {other.diff_wei} wei" for other in wrong[1:9])
            raise ReconciliationError(
                row.account, day,
                f"epoch {epoch}: the chain has {row.chain_wei} wei, the ledger"
                f" {row.ledger_gwei * unit} wei, difference {row.diff_wei} wei{others}",
            )  # fmt: skip
        return rows

    def _wrapped(self) -> dict[str, int]:
        return wrapped_labels(self._holdings.balances)

    def _chain_wei(self, label: str) -> int:
        """Balance on the chains, with GOPEN that is lent to voters counted at its owner."""
        lent = self.cohorts.lent(label) if kind_of(label) is Kind.WRAPPED else 0
        return self.book.balance_wei(label) + lent * self.deployment.spec.unit_wei

    def _row(self, epoch: int, day: int, label: str, chain: str, ledger: int, wei: int) -> Reconciliation:
        spent = self._executor.spent[label]
        diff = wei - ledger * self.deployment.spec.unit_wei
        return Reconciliation(epoch, day, label, chain, ledger, wei, diff, spent.gas_used, spent.transactions)

    def _totals(self, balances: Mapping[str, int]) -> list[tuple[str, str, int, int]]:
        """Totals that no single account shows: escrow, supplies, claims paid."""
        spec, d = self.deployment.spec, self.deployment
        escrowed = sum(held for label, held in balances.items() if kind_of(label) in _ESCROWED)
        wrapped = sum(held for label, held in balances.items() if kind_of(label) is Kind.WRAPPED)
        supply = spec.cap_wei // spec.unit_wei - balances.get("burned.l1", 0)
        return [
            ("escrow", "l1", escrowed, self.bridge.escrow()),
            ("open.supply", "l1", supply, d.token.total_supply()),
            ("gopen.supply", "l2", wrapped, d.gopen.total_supply()),
            ("distributor.claimed", "l2", self.claims.paid_total, d.distributor.claimed_total()),
        ]

    def _without_done(self, entries: Iterable[JournalEntry]) -> list[JournalEntry]:
        """Drop what the chains did already: the mint at genesis, and spends that a proposal executed."""
        batch = []
        for entry in entries:
            if entry.source == "mint":
                self._check_mint(entry)
            elif entry.flow == "V1" and entry.source == TIMELOCK_LABEL:
                self._check_spend(entry)
            else:
                batch.append(entry)
        return batch

    def _check_mint(self, entry: JournalEntry) -> None:
        unit = self.deployment.spec.unit_wei
        allocated = {f"vesting.{b.name}": b.allocation_wei // unit for b in self.deployment.spec.buckets}
        if allocated.get(entry.target) != entry.amount_gwei:
            raise ReconciliationError(
                entry.target, entry.day,
                f"the ledger mints {entry.amount_gwei} gwei, deployed were"
                f" {allocated.get(entry.target, 0)} gwei",
            )  # fmt: skip

    def _check_spend(self, entry: JournalEntry) -> None:
        for done in self._spent_by_vote:
            if (done.target, done.amount_gwei) == (entry.target, entry.amount_gwei):
                self._spent_by_vote.remove(done)
                return
        raise ReconciliationError(
            entry.source, entry.day,
            f"V1 of {entry.amount_gwei} gwei to {entry.target}: no executed proposal paid this",
        )  # fmt: skip

    @staticmethod
    def _check_days(batch: Sequence[JournalEntry], days: range) -> None:
        for entry in batch:
            if entry.day not in days:
                raise ReconciliationError(
                    entry.source, entry.day,
                    f"{entry.flow} to {entry.target} is outside the batch,"
                    f" days {days.start} to {days.stop - 1}",
                )  # fmt: skip


def _delays(times: BridgeTimes) -> Delays:
    """Whole days of each leg, rounded up."""
    days = [-(-seconds // DAY_S) for seconds in (times.deposit_s, times.output_every_s, times.window_s)]
    return Delays(deposit_days=max(days[0], 1), exit_days=days[1] + days[2])
