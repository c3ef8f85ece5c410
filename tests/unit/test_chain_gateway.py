"""The governor's contracts decide as the formulas do, with the ledger's exact weights."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("eth")

from models.governance import ProposalState
from sim.chain.cohorts import refine
from sim.chain.demo import day0_timestamp, open_spec
from sim.chain.gateway import ChainGateway
from sim.chain.journal import JournalEntry, ReconciliationError
from sim.chain.witness import ChainWitness
from sim.governance_gateway import (
    ABSTAIN,
    AGAINST,
    FOR,
    Ballot,
    Electorate,
    FormulaGateway,
    GatewayError,
    Submission,
)

pytestmark = pytest.mark.slow

T0, DAY, GOPEN = day0_timestamp(), 86_400, 10**9
NOON = T0 + 12 * 3600
OWNERS = {"holders/*": 700_000, "holders/4": 90_000, "users/*": 60_000, "delegates/3": 150_000}


def noon(day, step=0):
    return NOON + day * DAY + step


@pytest.fixture
def worlds():
    """A chain whose agents have wrapped 1,000,000 GOPEN by day 2, and its gateway beside the formulas'."""
    chain = ChainWitness(open_spec(), day0_timestamp=T0)
    total = sum(OWNERS.values()) * GOPEN
    entries = [
        JournalEntry(0, "U1", "vesting.community", "pool.community.l1", 145_500_000 * GOPEN),
        JournalEntry(0, "U4", "pool.community.l1", "transit_deposit.pool.community", total),
        JournalEntry(1, "U4", "transit_deposit.pool.community", "pool.community.l2", total),
    ]
    for agent, amount in OWNERS.items():
        entries += [
            JournalEntry(1, "R1", "pool.community.l2", f"wallet.l2/{agent}", amount * GOPEN),
            JournalEntry(2, "H1", f"wallet.l2/{agent}", f"wrapped/{agent}", amount * GOPEN),
        ]
    held = {f"wrapped/{agent}": amount * GOPEN for agent, amount in OWNERS.items()}

    def replay(day):
        taken = entries[:]
        entries.clear()
        chain.replay(taken, through_day=day)

    chain.held = held
    return chain, ChainGateway(chain, replay), FormulaGateway({"fees.split": (2, 2, 5)})


def submission(key=0, votes=50_000, actions=(("fees.split", (2, 1, 6)),), **changes):
    words = {
        "key": key, "title": "Data first", "actions": actions, "proposer": "delegates/3",
        "proposer_votes": votes * GOPEN, "delay": DAY, "period": 7 * DAY, "threshold": 10_000 * GOPEN,
    }  # fmt: skip
    return Submission(**(words | changes))


def electorate(*ballots):
    named = tuple(Ballot(voter, votes * GOPEN, support) for voter, votes, support in ballots)
    return Electorate(sum(OWNERS.values()) * GOPEN, 500, named)


PASSES = (
    ("holders/*/for", 300_000, FOR),
    ("holders/*/against", 299_999, AGAINST),
    ("delegates/3", 10, ABSTAIN),
)


def through(gateway, roll, key=0, **words):
    """Play one proposal to its end and return everything that the gateway said."""
    told = []
    told.append(gateway.propose(submission(key, **words), noon(2)))
    gateway.snapshot(key, noon(3), roll)
    gateway.cast(key, noon(3, 1), roll.ballots)
    outcome = gateway.close(key, noon(10, 2))
    told.append(outcome)
    if outcome.state is ProposalState.SUCCEEDED:
        told.append(gateway.queue(key, noon(10, 2), 7 * DAY))
        told.append(gateway.execute(key, noon(17, 3)))
    return told


ROLLS = [
    (PASSES, ProposalState.SUCCEEDED),
    ((("holders/*/for", 300_000, FOR), ("users/*/against", 300_000, AGAINST)), ProposalState.DEFEATED),
    ((("holders/*/for", 25_000, FOR), ("users/*/abstain", 25_000, ABSTAIN)), ProposalState.SUCCEEDED),
    ((("holders/*/for", 25_000, FOR), ("users/*/abstain", 24_999, ABSTAIN)), ProposalState.DEFEATED),
    ((("holders/*/for", 400_000, FOR), ("holders/*/none", 600_000, None)), ProposalState.SUCCEEDED),
    ((("holders/*/none", 600_000, None),), ProposalState.DEFEATED),
    ((), ProposalState.DEFEATED),
]


@pytest.mark.parametrize(("ballots", "state"), ROLLS)
def test_the_contracts_decide_as_the_formulas_do(worlds, ballots, state):
    chain, contracts, formulas = worlds
    roll = electorate(*ballots)
    told = through(contracts, roll)
    assert told == through(formulas, roll)
    assert told[1].state is state
    rows = chain.reconcile(ledger_after(chain), epoch=0, day=17)
    assert {row.diff_wei for row in rows} == {0}


def ledger_after(chain):
    total = sum(OWNERS.values()) * GOPEN
    spec = {f"vesting.{b.name}": b.allocation_wei // GOPEN for b in chain.deployment.spec.buckets}
    spec["vesting.community"] -= 145_500_000 * GOPEN
    return spec | chain.held | {"pool.community.l1": 145_500_000 * GOPEN - total}


def test_what_executes_is_what_the_events_say(worlds):
    chain, contracts, _ = worlds
    actions = (("fees.split", (2, 1, 6)), ("governance.quorum", (400,)), ("governance.timelock", (3 * DAY,)))
    done = through(contracts, electorate(*PASSES), actions=actions)[-1]
    assert [(d.path, d.old, d.new) for d in done] == [
        ("fees.split", (2, 2, 5), (2, 1, 6)), ("governance.quorum", (), (400,)),
        ("governance.timelock", (), (3 * DAY,)),
    ]  # fmt: skip
    assert chain.deployment.governor.settings()["quorum_ppm"] == 40_000
    assert chain.deployment.timelock.delay_seconds() == 3 * DAY


def test_a_proposal_that_changes_nothing_executes_and_changes_nothing(worlds):
    _, contracts, _ = worlds
    assert through(contracts, electorate(*PASSES), actions=())[-1] == ()


def test_too_few_votes_make_no_proposal(worlds):
    _, contracts, formulas = worlds
    for gateway in (contracts, formulas):
        assert gateway.propose(submission(votes=9_999), noon(2)) is None
        assert gateway.propose(submission(key=1, votes=10_000), noon(3)) is not None


def test_two_proposals_and_two_snapshots_of_one_second(worlds):
    """The second proposal of a second has its votes a second before too, and both votes count exactly."""
    _, contracts, formulas = worlds
    rolls = (
        electorate(
            ("holders/*/for", 400_000, FOR), ("holders/*/none", 200_000, None), ("users/7", 90_000, AGAINST)
        ),
        electorate(
            ("holders/*/against", 100_000, AGAINST), ("holders/*/for", 500_000, FOR), ("users/7", 90_000, FOR)
        ),
    )  # fmt: skip
    told = []
    for gateway in (contracts, formulas):
        mine = [
            gateway.propose(submission(key, proposer=who), noon(2))
            for key, who in ((0, "users/1"), (1, "team/2"))
        ]
        for key in (0, 1):
            gateway.snapshot(key, noon(3), rolls[key])
        for key in (0, 1):
            gateway.cast(key, noon(3, 1), rolls[key].ballots)
        told.append([*mine, *(gateway.close(key, noon(10, 2)) for key in (0, 1))])
    assert told[0] == told[1]
    assert told[0][2].for_votes == 400_000 * GOPEN


def test_many_large_voters_vote_in_groups_with_the_same_total(worlds):
    _, contracts, formulas = worlds
    draw = random.Random(4)
    large = [
        (f"holders/{i}", draw.randrange(1, 20_000), draw.choice([FOR, AGAINST, ABSTAIN, None]))
        for i in range(60)
    ]
    roll = electorate(*large)
    told = through(contracts, roll)
    assert told == through(formulas, roll)


def test_a_disagreement_about_rules_or_supply_stops(worlds):
    _, contracts, _ = worlds
    with pytest.raises(GatewayError, match="delay, period and threshold"):
        contracts.propose(submission(period=8 * DAY), noon(2))
    contracts.propose(submission(), noon(3))
    roll = electorate(*PASSES)
    with pytest.raises(GatewayError, match="GOPEN supply"):
        contracts.snapshot(0, noon(4), Electorate(roll.supply - 1, 500, roll.ballots))
    with pytest.raises(GatewayError, match="quorum 400 bps"):
        contracts.snapshot(0, noon(4), Electorate(roll.supply, 400, roll.ballots))
    with pytest.raises(ReconciliationError, match="votes have no GOPEN behind them"):
        contracts.snapshot(0, noon(4), electorate(("holders/*/for", 1_000_001, FOR)))


def test_steps_out_of_order_stop(worlds):
    _, contracts, _ = worlds
    roll = electorate(("holders/*/for", 1, FOR))
    contracts.propose(submission(), noon(2))
    contracts.snapshot(0, noon(3), roll)
    with pytest.raises(GatewayError, match="cannot be queued"):
        contracts.queue(0, noon(3, 2), 7 * DAY)
    with pytest.raises(GatewayError, match="cannot execute"):
        contracts.execute(0, noon(4))
    with pytest.raises(GatewayError, match="timelock 5 s is not the contract's 604800 s"):
        contracts.queue(0, noon(5), 5)


@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=4), min_size=1, max_size=3))
def test_cells_add_up_to_every_voter_of_every_roll(sizes):
    rolls = {
        key: [(f"users/*/{name}", votes) for name, votes in zip("abcd", part, strict=False)]
        for key, part in enumerate(sizes)
    }
    cells, members = refine(rolls)
    for key, roll in rolls.items():
        taken = []
        for voter, votes in roll:
            mine = members.get((key, voter), [])
            assert sum(cells[cell] for cell in mine) == votes
            taken += mine
        assert len(taken) == len(set(taken))
    assert sum(cells.values()) == max(sum(part) for part in sizes)
