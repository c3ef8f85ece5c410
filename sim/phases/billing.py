"""Billing: the day's use out of prepaid credit, and each bill's parts to where they belong.

Rules decided here. A bill is one user's use of one model on one day: tokens in and out with one floor, and
a day's part of the monthly access price where the user's models are paid ones (the price over the days of
the calendar month, so that a whole month of use pays the whole price). Every user is served the same share
of what they asked for. The platform part pays the operators' claim, served tokens at the posted rate,
before the treasury gets the rest. What was booked is compared with the formula on the day's sums, so that a
swapped split stops the run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.fees import SplitRule, pay_operators, split, split_bounds, token_fee
from models.operators import claim_gwei
from sim.identities import IdentityBroken
from sim.kernels import bills as kernels
from sim.ledger import at, move
from sim.payouts import credit
from sim.phases.demand_reference import first_of
from sim.rates import PAYEES, Rates, is_sold, rate_gwei, rates_of, split_rule

if TYPE_CHECKING:
    from sim.economy import Economy
    from sim.world import World

Int = NDArray[np.int64]
Float = NDArray[np.float64]

ACCOUNT_OF = {
    "platform": "operators_pot and treasury.l2",
    "burn": "burned.l2",
    "model": "distributor (model part)",
    "stakers": "staking_rewards",
    "contributors": "distributor (contributors' part)",
}
"""Where each part of a bill is booked."""


class SplitBroken(IdentityBroken):
    """A part of the day's bills went where no split of them can have put it."""


@dataclass(frozen=True, slots=True)
class Billed:
    """The day's bills and the sums of their parts, int64 gwei.

    Parameters
    ----------
    bills
        (runs, first users), as many as use the service in any run.
    count, fees
        Bills that are not 0, and token fees, (runs,).
    platform, burn, stakers
        Parts of all bills, (runs,).
    by_builder
        Model parts by the builder who owns the model, (runs, builders).
    by_class
        Contributors' parts by query class, (runs, classes).
    """

    bills: Int
    count: Int
    fees: Int
    platform: Int
    burn: Int
    stakers: Int
    by_builder: Int
    by_class: Int


def advance(world: World, economy: Economy) -> None:
    """Bill every user and split the bills (flows B1 to B6)."""
    if not is_sold(world).any():
        return
    usage = world.usage
    rates = usage.rates or rates_of(world, economy)
    rule = split_rule(world, economy)
    billed = bill_fast(world, rates, rule)
    first = slice(0, billed.bills.shape[1])
    move(world, "B1", at("prepaid", "users"), at("clearing"), billed.bills, within=first)
    _book(world, economy, billed)
    usage.bills = billed.count
    usage.fee_gross_gwei = (
        billed.platform
        + billed.burn
        + billed.stakers
        + billed.by_builder.sum(axis=1)
        + billed.by_class.sum(axis=1)
    )
    usage.fee_net_gwei = usage.fee_gross_gwei - usage.platform_gwei
    usd = billed.fees / 1e9 * world.price_usd
    served = usage.tokens_served
    usage.fee_usd_per_1m = np.divide(usd * 1e6, served, out=np.full(world.count, np.nan), where=served > 0)
    audit(world, rule)


def bill(world: World, rates: Rates, rule: SplitRule) -> Billed:
    """Return the day's bills, in plain numpy: the reference of `bill_fast`."""
    usage, runs = world.usage, world.count
    tokens, access = _bills(world, rates)
    bills = tokens + access
    parts = split(bills, rule)
    builders = world.layout.count("builders")
    earned = np.zeros(runs * builders, np.int64)
    owner = (np.arange(runs) * builders)[:, None] + usage.model_owner[:, : bills.shape[1]]
    np.add.at(earned, owner.ravel(), parts.parts["model"].ravel())
    shared = parts.parts["contributors"]
    kind = usage.users.query_class[:, : bills.shape[1]]
    by_class = [np.where(kind == k, shared, 0).sum(axis=1) for k in range(usage.class_pot.shape[1])]
    return Billed(
        bills=bills,
        count=np.count_nonzero(bills, axis=1),
        fees=tokens.sum(axis=1),
        platform=parts.platform.sum(axis=1),
        burn=parts.burn.sum(axis=1),
        stakers=parts.parts["stakers"].sum(axis=1),
        by_builder=earned.reshape(runs, builders),
        by_class=np.stack(by_class, axis=1),
    )


def bill_fast(world: World, rates: Rates, rule: SplitRule) -> Billed:
    """Return the day's bills by one pass over users, or by the reference where bills are very large."""
    usage, runs = world.usage, world.count
    usual = rule.payees == PAYEES and rule.remainder == PAYEES[-1] and rule.weights.sum(axis=1).all()
    if not usual or usage.asked.max() >= kernels.MOST_TOKENS:
        return bill(world, rates, rule)
    counts, fees = np.empty((2, runs), np.int64)
    most = int(usage.active_users.max())
    bills = usage.user_bills.reshape(-1)[: runs * most].reshape(runs, most)
    sums = np.zeros((3, runs), np.int64)
    by_builder = np.zeros((runs, world.layout.count("builders")), np.int64)
    by_class = np.zeros(usage.class_pot.shape, np.int64)
    asked, served = usage.asked, np.stack((usage.serving.served_in, usage.serving.served_out))
    shares = np.minimum(np.divide(served, asked, out=np.zeros(asked.shape), where=asked > 0), 1.0)
    model, stakers, _ = rule.weights.T
    exact = kernels.bill_all(
        usage.active_users, usage.demand_in, usage.demand_out, usage.model_owner,
        world.agent_balance("prepaid"), world.layout.slice("users").start, usage.users.paid, usage.users.query_class,
        shares, np.stack((rates.input, rates.output)), rates.access, rates.paid_level,
        np.stack((rule.platform_bps, rule.platform_flat, rule.burn_bps, model, stakers, rule.weights.sum(axis=1))),
        bills, counts, fees, sums, by_builder, by_class,
    )  # fmt: skip
    if not exact:
        return bill(world, rates, rule)
    return Billed(bills, counts, fees, sums[0], sums[1], sums[2], by_builder, by_class)


def _bills(world: World, rates: Rates) -> tuple[Int, Int]:
    """Return token fees and access fees, gwei (runs, first users), together never more than the credit."""
    usage, most = world.usage, int(world.usage.active_users.max())
    is_user = first_of(usage.active_users, most)
    tokens_in = _served(np.where(is_user, usage.demand_in[:, :most], 0), usage.serving.served_in)
    tokens_out = _served(np.where(is_user, usage.demand_out[:, :most], 0), usage.serving.served_out)
    held = world.agent_balance("prepaid", "users")[:, :most]
    fee = np.minimum(token_fee(tokens_in, tokens_out, rates.input[:, None], rates.output[:, None]), held)
    paying = (usage.users.paid[:, :most] < rates.paid_level[:, None]) & (tokens_in + tokens_out > 0)
    access = np.where(paying, np.minimum(rates.access[:, None], held - fee), 0)
    return fee, access


def _served(asked: Int, served: Float) -> Int:
    """Return each user's served tokens: all have the same share of what they asked for."""
    total = asked.sum(axis=1)
    share = np.divide(served, total, out=np.zeros(len(total)), where=total > 0)
    return np.asarray((asked * np.minimum(share, 1.0)[:, None]).astype(np.int64))


def _book(world: World, economy: Economy, billed: Billed) -> None:
    """Move the parts out of clearing."""
    usage = world.usage
    usage.platform_gwei, usage.burned_gwei = billed.platform, billed.burn
    pay = economy.scenario.operator_pay
    claim = claim_gwei(
        np.floor(usage.tokens_served).astype(np.int64), rate_gwei(world, "operator_pay.rate", pay.rate.unit)
    )
    from_platform = usage.platform_gwei if "platform" in pay.from_ else np.zeros_like(usage.platform_gwei)
    paid, _, missing = pay_operators(from_platform, claim)
    usage.operator_shortfall = missing if "emission.operators" in pay.from_ else np.zeros_like(missing)
    move(world, "B2", at("clearing"), at("operators_pot"), paid)
    move(world, "B2", at("clearing"), at("treasury.l2"), usage.platform_gwei - paid)
    _pay_builders(world, billed.by_builder)
    move(world, "B4", at("clearing"), at("staking_rewards"), billed.stakers)
    _fill_pots(world, billed.by_class)
    move(world, "B6", at("clearing"), at("burned.l2"), usage.burned_gwei)


def _pay_builders(world: World, by_builder: Int) -> None:
    """Credit the bills' model parts to the builders who own the models (flow B3)."""
    total = by_builder.sum(axis=1)
    move(world, "B3", at("clearing"), at("distributor"), total)
    credit(world, "builders", by_builder)
    earning = total > 0
    world.usage.builder_weights[earning] = by_builder[earning]


def _fill_pots(world: World, by_class: Int) -> None:
    """Put the contributors' part aside by query class (flow B5); attribution divides it."""
    world.usage.class_pot[:] = by_class
    total = by_class.sum(axis=1)
    move(world, "B5", at("clearing"), at("distributor"), total)
    world.dust += total


def audit(world: World, rule: SplitRule) -> None:
    """Compare what the journal booked today with the split in force.

    Parameters
    ----------
    world
        The world after billing.
    rule
        The split in force.

    Raises
    ------
    SplitBroken
        If a part lies outside what floors can explain; names account, day and run.
    """
    runs = world.count

    def booked(flow: str) -> Int:
        return world.journal.flow_total(flow, runs)

    totals = {
        "platform": booked("B2"),
        "burn": booked("B6"),
        "model": booked("B3"),
        "stakers": booked("B4"),
        "contributors": booked("B5"),
    }
    for wrong in split_bounds(booked("B1"), world.usage.bills, rule, totals):
        account = ACCOUNT_OF[wrong.payee]
        raise SplitBroken(
            f"day {world.day}, run {int(world.runs[wrong.row])}: {account} got {wrong.booked} "
            f"gwei of the bills; the split gives {wrong.expected}, give or take {wrong.tolerance}"
        )
