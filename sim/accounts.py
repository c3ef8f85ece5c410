"""Accounts: where every gwei can be, on which chain, and what it counts as.

Rule decided here: the table of accounts (documentation: docs/economy.md). World accounts hold one balance per run,
agent accounts one per run and agent. Every account lives on exactly one chain; ``escrow`` marks money between the
two, escrowed on L1.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Chain(Enum):
    """The chain that an account lives on."""

    L1 = "l1"
    L2 = "l2"
    ESCROW = "escrow"


class Counted(Enum):
    """What a balance counts as in the supply series."""

    LOCKED = "locked"
    RESERVE = "reserve"
    CIRCULATING = "circulating"
    FLOAT = "float"
    BURNED = "burned"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Account:
    """One account of the ledger.

    Parameters
    ----------
    name
        Name as in the account table, such as ``pool.community.l1``.
    chain
        Where it lives.
    counted
        What it counts as; FLOAT is part of circulating.
    index
        Position among world accounts or among agent accounts.
    per_agent
        Whether it holds one balance per agent.
    """

    name: str
    chain: Chain
    counted: Counted
    index: int
    per_agent: bool


_WORLD = (
    ("vesting.community", Chain.L1, Counted.LOCKED),
    ("vesting.ecosystem", Chain.L1, Counted.LOCKED),
    ("vesting.liquidity", Chain.L1, Counted.LOCKED),
    ("vesting.investors", Chain.L1, Counted.LOCKED),
    ("vesting.team", Chain.L1, Counted.LOCKED),
    ("pool.community.l1", Chain.L1, Counted.RESERVE),
    ("pool.community.l2", Chain.L2, Counted.RESERVE),
    ("pool.ecosystem.l1", Chain.L1, Counted.RESERVE),
    ("pool.ecosystem.l2", Chain.L2, Counted.RESERVE),
    ("treasury.l1", Chain.L1, Counted.RESERVE),
    ("treasury.l2", Chain.L2, Counted.RESERVE),
    ("market_maker", Chain.L1, Counted.RESERVE),
    ("venue", Chain.L1, Counted.CIRCULATING),
    ("clearing", Chain.L2, Counted.NOTHING),
    ("distributor", Chain.L2, Counted.CIRCULATING),
    ("operators_pot", Chain.L2, Counted.RESERVE),
    ("gas_vault", Chain.L2, Counted.RESERVE),
    ("staking_rewards", Chain.L2, Counted.RESERVE),
    ("fastbridge.l1", Chain.L1, Counted.RESERVE),
    ("fastbridge.l2", Chain.L2, Counted.RESERVE),
    ("burned.l1", Chain.L1, Counted.BURNED),
    ("burned.l2", Chain.L2, Counted.BURNED),
    # what institutions have between the chains: the transit accounts of owners that are no agents
    ("transit_deposit.pool.community", Chain.ESCROW, Counted.RESERVE),
    ("transit_deposit.pool.ecosystem", Chain.ESCROW, Counted.RESERVE),
    ("transit_withdraw.treasury", Chain.ESCROW, Counted.RESERVE),
    ("transit_withdraw.fastbridge", Chain.ESCROW, Counted.RESERVE),
)
_AGENT = (
    ("wallet.l1", Chain.L1, Counted.FLOAT),
    ("wallet.l2", Chain.L2, Counted.FLOAT),
    ("prepaid", Chain.L2, Counted.CIRCULATING),
    ("stake", Chain.L2, Counted.CIRCULATING),
    ("unbonding", Chain.L2, Counted.CIRCULATING),
    ("bond", Chain.L2, Counted.CIRCULATING),
    ("wrapped", Chain.L2, Counted.CIRCULATING),
    ("transit_deposit", Chain.ESCROW, Counted.CIRCULATING),
    ("transit_withdraw", Chain.ESCROW, Counted.CIRCULATING),
)

WORLD_ACCOUNTS = tuple(Account(n, c, k, i, False) for i, (n, c, k) in enumerate(_WORLD))
"""Accounts with one balance per run, in the order of the columns of `World.balances`."""

AGENT_ACCOUNTS = tuple(Account(n, c, k, i, True) for i, (n, c, k) in enumerate(_AGENT))
"""Accounts with one balance per run and agent, in the order of the first axis of `World.holdings`."""

ACCOUNTS = {account.name: account for account in (*WORLD_ACCOUNTS, *AGENT_ACCOUNTS)}
"""Every account by name."""

BUCKET_ROLES = ("community", "ecosystem", "liquidity", "investors", "team")
"""Roles of allocation buckets; each has one ``vesting.*`` account."""

AGENT_CLASSES = (
    "holders",
    "users",
    "contributors",
    "builders",
    "operators",
    "investors",
    "team",
    "delegates",
    "traders",
)
"""Classes of the population, in the order of the agent axis; `INSTITUTIONS` follow them."""

STAKERS = ("holders", "contributors", "builders", "investors", "team", "traders")
"""Classes that stake and wrap."""

PAYEES = ("contributors", "builders")
"""Classes that the distributor pays, and whose unclaimed payouts it holds."""
EARNERS = ("operators", *PAYEES)
"""Classes that are paid on L2, and come to L1 in order to sell."""
INSTITUTIONS = ("sequencer", "public_goods")
"""Wallets with an owner but without behaviour, one agent each."""
