"""State of holders, market and bridge.

Rule decided here: phases place orders (sell, buy, deposit, withdraw) here; the market and the bridge carry them out
once a day, never more than the balance that backs them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sim.picks import Picks

if TYPE_CHECKING:
    from sim.world import Layout

Int = NDArray[np.int64]
Float = NDArray[np.float64]


@dataclass(slots=True)
class DueQueue:
    """Amounts that fall due on a later day: a ring of days, sparse in agents.

    Parameters
    ----------
    due
        Day -> what falls due on it, in the order in which it was added.
    """

    due: dict[int, list[Picks]] = field(default_factory=dict)

    def add(self, day: int, some: Picks) -> None:
        """Add amounts to fall due on `day`."""
        if some.where.size:
            self.due.setdefault(day, []).append(some)

    def push(self, day: int, amounts: Int) -> None:
        """Add the elements of `amounts` (runs, agents) that are not 0 to fall due on `day`."""
        self.add(day, Picks.of(amounts))

    def take(self, day: int) -> Picks:
        """Remove and return what falls due on `day`."""
        return Picks.joined(self.due.pop(day, []))


@dataclass(frozen=True, slots=True)
class Purchases:
    """Orders of a class to buy.

    Parameters
    ----------
    agent_class
        Who buys; no agent stands in it twice.
    some
        Micro-USD that each of them spends.
    spent
        Their sum, int64 micro-USD (runs,).
    """

    agent_class: str
    some: Picks
    spent: Int

    @classmethod
    def of(cls, layout: Layout, agent_class: str, micro_usd: Int) -> Purchases:
        """Return the orders of a class out of what each of its agents spends, int64 (runs, agents of the class)."""
        return cls(agent_class, Picks.of_class(layout, agent_class, micro_usd), micro_usd.sum(axis=1))


@dataclass(slots=True)
class MarketState:
    """The venue and the orders of the day.

    Parameters
    ----------
    pool_micro_usd
        USD side of the venue's pool, int64 micro-USD (runs,); the token side is the account ``venue``.
    sell_orders
        Gwei that each agent offers from ``wallet.l1`` today, int64 (runs, agents of the class), of the classes in which
        somebody sells; holders stand apart.
    purchases
        What is to be spent today, a class at a time.
    holder_sales, holders_sell
        Gwei that each holder sells today, int64 (runs, holders), and the sums of runs, int64 (runs,): most holders sell
        every day, so theirs are not cleared but counted while the sums are not 0.
    treasury_sell
        Gwei that the treasury sells from ``treasury.l1`` today under a voted budget, int64 (runs,).
    venue_target
        Tokens that the venue needs for the scenario's depth, int64 (runs,).
    sold_gwei, bought_gwei, buyback_micro_usd
        Traded today in gwei, and spent on the buyback in micro-USD, int64 (runs,).
    price_path
        Closes of the last 31 days, float64 (runs, 31), newest last.
    peak_usd
        Highest close so far, float64 (runs,).
    inflow_usd_per_month
        The outside net inflow that this run drew, float64 (runs,).
    quote_deviation
        Logarithm of the market makers' quotes over the level that flows alone would give, float64 (runs,).
    """

    pool_micro_usd: Int
    holder_sales: Int
    holders_sell: Int
    treasury_sell: Int
    venue_target: Int
    sold_gwei: Int
    bought_gwei: Int
    buyback_micro_usd: Int
    price_path: Float
    peak_usd: Float
    inflow_usd_per_month: Float
    quote_deviation: Float
    sell_orders: dict[str, Int] = field(default_factory=dict)
    purchases: list[Purchases] = field(default_factory=list)

    def offer(self, agent_class: str, amounts: Int) -> None:
        """Add to what a class offers today, gwei, int64 (runs, agents of the class)."""
        known = self.sell_orders.get(agent_class)
        self.sell_orders[agent_class] = amounts if known is None else known + amounts


@dataclass(slots=True)
class BridgeState:
    """Money between the chains and the orders of the day.

    Parameters
    ----------
    deposit_orders, withdraw_orders
        Gwei to bridge today from ``wallet.l1`` and from ``wallet.l2``, no agent twice; cut to the balance.
    deposits, withdrawals
        Agents' money on its way, by day of arrival.
    pool_deposits
        Pools' deposits on their way: day -> int64 (runs, 2) for community and ecosystem.
    treasury_withdraw
        Gwei that the treasury withdraws today, int64 (runs,).
    treasury_withdrawals, fastbridge_withdrawals
        Institutions' withdrawals on their way: day -> int64 (runs,).
    escrow
        OPEN that the bridge holds on L1, int64 (runs,), kept from what the bridge itself took in and paid out: the
        independent side of identity 3.
    exits_gwei, slow_exits_gwei
        Withdrawals that arrived on L1 today, all and those through the challenge window, int64 (runs,).
    """

    treasury_withdraw: Int
    escrow: Int
    exits_gwei: Int
    slow_exits_gwei: Int
    deposit_orders: list[Picks] = field(default_factory=list)
    withdraw_orders: list[Picks] = field(default_factory=list)
    deposits: DueQueue = field(default_factory=DueQueue)
    withdrawals: DueQueue = field(default_factory=DueQueue)
    pool_deposits: dict[int, Int] = field(default_factory=dict)
    treasury_withdrawals: dict[int, Int] = field(default_factory=dict)
    fastbridge_withdrawals: dict[int, Int] = field(default_factory=dict)


@dataclass(slots=True)
class HoldingState:
    """Traits and plans of those who hold.

    Parameters
    ----------
    taste
        Uniform trait per agent: below the share of long locks its stake is locked for long, float64 (runs, agents).
    haste
        Uniform trait per agent: below the fast exits' share it takes them, float64 (runs, agents).
    hedged
        Whether an investor's tokens were sold forward, bool (runs, investors).
    baseline_holding
        Balance weights of holders, int64 (runs, holders): deciles are grouped by them, whatever happens later.
    airdrop_weights, investor_weights, team_weights, trader_weights
        Weights by which a class divides what it receives, int64 (runs, agents of the class).
    airdropped
        Of each holder's L1 tokens those of airdrops that are not sold yet, gwei, int64 (runs, holders).
    days_since_receipt
        Days since the last airdrop (or the start), int64 (runs,).
    holder_groups
        First holder of those who take part in stake and GOPEN and of the others, and how many holders there are, int64
        (3,).
    patience, sold_out
        Uniform trait by which the holders of each group are numbered, rising, uint32 (runs, holders): the less, the
        sooner they sell an airdrop; and how many have sold the last one, int64 (runs, 2): the first of each group.
    gopen_supply
        GOPEN outstanding, int64 (runs,), kept from wraps and unwraps: the independent side of identity 4.
    unbonding
        Stake on its way out, by day of release.
    decile
        Tenth of the holders to which each belongs by `baseline_holding`, uint8 (runs, holders), once it was needed.
    staking_paid, emitted
        Rewards paid today, and what all programmes together paid today, int64 (runs,).
    """

    taste: Float
    haste: Float
    hedged: NDArray[np.bool_]
    baseline_holding: Int
    airdrop_weights: Int
    investor_weights: Int
    team_weights: Int
    trader_weights: Int
    airdropped: Int
    days_since_receipt: Int
    holder_groups: Int
    patience: NDArray[np.uint32]
    sold_out: Int
    gopen_supply: Int
    staking_paid: Int
    emitted: Int
    unbonding: DueQueue = field(default_factory=DueQueue)
    decile: NDArray[np.uint8] | None = None
