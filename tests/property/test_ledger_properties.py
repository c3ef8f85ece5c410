"""The ledger under random moves: money is conserved, the journal is the balances, kernels are numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.accounts import ACCOUNTS, AGENT_ACCOUNTS, AGENT_CLASSES, BUCKET_ROLES, WORLD_ACCOUNTS
from sim.flows import FLOWS
from sim.journal import Journal
from sim.ledger import EVERY_CLASS, FlowRefused, at, move, move_some
from sim.picks import Picks
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
    world.principal = world.agent_balance("stake").copy()


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


@given(st.lists(st.integers(0, len(MOVES) - 1), min_size=1, max_size=40), st.integers(0, 2**32 - 1))
def test_rewards_are_what_stakes_grew_by_beyond_all_other_moves(chosen, seed):
    """Whatever else happens to stakes, and in whatever order: what S2 paid them is their growth over the principal."""
    draw = np.random.default_rng(seed)
    world = new_world()
    scatter(world, draw)
    rewarded = np.zeros((RUNS, world.layout.agents), np.int64)
    of_stakes = [move for move in MOVES if "stake" in {p.account.name for p in move[2:] if p is not None}]
    for place in chosen:
        world.phase, flow, source, target = of_stakes[place % len(of_stakes)]
        amount = amount_for(world, source, target, draw)
        columns = world.layout.slice(source.agent_class or target.agent_class)
        if flow == "S2":
            rewarded[:, columns] += amount
        if place % 2:
            move(world, flow, source, target, amount)
        else:
            everybody = np.zeros((RUNS, world.layout.agents), np.int64)
            everybody[:, columns] = amount
            move_some(world, flow, source, target, Picks.of(everybody))
        assert (world.agent_balance("stake") - world.principal == rewarded).all()
    assert not world.income.any()


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


@given(st.integers(0, len(MOVES) - 1), st.integers(0, 2**32 - 1))
def test_few_agents_move_as_all_do(place, seed):
    """A list of those who act changes the same balances, books, income and journal as an amount for everybody."""
    draw = np.random.default_rng(seed)
    phase, flow, source, target = MOVES[place]
    if source is None or not (source.account.per_agent or target.account.per_agent):
        return
    one, other = new_world(), new_world()
    scatter(one, np.random.default_rng(seed))
    scatter(other, np.random.default_rng(seed))
    amount = amount_for(one, source, target, draw) * (draw.random((1, 1)) < 0.7)
    amount *= draw.random(amount.shape) < 0.5
    columns = one.layout.slice(source.agent_class or target.agent_class)
    everybody = np.zeros((RUNS, one.layout.agents), np.int64)
    everybody[:, columns] = amount
    one.phase = other.phase = phase
    move(one, flow, source, target, amount)
    per_run = move_some(other, flow, source, target, Picks.of(everybody))
    assert (per_run == amount.sum(axis=1)).all()
    for name in (
        "balances",
        "holdings",
        "expected_world",
        "expected_agent",
        "checksum",
        "income",
        "principal",
    ):
        assert (getattr(one, name) == getattr(other, name)).all(), name
    assert one.journal.today.keys() == other.journal.today.keys()
    for key, total_of in one.journal.today.items():
        assert (other.journal.today[key] == total_of).all()
    for mine, theirs in zip(one.journal.take_entries(), other.journal.take_entries(), strict=True):
        for side in ("source_parts", "target_parts"):
            a, b = getattr(mine, side), getattr(theirs, side)
            assert (a is None) == (b is None)
            assert a is None or (a == b).all()
        assert (mine.flow, mine.source, mine.target, mine.amount) == (
            theirs.flow, theirs.source, theirs.target, theirs.amount,
        )  # fmt: skip


def test_the_table_has_as_many_accounts_as_the_moves_know():
    assert len(WORLD_ACCOUNTS) + len(AGENT_ACCOUNTS) == len(ACCOUNTS)
    assert len(MOVES) > 250
