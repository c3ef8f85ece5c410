"""The ledger: permitted moves alone, exact on both sides, written down."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from sim.accounts import ACCOUNTS, AGENT_ACCOUNTS, AGENT_CLASSES, WORLD_ACCOUNTS
from sim.flows import FLOWS
from sim.journal import Journal
from sim.ledger import FlowRefused, at, move, move_some
from sim.picks import Picks
from sim.world import Layout, UsdLog, World, empty_accounts

RUNS = 3
COUNTS = {name: 2 + i for i, name in enumerate(AGENT_CLASSES)}


@pytest.fixture
def world():
    layout = Layout.of(COUNTS)
    balances, expected_world, holdings, expected_agent = empty_accounts(RUNS, layout)
    states = dict.fromkeys(("governed", "market", "bridge", "holding", "usage", "governance", "record"))
    return World(
        runs=np.arange(RUNS), layout=layout, journal=Journal(witness_row=1), usd=UsdLog(), balances=balances,
        expected_world=expected_world, holdings=holdings, expected_agent=expected_agent,
        earned=np.zeros((RUNS, layout.agents), np.int64), dust=np.zeros(RUNS, np.int64),
        income=np.zeros((RUNS, layout.agents), np.int64), price_usd=np.ones(RUNS), **states,
    )  # fmt: skip


def fill(world, name, amount=10**6):
    account = ACCOUNTS[name]
    if account.per_agent:
        world.holdings[account.index] += amount
    else:
        world.balances[:, account.index] += amount


def test_mint_and_unlock_move_the_same_integers(world):
    move(world, "G1", None, at("vesting.team"), np.array([50, 70, 90]))
    world.phase = "unlock"
    parts = np.full((RUNS, COUNTS["team"]), 3)
    parts[2, 0] = 4
    move(world, "U2", at("vesting.team"), at("wallet.l1", "team"), parts)
    given = 3 * COUNTS["team"]
    assert world.world_balance("vesting.team").tolist() == [50 - given, 70 - given, 90 - given - 1]
    assert world.agent_balance("wallet.l1").sum(axis=1).tolist() == [given, given, given + 1]
    assert world.agent_balance("wallet.l1", "team")[2, 0] == 4
    assert world.income.sum(axis=1).tolist() == [given, given, given + 1]


def test_journal_keeps_day_totals_of_all_runs_and_entries_of_the_witness(world):
    fill(world, "wallet.l2")
    world.phase = "holders"
    world.day = 4
    amount = np.zeros((RUNS, COUNTS["holders"]), np.int64)
    amount[1] = [3, 4]
    for _ in range(2):
        move(world, "H1", at("wallet.l2", "holders"), at("wrapped", "holders"), amount)
    assert world.journal.flow_total("H1", RUNS).tolist() == [0, 14, 0]
    first, second = world.journal.take_entries()
    assert (first.day, first.flow, first.source, first.target, first.amount) == (
        4, "H1", "wallet.l2/holders", "wrapped/holders", 7,
    )  # fmt: skip
    assert first.source_parts.tolist() == first.target_parts.tolist() == [3, 4]
    assert second.amount == 7
    assert world.journal.take_entries() == []


def test_others_may_receive_than_pay(world):
    """A loser's bond: what the payers pay arrives in another arrangement, to the gwei."""
    fill(world, "bond", 10)
    world.phase = "attribution"
    count = COUNTS["contributors"]
    paid, received = np.zeros((2, RUNS, count), np.int64)
    paid[1, 0], paid[1, 1], paid[2, 3] = 5, 2, 9
    received[1, 2], received[2, 0], received[2, 3] = 7, 4, 5
    move(world, "A3", at("bond", "contributors"), at("wallet.l2", "contributors"), paid, received=received)
    assert (world.agent_balance("bond", "contributors") == 10 - paid).all()
    assert (world.agent_balance("wallet.l2", "contributors") == received).all()
    assert world.journal.flow_total("A3", RUNS).tolist() == [0, 7, 9]
    (entry,) = world.journal.take_entries()
    assert entry.source_parts.tolist() == paid[1].tolist()
    assert entry.target_parts.tolist() == received[1].tolist()
    received[:] = 0
    assert entry.target_parts.sum() == entry.amount == 7, "the journal keeps a copy"


def test_classes_of_payers_and_payees_may_differ(world):
    fill(world, "stake", 10)
    world.phase = "attribution"
    paid = np.zeros((RUNS, COUNTS["contributors"]), np.int64)
    received = np.zeros((RUNS, COUNTS["team"]), np.int64)
    paid[1, 3], received[1, 5] = 8, 8
    move(world, "A2", at("stake", "contributors"), at("wallet.l2", "team"), paid, received=received)
    assert world.agent_balance("wallet.l2").sum() == world.agent_balance("wallet.l2", "team")[1, 5] == 8
    (entry,) = world.journal.take_entries()
    assert (entry.source_parts[3], entry.target_parts[5]) == (8, 8)


def test_what_is_received_must_be_what_is_paid(world):
    fill(world, "bond", 10)
    world.phase = "attribution"
    bond, wallet = at("bond", "contributors"), at("wallet.l2", "contributors")
    paid = np.ones((RUNS, COUNTS["contributors"]), np.int64)
    more, negative = paid.copy(), paid.copy()
    more[2, 1] = 4
    negative[0, :2] = -1, 3
    for received, message in (
        (more, "run 2: received is off what is paid by 3 gwei"),
        (negative, "negative amount -1 gwei"),
        (paid[:, :-1], r"needs an amount per agent, \(3, 4\), not \(3, 3\)"),
    ):
        with pytest.raises(FlowRefused, match=message):
            move(world, "A3", bond, wallet, paid, received=received)
    with pytest.raises(FlowRefused, match="off what is paid by 4 gwei"):
        move(world, "A3", bond, wallet, 0 * paid, received=paid)
    with pytest.raises(FlowRefused, match="all agents of one class"):
        move(world, "A3", bond, wallet, paid[:, :2], slice(0, 2), received=paid[:, :2])
    with pytest.raises(FlowRefused, match="all agents of one class"):
        move(world, "A2", at("stake", "contributors"), at("treasury.l2"), paid, received=paid)
    assert (world.agent_balance("bond") == 10).all()
    assert not world.agent_balance("wallet.l2").any()


def test_what_is_not_in_the_table_is_refused(world):
    fill(world, "treasury.l2")
    fill(world, "wallet.l1")
    world.phase = "market"
    with pytest.raises(FlowRefused, match="not in the table"):
        move(world, "Z9", at("treasury.l2"), at("venue"), np.ones(RUNS, np.int64))
    with pytest.raises(FlowRefused, match=r"M1 does not permit treasury\.l2"):
        move(world, "M1", at("treasury.l2"), at("venue"), np.ones(RUNS, np.int64))
    world.phase = "bridge"
    with pytest.raises(FlowRefused, match="M1 may run in market, not in phase 'bridge'"):
        move(world, "M1", at("wallet.l1", "team"), at("venue"), np.ones((RUNS, COUNTS["team"]), np.int64))


def test_classes_are_part_of_the_table(world):
    fill(world, "vesting.team")
    world.phase = "unlock"
    with pytest.raises(FlowRefused, match="U2 does not permit"):
        move(
            world,
            "U2",
            at("vesting.team"),
            at("wallet.l1", "holders"),
            np.ones((RUNS, COUNTS["holders"]), np.int64),
        )


def test_overdraft_names_account_run_day_and_what_is_missing(world):
    world.phase = "staking"
    world.day = 12
    amount = np.zeros(RUNS, np.int64)
    amount[2] = 5
    world.balances[:, ACCOUNTS["staking_rewards"].index] = 3
    parts = np.zeros((RUNS, COUNTS["holders"]), np.int64)
    parts[2, 0] = 5
    with pytest.raises(FlowRefused, match=r"S2 on day 12, run 2: staking_rewards is short by 2 gwei"):
        move(world, "S2", at("staking_rewards"), at("stake", "holders"), parts)


def test_negative_amounts_are_refused(world):
    fill(world, "pool.community.l2")
    world.phase = "emission"
    with pytest.raises(FlowRefused, match="negative amount -1 gwei"):
        move(world, "E3", at("pool.community.l2"), at("staking_rewards"), np.array([0, -1, 2]))


@pytest.mark.slow
def test_every_pair_of_accounts_outside_the_table_is_refused_in_every_phase(world):
    """Exhaustive: a move is accepted exactly when some leg of the flow lists it."""
    places = [at(a.name) for a in WORLD_ACCOUNTS] + [
        at(a.name, c) for a in AGENT_ACCOUNTS for c in ("holders", "users", "team", "sequencer")
    ]
    accepted = 0
    for flow in FLOWS.values():
        world.phase = flow.phases[0]
        for source, target in itertools.product(places, places):
            zero = np.zeros(RUNS, np.int64)
            listed = flow.permits(
                source.account.name, source.agent_class, target.account.name, target.agent_class
            )
            if listed:
                move(world, flow.id, source, target, zero)
                accepted += 1
            else:
                with pytest.raises(FlowRefused):
                    move(world, flow.id, source, target, zero)
    assert accepted > 100


def test_place_needs_a_class_exactly_for_agent_accounts():
    with pytest.raises(ValueError, match="needs an agent class"):
        at("wallet.l1")
    with pytest.raises(ValueError, match="has no agent class"):
        at("venue", "team")


def test_few_agents_are_named_when_they_are_short(world):
    world.phase, world.day = "bridge", 7
    fill(world, "wallet.l1", 5)
    source, target = at("wallet.l1", "*"), at("transit_deposit", "*")
    agents = world.layout.agents
    with pytest.raises(FlowRefused, match=r"X1 on day 7, run 2: wallet.l1/\* is short by 3 gwei"):
        move_some(world, "X1", source, target, picks([2 * agents + 4], [8]))
    with pytest.raises(FlowRefused, match="negative amount -1 gwei"):
        move_some(world, "X1", source, target, picks([1, 3], [2, -1]))
    world.phase = "market"
    with pytest.raises(FlowRefused, match="M1 does not permit transit_deposit"):
        move_some(world, "M1", at("transit_deposit", "*"), at("venue"), picks([1], [1]))


def test_few_agents_must_be_of_the_class(world):
    world.phase = "holders"
    fill(world, "wallet.l2")
    stranger = world.layout.slice("team").start
    with pytest.raises(FlowRefused, match="S1: an amount is of an agent outside holders"):
        move_some(world, "S1", at("wallet.l2", "holders"), at("stake", "holders"), picks([stranger], [1]))


def test_an_agent_may_stand_in_a_list_twice(world):
    world.phase = "bridge"
    fill(world, "wallet.l1", 5)
    moved = move_some(world, "X1", at("wallet.l1", "*"), at("transit_deposit", "*"), picks([4, 4], [2, 3]))
    assert moved.tolist() == [5, 0, 0]
    assert world.agent_balance("transit_deposit")[0, 4] == 5
    assert world.agent_balance("wallet.l1")[0, 4] == 0


def test_a_move_over_all_classes_is_read_class_by_class(world):
    """What is not asked for waits; what is asked for is told with the class's own label, twice moved or once."""
    world.phase = "bridge"
    fill(world, "wallet.l1", 9)
    holder, member, investor = (world.layout.slice(name).start for name in ("holders", "team", "investors"))
    agents = world.layout.agents
    source, target = at("wallet.l1", "*"), at("transit_deposit", "*")
    move_some(world, "X1", source, target, picks([holder, agents + member, 2 * agents + member], [1, 2, 3]))
    move_some(world, "X1", source, target, picks([holder], [4]))
    assert not world.journal.flow_total("X2", RUNS).any()
    assert world.journal.flow_total("X1", RUNS).tolist() == [5, 2, 3]
    assert world.journal.flow_total("X1", RUNS, source="wallet.l1/team").tolist() == [0, 2, 3]
    move_some(world, "X1", source, target, picks([2 * agents + investor], [6]))
    assert {key: amount.tolist() for key, amount in world.journal.today.items()} == {
        ("X1", f"wallet.l1/{name}", f"transit_deposit/{name}"): amount
        for name, amount in (("holders", [5, 0, 0]), ("team", [0, 2, 3]), ("investors", [0, 0, 6]))
    }
    move_some(world, "X1", source, target, picks([holder], [1]))
    world.journal.today = {}
    assert not world.journal.flow_total("X1", RUNS).any(), "a day that began anew knows nothing of the last"


def test_amounts_that_int64_cannot_add_up_are_refused(world):
    """Two amounts of 2^62 and a few: their sum would wrap around and look like little."""
    world.phase = "staking"
    parts = np.zeros((RUNS, COUNTS["holders"]), np.int64)
    parts[1, :2] = 2**62 + 5
    with pytest.raises(FlowRefused, match=r"S2 on day 0: amounts add up to more than 2\^63 - 1 gwei"):
        move(world, "S2", at("staking_rewards"), at("stake", "holders"), parts)
    with pytest.raises(FlowRefused, match="add up to more than"):
        move_some(world, "S2", at("staking_rewards"), at("stake", "*"), picks([0, 5], [2**62 + 5, 2**62 + 5]))
    assert not world.agent_balance("stake").any()


def test_an_amount_of_another_shape_is_refused(world):
    world.phase = "staking"
    fill(world, "staking_rewards")
    for amount, target in (
        (np.ones((RUNS, COUNTS["holders"] - 1), np.int64), at("stake", "holders")),
        (np.ones((RUNS, COUNTS["holders"]), np.int64), at("stake", "*")),
    ):
        with pytest.raises(FlowRefused, match="is needed"):
            move(world, "S2", at("staking_rewards"), target, amount)


def picks(where, amounts):
    return Picks(np.array(where, np.int64), np.array(amounts, np.int64))
