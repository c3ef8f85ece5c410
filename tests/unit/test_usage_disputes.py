"""Disputes over copied data and audits: who is slashed, and who gets the bond and the slash."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path

import pytest

from sim.accounts import ACCOUNTS
from sim.phases import attribution

sys.path.insert(0, str(Path(__file__).parent))
from usage_world import economy_of, govern, leaf, scenario, world_of


def disputed_world(tmp_path, *, slash_to="challenger", found=1):
    """Return a world of one run on its first day: contributor 0 has copied 5, contributors 1 and 2 have copied 6."""
    told = scenario(tmp_path, copy_share=0.0, slash_to=slash_to)
    told.attribution.detection = leaf(Fraction(found))
    economy = economy_of(told)
    world = world_of(economy, runs=(4,))
    govern(world)
    world.usage.contributors.origin[0, :3] = 5, 6, 6
    world.usage.contributor_active[:] = True
    for account in ("stake", "wallet.l2"):
        world.holdings[ACCOUNTS[account].index][:, world.layout.slice("contributors")] = 10_000
    world.phase = "attribution"
    return world, economy


def shown(world, account):
    """Return what the copiers and the owners hold beyond what they had."""
    had = 0 if account == "bond" else 10_000
    return (world.agent_balance(account, "contributors")[0, [0, 1, 2, 5, 6]] - had).tolist()


def decide(world, economy, bonds=(700, 800, 900), day=3):
    """Open disputes over the three copies, decide them `day`, and return the contributors' total before."""
    accused = slice(0, 3)
    world.usage.dispute_day[0, accused] = day
    world.usage.dispute_bond[0, accused] = bonds
    bond = world.agent_balance("bond", "contributors")
    bond[0, 5], bond[0, 6] = bonds[0], bonds[1] + bonds[2]
    before = int(world.holdings.sum())
    world.day = day
    attribution._decide_disputes(world, economy)
    assert not world.usage.dispute_day.any()
    assert not world.usage.dispute_bond.any()
    assert not world.agent_balance("bond").any()
    return before


def test_a_challenger_who_is_right_gets_the_bond_back_and_the_slash(tmp_path):
    world, economy = disputed_world(tmp_path)
    before = decide(world, economy)
    assert shown(world, "stake") == [-1_000, -1_000, -1_000, 0, 0]
    assert shown(world, "wallet.l2") == [0, 0, 0, 700 + 1_000, 800 + 900 + 2_000]
    assert int(world.holdings.sum()) == before
    assert world.journal.flow_total("A2", 1, target="wallet.l2").tolist() == [3_000]


def test_a_challenger_who_is_wrong_loses_the_bond_to_the_accused(tmp_path):
    world, economy = disputed_world(tmp_path, found=0)
    before = decide(world, economy)
    assert shown(world, "stake") == [0, 0, 0, 0, 0]
    assert shown(world, "wallet.l2") == [700, 800, 900, 0, 0]
    assert int(world.holdings.sum()) == before
    assert not world.usage.detected.any()


@pytest.mark.parametrize(
    ("slash_to", "account"),
    [("treasury", "treasury.l2"), ("burn", "burned.l2"), ("challenger", "treasury.l2")],
)
def test_what_an_audit_finds_undisputed_has_no_challenger(tmp_path, slash_to, account):
    world, economy = disputed_world(tmp_path, slash_to=slash_to)
    if slash_to == "challenger":
        world.usage.dispute_day[0, 1] = 9
    attribution._audit(world, economy)
    disputed = slash_to == "challenger"
    assert shown(world, "stake") == [-1_000, -1_000, -1_000, 0, 0]
    assert world.world_balance(account).tolist() == [2_000 if disputed else 3_000]
    assert shown(world, "wallet.l2") == [0, 0, 0, 0, 1_000 if disputed else 0]


def test_a_dispute_whose_copy_an_audit_found_is_won(tmp_path):
    world, economy = disputed_world(tmp_path, found=0)
    world.usage.detected[0, 1] = True
    decide(world, economy)
    assert shown(world, "wallet.l2") == [700, 0, 900, 0, 800]
    assert shown(world, "stake") == [0, 0, 0, 0, 0], "slashed once, when it was found"


def test_an_owner_with_two_disputes_puts_up_two_bonds_or_divides_what_there_is(tmp_path):
    world, economy = disputed_world(tmp_path)
    economy.scenario.attribution.dispute.bond = leaf(6_000)
    before = int(world.holdings.sum())
    attribution._open_disputes(world, economy)
    assert world.usage.dispute_bond[0, :3].tolist() == [6_000, 5_000, 5_000]
    assert shown(world, "bond") == [0, 0, 0, 6_000, 10_000]
    assert shown(world, "wallet.l2") == [0, 0, 0, -6_000, -10_000]
    assert int(world.holdings.sum()) == before
