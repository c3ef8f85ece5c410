"""Random actions on both chains: whatever anybody does, no coin appears, no vote counts twice, nobody is paid early."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

pytest.importorskip("eth")

from models.governance import ProposalState, Timetable
from sim.chain.abi import Reverted
from sim.chain.addresses import address_of
from sim.chain.bridge.predeploys import MESSAGE_PASSER
from sim.chain.clients.distributor import Posted
from sim.chain.clients.governor import Call, Support
from sim.chain.clients.staking import Lock
from sim.chain.deployment import POSTER
from tests.property.chain_machine import (
    GOVERNANCE,
    MONEY,
    PEOPLE,
    QUORUM_PPM,
    SPEC,
    Draw,
    MoneyMachine,
    draws,
    refused,
)
from tests.property.chain_oracle import Vote

pytestmark = pytest.mark.slow

KEEPER = address_of("keeper")
ACTIONS = MONEY | {"propose": 3, "vote": 4, "queue": 1, "execute": 2, "carry_on": 9, "post": 3, "claim": 5}
DRAW = Draw(PEOPLE[0], PEOPLE[1], 400 * 10**18, 0, None, Lock.FLEXIBLE, False, 1)
NAMES = [name for name, weight in ACTIONS.items() for _ in range(weight)]


class ChainMachine(MoneyMachine):
    """The same with votes and payouts, and what has to hold after every step."""

    def __init__(self):
        super().__init__()
        self.proposals, self.split = [], SPEC.parameters["fees.split"]

    @rule(action=st.sampled_from(NAMES), draw=draws)
    def act(self, action, draw):
        """Do one thing; a single rule, so that no run goes without half of them."""
        getattr(self, action)(draw)

    def propose(self, draw):
        weights = (draw.small % 9 + 1, draw.small % 7 + 1, draw.small % 5 + 1)
        data = self.d.parameters.set_calldata("fees.split", weights)
        calls, text = (Call(self.d.parameters.address, data),), f"proposal {len(self.proposals)}"
        with refused(self.votes.at(self.now - 1, draw.who) >= GOVERNANCE.threshold_wei, Reverted):
            number, _ = self.d.governor.propose(draw.who, calls, text)
            timetable = Timetable.build(self.now, GOVERNANCE.delay_s, GOVERNANCE.period_s)
            self.proposals.append(Vote(number, calls, text, weights, timetable))

    def vote(self, draw, support=None):
        """Vote, perhaps too early or again; what was wrapped after the snapshot weighs nothing."""
        if not self.proposals:
            return
        proposal = self._picked(draw)
        support = Support(draw.small % 3 if support is None else support)
        open_ = self._state(proposal) is ProposalState.ACTIVE and draw.who not in proposal.ballots
        with refused(open_, Reverted):
            receipt = self.d.governor.cast_vote(draw.who, proposal.number, support)
            weight = self.d.governor.event(receipt, "VoteCast").arguments["weight"]
            assert weight == self.votes.at(proposal.timetable.snapshot, draw.who)
            proposal.ballots[draw.who] = support

    def queue(self, draw):
        if not self.proposals:
            return
        proposal = self._picked(draw)
        with refused(self._state(proposal) is ProposalState.SUCCEEDED, Reverted):
            self.d.governor.queue(KEEPER, proposal.calls, proposal.text)
            proposal.eta = self.now + GOVERNANCE.timelock_s

    def execute(self, draw):
        if not self.proposals:
            return
        proposal = self._picked(draw)
        if proposal.eta > self.now and draw.patience is not None:
            self.go(proposal.eta + draw.patience)
        ready = self._state(proposal) is ProposalState.QUEUED and self.now >= proposal.eta
        with refused(ready, Reverted):
            self.d.governor.execute(KEEPER, proposal.calls, proposal.text)
            proposal.executed, self.split = True, proposal.values

    def carry_on(self, draw):
        """Take a proposal to its next moment and do what is to be done there."""
        if not self.proposals:
            return
        proposal = self._picked(draw)
        moments = (proposal.timetable.snapshot + 1, proposal.timetable.deadline + 1, proposal.eta)
        if later := [moment for moment in moments if moment > self.now]:
            self.go(min(later))
        state = self._state(proposal)
        if state is ProposalState.ACTIVE:
            for i, who in enumerate(PEOPLE):
                if draw.small >> i & 1 and who not in proposal.ballots:
                    self.vote(replace(draw, who=who), 1 + 1 * (draw.seldom and i == 0))
        elif state is ProposalState.SUCCEEDED:
            self.queue(draw)
        elif state is ProposalState.QUEUED:
            self.execute(draw)

    def post(self, draw):
        """Post a root with more or less than its leaves need."""
        poster = address_of(POSTER)
        funds = min((0, 1, 10**18, 10**20)[draw.small % 4], self.d.l2.balance(poster))
        self.payouts.owed[draw.who] += draw.wei // 90 + 1
        root = self.payouts.post(funds)
        number, total = self.payouts.number, self.payouts.funded
        epoch = Posted(number, bytes(32), number, root, total, bytes(32))
        self.d.distributor.post_epoch(poster, epoch, funds)

    def claim(self, draw):
        """Claim by the latest root or an older one, perhaps again, for one wei more, or with half a proof."""
        if not self.payouts.trees:
            return
        age = min(draw.which, len(self.payouts.trees) - 1) if draw.seldom else 0
        tree, rows = self.payouts.trees[-1 - age]
        account = draw.who if draw.who in rows else min(rows)
        more, cut = draw.small % 5 == 0, draw.small % 7 == 0
        proof = self.payouts.proof(tree, account, rows[account])
        genuine = tree.root == self.payouts.trees[-1][0].root and not more and not (cut and proof)
        due = self.payouts.due(account, rows[account], genuine)
        before = self.d.l2.balance(account)
        with refused(due > 0, Reverted):
            sent = proof[:-1] if cut else proof
            paid, _ = self.d.distributor.claim(draw.other, account, rows[account] + more, sent)
            assert paid == due
            self.payouts.paid[account] += paid
        assert self.d.l2.balance(account) == before + due

    @invariant()
    def supply_is_what_was_minted_and_not_burned(self):
        token = self.d.token
        assert token.total_supply() == SPEC.cap_wei - self.burned
        assert self.d.vesting["team"].released() == self.released <= 100_000 * 10**18

    @invariant()
    def gopen_is_what_lies_in_the_wrapper(self):
        gopen = self.d.gopen
        assert gopen.total_supply() == self.d.l2.balance(gopen.address) == self.votes.supply
        assert {who: gopen.balance_of(who) for who in PEOPLE} == {who: self.votes.held[who] for who in PEOPLE}

    @invariant()
    def escrow_is_what_is_on_l2_and_on_its_way(self):
        """Every coin of L2 is counted wherever it lies; what the message passer holds counts as withdrawn."""
        arriving = sum(deposit.mint_wei for deposit in self.bridge.pending_deposits())
        leaving = sum(withdrawal.amount_wei for withdrawal in self.bridge.pending_withdrawals())
        assert leaving == sum(wei for _, wei in self.unpaid.values())
        on_l2 = sum(map(self.d.l2.balance, self._known() - {MESSAGE_PASSER}))
        assert self.bridge.escrow() == on_l2 + arriving + leaving
        assert self.d.token.balance_of(self.bridge.escrow_address) == self.bridge.escrow()

    @invariant()
    def claims_are_funded_and_made_once(self):
        distributor, paid = self.d.distributor, sum(self.payouts.paid.values())
        assert distributor.claimed_total() == paid <= self.payouts.funded
        assert {who: distributor.claimed(who) for who in PEOPLE} == {
            who: self.payouts.paid[who] for who in PEOPLE
        }
        assert self.d.l2.balance(distributor.address) == self.payouts.funded - paid

    @invariant()
    def votes_are_those_of_the_snapshot(self):
        for proposal in self.proposals:
            tally = self.d.governor.tally(proposal.number)
            assert (tally.against, tally.for_, tally.abstain) == proposal.tally(self.votes)
            assert self.d.governor.state(proposal.number) is self._state(proposal)
        assert self.d.parameters.get("fees.split") == tuple(self.split)

    @invariant()
    def stake_is_what_lies_in_staking(self):
        waiting = sum(wei for _, _, wei, done in self.exits if not done)
        assert self.d.staking.totals() == {"staked": self.staked, "unbonding": waiting, "bonds": 0}
        assert sum(position.stake_wei for position in self.d.staking.positions()) == self.staked
        assert self.d.l2.balance(self.d.staking.address) == self.staked + waiting

    def _known(self):
        """Return every address that L2 has seen; all coins are at one of them."""
        receipts = self.d.l2.receipts
        return {r.sender for r in receipts} | {r.to or r.contract_address for r in receipts} | {*PEOPLE}

    def _picked(self, draw):
        """Return one of the latest proposals, mostly the last."""
        latest = self.proposals[-1 - draw.which * draw.seldom :]
        return latest[0]

    def _state(self, proposal):
        return proposal.state(self.now, self.votes, QUORUM_PPM)


TestChainState = ChainMachine.TestCase
TestChainState.settings = settings(
    max_examples=20, stateful_step_count=60, deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)  # fmt: skip


@pytest.fixture(scope="module")
def machine():
    return ChainMachine()


class TestPlantedFaults:
    """What would break a rule is found by the invariant that states it."""

    @pytest.mark.parametrize(
        ("place", "invariant_"),
        [
            ("gopen", "gopen_is_what_lies_in_the_wrapper"),
            ("staking", "stake_is_what_lies_in_staking"),
            ("distributor", "claims_are_funded_and_made_once"),
            ("parameters", "escrow_is_what_is_on_l2_and_on_its_way"),
        ],
    )
    def test_a_coin_from_nowhere(self, machine, place, invariant_):
        check = getattr(machine, invariant_)
        check()
        address = getattr(machine.d, place).address
        machine.d.l2.mint_native(address, 1)
        with pytest.raises(AssertionError):
            check()
        machine.d.l2.burn_native(address, 1)
        check()

    def test_a_vote_that_the_contract_did_not_count(self, machine):
        machine.propose(DRAW)
        proposal = machine.proposals[0]
        machine.go(proposal.timetable.snapshot + 1)
        machine.wrap(DRAW)
        machine.vote(DRAW)
        machine.votes_are_those_of_the_snapshot()
        proposal.ballots[DRAW.other] = Support.FOR
        with pytest.raises(AssertionError):
            machine.votes_are_those_of_the_snapshot()
