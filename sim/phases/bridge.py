"""Bridge: deposits to L2, withdrawals in their challenge window, fast exits.

Rule decided here: a deposit is usable the next day. A withdrawal waits for the next output root, the challenge
window and the user's own delay, then is paid on L1. A fast exit is paid the same day out of a liquidity provider's
L1 inventory, less its fee; an empty inventory serves nobody. Escrow on L1 is counted from what came in and went out,
and identity 3 compares it with what lies on L2.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.apportion import apportion_floor
from models.bridge import fast_exit, withdrawal_days
from models.units import SECONDS_PER_DAY
from sim import gas
from sim.ledger import at, move

if TYPE_CHECKING:
    from sim.economy import Economy
    from sim.world import World

Int = NDArray[np.int64]

POOLS = ("community", "ecosystem")


def advance(world: World, economy: Economy) -> None:
    """Let arrivals in, then carry out the day's orders (flows U4, X1 to X4)."""
    _arrive(world)
    _deposit(world, economy)
    _supply_pools(world, economy)
    _withdraw(world, economy)
    _withdraw_treasury(world, economy)
    _refill_fast_exits(world, economy)
    world.bridge.deposit_orders[:] = 0
    world.bridge.withdraw_orders[:] = 0
    world.bridge.treasury_withdraw[:] = 0


def exit_days(economy: Economy) -> int:
    """Return the whole days between initiating a withdrawal and being paid on L1."""
    bridge = economy.scenario.bridge
    window, output_every, user_delay = [
        Fraction(p.value.seconds, SECONDS_PER_DAY)
        for p in (bridge.window, bridge.output_every, bridge.user_delay)
    ]
    return withdrawal_days(window, output_every, user_delay)


def _arrive(world: World) -> None:
    state, day = world.bridge, world.day
    shape = (world.count, world.layout.agents)
    deposits, exits = state.deposits.pop(day, shape), state.withdrawals.pop(day, shape)
    move(world, "X1", at("transit_deposit", "*"), at("wallet.l2", "*"), deposits)
    move(world, "X2", at("transit_withdraw", "*"), at("wallet.l1", "*"), exits)
    zero = np.zeros(world.count, np.int64)
    pools = state.pool_deposits.pop(day, np.zeros((world.count, len(POOLS)), np.int64))
    for i, name in enumerate(POOLS):
        move(world, "U4", at(f"transit_deposit.pool.{name}"), at(f"pool.{name}.l2"), pools[:, i])
    treasury = state.treasury_withdrawals.pop(day, zero)
    move(world, "X2", at("transit_withdraw.treasury"), at("treasury.l1"), treasury)
    provider = state.fastbridge_withdrawals.pop(day, zero)
    move(world, "X4", at("transit_withdraw.fastbridge"), at("fastbridge.l1"), provider)
    paid = exits.sum(axis=1)
    state.escrow -= paid + treasury + provider
    state.exits_gwei = paid
    state.slow_exits_gwei = paid


def _deposit(world: World, economy: Economy) -> None:
    state = world.bridge
    users = world.layout.slice("users")
    state.deposit_orders[:, users] = world.agent_balance("wallet.l1", "users")
    amounts = np.minimum(state.deposit_orders, world.agent_balance("wallet.l1"))
    move(world, "X1", at("wallet.l1", "*"), at("transit_deposit", "*"), amounts)
    state.deposits.push(world.day + 1, amounts)
    state.escrow += amounts.sum(axis=1)
    _log_l1_gas(world, economy, "deposit", (amounts > 0).sum(axis=1))


def _supply_pools(world: World, economy: Economy) -> None:
    """Deposit what the programmes and grants of the coming epoch need, on day 0 and at each epoch's end."""
    if world.day and not economy.epoch_end[world.day]:
        return
    sent = np.zeros((world.count, len(POOLS)), np.int64)
    for i, (name, need) in enumerate(zip(POOLS, _epoch_needs(world), strict=True)):
        lacking = np.maximum(need - world.world_balance(f"pool.{name}.l2"), 0)
        sent[:, i] = np.minimum(lacking, world.world_balance(f"pool.{name}.l1"))
        move(world, "U4", at(f"pool.{name}.l1"), at(f"transit_deposit.pool.{name}"), sent[:, i])
    world.bridge.pool_deposits[world.day + 1] = sent
    world.bridge.escrow += sent.sum(axis=1)


def _epoch_needs(world: World) -> tuple[Int, Int]:
    programmes = ("contributors", "builders", "stakers", "operators")
    community = sum(
        (np.maximum(world.governed.read(f"emission.monthly.{p}"), 0) for p in programmes), np.int64(0)
    )
    return np.asarray(community), np.maximum(world.governed.read("grants.monthly"), 0)


def _withdraw(world: World, economy: Economy) -> None:
    state = world.bridge
    wanted = np.minimum(state.withdraw_orders, world.agent_balance("wallet.l2"))
    if not wanted.any():
        return
    fast = _fast_part(world, economy, wanted)
    slow = wanted - fast
    move(world, "X2", at("wallet.l2", "*"), at("transit_withdraw", "*"), slow)
    state.withdrawals.push(world.day + exit_days(economy), slow)
    gas.charge(world, economy, "*", "withdraw", wanted > 0)
    _log_l1_gas(world, economy, "exit", (slow > 0).sum(axis=1))


def _fast_part(world: World, economy: Economy, wanted: Int) -> Int:
    """Pay the fast exits of those whose taste is speed (flow X3) and return the amounts taken from L2."""
    terms = economy.scenario.bridge.fast_exit
    asked = np.where(world.holding.haste < float(terms.share.value), wanted, 0)
    if not asked.any():
        return asked
    total = asked.sum(axis=1)
    inventory = world.world_balance("fastbridge.l1")
    taken, _ = apportion_floor(np.minimum(total, inventory), asked)
    paid = np.zeros_like(taken)
    in_haste = np.flatnonzero(taken.any(axis=0))
    paid[:, in_haste], _ = fast_exit(
        taken[:, in_haste], terms.fee.value.numerator, terms.fee.value.denominator
    )
    move(world, "X3", at("wallet.l2", "*"), at("fastbridge.l2"), taken)
    move(world, "X3", at("fastbridge.l1"), at("wallet.l1", "*"), paid)
    world.bridge.exits_gwei = world.bridge.exits_gwei + paid.sum(axis=1)
    return taken


def _withdraw_treasury(world: World, economy: Economy) -> None:
    amount = np.minimum(world.bridge.treasury_withdraw, world.world_balance("treasury.l2"))
    if amount.any():
        move(world, "X2", at("treasury.l2"), at("transit_withdraw.treasury"), amount)
        world.bridge.treasury_withdrawals[world.day + exit_days(economy)] = amount


def _refill_fast_exits(world: World, economy: Economy) -> None:
    """Give the provider its first inventory, and bring home what collected on L2 (flow X4)."""
    first = int(economy.scenario.bridge.fast_exit.inventory.value)
    if world.day == 0 and economy.genesis:
        amount = np.minimum(np.int64(first), world.world_balance("market_maker"))
        move(world, "X4", at("market_maker"), at("fastbridge.l1"), amount)
        return
    collected = world.world_balance("fastbridge.l2")
    home = np.where(collected > first // 10, collected, 0)
    if home.any():
        move(world, "X4", at("fastbridge.l2"), at("transit_withdraw.fastbridge"), home)
        world.bridge.fastbridge_withdrawals[world.day + exit_days(economy)] = home


def _log_l1_gas(world: World, economy: Economy, action: str, count: Int) -> None:
    usd = float(getattr(economy.scenario.gas.l1, action).value)
    world.usd.add("bridge", f"l1 gas {action}", count * np.int64(round(usd * 1e6)))
