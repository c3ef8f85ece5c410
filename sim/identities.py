"""Identities: what must hold every day in every run, to the gwei.

Rule decided here: the eight conservation identities of the ledger, and that every balance is what the journal says,
in sum and agent by agent.
A broken one stops the run and names the account, the run and the day.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sim.accounts import AGENT_ACCOUNTS, BUCKET_ROLES, WORLD_ACCOUNTS, Account, Chain
from sim.kernels import sums as sum_kernels

if TYPE_CHECKING:
    from sim.economy import Economy
    from sim.world import World

Int = NDArray[np.int64]


class IdentityBroken(RuntimeError):  # noqa: N818 - named after what happened
    """An identity does not hold; the text names identity, account, day, run and residual."""


def check(world: World, economy: Economy) -> None:
    """Check all identities of the day.

    Parameters
    ----------
    world
        The world at the end of its day.
    economy
        Its static data: cap and vested paths.

    Raises
    ------
    IdentityBroken
        At the first identity that fails.
    """
    agent_totals, least = totals(world)
    _same_as_journal(world, agent_totals)
    _require_none_negative(world, least)
    _require(world, "1 (cap = sum of accounts)", "all accounts", residual(world, economy, agent_totals))
    burned_l1 = world.world_balance("burned.l1")
    l1 = _chain_total(world, agent_totals, Chain.L1) - burned_l1
    escrow = escrow_of(world, agent_totals)
    cap = economy.minted
    _require(world, "2 (cap - burned.l1 = L1 + escrow)", "L1 accounts", cap - burned_l1 - l1 - escrow)
    for role in BUCKET_ROLES:
        path = economy.vested[role]
        left = path[-1] - path[world.day] + economy.unvested_after[role]
        _require(
            world,
            "6 (vesting = allocation - vested)",
            f"vesting.{role}",
            world.world_balance(f"vesting.{role}") - left,
        )
    _require(world, "7 (clearing = 0)", "clearing", world.world_balance("clearing"))
    owed = world.earned.sum(axis=1) + world.dust
    _require(
        world, "5 (distributor = earned + dust)", "distributor", world.world_balance("distributor") - owed
    )
    gopen = world.holding.gopen_supply
    wrapped = agent_totals[:, _index("wrapped")]
    _require(world, "4 (GOPEN supply = wrapped)", "wrapped", gopen - wrapped)
    _require(world, "3 (escrow mirror)", "escrow", world.bridge.escrow - escrow)
    _require_same_agents(world)


def totals(world: World) -> tuple[Int, Int]:
    """Return sums and least balances of the agent accounts, each int64 (runs, accounts)."""
    shape = (world.count, len(AGENT_ACCOUNTS))
    sums, least = np.empty(shape, np.int64), np.empty(shape, np.int64)
    sum_kernels.row_totals(world.holdings, sums, least)
    return sums, least


def residual(world: World, economy: Economy, agent_totals: Int) -> Int:
    """Return cap less the sum of all accounts, int64 (runs,): 0 or the run is wrong."""
    return np.asarray(economy.minted - world.balances.sum(axis=1) - agent_totals.sum(axis=1), np.int64)


def escrow_of(world: World, agent_totals: Int) -> Int:
    """Return what the bridge must hold on L1: L2 accounts, L2 burns and both transits, int64 (runs,)."""
    return _chain_total(world, agent_totals, Chain.L2) + _chain_total(world, agent_totals, Chain.ESCROW)


def _index(name: str) -> int:
    return next(a.index for a in AGENT_ACCOUNTS if a.name == name)


def _chain_total(world: World, agent_totals: Int, chain: Chain) -> Int:
    per_world = world.balances[:, [a.index for a in WORLD_ACCOUNTS if a.chain is chain]].sum(axis=1)
    per_agent = agent_totals[:, [a.index for a in AGENT_ACCOUNTS if a.chain is chain]].sum(axis=1)
    return np.asarray(per_world + per_agent, np.int64)


def _same_as_journal(world: World, agent_totals: Int) -> None:
    books: tuple[tuple[tuple[Account, ...], Int], ...] = (
        (WORLD_ACCOUNTS, world.balances - world.expected_world),
        (AGENT_ACCOUNTS, agent_totals - world.expected_agent),
    )
    for accounts, difference in books:
        if difference.any():
            column = int(np.flatnonzero(difference.any(axis=0))[0])
            _require(
                world, "journal (balance = sum of its flows)", accounts[column].name, difference[:, column]
            )


def _require_same_agents(world: World) -> None:
    """Find money that moved between agents of one account: their sum is right, their weighted sum is not."""
    wrong = world.checksum_of_holdings() != world.checksum
    if wrong.any():
        row, column = (int(i) for i in np.argwhere(wrong)[0])
        raise IdentityBroken(
            f"identity journal (who holds it) broken on day {world.day}, run {int(world.runs[row])}: account "
            f"{AGENT_ACCOUNTS[column].name} has the right sum, but money moved between its agents without a flow"
        )


def _require_none_negative(world: World, least: Int) -> None:
    books = ((WORLD_ACCOUNTS, world.balances), (AGENT_ACCOUNTS, least))
    for accounts, balances in books:
        if balances.min() < 0:
            column = int(np.flatnonzero((balances < 0).any(axis=0))[0])
            _require(
                world, "8 (no balance below 0)", accounts[column].name, np.minimum(balances[:, column], 0)
            )


def _require(world: World, identity: str, account: str, difference: Int) -> None:
    if difference.any():
        row = int(np.flatnonzero(difference)[0])
        raise IdentityBroken(
            f"identity {identity} broken on day {world.day}, run {int(world.runs[row])}: "
            f"account {account} is off by {int(difference[row])} gwei"
        )
