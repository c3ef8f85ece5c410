"""The world: all state of a batch of runs, run axis first.

Rule decided here: state is arrays and dataclasses, deep-copyable and picklable; no generator, no EVM, no open file
inside. Agent arrays are (runs, agents), world quantities (runs,). Only the ledger changes money.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sim.accounts import ACCOUNTS, AGENT_ACCOUNTS, AGENT_CLASSES, INSTITUTIONS, WORLD_ACCOUNTS
from sim.journal import Journal

if TYPE_CHECKING:
    from sim.governed_columns import GovernedColumns
    from sim.states.governance import GovernanceState
    from sim.states.holding import BridgeState, HoldingState, MarketState
    from sim.states.record import RecordState
    from sim.states.usage import UsageState

Int = NDArray[np.int64]
Float = NDArray[np.float64]
Columns = slice
"""Columns of the agent axis; `Layout.slice` hides the built-in name inside its class."""


@dataclass(frozen=True)
class Layout:
    """Which columns of the agent axis belong to which class.

    Parameters
    ----------
    counts
        Pairs (class, number of agents) in the order of the axis, institutions last.
    """

    counts: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, counts: dict[str, int]) -> Layout:
        """Return the layout of a population given as class -> count; institutions are added."""
        return cls(
            tuple((name, counts.get(name, 0)) for name in AGENT_CLASSES)
            + tuple((name, 1) for name in INSTITUTIONS)
        )

    def slice(self, agent_class: str) -> Columns:
        """Return the columns of a class; ``*`` means every agent.

        Raises
        ------
        KeyError
            If there is no such class.
        """
        return self._slices[agent_class]

    def count(self, agent_class: str) -> int:
        """Return how many agents a class has."""
        columns = self.slice(agent_class)
        return int(columns.stop - columns.start)

    @cached_property
    def _slices(self) -> dict[str, Columns]:
        slices, first = {}, 0
        for name, count in self.counts:
            slices[name] = Columns(first, first + count)
            first += count
        return slices | {"*": Columns(0, first)}

    @cached_property
    def starts(self) -> Int:
        """First column of each class, int64 (classes,); every class has at least one agent."""
        return np.array([self._slices[name].start for name, _ in self.counts], np.int64)

    @cached_property
    def bounds(self) -> Int:
        """First column of each class, and the length of the axis, int64 (classes + 1,)."""
        return np.append(self.starts, self.agents)

    @cached_property
    def class_of(self) -> Int:
        """Number of each column's class in `counts`, int64 (agents,)."""
        return np.repeat(np.arange(len(self.counts)), np.diff(self.bounds))

    def number(self, agent_class: str) -> int:
        """Return the number of a class in `counts`."""
        return self.names.index(agent_class)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The classes in the order of the axis."""
        return tuple(name for name, _ in self.counts)

    @cached_property
    def checksum_weights(self) -> Int:
        """One odd weight per column, int64 (agents,): the output of SplitMix64 at the column's number."""
        z = (np.arange(1, self.agents + 1, dtype=np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return ((z ^ (z >> np.uint64(31))) | np.uint64(1)).view(np.int64)

    @property
    def population(self) -> int:
        """Simulated agents: those with behaviour, without the institutions."""
        return self.agents - len(INSTITUTIONS)

    @cached_property
    def agents(self) -> int:
        """Length of the agent axis, institutions included."""
        return sum(count for _, count in self.counts)


@dataclass(slots=True)
class UsdLog:
    """USD that came in or went out, int64 micro-USD per run, by (class, purpose), since day 0 and today.

    USD is outside money: it enters the venue for purchases and leaves it for sales, pays operators' costs and
    L1 gas. Amounts are positive; the purpose says the direction.
    """

    total: dict[tuple[str, str], Int] = field(default_factory=dict)
    today: dict[tuple[str, str], Int] = field(default_factory=dict)

    def add(self, agent_class: str, purpose: str, micro_usd: Int) -> None:
        """Log an amount of today, int64 micro-USD (runs,)."""
        key = (agent_class, purpose)
        for book in (self.today, self.total):
            book[key] = book[key] + micro_usd if key in book else micro_usd.copy()

    def read_today(self, agent_class: str, purpose: str, runs: int) -> Int:
        """Return today's amount, zeros where nothing was logged."""
        return self.today.get((agent_class, purpose), np.zeros(runs, np.int64))


@dataclass(slots=True)
class World:
    """State of a batch of runs.

    Parameters
    ----------
    runs
        Run numbers of the batch, int64 (runs,); draws are keyed by them.
    layout
        The agent axis.
    balances, expected_world
        World accounts, int64 (runs, accounts): as they are, and as the journal says.
    holdings, expected_agent
        Agent accounts, int64 (accounts, runs, agents), and their sums as the journal says, (runs, accounts).
    checksum
        Agent accounts' weighted sums as the ledger moved them, modulo 2^64, int64 (runs, accounts): finds money that
        went from one agent to another of the same account.
    audited
        Sums of the agent accounts as the day's identities found them, int64 (runs, accounts), for the record of the
        same day; None at other times.
    earned, dust
        Liability of the distributor: payouts per agent, int64 (runs, agents), and the carried remainder (runs,).
    income
        What each agent was paid since the last settlement epoch ended (payouts, rewards, grants, emission, unlocks,
        operators' pay), int64 (runs, agents); payouts and rewards as last brought forward (`sim/payouts.py`).
    principal
        What each agent's stake would be without the rewards since these were last brought forward, int64
        (runs, agents).
    price_usd
        Yesterday's close in USD per OPEN, float64 (runs,); the market phase writes today's.
    governed
        Parameters that a vote may change, as columns over runs.
    market, bridge, holding, usage, governance, record
        State of the phases.
    """

    runs: Int
    layout: Layout
    journal: Journal
    usd: UsdLog
    balances: Int
    expected_world: Int
    holdings: Int
    expected_agent: Int
    earned: Int
    dust: Int
    income: Int
    price_usd: Float
    governed: GovernedColumns
    market: MarketState
    bridge: BridgeState
    holding: HoldingState
    usage: UsageState
    governance: GovernanceState
    record: RecordState
    checksum: Int = field(init=False)
    principal: Int = field(init=False)
    audited: Int | None = None
    day: int = 0
    phase: str = "genesis"

    def __post_init__(self) -> None:
        self.checksum = self.checksum_of_holdings()
        self.principal = self.agent_balance("stake").copy()

    def checksum_of_holdings(self) -> Int:
        """Return the weighted sums of the agent accounts as they are, int64 (runs, accounts), modulo 2^64."""
        weighted = np.einsum("kra,a->rk", self.holdings, self.layout.checksum_weights)
        return np.asarray(weighted, np.int64)

    @property
    def count(self) -> int:
        """Number of runs in the batch."""
        return len(self.runs)

    def world_balance(self, name: str) -> Int:
        """Return a world account's balances, (runs,). Read only: money moves through the ledger."""
        return np.asarray(self.balances[:, ACCOUNTS[name].index])

    def agent_balance(self, name: str, agent_class: str = "*") -> Int:
        """Return an agent account's balances of a class, a view (runs, agents). Read only."""
        return np.asarray(self.holdings[ACCOUNTS[name].index][:, self.layout.slice(agent_class)])

    def earned_by(self, agent_class: str) -> Int:
        """Return unclaimed payouts of a class, a writable view (runs, agents)."""
        return np.asarray(self.earned[:, self.layout.slice(agent_class)])


def empty_accounts(runs: int, layout: Layout) -> tuple[Int, Int, Int, Int]:
    """Return zero balances, their journal twin, zero holdings and their journal twin."""
    return (
        np.zeros((runs, len(WORLD_ACCOUNTS)), np.int64),
        np.zeros((runs, len(WORLD_ACCOUNTS)), np.int64),
        np.zeros((len(AGENT_ACCOUNTS), runs, layout.agents), np.int64),
        np.zeros((runs, len(AGENT_ACCOUNTS)), np.int64),
    )
