"""Bridge: deposits to L2, withdrawals in their challenge window, fast exits.

Rule decided here: a deposit is usable the next day. A withdrawal waits for the next output root, the challenge
window and the user's own delay, then is paid on L1. A fast exit is paid the same day out of a liquidity provider's
L1 inventory, less its fee; an empty inventory serves nobody. Escrow on L1 is counted from what came in and went out,
and identity 3 compares it with what lies on L2.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.bridge import fast_exit, withdrawal_days
from models.units import SECONDS_PER_DAY
from sim import gas
from sim.kernels.apportion import floors_of_some
from sim.ledger import at, move, move_some
from sim.picks import Picks

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
    world.bridge.treasury_withdraw[:] = 0


def exit_days(economy: Economy) -> int:
    """Return the whole days between initiating a withdrawal and being paid on L1."""
    bridge = economy.scenario.bridge
    return _exit_days(*(p.value.seconds for p in (bridge.window, bridge.output_every, bridge.user_delay)))


@cache
def _exit_days(window: int, output_every: int, user_delay: int) -> int:
    days = [Fraction(seconds, SECONDS_PER_DAY) for seconds in (window, output_every, user_delay)]
    return withdrawal_days(days[0], days[1], days[2])


def _arrive(world: World) -> None:
    state, day = world.bridge, world.day
    move_some(world, "X1", at("transit_deposit", "*"), at("wallet.l2", "*"), state.deposits.take(day))
    paid = move_some(
        world, "X2", at("transit_withdraw", "*"), at("wallet.l1", "*"), state.withdrawals.take(day)
    )
    pools = state.pool_deposits.pop(day, None)
    if pools is not None:
        for i, name in enumerate(POOLS):
            move(world, "U4", at(f"transit_deposit.pool.{name}"), at(f"pool.{name}.l2"), pools[:, i])
    for flow, queue, source, target in (
        ("X2", state.treasury_withdrawals, "transit_withdraw.treasury", "treasury.l1"),
        ("X4", state.fastbridge_withdrawals, "transit_withdraw.fastbridge", "fastbridge.l1"),
    ):
        amount = queue.pop(day, None)
        if amount is not None:
            move(world, flow, at(source), at(target), amount)
            state.escrow -= amount
    state.escrow -= paid
    state.exits_gwei = paid
    state.slow_exits_gwei = paid


def _deposit(world: World, economy: Economy) -> None:
    """Carry out deposit orders; users send all that they have on L1, which is what they bought today."""
    state, wallets, users = world.bridge, world.agent_balance("wallet.l1"), world.layout.slice("users")
    buyers = slice(users.start, users.start + int(world.usage.active_users.max()))
    some = Picks.joined(
        [
            Picks.of_columns(wallets, buyers if world.day else users),
            Picks.joined(state.deposit_orders).cut_to(wallets),
        ]
    )
    state.deposit_orders.clear()
    state.escrow += move_some(world, "X1", at("wallet.l1", "*"), at("transit_deposit", "*"), some)
    state.deposits.add(world.day + 1, some)
    _log_l1_gas(world, economy, "deposit", some)


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
    wanted = Picks.joined(world.bridge.withdraw_orders).cut_to(world.agent_balance("wallet.l2"))
    world.bridge.withdraw_orders.clear()
    if not wanted.where.size:
        return
    fast = _fast_part(world, economy, wanted)
    slow = Picks(wanted.where, wanted.amounts - fast).where_positive()
    move_some(world, "X2", at("wallet.l2", "*"), at("transit_withdraw", "*"), slow)
    world.bridge.withdrawals.add(world.day + exit_days(economy), slow)
    gas.charge_some(world, economy, "*", "withdraw", wanted.where)
    _log_l1_gas(world, economy, "exit", slow)


def _fast_part(world: World, economy: Economy, wanted: Picks) -> Int:
    """Pay the fast exits of those whose taste is speed (flow X3) and return what of each amount is taken from L2."""
    terms, fast = economy.scenario.bridge.fast_exit, np.zeros_like(wanted.amounts)
    hasty = np.flatnonzero(world.holding.haste.reshape(-1)[wanted.where] < float(terms.share.value))
    if not hasty.size:
        return fast
    where, asked = wanted.where[hasty], wanted.amounts[hasty]
    taken = _served(world, where // world.layout.agents, asked)
    paid, _ = fast_exit(taken, terms.fee.value.numerator, terms.fee.value.denominator)
    move_some(world, "X3", at("wallet.l2", "*"), at("fastbridge.l2"), Picks(where, taken))
    paid_out = move_some(world, "X3", at("fastbridge.l1"), at("wallet.l1", "*"), Picks(where, paid))
    world.bridge.exits_gwei = world.bridge.exits_gwei + paid_out
    fast[hasty] = taken
    return fast


def _served(world: World, row: Int, asked: Int) -> Int:
    """Divide each run's inventory by what is asked, floored, where it does not serve everybody."""
    total = np.zeros(world.count, np.int64)
    np.add.at(total, row, asked)
    inventory = world.world_balance("fastbridge.l1")
    if (total <= inventory).all():
        return asked
    return floors_of_some(np.minimum(total, inventory), np.maximum(total, 1), row, asked)


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


def _log_l1_gas(world: World, economy: Economy, action: str, some: Picks) -> None:
    usd = float(getattr(economy.scenario.gas.l1, action).value)
    count = some.count_per_run(world.count, world.layout.agents)
    world.usd.add("bridge", f"l1 gas {action}", count * np.int64(round(usd * 1e6)))
