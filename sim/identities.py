"""Identities: what must hold every day in every run, to the gwei.

Rule decided here: the eight conservation identities of the ledger, and that every balance is what the journal says,
in sum and agent by agent.
Agents' balances are read where money can be, and on the days of whole audits everywhere (`sim/reach.py`).
A broken one stops the run and names the account, the run and the day.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sim import reach
from sim.accounts import ACCOUNTS, AGENT_ACCOUNTS, BUCKET_ROLES, PAYEES, WORLD_ACCOUNTS, Account, Chain
from sim.kernels import sums as sum_kernels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.economy import Economy
    from sim.world import World

Int = NDArray[np.int64]


class IdentityBroken(RuntimeError):  # noqa: N818 - named after what happened
    """An identity does not hold; the text names identity, account, day, run and residual."""


CHAINS = (Chain.L1, Chain.L2, Chain.ESCROW)


def by_chain(accounts: Sequence[Account]) -> Int:
    """Return on which of `CHAINS` each account lies, 1 or 0, int64 (accounts, chains)."""
    return np.array([[account.chain is chain for chain in CHAINS] for account in accounts], np.int64)


WORLD_BY_CHAIN, AGENT_BY_CHAIN = by_chain(WORLD_ACCOUNTS), by_chain(AGENT_ACCOUNTS)

_WRAPPED = ACCOUNTS["wrapped"].index
_VESTING = [ACCOUNTS[f"vesting.{role}"].index for role in BUCKET_ROLES]

IDENTITIES = (
    ("1 (cap = sum of accounts)", "all accounts"),
    ("2 (cap - burned.l1 = L1 + escrow)", "L1 accounts"),
    *(("6 (vesting = allocation - vested)", f"vesting.{role}") for role in BUCKET_ROLES),
    ("7 (clearing = 0)", "clearing"),
    ("5 (distributor = earned + dust)", "distributor"),
    ("4 (GOPEN supply = wrapped)", "wrapped"),
    ("3 (escrow mirror)", "escrow"),
)
"""Identities that say that a difference is 0 in every run, in the order in which they are checked, and the account
that is named."""


def check(world: World, economy: Economy) -> None:
    """Check all identities of the day.

    Parameters
    ----------
    world
        The world at the end of its day; what its agents' accounts add up to is left for the record.
    economy
        Its static data: cap and vested paths.

    Raises
    ------
    IdentityBroken
        At the first identity that fails.
    """
    is_whole = reach.is_whole(economy, world.day)
    where = (
        reach.everywhere(world.layout)
        if is_whole
        else reach.daily(world.layout, economy.opening, economy.taking_part)
    )
    agent_totals, least, weighted = _read(world, where)
    _same_as_journal(world, agent_totals)
    _require_none_negative(world, least)
    differences = _differences(world, economy, agent_totals, is_whole=is_whole)
    if differences.any():
        for (identity, account), difference in zip(IDENTITIES, differences, strict=True):
            _require(world, identity, account, difference)
    _require_same_agents(world, weighted)
    if is_whole:
        _require_same_delegated(world)
    world.audited = agent_totals


def totals(world: World) -> tuple[Int, Int]:
    """Return sums and least balances (up to 0) of the agent accounts, read whole, each int64 (runs, accounts)."""
    sums, least, _ = _read(world, reach.everywhere(world.layout))
    return sums, least


def _read(world: World, where: Int) -> tuple[Int, Int, Int]:
    """Return sums, least balances and weighted sums of stretches of the agent accounts, int64 (runs, accounts)."""
    shape = (world.count, len(AGENT_ACCOUNTS))
    sums, least, weighted = (np.empty(shape, np.int64) for _ in range(3))
    sum_kernels.audit(world.holdings, where, world.layout.checksum_weights, sums, least, weighted)
    return sums, least, weighted


def _differences(world: World, economy: Economy, agent_totals: Int, *, is_whole: bool) -> Int:
    """Return by how much each of `IDENTITIES` is off, int64 (identities, runs)."""
    out = np.empty((len(IDENTITIES), world.count), np.int64)
    burned_l1, cap = world.world_balance("burned.l1"), economy.minted
    l1, l2, transit = _by_chain(world, agent_totals)
    escrow = l2 + transit
    out[0] = residual(world, economy, agent_totals)
    out[1] = cap - burned_l1 - (l1 - burned_l1) - escrow
    left = [
        int(economy.vested[role][-1]) - int(economy.vested[role][world.day]) + economy.unvested_after[role]
        for role in BUCKET_ROLES
    ]
    out[2:-4] = (world.balances[:, _VESTING] - np.array(left, np.int64)).T
    out[-4] = world.world_balance("clearing")
    out[-3] = world.world_balance("distributor") - _earned(world, is_whole=is_whole) - world.dust
    out[-2] = world.holding.gopen_supply - agent_totals[:, _WRAPPED]
    out[-1] = world.bridge.escrow - escrow
    return out


def _earned(world: World, *, is_whole: bool) -> Int:
    """Return what the distributor owes, to its payees or to anybody, int64 (runs,)."""
    classes = ("*",) if is_whole else PAYEES
    where = [(0, *stretch) for stretch in reach.stretches(world.layout.slice(name) for name in classes)]
    earned, least, weighted = (np.empty((world.count, 1), np.int64) for _ in range(3))
    weights = world.layout.checksum_weights
    sum_kernels.audit(world.earned[None], np.array(where), weights, earned, least, weighted)
    return earned[:, 0]


def residual(world: World, economy: Economy, agent_totals: Int) -> Int:
    """Return cap less the sum of all accounts, int64 (runs,): 0 or the run is wrong."""
    return np.asarray(economy.minted - world.balances.sum(axis=1) - agent_totals.sum(axis=1), np.int64)


def escrow_of(world: World, agent_totals: Int) -> Int:
    """Return what the bridge must hold on L1: L2 accounts, L2 burns and both transits, int64 (runs,)."""
    _, l2, transit = _by_chain(world, agent_totals)
    return np.asarray(l2 + transit)


def _by_chain(world: World, agent_totals: Int) -> Int:
    """Return what lies on each of `CHAINS`, int64 (chains, runs)."""
    return np.asarray((world.balances @ WORLD_BY_CHAIN + agent_totals @ AGENT_BY_CHAIN).T)


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


def _require_same_agents(world: World, weighted: Int) -> None:
    """Find money that moved between agents of one account: their sum is right, their weighted sum is not."""
    wrong = weighted != world.checksum
    if wrong.any():
        row, column = (int(i) for i in np.argwhere(wrong)[0])
        raise IdentityBroken(
            f"identity journal (who holds it) broken on day {world.day}, run {int(world.runs[row])}: account "
            f"{AGENT_ACCOUNTS[column].name} has the right sum, but money moved between its agents without a flow"
        )


def _require_same_delegated(world: World) -> None:
    """Compare the GOPEN that governance counts as delegated with what its owners have wrapped."""
    state = world.governance
    difference = state.gopen_delegated_gwei - state.delegated(world.agent_balance("wrapped"))
    _require(world, "delegated (as wrapped since day 0)", "wrapped", difference)


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
