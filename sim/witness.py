"""Witness: joins the ledger of one run to its two chains.

Rule decided here: what the chains are deployed with, which agents have an address of their own, and how the
ledger's journal and balances are named there. The largest owners of each class and a few sampled payees stand alone;
the others of a class share one address per chain (``holders/*``). At the end of every epoch the journal is replayed
and all accounts are compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import timedelta
from itertools import product
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sim.accounts import AGENT_ACCOUNTS, WORLD_ACCOUNTS
from sim.chain.calls import count_calls
from sim.chain.clock import DAY_S
from sim.chain.gateway import ChainGateway
from sim.chain.journal import JournalEntry
from sim.chain.stopwatch import Stopwatch, TimedGateway
from sim.chain.witness import ChainWitness
from sim.rates import on, stands_for
from sim.services import Services
from sim.witness_deployment import bridge_times, deployment_spec, midnight

if TYPE_CHECKING:
    from sim.chain.backends.nodes import Nodes
    from sim.chain.backends.rpc import RpcChain
    from sim.economy import Economy
    from sim.journal import Entry
    from sim.world import World

Int = NDArray[np.int64]

INDIVIDUALS = {
    "holders": 20, "users": 4, "contributors": 10, "builders": 5, "operators": 3, "investors": 5, "team": 3,
    "traders": 2,
}  # fmt: skip
"""How many agents of a class have an address of their own: of holders the largest, of the others the first."""


class Witness:
    """The witness run's chains.

    Parameters
    ----------
    economy
        Static data; gives the contracts' parameters.
    nodes
        Where the chains are; in this process when None.

    Raises
    ------
    InputError
        If two buckets share a role: the chain has one vesting contract per account; or a node is not usable.
    """

    def __init__(self, economy: Economy, nodes: Nodes | None = None) -> None:
        self._economy = economy
        self.watch = Stopwatch()
        day0 = midnight(economy.scenario.start)
        self._at_nodes = _connect(nodes, day0) if nodes else {}
        with self.watch.running():
            self._chain = ChainWitness(
                deployment_spec(economy), day0_timestamp=day0, times=bridge_times(economy), **self._at_nodes
            )
        self._gateway = TimedGateway(ChainGateway(self._chain, self._replay), self.watch)
        self._world: World | None = None
        self._own: dict[str, Int] = {}
        self._waiting: list[JournalEntry] = []
        self._flat_seen = False

    @property
    def chain(self) -> ChainWitness:
        """The chains."""
        return self._chain

    def begin(self, world: World, economy: Economy) -> Services:
        """Choose who has an address of its own, open the accounts, and return the services of the run."""
        self._world = world
        row = _row(world)
        for name, count in INDIVIDUALS.items():
            size = world.layout.count(name)
            order = np.arange(size)
            if name == "holders":
                order = np.argsort(-world.holding.baseline_holding[row], kind="stable")
            self._own[name] = np.sort(order[: min(count, size - 1)]).astype(np.int64)
        if not economy.genesis:
            with self.watch.running():
                self._chain.open(dict(self._balances(world)))
        return Services(governance=self._gateway, settlement=self)

    def settle(self, world: World, economy: Economy) -> None:
        """Replay what the journal holds and compare every account.

        Raises
        ------
        sim.chain.journal.ReconciliationError
            If ledger and chain disagree.
        """
        with self.watch.running():
            self._replay(world.day)
            balances = dict(self._balances(world))
            self._chain.reconcile(balances, epoch=int(economy.month_of_day[world.day]), day=world.day)

    def close(self) -> None:
        """Give the connections to nodes back."""
        for chain in self._at_nodes.values():
            chain.close()

    def rows(self) -> dict[str, list[Any]]:
        """Return the reconciliation as the columns of ``chain.parquet``."""
        rows, start = self._chain.chain_rows, self._economy.scenario.start
        return {
            "run": [self._run] * len(rows),
            "epoch": [row.epoch for row in rows],
            "date": [start + timedelta(days=row.day) for row in rows],
            "account": [row.account for row in rows],
            "chain": [row.chain for row in rows],
            "ledger_gwei": [row.ledger_gwei for row in rows],
            "chain_wei": [row.chain_wei for row in rows],
            "diff_wei": [row.diff_wei for row in rows],
            "gas_used": [row.gas_used for row in rows],
            "transactions": [row.transactions for row in rows],
        }

    def summary(self) -> dict[str, Any]:
        """Return what the manifest says of the chain."""
        return {
            "executed": True,
            "witness_run": self._run,
            "transactions": self._chain.transactions,
            "reconciled_epochs": self._chain.reconciled_epochs,
            "max_abs_diff_wei": self._chain.max_abs_diff_wei,
            "seconds": round(self.watch.wall_s, 2),
            "transactions_per_s": round(self._chain.transactions / max(self.watch.wall_s, 1e-9), 1),
            **{name: chain.client for name, chain in self._at_nodes.items()},
            "calls": [asdict(call) for call in count_calls(self._chain.deployment, self._chain.bridge)],
        }

    @property
    def _run(self) -> int:
        assert self._world is not None
        return int(self._world.runs[_row(self._world)])

    def _replay(self, through_day: int) -> None:
        """Execute the journal through a day; governance calls this before it moves time."""
        world = self._world
        assert world is not None
        entries = world.journal.take_entries()
        bills = {
            entry.day: ceil(np.count_nonzero(entry.source_parts) * self._users_per_bill(world))
            for entry in entries
            if entry.flow == "B1" and entry.source_parts is not None
        }
        self._waiting += [line for entry in entries for line in self._lines(entry)]
        due = [line for line in self._waiting if line.day <= through_day]
        self._waiting = self._waiting[len(due) :]
        self._chain.replay(due, through_day=through_day, earned=dict(self._earned(world)), bills=bills)

    def _users_per_bill(self, world: World) -> float:
        """Return how many users' flat platform parts a bill holds; 1 where there is none, so that bounds stay tight."""
        self._flat_seen |= bool(on(world, "fees.platform_flat")[_row(world)])
        return max(stands_for(self._economy), 1.0) if self._flat_seen else 1.0

    def _lines(self, entry: Entry) -> Iterator[JournalEntry]:
        """Yield an entry as lines of individuals and of the rest of the class."""
        payers = self._labels(entry.source, entry.source_parts, entry.amount)
        payees = self._labels(entry.target, entry.target_parts, entry.amount)
        for source, target, amount in matched(payers, payees):
            yield JournalEntry(entry.day, entry.flow, source, target, amount)

    def _labels(self, label: str, parts: Int | None, amount: int) -> dict[str, int]:
        """Return one side of an entry by account label."""
        if parts is None:
            return {label: amount}
        return {f"{label}/{suffix}": part for suffix, part in self._split(label.partition("/")[2], parts)}

    def _split(self, name: str, parts: Int) -> Iterator[tuple[str, int]]:
        """Yield (index or ``*``, gwei) of a class, without zeros."""
        own = self._own.get(name, np.zeros(0, np.int64))
        alone = parts[own]
        rest = int(parts.sum() - alone.sum())
        if rest:
            yield "*", rest
        for index, amount in zip(own.tolist(), alone.tolist(), strict=True):
            if amount:
                yield str(index), amount

    def _balances(self, world: World) -> Iterator[tuple[str, int]]:
        row = _row(world)
        for account in WORLD_ACCOUNTS:
            yield account.name, int(world.balances[row, account.index])
        for account in AGENT_ACCOUNTS:
            for name, _ in world.layout.counts:
                for suffix, amount in self._split(name, world.agent_balance(account.name, name)[row]):
                    yield f"{account.name}/{name}/{suffix}", amount

    def _earned(self, world: World) -> Iterable[tuple[str, int]]:
        """Yield lifetime earnings of payees with an address of their own."""
        row = _row(world)
        for name in ("contributors", "builders"):
            lifetime = world.usage.cumulative_earned[row, world.layout.slice(name)]
            for index in self._own[name].tolist():
                yield f"wallet.l2/{name}/{index}", int(lifetime[index])


def _connect(nodes: Nodes, day0: int) -> dict[str, RpcChain]:
    """Return the chains that are at nodes, by name."""
    from sim.chain.backends.connect import connect_all

    l1, l2 = connect_all(nodes, genesis_time=day0 - DAY_S)
    return {"l2": l2} if l1 is None else {"l1": l1, "l2": l2}


def matched(payers: dict[str, int], payees: dict[str, int]) -> Iterator[tuple[str, str, int]]:
    """Yield who pays whom how much: first each owner themselves, then the others in their order.

    Parameters
    ----------
    payers, payees
        Amounts above 0 by account label; the same sum.

    Examples
    --------
    >>> list(matched({"bond/a/1": 5, "bond/a/2": 4}, {"wallet.l2/a/2": 3, "wallet.l2/a/*": 6}))
    [('bond/a/2', 'wallet.l2/a/2', 3), ('bond/a/1', 'wallet.l2/a/*', 5), ('bond/a/2', 'wallet.l2/a/*', 1)]
    """
    left, unpaid = dict(payers), dict(payees)
    by_owner = {label.partition("/")[2]: label for label in payees if "/" in label}
    owners = [(payer, payer.partition("/")[2]) for payer in payers]
    yield from _pay([(payer, by_owner[owner]) for payer, owner in owners if owner in by_owner], left, unpaid)
    waiting = [payee for payee, amount in unpaid.items() if amount]
    yield from _pay(product([payer for payer, amount in left.items() if amount], waiting), left, unpaid)


def _pay(
    pairs: Iterable[tuple[str, str]], left: dict[str, int], unpaid: dict[str, int]
) -> Iterator[tuple[str, str, int]]:
    """Let each pair in turn settle what it can."""
    for payer, payee in pairs:
        amount = min(left[payer], unpaid[payee])
        if amount:
            left[payer] -= amount
            unpaid[payee] -= amount
            yield payer, payee, amount


def _row(world: World) -> int:
    row = world.journal.witness_row
    assert row is not None, "the batch holds no witness run"
    return row
