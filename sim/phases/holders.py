"""Holders: who sells, stakes, wraps and bridges.

Rule decided here: airdropped tokens are sold by the survival curve that airdrops showed; holders and insiders sell a
monthly share of the rest unless it was sold forward; earners who withdrew to L1 sell what arrives. Participants
revisit a target portfolio (stake, GOPEN) every `plan.every` days, each agent on its own day of the cycle. Decisions
see yesterday's close; a decision is a float only until it is floored to gwei once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.behaviour import cliff_anticipation, daily_rate_from_monthly, survival_hazard
from sim import draws, gas
from sim.draws import Decision
from sim.ledger import at, move
from sim.phases.staking import STAKERS

if TYPE_CHECKING:
    from sim.economy import Economy
    from sim.world import World

Int = NDArray[np.int64]
Float = NDArray[np.float64]
DUST = 10**9
"""Moves below one token are not worth an agent's attention, in gwei."""

SELLERS_ON_ARRIVAL = ("contributors", "builders", "operators")
"""Classes that come to L1 in order to sell."""


def advance(world: World, economy: Economy) -> None:
    """Place the day's sell orders and move participants towards their plans (flows H1 and S1)."""
    _sell_holders(world, economy)
    _sell_insiders(world, economy)
    _sell_ahead(world, economy)
    for name in SELLERS_ON_ARRIVAL:
        _order(world, name, world.agent_balance("wallet.l1", name))
    for name in STAKERS:
        _follow_plan(world, economy, name)
    world.holding.days_since_receipt += 1


def _order(world: World, name: str, amount: Int) -> None:
    world.market.sell_orders[:, world.layout.slice(name)] += amount


def _sell_holders(world: World, economy: Economy) -> None:
    """Sell airdropped tokens by the survival curve, all of an agent's at once; of the rest a little every day."""
    sell = economy.scenario.agents.holders.sell
    hazard = survival_hazard(
        world.holding.days_since_receipt,
        float(sell.survival.scale.value),
        float(sell.survival.exponent.value),
    )
    count = world.layout.count("holders")
    u = draws.uniform(economy.seed, Decision.HOLDER_SELL, world.runs, world.day, "holders", count)
    wallets = world.agent_balance("wallet.l1", "holders")
    dropped = np.minimum(world.holding.airdropped, wallets)
    sold = np.where(u < hazard[:, None], dropped, 0)
    world.holding.airdropped = dropped - sold
    rest = np.floor((wallets - dropped) * daily_rate_from_monthly(float(sell.monthly.value))).astype(np.int64)
    _order(world, "holders", sold + rest)


def _sell_insiders(world: World, economy: Economy) -> None:
    agents = economy.scenario.agents
    for name, monthly in (("investors", agents.investors.sell.monthly), ("team", agents.team.sell.monthly)):
        amount = np.floor(
            world.agent_balance("wallet.l1", name) * daily_rate_from_monthly(float(monthly.value))
        )
        if name == "investors":
            amount = np.where(world.holding.hedged, 0, amount)
        _order(world, name, amount.astype(np.int64))


def _sell_ahead(world: World, economy: Economy) -> None:
    """Let traders sell over the lead time before an insider instalment that raises the flow (hedges of investors)."""
    lead = economy.scenario.agents.investors.sell.lead.value.days
    share = float(economy.scenario.market.traders_anticipate.value)
    weight = cliff_anticipation(int(economy.days_to_cliff[world.day]), lead)
    if share and weight:
        amount = np.floor(world.agent_balance("wallet.l1", "traders") * (share * weight)).astype(np.int64)
        _order(world, "traders", amount)


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
    """Return the moves towards a target of stake and GOPEN.

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


def _follow_plan(world: World, economy: Economy, name: str) -> None:
    """Move the agents whose day it is towards their target of stake and GOPEN."""
    plan = getattr(economy.scenario.agents, name).plan
    every, columns = plan.every.value.days, world.layout.slice(name)
    own = slice(world.day % every, None, every)
    if own.start >= columns.stop - columns.start:
        return
    takes_part = world.holding.taste[:, columns][:, own] < float(plan.participate.value)
    l1, l2, stake, wrapped = (
        world.agent_balance(key, name)[:, own] for key in ("wallet.l1", "wallet.l2", "stake", "wrapped")
    )
    stake_share, wrap_share = (
        np.where(takes_part, float(share.value), 0.0).astype(np.float64) for share in (plan.stake, plan.wrap)
    )
    step = rebalance(l1, l2, stake, wrapped, stake_share, wrap_share)
    world.bridge.deposit_orders[:, columns][:, own] += step.deposit
    if name not in SELLERS_ON_ARRIVAL:
        world.bridge.withdraw_orders[:, columns][:, own] += step.idle
    move(world, "S1", at("wallet.l2", name), at("stake", name), step.stake, own)
    _unstake(world, economy, name, own, step.unstake)
    move(world, "H1", at("wallet.l2", name), at("wrapped", name), step.wrap, own)
    move(world, "H1", at("wrapped", name), at("wallet.l2", name), step.unwrap, own)
    world.holding.gopen_supply += step.wrap.sum(axis=1) - step.unwrap.sum(axis=1)
    for action in ("stake", "unstake", "wrap", "unwrap"):
        gas.charge(world, economy, name, action, getattr(step, action) > 0, own)


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


def _unstake(world: World, economy: Economy, name: str, own: slice, amount: Int) -> None:
    """Start unbonding; how long it takes is the lock class of the agent, by its taste."""
    if not amount.any():
        return
    move(world, "S1", at("stake", name), at("unbonding", name), amount, own)
    columns = world.layout.slice(name)
    taste = world.holding.taste[:, columns][:, own]
    long_part = float(economy.scenario.staking.long_share.value) * float(
        getattr(economy.scenario.agents, name).plan.participate.value
    )
    every_agent = np.zeros_like(world.agent_balance("stake"))
    for lock, mask in (("long", taste < long_part), ("flexible", taste >= long_part)):
        every_agent[:, columns][:, own] = np.where(mask, amount, 0)
        _push_unbonding(world, lock, every_agent)


def _push_unbonding(world: World, lock: str, amounts: Int) -> None:
    """Queue by the delay in force, which a vote may have made different from run to run."""
    if not amounts.any():
        return
    delays = world.governed.read(f"staking.locks.{lock}")
    for delay in np.unique(delays):
        due = world.day + max(-(-int(delay) // 86_400), 1)
        world.holding.unbonding.push(due, np.where((delays == delay)[:, None], amounts, 0))
