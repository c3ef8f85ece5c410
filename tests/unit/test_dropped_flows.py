"""Planted faults in flows: dropped, half booked, or paid to the wrong payee, each stops the run and is named."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from sim import ledger
from sim.clock import advance_day
from sim.flows import FLOWS
from sim.journal import Journal
from sim.ledger import FlowRefused
from sim.phases import billing
from sim.phases.billing import SplitBroken
from sim.picks import Picks

sys.path.insert(0, str(Path(__file__).parent))
import small_world as small
from planted_faults import ECONOMY, LAST, Snapshots, names, stopped

LEGS = {
    ("U1", "vesting.community", "pool.community.l1"): 0,
    ("U1", "vesting.ecosystem", "pool.ecosystem.l1"): 0,
    ("U2", "vesting.investors", "wallet.l1"): 61,
    ("U2", "vesting.team", "wallet.l1"): 61,
    ("U3", "vesting.liquidity", "venue"): 0,
    ("U3", "vesting.liquidity", "market_maker"): 0,
    ("U4", "pool.community.l1", "transit_deposit.pool.community"): 0,
    ("U4", "pool.ecosystem.l1", "transit_deposit.pool.ecosystem"): 0,
    ("U4", "transit_deposit.pool.community", "pool.community.l2"): 1,
    ("U4", "transit_deposit.pool.ecosystem", "pool.ecosystem.l2"): 1,
    ("E1", "pool.community.l1", "wallet.l1"): 0,
    ("E2", "pool.community.l2", "distributor"): 2,
    ("E3", "pool.community.l2", "staking_rewards"): 2,
    ("E4", "pool.community.l2", "operators_pot"): 3,
    ("D1", "wallet.l2", "prepaid"): 2,
    ("B1", "prepaid", "clearing"): 2,
    ("B2", "clearing", "operators_pot"): 2,
    ("B2", "clearing", "treasury.l2"): 21,
    ("B3", "clearing", "distributor"): 2,
    ("B4", "clearing", "staking_rewards"): 2,
    ("B5", "clearing", "distributor"): 2,
    ("B6", "clearing", "burned.l2"): 2,
    ("A1", "distributor", "treasury.l2"): 2,
    ("A2", "stake", "treasury.l2"): 38,
    ("A3", "wallet.l2", "bond"): 31,
    ("A3", "bond", "wallet.l2"): 38,
    ("O1", "operators_pot", "wallet.l2"): 2,
    ("S1", "wallet.l2", "stake"): 14,
    ("S1", "stake", "unbonding"): 30,
    ("S1", "unbonding", "wallet.l2"): 37,
    ("S2", "staking_rewards", "stake"): 15,
    ("H1", "wallet.l2", "wrapped"): 14,
    ("H1", "wrapped", "wallet.l2"): 38,
    ("M1", "wallet.l1", "venue"): 0,
    ("M1", "venue", "wallet.l1"): 0,
    ("M2", "market_maker", "venue"): 1,
    ("M2", "venue", "market_maker"): 1,
    ("M3", "venue", "treasury.l1"): 0,
    ("M3", "treasury.l1", "burned.l1"): 0,
    ("X1", "wallet.l1", "transit_deposit"): 0,
    ("X1", "transit_deposit", "wallet.l2"): 1,
    ("X2", "wallet.l2", "transit_withdraw"): 7,
    ("X2", "transit_withdraw", "wallet.l1"): 16,
    ("X3", "wallet.l2", "fastbridge.l2"): 7,
    ("X3", "fastbridge.l1", "wallet.l1"): 7,
    ("X4", "market_maker", "fastbridge.l1"): 0,
    ("X4", "fastbridge.l2", "transit_withdraw.fastbridge"): 31,
    ("X4", "transit_withdraw.fastbridge", "fastbridge.l1"): 40,
    ("R1", "pool.ecosystem.l2", "wallet.l2"): 30,
    ("C1", "distributor", "wallet.l2"): 30,
    ("C2", "wallet.l2", "gas_vault"): 2,
    ("C2", "gas_vault", "wallet.l2"): 30,
    ("C2", "gas_vault", "treasury.l2"): 30,
}
"""Leg of the table -> a day of the busy world on which money takes it."""


@pytest.fixture(scope="module")
def snapshots():
    return Snapshots({day - 1 for day in LEGS.values()} | {LAST - 1})


def left_of(leg, amount):
    """Return what is left of a lost amount: nothing, but a market needs half of its pool to go on at all."""
    if isinstance(amount, Picks):
        return Picks(amount.where, left_of(leg, amount.amounts))
    return amount // 2 if leg == ("U3", "vesting.liquidity", "venue") else amount * 0


def lose_payment(monkeypatch, leg):
    """Leave agents what they pay all at once, which is taken while it is surveyed."""
    take, (flow, source, _) = ledger._take_all, leg

    def lossy(world, id_, place, *rest):
        held = world.holdings[place.account.index].copy()
        found = take(world, id_, place, *rest)
        if id_ == flow and place.account.name == source:
            world.holdings[place.account.index] = held
        return found

    monkeypatch.setattr(ledger, "_take_all", lossy)


def lose_growth(monkeypatch, leg):
    """Lose what agents are given by what they hold, which no amount per agent stands for."""
    grow, (flow, _, _) = ledger._grow, leg

    def lossy(world, id_, place, *rest):
        held = world.holdings[place.account.index].copy()
        given = grow(world, id_, place, *rest)
        if id_ == flow:
            world.holdings[place.account.index] = held
        return given

    monkeypatch.setattr(ledger, "_grow", lossy)


class TestDroppedFlow:
    def test_the_busy_world_takes_every_leg_and_nearly_every_flow(self, snapshots):
        taken = set().union(*snapshots.flows.values())
        for leg, day in LEGS.items():
            assert leg in snapshots.flows[day], leg
        assert taken == set(LEGS)
        # minted once at genesis; spends of proposals do not exist yet
        assert set(FLOWS) - {flow for flow, _, _ in taken} == {"G1", "V1"}

    @pytest.mark.parametrize("leg", LEGS, ids=" ".join)
    def test_written_down_but_not_moved(self, snapshots, monkeypatch, leg):
        flow, source, target = leg
        apply = ledger._apply

        def lossy(world, id_, place, amount, per_run, *rest):
            if id_ == flow and place.account.name in (source, target):
                amount, per_run = left_of(leg, amount), left_of(leg, per_run)
            apply(world, id_, place, amount, per_run, *rest)

        monkeypatch.setattr(ledger, "_apply", lossy)
        lose_payment(monkeypatch, leg)
        lose_growth(monkeypatch, leg)
        day = LEGS[leg]
        names(stopped(snapshots.at_end_of(day - 1), day), source, target, day=day, runs=small.RUNS)

    @pytest.mark.parametrize("leg", LEGS, ids=" ".join)
    def test_moved_but_not_written_down(self, snapshots, monkeypatch, leg):
        write = Journal.write

        def forgetful(self, world, moved, *rest):
            if (moved.flow, moved.source.account.name, moved.target.account.name) != leg:
                write(self, world, moved, *rest)

        monkeypatch.setattr(Journal, "write", forgetful)
        day, (flow, source, target) = LEGS[leg], leg
        # without B1 in the books no bill was paid, and the first part of a bill that was paid is named
        first_part = ["operators_pot"] if flow == "B1" else []
        text = stopped(snapshots.at_end_of(day - 1), day)
        names(text, source, target, *first_part, day=day, runs=small.RUNS)

    @pytest.mark.slow
    @pytest.mark.parametrize("leg", LEGS, ids=" ".join)
    def test_debited_but_not_credited(self, snapshots, monkeypatch, leg):
        flow, _, target = leg
        apply = ledger._apply

        def one_sided(world, id_, place, amount, per_run, within, sign, *rest):
            if id_ == flow and place.account.name == target and sign > 0:
                amount, per_run = left_of(leg, amount), left_of(leg, per_run)
            apply(world, id_, place, amount, per_run, within, sign, *rest)

        monkeypatch.setattr(ledger, "_apply", one_sided)
        lose_growth(monkeypatch, leg)
        day = LEGS[leg]
        names(stopped(snapshots.at_end_of(day - 1), day), target, day=day, runs=small.RUNS)


class TestSwappedSplit:
    @pytest.mark.parametrize(
        ("one", "other", "account"),
        [
            ("stakers", "contributors", "staking_rewards"),
            ("model", "contributors", "distributor (model part)"),
        ],
    )
    def test_two_payees(self, snapshots, monkeypatch, one, other, account):
        split = billing.split

        def swapped(bills, rule):
            right = split(bills, rule)
            right.parts[one], right.parts[other] = right.parts[other], right.parts[one]
            return right

        monkeypatch.setattr(billing, "bill_fast", billing.bill)
        monkeypatch.setattr(billing, "split", swapped)
        with pytest.raises(SplitBroken) as found:
            advance_day(snapshots.at_end_of(LAST - 1), ECONOMY, LAST)
        names(str(found.value), account, day=LAST, runs=small.RUNS)

    def test_platform_and_burn(self, snapshots, monkeypatch):
        split = billing.split

        def swapped(bills, rule):
            right = split(bills, rule)
            return SimpleNamespace(platform=right.burn, burn=right.platform, parts=right.parts)

        monkeypatch.setattr(billing, "bill_fast", billing.bill)
        monkeypatch.setattr(billing, "split", swapped)
        with pytest.raises(SplitBroken) as found:
            advance_day(snapshots.at_end_of(LAST - 1), ECONOMY, LAST)
        names(str(found.value), "operators_pot and treasury.l2", day=LAST, runs=small.RUNS)

    def test_one_part_paid_into_anothers_account_is_refused(self, snapshots, monkeypatch):
        move = billing.move

        def astray(world, flow, source, target, amount, *rest, **within):
            if flow == "B4":
                target = ledger.at("distributor")
            move(world, flow, source, target, amount, *rest, **within)

        monkeypatch.setattr(billing, "move", astray)
        with pytest.raises(FlowRefused, match="B4 does not permit clearing/- -> distributor"):
            advance_day(snapshots.at_end_of(LAST - 1), ECONOMY, LAST)
