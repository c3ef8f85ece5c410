"""Holders: who sells, stakes, wraps and bridges.

Rule decided here: airdropped tokens are sold by the survival curve that airdrops showed, in the order of the holders'
patience, who are numbered by it; holders and insiders sell a monthly share of the rest unless it was sold forward.
Participants revisit a target portfolio (stake, GOPEN) every `plan.every` days, each agent on its own day of the cycle.
Decisions see yesterday's close; a decision is a float only until it is floored to gwei once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.behaviour import cliff_anticipation, daily_rate_from_monthly, survival
from models.units import SECONDS_PER_DAY
from sim import draws, gas
from sim.accounts import EARNERS, STAKERS
from sim.kernels import holders as kernels
from sim.ledger import at, move_some
from sim.participation import opened_on_l2, participants
from sim.picks import Picks

if TYPE_CHECKING:
    from sim.economy import Economy
    from sim.world import World

Int = NDArray[np.int64]
Float = NDArray[np.float64]
DUST = 10**9
"""Moves below one token are not worth an agent's attention, in gwei."""


def advance(world: World, economy: Economy) -> None:
    """Place the day's sell orders and move participants towards their plans (flows H1 and S1)."""
    _sell_holders(world, economy)
    _sell_insiders(world, economy)
    _sell_ahead(world, economy)
    _follow_plans(world, economy)
    world.holding.days_since_receipt += 1


def _sell_part(world: World, name: str, rate: float, spared: NDArray[np.bool_] | None = None) -> None:
    """Let a class sell a part of what it holds on L1, floored, but for those who are spared, (runs, agents)."""
    wallets = world.agent_balance("wallet.l1", name)
    if not wallets.any():  # insiders hold nothing until their cliff
        return
    amount = np.floor(wallets * rate).astype(np.int64)
    if spared is not None:
        amount[spared] = 0
    world.market.offer(name, amount)


def sell_airdrops(wallets: Int, airdropped: Int, sells: NDArray[np.bool_], rate: float) -> tuple[Int, Int]:
    """Return what holders order to be sold, and the airdropped tokens that they keep.

    Parameters
    ----------
    wallets, airdropped
        L1 wallets, and tokens of airdrops that are not sold yet, gwei (runs, holders).
    sells
        Who sells all that was airdropped, (runs, holders).
    rate
        Part of the rest that is sold.
    """
    dropped = np.minimum(airdropped, wallets)
    sold = np.where(sells, dropped, 0)
    rest = wallets - dropped
    return sold + np.minimum(np.floor(rest * rate).astype(np.int64), rest), dropped - sold


def _sell_holders(world: World, economy: Economy) -> None:
    """Sell airdropped tokens by the survival curve, all of an agent's at once; of the rest a little every day.

    After t days the share 1 - S(t) of holders have sold, those of the least patience.
    """
    sell, holding = economy.scenario.agents.holders.sell, world.holding
    curve = float(sell.survival.scale.value), float(sell.survival.exponent.value)
    kernels.sell_airdrops(
        world.agent_balance("wallet.l1"),
        holding.airdropped,
        world.market.holder_sales,
        world.market.holders_sell,
        holding.holder_groups,
        holding.patience,
        holding.sold_out,
        draws.below(1.0 - survival(holding.days_since_receipt + 1, *curve)),
        daily_rate_from_monthly(float(sell.monthly.value)),
    )


def _sell_insiders(world: World, economy: Economy) -> None:
    agents = economy.scenario.agents
    monthly = agents.investors.sell.monthly
    _sell_part(world, "investors", daily_rate_from_monthly(float(monthly.value)), world.holding.hedged)
    _sell_part(world, "team", daily_rate_from_monthly(float(agents.team.sell.monthly.value)))


def _sell_ahead(world: World, economy: Economy) -> None:
    """Let traders sell over the lead time before an insider instalment that raises the flow (hedges of investors)."""
    lead = economy.scenario.agents.investors.sell.lead.value.days
    share = float(economy.scenario.market.traders_anticipate.value)
    weight = cliff_anticipation(int(economy.days_to_cliff[world.day]), lead)
    if share and weight:
        _sell_part(world, "traders", share * weight)


@dataclass(frozen=True, slots=True)
class Rebalancing:
    """What brings agents towards their plan, int64 gwei (runs, agents whose day it is)."""

    stake: Int
    unstake: Int
    wrap: Int
    unwrap: Int
    deposit: Int
    idle: Int


def rebalance(
    l1: Int, l2: Int, stake: Int, wrapped: Int, stake_share: Float, wrap_share: Float
) -> Rebalancing:
    """Return the moves towards a target of stake and GOPEN: the reference of `sim.kernels.holders.follow_plans`.

    Parameters
    ----------
    l1, l2, stake, wrapped
        What each agent holds, gwei (runs, agents).
    stake_share, wrap_share
        Wanted shares of the sum of these, 0 for those who do not take part, (runs, agents).

    Returns
    -------
    Rebalancing
        Stake comes first out of ``wallet.l2``, then GOPEN; what is still missing is deposited from L1, and what nobody
        wants on L2 is idle. Gaps below a token or a small part of the target move nothing.
    """
    total = l1 + l2 + stake + wrapped
    want_stake, want_wrap = _part(total, stake_share), _part(total, wrap_share)
    lack_stake, lack_wrap = _lack(want_stake, stake), _lack(want_wrap, wrapped)
    to_stake = np.minimum(lack_stake, l2)
    to_wrap = np.minimum(lack_wrap, l2 - to_stake)
    idle = l2 - to_stake - to_wrap
    return Rebalancing(
        stake=to_stake,
        unstake=_excess(stake, want_stake),
        wrap=to_wrap,
        unwrap=_excess(wrapped, want_wrap),
        deposit=np.minimum(lack_stake + lack_wrap - to_stake - to_wrap, l1),
        idle=np.where(idle > DUST, idle, 0),
    )


def _follow_plans(world: World, economy: Economy) -> None:
    """Move the agents whose day it is towards their target of stake and GOPEN."""
    stake, unstake, wrap, unwrap, deposit, withdraw = _planned(world, economy)
    world.bridge.deposit_orders.append(deposit)
    world.bridge.withdraw_orders.append(withdraw)
    wallet, staked, wrapped = (at(name, "*") for name in ("wallet.l2", "stake", "wrapped"))
    if stake.where.size:
        move_some(world, "S1", wallet, staked, stake)
    if unstake.where.size:
        move_some(world, "S1", staked, at("unbonding", "*"), unstake)
        _unbond(world, economy, unstake)
    if wrap.where.size:
        world.holding.gopen_supply += move_some(world, "H1", wallet, wrapped, wrap)
        world.governance.follow(wrap, 1)
    if unwrap.where.size:
        world.holding.gopen_supply -= move_some(world, "H1", wrapped, wallet, unwrap)
        world.governance.follow(unwrap, -1)
    for action, some in (("stake", stake), ("unstake", unstake), ("wrap", wrap), ("unwrap", unwrap)):
        if some.where.size:
            gas.charge_some(world, economy, "*", action, some.where)


def whose_day(day: int, every: int, columns: slice) -> tuple[int, int]:
    """Return the first column of those who revisit their plan on `day`, and the one after the last.

    Agent a of n has day a * every // n of the cycle: those of a day stand side by side, and share cache lines.
    """
    count, part = columns.stop - columns.start, day % every
    first, stop = (-(-days * count // every) for days in (part, part + 1))
    return columns.start + first, columns.start + stop


def _planned(world: World, economy: Economy) -> list[Picks]:
    """Return who stakes, unstakes, wraps, unwraps, deposits and withdraws how much today."""
    places, plans, sends_home = [], [], []
    for name, columns, wanted in _groups(economy):
        every = getattr(economy.scenario.agents, name).plan.every.value.days
        places.append(whose_day(world.day, every, columns))
        plans.append(wanted)
        sends_home.append(name not in EARNERS)
    acting = sum(last - first for first, last in places)
    where, amounts = (np.empty((6, world.count * acting), np.int64) for _ in range(2))
    counts = np.empty(6, np.int64)
    kernels.follow_plans(
        world.agent_balance("wallet.l1"),
        world.agent_balance("wallet.l2"),
        world.agent_balance("stake"),
        world.agent_balance("wrapped"),
        np.array(places),
        np.array(plans),
        np.array(sends_home),
        DUST,
        where,
        amounts,
        counts,
    )
    return [Picks(where[kind, :count], amounts[kind, :count]) for kind, count in enumerate(counts)]


def _groups(economy: Economy) -> list[tuple[str, slice, tuple[float, float]]]:
    """Return whom a plan moves: class, columns, and wanted shares of stake and GOPEN.

    Those who do not take part want none, and have none unless the opening table gave it to them.
    """
    groups = []
    for name in STAKERS:
        plan, taking_part = getattr(economy.scenario.agents, name).plan, participants(economy, name)
        groups.append((name, taking_part, (float(plan.stake.value), float(plan.wrap.value))))
        if name in opened_on_l2(economy.opening):
            others = slice(taking_part.stop, economy.layout.slice(name).stop)
            groups.append((name, others, (0.0, 0.0)))
    return groups


def _part(total: Int, share: Float) -> Int:
    return np.asarray(np.floor(total * share), np.int64)


def _lack(want: Int, have: Int) -> Int:
    """Return what is missing, unless it is less than a tenth of the target or dust."""
    gap = want - have
    return np.where((gap > DUST) & (gap > want // 10), gap, 0)


def _excess(have: Int, want: Int) -> Int:
    """Return what is too much, unless it is less than a fifth of the target or dust."""
    gap = have - want
    return np.where((gap > DUST) & (gap > want // 5), gap, 0)


def _unbond(world: World, economy: Economy, some: Picks) -> None:
    """Start unbonding; how long it takes is the lock class of the agent, by its taste, and the delay in force."""
    run, taste = some.where // world.layout.agents, world.holding.taste.reshape(-1)[some.where]
    is_long = taste < float(economy.scenario.staking.long_share.value)
    long, flexible = (_unbonding_days(world, lock)[run] for lock in ("long", "flexible"))
    due = world.day + np.where(is_long, long, flexible)
    for day in np.flatnonzero(np.bincount(due)).tolist():
        world.holding.unbonding.add(day, some.among(due == day))


def _unbonding_days(world: World, lock: str) -> Int:
    """Return the whole days of a lock, which a vote may have made different from run to run, int64 (runs,)."""
    return -(-np.maximum(world.governed.read(f"staking.locks.{lock}"), 1) // SECONDS_PER_DAY)
