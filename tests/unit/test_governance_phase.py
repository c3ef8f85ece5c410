"""Governance in the simulation, on a small world made by hand."""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from models.errors import InputError
from models.governance import ProposalState
from models.turnout import UNDELEGATED
from sim.governance_gateway import FormulaGateway, GatewayError, Outcome, ParameterSet
from sim.phases import governance
from sim.services import Services
from sim.states.governance import SCENARIO

sys.path.insert(0, str(Path(__file__).parent))
from governance_world import (
    DAY,
    DELEGATE,
    HOLDER,
    NEW,
    OLD,
    OPEN,
    delegate,
    detail,
    live,
    make_economy,
    make_proposal,
    make_world,
    run_proposal,
    split,
    told,
    wrap,
)


class TestTimetable:
    def test_executes_15_days_and_seconds_after_submission_and_binds_next_day(self):
        seen = {}
        world = run_proposal(each=lambda world, day: seen.update({day: split(world)}))
        assert {event.day for event in told(world, "submitted")} == {2}
        assert detail(told(world, "submitted")[0])["timestamp"] == 1_757_505_600  # 2025-09-10 12:00 UTC
        assert [event.day for event in told(world, "executed", 0)] == [17]
        assert (
            world.governance.proposals.executed[0, 0] - world.governance.proposals.submitted[0, 0]
            == 15 * DAY + 3
        )
        assert (seen[17], seen[18]) == (OLD, NEW)
        assert world.governance.proposals.state[0, 0] == ProposalState.EXECUTED

    def test_forgetting_to_bind_is_an_error(self):
        economy = make_economy(make_proposal(date(2025, 9, 10)))
        world = make_world(economy)
        live(world, economy, range(18))
        world.day = 18
        with pytest.raises(RuntimeError, match="bind"):
            governance.advance(world, economy)

    def test_rules_are_those_of_the_submission(self):
        def shorten(world, day):
            if day == 5:
                world.governed.write("governance.period", (DAY,), np.array([True, True]))

        world = run_proposal(each=shorten)
        assert [event.day for event in told(world, "executed", 0)] == [17]

    def test_a_timelock_in_force_when_it_is_queued_counts(self):
        def lengthen(world, day):
            if day == 5:
                world.governed.write("governance.timelock", (9 * DAY,), np.array([True, False]))

        world = run_proposal(each=lengthen)
        assert [(e.run, e.day) for e in told(world, "executed")] == [(1, 17), (0, 19)]


class TestCounting:
    def test_only_runs_that_pass_are_changed(self):
        economy = make_economy(make_proposal(date(2025, 9, 10)))
        world = make_world(economy)
        live(world, economy, [0])
        wrap(world, 1, 5_000_000, row=1)
        delegate(world, {1: UNDELEGATED}, row=1)
        live(world, economy, range(1, 20))
        assert (split(world, 0), split(world, 1)) == (NEW, OLD)
        assert [event.run for event in told(world, "defeated")] == [1]

    @pytest.mark.parametrize(("undelegated", "passes"), [(1_520_000, True), (1_520_001, False)])
    def test_undelegated_tokens_raise_the_quorum(self, undelegated, passes):
        economy = make_economy(make_proposal(date(2025, 9, 10)))
        world = make_world(economy, wrapped={HOLDER: 60_000, DELEGATE: 20_000, 1: undelegated})
        live(world, economy, [0])
        delegate(world, {1: UNDELEGATED})
        live(world, economy, range(1, 20))
        assert (split(world) == NEW) is passes
        assert world.governance.last.reached[0] == passes

    def test_a_tie_is_defeated(self):
        wrapped = {HOLDER: 20_000, DELEGATE: 20_000}
        stated = {"holders": "against", "delegates": "for"}
        world = run_proposal(stated=stated, world_args={"wrapped": wrapped})
        assert world.governance.proposals.state[0, 0] == ProposalState.DEFEATED
        assert world.governance.last.reached.tolist() == [1, 1]
        assert split(world) == OLD

    def test_against_votes_do_not_count_to_the_quorum_and_abstentions_do(self):
        wrapped = {HOLDER: 30_000, DELEGATE: 20_000, 1: 550_000}
        for choice, reached in (("against", 0), ("abstain", 1)):
            economy = make_economy(
                make_proposal(date(2025, 9, 10), stated={"holders": choice, "delegates": "for"})
            )
            world = make_world(economy, wrapped=wrapped)
            live(world, economy, [0])
            delegate(world, {1: UNDELEGATED})
            live(world, economy, range(1, 20))
            assert world.governance.last.reached[0] == reached
            assert world.governance.last.passed[0] == reached

    def test_figures_of_the_vote(self):
        world = run_proposal(world_args={"wrapped": {HOLDER: 60_000, DELEGATE: 20_000, 4: 20_000}})
        last = world.governance.last
        assert last.turnout_gopen[0] == 1.0
        assert last.turnout_delegated[0] == 1.0
        assert last.turnout_circulating[0] == 1.0
        assert last.nakamoto_votes[0] == 1
        assert (world.governance.quorum_rate[0], world.governance.pass_rate[0]) == (1.0, 1.0)
        assert world.governance.gopen_delegated_gwei.tolist() == [100_000 * OPEN] * 2
        # 100,000 of 100,000 usually vote: a capture needs one gwei more than that, at 0.50 USD
        assert world.governance.cost_to_capture_usd[0] == pytest.approx(50_000)

    def test_small_votes_are_owners_votes_through_delegates(self):
        economy = make_economy(make_proposal(date(2025, 9, 10)))
        world = make_world(economy, wrapped={HOLDER: 60_000, DELEGATE: 20_000, 4: 20_000})
        live(world, economy, [0])
        delegate(world, {4: 0}, small=[4])
        live(world, economy, range(1, 12))
        assert world.governance.last.small_votes_share[0] == pytest.approx(0.2)
        assert world.governance.last.nakamoto_votes[0] == 1


class TestSnapshot:
    def test_wrapping_after_the_snapshot_does_nothing(self):
        def wrap_late(world, day):
            if day == 4:  # proposed on day 2, read at noon of day 3
                wrap(world, DELEGATE, 1_000_000)

        late, never = (run_proposal(each=each).governance.proposals for each in (wrap_late, None))
        assert late.for_votes.tolist() == never.for_votes.tolist()
        assert late.supply.tolist() == never.supply.tolist()

    def test_wrapping_by_noon_of_the_snapshot_counts(self):
        def wrap_in_time(world, day):
            if day == 3:
                wrap(world, DELEGATE, 1_000_000)

        world = run_proposal(each=wrap_in_time)
        assert world.governance.proposals.for_votes[0, 0] == 1_080_000 * OPEN

    def test_a_delay_of_36_hours_reads_the_roll_a_day_before_the_votes(self):
        def wrap_between(world, day):
            if day == 4:  # read at midnight after day 3, voted on day 4
                wrap(world, DELEGATE, 1_000_000)

        world = run_proposal(each=wrap_between, world_args={"rules": {"delay": DAY * 3 // 2}})
        assert [event.day for event in told(world, "voted", 0)] == [4]
        assert world.governance.proposals.for_votes[0, 0] == 80_000 * OPEN


class TestSubmission:
    def test_a_proposer_below_the_threshold_is_refused(self):
        world = run_proposal(world_args={"wrapped": {HOLDER: 60_000, DELEGATE: 9_999}})
        assert [(event.day, event.proposal) for event in told(world, "refused", 0)] == [(2, -1)]
        assert detail(told(world, "refused")[0])["votes_gwei"] == 9_999 * OPEN
        assert not told(world, "submitted")

    def test_the_proposer_is_ranked_by_votes_at_hand(self):
        world = run_proposal(world_args={"wrapped": {DELEGATE: 10_000, DELEGATE + 1: 30_000}})
        assert detail(told(world, "submitted")[0])["proposer"] == "delegates/1"

    def test_forced_outcomes(self):
        poor = {"wrapped": {HOLDER: 1}}
        passed, failed = run_proposal(force="pass", world_args=poor), run_proposal(force="fail")
        assert (split(passed), split(failed)) == (NEW, OLD)
        assert told(failed, "defeated")

    def test_a_proposal_without_actions_runs_through_and_changes_nothing(self):
        world = run_proposal(actions=())
        assert [event.day for event in told(world, "executed", 0)] == [17]
        assert split(world) == OLD

    def test_routine_proposals_arrive_at_their_rate(self):
        economy = make_economy(per_month=3.0)
        world = make_world(economy, runs=range(8))
        live(world, economy, range(365))
        made = int(world.governance.proposals.used.sum())
        assert made == len(told(world, "submitted"))
        assert 8 * 36 * 0.8 < made < 8 * 36 * 1.2
        assert 0 < world.governance.last.held.sum() <= made


class TestVotes:
    def test_never_exceed_what_is_delegated(self):
        economy = make_economy(per_month=10.0, core=0.0)
        world = make_world(economy, runs=range(4), wrapped={c: 20_000 + 7_919 * c for c in range(8)})
        rolls = {}
        for day in range(120):
            world.day, world.phase = day, "governance"
            governance.bind(world, economy)
            governance.advance(world, economy)
            rolls |= world.governance.rolls
        proposals, delegated = world.governance.proposals, world.governance.gopen_delegated_gwei
        cast = proposals.for_votes + proposals.against_votes + proposals.abstain_votes
        assert (cast <= delegated[:, None]).all()
        assert len(rolls) > 20
        assert cast.max() > 0
        for (row, slot), roll in rolls.items():
            assert roll.power.sum() == delegated[row]
            assert cast[row, slot] <= delegated[row]

    def test_do_not_depend_on_the_batch(self):
        def events(runs):
            economy = make_economy(
                make_proposal(date(2025, 9, 20), stated={"team": "abstain"}), 6.0, core=0.2
            )
            wrapped = {column: 20_000 + 7_919 * column for column in range(8)}
            world = make_world(economy, runs=runs, wrapped=wrapped)
            for day in range(60):
                world.day, world.phase = day, "governance"
                governance.bind(world, economy)
                governance.advance(world, economy)
            return sorted(world.governance.events, key=lambda event: event.run)

        together = events(range(6))
        assert together == events([0, 1, 2]) + events([3, 4, 5])
        assert len({event.detail for event in together if event.kind == "voted"}) > 10


class TestGateway:
    def services(self, gateway=None):
        return Services(governance=gateway or FormulaGateway({"fees.split": OLD}))

    def test_the_formulas_behind_the_seam_give_the_same_events(self):
        behind = run_proposal(services=self.services(), world_args={"witness_row": 1})
        assert behind.governance.events == run_proposal().governance.events

    def test_the_execution_sets_the_witness_row_alone(self):
        class Other(FormulaGateway):
            def execute(self, key, timestamp):
                super().execute(key, timestamp)
                return (ParameterSet("fees.split", OLD, (1, 1, 1)),)

        world = run_proposal(services=self.services(Other({})), world_args={"witness_row": 1})
        assert (split(world, 0), split(world, 1)) == (NEW, (1, 1, 1))

    def test_a_governor_that_counts_otherwise_stops_the_run(self):
        class Miscounts(FormulaGateway):
            def close(self, key, timestamp):
                right = super().close(key, timestamp)
                return Outcome(right.for_votes + 1, right.against_votes, right.abstain_votes, right.state)

        with pytest.raises(GatewayError, match=r"day 10: .*80000000000001"):
            run_proposal(services=self.services(Miscounts({})), world_args={"witness_row": 1})

    def test_a_governor_with_another_timetable_stops_the_run(self):
        class Late(FormulaGateway):
            def propose(self, submission, timestamp):
                return super().propose(submission, timestamp + DAY)

        with pytest.raises(GatewayError, match="another day"):
            run_proposal(services=self.services(Late({})), world_args={"witness_row": 1})

    def test_ballots_add_up_to_the_roll(self):
        seen = []

        class Watches(FormulaGateway):
            def snapshot(self, key, timestamp, electorate):
                super().snapshot(key, timestamp, electorate)
                seen.append(electorate)

        wrapped = {HOLDER: 60_000, 1: 3, 2: 4, DELEGATE: 20_000}
        run_proposal(services=self.services(Watches({})), world_args={"witness_row": 1, "wrapped": wrapped})
        assert {ballot.voter: ballot.votes // OPEN for ballot in seen[0].ballots} == {
            "holders/0": 60_000, "delegates/0": 20_000, "holders/*/for": 7,
        }  # fmt: skip
        assert seen[0].supply == 80_007 * OPEN

    def test_a_chain_cannot_be_forced(self):
        with pytest.raises(InputError, match="force"):
            run_proposal(force="pass", services=self.services(), world_args={"witness_row": 1})


def test_gas_is_charged_to_voters_and_proposer():
    economy = make_economy(make_proposal(date(2025, 9, 10)))
    economy.gas_fees = {"propose": 800, "vote": 130, "queue": 300, "execute": 320}
    world = make_world(economy)
    world.agent_balance("wallet.l2")[:] = 10**6
    live(world, economy, range(20))
    paid = 10**6 - world.agent_balance("wallet.l2")[0]
    assert paid[HOLDER] == 130
    assert paid[DELEGATE] == 800 + 130 + 300 + 320
    assert world.world_balance("gas_vault")[0] == paid.sum()
    assert (world.governance.proposals.topic[:, 0] == SCENARIO).all()
