"""The ledger under random moves: money is conserved, the journal is the balances, kernels are numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sim.accounts import ACCOUNTS, AGENT_ACCOUNTS, AGENT_CLASSES, BUCKET_ROLES, WORLD_ACCOUNTS
from sim.flows import FLOWS
from sim.journal import Journal
from sim.kernels import sums as sum_kernels
from sim.ledger import EVERY_CLASS, FlowRefused, at, move
from sim.world import Layout, UsdLog, World, empty_accounts

RUNS = 3
COUNTS = {name: 1 + i % 3 for i, name in enumerate(AGENT_CLASSES)}
CAP = 10**18
CLASSES = (*AGENT_CLASSES, "sequencer", "public_goods", EVERY_CLASS)


def places(name):
    account = ACCOUNTS[name]
    return [at(name, agent_class) for agent_class in CLASSES] if account.per_agent else [at(name)]


def permitted():
    """Yield every (phase, flow, source, target) of the table."""
    for flow in FLOWS.values():
        for source in ACCOUNTS:
            for target in ACCOUNTS:
                for a in places(source):
                    for b in places(target):
                        same = not (a.agent_class and b.agent_class) or a.agent_class == b.agent_class
                        if same and flow.permits(source, a.agent_class, target, b.agent_class):
                            yield flow.phases[0], flow.id, a, b


MOVES = list(permitted())


def new_world(witness_row=1):
    layout = Layout.of(COUNTS)
    balances, expected_world, holdings, expected_agent = empty_accounts(RUNS, layout)
    states = dict.fromkeys(("governed", "market", "bridge", "holding", "usage", "governance", "record"))
    world = World(
        runs=np.arange(RUNS), layout=layout, journal=Journal(witness_row=witness_row), usd=UsdLog(),
        balances=balances, expected_world=expected_world, holdings=holdings, expected_agent=expected_agent,
        earned=np.zeros((RUNS, layout.agents), np.int64), dust=np.zeros(RUNS, np.int64),
        income=np.zeros((RUNS, layout.agents), np.int64), price_usd=np.ones(RUNS), **states,
    )  # fmt: skip
    world.phase = "genesis"
    for role, share in (("community", 4), ("ecosystem", 2), ("liquidity", 2), ("investors", 1), ("team", 1)):
        move(world, "G1", None, at(f"vesting.{role}"), np.full(RUNS, CAP // 10 * share))
    return world


def scatter(world, draw):
    """Put money everywhere by hand, with the journal's books, so that every flow has something to move."""
    world.balances[:] = draw.integers(0, CAP // 10**3, world.balances.shape)
    world.holdings[:] = draw.integers(0, CAP // 10**4, world.holdings.shape)
    world.balances[:, 0] += CAP - total(world)
    world.expected_world[:] = world.balances
    world.expected_agent[:] = world.holdings.sum(axis=2).T
    world.checksum = world.checksum_of_holdings()


def total(world):
    return world.balances.sum(axis=1) + world.holdings.sum(axis=(0, 2))


def amount_for(world, source, target, draw):
    """Draw an amount that the source can pay, of the shape that the places need."""
    per_agent = next((p for p in (source, target) if p.account.per_agent), None)
    if per_agent is None:
        return draw.integers(0, world.world_balance(source.account.name) + 1)
    if source.account.per_agent:
        return draw.integers(0, world.agent_balance(source.account.name, source.agent_class) + 1)
    agents = world.layout.count(target.agent_class)
    whole = world.world_balance(source.account.name)
    return draw.integers(0, whole[:, None] // agents + 1, (RUNS, agents))


@given(st.lists(st.integers(0, len(MOVES) - 1), min_size=1, max_size=40), st.integers(0, 2**32 - 1))
def test_random_moves_conserve_money_and_the_journal_is_the_balances(chosen, seed):
    draw = np.random.default_rng(seed)
    world = new_world()
    scatter(world, draw)
    before = {name: _held(world, name) for name in ACCOUNTS}
    world.journal.take_entries()
    world.journal.today = {}
    for place in chosen:
        world.phase, flow, source, target = MOVES[place]
        move(world, flow, source, target, amount_for(world, source, target, draw))
    assert (total(world) == CAP).all()
    assert world.balances.min() >= 0
    assert world.holdings.min() >= 0
    assert (world.expected_world == world.balances).all()
    assert (world.expected_agent == world.holdings.sum(axis=2).T).all()
    assert (world.checksum == world.checksum_of_holdings()).all()
    _replayed_day_totals_are_the_balances(world, before)
    _replayed_entries_are_the_witness_runs_balances(world, before)


def _held(world, name):
    """Return what an account holds in every run, by class for agent accounts."""
    if not ACCOUNTS[name].per_agent:
        return {name: world.world_balance(name).copy()}
    return {f"{name}/{c}": world.agent_balance(name, c).sum(axis=1) for c, _ in world.layout.counts}


def _replayed_day_totals_are_the_balances(world, before):
    held = {label: amount.copy() for books in before.values() for label, amount in books.items()}
    for (_, source, target), amount in world.journal.today.items():
        held[source] -= amount
        held[target] += amount
    for name in ACCOUNTS:
        for label, amount in _held(world, name).items():
            assert (held[label] == amount).all(), label


def _replayed_entries_are_the_witness_runs_balances(world, before):
    row = world.journal.witness_row
    held = {label: int(amount[row]) for books in before.values() for label, amount in books.items()}
    for entry in world.journal.take_entries():
        held[entry.source] -= entry.amount
        held[entry.target] += entry.amount
        for parts in (entry.source_parts, entry.target_parts):
            assert parts is None or int(parts.sum()) == entry.amount
    for name in ACCOUNTS:
        for label, amount in _held(world, name).items():
            assert held[label] == int(amount[row]), label


@given(st.integers(0, len(MOVES) - 1), st.integers(0, 2**32 - 1))
def test_more_than_an_account_holds_is_refused(place, seed):
    draw = np.random.default_rng(seed)
    world = new_world()
    scatter(world, draw)
    world.phase, flow, source, target = MOVES[place]
    amount = amount_for(world, source, target, draw)
    if source.account.per_agent:
        amount[-1, -1] = world.agent_balance(source.account.name, source.agent_class)[-1, -1] + 1
    elif amount.ndim == 2:
        amount[-1, 0] += world.world_balance(source.account.name)[-1] + 1
    else:
        amount[-1] = world.world_balance(source.account.name)[-1] + 1
    with pytest.raises(FlowRefused, match=rf"run {RUNS - 1}: {source.account.name}.* is short by"):
        move(world, flow, source, target, amount)


def test_every_account_can_be_reached_and_left():
    """Nothing is a dead end but what is meant to be: burned tokens never leave, and clearing pays out in billing."""
    sources = {source.account.name for _, _, source, _ in MOVES}
    targets = {target.account.name for _, _, _, target in MOVES}
    assert set(ACCOUNTS) - sources == {"burned.l1", "burned.l2"}
    assert set(ACCOUNTS) - targets == {f"vesting.{role}" for role in BUCKET_ROLES}


@given(
    hnp.arrays(
        np.int64, st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 30)),
        elements=st.integers(-(2**40), 2**55),
    )
)  # fmt: skip
def test_row_totals_is_numpy(holdings):
    shape = (holdings.shape[1], holdings.shape[0])
    sums, least = np.empty(shape, np.int64), np.empty(shape, np.int64)
    sum_kernels.row_totals(holdings, sums, least)
    assert (sums == holdings.sum(axis=2).T).all()
    assert (least == holdings.min(axis=2).T).all()


def test_the_table_has_as_many_accounts_as_the_moves_know():
    assert len(WORLD_ACCOUNTS) + len(AGENT_ACCOUNTS) == len(ACCOUNTS)
    assert len(MOVES) > 300
